"""Strangers are found, also a handful of one kind; what is merely spread out is not called odd."""

import numpy as np
import pytest

from tltool.doctor import odd_ones as module
from tltool.doctor.odd_ones import odd_ones


def crowd(count=300, seed=0):
    """Clusters of different spread in 40 directions, of which 6 vary."""
    random = np.random.default_rng(seed)
    centers = random.normal(0, 3, (4, 6))
    inner = centers[np.arange(count) % 4] + random.normal(size=(count, 6))
    return inner @ random.normal(size=(6, 40)) + 0.1 * random.normal(size=(count, 40)), random


@pytest.mark.parametrize("strangers", [1, 5])
def test_strangers_are_found_first(strangers):
    usual, random = crowd()
    stranger = 12 * random.normal(size=40)
    odd, scores = odd_ones(np.vstack([usual, stranger + 0.3 * random.normal(size=(strangers, 40))]))
    assert set(odd[:strangers].tolist()) == set(range(300, 300 + strangers))
    assert len(odd) - strangers <= 6
    assert scores.shape == (300 + strangers,)
    assert (np.diff(scores[odd]) <= 0).all()


def test_hardly_anything_is_odd_where_nothing_is():
    assert len(odd_ones(crowd()[0])[0]) <= 6


def test_scale_and_place_of_a_feature_do_not_matter():
    usual, random = crowd()
    scaled = usual * 10.0 ** random.integers(-1, 2, 40) + random.normal(size=40)
    np.testing.assert_allclose(odd_ones(usual)[1], odd_ones(scaled)[1], atol=0.05)


@pytest.mark.parametrize("features", [np.zeros((100, 7)), np.ones((20, 7))])
def test_equal_or_few_pictures_are_not_odd(features):
    odd, scores = odd_ones(features)
    assert len(odd) == 0
    assert len(scores) == len(features)


def test_large_sets_are_compared_with_a_sample(monkeypatch):
    usual, random = crowd(600)
    features = np.vstack([usual, 12 * random.normal(size=40)])
    monkeypatch.setattr(module, "REFERENCE", 200)
    odd, _ = odd_ones(features)
    assert odd[0] == 600
    assert len(odd) <= 15
