"""Pictures, masks, points and boxes as another lens shows them.

In all of them `strengths`, shape (B,), are those of `lens.lens_scale`, and `ops` is `keras.ops`, or the same functions
for tensors of another backend, such as those inside tf.data. Points and boxes count pixels from the upper left corner
of the picture; their height and width are float32, shape (B, 1, 1) or (1, 1, 1).
"""

from typing import Any

import keras

from tltool.augment.lens import inverse_lens_scale, lens_scale
from tltool.augment.resampling import compiled, sample_as_written


def pictures(images: Any, strengths: Any, interpolation: str, ops: Any = keras.ops) -> Any:
    """Shows pictures through lenses; what they show has always been inside of them.

    Args:
        images: Shape (B, H, W, C), numbers of any type.
        strengths: See above.
        interpolation: One of `INTERPOLATIONS`.
        ops: See above.

    Returns:
        The shape of the pictures, float32: half of its bits cannot tell all places of a picture.
    """
    read = INTERPOLATIONS[interpolation]
    if ops is keras.ops:
        return compiled(read, images, strengths)
    # What is not of the running backend cannot be compiled by it.
    return read(ops.cast(images, "float32"), strengths, ops)


def masks(given: Any, strengths: Any, classes: int | None, ops: Any = keras.ops) -> Any:
    """Shows masks through the lenses of their pictures.

    Args:
        given: Shape (B, H, W, C), numbers of any type; C is 1 where `classes` is given.
        strengths: See above.
        classes: Where each pixel holds the number of a class, below this: the class with the largest share of the place
            that a pixel is read from. Where None, a pixel holds what the nearest one did.
        ops: See above.

    Returns:
        The shape of the masks, float32.
    """
    if classes is None:
        return pictures(given, strengths, "nearest", ops)
    shares = ops.cast(ops.equal(ops.cast(given, "int32"), ops.arange(classes, dtype="int32")), "float32")
    return ops.cast(ops.argmax(pictures(shares, strengths, "bilinear", ops), axis=-1)[..., None], "float32")


def points(x: Any, y: Any, strengths: Any, height: Any, width: Any) -> tuple[Any, Any]:
    """Where points, shape (B, N, M), are shown; outside of the picture too."""
    x, y = x - width / 2, y - height / 2
    scale = inverse_lens_scale(x, y, strengths, height, width)
    return x * scale + width / 2, y * scale + height / 2


def boxes(corners: Any, strengths: Any, height: Any, width: Any, ops: Any = keras.ops) -> Any:
    """The smallest boxes around what was in given ones.

    Args:
        corners: Shape (B, N, 4): left, top, right, bottom.
        strengths, height, width, ops: See above.

    Returns:
        The same for what they hold now; parts may lie outside of the picture.
    """
    left, top, right, bottom = (corners[..., edge] for edge in range(4))
    # The curve that an edge becomes reaches furthest at an end, or where it comes nearest to the middle.
    x_nearest = ops.minimum(ops.maximum(left, width[..., 0] / 2), right)
    y_nearest = ops.minimum(ops.maximum(top, height[..., 0] / 2), bottom)
    x = ops.stack([left, left, left, right, right, right, x_nearest, x_nearest], axis=-1)
    y = ops.stack([top, y_nearest, bottom, top, y_nearest, bottom, top, bottom], axis=-1)
    x, y = points(x, y, strengths, height, width)
    return ops.stack([ops.min(x, axis=-1), ops.min(y, axis=-1), ops.max(x, axis=-1), ops.max(y, axis=-1)], axis=-1)


def _bilinear(images: Any, strengths: Any, ops: Any = keras.ops) -> Any:
    return sample_as_written(images, *_places(images, strengths, ops), ops)


def _nearest(images: Any, strengths: Any, ops: Any = keras.ops) -> Any:
    x, y = _places(images, strengths, ops)
    return sample_as_written(images, ops.floor(x + 0.5), ops.floor(y + 0.5), ops)


INTERPOLATIONS = {"bilinear": _bilinear, "nearest": _nearest}


def _places(images: Any, strengths: Any, ops: Any) -> tuple[Any, Any]:
    """Where each pixel is read, pixels from the centre of the upper left one."""
    height, width = ops.shape(images)[1:3]
    along, down = ops.arange(width, dtype="float32"), ops.arange(height, dtype="float32")
    height, width = ops.cast(height, "float32"), ops.cast(width, "float32")
    x, y = (along - (width - 1) / 2)[None, None, :], (down - (height - 1) / 2)[None, :, None]
    scale = lens_scale(x, y, strengths, height, width)
    return x * scale + (width - 1) / 2, y * scale + (height - 1) / 2
