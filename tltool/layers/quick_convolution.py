"""A convolution, and the BatchNorm behind it that keeps its statistics, computed as one."""

from typing import Any

import keras
import tensorflow as tf

from tltool.layers.convolution_gradients import add_bias, depthwise, pointwise


class QuickConvolution(keras.layers.Layer):
    """Computes what a convolution gives, and a BatchNorm outside of training of that, with less work in training.

    The BatchNorm's scale is multiplied into the kernel and its shift becomes the bias, so that neither it nor its
    gradient looks at a picture. Only for the TensorFlow backend.

    Args:
        convolution: A Conv2D or DepthwiseConv2D, channels last; linear where a BatchNorm follows.
        norm: Over the last axis; its variables are trained as its `trainable` says, but for its statistics. None where
            there is none.
    """

    def __init__(
        self,
        convolution: keras.layers.Conv2D | keras.layers.DepthwiseConv2D,
        norm: keras.layers.BatchNormalization | None = None,
    ):
        super().__init__(dtype=convolution.dtype_policy)
        self.convolution, self.norm = convolution, norm

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        kernel, bias = self._folded()
        outputs = self._convolve(inputs, kernel)
        if bias is not None:
            outputs = add_bias(outputs, bias)
        return self.convolution.activation(outputs)

    def compute_output_shape(self, shape: tuple) -> tuple:
        return self.convolution.compute_output_shape(shape)

    def _folded(self) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Kernel and bias of the convolution that does the BatchNorm's part too."""
        kernel = tf.convert_to_tensor(self.convolution.kernel)
        bias = tf.convert_to_tensor(self.convolution.bias) if self.convolution.use_bias else None
        norm = self.norm
        if norm is None:
            return kernel, bias
        scale = tf.math.rsqrt(tf.convert_to_tensor(norm.moving_variance) + norm.epsilon)
        if norm.scale:
            scale *= tf.convert_to_tensor(norm.gamma)
        shift = -norm.moving_mean if bias is None else bias - norm.moving_mean
        shift *= scale
        if norm.center:
            shift += norm.beta
        filters = kernel.shape[-2:] if isinstance(self.convolution, keras.layers.DepthwiseConv2D) else kernel.shape[-1:]
        return kernel * tf.reshape(scale, filters), shift

    def _convolve(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        layer = self.convolution
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            return depthwise(inputs, kernel, layer.strides[0], layer.padding)
        if layer.kernel_size == (1, 1) and layer.strides == (1, 1) and layer.groups == 1:
            return pointwise(inputs, kernel)
        return layer.convolution_op(inputs, kernel)
