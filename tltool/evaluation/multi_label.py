"""How good a classifier is whose pictures may have several classes at once."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tltool.errors import ShapeError
from tltool.evaluation.average_precision import average_precision, drawn_mean_average_precision
from tltool.evaluation.calibration import BINS, bins_of, chance_errors
from tltool.evaluation.intervals import (
    Interval,
    bootstrap_means,
    percentile_interval,
    reflected_interval,
    wilson_interval,
    wilson_intervals,
)
from tltool.evaluation.metrics import FLOOR, frozen
from tltool.evaluation.per_class import class_averages, gaps_in_words, shares


@dataclass(frozen=True)
class MultiLabelMetrics:
    """Scores on held-out pictures, with 95 % intervals: of shares Wilson's, of all others by bootstrap.

    Runs of the first version lack those that follow `recall`: None or empty there.

    Attributes:
        pictures: How many.
        mean_average_precision: Mean of `average_precision` over the classes that occur, [0, 1].
        threshold: Probability from which a class counts as present; tuned on pictures that were not held out.
        micro_f1: F1 over all decisions at the threshold, [0, 1].
        macro_f1: F1 of each class that occurs, averaged, [0, 1].
        exact_match: Share of pictures with every class right, [0, 1].
        log_loss: Mean binary cross-entropy of a decision, nats.
        expected_calibration_error: Gap between probability and frequency over all decisions, [0, 1].
        class_names: What the tuples below are of.
        support: Held-out pictures with the class.
        average_precision: Area under the precision-recall curve, [0, 1]; None for a class that does not occur.
        precision, recall: At the threshold, [0, 1]; None where nothing was predicted, or nothing occurs.
        f1: At the threshold, [0, 1]; None where the class does not occur.
        brier: Mean squared distance of a probability from the truth, [0, 1].
        exact_match_interval: Of `exact_match`, as all that end so.
    """

    pictures: int
    mean_average_precision: float
    threshold: float
    micro_f1: float
    macro_f1: float
    exact_match: float
    log_loss: float
    expected_calibration_error: float
    class_names: tuple[str, ...]
    support: tuple[int, ...]
    average_precision: tuple[float | None, ...]
    precision: tuple[float | None, ...]
    recall: tuple[float | None, ...]
    f1: tuple[float | None, ...] = ()
    brier: float | None = None
    exact_match_interval: Interval | None = None
    mean_average_precision_interval: Interval | None = None
    micro_f1_interval: Interval | None = None
    macro_f1_interval: Interval | None = None
    log_loss_interval: Interval | None = None
    brier_interval: Interval | None = None
    expected_calibration_error_interval: Interval | None = None
    precision_interval: tuple[Interval | None, ...] = ()
    recall_interval: tuple[Interval | None, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "MultiLabelMetrics":
        return cls(**{name: frozen(values[name]) for name in cls.__dataclass_fields__ if name in values})

    @property
    def warnings(self) -> tuple[str, ...]:
        """What keeps these numbers from meaning what they seem to, in words."""
        return gaps_in_words(self.class_names, list(self.support))

    def __str__(self) -> str:
        return (
            f"mean average precision {self.mean_average_precision:.1%}, F1 {self.micro_f1:.1%} micro and "
            f"{self.macro_f1:.1%} macro at threshold {self.threshold:.2f}, all labels right {self.exact_match:.1%}, "
            f"log loss {self.log_loss:.3f}, calibration error {self.expected_calibration_error:.3f}, on "
            f"{self.pictures} held-out pictures"
        )


def score_multi_label(
    prob: np.ndarray, targets: np.ndarray, class_names: tuple[str, ...], threshold: float, seed: int = 0
) -> MultiLabelMetrics:
    """Compares probabilities with the truth.

    Args:
        prob: Probability of each class, shape (N, C), each in [0, 1]; N >= 1.
        targets: 0 and 1, shape (N, C).
        class_names: Length C.
        threshold: Probability from which a class counts as present.
        seed: Of the bootstrap.

    Raises:
        ShapeError: if the shapes differ.
    """
    if prob.shape != targets.shape or prob.ndim != 2 or prob.shape[1] != len(class_names):
        raise ShapeError(f"{prob.shape} probabilities, {targets.shape} targets and {len(class_names)} classes differ.")
    prob = prob.astype(np.float64)
    present = targets.astype(bool)
    predicted = prob >= threshold
    support, found, hits = present.sum(axis=0), predicted.sum(axis=0), (present & predicted).sum(axis=0)
    areas = average_precision(prob, present, np.ones((1, len(prob))))[0]
    areas = tuple(float(area) if count else None for area, count in zip(areas, support, strict=True))
    clipped = np.clip(prob, FLOOR, 1 - FLOOR)
    losses = -np.where(present, np.log(clipped), np.log1p(-clipped)).mean(axis=1)
    briers = ((prob - present) ** 2).mean(axis=1)
    gaps = _gaps(prob, present)
    error = float(np.abs(gaps.mean(axis=0)).sum())
    exact = int((present == predicted).all(axis=1).sum())
    drawn = bootstrap_means(
        np.concatenate([losses[:, None], briers[:, None], gaps, present & predicted, present, predicted], axis=1), seed
    )
    classes = len(class_names)
    loss, brier, error_, hit, occurs, says = np.split(drawn, np.cumsum([1, 1, BINS, classes, classes]), axis=1)
    return MultiLabelMetrics(
        pictures=len(prob),
        mean_average_precision=float(np.mean([area for area in areas if area is not None] or [0.0])),
        threshold=float(threshold),
        micro_f1=float(_f1(hits.sum(), support.sum(), found.sum())),
        macro_f1=float(class_averages(hits, support, found)[1]),
        exact_match=exact / len(prob),
        log_loss=float(losses.mean()),
        expected_calibration_error=error,
        class_names=tuple(class_names),
        support=frozen(support.tolist()),
        average_precision=areas,
        precision=shares(hits, found),
        recall=shares(hits, support),
        f1=shares(2 * hits, np.where(support, support + found, 0)),
        brier=float(briers.mean()),
        exact_match_interval=wilson_interval(exact, len(prob)),
        mean_average_precision_interval=percentile_interval(drawn_mean_average_precision(prob, present, seed)),
        micro_f1_interval=percentile_interval(_f1(hit.sum(axis=1), occurs.sum(axis=1), says.sum(axis=1))),
        macro_f1_interval=percentile_interval(class_averages(hit, occurs, says)[1]),
        log_loss_interval=percentile_interval(loss[:, 0]),
        brier_interval=percentile_interval(brier[:, 0]),
        expected_calibration_error_interval=reflected_interval(
            error, np.abs(error_).sum(axis=1), chance_errors(prob.ravel(), seed)
        ),
        precision_interval=wilson_intervals(hits, found),
        recall_interval=wilson_intervals(hits, support),
    )


def _f1(hits: np.ndarray, support: np.ndarray, found: np.ndarray) -> np.ndarray:
    """F1 of all decisions together; 0 where nothing occurs and nothing was predicted."""
    decided = np.asarray(support + found, dtype=np.float64)
    return np.divide(2 * hits, decided, out=np.zeros_like(decided), where=decided > 0)


def _gaps(prob: np.ndarray, present: np.ndarray) -> np.ndarray:
    """What each picture adds to the gap between probability and frequency in each bin, shape (N, BINS)."""
    rows = np.arange(len(prob))[:, None]
    position = rows * BINS + bins_of(prob, BINS)
    weights = (present - prob) / prob.shape[1]
    return np.bincount(position.ravel(), weights.ravel(), len(prob) * BINS).reshape(len(prob), BINS)
