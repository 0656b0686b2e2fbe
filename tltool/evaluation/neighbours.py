"""Which of the pictures that were learned from a network finds most like a new one."""

from dataclasses import dataclass

import numpy as np

from tltool.errors import ShapeError


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest of some known pictures.

    Attributes:
        positions: Among the known ones, the nearest first, shape (N, k).
        similarity: Cosine of the angle between the features, [-1, 1], shape (N, k).
    """

    positions: np.ndarray
    similarity: np.ndarray


def nearest(features: np.ndarray, known: np.ndarray, count: int) -> Neighbours:
    """The known pictures whose features point the same way.

    By the angle alone, for the length of features says more about contrast than about what a picture shows.

    Args:
        features: Of the pictures that are asked about, shape (N, D).
        known: Of those that are searched, shape (M, D), M >= 1.
        count: Neighbours a picture, >= 1; M where that is less.

    Raises:
        ShapeError: if the features are not of one kind, or nothing is known.
    """
    if features.ndim != 2 or known.ndim != 2 or features.shape[1] != known.shape[1] or not len(known):
        raise ShapeError(f"Features of shape {features.shape} have no neighbours among those of shape {known.shape}.")
    from sklearn.neighbors import NearestNeighbors  # late: it takes half a second, which a fit need not wait for

    if not len(features):
        empty = (0, min(count, len(known)))
        return Neighbours(np.empty(empty, np.int64), np.empty(empty))
    search = NearestNeighbors(n_neighbors=min(count, len(known)), metric="cosine").fit(known)
    distance, positions = search.kneighbors(features)
    return Neighbours(positions, 1.0 - distance)
