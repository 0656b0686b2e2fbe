"""Whether a picture is like those that a model has learned from, told by its nearest neighbours among them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tltool.errors import DataError, ShapeError

NEIGHBOURS = 5  # the score is the distance to the fifth: one odd or mislabelled neighbour vouches for nothing
# Pictures kept: 5 MB at 1,280 features. 200 of 1,800 icons and 120 of 360 flowers told as well as all of them; more are
# for many classes, since the fifth neighbour should be of the same one.
LARGEST = 2000
BLOCK = 1000  # pictures scored at once: 8 MB of distances
FARTHEST = 2.0  # 1 minus the cosine of opposite features
SMALLEST_NORM = 1e-12  # of features; a picture that excites nothing at all is far from everything, not a division by 0


@dataclass(frozen=True, eq=False)
class Novelty:
    """What is known, and how far from it a picture may be.

    Chosen by measuring seven image sets as known ones against eight others each, EfficientNet-Lite0's top features,
    95 % of known pictures to pass: 95.0 % pass and 98.6 % of the others are flagged (benchmarks/unknown.py). Of
    Mahalanobis distances by class, shared and relative, and of distances from 32 to 1,000 principal directions the best
    flagged 95 %, and most let far fewer known pictures pass than asked: a few hundred say too little of a covariance.

    Attributes:
        reference: Features of known pictures at length 1, shape (M, D), float16.
        threshold: Largest score at which a picture is known.

    Reference: Sun, Ming, Zhu and Li, 2022, "Out-of-distribution detection with deep nearest neighbors".
    """

    reference: np.ndarray
    threshold: float

    def score(self, features: np.ndarray) -> np.ndarray:
        """How far each picture is from what is known.

        Args:
            features: As those it was fitted on, shape (N, D).

        Returns:
            1 minus the cosine between it and its `NEIGHBOURS`-th nearest known picture, shape (N,), in [0, 2].

        Raises:
            ShapeError: if there are not D features.
        """
        if features.ndim != 2 or features.shape[1] != self.reference.shape[1]:
            raise ShapeError(f"Features of shape {features.shape} where a picture has {self.reference.shape[1]}.")
        return _scores(features, self.reference)

    def known(self, features: np.ndarray) -> np.ndarray:
        """Whether each picture is like those that the model has learned from, shape (N,); arguments as `score`."""
        return self.score(features) <= self.threshold

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What `np.savez` keeps."""
        return {"reference": self.reference, "threshold": np.array(self.threshold)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Novelty":
        return cls(np.asarray(arrays["reference"], dtype=np.float16), float(arrays["threshold"]))


def fit_novelty(
    features: np.ndarray,
    labels: np.ndarray,
    share: float = 0.95,
    seed: int = 0,
    groups: Sequence[str] = (),
    held_out: np.ndarray | None = None,
) -> Novelty:
    """Keeps known pictures and finds the distance within which the asked share of new pictures like them lies.

    Args:
        features: Of the training pictures, in front of the head, shape (N, D).
        labels: Class indices, shape (N,), or 0 and 1, shape (N, C). Of many pictures as many a class are kept as can
            be, so that a rare class stays known; of a multi-label set a plain sample.
        share: Of known pictures that shall pass, in [0.5, 0.999].
        seed: Of the sample.
        groups: Pictures with the same non-empty name do not vouch for each other, length N; empty if there are none.
        held_out: Features of known pictures that the network has not learned from, shape (n, D): give them where the
            network itself was trained, because it has drawn its training pictures together. Without, each training
            picture is left out in turn.

    Raises:
        ShapeError: if the shapes do not fit.
        DataError: if the share is not offered, or there are too few pictures for it.

    Reference: the threshold is the conformal quantile of Vovk, Gammerman and Shafer, 2005, "Algorithmic learning in a
        random world", so that at least the share passes on average over training sets.
    """
    if features.ndim != 2 or len(features) != len(labels) or (groups and len(groups) != len(features)):
        raise ShapeError(f"Features of shape {features.shape} for {len(labels)} labels and {len(groups)} groups.")
    if not 0.5 <= share <= 0.999:
        raise DataError(f"A share of {share} known pictures: give one from 0.5 to 0.999, such as 0.95.")
    asked = features if held_out is None else held_out
    needed = math.ceil(round(share / (1 - share), 9))
    if len(asked) < needed or len(features) <= NEIGHBOURS:
        raise DataError(
            f"An 'I do not know' that lets {share:.1%} of known pictures pass takes {max(needed, NEIGHBOURS + 1)} of "
            f"them, and there are {min(len(asked), len(features))}. Ask for a smaller share, or do without."
        )
    kept = deal_out(np.asarray(labels), LARGEST, seed)
    reference = _at_length_one(features[kept]).astype(np.float16)
    same = None if held_out is not None else _same(len(features), groups)
    scores = np.sort(_scores(asked, reference, kept, same))
    rank = math.ceil(round((len(scores) + 1) * share, 9))
    if scores[rank - 1] == FARTHEST:
        raise DataError(
            f"Too many pictures belong together to tell what is unlike them: without its own group, fewer than "
            f"{NEIGHBOURS} of the pictures are left to compare one with. Do without."
        )
    return Novelty(reference, float(scores[rank - 1]))


def deal_out(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Positions of at most so many pictures, ascending: dealt out to the classes in turn until one has no more.

    Args:
        labels: Class indices, shape (N,); of 0 and 1, shape (N, C), the sample is a plain one.
        most: Pictures, >= 1.
        seed: Of the sample.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(labels))
    if len(labels) <= most:
        return np.arange(len(labels))
    turn = np.zeros(len(labels), dtype=int)
    if labels.ndim == 1:
        for label in np.unique(labels):
            members = order[labels[order] == label]
            turn[members] = np.arange(len(members))
    return np.sort(order[np.argsort(turn[order], kind="stable")[:most]])


def _same(count: int, groups: Sequence[str]) -> np.ndarray:
    """A number for each picture, equal where one may not vouch for the other, shape (N,)."""
    names = [group or f"\0{index}" for index, group in enumerate(groups or [""] * count)]
    return np.unique(names, return_inverse=True)[1]


def _at_length_one(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, dtype=np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), SMALLEST_NORM)


def _scores(
    features: np.ndarray, reference: np.ndarray, kept: np.ndarray | None = None, same: np.ndarray | None = None
) -> np.ndarray:
    """Distances to the `NEIGHBOURS`-th nearest; those with the same number in `same` do not count as neighbours."""
    known = reference.astype(np.float32)
    scores = np.empty(len(features))
    for start in range(0, len(features), BLOCK):
        rows = slice(start, start + BLOCK)
        distances = 1 - _at_length_one(features[rows]) @ known.T
        if same is not None:
            distances[same[rows][:, None] == same[kept][None]] = FARTHEST
        scores[rows] = np.partition(distances, NEIGHBOURS - 1, axis=1)[:, NEIGHBOURS - 1]
    return np.clip(scores, 0.0, FARTHEST)
