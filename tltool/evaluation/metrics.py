"""How good a classifier is on pictures that it has not seen."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tltool.errors import ShapeError
from tltool.evaluation.calibration import BINS, calibration_gaps, chance_errors
from tltool.evaluation.intervals import (
    Interval,
    bootstrap_means,
    percentile_interval,
    reflected_interval,
    wilson_interval,
    wilson_intervals,
)
from tltool.evaluation.per_class import class_averages, gaps_in_words, shares

if TYPE_CHECKING:
    from scipy.sparse import csr_array

LARGEST_K = 5  # of the top-k share, or one less than there are classes: the right one among all is no merit
FLOOR = float(np.finfo(np.float32).eps)  # of a true class's probability: an exact 0 would make the loss infinite


@dataclass(frozen=True)
class Metrics:
    """Scores on held-out pictures, with 95 % intervals: of shares Wilson's, of all others by bootstrap.

    Runs of the first version lack those that follow `confusion`: None or empty there.

    Attributes:
        pictures: How many.
        top1: Share whose most probable class is right, [0, 1].
        top1_interval: Of `top1`, as all that end so.
        balanced_accuracy: Recall averaged over the classes that occur, [0, 1].
        log_loss: Mean cross-entropy, nats.
        expected_calibration_error: Gap between confidence and accuracy, [0, 1].
        class_names: Rows and columns of `confusion`.
        confusion: Pictures by true class (row) and predicted class (column).
        k: Of `top_k`; None where there are too few classes for a k above 1.
        top_k: Share whose right class is among the k most probable, [0, 1].
        macro_f1: F1 averaged over the classes that occur, [0, 1].
        brier: Squared distance of the probabilities from the truth, summed over classes, [0, 2].
        support: Held-out pictures of each class.
        precision: Of each class, [0, 1]; None where it was never predicted.
        recall, f1: Of each class, [0, 1]; None where it does not occur.
    """

    pictures: int
    top1: float
    top1_interval: Interval
    balanced_accuracy: float
    log_loss: float
    expected_calibration_error: float
    class_names: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    k: int | None = None
    top_k: float | None = None
    top_k_interval: Interval | None = None
    macro_f1: float | None = None
    brier: float | None = None
    balanced_accuracy_interval: Interval | None = None
    macro_f1_interval: Interval | None = None
    log_loss_interval: Interval | None = None
    brier_interval: Interval | None = None
    expected_calibration_error_interval: Interval | None = None
    support: tuple[int, ...] = ()
    precision: tuple[float | None, ...] = ()
    precision_interval: tuple[Interval | None, ...] = ()
    recall: tuple[float | None, ...] = ()
    recall_interval: tuple[Interval | None, ...] = ()
    f1: tuple[float | None, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Metrics":
        return cls(**{name: frozen(values[name]) for name in cls.__dataclass_fields__ if name in values})

    @property
    def warnings(self) -> tuple[str, ...]:
        """What keeps these numbers from meaning what they seem to, in words."""
        return gaps_in_words(self.class_names, [sum(row) for row in self.confusion])

    def __str__(self) -> str:
        low, high = self.top1_interval
        return (
            f"top-1 {self.top1:.1%} (95 % interval {low:.1%} to {high:.1%}), balanced accuracy "
            f"{self.balanced_accuracy:.1%}, log loss {self.log_loss:.3f}, calibration error "
            f"{self.expected_calibration_error:.3f}, on {self.pictures} held-out pictures"
        )


def frozen(value: Any) -> Any:
    """JSON's lists as tuples, at every depth."""
    return tuple(frozen(item) for item in value) if isinstance(value, (list, tuple)) else value


