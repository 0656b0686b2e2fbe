"""Whether probabilities come true."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tltool.errors import ShapeError
from tltool.evaluation.intervals import DRAWS

if TYPE_CHECKING:
    from scipy.sparse import csr_array

BINS = 15  # of the calibration error, as in Guo et al.


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram in numbers: how often what was said with some confidence came true.

    Attributes:
        edges: Of the bins, length bins + 1, from 0 to 1; a bin holds its upper end.
        counts: Decisions in each bin: one a picture, of a multi-label model one a class and picture.
        confidence: Mean confidence in each bin; None where it is empty.
        accuracy: Share that came true; None where it is empty.
        expected_calibration_error: Gap between the two, averaged over decisions, [0, 1].
        by_chance: What it would be on as few decisions if nothing was wrong, [0, 1]: no error below it is one.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]
    expected_calibration_error: float
    by_chance: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def reliability(prob: np.ndarray, labels: np.ndarray, bins: int = BINS) -> Reliability:
    """Bins what a model says by its confidence.

    Args:
        prob: Class probabilities, shape (N, C); N >= 1.
        labels: Class indices, shape (N,); of a multi-label set 0 and 1, shape (N, C).
        bins: Equal-width bins over (0, 1]; >= 1.

    Raises:
        ShapeError: if the shapes do not fit.
    """
    if np.shape(labels) not in (prob.shape, prob.shape[:1]):
        raise ShapeError(f"Probabilities of shape {prob.shape} and labels of shape {np.shape(labels)} do not fit.")
    values = prob.astype(np.float64)
    if np.ndim(labels) == 2:
        confidence, correct = values.ravel(), np.asarray(labels).ravel().astype(bool)
    else:
        confidence, correct = values.max(axis=1), values.argmax(axis=1) == labels
    position = bins_of(confidence, bins)
    counts = np.bincount(position, minlength=bins)
    said, true = (np.bincount(position, weights, minlength=bins) for weights in (confidence, correct))
    return Reliability(
        edges=tuple(np.linspace(0, 1, bins + 1).tolist()),
        counts=tuple(counts.tolist()),
        confidence=tuple(float(s / n) if n else None for s, n in zip(said, counts, strict=True)),
        accuracy=tuple(float(t / n) if n else None for t, n in zip(true, counts, strict=True)),
        expected_calibration_error=float(np.abs(true - said).sum() / len(confidence)),
        by_chance=float(chance_errors(confidence, bins=bins).mean()),
    )


def chance_errors(confidence: np.ndarray, seed: int = 0, bins: int = BINS) -> np.ndarray:
    """Calibration errors that probabilities with nothing wrong show on as many pictures, shape (draws,).

    Few pictures a bin differ from their confidence by luck: 240 of them show an error of 0.04 to 0.05.

    Args:
        confidence: Shape (N,), each in [0, 1]; N >= 1.
        seed: Of the draws.
        bins: Equal-width bins over (0, 1]; >= 1.
    """
    position = bins_of(confidence, bins)
    counts, said = np.bincount(position, minlength=bins), np.bincount(position, confidence, minlength=bins)
    means = np.clip(said / np.maximum(counts, 1), 0, 1)
    hits = np.random.default_rng(seed).binomial(counts, means, size=(DRAWS, bins))
    return np.abs(hits - said).sum(axis=1) / len(confidence)


def calibration_gaps(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> "csr_array":
    """What each decision adds to the gap of its bin: the means of columns, made positive, sum to the calibration error.

    Args:
        confidence: Shape (N,), each in [0, 1].
        correct: Whether it came true, shape (N,).
        bins: Equal-width bins over (0, 1]; >= 1.

    Returns:
        Shape (N, bins), one number a row.
    """
    from scipy.sparse import csr_array

    position = bins_of(confidence, bins)
    return csr_array((correct - confidence, (np.arange(len(position)), position)), shape=(len(position), bins))


def bins_of(confidence: np.ndarray, bins: int) -> np.ndarray:
    """Which of `bins` equal-width bins over (0, 1] holds each confidence; a bin holds its upper end."""
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
