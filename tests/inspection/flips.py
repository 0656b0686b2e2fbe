"""Flips as they may have been measured: borne, not borne, known, and unsure."""

from tltool.inspection.orientation import ClassChange, Orientation
from tltool.inspection.symmetry import Symmetry


def orientation(lost=0.0, error=0.01, told=0.5, **classes):
    """Classes by name as (pictures, recall, recall when flipped, chance)."""
    changes = {name: ClassChange(*change) for name, change in classes.items()}
    return Orientation(lost, None if lost is None else error, told, changes)


SAME, CHANGED = orientation(), orientation(0.5)
KNOWN = orientation(told=1.0)
UNSURE = orientation(0.0, error=0.5)


def symmetry(mirrored=SAME, upside_down=SAME, turned=SAME, pictures=200):
    return Symmetry(mirrored, upside_down, turned, pictures)
