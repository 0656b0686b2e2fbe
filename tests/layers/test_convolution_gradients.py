"""Convolutions with gradients of their own: against loops in float64, whatever kernel, stride, padding and size."""

import numpy as np
import pytest
import tensorflow as tf

from tltool.layers.convolution_gradients import add_bias, depthwise, pointwise

RANDOM = np.random.default_rng(0)


def geometry(size, kernel, stride, padding):
    """How many places the kernel takes in one direction, and how many zeros stand before and after the picture."""
    if padding == "valid":
        return (size - kernel) // stride + 1, 0, 0
    places = -(-size // stride)
    zeros = max((places - 1) * stride + kernel - size, 0)
    return places, zeros // 2, zeros - zeros // 2


def textbook(inputs, kernel, upstream, stride, padding):
    """A depthwise convolution's outputs and both gradients, tap by tap, in float64."""
    inputs, kernel, upstream = (array.astype(np.float64) for array in (inputs, kernel, upstream))
    rows, columns = kernel.shape[:2]
    height, top, bottom = geometry(inputs.shape[1], rows, stride, padding)
    width, left, right = geometry(inputs.shape[2], columns, stride, padding)
    padded = np.pad(inputs, ((0, 0), (top, bottom), (left, right), (0, 0)))
    upstream = upstream.reshape(*upstream.shape[:3], *kernel.shape[2:])
    outputs = np.zeros_like(upstream)
    to_padded, to_kernel = np.zeros_like(padded), np.zeros_like(kernel)
    for row in range(rows):
        for column in range(columns):
            place = np.s_[:, row : row + height * stride : stride, column : column + width * stride : stride]
            seen = padded[place][:, :height, :width]
            outputs += seen[..., None] * kernel[row, column]
            to_kernel[row, column] = (seen[..., None] * upstream).sum(axis=(0, 1, 2))
            to_padded[place][:, :height, :width] += (upstream * kernel[row, column]).sum(axis=-1)
    to_inputs = to_padded[:, top : top + inputs.shape[1], left : left + inputs.shape[2]]
    return outputs.reshape(*outputs.shape[:3], -1), to_inputs, to_kernel


def values_and_gradients(function, *arguments, upstream):
    tensors = [tf.constant(argument) for argument in arguments]

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            outputs = function(*tensors)
        return outputs, *tape.gradient(outputs, tensors, output_gradients=tf.constant(upstream))

    return [tensor.numpy() for tensor in run()]


def noise(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def assert_close(found, wanted):
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(wanted).max()))


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 3), (2, 4), (4, 2), (5, 5), (3, 5), (5, 3), (6, 6), (7, 7)])
@pytest.mark.parametrize(("height", "width", "multiplier"), [(9, 8, 1), (7, 11, 2)])
def test_a_depthwise_convolution(height, width, multiplier, rows, columns, stride, padding):
    inputs, kernel = noise(3, height, width, 4), noise(rows, columns, 4, multiplier)
    places = geometry(height, rows, stride, padding)[0], geometry(width, columns, stride, padding)[0]
    upstream = noise(3, *places, 4 * multiplier)
    found = values_and_gradients(lambda x, w: depthwise(x, w, stride, padding), inputs, kernel, upstream=upstream)
    for array, wanted in zip(found, textbook(inputs, kernel, upstream, stride, padding), strict=True):
        assert_close(array, wanted)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (2, 3)])
def test_a_kernel_larger_than_the_picture(size, stride):
    inputs, kernel = noise(2, *size, 3), noise(11, 11, 3, 1)
    places = [-(-length // stride) for length in size]
    upstream = noise(2, *places, 3)
    found = values_and_gradients(lambda x, w: depthwise(x, w, stride, "same"), inputs, kernel, upstream=upstream)
    for array, wanted in zip(found, textbook(inputs, kernel, upstream, stride, "same"), strict=True):
        assert_close(array, wanted)


def test_a_convolution_of_one_pixel():
    inputs, kernel, upstream = noise(3, 5, 4, 6), noise(1, 1, 6, 7), noise(3, 5, 4, 7)
    outputs, to_inputs, to_kernel = values_and_gradients(pointwise, inputs, kernel, upstream=upstream)
    exact = [array.astype(np.float64) for array in (inputs, kernel[0, 0], upstream)]
    assert_close(outputs, exact[0] @ exact[1])
    assert_close(to_inputs, exact[2] @ exact[1].T)
    assert_close(to_kernel, np.einsum("nhwc,nhwf->cf", exact[0], exact[2])[None, None])


def test_a_bias():
    inputs, bias, upstream = noise(3, 5, 4, 6), noise(6), noise(3, 5, 4, 6)
    outputs, to_inputs, to_bias = values_and_gradients(add_bias, inputs, bias, upstream=upstream)
    np.testing.assert_array_equal(outputs, inputs + bias)
    np.testing.assert_array_equal(to_inputs, upstream)
    assert_close(to_bias, upstream.astype(np.float64).sum(axis=(0, 1, 2)))


def test_a_batch_of_unknown_size():
    kernel, picture = noise(5, 5, 4, 1), noise(7, 9, 9, 4)

    @tf.function(input_signature=[tf.TensorSpec((None, 9, 9, 4))])
    def gradient(inputs):
        with tf.GradientTape() as tape:
            weights = tf.constant(kernel)
            tape.watch([inputs, weights])
            total = tf.reduce_sum(depthwise(inputs, weights, 2, "same"))
        return tape.gradient(total, [inputs, weights])

    for count in (1, 7):
        _, to_inputs, to_kernel = textbook(picture[:count], kernel, np.ones((count, 5, 5, 4)), 2, "same")
        found = gradient(tf.constant(picture[:count]))
        assert_close(found[0].numpy(), to_inputs)
        assert_close(found[1].numpy(), to_kernel)
