"""Which labels are probably wrong, from what heads say of pictures that they have not learned from.

After Northcutt et al., 2021, "Confident learning: estimating uncertainty in dataset labels".
"""

from dataclasses import dataclass

import numpy as np

from tltool.errors import ShapeError

# A strong ridge, so that a head does not bend to wrong labels: with 5 % of the labels swapped, 1 and 3 rank best on
# eight sets, 0.1 loses up to 9 points of those in the top tenth: benchmarks/label_errors.py.
L2 = 1.0
FOLDS = 5
# Share of pictures on which the label agrees with an answer as confident as this one; below, the head errs too often to
# accuse a label. At 0.8 a tenth of ham10000_skin would be flagged, which a head gets right in half of the cases.
AGREEMENT = 0.9


@dataclass(frozen=True, eq=False)
class Suspects:
    """How doubtful each label is.

    Attributes:
        order: Positions, the most doubtful first, shape (n,); pictures of which nothing is known are missing.
        scores: Probability of the best other answer minus that of the label, in [-1, 1], shape (N,); NaN for those.
        flagged: Positions of labels that are probably wrong, the most doubtful first.
        suggestion: The class that fits better, shape (N,); in a multi-label set the one that is missing or too much.
    """

    order: np.ndarray
    scores: np.ndarray
    flagged: np.ndarray
    suggestion: np.ndarray


def suspected_labels(prob: np.ndarray, labels: np.ndarray) -> Suspects:
    """Ranks labels by how little they fit.

    Args:
        prob: Out-of-fold probabilities, shape (N, C); rows of NaN for pictures that were never held out.
        labels: Class indices, shape (N,); or 0 and 1, shape (N, C).

    Raises:
        ShapeError: if the lengths differ.
    """
    if len(prob) != len(labels) or (labels.ndim == 2 and labels.shape != prob.shape):
        raise ShapeError(f"{prob.shape} probabilities for {labels.shape} labels.")
    known = np.flatnonzero(~np.isnan(prob).any(axis=1))
    scores = np.full(len(prob), np.nan)
    suggestion = np.zeros(len(prob), dtype=np.int64)
    flags = np.zeros(len(prob), dtype=bool)
    judge = _judge_sets if labels.ndim == 2 else _judge_classes
    if len(known):
        scores[known], suggestion[known], flags[known] = judge(prob[known], labels[known])
    order = known[np.argsort(-scores[known], kind="stable")]
    return Suspects(order, scores, order[flags[order]], suggestion)


def _judge_classes(prob: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, suggestions and flags where each picture has one class."""
    rows = np.arange(len(prob))
    others = prob.copy()
    others[rows, labels] = -1.0
    suggestion = others.argmax(axis=1)
    score = others.max(axis=1) - prob[rows, labels]
    answer = prob.argmax(axis=1)
    own = np.array([_mean(prob[labels == c, c]) for c in range(prob.shape[1])])
    confident = (answer != labels) & (prob[rows, answer] >= own[answer])
    return score, suggestion, confident & _is_trusted(prob.max(axis=1), answer == labels)


def _judge_sets(prob: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same for several classes a picture, each of which is there or is not."""
    present = labels.astype(bool)
    fits = np.where(present, prob, 1 - prob)
    score = (1 - 2 * fits).max(axis=1)
    suggestion = fits.argmin(axis=1)
    # How sure the heads are, on average, of classes that are there and of those that are not.
    there = np.array([_mean(prob[present[:, c], c]) for c in range(prob.shape[1])])
    absent = np.array([_mean(1 - prob[~present[:, c], c]) for c in range(prob.shape[1])])
    confident = (fits < 0.5) & (1 - fits >= np.where(present, absent, there))
    trusted = _is_trusted(np.maximum(prob, 1 - prob).ravel(), (fits >= 0.5).ravel()).reshape(prob.shape)
    return score, suggestion, (confident & trusted).any(axis=1)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 1.0  # of a class without pictures nothing can be suspected


def _is_trusted(confidence: np.ndarray, agrees: np.ndarray) -> np.ndarray:
    """Whether answers at least as confident as each one agree with the labels often enough."""
    order = np.argsort(-confidence, kind="stable")
    share = np.empty(len(confidence))
    share[order] = np.cumsum(agrees[order]) / np.arange(1, len(confidence) + 1)
    return share >= AGREEMENT
