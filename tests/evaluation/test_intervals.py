"""Intervals against SciPy, closed forms and their own promise."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import binomtest, norm

from tltool.evaluation import intervals
from tltool.evaluation.intervals import (
    bootstrap_means,
    bootstrap_times,
    percentile_interval,
    reflected_interval,
    wilson_interval,
    wilson_intervals,
)


@pytest.mark.parametrize(("hits", "count"), [(0, 3), (2, 3), (17, 40), (40, 40)])
def test_wilson_is_that_of_scipy(hits, count):
    expected = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert wilson_interval(hits, count) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_a_share_of_nothing_has_no_interval():
    found = wilson_intervals(np.array([0, 3]), np.array([0, 4]))
    assert found == (None, wilson_interval(3, 4))


def test_every_draw_is_as_large_as_the_sample():
    times = np.concatenate(list(bootstrap_times(7, 0, 300)))
    assert times.shape == (300, 7)
    assert (times.sum(axis=1) == 7).all()
    assert times.mean(axis=0) == pytest.approx(np.ones(7), abs=0.25)


def test_draws_do_not_depend_on_how_they_are_cut(monkeypatch):
    values = np.random.default_rng(0).normal(size=(50, 3))
    whole = bootstrap_means(values, seed=4, draws=20)
    monkeypatch.setattr(intervals, "CHUNK", 150)
    np.testing.assert_allclose(bootstrap_means(values, seed=4, draws=20), whole, atol=1e-12)
    assert not np.allclose(bootstrap_means(values, seed=5, draws=20), whole)


def test_sparse_numbers_give_what_dense_ones_give():
    values = np.random.default_rng(1).integers(0, 2, (40, 5)).astype(float)
    np.testing.assert_allclose(bootstrap_means(csr_array(values), 0), bootstrap_means(values, 0), atol=1e-12)


def test_the_interval_of_a_mean_is_that_of_the_normal():
    values = np.random.default_rng(2).normal(3.0, 2.0, size=(400, 1))
    low, high = percentile_interval(bootstrap_means(values, 0)[:, 0])
    half = norm.ppf(0.975) * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.15 * half)


def test_a_reflected_interval_takes_off_what_drawing_adds():
    drawn = np.linspace(0.1, 0.3, 1001)  # around 0.2, where the score itself is 0.1
    chance = np.linspace(0.0, 0.05, 1001)
    assert reflected_interval(0.1, drawn, chance) == pytest.approx((0.0, 0.095), abs=1e-3)
    assert reflected_interval(0.2, drawn, chance) == pytest.approx((0.105, 0.295), abs=1e-3)
    assert reflected_interval(0.2, drawn, 6 * chance) == pytest.approx((0.0, 0.295), abs=1e-3)
