"""A finished model over many files: the same numbers as picture by picture, and bad files told of."""

import numpy as np
import pytest

from tests.pictures import make_class_folders, make_picture
from tests.trained import finished_run
from tltool.data import decode
from tltool.evaluation.inference import BATCH, classify


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = make_class_folders(tmp_path_factory.mktemp("new"), {"ant": 9, "bee": 10}, size=45, seed=5)
    return sorted(folder.rglob("*.png"))


def test_batches_give_what_single_pictures_give(files):
    assert len(files) > BATCH  # so that there are two
    model = finished_run().model
    result = classify(model, files)
    assert result.problems == ()
    assert result.indices.tolist() == list(range(len(files)))
    np.testing.assert_allclose(result.values.sum(axis=1), 1, atol=1e-5)
    for index in (0, BATCH, len(files) - 1):  # through the model's own resizing, not the decoder's
        single = model.predict_on_batch(decode(files[index])[None])[0]
        np.testing.assert_allclose(result.values[index], single, atol=1e-4)


def test_bad_files_are_told_of_and_the_others_keep_their_place(files, tmp_path):
    text = tmp_path / "note.jpg"
    text.write_text("no picture")
    torn = make_picture(tmp_path / "torn.jpg", size=64)
    torn.write_bytes(torn.read_bytes()[:200])
    mixed = [text, files[0], torn, files[1], tmp_path / "missing.png"]
    told = []
    result = classify(finished_run().model, mixed, lambda *step: told.append(step))
    assert result.indices.tolist() == [1, 3]
    np.testing.assert_allclose(result.values, classify(finished_run().model, files[:2]).values, atol=1e-6)
    assert [problem.path for problem in result.problems] == [str(text), str(torn), str(tmp_path / "missing.png")]
    assert all(problem.reason for problem in result.problems)
    assert told == [("Classifying", 5, 5)]


def test_nothing_readable(tmp_path):
    (tmp_path / "note.jpg").write_text("no picture")
    result = classify(finished_run().model, [tmp_path / "note.jpg"])
    assert result.values.shape == (0, 3)
    assert len(result.indices) == 0
    assert len(result.problems) == 1
