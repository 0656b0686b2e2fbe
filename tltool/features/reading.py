"""Everything that is read off a frozen backbone, as one graph: what is converted for the engine is converted once."""

from collections.abc import Sequence
from functools import lru_cache

import keras
from keras import ops

from tltool.backbones import Backbone
from tltool.features.taps import POOLINGS, pooled

FEATURES = (0, 1)  # outputs of the graph: the pooled stages, and the classifier's confidence
MOMENTS = (2,)  # and the mean and mean square of every BatchNorm input; costs more than all before it


def batchnorm_layers(backbone: Backbone) -> list[tuple[str, keras.layers.Layer]]:
    """The BatchNorm layers with the names of their stages, from the picture to the top."""
    return [
        (stage, layer)
        for stage in backbone.stage_names
        for layer in backbone.layers_of(stage)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


def reading_model(backbone: Backbone, extra: Sequence[str] = ()) -> keras.Model:
    """From prepared pixels to three outputs a picture; two where the backbone has no BatchNorm.

    Pooled stages, shape (N, columns of the layout); confidence, shape (N, 1), 0 without a classifier; and for each
    BatchNorm layer after the other the mean and the mean square of its input's channels over the positions, shape
    (N, 2 x channels).

    Args:
        backbone: It stays as it is.
        extra: Of `EXTRA_POOLINGS`, beside those that are always there.
    """
    return _reading_model(backbone, tuple(extra))


@lru_cache(maxsize=2)  # the engine keeps its conversion by this very object
def _reading_model(backbone: Backbone, extra: tuple[str, ...]) -> keras.Model:
    features = pooled(backbone, backbone.stage_names, (*POOLINGS, *extra))
    output = backbone.network.output
    if backbone.classifies:
        confidence = ops.max(ops.softmax(output), axis=-1, keepdims=True)
    else:
        confidence = ops.zeros_like(output[:, :1])
    moments = []
    for _, layer in batchnorm_layers(backbone):
        axes = tuple(range(1, len(layer.input.shape) - 1))
        moments += [ops.mean(layer.input, axis=axes), ops.mean(ops.square(layer.input), axis=axes)]
    outputs = [features, confidence, *([ops.concatenate(moments, axis=-1)] if moments else [])]
    return keras.Model(backbone.network.input, outputs, name=f"{backbone.network.name}_reading")