def score(prob: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...], seed: int = 0) -> Metrics:
    """Compares probabilities with the truth.

    Args:
        prob: Class probabilities, shape (N, C), rows summing to 1; N >= 1.
        labels: Class indices, shape (N,), in [0, C).
        class_names: Length C.
        seed: Of the bootstrap.

    Raises:
        ShapeError: if the lengths differ.
    """
    if prob.ndim != 2 or prob.shape != (len(labels), len(class_names)):
        raise ShapeError(f"{prob.shape} probabilities, {len(labels)} labels and {len(class_names)} classes do not fit.")
    count, classes = prob.shape
    # NumPy throughout, checked against scikit-learn in the tests: importing it takes longer than a probe's fit.
    values = prob.astype(np.float64)
    predicted, right = values.argmax(axis=1), values[np.arange(count), labels]
    confusion = np.zeros((classes, classes), dtype=int)
    np.add.at(confusion, (labels, predicted), 1)
    hits, support, found = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    losses = -np.log(np.clip(right / values.sum(axis=1), FLOOR, 1.0))
    briers = (values**2).sum(axis=1) - 2 * right + 1
    confidence = values.max(axis=1)
    gaps = calibration_gaps(confidence, predicted == labels)
    recall, macro_f1 = class_averages(hits, support, found)
    drawn = _redraw(losses, briers, gaps, labels, predicted, classes, seed)
    k = min(LARGEST_K, classes - 1) if classes > 2 else None
    among = int((_ranks(values, labels) < k).sum()) if k else 0
    error = float(np.abs(gaps.mean(axis=0)).sum())
    return Metrics(
        pictures=count,
        top1=int(hits.sum()) / count,
        top1_interval=wilson_interval(int(hits.sum()), count),
        balanced_accuracy=float(recall),
        log_loss=float(losses.mean()),
        expected_calibration_error=error,
        class_names=tuple(class_names),
        confusion=frozen(confusion.tolist()),
        k=k,
        top_k=among / count if k else None,
        top_k_interval=wilson_interval(among, count) if k else None,
        macro_f1=float(macro_f1),
        brier=float(briers.mean()),
        balanced_accuracy_interval=percentile_interval(drawn["recall"]),
        macro_f1_interval=percentile_interval(drawn["f1"]),
        log_loss_interval=percentile_interval(drawn["loss"]),
        brier_interval=percentile_interval(drawn["brier"]),
        expected_calibration_error_interval=reflected_interval(error, drawn["error"], chance_errors(confidence, seed)),
        support=frozen(support.tolist()),
        precision=shares(hits, found),
        precision_interval=wilson_intervals(hits, found),
        recall=shares(hits, support),
        recall_interval=wilson_intervals(hits, support),
        f1=shares(2 * hits, np.where(support, support + found, 0)),
    )


def _redraw(
    losses: np.ndarray,
    briers: np.ndarray,
    gaps: "csr_array",
    labels: np.ndarray,
    predicted: np.ndarray,
    classes: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """The scores over redrawn pictures, each of shape (draws,); all of them are made of means."""
    from scipy.sparse import csr_array, hstack

    def by_class(index: np.ndarray, weight: np.ndarray) -> csr_array:
        return csr_array((weight, (np.arange(len(index)), index)), shape=(len(index), classes))

    one, correct = np.ones(len(labels)), (predicted == labels).astype(float)
    counts = by_class(labels, correct), by_class(labels, one), by_class(predicted, one)
    means = bootstrap_means(hstack([np.stack([losses, briers], axis=1), gaps, *counts], format="csr"), seed)
    loss, brier, error, hits, support, found = np.split(means, np.cumsum([1, 1, BINS, classes, classes]), axis=1)
    recall, f1 = class_averages(hits, support, found)
    error = np.abs(error).sum(axis=1)
    return {"loss": loss[:, 0], "brier": brier[:, 0], "error": error, "recall": recall, "f1": f1}


def _ranks(prob: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes come before the right one, shape (N,); of equal ones the first comes first, as in argmax."""
    right = prob[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(prob.shape[1]) < labels[:, None]
    return ((prob > right) | ((prob == right) & earlier)).sum(axis=1)


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
    gaps = calibration_gaps(prob.max(axis=1).astype(np.float64), prob.argmax(axis=1) == labels, bins)
    return float(np.abs(gaps.mean(axis=0)).sum())
