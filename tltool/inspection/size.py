"""How much data there is."""

from dataclasses import dataclass

import numpy as np

from tltool.data import Dataset


@dataclass(frozen=True)
class Size:
    """Counts of the pictures that may be learned from (train and validation parts).

    Attributes:
        images: In total.
        per_class: By class name.
        held_out: Pictures kept for the score.
    """

    images: int
    per_class: dict[str, int]
    held_out: int

    @property
    def classes(self) -> int:
        return len(self.per_class)

    @property
    def typical_class(self) -> float:
        """Median pictures a class."""
        return float(np.median(list(self.per_class.values())))

    @property
    def imbalance(self) -> float:
        """Largest class over smallest, >= 1."""
        counts = self.per_class.values()
        return max(counts) / max(min(counts), 1)


def measure_size(data: Dataset) -> Size:
    """Counts the index; opens no file."""
    counts = data.counts("train", "valid")
    # Not the sum of the counts: a picture with several classes counts for each.
    return Size(len(data.indices("train", "valid")), counts, len(data.indices("test")))
