"""Layers that regularize, penalties on weights, and a given network rebuilt with them.

from tltool import layers
network = layers.regularized(model, {"stochastic_depth": 0.2, "dropout": 0.3}, seed=0)
"""

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tltool.layers.drop_block import DropBlock2D
    from tltool.layers.drop_connect import DropConnect
    from tltool.layers.fractional_max_pooling import (
        FractionalMaxPooling2D,
        fixed_fractional_pool,
        fractional_regions,
    )
    from tltool.layers.penalties import L2SP, elastic_net, penalized
    from tltool.layers.regularize import regularized
    from tltool.layers.regularizer_names import REGULARIZERS
    from tltool.layers.stochastic_depth import StochasticDepth

# Found on first use: names and ranges are read before Keras, which takes seconds, is loaded.
_HOMES = {
    "DropBlock2D": "drop_block",
    "DropConnect": "drop_connect",
    "FractionalMaxPooling2D": "fractional_max_pooling",
    "fixed_fractional_pool": "fractional_max_pooling",
    "fractional_regions": "fractional_max_pooling",
    "L2SP": "penalties",
    "elastic_net": "penalties",
    "penalized": "penalties",
    "regularized": "regularize",
    "REGULARIZERS": "regularizer_names",
    "StochasticDepth": "stochastic_depth",
}

# What a saved model may hold.
_REGISTERED = ("DropBlock2D", "DropConnect", "FractionalMaxPooling2D", "L2SP", "StochasticDepth")

__all__ = [
    "register",
    "DropBlock2D",
    "DropConnect",
    "FractionalMaxPooling2D",
    "fixed_fractional_pool",
    "fractional_regions",
    "L2SP",
    "elastic_net",
    "penalized",
    "regularized",
    "REGULARIZERS",
    "StochasticDepth",
]


def register() -> None:
    """Makes tltool's layers known to Keras, which finds no class in a file that it was not told of.

    Importing this package after Keras does it; call it where Keras is imported later, before loading a model.
    """
    for name in _REGISTERED:
        __getattr__(name)


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(f"tltool.layers.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'tltool.layers' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))


if "keras" in sys.modules:
    register()
