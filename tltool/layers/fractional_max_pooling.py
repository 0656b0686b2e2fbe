"""Max pooling by a ratio between 1 and 2, over regions that change with every training step."""

from collections.abc import Sequence
from functools import reduce
from numbers import Real
from typing import Literal

import keras
import numpy as np
from keras import ops

from tltool.errors import RegularizerError

REGIONS = ("random", "pseudo-random")
FIXED_U = 0.5  # of the regions at test time; another value moves every output of a network that pools like this


def pooled_size(size: int, ratio: float) -> int:
    """How many regions a side of `size` is cut into: the whole part of size / ratio; 1 for a side of 1."""
    # The addend: 7 / (7 / 5) must be 5 however it is rounded.
    return max(1, min(size - 1, int(size / ratio + 1e-9)))


def fractional_regions(size: int, ratio: float, u: float, overlapping: bool = True) -> np.ndarray:
    """The pseudo-random regions of one side of a feature map.

    They start at a(i) = ceil(alpha (i + u)) - ceil(alpha u), and each is 1 or 2 further than the one before. Alpha is
    the ratio at which the last region ends with the map, a little below the one asked for.

    Overlapping regions share their border: each goes on to where the next starts, and includes it. Disjoint regions
    leave out the last unit where no steps of 2 reach it (an odd side at ratio 2), as a 2 x 2 max pooling does.

    Args:
        size: Units of the side, 1 or above.
        ratio: By which it shrinks, in (1, 2].
        u: Where the regions begin to lag, in [0, 1].
        overlapping: Whether neighbours share their border.

    Returns:
        Start and stop of each region, shape (pooled_size(size, ratio), 2), int64; the stop is not included.

    Raises:
        RegularizerError: if an argument is out of range.

    Reference: Graham, 2014, "Fractional max-pooling", section 2.
    """
    _check_ratio("fractional_regions", ratio)
    if size < 1 or not 0 <= u <= 1:
        raise RegularizerError(f"fractional_regions: `size` must be 1 or above and `u` in [0, 1]; got {size}, {u}.")
    if size == 1:
        return np.array([[0, 1]])
    count, end = pooled_size(size, ratio), _end(size, ratio, overlapping)
    whole, fraction = _steps(count, end)
    shift = end / count * u
    borders = whole + np.ceil(fraction + shift).astype(np.int64) - int(np.ceil(shift))
    return np.stack([borders[:-1], borders[1:] + overlapping], axis=1)


def fixed_fractional_pool(x, ratio: float | Sequence[float], overlapping: bool = True):
    """What `FractionalMaxPooling2D` computes at test time, with Keras's own operations alone.

    A model that is built of it holds no layer of tltool: it loads without tltool, and other runtimes can convert it.

    Args:
        x: Feature maps, shape (B, H, W, C), with H and W known; symbolic or not.
        ratio: Of height and width, in (1, 2]; one for both or a pair.
        overlapping: Whether neighbouring regions share their border.

    Returns:
        Shape (B, pooled_size(H), pooled_size(W), C).

    Raises:
        RegularizerError: if a ratio is out of range, or x is no feature map of a known size.

    Reference: Graham, 2014, "Fractional max-pooling", section 2.
    """
    _check_map("fixed_fractional_pool", x.shape)
    for axis, side in zip((1, 2), _pair("fixed_fractional_pool", ratio), strict=True):
        regions = fractional_regions(x.shape[axis], side, FIXED_U, overlapping)
        units = [np.minimum(regions[:, 0] + step, regions[:, 1] - 1) for step in range(_widest(overlapping))]
        # Lists: a saved model would hold arrays as objects of Keras's own, which fewer loaders read.
        x = _largest(x, [unit.tolist() for unit in units], axis)
    return x


