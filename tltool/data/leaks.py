"""Held-out pictures that are learned from as well, under another name."""

from collections.abc import Collection

import numpy as np

from tltool.data.copies import Copies
from tltool.data.dataset import Dataset


def leaked(
    data: Dataset,
    copies: Copies,
    held_out: Collection[str] = ("test",),
    learned: Collection[str] = ("train", "valid"),
) -> np.ndarray:
    """Pictures in the parts `held_out` of which a copy, exact or near, is in the parts `learned`.

    Args:
        data: Row i of what `copies` was found in is picture i.
        copies: Which pictures are the same.

    Returns:
        Positions, shape (n,), int64, sorted.
    """
    found = []
    for group in copies.groups:
        if any(data.parts[i] in learned for i in group):
            found += [i for i in group if data.parts[i] in held_out]
    return np.array(sorted(found), dtype=np.int64)


def parted_from_group(
    data: Dataset, held_out: Collection[str] = ("test",), learned: Collection[str] = ("train", "valid")
) -> np.ndarray:
    """Pictures in the parts `held_out` of whose group (a patient, a video) others are in the parts `learned`.

    Returns:
        Positions, shape (n,), int64, sorted.
    """
    known = {group for group, part in zip(data.groups, data.parts, strict=True) if group and part in learned}
    found = [i for i, group in enumerate(data.groups) if group in known and data.parts[i] in held_out]
    return np.array(found, dtype=np.int64)
