"""Areas under precision-recall curves against scikit-learn's."""

import numpy as np
import pytest
import sklearn.metrics

from tltool.evaluation import average_precision as module
from tltool.evaluation.average_precision import average_precision, drawn_mean_average_precision


def made(count=80, seed=0, decimals=2):
    """Probabilities with ties, and a class that does not occur."""
    random = np.random.default_rng(seed)
    present = random.random((count, 4)) < [0.5, 0.2, 0.05, 0.0]
    prob = 1 / (1 + np.exp(-(2.0 * present - 1 + random.normal(size=present.shape))))
    return prob.round(decimals), present


@pytest.mark.parametrize("decimals", [1, 2, 8])
def test_areas_are_those_of_scikit_learn_for_any_weights(decimals):
    prob, present = made(decimals=decimals)
    times = np.random.default_rng(1).integers(0, 3, (5, len(prob)))
    times[:, present[:, 2]] = np.maximum(times[:, present[:, 2]], 1)
    got = average_precision(prob, present, times)
    for draw in range(5):
        expected = [
            sklearn.metrics.average_precision_score(present[:, c], prob[:, c], sample_weight=times[draw])
            for c in range(3)
        ]
        assert got[draw, :3] == pytest.approx(expected, abs=1e-6)
    assert (got[:, 3] == 0).all()


def test_a_class_that_is_not_drawn_does_not_count_in_the_mean():
    prob, present = np.array([[0.9, 0.2], [0.1, 0.8], [0.3, 0.7]]), np.array([[1, 0], [0, 1], [0, 1]], bool)
    found = drawn_mean_average_precision(prob, present, seed=0)
    assert set(found) == {1.0}  # every class is told perfectly in every draw


def test_large_sets_are_drawn_less_often_but_enough(monkeypatch):
    prob, present = made(50)
    assert len(drawn_mean_average_precision(prob, present, 0)) == 1000
    monkeypatch.setattr(module, "NUMBERS", 50 * 4 * 300)
    assert len(drawn_mean_average_precision(prob, present, 0)) == 300
    monkeypatch.setattr(module, "NUMBERS", 1)
    assert len(drawn_mean_average_precision(prob, present, 0)) == module.FEWEST_DRAWS
