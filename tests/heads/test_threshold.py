"""The threshold is the one that trying them all finds."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tltool.heads.threshold import tune_threshold


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_is_the_best_of_all(seed):
    random = np.random.default_rng(seed)
    targets = (random.random((40, 3)) < [0.6, 0.3, 0.1]).astype(int)
    prob = 1 / (1 + np.exp(1.5 - 2.0 * targets - random.normal(size=(40, 3))))
    prob = prob.round(2)  # ties, between which no threshold can be
    tuned = tune_threshold(prob, targets)
    best = max(f1_score(targets, prob >= t, average="micro") for t in np.unique(prob))
    assert f1_score(targets, prob >= tuned, average="micro") == pytest.approx(best)
    assert tuned not in prob


def test_the_threshold_of_nothing_is_a_half():
    assert tune_threshold(np.full((3, 2), 0.2), np.zeros((3, 2))) == 0.5
