"""Operations on pixels from Keras's own layers and keras.ops: for both backends, and inside compiled graphs.

Each takes a batch of pictures and one parameter a picture, and knows no chance. `with_keras_cv` has the same functions,
and gives the same pictures; tests/augment/test_forms.py says how nearly. Where a layer of Keras takes one parameter a
picture it is used; its Equalization has one histogram for a whole batch, its RandomGaussianBlur one sigma, and its
RandomSharpness darkens the edge, so these are written out.
"""

import math

import keras
import numpy as np
from keras import ops

from tltool.augment.jpeg import jpeg
from tltool.augment.mixing import inside
from tltool.augment.resampling import project

__all__ = [
    "LARGEST_SIGMA",
    "autocontrast",
    "blur",
    "equalize",
    "erase",
    "grid_mask",
    "jpeg",
    "posterize",
    "project",
    "sharpness",
    "solarize",
]

LARGEST_SIGMA = 5.0  # pixels; of the step "blur"
REACH = 4.0  # sigmas; 0.006 % of a Gaussian lies further out, less than 0.02 grey levels
GREY_LEVELS = 256

# A seed, though nothing is drawn: without one Keras takes a number from Python's generator, which others have seeded.
_AUTOCONTRAST = keras.layers.AutoContrast(value_range=(0, 255), dtype="float32")
_POSTERIZATION = keras.layers.RandomPosterization(8, value_range=(0, 255), dtype="float32", seed=0)
_SOLARIZATION = keras.layers.Solarization(value_range=(0, 255), dtype="float32", seed=0)


def blur(images, sigmas, largest: float = LARGEST_SIGMA):
    """Blurs with a Gaussian; outside of the picture lies its mirror image.

    Args:
        images: Shape (B, H, W, 3), float32, H and W known.
        sigmas: Shape (B,), pixels, in [0, `largest`]; 0 leaves a picture as it is.
        largest: Fixes the size of the kernel, and with it the time: that for 1 is a quarter of that for 5.

    Returns:
        The shape of the pictures.
    """
    reach = kernel_reach(largest)
    # Below a tenth of a pixel the neighbours weigh nothing: no division by 0 for those that stay.
    steps = np.arange(-reach, reach + 1, dtype=np.float32) / ops.reshape(ops.maximum(sigmas, 0.1), (-1, 1))
    kernels = ops.exp(-0.5 * ops.square(steps))
    kernels = kernels / ops.sum(kernels, axis=1, keepdims=True)
    # Shifted sums rather than a convolution: compiled by XLA for a CPU they take a seventh of its time.
    for axis in (1, 2):
        size = images.shape[axis]
        padded = ops.take(images, mirrored(size, reach), axis=axis)
        images = 0.0
        for tap in range(2 * reach + 1):
            part = padded[:, tap : tap + size] if axis == 1 else padded[:, :, tap : tap + size]
            images = images + kernels[:, tap, None, None, None] * part
    return images


def kernel_reach(largest: float) -> int:
    """The taps of a Gaussian kernel on either side of its middle, for the largest sigma, pixels."""
    return math.ceil(REACH * largest)


def mirrored(size: int, reach: int) -> np.ndarray:
    """Positions from -reach to size + reach - 1 in a row of `size` that is continued by its mirror images."""
    place = np.arange(-reach, size + reach) % (2 * size)
    return np.where(place < size, place, 2 * size - 1 - place)


def erase(images, boxes, fill):
    """Paints one rectangle into each picture: cutout and random erasing.

    Args:
        images: Shape (B, H, W, 3), float32, H and W known.
        boxes: Shape (B, 4): left, top, right and bottom edge in pixels, 0 at the picture's; pixels are painted whose
            centre lies inside. An empty box changes nothing.
        fill: Shape (B, 3), the colour, in [0, 255].

    Returns:
        The shape of the pictures.

    References: DeVries and Taylor, 2017, "Improved regularization of convolutional neural networks with cutout";
    Zhong et al., 2020, "Random erasing data augmentation".
    """
    painted = ops.convert_to_tensor(inside(boxes, *images.shape[1:3]))
    return ops.where(painted > 0, ops.reshape(fill, (-1, 1, 1, 3)), images)


def grid_mask(images, ratios, distances, angles, offsets, fill):
    """Paints a grid of squares into each picture.

    Args:
        images: Shape (B, H, W, 3), float32, H and W known.
        ratios: Shape (B,): the side of a square, share of the distance, in [0, 1]; 0 changes nothing.
        distances: Shape (B,): from the left edge of one square to that of the next, pixels, > 0.
        angles: Shape (B,): of the grid, radians.
        offsets: Shape (B, 2): of the grid's first square from the middle of the picture, along the grid, pixels.
        fill: Shape (B, 3), the colour, in [0, 255].

    Returns:
        The shape of the pictures.

    Reference: Chen et al., 2020, "GridMask data augmentation", section 3.
    """
    height, width = images.shape[1:3]
    x = np.arange(width, dtype=np.float32)[None, None, :, None] - (width - 1) / 2
    y = np.arange(height, dtype=np.float32)[None, :, None, None] - (height - 1) / 2
    ratio, distance, cos, sin, right, down = (
        ops.reshape(value, (-1, 1, 1, 1))
        for value in (ratios, distances, ops.cos(angles), ops.sin(angles), offsets[:, 0], offsets[:, 1])
    )
    along, across = (cos * x + sin * y - right) / distance, (cos * y - sin * x - down) / distance
    painted = ops.logical_and(along - ops.floor(along) < ratio, across - ops.floor(across) < ratio)
    return ops.where(painted, ops.reshape(fill, (-1, 1, 1, 3)), images)


