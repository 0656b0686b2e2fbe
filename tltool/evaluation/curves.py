"""ROC and precision-recall curves, each class against the rest, small enough to be drawn and kept."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tltool.errors import ShapeError

LARGEST = 200  # points a curve; a screen shows no more


@dataclass(frozen=True)
class Curve:
    """One curve.

    Attributes:
        name: Of the class, or "micro": all decisions of all classes together.
        x: False positive rate of a ROC curve, recall of a precision-recall curve, [0, 1], ascending.
        y: True positive rate of a ROC curve, precision of a precision-recall curve, [0, 1].
        area: Under the whole curve, before it was thinned, [0, 1]; of a precision-recall curve the average precision.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    area: float


@dataclass(frozen=True)
class Curves:
    """Both kinds of curves of one model.

    Attributes:
        roc: Of each class that some pictures have and some have not, in the order of the classes.
        roc_micro: Of all decisions together; None where no class has a curve.
        roc_macro_area: Mean area of `roc`, [0, 1]; None likewise.
        precision_recall: Of each class that some pictures have.
        precision_recall_micro, precision_recall_macro_area: Likewise.
        missing: Classes without a ROC curve, because all pictures have them, or none.
    """

    roc: tuple[Curve, ...]
    roc_micro: Curve | None
    roc_macro_area: float | None
    precision_recall: tuple[Curve, ...]
    precision_recall_micro: Curve | None
    precision_recall_macro_area: float | None
    missing: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def trace_curves(prob: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]) -> Curves:
    """Follows both curves of every class over all thresholds.

    Args:
        prob: Class probabilities, shape (N, C); N >= 1.
        labels: Class indices, shape (N,); of a multi-label set 0 and 1, shape (N, C).
        class_names: Length C.

    Raises:
        ShapeError: if the shapes do not fit.
    """
    fits = np.ndim(prob) == 2 and np.shape(labels) in (prob.shape, prob.shape[:1])
    if not fits or prob.shape[1] != len(class_names):
        raise ShapeError(
            f"{np.shape(prob)} probabilities, labels of shape {np.shape(labels)} and {len(class_names)} classes do not "
            "fit."
        )
    present = np.asarray(labels).astype(bool) if np.ndim(labels) == 2 else np.eye(prob.shape[1], dtype=bool)[labels]
    occurring, telling = present.any(axis=0), present.any(axis=0) & ~present.all(axis=0)
    roc = tuple(_roc(class_names[c], present[:, c], prob[:, c]) for c in np.flatnonzero(telling))
    recalls = tuple(_precision_recall(class_names[c], present[:, c], prob[:, c]) for c in np.flatnonzero(occurring))
    return Curves(
        roc=roc,
        roc_micro=_roc("micro", present.ravel(), prob.ravel()) if roc else None,
        roc_macro_area=float(np.mean([curve.area for curve in roc])) if roc else None,
        precision_recall=recalls,
        precision_recall_micro=_precision_recall("micro", present.ravel(), prob.ravel()) if recalls else None,
        precision_recall_macro_area=float(np.mean([curve.area for curve in recalls])) if recalls else None,
        missing=tuple(class_names[c] for c in np.flatnonzero(~telling)),
    )


def _roc(name: str, present: np.ndarray, prob: np.ndarray) -> Curve:
    from sklearn.metrics import auc, roc_curve  # late: a second that a run without curves need not wait

    wrong, right, _ = roc_curve(present, prob)
    return Curve(name, *_thinned(wrong, right), float(auc(wrong, right)))


def _precision_recall(name: str, present: np.ndarray, prob: np.ndarray) -> Curve:
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(present, prob)
    return Curve(name, *_thinned(recall[::-1], precision[::-1]), float(average_precision_score(present, prob)))


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """At most `LARGEST` of the points, evenly along the curve, both ends among them."""
    if len(x) > LARGEST:
        # Along its length, not by index: thousands of sure negatives would take all the points otherwise.
        length = np.concatenate([[0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
        chosen = np.searchsorted(length, np.linspace(0, length[-1], LARGEST))
        chosen = np.unique(np.concatenate([[0], chosen[1:-1], [len(x) - 1]]))
        x, y = x[chosen], y[chosen]
    return tuple(x.tolist()), tuple(y.tolist())
