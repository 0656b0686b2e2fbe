"""Changed pictures that a backbone looks at beside the clean ones: what it says of them is cached beside them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Change = Callable[[np.ndarray, Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class View:
    """A change of prepared pictures.

    Attributes:
        name: Of the change and of all its numbers, for features are found again under it: two changes that differ in
            anything must differ in it.
        change: From pixels, shape (B, S, S, 3), uint8, and the content keys of the pictures, length B, to the changed
            pixels, of the same shape and type. A picture's change may depend on its key, never on its place.
        label: What such pictures are called while they are read: "mirrored".
    """

    name: str
    change: Change
    label: str = "augmented"


MIRRORED = View("mirrored", lambda pixels, keys: pixels[:, :, ::-1], "mirrored")
UPSIDE_DOWN = View("upside-down", lambda pixels, keys: pixels[:, ::-1], "upside-down")
TURNED = View("turned", lambda pixels, keys: np.rot90(pixels, axes=(1, 2)), "turned")  # by 90 degrees, to the left
ORIENTATIONS = (MIRRORED, UPSIDE_DOWN, TURNED)
