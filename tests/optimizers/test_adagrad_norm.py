"""One scalar for each variable: the direction stays, and the rate hardly matters."""

import keras
import numpy as np
import pytest

from tests.optimizers.contract import value
from tltool.optimizers import AdagradNorm

CURVATURE = np.array([1.0, 5.0], "float32")


def test_the_step_keeps_the_gradients_direction():
    gradient = np.array([[3.0, -4.0]], "float32")
    variable, optimizer = keras.Variable(np.zeros((1, 2), "float32")), AdagradNorm(0.2)
    optimizer.apply([gradient], [variable])
    np.testing.assert_allclose(value(variable), -0.2 * gradient / np.sqrt(0.1 + 25), rtol=1e-6)
    scalars = [slot for slot in optimizer.variables if "accumulator" in slot.path]
    assert [slot.shape for slot in scalars] == [()]


@pytest.mark.parametrize("rate", [0.1, 1.0, 10.0, 100.0])
def test_any_rate_converges_where_gradient_descent_diverges(rate: float):
    variable, optimizer = keras.Variable([2.0, 1.0]), AdagradNorm(rate)
    for _ in range(3000):
        optimizer.apply([variable * CURVATURE], [variable])
    assert np.abs(value(variable)).max() < 1e-2


def test_an_empty_start_is_refused():
    with pytest.raises(ValueError, match="adagrad-norm: `initial_accumulator_value` = 0: must be a number above 1e-30"):
        AdagradNorm(0.1, 0)
