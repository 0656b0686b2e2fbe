"""How good a classifier is on pictures that it has not seen."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tltool.errors import ShapeError

CONFIDENCE_95 = 1.959964  # standard normal quantile of a two-sided 95 % interval
BINS = 15  # of the calibration error, as in Guo et al.


@dataclass(frozen=True)
class Metrics:
    """Scores on held-out pictures.

    Attributes:
        pictures: How many.
        top1: Share whose most probable class is right, [0, 1].
        top1_interval: Its 95 % Wilson interval.
        balanced_accuracy: Recall averaged over the classes that occur, [0, 1].
        log_loss: Mean cross-entropy, nats.
        expected_calibration_error: Gap between confidence and accuracy, [0, 1].
        class_names: Rows and columns of `confusion`.
        confusion: Pictures by true class (row) and predicted class (column).
    """

    pictures: int
    top1: float
    top1_interval: tuple[float, float]
    balanced_accuracy: float
    log_loss: float
    expected_calibration_error: float
    class_names: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Metrics":
        kept = {name: values[name] for name in cls.__dataclass_fields__}
        for name in ("top1_interval", "class_names"):
            kept[name] = tuple(kept[name])
        return cls(**kept | {"confusion": tuple(tuple(row) for row in values["confusion"])})

    def __str__(self) -> str:
        low, high = self.top1_interval
        return (
            f"top-1 {self.top1:.1%} (95 % interval {low:.1%} to {high:.1%}), balanced accuracy "
            f"{self.balanced_accuracy:.1%}, log loss {self.log_loss:.3f}, calibration error "
            f"{self.expected_calibration_error:.3f}, on {self.pictures} held-out pictures"
        )


def score(prob: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]) -> Metrics:
    """Compares probabilities with the truth.

    Args:
        prob: Class probabilities, shape (N, C), rows summing to 1; N >= 1.
        labels: Class indices, shape (N,), in [0, C).
        class_names: Length C.

    Raises:
        ShapeError: if the lengths differ.
    """
    if prob.ndim != 2 or prob.shape != (len(labels), len(class_names)):
        raise ShapeError(f"{prob.shape} probabilities, {len(labels)} labels and {len(class_names)} classes do not fit.")
    predicted = prob.argmax(axis=1)
    hits = int((predicted == labels).sum())
    # A few lines of NumPy, checked against scikit-learn in the tests: importing it takes longer than a probe's fit.
    confusion = np.zeros((len(class_names), len(class_names)), dtype=int)
    np.add.at(confusion, (labels, predicted), 1)
    occurring = confusion.sum(axis=1) > 0
    recall = confusion.diagonal()[occurring] / confusion.sum(axis=1)[occurring]
    return Metrics(
        pictures=len(labels),
        top1=hits / len(labels),
        top1_interval=wilson_interval(hits, len(labels)),
        balanced_accuracy=float(recall.mean()),
        log_loss=_log_loss(prob, labels),
        expected_calibration_error=expected_calibration_error(prob, labels),
        class_names=tuple(class_names),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
    )


def _log_loss(prob: np.ndarray, labels: np.ndarray) -> float:
    values = prob.astype(np.float64)
    # An exact 0 for the true class would make the whole score infinite; it is what float32 rounds 1e-46 to.
    true = np.clip(values[np.arange(len(labels)), labels] / values.sum(axis=1), np.finfo(np.float32).eps, 1.0)
    return float(-np.log(true).mean())


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a share, from hits out of count >= 1.

    Reference: Wilson, 1927, "Probable inference, the law of succession, and statistical inference".
    """
    share, z2 = hits / count, CONFIDENCE_95**2
    center = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = CONFIDENCE_95 / (1 + z2 / count) * np.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return float(max(0.0, center - half)), float(min(1.0, center + half))


def expected_calibration_error(prob: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """Gap between confidence and accuracy, averaged over confidence bins.

    Args:
        prob: Class probabilities, shape (N, C), rows summing to 1.
        labels: Class indices, shape (N,), in [0, C).
        bins: Equal-width bins over (0, 1]; >= 1.

    Returns:
        A fraction in [0, 1]; 0 is perfectly calibrated.

    Raises:
        ShapeError: if the two lengths differ.

    Reference: Guo et al., 2017, "On calibration of modern neural networks", section 2.
    """
    if len(prob) != len(labels):
        raise ShapeError(f"{len(prob)} rows of probabilities but {len(labels)} labels.")
    confidence = prob.max(axis=1).astype(np.float64)
    correct = prob.argmax(axis=1) == labels
    position = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(position, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))
