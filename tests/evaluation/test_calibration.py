"""Reliability against plain loops."""

import json

import numpy as np
import pytest
from scipy.special import softmax

from tltool.errors import ShapeError
from tltool.evaluation.calibration import chance_errors, reliability
from tltool.evaluation.metrics import expected_calibration_error, score
from tltool.evaluation.multi_label import score_multi_label


def told(pictures=2000, classes=4, factor=1.0, seed=0):
    """Logits that are `factor` times too large, and labels drawn from the right ones."""
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(pictures, classes))
    prob = softmax(logits, axis=1)
    labels = (prob.cumsum(axis=1) > random.random((pictures, 1))).argmax(axis=1)
    return factor * logits, labels


def test_reliability_is_that_of_a_plain_loop():
    logits, labels = told(500)
    prob = softmax(2 * logits, axis=1)
    found = reliability(prob, labels, bins=10)
    for index in range(10):
        inside = [i for i in range(500) if index / 10 < prob[i].max() <= (index + 1) / 10]
        assert found.counts[index] == len(inside)
        if inside:
            assert found.confidence[index] == pytest.approx(np.mean([prob[i].max() for i in inside]))
            assert found.accuracy[index] == pytest.approx(np.mean([prob[i].argmax() == labels[i] for i in inside]))
        else:
            assert (found.confidence[index], found.accuracy[index]) == (None, None)
    assert found.expected_calibration_error == pytest.approx(expected_calibration_error(prob, labels, 10))
    assert found.edges == pytest.approx(np.arange(11) / 10)
    json.dumps(found.to_json(), allow_nan=False)


def test_reliability_agrees_with_the_scores():
    logits, labels = told(100)
    prob = softmax(logits, axis=1)
    names = ("a", "b", "c", "d")
    assert reliability(prob, labels).expected_calibration_error == pytest.approx(
        score(prob, labels, names).expected_calibration_error
    )
    targets = np.eye(4, dtype=int)[labels]
    found = reliability(prob, targets)
    assert sum(found.counts) == 400
    expected = score_multi_label(prob, targets, names, 0.5).expected_calibration_error
    assert found.expected_calibration_error == pytest.approx(expected)


def test_chance_alone_shows_an_error_that_grows_as_pictures_are_fewer():
    means = []
    for pictures in (60, 240, 2000):
        logits, _ = told(pictures)
        prob, random = softmax(logits, axis=1), np.random.default_rng(1)
        drawn = []
        for _ in range(300):
            labels = (prob.cumsum(axis=1) > random.random((pictures, 1))).argmax(axis=1)
            drawn.append(expected_calibration_error(prob, labels))
        found = chance_errors(prob.max(axis=1))
        assert found.mean() == pytest.approx(np.mean(drawn), rel=0.06)
        assert np.quantile(found, 0.975) == pytest.approx(np.quantile(drawn, 0.975), rel=0.1)
        means.append(found.mean())
        assert reliability(prob, labels).by_chance == found.mean()
    assert means[0] > means[1] > means[2]


def test_intervals_of_calibrated_probabilities_reach_down_to_0():
    reached = []
    for seed in range(60):
        logits, labels = told(200, seed=seed)
        reached.append(score(softmax(logits, axis=1), labels, ("a", "b", "c", "d")).expected_calibration_error_interval)
    assert np.mean([low == 0 for low, _ in reached]) > 0.9
    logits, labels = told(200, factor=3.0)
    assert score(softmax(logits, axis=1), labels, ("a", "b", "c", "d")).expected_calibration_error_interval[0] > 0.05


def test_reliability_of_other_labels_is_refused():
    with pytest.raises(ShapeError, match="do not fit"):
        reliability(np.full((3, 2), 0.5), np.zeros(4, int))
