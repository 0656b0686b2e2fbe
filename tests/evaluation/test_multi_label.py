"""Scores of pictures with several labels: scikit-learn's numbers."""

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from tltool.errors import ShapeError
from tltool.evaluation.intervals import wilson_interval
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


def test_further_scores_are_those_of_scikit_learn():
    prob, targets = made()
    got = score_multi_label(prob, targets, NAMES, 0.4)
    predicted = prob >= 0.4
    assert got.f1[:3] == pytest.approx([sk.f1_score(targets[:, c], predicted[:, c]) for c in range(3)])
    assert got.f1[3] is None
    assert got.brier == pytest.approx(np.mean([sk.brier_score_loss(targets[:, c], prob[:, c]) for c in range(4)]))
    exact = int((predicted == targets).all(axis=1).sum())
    assert got.exact_match_interval == wilson_interval(exact, 200)
    hits, support = int((predicted & (targets == 1))[:, 0].sum()), int(targets[:, 0].sum())
    assert got.recall_interval[0] == wilson_interval(hits, support)
    assert got.recall_interval[3] is None


def test_intervals_are_those_of_a_plain_bootstrap():
    prob, targets = made(count=120)
    got = score_multi_label(prob, targets, NAMES, 0.4)
    random = np.random.default_rng(3)
    drawn = {"mean_average_precision": [], "micro_f1": [], "macro_f1": [], "log_loss": [], "brier": []}
    for _ in range(300):
        rows = random.integers(120, size=120)
        again = score_plain(prob[rows], targets[rows])
        for name, values in drawn.items():
            values.append(again[name])
    for name, values in drawn.items():
        low, high = np.quantile(values, [0.025, 0.975])
        assert getattr(got, f"{name}_interval") == pytest.approx((low, high), abs=0.25 * (high - low)), name
    low, high = got.expected_calibration_error_interval
    assert 0 <= low <= got.expected_calibration_error <= high


def score_plain(prob, targets):
    predicted, occurring = prob >= 0.4, targets.any(axis=0)
    return {
        "mean_average_precision": sk.average_precision_score(targets[:, occurring], prob[:, occurring]),
        "micro_f1": sk.f1_score(targets, predicted, average="micro"),
        "macro_f1": sk.f1_score(targets[:, occurring], predicted[:, occurring], average="macro"),
        "log_loss": -np.where(targets, np.log(prob), np.log1p(-prob)).mean(),
        "brier": ((prob - targets) ** 2).mean(),
    }


def test_scores_of_earlier_versions_can_be_read():
    got = score_multi_label(*made(), NAMES, 0.4)
    later = {"f1", "brier"} | {name for name in got.to_json() if name.endswith("_interval")}
    read = MultiLabelMetrics.from_json({name: value for name, value in got.to_json().items() if name not in later})
    assert (str(read), read.brier, read.f1) == (str(got), None, ())


@pytest.mark.parametrize("targets", [np.zeros((3, 2)), np.ones((3, 2)), np.array([[1, 0]])])
def test_sets_without_a_class_give_numbers_that_json_holds(targets):
    got = score_multi_label(np.full(targets.shape, 0.3), targets, ("a", "b"), 0.5)
    assert MultiLabelMetrics.from_json(json.loads(json.dumps(got.to_json(), allow_nan=False))) == got
    assert bool(got.warnings) == (not targets.any(axis=0).all())
