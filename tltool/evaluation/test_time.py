"""Test-time augmentation: a picture is looked at in several views, and the answers are averaged.

An option, for it takes two or four times as long and does not always pay. Top-1 of linear probes on EfficientNet-Lite0,
one split each, without and with all four views: flowers 86.7 % and 88.3 %, weather 94.7 % and 94.4 %, rubbish 77.5 %
and 75.4 %.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from tltool.data.decoding import Framing, prepare
from tltool.features.views import MIRRORED, View
from tltool.inspection.flips import judge_flips
from tltool.inspection.orientation import ClassChange, Orientation
from tltool.inspection.symmetry import Symmetry
from tltool.training.run_folder import RunFolder

# Share of the side that an enlarged view shows; the rest is cut off around it.
ENLARGED_TO = 0.875


def _enlarged(pixels: np.ndarray, keys: Sequence[str]) -> np.ndarray:
    size = pixels.shape[1]
    margin = round(size * (1 - ENLARGED_TO) / 2)
    middle = pixels[:, margin : size - margin, margin : size - margin]
    return np.stack([prepare(picture, Framing(size)) for picture in middle])


def _mirrored_and_enlarged(pixels: np.ndarray, keys: Sequence[str]) -> np.ndarray:
    return _enlarged(MIRRORED.change(pixels, keys), keys)


ENLARGED = View(f"enlarged-{ENLARGED_TO}", _enlarged, "enlarged")
BOTH = View(f"mirrored-enlarged-{ENLARGED_TO}", _mirrored_and_enlarged, "mirrored and enlarged")


def views_at_test_time(inspection: Mapping[str, Any] | None) -> tuple[View, ...]:
    """The views that pictures bear: enlarged always, mirrored only where that was found to leave their classes alone.

    Args:
        inspection: What a run's `inspection.json` says; None where there is none.

    Returns:
        Beside the picture itself: one view, or three.
    """
    return (MIRRORED, ENLARGED, BOTH) if _bear_mirroring(inspection) else (ENLARGED,)


def views_beside(folder: Path) -> tuple[View, ...]:
    """The same for the pictures of a run, or of a model in a folder of which nothing is known."""
    found = None
    with suppress(OSError, ValueError):
        found = json.loads(RunFolder(folder).inspection.read_text("utf-8"))
    return views_at_test_time(found)


def views_in_words(views: Sequence[View]) -> str:
    """Which views were averaged, and why no others."""
    names = ", ".join(view.label for view in views)
    reason = "" if MIRRORED in views else "; not mirrored, for nothing says that mirrored pictures keep their classes"
    calibrated = "Probabilities and sets were calibrated on single views."
    return f"Averaged over each picture as it is and {names}{reason}. {calibrated}"


def _bear_mirroring(inspection: Mapping[str, Any] | None) -> bool:
    try:
        measured = inspection["symmetry"]
        return bool(measured) and judge_flips(_symmetry(measured))["mirrored"] == "itself"
    except (TypeError, KeyError, AttributeError):  # of another version, or damaged
        return False


def _symmetry(values: Mapping[str, Any]) -> Symmetry:
    flips = {
        name: Orientation(
            **values[name] | {"classes": {key: ClassChange(**each) for key, each in values[name]["classes"].items()}}
        )
        for name in ("mirrored", "upside_down", "turned")
    }
    return Symmetry(**flips, pictures=values["pictures"])
