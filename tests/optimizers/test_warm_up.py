"""The linear rise: where it ends, what follows it, and that an optimizer takes it."""

import keras
import numpy as np
import pytest
from keras.optimizers.schedules import CosineDecay, PiecewiseConstantDecay

from tltool.errors import OptimizerError
from tltool.optimizers.warm_up import WarmUp


def rates(schedule, steps: int) -> np.ndarray:
    return np.array([float(schedule(step)) for step in range(steps)])


def test_rise_and_then_the_rate():
    expected = [0.4 * min(step / 5, 1) for step in range(12)]
    np.testing.assert_allclose(rates(WarmUp(0.4, 5), 12), expected, rtol=1e-6)
    assert rates(WarmUp(0.4, 1), 3).tolist() == [0, np.float32(0.4), np.float32(0.4)]


def test_what_follows_counts_from_its_own_start():
    after = CosineDecay(0.3, 10, alpha=0.1)
    expected = np.concatenate([0.3 * np.arange(4) / 4, rates(after, 11)])
    np.testing.assert_allclose(rates(WarmUp(after, 4), 15), expected, rtol=1e-6)


def test_a_step_may_be_a_number_a_tensor_or_a_variable():
    schedule = WarmUp(PiecewiseConstantDecay([3], [0.2, 0.1]), 2)
    for step, expected in enumerate([0, 0.1, 0.2, 0.2, 0.2, 0.2, 0.1, 0.1]):
        counted = keras.Variable(step, dtype="int", trainable=False)
        for given in (step, np.int64(step), keras.ops.convert_to_tensor(step), counted):
            assert float(schedule(given)) == pytest.approx(expected, rel=1e-6), step


def test_config_round_trip():
    for after in (0.2, CosineDecay(0.2, 7), WarmUp(CosineDecay(0.2, 7), 2)):
        schedule = WarmUp(after, 3)
        again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
        assert isinstance(again, WarmUp)
        assert rates(again, 15).tolist() == rates(schedule, 15).tolist()
        optimizer = keras.optimizers.Adam(schedule)
        copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
        assert copy.get_config() == optimizer.get_config()


def test_bad_values():
    with pytest.raises(OptimizerError, match="Warm-up: `steps` = 0: must be a whole number, 1 or above"):
        WarmUp(0.1, 0)
    with pytest.raises(OptimizerError, match=r"Warm-up: `after` = -0\.1: must be a number above 0"):
        WarmUp(-0.1, 3)
