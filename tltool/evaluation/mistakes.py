"""What a model got wrong: the costliest answers, the classes it takes for each other, labels that may be wrong."""

from dataclasses import dataclass

import numpy as np

from tltool.doctor.suspects import suspected_labels
from tltool.errors import ShapeError
from tltool.evaluation.metrics import FLOOR


@dataclass(frozen=True)
class ConfusedPair:
    """Pictures of one class that were taken for another.

    Attributes:
        truth, answer: Class indices.
        share: Of the pictures of the true class, (0, 1].
        positions: Of these pictures, the costliest mistake first.
    """

    truth: int
    answer: int
    share: float
    positions: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Mistakes:
    """What went wrong on held-out pictures.

    Attributes:
        losses: Cross-entropy of each picture, nats, shape (N,); of a multi-label set the mean over classes.
        wrong: Whether the answer was wrong, shape (N,); of a multi-label set in at least one class.
        order: Positions of all pictures, the highest loss first, shape (N,).
        pairs: Classes taken for each other, the pair with the most pictures first; none of a multi-label set.
        suspected: Positions of labels that are probably wrong, the most doubtful first, shape (n,).
        suggestion: The class that fits better, shape (N,); in a multi-label set the one that is missing or too much.
        blamed: The class to ask about, shape (N,): the answer; of a multi-label set the one that cost the most.
    """

    losses: np.ndarray
    wrong: np.ndarray
    order: np.ndarray
    pairs: tuple[ConfusedPair, ...]
    suspected: np.ndarray
    suggestion: np.ndarray
    blamed: np.ndarray


def find_mistakes(prob: np.ndarray, labels: np.ndarray, threshold: float | None = None) -> Mistakes:
    """Looks for what is worth a look.

    Args:
        prob: Class probabilities of pictures that the model has not learned from, shape (N, C).
        labels: Class indices, shape (N,); of a multi-label set 0 and 1, shape (N, C).
        threshold: Of a multi-label model, from which probability on a class counts as present; None elsewhere.

    Raises:
        ShapeError: if the shapes do not fit.
    """
    if np.shape(labels) != (np.shape(prob) if threshold is not None else np.shape(prob)[:1]):
        raise ShapeError(f"{np.shape(prob)} probabilities and {np.shape(labels)} labels do not fit.")
    values = np.asarray(prob, dtype=np.float64)
    if threshold is None:
        answers = values.argmax(axis=1)
        losses = -np.log(np.clip(values[np.arange(len(values)), labels] / values.sum(axis=1), FLOOR, 1.0))
        wrong, blamed, pairs = answers != labels, answers, _pairs(answers, labels, losses)
    else:
        clipped = np.clip(values, FLOOR, 1 - FLOOR)
        each = -np.where(labels, np.log(clipped), np.log1p(-clipped))
        losses, wrong = each.mean(axis=1), ((values >= threshold) != labels.astype(bool)).any(axis=1)
        blamed, pairs = each.argmax(axis=1), ()
    suspects = suspected_labels(values, labels)
    order = np.argsort(-losses, kind="stable")
    return Mistakes(losses, wrong, order, pairs, suspects.flagged, suspects.suggestion, blamed)


def _pairs(answers: np.ndarray, labels: np.ndarray, losses: np.ndarray) -> tuple[ConfusedPair, ...]:
    found: dict[tuple[int, int], list[int]] = {}
    for position in np.argsort(-losses, kind="stable").tolist():
        if answers[position] != labels[position]:
            found.setdefault((int(labels[position]), int(answers[position])), []).append(position)
    support = np.bincount(labels)
    pairs = [
        ConfusedPair(truth, answer, len(positions) / int(support[truth]), tuple(positions))
        for (truth, answer), positions in found.items()
    ]
    return tuple(sorted(pairs, key=lambda pair: (-len(pair.positions), -pair.share, pair.truth, pair.answer)))
