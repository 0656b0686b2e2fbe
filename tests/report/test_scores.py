import numpy as np

from tests.report.scored import made
from tltool.evaluation.multi_label import score_multi_label
from tltool.report.confusion import confusion_section
from tltool.report.scores import in_words, main_interval


def test_the_score_in_words():
    metrics = made()
    first, second = in_words(metrics)
    assert f"{round(90 * metrics.top1)} of 90 pictures" in first
    assert "33.3 %" in second
    low, high = main_interval(metrics)
    assert f"{100 * low:.1f} to {100 * high:.1f} %" in first


def test_several_labels_in_words():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (50, 3))
    prob = 0.6 * labels + 0.4 * random.random((50, 3))
    metrics = score_multi_label(prob, labels, ("a", "b", "c"), 0.5)
    assert "50 pictures" in in_words(metrics)[0]
    assert "exactly their labels" in in_words(metrics)[1]
    assert confusion_section(metrics) is None
