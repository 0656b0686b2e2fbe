"""Reads pictures at places between their pixels; outside of a picture lies its mirror image.

All of it is compiled by XLA: a warp of a 224 x 224 picture takes 0.6 ms of a processor, where the same operations one
by one take 4, and TensorFlow's own operation for projective maps 2.
"""

import os
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from types import ModuleType
from typing import Any

import keras
import numpy as np

# Sizes of pictures whose compiled code is kept; compiling takes about 0.2 s of the processor's time.
KEPT = 16
THREADS = os.cpu_count() or 1
# Of the third coordinate: what lies behind the camera is read as if it lay this little in front of it: nowhere is NaN.
NEAREST_DEPTH = 1e-6


def coordinates(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the pixels are, from the middle of the picture.

    Args:
        height, width: Of the picture, pixels.

    Returns:
        x and y, shape (1, height, width), float32; 0 in the middle, y downward.
    """
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return x[None] - np.float32((width - 1) / 2), y[None] - np.float32((height - 1) / 2)


def transformed(matrices: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Points through projective maps.

    Args:
        matrices: Shape (B, 3, 3), float32; they take (x, y, 1), as a column, to a multiple of where it goes.
        x, y: Shape (b, h, w); b is B or 1.

    Returns:
        x and y, shape (B, h, w). Finite where a map takes a point behind the camera, too.
    """
    m = matrices[:, :, :, None, None]
    depth = keras.ops.maximum(m[:, 2, 0] * x + m[:, 2, 1] * y + m[:, 2, 2], NEAREST_DEPTH)
    return (m[:, 0, 0] * x + m[:, 0, 1] * y + m[:, 0, 2]) / depth, (
        m[:, 1, 0] * x + m[:, 1, 1] * y + m[:, 1, 2]
    ) / depth


def project(images: Any, matrices: Any) -> Any:
    """Warps pictures by projective maps.

    Args:
        images: Shape (B, H, W, C), float32, H, W and C known.
        matrices: Shape (B, 3, 3), float32: from where a pixel of the output is to where it is read in the input, both
            from the middle of the picture as `coordinates` has them.

    Returns:
        The shape of the pictures.
    """
    return compiled(_project, images, matrices)


def sample(images: Any, x: Any, y: Any) -> Any:
    """Reads pictures at given places, between four pixels in proportion to how near they are.

    Args:
        images: Shape (B, H, W, C), float32.
        x, y: Shape (B, h, w), float32, finite: pixels from the centre of the upper left pixel. The picture goes on
            outside of its edge as its mirror image (d c b a | a b c d | d c b a), as far as it is asked for.

    Returns:
        Shape (B, h, w, C).
    """
    return compiled(sample_as_written, images, x, y)


def sample_as_written(images: Any, x: Any, y: Any, ops: ModuleType = keras.ops) -> Any:
    """`sample`, operation by operation.

    Args:
        images, x, y: As there; height and width may be unknown in a graph.
        ops: `keras.ops`, or the same functions for tensors of another backend, such as those inside tf.data.
    """
    batch, height, width, channels = ops.shape(images)
    x, y = _mirrored(x, width, ops), _mirrored(y, height, ops)
    left, top = ops.floor(x), ops.floor(y)
    right_share, bottom_share = (x - left)[..., None], (y - top)[..., None]
    left, top = ops.cast(left, "int32"), ops.cast(top, "int32")
    right, bottom = ops.minimum(left + 1, width - 1), ops.minimum(top + 1, height - 1)
    # Rows of one long picture: a look-up by one number a pixel takes a fraction of the time of one by three.
    start = ops.reshape(ops.arange(batch, dtype="int32") * height, (-1, 1, 1))
    pixels = ops.reshape(images, (-1, channels))

    def row(place: Any) -> Any:
        first = (start + place) * width
        one, other = ops.take(pixels, first + left, axis=0), ops.take(pixels, first + right, axis=0)
        return one + right_share * (other - one)

    upper, lower = row(top), row(bottom)
    return upper + bottom_share * (lower - upper)


def _project(images: Any, matrices: Any) -> Any:
    height, width = images.shape[1:3]
    x, y = transformed(matrices, *coordinates(height, width))
    return sample_as_written(images, x + (width - 1) / 2, y + (height - 1) / 2)


def _mirrored(place: Any, size: Any, ops: ModuleType) -> Any:
    """The same place inside of the picture; between the last pixel and its mirror image lies that pixel."""
    size = ops.cast(size, place.dtype)
    from_edge = place + 0.5
    from_edge = ops.abs(from_edge - 2 * size * ops.floor(from_edge / (2 * size) + 0.5))
    return ops.minimum(ops.maximum(from_edge - 0.5, 0.0), size - 1)


def compiled(function: Callable, images: Any, *given: Any) -> Any:
    """A function of a batch, compiled by XLA where the size of the pictures is known.

    Args:
        function: From pictures, and what `given` holds, to pictures; each for itself, of `keras.ops`. The compiled code
            is kept by it: one made anew for each call would be compiled for each.
        images: Shape (B, H, W, C).
        given: With B in front; all are float32 to the function.

    Returns:
        What the function does.
    """
    images, *given = (keras.ops.convert_to_tensor(each, "float32") for each in (images, *given))
    if keras.backend.backend() == "jax":
        return _by_jax(function)(images, *given)
    shapes = tuple(tuple(each.shape[1:]) for each in (images, *given))
    if keras.backend.backend() != "tensorflow" or any(None in shape for shape in shapes):
        return function(images, *given)
    import tensorflow as tf

    # A graph is traced for batches of one size; outside of it come all sizes, and each would be compiled for.
    by_tensorflow = _one_by_one if tf.executing_eagerly() else _at_once
    return by_tensorflow(function, shapes)(images, *given)


@cache
def _by_jax(function: Callable) -> Callable:
    import jax

    return jax.jit(function)


@lru_cache(maxsize=KEPT)
def _at_once(function: Callable, shapes: Sequence[Sequence[int]]) -> Callable:
    import tensorflow as tf

    # Within a graph that XLA compiles as a whole, this becomes a part of it. Concrete: TensorFlow would take many sizes
    # of pictures for a mistake, and warn.
    return tf.function(function, jit_compile=True).get_concrete_function(*_batches(shapes))


@lru_cache(maxsize=KEPT)
def _one_by_one(function: Callable, shapes: Sequence[Sequence[int]]) -> Callable:
    import tensorflow as tf

    def one(*picture: Any) -> Any:
        return function(*(each[None] for each in picture))[0]

    code = tf.function(one, jit_compile=True).get_concrete_function(*(tf.TensorSpec(shape) for shape in shapes))
    result = tf.TensorSpec(code.output_shapes)

    def one_by_one(*batches: Any) -> Any:
        # XLA has one thread for a picture; as many pictures are in work as there are processors.
        return tf.map_fn(
            lambda picture: code(*picture), batches, fn_output_signature=result, parallel_iterations=THREADS
        )

    return tf.function(one_by_one).get_concrete_function(*_batches(shapes))


def _batches(shapes: Sequence[Sequence[int]]) -> list:
    import tensorflow as tf

    return [tf.TensorSpec((None, *shape)) for shape in shapes]
