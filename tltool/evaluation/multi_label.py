"""How good a classifier is whose pictures may have several classes at once."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tltool.errors import ShapeError
from tltool.evaluation.metrics import BINS


@dataclass(frozen=True)
class MultiLabelMetrics:
    """Scores on held-out pictures.

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

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "MultiLabelMetrics":
        kept = {name: values[name] for name in cls.__dataclass_fields__}
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()})

    def __str__(self) -> str:
        return (
            f"mean average precision {self.mean_average_precision:.1%}, F1 {self.micro_f1:.1%} micro and "
            f"{self.macro_f1:.1%} macro at threshold {self.threshold:.2f}, all labels right {self.exact_match:.1%}, "
            f"log loss {self.log_loss:.3f}, calibration error {self.expected_calibration_error:.3f}, on "
            f"{self.pictures} held-out pictures"
        )


def score_multi_label(
    prob: np.ndarray, targets: np.ndarray, class_names: tuple[str, ...], threshold: float
) -> MultiLabelMetrics:
    """Compares probabilities with the truth.

    Args:
        prob: Probability of each class, shape (N, C), each in [0, 1]; N >= 1.
        targets: 0 and 1, shape (N, C).
        class_names: Length C.
        threshold: Probability from which a class counts as present.

    Raises:
        ShapeError: if the shapes differ.
    """
    if prob.shape != targets.shape or prob.ndim != 2 or prob.shape[1] != len(class_names):
        raise ShapeError(f"{prob.shape} probabilities, {targets.shape} targets and {len(class_names)} classes differ.")
    from sklearn.metrics import average_precision_score  # late: a second that other sets need not wait

    prob = prob.astype(np.float64)
    present = targets.astype(bool)
    predicted = prob >= threshold
    support, found = present.sum(axis=0), predicted.sum(axis=0)
    hits = (present & predicted).sum(axis=0)
    areas = [
        float(average_precision_score(present[:, c], prob[:, c])) if support[c] else None for c in range(prob.shape[1])
    ]
    occurring = support > 0
    clipped = np.clip(prob, np.finfo(np.float32).eps, 1 - np.finfo(np.float32).eps)
    return MultiLabelMetrics(
        pictures=len(prob),
        mean_average_precision=float(np.mean([area for area in areas if area is not None])) if occurring.any() else 0.0,
        threshold=float(threshold),
        micro_f1=_f1(hits.sum(), found.sum(), support.sum()),
        macro_f1=float(np.mean([_f1(hits[c], found[c], support[c]) for c in np.flatnonzero(occurring)] or [0.0])),
        exact_match=float((present == predicted).all(axis=1).mean()),
        log_loss=float(-np.where(present, np.log(clipped), np.log1p(-clipped)).mean()),
        expected_calibration_error=_calibration_error(prob.ravel(), present.ravel()),
        class_names=tuple(class_names),
        support=tuple(int(n) for n in support),
        average_precision=tuple(areas),
        precision=tuple(float(h / f) if f else None for h, f in zip(hits, found, strict=True)),
        recall=tuple(float(h / s) if s else None for h, s in zip(hits, support, strict=True)),
    )


def _f1(hits: float, found: float, support: float) -> float:
    return float(2 * hits / (found + support)) if found + support else 0.0


def _calibration_error(prob: np.ndarray, present: np.ndarray) -> float:
    """Gap between probability and frequency, averaged over `BINS` equal-width bins of the probability."""
    position = np.clip(np.ceil(prob * BINS).astype(int) - 1, 0, BINS - 1)
    return float(np.abs(np.bincount(position, weights=present - prob, minlength=BINS)).sum() / len(prob))
