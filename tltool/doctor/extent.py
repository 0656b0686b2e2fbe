"""Whether a fault is one of a few pictures, or how whole classes or the whole set happen to be."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from tltool.data.dataset import Dataset

MOST = 0.5  # share of a set or class; what is true of more than half of it is its nature, and no fault of its files
FEWEST = 10  # pictures of a set or class; in a smaller one half of it may be chance


@dataclass(frozen=True, eq=False)
class Extent:
    """How far something reaches that was seen in pictures.

    Attributes:
        concerned: Pictures of which it is true.
        total: Pictures that were looked at.
        whole_set: Whether it is most of them.
        classes: Else, "'night' (40 of 60)" for each class of which it is true of most pictures, by name.
        rows: The others, as positions in the data set; empty if it is the whole set.
    """

    concerned: int
    total: int
    whole_set: bool
    classes: tuple[str, ...]
    rows: np.ndarray


def is_most(concerned: int, total: int) -> bool:
    """Whether something that is true of so many pictures is the nature of all of them."""
    return concerned > MOST * total and total >= FEWEST


def reach(data: Dataset, readable: np.ndarray, found: np.ndarray) -> Extent:
    """Sorts pictures into those of the nature of their set or class, and those that stand out.

    Args:
        data: The data set.
        readable: Positions of the pictures that could be looked at, shape (n,).
        found: Positions of those concerned, shape (m,), among them.
    """
    if is_most(len(found), len(readable)):
        return Extent(len(found), len(readable), True, (), found[:0])
    total = Counter(label for i in readable for label in data.labels[i])
    concerned = Counter(label for i in found for label in data.labels[i])
    natural = {label for label, count in concerned.items() if is_most(count, total[label])}
    rest = [i for i in found if not natural.intersection(data.labels[i])]
    classes = tuple(f"'{data.class_names[label]}' ({concerned[label]} of {total[label]})" for label in sorted(natural))
    return Extent(len(found), len(readable), False, classes, np.array(rest, dtype=np.int64))
