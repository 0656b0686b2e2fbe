"""The final weights in the midst of training, for optimizers of Keras's own and inside those that hold others."""

import keras
import numpy as np
import pytest

from tests.optimizers.contract import DATA, TARGETS, new_model, state, train, values
from tltool.optimizers import Nesterov, finalized


def divided() -> keras.optimizers.Optimizer:
    inner = keras.optimizers.OptimizerMap(keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.5))
    inner["hidden/.*"] = Nesterov(0.05)
    return keras.optimizers.MultiOptimizer(inner)


MAKERS = {
    "adam with an average": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.5),
    "look-ahead": lambda: Nesterov(0.05),
    "look-ahead with an average": lambda: Nesterov(0.05, use_ema=True, ema_momentum=0.5),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(Nesterov(0.05)),
    "divided": divided,
}


@pytest.mark.parametrize("name", MAKERS)
def test_shows_the_final_weights_and_goes_on_as_if_nothing_had_been(name: str):
    watched, left_alone = new_model(MAKERS[name]()), new_model(MAKERS[name]())
    train(left_alone, 0, 6)
    for step in range(6):
        with finalized(watched.optimizer, watched.trainable_variables):
            seen = values(watched.trainable_variables)
            watched.evaluate(DATA, TARGETS, verbose=0)
        train(watched, step, step + 1)
    after = values(watched.trainable_variables)
    for one, other in zip(after, values(left_alone.trainable_variables), strict=True):
        np.testing.assert_array_equal(one, other)
    ended = new_model(MAKERS[name]())
    train(ended, 0, 5)
    before = values(ended.trainable_variables)
    ended.optimizer.finalize_variable_values(ended.trainable_variables)
    for one, other in zip(seen, values(ended.trainable_variables), strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(not np.array_equal(one, other) for one, other in zip(before, seen, strict=True))


def test_an_error_inside_brings_the_weights_back():
    model = new_model(Nesterov(0.05))
    train(model, 0, 3)
    before = state(model)
    with pytest.raises(KeyError), finalized(model.optimizer, model.trainable_variables):
        raise KeyError
    for one, other in zip(state(model)[:4], before[:4], strict=True):
        np.testing.assert_array_equal(one, other)


def test_nothing_happens_where_weights_are_final_all_the_time():
    model = new_model(keras.optimizers.Adam(0.01))
    train(model, 0, 3)
    before = state(model)
    with finalized(model.optimizer, model.trainable_variables):
        assert all(np.array_equal(one, other) for one, other in zip(state(model), before, strict=True))
