"""What a classifier says of pictures that it has not learned from, before they become the held-out score."""

from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Logits to calibrate on. The test pictures are none of them.

    Attributes:
        source: Heads that were fitted without the picture, or the finished network on the validation pictures.
        rows: Positions of the pictures in the data set, shape (N,).
        labels: Class indices, shape (N,); or 0 and 1, shape (N, C).
        logits: Of one or several shuffles, shape (S, N, C); NaN for a picture that was not held out.
    """

    source: Literal["cross-validation", "validation pictures"]
    rows: np.ndarray
    labels: np.ndarray
    logits: np.ndarray

    @property
    def once(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows and labels of the pictures that the first shuffle held out, and their logits, shape (n, C)."""
        known = ~np.isnan(self.logits[0]).any(axis=1)
        return self.rows[known], self.labels[known], self.logits[0][known]

    def divided(self, temperature: float) -> Self:
        return replace(self, logits=self.logits / temperature)
