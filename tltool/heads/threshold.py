"""From which probability on a multi-label classifier counts a class as present."""

import numpy as np


def tune_threshold(prob: np.ndarray, targets: np.ndarray) -> float:
    """The one threshold with the highest F1 over all decisions.

    One for all classes: a rare class has too few pictures to tune a threshold of its own by.

    Args:
        prob: Probability of each class on pictures that the head did not learn from, shape (N, C).
        targets: 0 and 1, shape (N, C).

    Returns:
        Midway between the probabilities on both sides of the best cut, in (0, 1); 0.5 where no class occurs.
    """
    order = np.argsort(-prob, axis=None, kind="stable")
    ranked, present = prob.ravel()[order].astype(np.float64), targets.ravel()[order].astype(bool)
    if not present.any():
        return 0.5
    f1 = 2 * np.cumsum(present) / (np.arange(1, len(ranked) + 1) + present.sum())
    # A cut between equal probabilities cannot be made.
    possible = np.append(ranked[1:] < ranked[:-1], True)
    best = int(np.flatnonzero(possible)[f1[possible].argmax()])
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float((ranked[best] + below) / 2)
