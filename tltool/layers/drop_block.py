"""Blocks of a feature map that are left out in training."""

from numbers import Integral

import keras
from keras import ops

from tltool.errors import RegularizerError
from tltool.layers.stochastic_depth import check_rate


def block_probability(rate: float, size: tuple[int, int], block: tuple[int, int]) -> float:
    """Probability that a block starts at a place where it fits, such that about `rate` of the units are dropped.

    Args:
        rate: Share of the units to drop, in [0, 1).
        size: Height and width of the map.
        block: Those of a block, no larger.

    Reference: Ghiasi et al., 2018, "DropBlock", section 3, equation 1, for a block that need not be square.
    """
    places = (size[0] - block[0] + 1) * (size[1] - block[1] + 1)
    return rate / (block[0] * block[1]) * size[0] * size[1] / places


@keras.saving.register_keras_serializable("tltool")
class DropBlock2D(keras.layers.Layer):
    """Drops square blocks of feature maps in training, each channel its own; the identity at test time.

    Single units say little that their neighbours do not say too, which is why plain dropout does little between
    convolutions. Each channel of each picture draws its own blocks: the paper found that better than sharing them.

    Kept units are multiplied by the number of all units of the batch over that of the kept ones, so that the mean over
    the batch stays what it was. Blocks lie wholly inside the map, so units near the border are dropped less often
    than those in the middle, and blocks may overlap, so that a little less than `rate` is dropped, as in the paper.

    On a map smaller than the block, the block shrinks to the map: whole channels are dropped.

    Args:
        rate: Share of the units to drop, in [0, 1). The paper raises it from 0 during training; here it stays.
        block_size: Side of a block in units of the map, 1 or above; 1 is dropout of single units.
        seed: Of the draws; None takes one from Keras's own, which `keras.utils.set_random_seed` sets.

    Input and output: a tensor of shape (B, H, W, C), with H and W known.

    Raises:
        RegularizerError: if an argument is out of range, or the input is no feature map of a known size.

    Reference: Ghiasi et al., 2018, "DropBlock: a regularization method for convolutional networks", algorithm 1.
    """

    def __init__(self, rate: float, block_size: int = 7, seed: int | None = None, **more):
        super().__init__(**more)
        if isinstance(block_size, bool) or not isinstance(block_size, Integral) or block_size < 1:
            raise RegularizerError(f"DropBlock2D: `block_size` must be a whole number, 1 or above, not {block_size!r}.")
        self.rate = check_rate("DropBlock2D", rate)
        self.block_size = int(block_size)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        if len(input_shape) != 4 or None in input_shape[1:3]:
            raise RegularizerError(
                f"DropBlock2D: takes feature maps of a known size, shape (B, H, W, C), not {tuple(input_shape)}."
            )

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        kept = self._kept(inputs)
        # At least 1: where everything is dropped the result is zero, not a number that is none.
        scale = ops.cast(ops.size(kept), "float32") / ops.maximum(ops.sum(kept), 1.0)
        return inputs * ops.cast(kept * scale, inputs.dtype)

    def _kept(self, inputs):
        """1 where a unit stays and 0 where it is dropped, the shape of the input, float32."""
        batch, (height, width), channels = ops.shape(inputs)[0], inputs.shape[1:3], inputs.shape[3]
        rows, columns = min(self.block_size, height), min(self.block_size, width)
        corners = (batch, height - rows + 1, width - columns + 1, channels)
        starts = keras.random.uniform(corners, dtype="float32", seed=self.seed_generator) < block_probability(
            self.rate, (height, width), (rows, columns)
        )
        # A unit is dropped if a block starts on it or up to a block's side above and to the left of it.
        border = ((0, 0), (rows - 1, rows - 1), (columns - 1, columns - 1), (0, 0))
        padded = ops.pad(ops.cast(starts, "float32"), border)
        return 1.0 - ops.max_pool(padded, (rows, columns), strides=1, padding="valid", data_format="channels_last")

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "block_size": self.block_size, "seed": self.seed}
