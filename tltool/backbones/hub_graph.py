"""Turns a backbone of KerasHub into a flat graph with preprocessing in front, and names its stages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from tltool.backbones.application_graph import copy_weights, find_stages, flatten
from tltool.backbones.backbone import PREPROCESSING, Stage
from tltool.backbones.hub_layer import copy_hub_layer, copy_hub_weights
from tltool.errors import TltoolError

Graph = tuple[keras.Model, tuple[Stage, ...], int]


@dataclass(frozen=True)
class _Tower:
    """A transformer's layers, from the picture to the top."""

    embedding: keras.Layer
    blocks: Sequence[keras.Layer]
    norm: keras.Layer


TOWERS: dict[str, Callable[[keras.Model], _Tower]] = {
    "ViTBackbone": lambda model: _of_encoder(model.layers[1], model.layers[2]),
    "DeiTBackbone": lambda model: _of_encoder(model.layers[1], model.layers[2]),
    "DINOV2Backbone": lambda model: _Tower(model.embeddings, model.encoder.layers, model.layernorm),
    "SigLIPVisionEncoder": lambda model: _Tower(model.embedding, model.encoder_layers, model.post_layer_norm),
}


def hub_graph(original: keras.Model, name: str, scale: np.ndarray, offset: np.ndarray, size: int) -> Graph:
    """The network from RGB pixels in [0, 255] to one pooled vector a picture, its stages, and its extra tokens.

    Args:
        original: A backbone of KerasHub; of several towers the one that sees is taken.
        name: Of the network; names of Keras hold no slash.
        scale: Of pixels, by channel, shape (3,): the original takes `pixels * scale + offset`.
        offset: Likewise.
        size: Height and width of the picture, pixels.

    Returns:
        The network, whose weights are copies; the stages; and how many tokens stand before those of the patches, 0 for
        a network that gives maps.

    Raises:
        TltoolError: if it is of a family that tltool cannot take apart.
    """
    original = getattr(original, "vision_encoder", original)

    def preprocess(image):
        # float32 whatever the policy, as in the other backbones.
        normalize = layers.Normalization(
            mean=list(-offset / scale),
            variance=list(1 / np.square(scale)),
            dtype="float32",
            name=f"{PREPROCESSING}normalize",
        )
        return normalize(image)

    family = type(original).__name__
    if family in TOWERS:
        return _token_graph(TOWERS[family](original), name, preprocess, size)
    output = original.output
    if not isinstance(output, keras.KerasTensor) or len(output.shape) != 4 or isinstance(original.input, list):
        raise TltoolError(
            f"Backbone {name}: tltool cannot take a {family} apart. It takes networks that give maps (ResNet, "
            f"EfficientNet, DenseNet ...) and {', '.join(TOWERS)}."
        )
    (image,) = keras.tree.flatten(original.input)
    pooling = layers.GlobalAveragePooling2D(name="pretrained_pool")
    whole = keras.Model(image, pooling(output))
    network, copies = flatten(whole, name, preprocess, _copy)
    copy_weights(copies)
    return network, find_stages(network), 0


def _token_graph(tower: _Tower, name: str, preprocess: Callable, size: int) -> Graph:
    image = keras.Input((size, size, 3), name="image")

    def call(layer: keras.Layer, name: str, x):
        copy = copy_hub_layer(layer, name)
        x = copy(x)
        copy_hub_weights(layer, copy)
        return x

    x = call(tower.embedding, "embedding", preprocess(image))
    extra = x.shape[1] - _patches(tower.embedding, size)
    stages = [Stage("embedding", "embedding")]
    for number, block in enumerate(tower.blocks, start=1):
        x = call(block, f"block{number}", x)
        stages.append(Stage(f"block{number}", f"block{number}"))
    norm = layers.LayerNormalization.from_config(tower.norm.get_config() | {"name": "norm"})
    x = norm(x)
    copy_hub_weights(tower.norm, norm)
    # The last block without the normalization above it is nothing that the network was trained to be read at.
    stages[-1] = Stage("top", "norm")
    x = layers.GlobalAveragePooling1D(name="pretrained_pool")(x)
    return keras.Model(image, x, name=name), tuple(stages), extra


def _patches(embedding: keras.Layer, size: int) -> int:
    patch = embedding.patch_size
    rows, columns = (patch, patch) if isinstance(patch, int) else patch
    return (size // rows) * (size // columns)


def _of_encoder(embedding: keras.Layer, encoder: keras.Layer) -> _Tower:
    return _Tower(embedding, encoder.encoder_layers, encoder.layer_norm)


def _copy(layer: keras.Layer, config: dict) -> keras.Layer:
    if type(layer).__module__.startswith("keras_hub."):
        return copy_hub_layer(layer, config["name"])
    return type(layer).from_config(config)
