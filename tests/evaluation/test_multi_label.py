"""Scores of pictures with several labels: scikit-learn's numbers."""

import numpy as np
import pytest
from sklearn import metrics as sk

from tltool.errors import ShapeError
from tltool.evaluation.multi_label import MultiLabelMetrics, score_multi_label

NAMES = ("sea", "sky", "tree", "never")


def made(seed=0, count=200):
    random = np.random.default_rng(seed)
    targets = (random.random((count, 4)) < [0.6, 0.3, 0.1, 0.0]).astype(int)
    logits = 2.0 * targets - 1.5 + random.normal(size=(count, 4))
    return 1 / (1 + np.exp(-logits)), targets


def test_scores_are_those_of_scikit_learn():
    prob, targets = made()
    got = score_multi_label(prob, targets, NAMES, 0.4)
    predicted = prob >= 0.4
    assert got.mean_average_precision == pytest.approx(sk.average_precision_score(targets[:, :3], prob[:, :3]))
    assert got.micro_f1 == pytest.approx(sk.f1_score(targets, predicted, average="micro"))
    assert got.macro_f1 == pytest.approx(sk.f1_score(targets[:, :3], predicted[:, :3], average="macro"))
    assert got.exact_match == pytest.approx(sk.accuracy_score(targets, predicted))
    losses = [sk.log_loss(targets[:, c], prob[:, c], labels=[0, 1]) for c in range(4)]
    assert got.log_loss == pytest.approx(np.mean(losses), abs=1e-6)
    assert got.support == (*targets.sum(axis=0)[:3], 0)
    assert got.precision[0] == pytest.approx(sk.precision_score(targets[:, 0], predicted[:, 0]))
    assert got.recall[:3] == pytest.approx([sk.recall_score(targets[:, c], predicted[:, c]) for c in range(3)])
    assert (got.average_precision[3], got.recall[3]) == (None, None)


def test_calibration_error_is_the_gap_between_probability_and_frequency():
    prob = np.full((10, 1), 0.7)
    targets = np.array([[1]] * 4 + [[0]] * 6)
    assert score_multi_label(prob, targets, ("a",), 0.5).expected_calibration_error == pytest.approx(0.3)


def test_certain_mistakes_have_a_finite_loss():
    assert np.isfinite(score_multi_label(np.array([[1.0, 0.0]]), np.array([[0, 1]]), ("a", "b"), 0.5).log_loss)


def test_survives_a_file():
    got = score_multi_label(*made(), NAMES, 0.4)
    assert MultiLabelMetrics.from_json(got.to_json() | {"recipe": "x"}) == got
    assert "mean average precision" in str(got)


def test_shapes_that_differ_are_refused():
    with pytest.raises(ShapeError, match="differ"):
        score_multi_label(np.zeros((3, 2)), np.zeros((3, 3)), ("a", "b"), 0.5)
