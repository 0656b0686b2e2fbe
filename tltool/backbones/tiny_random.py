"""A tiny EfficientNet-Lite with random weights: for tests of the plumbing only, its features mean nothing."""

from pathlib import Path

import keras
import numpy as np
from keras import layers

from tltool.backbones.backbone import Backbone
from tltool.backbones.efficientnet_lite import build_network, load_file

WIDTH, DEPTH, STEM, HEAD, CLASSES = 0.25, 0.34, 8, 64, 10
SEED = 20240607
PICTURES = 64  # enough that the 1 x 1 maps at the top get a variance well above zero


def tiny_random(weights: str | Path | None, image_size: int) -> Backbone:
    """Builds it; two calls give identical weights, and no global random state is read or moved.

    Args:
        weights: None for the seeded weights, or a file that was saved from such a network.
        image_size: Height and width of the input, pixels.

    Raises:
        WeightsError: if the file is missing or does not fit.
    """
    network, stages = build_network("tiny_random", WIDTH, DEPTH, image_size, CLASSES, STEM, HEAD, SEED)
    if weights is None:
        _remember(network, _pictures(image_size))
    else:
        load_file(network, Path(weights))
    licence = "Random weights, for tests only." if weights is None else f"Weights from {weights}."
    return Backbone("tiny_random", network, stages, image_size, licence)


def _remember(network: keras.Model, pictures: np.ndarray) -> None:
    """Gives each BatchNorm the statistics of these pictures, as if it had been trained on them."""
    norms = [layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0  # the moving statistics become those of the one batch
    network(pictures, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _pictures(size: int) -> np.ndarray:
    """Colour patches under fine noise, so that each scale has some structure.

    Returns:
        Pixels, shape (PICTURES, size, size, 3), float32, in [0, 255].
    """
    generator = np.random.default_rng(SEED)
    patches = generator.uniform(0, 255, (PICTURES, 4, 4, 3))
    repeats = -(-size // 4)
    coarse = patches.repeat(repeats, axis=1).repeat(repeats, axis=2)[:, :size, :size]
    return np.clip(coarse + generator.normal(0, 20, coarse.shape), 0, 255).astype("float32")
