"""What compressing a picture as JPEG and opening it again does to it, in keras.ops: any backend, any compiled graph.

Only the part that loses something: colours as luma and chroma, chroma at half the size, blocks of 8 by 8 as cosines,
each rounded to a multiple of its step. The entropy coding that follows is lossless, so it is left out. Roundings are
where libjpeg has them. Source: ITU-T T.81, "Digital compression and coding of continuous-tone still images", annexes A
and K; JFIF 1.02 for colours.
"""

import numpy as np
from keras import ops

# Annex K, tables K.1 and K.2: steps of luma and of chroma at quality 50, frequencies rising to the right and downward.
LUMA_STEPS = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)
CHROMA_STEPS = np.full((8, 8), 99, np.float32)
CHROMA_STEPS[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

FROM_RGB = np.array(
    [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]], np.float32
)
TO_RGB = np.array([[1.0, 0.0, 1.402], [1.0, -0.344136286, -0.714136286], [1.0, 1.772, 0.0]], np.float32)


def _cosines() -> np.ndarray:
    """The orthonormal DCT-II of a block, rows of pixels after each other: shape (64, 64), frequencies by pixels."""
    frequency, place = np.mgrid[:8, :8]
    one = np.cos((2 * place + 1) * frequency * np.pi / 16) * np.where(frequency == 0, np.sqrt(1 / 8), 0.5)
    return np.kron(one, one).astype(np.float32)


COSINES = _cosines()


def jpeg(images, qualities):
    """Compresses pictures as JPEG with chroma at half the size (4:2:0), and opens them again.

    Args:
        images: Shape (B, H, W, 3), float32, in [0, 255], H and W known; rounded to whole grey levels first.
        qualities: Shape (B,), whole numbers from 1 to 100 on libjpeg's scale; 0 leaves a picture as it is.

    Returns:
        Shape (B, H, W, 3), whole grey levels where a picture was compressed.
    """
    height, width = images.shape[1:3]
    colours = ops.matmul(ops.round(ops.clip(images, 0.0, 255.0)), FROM_RGB.T)
    colours = ops.round(colours + np.array([-128, 0, 0], np.float32))  # chroma is centred on 0 already
    luma = _quantized(colours[..., 0], _steps(LUMA_STEPS, qualities))
    steps = _steps(CHROMA_STEPS, qualities)
    blue, red = (_enlarged(_quantized(_halved(colours[..., i]), steps), height, width) for i in (1, 2))
    opened = ops.matmul(ops.stack([luma + 128, blue, red], axis=-1), TO_RGB.T)
    opened = ops.clip(ops.round(opened), 0.0, 255.0)
    return ops.where(ops.reshape(qualities, (-1, 1, 1, 1)) > 0, opened, images)


def _steps(table: np.ndarray, qualities):
    """The steps at each quality, shape (B, 1, 64), whole numbers from 1 to 255: a table scaled as libjpeg does."""
    quality = ops.clip(ops.reshape(ops.cast(qualities, "float32"), (-1, 1, 1)), 1.0, 100.0)
    percent = ops.where(quality < 50, ops.floor(5000 / quality), 200 - 2 * quality)
    return ops.clip(ops.floor((table.reshape(64) * percent + 50) / 100), 1.0, 255.0)


def _quantized(plane, steps):
    """A plane (B, H, W) of values in [-128, 127] after its cosines were rounded to multiples of their steps."""
    height, width = plane.shape[1:3]
    down, right = -(-height // 8), -(-width // 8)
    plane = _continued(_continued(plane, 8 * down, axis=1), 8 * right, axis=2)
    blocks = ops.transpose(ops.reshape(plane, (-1, down, 8, right, 8)), (0, 1, 3, 2, 4))
    waves = ops.matmul(ops.reshape(blocks, (-1, down * right, 64)), COSINES.T)
    # Halves away from 0, as libjpeg: the mean of a block of whole numbers often lies half-way between two steps.
    whole = ops.sign(waves) * ops.floor(ops.abs(waves) / steps + 0.5)
    pixels = ops.matmul(whole * steps, COSINES)
    pixels = ops.clip(ops.round(pixels), -128.0, 127.0)
    blocks = ops.transpose(ops.reshape(pixels, (-1, down, right, 8, 8)), (0, 1, 3, 2, 4))
    return ops.reshape(blocks, (-1, 8 * down, 8 * right))[:, :height, :width]


def _halved(plane):
    """The mean of each 2 by 2 values, rounded up and down in turn from column to column so that no tint creeps in."""
    height, width = plane.shape[1:3]
    # As libjpeg continues planes: to the right up to whole blocks before halving, downward after it.
    plane = _continued(_continued(plane, height + height % 2, axis=1), 16 * -(-width // 16), axis=2)
    sums = plane[:, ::2, ::2] + plane[:, 1::2, ::2] + plane[:, ::2, 1::2] + plane[:, 1::2, 1::2]
    return ops.floor((sums + _in_turn(1, 2, sums.shape[2])) / 4)


def _enlarged(plane, height: int, width: int):
    """Twice the size between the values, as libjpeg opens it: three parts the nearest, one part the next."""
    plane = plane[:, : -(-height // 2), : -(-width // 2)]
    if plane.shape[2] <= 2:  # libjpeg only repeats pixels in pictures so narrow
        return ops.repeat(ops.repeat(plane, 2, axis=1), 2, axis=2)[:, :height, :width]
    plane = _between(_between(plane, axis=1), axis=2)[:, :height, :width]
    return ops.floor((plane + _in_turn(8, 7, width)) / 16)


def _between(plane, axis: int):
    """Four times the values at a quarter and three quarters of the way, twice as many along an axis."""
    size = plane.shape[axis]
    before = ops.take(plane, np.maximum(np.arange(size) - 1, 0), axis=axis)
    after = ops.take(plane, np.minimum(np.arange(size) + 1, size - 1), axis=axis)
    both = ops.stack([3 * plane + before, 3 * plane + after], axis=axis + 1)
    shape = list(plane.shape)
    shape[0], shape[axis] = -1, 2 * size
    return ops.reshape(both, shape)


def _continued(plane, size: int, axis: int):
    """A plane up to a size along an axis by repeating its last values."""
    last = plane.shape[axis] - 1
    return plane if last + 1 == size else ops.take(plane, np.minimum(np.arange(size), last), axis=axis)


def _in_turn(even: int, odd: int, count: int) -> np.ndarray:
    return np.resize(np.array([even, odd], np.float32), count)
