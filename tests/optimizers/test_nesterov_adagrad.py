"""Without momentum it is Adagrad; with a sum that hardly moves it is Nesterov's momentum."""

import keras
import numpy as np
import pytest

from tests.optimizers.contract import gradients, new_variables, stepped
from tltool.optimizers import NesterovAdagrad

FEED = [gradients(step) for step in range(20)]


def test_without_momentum_it_is_adagrad():
    expected = stepped(keras.optimizers.Adagrad(0.1), new_variables(), FEED)
    for one, other in zip(stepped(NesterovAdagrad(0.1, 0.0), new_variables(), FEED), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_with_a_sum_that_hardly_moves_it_is_nesterov():
    ours = NesterovAdagrad(1000.0 * 0.05, 0.9, initial_accumulator_value=1e6)
    theirs = keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)
    expected = stepped(theirs, new_variables(), FEED)
    for one, other in zip(stepped(ours, new_variables(), FEED), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_momentum_of_one_is_refused():
    with pytest.raises(ValueError, match=r"nesterov-adagrad: `momentum` = 1: must be a number in \[0, 1\)"):
        NesterovAdagrad(0.1, 1)
