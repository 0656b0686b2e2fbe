"""Augmentation: policies, what they do to batches of pictures, and a look at it.

from tltool import augment
pixels, targets = augment.Augmenter("photographs", seed=0)(pixels, targets)
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tltool.augment.augmenter import Augmenter
    from tltool.augment.grid import draw_grid, preview
    from tltool.augment.in_model import augmenting
    from tltool.augment.policies import POLICIES, Policy, read_policy
    from tltool.augment.random_lens_distortion import RandomLensDistortion
    from tltool.augment.steps import STEPS

# Found on first use: policies are read and checked before Keras, which takes seconds, is loaded.
_HOMES = {
    "Augmenter": "augmenter",
    "augmenting": "in_model",
    "POLICIES": "policies",
    "Policy": "policies",
    "read_policy": "policies",
    "preview": "grid",
    "draw_grid": "grid",
    "RandomLensDistortion": "random_lens_distortion",
    "STEPS": "steps",
}

__all__ = [
    "Augmenter",
    "augmenting",
    "POLICIES",
    "Policy",
    "read_policy",
    "preview",
    "draw_grid",
    "RandomLensDistortion",
    "STEPS",
]


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(f"tltool.augment.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'tltool.augment' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))
