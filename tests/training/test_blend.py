"""Blending: between two networks, never worse than either end, and the first end where they are equal."""

import math

import numpy as np
import pytest

from tltool.training.blend import FACTORS, best_blend, blended

START, END = [np.array([1.0, 2.0], np.float32)], [np.array([3.0, -2.0], np.float32)]


def test_the_ends_are_the_given_weights_and_between_is_a_straight_line():
    assert blended(START, END, 0.0)[0] is START[0]
    assert blended(START, END, 1.0)[0] is END[0]
    (between,) = blended(START, END, 0.3)
    np.testing.assert_allclose(between, [1.6, 0.8], rtol=1e-6)
    assert between.dtype == np.float32


@pytest.mark.parametrize(
    ("scores", "factor"),
    [
        (lambda factor: (factor - 0.42) ** 2, 0.4),
        (lambda factor: 1.0, 0.0),
        (lambda factor: -factor, 1.0),
        (lambda factor: math.nan if factor > 0 else 5.0, 0.0),
    ],
)
def test_the_lowest_score_wins_and_of_equals_the_nearest_to_the_start(scores, factor):
    of = {tuple(blended(START, END, each)[0]): each for each in FACTORS}
    best = best_blend(START, END, lambda weights: scores(of[tuple(weights[0])]))
    assert best.factor == factor
    assert best.score == scores(factor)
    assert list(best.scores) == list(FACTORS)
