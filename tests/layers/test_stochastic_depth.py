"""StochasticDepth: which pictures lose the branch, how often, and what that does to a residual network."""

import keras
import numpy as np
import pytest

from tests.layers.contract import pictures, value
from tltool.errors import RegularizerError
from tltool.layers.stochastic_depth import StochasticDepth


@pytest.mark.parametrize("shape", [(), (4,), (3, 4), (3, 2, 5)])
def test_each_picture_keeps_its_whole_branch_or_loses_it(shape):
    x = pictures(shape, 64)
    out = value(StochasticDepth(0.4, seed=1)(x, training=True))
    kept = np.isclose(out, x / 0.6, rtol=1e-6).reshape(64, -1)
    lost = (out == 0).reshape(64, -1)
    assert (kept.all(axis=1) | lost.all(axis=1)).all()
    assert 0 < lost.all(axis=1).sum() < 64  # each picture for itself


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
def test_the_share_of_lost_branches_is_the_rate(rate: float):
    count = 40_000
    lost = (value(StochasticDepth(rate, seed=2)(np.ones((count, 1), "float32"), training=True)) == 0).mean()
    assert abs(lost - rate) < 4.5 * np.sqrt(rate * (1 - rate) / count)


def test_a_residual_network_expects_in_training_its_output_at_test_time():
    # Linear, so that the expectation passes through all of it; 20,000 times one picture, at 4.5 standard errors.
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input((3,))
    for step in range(4):
        branch = keras.layers.Dense(3, name=f"branch{step}")(x)
        x = keras.layers.Add()([x, StochasticDepth(0.1 * (step + 1), seed=step)(branch)])
    model = keras.Model(inputs, x)
    same = np.tile(pictures((3,), 1), (20_000, 1))
    trained, tested = value(model(same, training=True)).astype("float64"), value(model(same[:1]))[0]
    error = trained.std(axis=0, ddof=1) / np.sqrt(len(same))
    assert (np.abs(trained.mean(axis=0) - tested) < 4.5 * error).all()
    assert (error < 0.02 * np.abs(tested).max()).all()


def test_a_lost_branch_that_overflowed_adds_nothing():
    out = value(StochasticDepth(0.5, seed=1)(np.full((32, 2), np.inf, "float32"), training=True))
    assert set(np.unique(out)) == {0.0, np.inf}


def test_rate_zero_keeps_everything():
    x = pictures((3,))
    np.testing.assert_array_equal(value(StochasticDepth(0)(x, training=True)), x)


@pytest.mark.parametrize("rate", [1, 1.0, -0.1, True, "0.1", None, float("nan")])
def test_a_rate_out_of_range_is_told(rate):
    with pytest.raises(RegularizerError, match=r"StochasticDepth: `rate` .* in \[0, 1\), not "):
        StochasticDepth(rate)
