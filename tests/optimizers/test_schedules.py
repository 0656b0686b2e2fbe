"""Every schedule by its name, at every step, against its formula in float64; and what training does with it."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from tltool.errors import OptimizerError
from tltool.optimizers.schedules import build_schedule

RATE = 0.3


def after_warm_up(name: str, rest: int) -> np.ndarray:
    """The rates of the steps from the warm-up's end to the last and one more, by the arguments in CASES."""
    step = np.arange(rest + 1, dtype=np.float64)
    if name in ("constant", "plateau"):
        return np.full(rest + 1, RATE)
    if name == "cosine":
        return RATE * (0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * step / rest)))
    if name == "one-cycle":
        top = 0.4 * rest
        up = RATE / 10 + (RATE - RATE / 10) * step / top
        down = RATE / 1e3 + (RATE - RATE / 1e3) * 0.5 * (1 + np.cos(np.pi * (step - top) / (rest - top)))
        return np.where(step < top, up, down)
    starts = rest * np.array([0, 1, 3, 7]) / 7  # cycles of 1, 2 and 4 sevenths, and past the last a fourth
    cycle = np.searchsorted(starts, step, side="right") - 1
    share = (step - starts[cycle]) / (rest / 7 * 2.0**cycle)
    return RATE * (0.05 + 0.95 * 0.5 * (1 + np.cos(np.pi * share)))


CASES = {
    "constant": {},
    "plateau": {},
    "cosine": {"floor": 0.1},
    "one-cycle": {"rise": 0.4, "start_divisor": 10, "end_divisor": 1000},
    "restarts": {"cycles": 3, "growth": 2, "floor": 0.05},
}


def rate_at(schedule, step) -> float:
    return float(schedule(step)) if callable(schedule) else schedule


@pytest.mark.parametrize("warmup", [0, 1, 6])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("rest", [7, 210])
def test_every_step(name: str, warmup: int, rest: int):
    schedule = build_schedule(name, RATE, warmup + rest, warmup, **CASES[name])
    expected = after_warm_up(name, rest)
    if name != "plateau":  # its callback warms up
        expected = np.concatenate([expected[0] * np.arange(warmup) / max(warmup, 1), expected])
    got = np.array([rate_at(schedule, step) for step in range(len(expected))])
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-7)
    assert np.isfinite(got).all()
    assert (got >= 0).all()


@pytest.mark.parametrize("name", CASES)
def test_one_step_is_enough(name: str):
    for step in range(3):
        assert 0 <= rate_at(build_schedule(name, RATE, 1), step) <= np.float32(RATE)


@pytest.mark.parametrize("steps", [100, 377])
@pytest.mark.parametrize("growth", [1, 1.1, 1.5, 3.0])
def test_restarts_of_uneven_length(steps: int, growth: float):
    lengths = steps * growth ** np.arange(5) / sum(growth ** np.arange(5))
    starts = np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
    step = np.arange(steps)
    cycle = np.searchsorted(starts, step + 1e-9, side="right") - 1
    expected = RATE * 0.5 * (1 + np.cos(np.pi * (step - starts[cycle]) / lengths[cycle]))
    schedule = build_schedule("restarts", RATE, steps, cycles=5, growth=growth)
    got = np.array([float(schedule(int(s))) for s in step])
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("warmup", [0, 4])
def test_cosine_is_what_fine_tuning_has_always_used(warmup: int):
    """Recorded runs were made with this class and these values: a rate that differs in a bit makes another run."""
    schedule = build_schedule("cosine", 0.02, 40, warmup)
    if warmup:
        before = keras.optimizers.schedules.CosineDecay(0.0, 36, warmup_target=0.02, warmup_steps=4)
    else:
        before = keras.optimizers.schedules.CosineDecay(0.02, 40, warmup_target=None, warmup_steps=0)
    assert type(schedule) is type(before)
    assert schedule.get_config() == before.get_config()


def descend(rate, steps: int, eagerly: bool) -> np.ndarray:
    """How far plain descent on a slope of 1 goes in each step: the rates that training used."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(rate), lambda y, prediction: prediction, run_eagerly=eagerly)
    one, places = np.ones((1, 1), "float32"), [0.0]
    for _ in range(steps):
        model.train_on_batch(one, one)
        places.append(-model.get_weights()[0].item())
    return np.diff(places)


@pytest.mark.parametrize("eagerly", [False, True], ids=["compiled", "eager"])
@pytest.mark.parametrize("name", [name for name in CASES if name != "plateau"])
def test_training_uses_these_rates(name: str, eagerly: bool):
    schedule = build_schedule(name, RATE, 17, 3, **CASES[name])
    expected = np.concatenate([np.arange(3) / 3 * after_warm_up(name, 14)[0], after_warm_up(name, 14)])
    np.testing.assert_allclose(descend(schedule, 18, eagerly), expected, atol=2e-6)


@pytest.mark.parametrize("name", [name for name in CASES if name != "plateau"])
def test_an_optimizer_keeps_it_in_its_config(name: str):
    schedule = build_schedule(name, RATE, 17, 3, **CASES[name])
    saved = keras.optimizers.serialize(keras.optimizers.SGD(schedule))
    again = keras.optimizers.deserialize(saved)._learning_rate
    assert [float(again(step)) for step in range(19)] == [float(schedule(step)) for step in range(19)]


def test_what_breaks_a_rule():
    for arguments, message in (
        (("cosin", 0.1, 10), "Did you mean `cosine`"),
        (("cosine", 0.0, 10), "`rate` = 0.0"),
        (("cosine", 0.1, 0), "`steps` = 0"),
        (("cosine", 0.1, 10, 10), "leaves none of 10"),
    ):
        with pytest.raises(OptimizerError, match=message):
            build_schedule(*arguments)
    with pytest.raises(OptimizerError, match="unknown argument `cycles`"):
        build_schedule("cosine", 0.1, 10, cycles=3)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="this process runs on JAX already")
def test_the_same_on_jax():
    """In compiled steps alone: outside of them JAX compiles a schedule's branches anew at each call."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
    command += ["-k", "compiled or one_step"]
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]


def test_cycles_that_do_not_fit_are_told():
    with pytest.raises(OptimizerError, match=r"50 cycles that grow by 100 do not fit into 20 steps\. Take fewer"):
        build_schedule("restarts", 0.1, 20, cycles=50, growth=100)
