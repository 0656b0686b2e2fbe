"""The leak: none makes it Adagrad, from an empty sum it is RMSProp, and with it the step does not die out."""

import keras
import numpy as np
import pytest

from tests.optimizers.contract import gradients, new_variables, stepped, value
from tltool.optimizers import DecayedAdagrad

FEED = [gradients(step) for step in range(20)]


def assert_close(first, second):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_without_a_leak_it_is_adagrad():
    expected = stepped(keras.optimizers.Adagrad(0.1), new_variables(), FEED)
    assert_close(stepped(DecayedAdagrad(0.1, decay=1.0), new_variables(), FEED), expected)


def test_from_an_empty_sum_it_is_rmsprop():
    ours = DecayedAdagrad(0.1, decay=0.8, initial_accumulator_value=0.0, epsilon=1e-4)
    theirs = keras.optimizers.RMSprop(0.1 * np.sqrt(0.2), rho=0.8, epsilon=1e-4 * 0.2)
    assert_close(stepped(ours, new_variables(), FEED), stepped(theirs, new_variables(), FEED))


def test_its_step_levels_off_where_adagrads_dies_out():
    def last_step(optimizer) -> float:
        variable = keras.Variable([0.0])
        for _ in range(400):
            before = value(variable)
            optimizer.apply([np.ones(1, "float32")], [variable])
        return float((before - value(variable))[0])

    assert last_step(DecayedAdagrad(0.1, decay=0.9)) == pytest.approx(0.1 * np.sqrt(1 - 0.9), rel=1e-3)
    assert last_step(keras.optimizers.Adagrad(0.1)) == pytest.approx(0.1 / np.sqrt(400), rel=1e-2)


@pytest.mark.parametrize("arguments", [{"decay": 0.0}, {"decay": 1.1}, {"epsilon": 0.0}, {"learning_rate": 0.0}])
def test_values_out_of_range_are_refused(arguments: dict):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"decayed-adagrad: `{name}` = .*: must be"):
        DecayedAdagrad(**arguments)
