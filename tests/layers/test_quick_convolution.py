"""A convolution and the BatchNorm behind it as one: against float64 NumPy, and what a layer owes to Keras."""

import keras
import numpy as np
import pytest
from keras import layers

from tltool.layers.quick_convolution import QuickConvolution

RANDOM = np.random.default_rng(0)
PICTURES = RANDOM.normal(size=(4, 6, 5, 3)).astype(np.float32)


def built(layer: keras.layers.Layer, shape: tuple) -> keras.layers.Layer:
    """With weights that differ from each other, each of them positive as a variance is."""
    layer.build(shape)
    layer.set_weights([RANDOM.uniform(0.2, 1.0, weight.shape) for weight in layer.get_weights()])
    return layer


@pytest.mark.parametrize(("scale", "center", "bias"), [(True, True, True), (False, True, False), (True, False, False)])
@pytest.mark.parametrize("depthwise", [False, True])
def test_outputs_are_those_of_the_two_equations(depthwise, scale, center, bias):
    arguments = {"use_bias": bias}
    convolution = layers.DepthwiseConv2D(1, depth_multiplier=2, **arguments) if depthwise else None
    convolution = built(convolution or layers.Conv2D(6, 1, **arguments), PICTURES.shape)
    norm = built(layers.BatchNormalization(scale=scale, center=center, epsilon=0.01), (None, 6, 5, 6))
    weights = {weight.name: keras.ops.convert_to_numpy(weight).astype(np.float64) for weight in norm.weights}
    kernel = keras.ops.convert_to_numpy(convolution.kernel).astype(np.float64)[0, 0]
    exact = PICTURES.astype(np.float64)
    convolved = (exact[..., None] * kernel).reshape(4, 6, 5, 6) if depthwise else exact @ kernel
    if bias:
        convolved += keras.ops.convert_to_numpy(convolution.bias)
    wanted = (convolved - weights["moving_mean"]) / np.sqrt(weights["moving_variance"] + 0.01)
    wanted = wanted * weights.get("gamma", 1.0) + weights.get("beta", 0.0)
    found = keras.ops.convert_to_numpy(QuickConvolution(convolution, norm)(PICTURES, training=True))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_without_a_batchnorm_it_is_the_convolution_and_its_activation():
    convolution = built(layers.DepthwiseConv2D(5, strides=2, padding="same", activation="tanh"), PICTURES.shape)
    quick = QuickConvolution(convolution)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(quick(PICTURES)), keras.ops.convert_to_numpy(convolution(PICTURES)), atol=1e-6
    )
    assert quick.compute_output_shape((None, 6, 5, 3)) == (None, 3, 3, 3)


def test_what_is_frozen_in_its_parts_is_frozen_in_it():
    convolution = built(layers.Conv2D(2, 3, use_bias=False), PICTURES.shape)
    norm = built(layers.BatchNormalization(), (None, 4, 3, 2))
    norm.trainable = False
    quick = QuickConvolution(convolution, norm)
    assert [id(weight) for weight in quick.trainable_weights] == [id(convolution.kernel)]
    assert len(quick.non_trainable_weights) == 4
