"""Area under precision-recall curves, for many redrawings of the pictures at once."""

import numpy as np

from tltool.evaluation.intervals import DRAWS, bootstrap_times

NUMBERS = 200_000_000  # summed for one interval, about a second; beyond, it is drawn less often
FEWEST_DRAWS = 200  # the ends of an interval then move by a tenth of its width between seeds


def average_precision(prob: np.ndarray, present: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Area under each class's precision-recall curve, as scikit-learn sums it, but for many drawings at once.

    Args:
        prob: Shape (N, C).
        present: Whether the class is there, shape (N, C).
        times: How often each picture counts, shape (draws, N).

    Returns:
        Shape (draws, C); 0 for a class that does not occur.
    """
    areas = np.zeros((len(times), prob.shape[1]))
    columns = np.ascontiguousarray(times.T, dtype=np.float32)  # counts far below 2**24 are exact, at twice the speed
    for label in np.flatnonzero(present.any(axis=0)):
        order = np.argsort(-prob[:, label], kind="stable")
        ranked = prob[order, label]
        # Pictures of equal probability are taken together: a threshold cannot part them.
        positives = np.flatnonzero(present[order, label])
        last = len(ranked) - np.searchsorted(ranked[::-1], ranked[positives], side="left") - 1
        counted = columns[order]
        found = np.cumsum(counted, axis=0)[last]
        weight = counted[positives]
        hits = np.cumsum(weight, axis=0)[np.searchsorted(positives, last, side="right") - 1]
        precision = np.divide(hits, found, out=np.zeros_like(found), where=found > 0)
        total = weight.sum(axis=0)
        area = (weight * precision).sum(axis=0, dtype=np.float64)
        areas[:, label] = np.divide(area, total, out=np.zeros(len(times)), where=total > 0)
    return areas


def drawn_mean_average_precision(prob: np.ndarray, present: np.ndarray, seed: int) -> np.ndarray:
    """Mean average precision over redrawn pictures, for an interval.

    Args:
        prob: Shape (N, C).
        present: Whether the class is there, shape (N, C).
        seed: Of the draws.

    Returns:
        Shape (draws,), `DRAWS` or fewer of them as the pictures and classes are many; 0 where no class occurs.
    """
    draws = int(np.clip(NUMBERS / prob.size, FEWEST_DRAWS, DRAWS))
    means = []
    for times in bootstrap_times(len(prob), seed, draws):
        areas = average_precision(prob, present, times)
        occurring = (times @ present.astype(np.float64)) > 0
        means.append(areas.sum(axis=1) / np.maximum(occurring.sum(axis=1), 1))
    return np.concatenate(means)
