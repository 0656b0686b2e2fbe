"""Pretrained networks as flat graphs with named stages. Importing this package imports no Keras."""

from typing import TYPE_CHECKING

from tltool.backbones.registry import backbone_names, load_backbone, native_image_size, offline_names

if TYPE_CHECKING:
    from tltool.backbones.backbone import Backbone

__all__ = ["Backbone", "backbone_names", "load_backbone", "native_image_size", "offline_names"]


def __getattr__(name: str):
    if name == "Backbone":  # its module imports Keras, which takes seconds
        from tltool.backbones.backbone import Backbone

        return Backbone
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
