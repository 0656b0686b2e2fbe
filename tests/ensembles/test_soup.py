"""The greedy soup on losses that can be computed by hand."""

import numpy as np
import pytest

from tltool.ensembles.soup import greedy_soup


def points(*places):
    return [[np.array(place, np.float32)] for place in places]


def distance(goal):
    return lambda weights: float(np.abs(weights[0] - np.array(goal)).sum())


def test_what_helps_is_added_in_order_of_the_scores():
    """Distances 3, 1 and 2 from 0: -1 is first, then +2 (mean 0.5, nearer), then 3 (mean 1.33, farther)."""
    mixture = greedy_soup(points([3.0], [-1.0], [2.0]), distance([0.0]))
    assert mixture.chosen == (1, 2)
    assert mixture.scores == (3.0, 1.0, 2.0)
    np.testing.assert_allclose(mixture.weights[0], [0.5])
    assert mixture.score == pytest.approx(0.5)


def test_what_only_harms_is_left_out():
    mixture = greedy_soup(points([1.0], [2.0], [5.0]), distance([0.0]))
    assert mixture.chosen == (0,)
    np.testing.assert_array_equal(mixture.weights[0], [1.0])


def test_all_corners_around_the_goal_are_taken_and_the_mean_is_plain():
    """The squared length of the mean of k unit vectors at right angles is 1 / k: each one helps."""
    corners = np.eye(4, dtype=np.float32) * np.array([1.0, 1.01, 1.02, 1.03], np.float32)[:, None]
    mixture = greedy_soup([[corner] for corner in corners], lambda weights: float(np.square(weights[0]).sum()))
    assert mixture.chosen == (0, 1, 2, 3)
    np.testing.assert_allclose(mixture.weights[0], corners.mean(axis=0), rtol=1e-6)
    assert mixture.score == pytest.approx(1 / 4, rel=0.05)


def test_equals_are_added():
    """As in the paper: a candidate is left out where the mean is worse, not where it is as good."""
    assert greedy_soup(points([1.0], [1.0]), distance([0.0])).chosen == (0, 1)


def test_a_score_that_is_no_number_is_the_worst():
    broken = greedy_soup(points([np.nan], [2.0], [-2.0]), distance([0.0]))
    assert broken.chosen == (1, 2)
    assert broken.scores[0] == float("inf")
    np.testing.assert_array_equal(broken.weights[0], [0.0])


def test_means_are_finished_before_they_are_scored_and_candidates_are_not():
    """Finishing doubles: the mean of 1 and -2, -0.5, becomes -1, which is as good as 1 and is kept as it was scored."""
    mixture = greedy_soup(points([1.0], [-2.0]), distance([0.0]), lambda mean: [2 * weight for weight in mean])
    assert mixture.scores == (1.0, 2.0)
    assert mixture.chosen == (0, 1)
    np.testing.assert_array_equal(mixture.weights[0], [-1.0])
