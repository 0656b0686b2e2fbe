"""All backbones by name. Listing them needs no Keras: it is imported when one is loaded."""

import dataclasses
import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from tltool.backbones.applications import APPLICATIONS, build_application, cached_applications
from tltool.backbones.hub import build_hub, hub_image_size, is_hub
from tltool.backbones.lite_variants import VARIANTS, installed_variants
from tltool.data.decoding import FITS, Fit
from tltool.errors import TltoolError

if TYPE_CHECKING:
    from tltool.backbones.backbone import Backbone

TINY_RANDOM = "tiny_random"
TINY_IMAGE_SIZE = 32
SMALLEST_IMAGE = 32  # pixels; networks halve their picture five times, and this leaves one


def backbone_names() -> tuple[str, ...]:
    """The names of all backbones: EfficientNet-Lite, `keras.applications`, and `tiny_random` for tests."""
    return (*VARIANTS, *APPLICATIONS, TINY_RANDOM)


def is_backbone(name: str) -> bool:
    """Whether a recipe may name it: one of `backbone_names()`, or `hub:PRESET` with any preset."""
    return name in backbone_names() or is_hub(name)


def offline_names() -> tuple[str, ...]:
    """The backbones whose pretrained weights are on this machine, in a package or downloaded before by Keras."""
    return (*installed_variants(), *cached_applications())


def native_image_size(name: str) -> int:
    """Height and width, in pixels, of the pictures that a backbone was trained on.

    Raises:
        TltoolError: if there is no such backbone.
    """
    _check_name(name)
    if is_hub(name):
        return hub_image_size(name)
    if name == TINY_RANDOM:
        return TINY_IMAGE_SIZE
    return VARIANTS[name].image_size if name in VARIANTS else APPLICATIONS[name].image_size


def load_backbone(
    name: str, weights: str | Path | None = "pretrained", image_size: int | None = None, fit: Fit = "squish"
) -> "Backbone":
    """Builds a backbone and loads its weights.

    Args:
        name: One of `backbone_names()`, or `hub:PRESET` with a preset of KerasHub or a folder of one. `tiny_random`
            has seeded random weights whatever is asked, unless that is a file; it is for tests of the plumbing only.
        weights: "pretrained" for ImageNet weights, None for random ones, or a weights file.
        image_size: Height and width of the input, pixels, >= 32; `native_image_size(name)` where None.
        fit: How pictures become square: squeezed, cropped or padded; see `tltool.data.decoding.Framing`.

    Raises:
        TltoolError: if there is no such backbone or fit, or it does not take that size.
        WeightsError: if the weights are missing, cannot be downloaded or do not fit.
    """
    _check_name(name)
    if image_size is not None and image_size < SMALLEST_IMAGE:
        raise TltoolError(f"Backbone {name}: image_size is {image_size}; it must be at least {SMALLEST_IMAGE} pixels.")
    if fit not in FITS:
        raise TltoolError(f"Backbone {name}: there is no fit '{fit}'; it must be one of {', '.join(FITS)}.")
    return dataclasses.replace(_build(name, weights, image_size), fit=fit)


def _build(name: str, weights: str | Path | None, image_size: int | None) -> "Backbone":
    if is_hub(name):
        return build_hub(name, weights, image_size)
    if name in APPLICATIONS:
        return build_application(name, weights, image_size)
    if name == TINY_RANDOM:
        from tltool.backbones.tiny_random import tiny_random

        return tiny_random(None if weights == "pretrained" else weights, image_size or TINY_IMAGE_SIZE)
    from tltool.backbones.efficientnet_lite import efficientnet_lite

    return efficientnet_lite(name, weights, image_size)


def _check_name(name: str) -> None:
    names = backbone_names()
    if name in names or is_hub(name):
        return
    close = difflib.get_close_matches(str(name).lower().replace("-", "_"), names, n=1)
    suggestion = f" Did you mean '{close[0]}'?" if close else ""
    offline = ", ".join(offline_names()) or "none"
    raise TltoolError(
        f"There is no backbone '{name}'.{suggestion} With weights on this machine: {offline}. "
        "All names: tltool.backbones.backbone_names()."
    )
