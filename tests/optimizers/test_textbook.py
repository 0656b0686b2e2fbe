"""Fifty steps in float32 against the equations of docs/optimizers.md, written out here in float64 NumPy."""

import keras
import numpy as np
import pytest

from tltool.optimizers import get

STEPS = 50
START = np.random.default_rng(0).normal(size=(3, 4)) + 2.0
CURVATURE = np.geomspace(0.05, 2.0, 12).reshape(3, 4)
DRIFT = np.random.default_rng(1).normal(size=(STEPS, 3, 4)) * 0.3
EPSILON = 1e-7
RATE = 0.02


def gradient(weights, step: int):
    """Of a bowl that moves a little from step to step, as with minibatches."""
    return CURVATURE * weights + DRIFT[step]


def sgd(x):
    for t in range(STEPS):
        x = x - RATE * gradient(x, t)
    return x


def momentum(x, mu=0.9):
    v = 0.0
    for t in range(STEPS):
        v = mu * v - RATE * gradient(x, t)
        x = x + v
    return x


def nesterov_lookahead(x, mu=0.9):
    v = 0.0
    for t in range(STEPS):
        v = mu * v - RATE * gradient(x + mu * v, t)
        x = x + v
    return x


def nesterov_reformulated(x, mu=0.9):
    v = 0.0
    for t in range(STEPS):
        g = gradient(x, t)
        before, v = v, mu * v - RATE * g
        x = x + (1 + mu) * v - mu * before
    return x


def adagrad(x):
    a = 0.1
    for t in range(STEPS):
        g = gradient(x, t)
        a = a + g**2
        x = x - RATE * g / np.sqrt(a + EPSILON)
    return x


def decayed_adagrad(x, decay=0.95):
    a = 0.1
    for t in range(STEPS):
        g = gradient(x, t)
        a = decay * a + g**2
        x = x - RATE * g / np.sqrt(a + EPSILON)
    return x


def adagrad_norm(x):
    b = np.sqrt(0.1)
    for t in range(STEPS):
        g = gradient(x, t)
        b = np.sqrt(b**2 + np.linalg.norm(g) ** 2)
        x = x - RATE * g / b
    return x


def nesterov_adagrad(x, mu=0.9):
    """In the original form, and shifted at the end: the variables hold the look-ahead point."""
    a, v = 0.1, 0.0
    for t in range(STEPS):
        g = gradient(x + mu * v, t)
        a = a + g**2
        v = mu * v - RATE * g / np.sqrt(a + EPSILON)
        x = x + v
    return x + mu * v


def adagrad_with_warm_restart(x):
    step, length = 0, 7
    for t in range(STEPS):
        if step == length:
            step, length = 0, length * 2
        if step == 0:
            a = 0.1
        g = gradient(x, t)
        a = a + g**2
        rate = RATE * (0.1 + 0.9 * (1 + np.cos(np.pi * step / length)) / 2)
        x = x - rate * g / np.sqrt(a + EPSILON)
        step += 1
    return x


def rmsprop(x, rho=0.9):
    a = 0.0
    for t in range(STEPS):
        g = gradient(x, t)
        a = rho * a + (1 - rho) * g**2
        x = x - RATE * g / np.sqrt(a + EPSILON)
    return x


def adam(x, beta_1=0.9, beta_2=0.999, weight_decay=0.0):
    m, a = 0.0, 0.0
    for t in range(STEPS):
        g = gradient(x, t)
        x = x * (1 - RATE * weight_decay)
        m = beta_1 * m + (1 - beta_1) * g
        a = beta_2 * a + (1 - beta_2) * g**2
        # Both corrected for their start at 0; epsilon stands beside the root before its correction.
        correction = np.sqrt(1 - beta_2 ** (t + 1)) / (1 - beta_1 ** (t + 1))
        x = x - RATE * correction * m / (np.sqrt(a) + EPSILON)
    return x


def adamw(x):
    return adam(x, weight_decay=0.1)


def lion(x, beta_1=0.9, beta_2=0.99):
    m = 0.0
    for t in range(STEPS):
        g = gradient(x, t)
        x = x - RATE * np.sign(beta_1 * m + (1 - beta_1) * g)
        m = beta_2 * m + (1 - beta_2) * g
    return x


@pytest.mark.parametrize(
    ("name", "arguments", "textbook"),
    [
        ("sgd", {}, sgd),
        ("momentum", {}, momentum),
        ("nesterov", {}, nesterov_lookahead),
        ("nesterov", {"form": "reformulated"}, nesterov_reformulated),
        ("adagrad", {}, adagrad),
        ("decayed-adagrad", {"decay": 0.95}, decayed_adagrad),
        ("adagrad-norm", {}, adagrad_norm),
        ("nesterov-adagrad", {}, nesterov_adagrad),
        ("adagrad-with-warm-restart", {"first_cycle": 7, "cycle_growth": 2, "floor": 0.1}, adagrad_with_warm_restart),
        ("rmsprop", {}, rmsprop),
        ("adam", {}, adam),
        ("adamw", {"weight_decay": 0.1}, adamw),
        ("lion", {}, lion),
    ],
)
def test_follows_the_textbook(name: str, arguments: dict, textbook):
    weights = keras.Variable(START.astype("float32"))
    optimizer = get(name, learning_rate=RATE, **arguments)
    for step in range(STEPS):
        optimizer.apply([gradient(weights, step)], [weights])
    optimizer.finalize_variable_values([weights])
    expected = textbook(START)
    error = np.linalg.norm(keras.ops.convert_to_numpy(weights) - expected) / np.linalg.norm(expected)
    # Keras raises Adam's betas to powers in float32: 1 - 0.999 is 1e-3, give or take 3e-5 of it.
    assert error < (5e-6 if name in ("adam", "adamw") else 1e-6)
    assert np.linalg.norm(expected - START) > 0.02 * np.linalg.norm(START)  # it has gone somewhere
