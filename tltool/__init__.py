"""tltool turns a folder of pictures into a fine-tuned classifier, and says why it trained it the way it did.

import tltool as tl
run = tl.fit("photos.zip")
run.export("out")
tl.load_model("out").predict(["a.jpg"])
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tltool import augment, layers, optimizers, training
    from tltool.data import Dataset, load_dataset
    from tltool.errors import TltoolError
    from tltool.export.predictor import load_model
    from tltool.pipeline import Plan, ensemble, examine, fit, inspect, rank_backbones, recommend, resume, tune
    from tltool.recipes import Recipe, load_recipe
    from tltool.run import Run, open_run

__version__ = "0.1.0"

# Found on first use: TensorFlow takes seconds to import, and `tltool --help` should not.
_HOMES = {
    "Dataset": "tltool.data",
    "Plan": "tltool.pipeline",
    "Recipe": "tltool.recipes",
    "Run": "tltool.run",
    "TltoolError": "tltool.errors",
    "ensemble": "tltool.pipeline",
    "examine": "tltool.pipeline",
    "fit": "tltool.pipeline",
    "inspect": "tltool.pipeline",
    "load_dataset": "tltool.data",
    "load_model": "tltool.export.predictor",
    "load_recipe": "tltool.recipes",
    "open_run": "tltool.run",
    "rank_backbones": "tltool.pipeline",
    "recommend": "tltool.pipeline",
    "resume": "tltool.pipeline",
    "tune": "tltool.pipeline",
}

__all__ = [
    "Dataset",
    "Plan",
    "Recipe",
    "Run",
    "TltoolError",
    "augment",
    "ensemble",
    "examine",
    "fit",
    "inspect",
    "layers",
    "load_dataset",
    "load_model",
    "load_recipe",
    "open_run",
    "optimizers",
    "rank_backbones",
    "recommend",
    "resume",
    "training",
    "tune",
]


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in ("augment", "layers", "optimizers", "training"):  # the first three stand on their own
        return importlib.import_module(f"tltool.{name}")
    raise AttributeError(f"module 'tltool' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))
