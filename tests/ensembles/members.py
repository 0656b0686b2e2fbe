"""Small picture models that tell classes apart, with a backbone in common or not."""

from functools import cache

import keras
import numpy as np

from tltool.backbones import load_backbone
from tltool.features.taps import pooled
from tltool.heads.logistic import LinearHead
from tltool.heads.network import attach_head, picture_model

CLASSES = ("ant", "bee", "cat")
TAPS = (("stage2", "top"), ("mean", "std"))


@cache
def member(seed: int, size: int = 32, *, multi_label: bool = False) -> keras.Model:
    """One that tests must not change."""
    return new_member(seed, size, multi_label=multi_label)


def new_member(seed: int, size: int = 32, *, multi_label: bool = False, moved: str | None = None) -> keras.Model:
    """A picture model with a head of this seed; the weights of the layer `moved` are not those of the backbone."""
    backbone = load_backbone("tiny_random", image_size=size)
    if moved:
        layer = backbone.network.get_layer(moved)
        layer.set_weights([1.1 * weight for weight in layer.get_weights()])
    width = pooled(backbone, *TAPS).shape[-1]
    random = np.random.default_rng(seed)
    kernel = random.normal(0, 3 / np.sqrt(width), (width, len(CLASSES))).astype(np.float32)
    head = LinearHead(kernel, random.normal(size=len(CLASSES)).astype(np.float32), 1.0)
    return picture_model(attach_head(backbone, *TAPS, head), backbone.framing, multi_label=multi_label)


def pictures(count: int = 3, height: int = 41, width: int = 50) -> np.ndarray:
    """Noise in front of a colour, shape (count, height, width, 3), uint8."""
    random = np.random.default_rng(height)
    colours = random.uniform(0, 255, (count, 1, 1, 3))
    return np.clip(colours + random.normal(0, 60, (count, height, width, 3)), 0, 255).astype(np.uint8)


def said(model: keras.Model, batch: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(batch, training=False)).astype(np.float64)
