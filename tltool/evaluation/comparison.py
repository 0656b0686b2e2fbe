"""Whether one of two models is better, on the same pictures."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tltool.errors import ShapeError
from tltool.evaluation.intervals import Interval, bootstrap_means, percentile_interval
from tltool.evaluation.metrics import FLOOR

EXACT_BELOW = 25  # pictures that one model alone got right; from there on the chi-square with correction is as good
SIGNIFICANT = 0.05  # the p-value below which a difference in accuracy is believed, as for the 95 % intervals


@dataclass(frozen=True)
class Comparison:
    """Two models on the same pictures; positive gains speak for the second.

    Attributes:
        names: Of the two.
        pictures: How many.
        accuracies: Share right of each, [0, 1]; of a multi-label model right in all classes.
        only_first, only_second: Pictures that one alone got right.
        p_value: McNemar's, for two models that are right equally often; 1 where they do not differ at all.
        accuracy_gain: Accuracy of the second minus that of the first, [-1, 1].
        accuracy_interval: Its 95 % interval, by paired bootstrap.
        log_loss_gain: Log loss of the first minus that of the second, nats; of a multi-label model for each decision.
        log_loss_interval: Its 95 % interval, by paired bootstrap.

    Reference: McNemar, 1947, "Note on the sampling error of the difference between correlated proportions".
    """

    names: tuple[str, str]
    pictures: int
    accuracies: tuple[float, float]
    only_first: int
    only_second: int
    p_value: float
    accuracy_gain: float
    accuracy_interval: Interval
    log_loss_gain: float
    log_loss_interval: Interval

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self._about_accuracy()} {self._about_log_loss()}"

    def _about_accuracy(self) -> str:
        first, second = self.names
        counts = (
            f"of {self.pictures} pictures {first} alone is right in {self.only_first}, {second} in {self.only_second}"
        )
        if self.p_value >= SIGNIFICANT:
            shares = " and ".join(f"{share:.1%}" for share in self.accuracies)
            return f"No evidence of a difference in accuracy: {first} and {second} reach {shares} ({counts})."
        gain, (low, high) = self.accuracy_gain, self.accuracy_interval
        better, low, high = (second, low, high) if gain > 0 else (first, -high, -low)
        return (
            f"{better} is better by {100 * abs(gain):.1f} points (95 % interval {100 * low:.1f} to {100 * high:.1f}; "
            f"{counts})."
        )

    def _about_log_loss(self) -> str:
        first, second = self.names
        gain, (low, high) = self.log_loss_gain, self.log_loss_interval
        if low <= 0 <= high:
            return f"No evidence of a difference in log loss (gain {gain:.3f}, 95 % interval {low:.3f} to {high:.3f})."
        better, low, high = (second, low, high) if gain > 0 else (first, -high, -low)
        return f"{better}'s log loss is lower by {abs(gain):.3f} (95 % interval {low:.3f} to {high:.3f})."


def compare(
    first: np.ndarray,
    second: np.ndarray,
    labels: np.ndarray,
    names: tuple[str, str] = ("A", "B"),
    thresholds: tuple[float, float] | None = None,
    seed: int = 0,
) -> Comparison:
    """Compares two models picture by picture.

    Args:
        first, second: Class probabilities of each, shape (N, C), of the same pictures in the same order; N >= 1.
        labels: Class indices, shape (N,); of a multi-label set 0 and 1, shape (N, C).
        names: What to call the two.
        thresholds: Of two multi-label models: the probability from which a class counts as present; 0.5 where None.
        seed: Of the bootstrap.

    Raises:
        ShapeError: if the shapes do not fit, as those of models with different classes.
    """
    if first.shape != second.shape or np.shape(labels) not in (first.shape, first.shape[:1]):
        raise ShapeError(
            f"{names[0]} gives {first.shape} probabilities, {names[1]} {second.shape}, for labels of shape "
            f"{np.shape(labels)}. Compare models with the same classes on the same pictures."
        )
    cuts = thresholds or (0.5, 0.5)
    right = [_right(prob, labels, cut) for prob, cut in zip((first, second), cuts, strict=True)]
    gains = np.stack([right[1].astype(float) - right[0], _losses(first, labels) - _losses(second, labels)], axis=1)
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    drawn = bootstrap_means(gains, seed)
    return Comparison(
        names=names,
        pictures=len(labels),
        accuracies=(float(right[0].mean()), float(right[1].mean())),
        only_first=only_first,
        only_second=only_second,
        p_value=mcnemar(only_first, only_second),
        accuracy_gain=float(gains[:, 0].mean()),
        accuracy_interval=percentile_interval(drawn[:, 0]),
        log_loss_gain=float(gains[:, 1].mean()),
        log_loss_interval=percentile_interval(drawn[:, 1]),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """The p-value of as uneven a split, or more, if both models were right equally often.

    Args:
        only_first, only_second: Pictures that one model alone got right.

    Returns:
        In [0, 1]: by the exact binomial below `EXACT_BELOW` pictures, else by the chi-square with continuity
        correction.
    """
    from scipy.stats import binomtest, chi2

    differing = only_first + only_second
    if differing == 0:
        return 1.0
    if differing < EXACT_BELOW:
        return float(binomtest(only_first, differing).pvalue)
    return float(chi2.sf(max(abs(only_first - only_second) - 1, 0) ** 2 / differing, 1))


def _right(prob: np.ndarray, labels: np.ndarray, threshold: float) -> np.ndarray:
    if np.ndim(labels) == 2:
        return ((prob >= threshold) == np.asarray(labels).astype(bool)).all(axis=1)
    return prob.argmax(axis=1) == labels


def _losses(prob: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross-entropy of each picture, shape (N,); of a multi-label set averaged over classes."""
    values = prob.astype(np.float64)
    if np.ndim(labels) == 2:
        values = np.clip(values, FLOOR, 1 - FLOOR)
        return -np.where(labels, np.log(values), np.log1p(-values)).mean(axis=1)
    return -np.log(np.clip(values[np.arange(len(values)), labels] / values.sum(axis=1), FLOOR, 1.0))
