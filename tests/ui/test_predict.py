"""Pictures that somebody tries in the browser."""

from tests.pictures import make_picture
from tests.trained import CLASSES, finished_run
from tltool.ui.predict import predict_pictures


def test_answers_come_in_order_with_sets_and_known(tmp_path):
    run = finished_run()
    learned = run.data.paths[run.data.indices("train")[0]].read_bytes()
    other = make_picture(tmp_path / "new.png", size=40).read_bytes()
    first, broken, second = predict_pictures(run.path, [learned, b"no picture", other])
    assert first.known is True
    assert first.label_set[0] == first.label == max(first.probabilities, key=first.probabilities.get)
    assert set(second.label_set) <= set(CLASSES)
    assert (broken.probabilities, broken.label_set, broken.known) == (None, (), None)
    assert "picture" in broken.problem
