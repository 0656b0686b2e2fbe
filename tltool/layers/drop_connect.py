"""Single weights of a dense layer or of a 1 x 1 convolution, left out in training."""

from numbers import Integral
from typing import Literal

import keras
from keras import ops

from tltool.errors import RegularizerError
from tltool.layers.stochastic_depth import check_rate

TESTS = ("mean-field", "gaussian")
# Up to here every picture draws its own mask: 16 MiB of float32 and about 20 ms at a batch of 32 on two cores, which a
# head of 1280 features and 102 classes just keeps. A mask a picture of a 320 x 1280 convolution would be 52 MiB.
WEIGHTS_FOR_OWN_MASK = 2**17
VARIANCE_FLOOR = 1e-12  # under the square root: a picture of zeros would otherwise have a gradient that is no number


@keras.saving.register_keras_serializable("tltool")
class DropConnect(keras.layers.Wrapper):
    """Drops weights of the layer that it wraps, kernel and bias, in training; its weights are that layer's.

    In training, each weight is kept with probability 1 - rate and divided by 1 - rate, or is zero. Dividing in training
    (the paper multiplies at test time) makes the wrapped layer, as it is, the mean-field network: what is saved or
    exported at the end is the plain layer.

    The paper draws a mask for each example. So does this where the kernel has up to `WEIGHTS_FOR_OWN_MASK` weights, a
    head for example; larger ones draw one mask a batch, whose gradients vary more but whose expectation is the same.
    All positions of one picture share its mask.

    At test time, "mean-field" is the wrapped layer. "gaussian" takes each unit's value before the activation as normal,
    with the mean and variance that the masks give it, applies the activation to `samples` draws of it and averages
    those. Draws are the same at every call and shared by all pictures, so that a picture has one output, whatever
    stands beside it. It costs `samples` times the layer's output in memory, and makes a difference only if the wrapped
    layer has an activation of its own: of a linear one the average is the mean-field output, and that is what it gives.

    Args:
        layer: A Dense, or a Conv2D of kernel 1 x 1, with one group and channels last; built or not.
        rate: Probability that a weight is dropped, in [0, 1).
        test: What is computed at test time.
        samples: Draws of "gaussian", 1 or above. A mean of values in [0, 1] is off by at most 0.5 / sqrt(samples),
            as a standard error.
        seed: Of the masks; None takes one from Keras's own, which `keras.utils.set_random_seed` sets.

    Input and output: those of the wrapped layer; the first axis is the picture.

    Raises:
        RegularizerError: if the layer is of another kind, or an argument is out of range.

    Reference: Wan et al., 2013, "Regularization of neural networks using DropConnect", sections 3.1 and 3.2.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        rate: float,
        test: Literal["mean-field", "gaussian"] = "mean-field",
        samples: int = 256,
        seed: int | None = None,
        **more,
    ):
        _check_layer(layer)
        if test not in TESTS:
            raise RegularizerError(f'DropConnect: `test` must be "mean-field" or "gaussian", not {test!r}.')
        if isinstance(samples, bool) or not isinstance(samples, Integral) or samples < 1:
            raise RegularizerError(f"DropConnect: `samples` must be a whole number, 1 or above, not {samples!r}.")
        # The layer's own policy: under another, the masked kernel would be multiplied in a precision that it is not
        # used in at test time.
        super().__init__(layer, **{"dtype": layer.dtype_policy, **more})
        self.rate = check_rate("DropConnect", rate)
        self.test = test
        self.samples = int(samples)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=False):
        sampled = self.test == "gaussian" and self.layer.activation is not keras.activations.linear
        if self.rate == 0 or not (training or sampled):
            return self.layer(inputs)
        if isinstance(self.layer, keras.layers.Conv2D):
            inputs = inputs[:, :: self.layer.strides[0], :: self.layer.strides[1]]
        kernel = ops.reshape(self.layer.kernel, self.layer.kernel.shape[-2:])
        return self._trained(inputs, kernel) if training else self._averaged(inputs, kernel)

    def _trained(self, inputs, kernel):
        if kernel.shape[0] * kernel.shape[1] <= WEIGHTS_FOR_OWN_MASK:
            batch = ops.shape(inputs)[0]
            outputs = ops.einsum("b...i,bio->b...o", inputs, self._masked(kernel, (batch, *kernel.shape)))
            # One bias a picture, the same at all its positions.
            bias_shape = (batch, *[1] * (len(inputs.shape) - 2), kernel.shape[1])
        else:
            outputs = ops.matmul(inputs, self._masked(kernel, kernel.shape))
            bias_shape = (kernel.shape[1],)
        if self.layer.use_bias:
            outputs = outputs + self._masked(self.layer.bias, bias_shape)
        return self.layer.activation(outputs)

    def _masked(self, weights, shape):
        """The weights under a mask of this shape, divided by the share that is kept."""
        kept = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator) >= self.rate
        return ops.where(kept, weights / (1 - self.rate), 0.0)

    def _averaged(self, inputs, kernel):
        # float32: squares of float16 overflow above 256.
        x, kernel = ops.cast(inputs, "float32"), ops.cast(kernel, "float32")
        mean, variance = ops.matmul(x, kernel), ops.matmul(ops.square(x), ops.square(kernel))
        if self.layer.use_bias:
            bias = ops.cast(self.layer.bias, "float32")
            mean, variance = mean + bias, variance + ops.square(bias)
        deviation = ops.sqrt(ops.maximum(variance * self.rate / (1 - self.rate), VARIANCE_FLOOR))
        # A whole number as seed draws the same each time; a generator would make test outputs random.
        draws = keras.random.normal((self.samples, *[1] * (len(x.shape) - 1), kernel.shape[1]), dtype="float32", seed=0)
        outputs = ops.mean(self.layer.activation(mean + deviation * draws), axis=0)
        return ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return self.layer.compute_output_shape(input_shape)

    def get_config(self):
        mine = {"rate": self.rate, "test": self.test, "samples": self.samples, "seed": self.seed}
        return {**super().get_config(), **mine}


def _check_layer(layer: keras.layers.Layer) -> None:
    # Not isinstance: a layer derived of these may compute something else with its kernel.
    dense, convolution = type(layer) is keras.layers.Dense, type(layer) is keras.layers.Conv2D
    if convolution:
        convolution = layer.kernel_size == (1, 1) and layer.groups == 1 and layer.data_format == "channels_last"
    if not (dense or convolution):
        raise RegularizerError(
            "DropConnect: wraps a Dense or a Conv2D of kernel 1 x 1, with one group and channels last, not "
            f"{_described(layer)}. Use StochasticDepth or DropBlock2D for other layers."
        )
    if layer.activity_regularizer is not None:
        raise RegularizerError(
            f"DropConnect: {layer.name} has an activity regularizer, which training would leave out. Take it off."
        )


def _described(layer) -> str:
    kind = type(layer).__name__
    if not isinstance(layer, keras.layers.Conv2D):
        return kind
    return f"a {kind} of kernel {layer.kernel_size}, groups {layer.groups}, {layer.data_format}"
