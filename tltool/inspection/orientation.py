"""What one flip does to the classes: whether a linear head still finds them, and whether another can tell."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtrc

from tltool.heads.logistic import log_loss

# Ridge of the head that tells flipped pictures from clean ones, over the mean squared length of what it learns from:
# 0.01 to 1 moved its score by 0.05 at most on eleven sets.
TELLING_RIDGE = 0.1


@dataclass(frozen=True)
class ClassChange:
    """What a flip does to the pictures of one class.

    Attributes:
        pictures: How many were flipped.
        recall: Share of them that the head finds as they are.
        flipped_recall: Share that it finds when they are flipped.
        chance: Probability that so many more are lost than won if the flip changes nothing: one-sided sign test, in
            (0, 1].
    """

    pictures: int
    recall: float
    flipped_recall: float
    chance: float


@dataclass(frozen=True)
class Orientation:
    """What one flip does to the classes.

    Attributes:
        lost: Share that a linear head loses of what it knows: the rise of its log loss, over what it is better by
            than the classes' frequencies. 0 is nothing, 1 all, above 1 it is misled; None where it knows nothing.
        error: Standard error of `lost`; None with it.
        told_apart: Share of the pictures of which a linear head can say which one of the two is flipped; 0.5 is
            guessing.
        classes: By class name, for those of which a picture was flipped.
    """

    lost: float | None
    error: float | None
    told_apart: float
    classes: dict[str, ClassChange]


def compare_orientation(
    clean: np.ndarray,
    flipped: np.ndarray,
    logits: np.ndarray,
    flipped_logits: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    guess: np.ndarray,
    held: Iterable[np.ndarray],
) -> Orientation:
    """What is said of the same held-out pictures as they are and flipped.

    Args:
        clean, flipped: Features, shape (n, D).
        logits, flipped_logits: What a head says of them that learned from other pictures, all clean; shape (n, C).
        labels: Class indices, shape (n,); or 0 and 1, shape (n, C).
        class_names: C of them.
        guess: Logits of one who knows the classes' frequencies alone, shape (C,).
        held: Positions in turn held out from the head that tells flipped from clean.
    """
    loss = log_loss(logits, labels)
    known = log_loss(np.broadcast_to(guess, logits.shape), labels) - loss
    lost, error = share_lost(log_loss(flipped_logits, labels) - loss, known)
    changes = class_changes(logits, flipped_logits, labels, class_names)
    return Orientation(lost, error, told_apart(clean, flipped, held), changes)


def base_logits(labels: np.ndarray, classes: int) -> np.ndarray:
    """What a head says that knows the frequency of each class and no picture, shape (classes,)."""
    counts = labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=classes)
    share = (counts + 0.5) / (len(labels) + 1)  # Jeffreys: a class that every picture has would be infinitely sure
    return np.log(share) - np.log1p(-share) if labels.ndim == 2 else np.log(share)


def share_lost(rise: np.ndarray, known: np.ndarray) -> tuple[float | None, float | None]:
    """The mean of one over the mean of the other with its standard error; None where the other may well be zero.

    Args:
        rise: Log loss of each picture flipped, minus that of it as it is, nats, shape (n,).
        known: What the log loss of each picture as it is is better by than guessing, nats, shape (n,).

    Reference: Cochran, 1977, "Sampling techniques", section 6.4 (the ratio of two means from one sample).
    """
    root = math.sqrt(len(rise))
    if len(rise) < 2 or known.mean() <= 2 * known.std(ddof=1) / root:
        return None, None
    ratio = rise.mean() / known.mean()
    return float(ratio), float((rise - ratio * known).std(ddof=1) / root / known.mean())


def told_apart(clean: np.ndarray, flipped: np.ndarray, held: Iterable[np.ndarray]) -> float:
    """Share of held-out pairs in which a linear head finds the flipped one; ties and what is never asked count half.

    The head is ridge regression of 1 on flipped minus clean features, which has a closed form: of two hundred pairs it
    finds as many as a logistic one, in milliseconds.

    Args:
        clean: Features, shape (n, D).
        flipped: Of the same pictures, shape (n, D).
        held: Positions in turn held out.

    Reference: Hastie, Tibshirani, Friedman, 2009, "The elements of statistical learning", section 3.4.1, by the inner
    products of the pairs as in section 18.3.5.
    """
    difference = (flipped.astype(np.float64) - clean) / spread_of(np.concatenate([clean, flipped]))
    products = difference @ difference.T
    found = np.full(len(clean), 0.5)
    for places in held:
        learned = np.setdiff1d(np.arange(len(clean)), places)
        ridge = TELLING_RIDGE * products[learned, learned].mean() if len(learned) else 0.0
        if ridge > 0 and len(places):
            inner = products[np.ix_(learned, learned)] + ridge * np.eye(len(learned))
            answer = products[np.ix_(places, learned)] @ np.linalg.solve(inner, np.ones(len(learned)))
            found[places] = 0.5 + 0.5 * np.sign(answer)
    return float(found.mean())


def spread_of(features: np.ndarray) -> np.ndarray:
    """Standard deviation of each feature, shape (D,); infinite for one that never moves, which then says nothing."""
    spread = features.std(axis=0, dtype=np.float64)
    return np.where(spread > 1e-6 * spread.max(initial=0.0), spread, np.inf)


def class_changes(
    clean: np.ndarray, flipped: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> dict[str, ClassChange]:
    """By class, how many of its pictures are found as they are and flipped.

    Args:
        clean, flipped: Logits, shape (n, C).
        labels: Class indices, shape (n,); or 0 and 1, shape (n, C).
        class_names: C of them.
    """
    several = labels.ndim == 2
    changes = {}
    for index, name in enumerate(class_names):
        of_class = labels[:, index] == 1 if several else labels == index
        if not of_class.any():
            continue
        before, after = (
            (logits[of_class, index] > 0 if several else logits[of_class].argmax(axis=1) == index)
            for logits in (clean, flipped)
        )
        fell, rose = int((before & ~after).sum()), int((after & ~before).sum())
        chance = float(bdtrc(fell - 1, fell + rose, 0.5)) if fell else 1.0
        changes[name] = ClassChange(int(of_class.sum()), float(before.mean()), float(after.mean()), chance)
    return changes
