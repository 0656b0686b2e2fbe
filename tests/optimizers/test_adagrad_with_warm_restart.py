"""The cycles: where they begin, and that the sum begins afresh with them."""

import keras
import numpy as np
import pytest

from tests.optimizers.contract import value
from tltool.optimizers import AdagradWithWarmRestart


def steps_of(optimizer, count: int) -> np.ndarray:
    """How far each step goes against a gradient of 1."""
    variable = keras.Variable([0.0], dtype="float64")
    points = [0.0]
    for _ in range(count):
        optimizer.apply([np.ones(1)], [variable])
        points.append(float(value(variable)[0]))
    return -np.diff(points)


@pytest.mark.parametrize(
    ("growth", "starts"), [(1, [0, 4, 8, 12, 16, 20, 24, 28]), (2, [0, 4, 12, 28]), (3, [0, 4, 16])]
)
def test_a_step_at_the_start_of_a_cycle_is_like_the_first(growth: int, starts: list[int]):
    steps = steps_of(AdagradWithWarmRestart(0.1, first_cycle=4, cycle_growth=growth), 30)
    first = 0.1 / np.sqrt(0.1 + 1)
    assert np.flatnonzero(np.isclose(steps, first, rtol=1e-5)).tolist() == starts
    assert (steps > 0).all()


def test_a_cycle_of_one_step_is_a_constant_rate():
    steps = steps_of(AdagradWithWarmRestart(0.1, first_cycle=1), 6)
    np.testing.assert_allclose(steps, 0.1 / np.sqrt(1.1), rtol=1e-6)


def test_late_steps_are_counted_exactly():
    """A float32 counts no odd numbers past 2^24, and a long run does."""
    optimizer = AdagradWithWarmRestart(0.1, first_cycle=1000, cycle_growth=2)
    variable = keras.Variable([0.0])
    optimizer.build([variable])
    last_start = sum(1000 * 2**cycle for cycle in range(15))
    optimizer.iterations.assign(last_start - 1)
    moved = []
    for _ in range(3):
        before = value(variable)
        optimizer.apply([np.ones(1, "float32")], [variable])
        moved.append(float((before - value(variable))[0]))
    assert moved[1] == pytest.approx(0.1 / np.sqrt(1.1), rel=1e-5)
    assert moved[0] < 1e-6


def test_gradient_accumulation_counts_updates():
    plain = steps_of(AdagradWithWarmRestart(0.1, first_cycle=3), 9)
    halves = steps_of(AdagradWithWarmRestart(0.1, first_cycle=3, gradient_accumulation_steps=2), 18)
    np.testing.assert_allclose(halves[1::2], plain, rtol=1e-6)
    np.testing.assert_array_equal(halves[::2], 0)


@pytest.mark.parametrize("arguments", [{"first_cycle": 0}, {"first_cycle": 2.5}, {"cycle_growth": 0}, {"floor": 1.5}])
def test_values_out_of_range_are_refused(arguments: dict):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"adagrad-with-warm-restart: `{name}` = .*: must be"):
        AdagradWithWarmRestart(0.1, **arguments)
