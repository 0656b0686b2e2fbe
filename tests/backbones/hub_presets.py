"""Tiny presets of KerasHub with random weights, in folders: what was downloaded elsewhere looks like this."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import keras_hub
import numpy as np

SIZE = 32
SCALE, OFFSET = (1 / 58.0, 1 / 57.0, 1 / 57.5), (-2.1, -2.0, -1.8)  # like ImageNet's mean and deviation
_keep: list[TemporaryDirectory] = []


def _vit() -> keras.Model:
    return keras_hub.models.ViTBackbone(
        image_shape=(SIZE, SIZE, 3), patch_size=8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32
    )


def _deit() -> keras.Model:
    return keras_hub.models.DeiTBackbone(
        image_shape=(SIZE, SIZE, 3), patch_size=8, num_layers=3, num_heads=2, hidden_dim=16, intermediate_dim=32
    )


def _dinov2() -> keras.Model:
    return keras_hub.models.DINOV2Backbone(
        patch_size=8,
        num_layers=3,
        hidden_dim=16,
        num_heads=2,
        intermediate_dim=32,
        num_register_tokens=2,
        image_shape=(SIZE, SIZE, 3),
        position_embedding_shape=(40, 40, 3),  # pretrained ones are at another size than that of use too
    )


def _siglip() -> keras.Model:
    seen = keras_hub.models.SigLIPVisionEncoder(
        patch_size=8, hidden_dim=16, num_layers=3, num_heads=2, intermediate_dim=32, image_shape=(SIZE, SIZE, 3)
    )
    read = keras_hub.models.SigLIPTextEncoder(50, 16, 16, 1, 2, 32, max_sequence_length=8)
    return keras_hub.models.SigLIPBackbone(seen, read)


def _resnet() -> keras.Model:
    return keras_hub.models.ResNetBackbone([64], [64], [64, 64], [1, 1], [1, 2], "basic_block")


MADE = {"vit": _vit, "deit": _deit, "dinov2": _dinov2, "siglip": _siglip, "resnet": _resnet}
TRANSFORMERS = ("vit", "deit", "dinov2", "siglip")


@cache
def preset(kind: str) -> tuple[keras.Model, Path]:
    """The network, and the folder that it was saved in. Its weights are far from their symmetric beginnings."""
    random = np.random.default_rng(0)
    model = MADE[kind]()
    for weight in model.trainable_weights:
        weight.assign(np.array(weight) + random.normal(0, 0.05, weight.shape))
    _keep.append(TemporaryDirectory(prefix="tltool-tests-"))
    folder = Path(_keep[-1].name)
    model.save_to_preset(folder)
    (converter,) = [
        each for each in keras_hub.layers.ImageConverter.__subclasses__() if each.backbone_cls is type(model)
    ]
    converter(image_size=(SIZE, SIZE), scale=list(SCALE), offset=list(OFFSET)).save_to_preset(folder)
    return keras_hub.models.Backbone.from_preset(str(folder)), folder


def pictures(count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (count, SIZE, SIZE, 3)).astype("float32")


def expected(kind: str) -> np.ndarray:
    """What KerasHub's own network gives for `pictures()`, before anything is pooled."""
    model, _ = preset(kind)
    pixels = pictures() * np.array(SCALE, "float32") + np.array(OFFSET, "float32")
    if kind == "siglip":
        tower = model.vision_encoder
        model = keras.Model(tower.inputs, tower.post_layer_norm.output)
        return np.array(model([pixels]))
    return np.array(model({"images": pixels} if isinstance(model.input, dict) else pixels))
