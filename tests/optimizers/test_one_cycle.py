"""One rise and one fall, against the formula in float64."""

import keras
import numpy as np
import pytest

from tltool.errors import OptimizerError
from tltool.optimizers.one_cycle import OneCycle


def expected(step: np.ndarray, rate: float, steps: int, rise: float, start: float, end: float) -> np.ndarray:
    """Smith and Topin's cycle; the way down is half a cosine."""
    top = rise * steps
    step = np.minimum(step, steps)
    up = rate / start + (rate - rate / start) * step / top
    down = rate / end + (rate - rate / end) * 0.5 * (1 + np.cos(np.pi * (step - top) / (steps - top)))
    return np.where(step < top, up, down)


@pytest.mark.parametrize(
    ("steps", "rise", "start", "end"), [(1, 0.3, 25, 1e4), (2, 0.5, 1, 1), (37, 0.25, 10, 1e6), (100, 0.99, 4, 1e5)]
)
def test_every_step(steps: int, rise: float, start: float, end: float):
    schedule, step = OneCycle(0.7, steps, rise, start, end), np.arange(steps + 3)
    got = np.array([float(schedule(int(s))) for s in step])
    np.testing.assert_allclose(got, expected(step, 0.7, steps, rise, start, end), rtol=1e-5, atol=1e-7)
    assert (got > 0).all()
    assert got[-1] == got[-2] == pytest.approx(0.7 / end, rel=1e-5)


def test_a_very_long_one_is_never_negative():
    steps = 3_000_000
    schedule, step = (
        OneCycle(1.0, steps, end_divisor=1e9),
        np.append(np.arange(0, steps, 9973), np.arange(-30, 3) + steps),
    )
    got = np.array([float(schedule(int(s))) for s in step])
    np.testing.assert_allclose(got, expected(step, 1.0, steps, 0.3, 25, 1e9), rtol=1e-4, atol=3e-7)
    assert (got >= 0).all()


def test_highest_in_the_middle_lowest_at_the_end():
    got = [float(OneCycle(0.5, 40, rise=0.25)(step)) for step in range(41)]
    assert got[10] == max(got) == pytest.approx(0.5)
    assert got[0] == pytest.approx(0.02)
    assert got[40] == min(got) == pytest.approx(5e-5, rel=1e-4)


def test_config_round_trip():
    schedule = OneCycle(0.5, 40, 0.2, 5.0, 50.0)
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    assert [float(again(step)) for step in range(42)] == [float(schedule(step)) for step in range(42)]


def test_bad_values():
    with pytest.raises(OptimizerError) as raised:
        OneCycle(0.0, 0, rise=0.0)
    assert [line.split(" = ")[0] for line in str(raised.value).splitlines()] == [
        "One-cycle: `rate`",
        "One-cycle: `steps`",
        "One-cycle: `rise`",
    ]
