"""Convolutions as TensorFlow computes them, with gradients that cost a CPU less; the results are the same to rounding.

Only for the TensorFlow backend. Every function takes float32, pictures of shape (n, h, w, c) whose height and width
are known when the step is traced. Which form is fastest was measured on CPUs with AVX-512: benchmarks/step_time.py.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Gradient = Callable[[tf.Tensor], Any]
# oneDNN has code of its own for the gradient of depthwise filters up to this width; wider ones are computed as if each
# channel were a group of sixteen, which takes seven times as long for 5 x 5.
NATIVE_WIDTH = 3


def depthwise(inputs: tf.Tensor, kernel: tf.Tensor, stride: int, padding: str) -> tf.Tensor:
    """A depthwise convolution.

    Args:
        inputs: Shape (n, h, w, c).
        kernel: Shape (rows, columns, c, m): m filters for each channel.
        stride: In both directions, >= 1.
        padding: "same" or "valid", as TensorFlow has it.

    Returns:
        Shape (n, h', w', c * m).
    """

    @tf.custom_gradient
    def convolve(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return (
                _depthwise_input_gradient(inputs, kernel, upstream, stride, padding),
                _depthwise_filter_gradient(inputs, kernel, upstream, stride, padding),
            )

        return _depthwise(inputs, kernel, stride, padding), gradient

    return convolve(inputs, kernel)


@tf.custom_gradient
def pointwise(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
    """A convolution of 1 x 1 with stride 1.

    Args:
        inputs: Shape (n, h, w, c).
        kernel: Shape (1, 1, c, filters).

    Returns:
        Shape (n, h, w, filters).
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        to_inputs = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=tf.shape(inputs), filter=kernel, out_backprop=upstream, strides=[1, 1, 1, 1], padding="VALID"
        )
        # One product of matrices: oneDNN's convolution of its own for this takes half as long again.
        channels, filters = kernel.shape[-2:]
        to_kernel = tf.matmul(tf.reshape(inputs, (-1, channels)), tf.reshape(upstream, (-1, filters)), transpose_a=True)
        return to_inputs, tf.reshape(to_kernel, kernel.shape)

    return tf.nn.conv2d(inputs, kernel, strides=1, padding="VALID"), gradient


@tf.custom_gradient
def add_bias(inputs: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
    """The sum of inputs, shape (n, h, w, c), and a bias, shape (c,)."""

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # A sum as a product of matrices. Not BiasAddGrad: TensorFlow fuses that with the gradient of the filters into a
        # form that takes twice as long.
        rows = tf.reshape(upstream, (-1, bias.shape[0]))
        return upstream, tf.matmul(tf.ones((1, tf.shape(rows)[0])), rows)[0]

    return tf.nn.bias_add(inputs, bias), gradient


def _depthwise(inputs: tf.Tensor, kernel: tf.Tensor, stride: int, padding: str) -> tf.Tensor:
    return tf.nn.depthwise_conv2d(inputs, kernel, [1, stride, stride, 1], padding.upper())


def _depthwise_input_gradient(
    inputs: tf.Tensor, kernel: tf.Tensor, upstream: tf.Tensor, stride: int, padding: str
) -> tf.Tensor:
    """Shape (n, h, w, c)."""
    rows, columns, _, multiplier = kernel.shape
    if stride == 1 and padding == "same" and multiplier == 1 and rows % 2 and columns % 2:
        # Padded by as much on all sides, so that the gradient is a convolution with the kernel turned around.
        return _depthwise(upstream, tf.reverse(kernel, (0, 1)), 1, "same")
    return tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
        input_sizes=tf.shape(inputs),
        filter=kernel,
        out_backprop=upstream,
        strides=[1, stride, stride, 1],
        padding=padding.upper(),
    )


def _depthwise_filter_gradient(
    inputs: tf.Tensor, kernel: tf.Tensor, upstream: tf.Tensor, stride: int, padding: str
) -> tf.Tensor:
    """Shape (rows, columns, c, m)."""
    rows, columns, channels, multiplier = kernel.shape

    def native(inputs: tf.Tensor, columns: int, padding: str) -> tf.Tensor:
        return tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
            input=inputs,
            filter_sizes=(rows, columns, channels, multiplier),
            out_backprop=upstream,
            strides=[1, stride, stride, 1],
            padding=padding.upper(),
        )

    if columns <= NATIVE_WIDTH:
        return native(inputs, columns, padding)
    _, height, width, _ = upstream.shape
    top, left = 0, 0
    if padding == "same":
        top, left = _padding_before(inputs.shape[1], rows, stride), _padding_before(inputs.shape[2], columns, stride)
    parts = []
    for first in range(0, columns, NATIVE_WIDTH):
        block = min(NATIVE_WIDTH, columns - first)
        size = ((height - 1) * stride + rows, (width - 1) * stride + block)
        parts.append(native(_window(inputs, (-top, first - left), size), block, "valid"))
    return tf.concat(parts, axis=1)


def _padding_before(size: int, kernel: int, stride: int) -> int:
    """How much TensorFlow's "same" pads above or left of a picture."""
    return max((-(-size // stride) - 1) * stride + kernel - size, 0) // 2


def _window(inputs: tf.Tensor, start: tuple[int, int], size: tuple[int, int]) -> tf.Tensor:
    """A rectangle of every picture, shape (n, *size, c), from a row and a column on; zeros outside of it."""
    slices, paddings = [slice(None)] * 4, [(0, 0)] * 4
    for axis, first, count in zip((1, 2), start, size, strict=True):
        limit = inputs.shape[axis]
        # A kernel wider than the picture has columns that lie in zeros alone: begin and end stay within the picture.
        begin, end = (min(max(place, 0), limit) for place in (first, first + count))
        slices[axis], before = slice(begin, end), min(max(-first, 0), count)
        paddings[axis] = (before, count - before - (end - begin))
    return tf.pad(inputs[tuple(slices)], paddings)
