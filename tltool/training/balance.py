"""Classes of unequal size: whether to balance them, how, and by what score the best network is chosen."""

from typing import Literal, get_args

import numpy as np

from tltool.errors import RecipeError
from tltool.heads.logistic import log_loss

Balance = Literal["none", "weights", "sampling"]

# Largest class over smallest from which weights pay. Linear heads on frozen features of flowers, skin, rubbish and
# clothes, all classes but one thinned out, four draws each. Mean gain in balanced accuracy, points, and change of the
# log loss, nats, on pictures with the same imbalance:
#     largest over smallest           3              10              40
#     inverse square root      0.9, 0.000     2.6, -0.003     3.8, -0.003
#     inverse frequency        1.1, 0.006     4.9,  0.031     7.9,  0.241
# The effective number of samples (Cui et al., 2019) lies between the two.
WEIGHTS_FROM = 3


def judge_balance(balance: str, counts: np.ndarray, multi_label: bool) -> tuple[Balance, str]:
    """What to do about the sizes of the classes.

    Args:
        balance: "none", "weights", "sampling", or "auto" to decide by the counts.
        counts: Training pictures of each class, shape (classes,).
        multi_label: Whether a picture may have several classes.

    Returns:
        What to do, and a sentence for the user, "" where there is nothing to say.

    Raises:
        RecipeError: if classes are to be balanced whose pictures have several.
    """
    if multi_label:
        if balance in get_args(Balance)[1:]:
            raise RecipeError(
                f'balance = "{balance}": pictures here have several classes, and one that is drawn oftener or counts '
                'more takes its common classes with it. Write "none".'
            )
        return "none", ""
    if balance != "auto":
        return balance, ""
    present = counts[counts > 0]
    if present.max() < WEIGHTS_FROM * present.min():
        return "none", ""
    return "weights", (
        f"The largest class has {present.max():.0f} training pictures, the smallest {present.min():.0f}: those of "
        'small classes count more (balance = "none" would not).'
    )


def picture_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """What each picture counts in the loss: half way, in orders of magnitude, to all classes counting the same.

    All the way costs log loss where the smallest classes have a handful of pictures, by which the network is chosen:
    what was learned would be thrown away. `balanced_order` goes all the way.

    Args:
        labels: Class indices, shape (n,), in [0, classes).
        classes: Their number; those without pictures are passed over.

    Returns:
        Shape (n,), float32, mean 1, proportional to the inverse square root of the pictures of the class.
    """
    weights = 1.0 / np.sqrt(np.bincount(labels, minlength=classes)[labels])
    return (weights / weights.mean()).astype(np.float32)


def balanced_order(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Positions of the pictures for one epoch in which every class comes equally often.

    Pictures of rare classes come several times, of which none comes twice more than another; of common classes only
    some come, others in another epoch.

    Args:
        labels: Class indices, shape (n,).
        random: Draws the order; the same state gives the same order.

    Returns:
        Positions, shape (n,): as many as there are pictures. Where the classes do not divide them, some classes, drawn
        anew each time, come once more.
    """
    present = np.unique(labels)
    shares = np.full(len(present), len(labels) // len(present))
    shares[random.permutation(len(present))[: len(labels) % len(present)]] += 1
    order = []
    for label, share in zip(present, shares, strict=True):
        pictures = random.permutation(np.flatnonzero(labels == label))
        order.append(np.resize(pictures, share))
    return random.permutation(np.concatenate(order))


def score(logits: np.ndarray, labels: np.ndarray, choose_by: str) -> float:
    """How bad logits are: lower is better.

    Args:
        logits: Shape (n, classes).
        labels: Class indices, shape (n,); of a multi-label set 0 and 1, shape (n, classes).
        choose_by: "log_loss" for the mean log loss, nats; "balanced_accuracy" for 1 minus it: the mean recall of the
            classes that have pictures, in a multi-label set that of yes and no, at logit 0, averaged over the classes.

    Returns:
        Infinite where a logit is no number.
    """
    if not np.isfinite(logits).all():
        return float("inf")
    if choose_by == "log_loss":
        return float(log_loss(logits, labels).mean())
    if labels.ndim == 1:
        return 1.0 - _balanced_accuracy(logits.argmax(axis=1), labels)
    columns = zip((logits > 0).T, labels.T, strict=True)
    return 1.0 - float(np.mean([_balanced_accuracy(found, wanted) for found, wanted in columns]))


def _balanced_accuracy(found: np.ndarray, wanted: np.ndarray) -> float:
    """Mean recall over what is wanted at all."""
    return float(np.mean([(found[wanted == label] == label).mean() for label in np.unique(wanted)]))
