"""Optimizers by name, from SGD to Newton; schedules; a rate finder; one rate for each layer; paths on surfaces.

from tltool import optimizers
optimizers.get("nesterov", learning_rate=0.01)
"""

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tltool.optimizers.adagrad_norm import AdagradNorm
    from tltool.optimizers.adagrad_with_warm_restart import AdagradWithWarmRestart
    from tltool.optimizers.catalogue import get, names
    from tltool.optimizers.decayed_adagrad import DecayedAdagrad
    from tltool.optimizers.finalize import FinalizedWeights, finalized
    from tltool.optimizers.full_batch import Minimum
    from tltool.optimizers.layer_rates import layer_groups, with_layer_rates
    from tltool.optimizers.lbfgs import LBFGS
    from tltool.optimizers.nesterov import Nesterov
    from tltool.optimizers.nesterov_adagrad import NesterovAdagrad
    from tltool.optimizers.newton_cg import NewtonCG
    from tltool.optimizers.one_cycle import OneCycle
    from tltool.optimizers.race_picture import draw_race
    from tltool.optimizers.rate_finder import RateSweep, find_rate
    from tltool.optimizers.reduce_on_plateau import ReduceOnPlateau
    from tltool.optimizers.schedules import build_schedule
    from tltool.optimizers.surfaces import SURFACES, Surface
    from tltool.optimizers.trajectories import Trajectory, race, trajectory
    from tltool.optimizers.warm_up import WarmUp

# Found on first use: names and rules are read before Keras, which takes seconds, is loaded.
_HOMES = {
    "get": "catalogue",
    "names": "catalogue",
    "Nesterov": "nesterov",
    "DecayedAdagrad": "decayed_adagrad",
    "AdagradNorm": "adagrad_norm",
    "NesterovAdagrad": "nesterov_adagrad",
    "AdagradWithWarmRestart": "adagrad_with_warm_restart",
    "finalized": "finalize",
    "FinalizedWeights": "finalize",
    "LBFGS": "lbfgs",
    "NewtonCG": "newton_cg",
    "Minimum": "full_batch",
    "build_schedule": "schedules",
    "WarmUp": "warm_up",
    "OneCycle": "one_cycle",
    "ReduceOnPlateau": "reduce_on_plateau",
    "find_rate": "rate_finder",
    "RateSweep": "rate_finder",
    "layer_groups": "layer_rates",
    "with_layer_rates": "layer_rates",
    "SURFACES": "surfaces",
    "Surface": "surfaces",
    "trajectory": "trajectories",
    "Trajectory": "trajectories",
    "race": "trajectories",
    "draw_race": "race_picture",
}

# What a saved model may hold.
_REGISTERED = (
    *("Nesterov", "DecayedAdagrad", "AdagradNorm", "NesterovAdagrad", "AdagradWithWarmRestart"),
    *("WarmUp", "OneCycle"),
)

__all__ = [
    "register",
    "get",
    "names",
    "Nesterov",
    "DecayedAdagrad",
    "AdagradNorm",
    "NesterovAdagrad",
    "AdagradWithWarmRestart",
    "finalized",
    "FinalizedWeights",
    "LBFGS",
    "NewtonCG",
    "Minimum",
    "build_schedule",
    "WarmUp",
    "OneCycle",
    "ReduceOnPlateau",
    "find_rate",
    "RateSweep",
    "layer_groups",
    "with_layer_rates",
    "SURFACES",
    "Surface",
    "trajectory",
    "Trajectory",
    "race",
    "draw_race",
]


def register() -> None:
    """Makes tltool's optimizers and schedules known to Keras, which finds no class in a file that it was not told of.

    Importing this package after Keras does it; call it where Keras is imported later, before loading a model.
    """
    for name in _REGISTERED:
        __getattr__(name)


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(f"tltool.optimizers.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'tltool.optimizers' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))


if "keras" in sys.modules:
    register()