def autocontrast(images):
    """Stretches each channel of each picture to all of [0, 255].

    Args:
        images: Shape (B, H, W, 3), float32. A channel that spans less than a grey level stays as it is: there is only
            the noise of resampling to stretch.

    Returns:
        The shape of the pictures.
    """
    span = ops.max(images, axis=(1, 2), keepdims=True) - ops.min(images, axis=(1, 2), keepdims=True)
    return ops.where(span < 1.0, images, _AUTOCONTRAST.transform_images(images, None, training=True))


def equalize(images):
    """Spreads the grey levels of each channel of each picture so that all are about as frequent.

    Args:
        images: Shape (B, H, W, 3), float32, in [0, 255], H and W known; parts of a grey level are dropped.

    Returns:
        Whole grey levels, of the shape of the pictures. A channel with one grey level keeps it.

    Reference: Pillow's ImageOps.equalize, which AutoAugment and all after it take.
    """
    channels = 3 * ops.shape(images)[0]
    # A range of 256 numbers for each channel of each picture, so that one sum and one look-up serve all.
    start = GREY_LEVELS * ops.reshape(ops.arange(channels, dtype="int32"), (-1, 1, 1, 3))
    places = ops.reshape(ops.cast(ops.clip(images, 0.0, 255.0), "int32") + start, (-1,))
    counts = ops.segment_sum(ops.ones_like(places), places, num_segments=GREY_LEVELS * channels)
    counts = ops.reshape(counts, (-1, GREY_LEVELS))
    below = ops.cumsum(counts, axis=1) - counts
    # The brightest level that occurs is left out of the count: it ends up at the top wherever the others go.
    others = ops.max(ops.where(counts > 0, below, 0), axis=1, keepdims=True)
    step = others // (GREY_LEVELS - 1)
    table = ops.minimum((below + step // 2) // ops.maximum(step, 1), GREY_LEVELS - 1)
    table = ops.where(step == 0, np.arange(GREY_LEVELS, dtype=np.int32)[None], table)
    spread = ops.take(ops.reshape(ops.cast(table, "float32"), (-1,)), places)
    return ops.reshape(spread, ops.shape(images))


def posterize(images, bits):
    """Keeps the highest bits of each value.

    Args:
        images: Shape (B, H, W, 3), float32, in [0, 255]; parts of a grey level are dropped.
        bits: Shape (B,), whole, from 1 to 8; 8 keeps all grey levels.

    Returns:
        The shape of the pictures.
    """
    shift = ops.cast(8 - ops.cast(bits, "int32"), "uint8")
    # Clipped first: 255.00001, from a resampling, is no number of 8 bits.
    images = ops.clip(images, 0.0, 255.0)
    return _POSTERIZATION.transform_images(images, {"shift_factor": shift}, training=True)


def solarize(images, thresholds):
    """Inverts the values at a threshold and above it.

    Args:
        images: Shape (B, H, W, 3), float32, in [0, 255].
        thresholds: Shape (B,), grey levels, in [0, 256]; 256 changes nothing.

    Returns:
        The shape of the pictures.
    """
    given = {"thresholds": ops.reshape(thresholds, (-1, 1, 1, 1)), "additions": 0.0}
    return _SOLARIZATION.transform_images(images, given, training=True)


def sharpness(images, factors):
    """Between a smoothed picture, itself, and the same distance beyond it.

    Args:
        images: Shape (B, H, W, 3), float32, in [0, 255], H and W known. The pixels at the edge stay as they are, and so
            do pictures less than 3 pixels high or wide.
        factors: Shape (B,), >= 0; 0 is the smoothed picture, 1 itself, 2 as much sharper.

    Returns:
        The shape of the pictures.

    Reference: Pillow's ImageEnhance.Sharpness, which AutoAugment and all after it take.
    """
    if min(images.shape[1:3]) < 3:
        return images
    rows = images[:, :-2] + images[:, 1:-1] + images[:, 2:]
    square = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    middle = images[:, 1:-1, 1:-1]
    blurred = ops.pad((square + 4.0 * middle) / 13.0 - middle, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return ops.clip(images + (1.0 - ops.reshape(factors, (-1, 1, 1, 1))) * blurred, 0.0, 255.0)
