import dataclasses

import numpy as np
import pytest

from tests.page import Page
from tltool.evaluation.metrics import Metrics, score
from tltool.evaluation.multi_label import score_multi_label
from tltool.report.scores import classes_section, confusion_section, in_words, main_interval


def made(classes: int = 3, count: int = 90) -> Metrics:
    random = np.random.default_rng(0)
    labels = np.arange(count) % classes
    prob = random.dirichlet(np.ones(classes), count) + 0.4 * np.eye(classes)[labels]
    return score(prob / prob.sum(axis=1, keepdims=True), labels, tuple(f"class {i}" for i in range(classes)))


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


def test_the_confusion_matrix():
    metrics = made()
    page = Page(confusion_section(metrics))
    cells = [cell for cell in page.named("td") if "style" in cell]
    assert len(cells) == 9
    shares = [float(cell["style"].removeprefix("--share:").removesuffix("%")) for cell in cells]
    expected = [100 * np.sqrt(n / 30) for line in metrics.confusion for n in line]
    np.testing.assert_allclose(shares, expected, atol=0.51)
    matrix = np.array(metrics.confusion)
    np.fill_diagonal(matrix, 0)
    assert f" {matrix.max()} of 30" in page.text
    assert len(page.named("li")) == min(6, np.count_nonzero(matrix))


def test_very_many_classes():
    metrics = made(40, 400)
    assert confusion_section(metrics) is None
    assert len(Page(classes_section(metrics)).named("tr")) == 41


def test_classes_are_in_the_order_of_recall():
    metrics = made()
    page = Page(classes_section(metrics))
    order = [line for line in page.text.splitlines() if line.startswith("class ")]
    assert order == [f"class {i}" for i in np.argsort(metrics.recall, kind="stable")]


@pytest.mark.parametrize("recall", [(None, 0.5, 0.9), (None, None, None)])
def test_classes_that_do_not_occur(recall):
    metrics = dataclasses.replace(made(), recall=recall, recall_interval=(None, None, None))
    assert "class 0" in Page(classes_section(metrics)).text
