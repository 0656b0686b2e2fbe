"""Carrying out recipes: runs as folders, in this process or one of their own.

from tltool.training import submit
submission = submit("photos")
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tltool.training.submission import Submission, resubmit, submit

# Found on first use: a run's state is read by commands that load next to nothing.
_HOMES = {"Submission": "submission", "resubmit": "submission", "submit": "submission"}

__all__ = ["Submission", "resubmit", "submit"]


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(f"tltool.training.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'tltool.training' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))
