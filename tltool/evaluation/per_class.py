"""Scores of single classes, and averages over those that occur."""

from collections.abc import Sequence

import numpy as np

NAMED = 5  # classes in a warning; of hundreds nobody reads more


def shares(parts: np.ndarray, wholes: np.ndarray) -> tuple[float | None, ...]:
    """Quotients of two arrays of shape (C,); None where the whole is 0."""
    return tuple(part / whole if whole else None for part, whole in zip(parts.tolist(), wholes.tolist(), strict=True))


def class_averages(hits: np.ndarray, support: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and F1, averaged over the classes that occur; 0 where none does.

    Args:
        hits: Right predictions of each class, shape (..., C); counts or shares of the pictures.
        support: Pictures of each class, likewise.
        found: Predictions of each class, likewise.

    Returns:
        Two arrays of shape (...).
    """
    occurring = support > 0
    recall = np.divide(hits, support, out=np.zeros(hits.shape), where=occurring)
    f1 = np.divide(2 * hits, support + found, out=np.zeros(hits.shape), where=occurring)
    classes = np.maximum(occurring.sum(axis=-1), 1)
    return recall.sum(axis=-1) / classes, f1.sum(axis=-1) / classes


def gaps_in_words(class_names: Sequence[str], support: Sequence[int]) -> tuple[str, ...]:
    """Says which classes no held-out picture shows; empty where each is shown.

    Args:
        class_names: Length C.
        support: Held-out pictures of each, length C.
    """
    shown = [name for name, count in zip(class_names, support, strict=True) if count]
    absent = [name for name, count in zip(class_names, support, strict=True) if not count]
    if not absent:
        return ()
    if not shown:
        return ("No held-out picture shows any of the classes, so most scores mean nothing. Hold out others.",)
    if len(shown) == 1:
        return (f"The held-out pictures show no class but '{shown[0]}': nothing is known of the rest. Hold out some.",)
    names = ", ".join(absent[:NAMED]) + (f" and {len(absent) - NAMED} more" if len(absent) > NAMED else "")
    return (f"No held-out picture shows {names}: averages are over the {len(shown)} classes that occur.",)
