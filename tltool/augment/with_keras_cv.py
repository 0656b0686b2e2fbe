"""Operations on pixels from keras-cv's layers, outside of compiled graphs: they compute in TensorFlow on the CPU.

The functions are those of `with_keras`, where each is described, and so are the pictures within the tolerances of
tests/augment/test_forms.py. keras-cv's layers are given the parameters that they would have drawn. Three operations
come from `with_keras`: keras-cv's Posterization has one number of bits for all pictures; its Equalization leaves the
rarest grey level out of the count where it should leave out the brightest, which shows in pictures with white paper;
and its GridMask, given a mask, paints one picture at a time and takes five times as long.
"""

import keras_cv
import tensorflow as tf

from tltool.augment.resampling import project
from tltool.augment.with_keras import (
    LARGEST_SIGMA,
    equalize,
    grid_mask,
    kernel_reach,
    mirrored,
    posterize,
)

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

# A seed, though nothing is drawn: without one they would share TensorFlow's global generator. float32 whatever the
# policy of the network: bfloat16 has 8 bits for 256 grey levels and no room for parts of one.
_GIVEN = {"seed": 1, "dtype": "float32"}
_AUTOCONTRAST = keras_cv.layers.AutoContrast(value_range=(0, 255), **_GIVEN)
_BLUR = keras_cv.layers.RandomGaussianBlur(kernel_size=1, factor=1.0, **_GIVEN)
_CUTOUT = keras_cv.layers.RandomCutout(1.0, 1.0, fill_value=0.0, **_GIVEN)
_SHARPNESS = keras_cv.layers.RandomSharpness(factor=1.0, value_range=(0, 255), **_GIVEN)
_SOLARIZATION = keras_cv.layers.Solarization(value_range=(0, 255), **_GIVEN)


def blur(images, sigmas, largest: float = LARGEST_SIGMA):
    """As `with_keras.blur`: time goes only into pictures with a sigma above 0."""
    reach = kernel_reach(largest)
    height, width = images.shape[1:3]

    def blurred(each):
        image, sigma = each
        # keras-cv puts black around the picture; its mirror image stands there first, and is cut off again.
        image = tf.gather(tf.gather(image, mirrored(height, reach), axis=0), mirrored(width, reach), axis=1)
        kernel = _BLUR.get_kernel(tf.maximum(sigma, 0.1), 2 * reach + 1)
        both = tf.reshape(kernel, (-1, 1, 1, 1)), tf.reshape(kernel, (1, -1, 1, 1))
        return _BLUR.augment_image(image, transformation=both)[reach : reach + height, reach : reach + width]

    return _where_above_zero(blurred, images, sigmas)


def jpeg(images, qualities):
    """As `with_keras.jpeg`, by the codec itself: time goes only into pictures with a quality above 0."""

    def compressed(each):
        image, quality = each
        levels = tf.cast(tf.round(tf.clip_by_value(image, 0.0, 255.0)), tf.uint8)
        # What keras-cv's RandomJpegQuality calls, but with the accurate cosines that other programs open files with:
        # with the fast ones, which it leaves as they are, quality 100 would lose more than quality 95.
        opened = tf.image.adjust_jpeg_quality(levels, tf.cast(quality, tf.int32), dct_method="INTEGER_ACCURATE")
        return tf.cast(opened, tf.float32)

    return _where_above_zero(compressed, images, qualities)


def erase(images, boxes, fill):
    """As `with_keras.erase`."""
    left, top, right, bottom = tf.unstack(tf.cast(boxes, tf.float32), axis=1)
    # Its centres are those of pixels, which lie at whole numbers there. It has one colour for all pictures: what it
    # paints here is the mask.
    given = {
        "centers_x": (left + right - 1) / 2,
        "centers_y": (top + bottom - 1) / 2,
        "rectangles_width": right - left,
        "rectangles_height": bottom - top,
    }
    whole = _CUTOUT.augment_images(tf.ones_like(images[..., :1]), transformations=given)
    return tf.where(whole > 0, images, tf.reshape(fill, (-1, 1, 1, 3)))


def autocontrast(images):
    """As `with_keras.autocontrast`."""
    span = tf.reduce_max(images, axis=(1, 2), keepdims=True) - tf.reduce_min(images, axis=(1, 2), keepdims=True)
    return tf.where(span < 1.0, images, _AUTOCONTRAST.augment_images(images))


def solarize(images, thresholds):
    """As `with_keras.solarize`."""
    given = {"thresholds": tf.reshape(thresholds, (-1, 1, 1, 1)), "additions": 0.0}
    return _SOLARIZATION.augment_images(images, transformations=given)


def sharpness(images, factors):
    """As `with_keras.sharpness`."""
    if min(images.shape[1:3]) < 3:
        return images
    return _SHARPNESS.augment_images(images, transformations=1.0 - tf.reshape(factors, (-1, 1, 1, 1)))


def _where_above_zero(operation, images, strengths):
    """An operation on one picture at a time, and only on those that it changes."""
    rows = tf.where(tf.convert_to_tensor(strengths) > 0)[:, 0]
    chosen = tf.gather(images, rows), tf.gather(strengths, rows)
    changed = tf.map_fn(operation, chosen, fn_output_signature=tf.TensorSpec(images.shape[1:], tf.float32))
    return tf.tensor_scatter_nd_update(images, rows[:, None], changed)