@keras.saving.register_keras_serializable("tltool")
class FractionalMaxPooling2D(keras.layers.Layer):
    """Max pooling that shrinks a feature map by a ratio between 1 and 2, over regions drawn anew in each training call.

    Height and width are cut into regions of their own, by steps of 1 and 2 units, of which there are as many as reach
    the end: in any order ("random"), or spread evenly from a random begin ("pseudo-random"). The paper found random
    ones the better regularizer alone, and too much of one beside dropout or augmentation. One draw serves a batch.

    At test time regions are those of `fixed_fractional_pool`, whatever `regions` is: a picture has one output. (The
    paper averages the outputs of several random passes. To do that, call the network with training=True.)

    Args:
        ratio: Of height and width, in (1, 2]; one for both or a pair.
        regions: How they are drawn in training.
        overlapping: Whether neighbouring regions share their border; the paper found that better.
        seed: Of the draws; None takes one from Keras's own, which `keras.utils.set_random_seed` sets.

    Input: shape (B, H, W, C), with H and W known. Output: (B, pooled_size(H, ratio), pooled_size(W, ratio), C).

    Raises:
        RegularizerError: if an argument is out of range, or the input is no feature map of a known size.

    Reference: Graham, 2014, "Fractional max-pooling", sections 2 and 3.
    """

    def __init__(
        self,
        ratio: float | Sequence[float],
        regions: Literal["random", "pseudo-random"] = "random",
        overlapping: bool = True,
        seed: int | None = None,
        **more,
    ):
        super().__init__(**more)
        if regions not in REGIONS:
            raise RegularizerError(
                f'FractionalMaxPooling2D: `regions` must be "random" or "pseudo-random", not {regions!r}.'
            )
        self.ratio = _pair("FractionalMaxPooling2D", ratio)
        self.regions = regions
        self.overlapping = bool(overlapping)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        _check_map("FractionalMaxPooling2D", input_shape)

    def call(self, inputs, training=False):
        if not training:
            return fixed_fractional_pool(inputs, self.ratio, self.overlapping)
        for axis, ratio in zip((1, 2), self.ratio, strict=True):
            if inputs.shape[axis] > 1:
                borders = self._borders(inputs.shape[axis], ratio)
                first, last = borders[:-1], borders[1:] - (0 if self.overlapping else 1)
                units = [ops.minimum(first + step, last) for step in range(_widest(self.overlapping))]
                inputs = _largest(inputs, units, axis)
        return inputs

    def _borders(self, size: int, ratio: float):
        """Where regions start, and where the last one ends, shape (regions + 1,), int32."""
        count, end = pooled_size(size, ratio), _end(size, ratio, self.overlapping)
        if self.regions == "random":
            steps = np.repeat([2, 1], [end - count, 2 * count - end]).astype("int32")
            shuffled = keras.random.shuffle(ops.convert_to_tensor(steps), seed=self.seed_generator)
            return ops.pad(ops.cumsum(shuffled), ((1, 0),))
        whole, fraction = _steps(count, end)
        shift = keras.random.uniform((), dtype="float32", seed=self.seed_generator) * (end / count)
        late = ops.ceil(ops.convert_to_tensor(fraction.astype("float32")) + shift) - ops.ceil(shift)
        return ops.convert_to_tensor(whole.astype("int32")) + ops.cast(late, "int32")

    def compute_output_shape(self, input_shape):
        _check_map("FractionalMaxPooling2D", input_shape)
        batch, height, width, channels = input_shape
        return (batch, pooled_size(height, self.ratio[0]), pooled_size(width, self.ratio[1]), channels)

    def get_config(self):
        mine = {"ratio": list(self.ratio), "regions": self.regions, "overlapping": self.overlapping, "seed": self.seed}
        return {**super().get_config(), **mine}


def _end(size: int, ratio: float, overlapping: bool) -> int:
    """How far the steps of 1 and 2 together go."""
    return size - 1 if overlapping else min(size, 2 * pooled_size(size, ratio))


def _steps(count: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole part and rest of i x end / count for i = 0 ... count."""
    # Apart, so that only rests are rounded: both ends have the rest 0, and lie on the map's whatever is added to it.
    whole, rest = np.divmod(np.arange(count + 1) * end, count)
    return whole, rest / count


def _widest(overlapping: bool) -> int:
    return 3 if overlapping else 2


def _largest(x, units: Sequence, axis: int):
    """The largest of the units that each region has along this axis."""
    return reduce(ops.maximum, [ops.take(x, unit, axis=axis) for unit in units])


def _pair(owner: str, ratio: float | Sequence[float]) -> tuple[float, float]:
    pair = tuple(ratio) if isinstance(ratio, list | tuple) else (ratio, ratio)
    if len(pair) != 2:
        raise RegularizerError(f"{owner}: `ratio` must be one number or two, of height and width, not {ratio!r}.")
    for side in pair:
        _check_ratio(owner, side)
    return float(pair[0]), float(pair[1])


def _check_ratio(owner: str, ratio: float) -> None:
    if isinstance(ratio, bool) or not isinstance(ratio, Real) or not 1 < ratio <= 2:
        raise RegularizerError(
            f"{owner}: `ratio` must be a number above 1 and up to 2, not {ratio!r}. "
            "The square root of 2 halves a map in two such layers."
        )


def _check_map(owner: str, shape: Sequence[int | None]) -> None:
    if len(shape) != 4 or None in shape[1:3]:
        raise RegularizerError(f"{owner}: takes feature maps of a known size, shape (B, H, W, C), not {tuple(shape)}.")
