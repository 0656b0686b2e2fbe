"""Augmentation in front of a network, inside its training step: where an accelerator computes, it has time for it."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tltool.augment import with_keras
from tltool.augment.augmenter import Augmenter
from tltool.augment.mixing_steps import mix_pictures

MIX_SHAPES = ((), (), (4,))  # of a `Mix`, for one picture


class _Augmentation(keras.layers.Layer):
    """Pictures and what was drawn for them in, augmented pictures out; it knows no chance."""

    def __init__(self, augmenter: Augmenter):
        super().__init__(name="augmentation", dtype="float32", autocast=False)
        self._augmenter = augmenter

    def call(self, inputs: Sequence[Any]) -> Any:
        pixels, *parameters = inputs
        pictures = ops.cast(pixels, "float32")
        count = len(self._augmenter.shapes)
        pictures = self._augmenter.apply(pictures, parameters[:count], with_keras)
        if self._augmenter.mixing:
            pictures = mix_pictures(pictures, *parameters[count:])
        # As a picture that was augmented in the input pipeline.
        return ops.clip(ops.round(pictures), 0.0, 255.0)

    def compute_output_shape(self, shapes: Sequence[tuple]) -> tuple:
        return shapes[0]


def augmenting(network: keras.Model, augmenter: Augmenter, size: int) -> keras.Model:
    """A model that takes what `Augmenter.inputs` gives, and trains the network's own weights.

    Args:
        network: From pixels, shape (N, size, size, 3), to anything; it stays as it is.
        augmenter: What is done to its pictures.
        size: Height and width of the pictures, pixels.
    """
    pixels = keras.Input((size, size, 3), dtype="uint8", name="pixels")
    shapes = [*augmenter.shapes, *(MIX_SHAPES if augmenter.mixing else ())]
    drawn = [keras.Input(shape, name=f"drawn_{number}") for number, shape in enumerate(shapes)]
    return keras.Model([pixels, *drawn], network(_Augmentation(augmenter)([pixels, *drawn])), name="augmenting")
