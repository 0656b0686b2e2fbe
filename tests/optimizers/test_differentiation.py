"""First and second derivatives against closed forms; a backend and layers that do not have them."""

import keras
import numpy as np
import pytest

from tltool.errors import OptimizerError
from tltool.optimizers.differentiation import Derivatives
from tltool.optimizers.newton_cg import NewtonCG

VALUES = [np.array([0.5, -1.0, 2.0], np.float32), np.array([[3.0]], np.float32), np.ones(2, np.float32)]


def loss(values, fixed, batch):
    """The sum of fixed * a**3, times b, plus the batch; the third value has no part in it."""
    first, second, _ = values
    return keras.ops.sum(fixed[0] * first**3) * second[0, 0] + keras.ops.sum(batch[0])


def test_values_and_derivatives_are_those_of_the_closed_form():
    fixed, batch = [np.array([1.0, 2.0, 3.0], np.float32)], (np.full(2, 7.0, np.float32),)
    derivatives = Derivatives("Mine", loss)
    result, gradient = derivatives.loss_and_gradient(VALUES, fixed, batch)
    first = VALUES[0]
    assert float(result) == pytest.approx((fixed[0] * first**3).sum() * 3 + 14)
    expected = [9 * fixed[0] * first**2, [[(fixed[0] * first**3).sum()]], [0, 0]]
    for found, one in zip(gradient, expected, strict=True):
        np.testing.assert_allclose(found, one, rtol=1e-6)

    vectors = [np.array([1.0, -2.0, 0.5], np.float32), np.array([[4.0]], np.float32), np.ones(2, np.float32)]
    product = derivatives.hessian_vector(VALUES, vectors, fixed, batch)
    slope = 3 * fixed[0] * first**2
    expected = [18 * fixed[0] * first * vectors[0] + slope * 4, [[slope @ vectors[0]]], [0, 0]]
    for found, one in zip(product, expected, strict=True):
        np.testing.assert_allclose(found, one, rtol=1e-6)


def test_each_function_is_traced_once():
    traced = []

    def recorded(values, fixed, batch):
        traced.append(1)
        return loss(values, fixed, batch)

    derivatives = Derivatives("Mine", recorded)
    fixed = [np.ones(3, np.float32)]
    for step in range(5):
        values = [array + step for array in VALUES]
        derivatives.loss_and_gradient(values, fixed, (np.full(2, step, np.float32),))
        derivatives.hessian_vector(values, VALUES, fixed, (np.full(2, step, np.float32),))
    assert len(traced) == 2


def test_a_layer_without_a_second_derivative_is_told():
    """TensorFlow has no derivative of the derivative of bicubic resizing."""
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Conv2D(1, 1),
            keras.layers.UpSampling2D(2, interpolation="bicubic"),
            keras.layers.GlobalMaxPooling2D(),
        ]
    )
    model.compile(loss="mse")
    pictures = np.random.default_rng(0).normal(size=(3, 4, 4, 1)).astype(np.float32)
    with pytest.raises(OptimizerError, match=r"NewtonCG: a layer .* cannot be differentiated twice .*LBFGS needs only"):
        NewtonCG().minimize(model, (pictures, np.ones((3, 1), np.float32)))


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(OptimizerError, match=r"Mine: cannot .* backend torch\. Set KERAS_BACKEND to tensorflow or jax"):
        Derivatives("Mine", loss)
