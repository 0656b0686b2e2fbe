"""Sets of classes that hold the right one as often as is asked for."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tltool.errors import DataError, ShapeError

LARGEST = 1000  # scores that are kept; between as many, a threshold is off by at most a thousandth of coverage
COVERAGES = (0.5, 0.999)  # offered; below a half a set says less than the most probable class alone


@dataclass(frozen=True, eq=False)
class ConformalScores:
    """How likely a model found the right classes of pictures that it had not learned from.

    A class is in the set where its probability is at least a quantile of these (LAC: "least ambiguous sets"). The sets
    hold the right class with the asked share on average over pictures like those it was made from, not for each class
    by itself. They are never empty: the most probable class is always in, so that they hold the right one at least as
    often as the model is right.

    Chosen by measuring six sets with ten splits each, at 90 %: LAC covers 92 % with 1.37 classes a set. Randomized APS
    and RAPS, whose sets are made to adapt to hard pictures, cover 95 % with 1.54 to 1.55, because a set that would be
    empty gets a class; APS covers 97 % with 2.4 classes if the class that crosses the threshold is in, and 92 % with
    1.39 if it is not.

    Attributes:
        scores: Probability of the right class, descending, shape (n,), n at most `LARGEST`.
        pictures: How many pictures the scores stand for.

    Reference: Sadinle, Lei and Wasserman, 2019, "Least ambiguous set-valued classifiers with bounded error levels".
    """

    scores: np.ndarray
    pictures: int

    @classmethod
    def from_probabilities(cls, prob: np.ndarray, labels: np.ndarray) -> "ConformalScores":
        """Collects the scores.

        Args:
            prob: Class probabilities of pictures that the model has not learned from, after calibration, shape (N, C).
                Rows that hold NaN are left out.
            labels: Class indices, shape (N,).

        Raises:
            ShapeError: if the shapes do not fit.
            DataError: for labels of a multi-label set: sets are not offered there, for such a model already answers
                with a set of classes, each by itself.
        """
        if np.ndim(labels) == 2:
            raise DataError(
                "Conformal sets are for pictures with exactly one class. A multi-label model already answers with a "
                "set; its probabilities tell how sure each class is."
            )
        if np.ndim(prob) != 2 or len(prob) != len(labels):
            raise ShapeError(f"Probabilities of shape {np.shape(prob)} and {len(labels)} labels do not fit.")
        known = ~np.isnan(prob).any(axis=1)
        prob, labels = np.asarray(prob, dtype=np.float64)[known], np.asarray(labels)[known]
        scores = np.sort(prob[np.arange(len(prob)), labels])[::-1]
        if len(scores) > LARGEST:
            # The lower end of each of equal parts, so that what is left out can only make sets larger.
            scores = scores[np.ceil(np.arange(1, LARGEST + 1) * len(scores) / LARGEST).astype(int) - 1]
        return cls(scores, len(prob))

    def to_json(self) -> dict[str, Any]:
        return {"scores": self.scores.tolist(), "pictures": self.pictures}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "ConformalScores":
        scores, pictures = np.array(values["scores"], dtype=np.float64), int(values["pictures"])
        if scores.shape != (min(pictures, LARGEST),):
            raise ValueError(f"{len(scores)} scores of {pictures} pictures")
        return cls(scores, pictures)

    def threshold(self, coverage: float) -> float:
        """The probability from which a class is in the set.

        Args:
            coverage: Share of sets that shall hold the right class, one of `COVERAGES` or between.

        Raises:
            DataError: if the coverage is not offered, or takes more pictures than there were.
        """
        low, high = COVERAGES
        if not low <= coverage <= high:
            raise DataError(f"Coverage {coverage}: give a share from {low} to {high}, such as 0.9.")
        # The n+1 of the finite sample: the new picture is one more of the same kind.
        needed = math.ceil(round(coverage / (1 - coverage), 9))
        if self.pictures < needed:
            raise DataError(
                f"Sets that hold the right class in {coverage:.1%} take {needed} pictures to calibrate on, and there "
                f"were {self.pictures}. Ask for less coverage, or fit on more pictures."
            )
        rank = math.ceil(round((self.pictures + 1) * coverage, 9))
        index = math.ceil(rank * len(self.scores) / self.pictures) - 1
        return float(self.scores[min(index, len(self.scores) - 1)])

    def sets(self, prob: np.ndarray, coverage: float) -> np.ndarray:
        """Which classes are in each picture's set.

        Args:
            prob: Class probabilities, calibrated like those that the scores came from, shape (N, C).
            coverage: As for `threshold`.

        Returns:
            Bools, shape (N, C), at least one a row; all of them where every class is as likely as the threshold.

        Raises:
            DataError: as for `threshold`.
        """
        inside = np.asarray(prob, dtype=np.float64) >= self.threshold(coverage)
        inside[np.arange(len(inside)), np.argmax(prob, axis=1)] = True
        return inside
