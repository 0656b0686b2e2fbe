"""BatchNorm that trains its scale and shift, and keeps the statistics that it has."""

from typing import Any

import keras


class KeptStatistics(keras.layers.Layer):
    """Calls a BatchNorm as it computes outside of training, so that a trained one neither uses nor learns statistics.

    For a network that is trained and thrown away: the BatchNorm itself is what belongs to the model that is saved.

    Args:
        norm: Its variables are trained as its `trainable` says.
    """

    def __init__(self, norm: keras.layers.BatchNormalization):
        super().__init__(name=f"{norm.name}_kept", dtype=norm.dtype_policy)
        self.norm = norm

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        return self.norm(inputs, training=False)

    def compute_output_shape(self, shape: tuple) -> tuple:
        return shape
