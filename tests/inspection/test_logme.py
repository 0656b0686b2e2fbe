"""LogME against the evidence itself, maximized by SciPy over dense covariances."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from tltool.errors import ShapeError
from tltool.inspection.logme import log_evidence


def made(pictures, width, classes=3, signal=1.0, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(pictures) % classes
    features = random.normal(size=(pictures, width)) + signal * random.normal(size=(classes, width))[labels]
    return features, labels


def direct(features, target):
    """The highest log density of the target under N(0, I / beta + F F' / alpha), by a search over both."""

    def cost(logs):
        alpha, beta = np.exp(logs)
        covariance = np.eye(len(target)) / beta + features @ features.T / alpha
        return -multivariate_normal(np.zeros(len(target)), covariance).logpdf(target)

    found = [
        minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9, "maxiter": 4000}).fun
        for start in ([0.0, 0.0], [3.0, 2.0])
    ]
    return -min(found)


@pytest.mark.parametrize(("pictures", "width"), [(60, 8), (40, 100)])
@pytest.mark.parametrize("signal", [0.3, 1.0])
def test_it_is_the_highest_evidence(pictures, width, signal):
    features, labels = made(pictures, width, signal=signal)
    expected = np.mean([direct(features, np.eye(3)[labels][:, k]) for k in range(3)]) / pictures
    assert log_evidence(features, labels) == pytest.approx(expected, abs=2e-4)


def test_labels_of_several_classes_are_regressions_of_their_own():
    features, labels = made(50, 10)
    assert log_evidence(features, np.eye(3, dtype=int)[labels]) == pytest.approx(log_evidence(features, labels))


def test_features_that_say_more_score_higher():
    scores = [log_evidence(*made(200, 30, signal=signal)) for signal in (0.0, 0.3, 1.0)]
    assert scores == sorted(scores)
    features, labels = made(200, 30)
    assert log_evidence(np.zeros_like(features), labels) < scores[1]


def test_what_does_not_depend_on_the_features_basis():
    features, labels = made(80, 20)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(20, 20)))[0]
    assert log_evidence(features @ rotation, labels) == pytest.approx(log_evidence(features, labels), abs=1e-6)


def test_shapes_that_do_not_fit():
    with pytest.raises(ShapeError, match="do not fit"):
        log_evidence(np.zeros((4, 2)), np.zeros(3, int))
