"""Where the members of an ensemble disagree, and how unsure they are."""

from dataclasses import dataclass

import numpy as np

from tltool.errors import ShapeError


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """What members say of each picture, besides their mean; shape (N,) each.

    Attributes:
        disagreement: Share of the pairs of members that give different answers, [0, 1].
        entropy: Of the mean of the probabilities, nats: all of the uncertainty.
        expected_entropy: Mean of the members' entropies, nats: what is unsure about the picture itself.
        mutual_information: The one minus the other, nats, >= 0: what more or other members would settle.
    """

    disagreement: np.ndarray
    entropy: np.ndarray
    expected_entropy: np.ndarray
    mutual_information: np.ndarray


def uncertainty(prob: np.ndarray, threshold: float | None = None) -> Uncertainty:
    """Measures how the members of an ensemble differ, picture by picture.

    Args:
        prob: Probabilities of the classes, shape (M, N, C): members, pictures, classes.
        threshold: Of a multi-label ensemble, whose answers are all the classes from this probability on, and whose
            entropies are those of its C decisions, summed; None where each picture has exactly one class.

    Returns:
        Of one member, disagreement and mutual information are 0.

    Raises:
        ShapeError: if there are not three axes, or there is no member.

    Reference: Depeweg et al., 2018, "Decomposition of uncertainty in Bayesian deep learning", section 3.
    """
    if prob.ndim != 3 or not len(prob):
        raise ShapeError(f"Probabilities of shape {prob.shape}; they must be those of (members, pictures, classes).")
    prob = prob.astype(np.float64)
    answers = prob.argmax(axis=2)[..., None] if threshold is None else prob >= threshold
    entropy = _entropy(prob.mean(axis=0), threshold is not None)
    expected = _entropy(prob, threshold is not None).mean(axis=0)
    # Rounding alone makes it negative where all members agree.
    information = np.maximum(entropy - expected, 0.0)
    return Uncertainty(_disagreement(answers), entropy, expected, information)


def _disagreement(answers: np.ndarray) -> np.ndarray:
    """Share of differing pairs, shape (N,), from answers of shape (M, N, anything)."""
    members = len(answers)
    differ = np.zeros(answers.shape[1])
    for number in range(members):
        differ += (answers[number + 1 :] != answers[number]).any(axis=2).sum(axis=0)
    return differ / max(1, members * (members - 1) // 2)


def _entropy(prob: np.ndarray, multi_label: bool) -> np.ndarray:
    """Over the last axis, nats."""
    parts = (prob, 1.0 - prob) if multi_label else (prob,)
    return sum(-(part * np.log(np.where(part > 0, part, 1.0))).sum(axis=-1) for part in parts)
