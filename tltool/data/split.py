"""A stratified, seeded split that depends on nothing but the names of the pictures inside their class folders."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

TEST_SHARE = 0.20  # of a set without a held-out part: 40 of 200 pictures give a score that is good to +-15 points
VALID_SHARE = 0.15  # of what is left; fine-tuning stops early by it, probes add it to their training pictures


def assign_parts(
    files: Sequence[str], labels: Sequence[int], given: Sequence[str | None], seed: int
) -> tuple[list[str], list[str]]:
    """Gives each picture a part.

    Parts that the source came with are kept. Where it has none, a share of each class is held out as "test"; where it
    has train and valid but no test, the valid part is what it held out, so it becomes "test". Where no valid part is
    left, a share of each class's training pictures becomes "valid".

    Args:
        files: Relative POSIX paths, shape (N,).
        labels: Class indices, shape (N,).
        given: "train", "valid", "test" or None, shape (N,).
        seed: Another seed, another split.

    Returns:
        The parts, shape (N,), and notes in words.
    """
    notes = []
    parts = [part or "train" for part in given]
    if "valid" in given and "test" not in given:
        parts = ["test" if part == "valid" else part for part in parts]
        notes.append("No test part: the valid part is held out for the score.")
    if "test" not in parts:
        _hold_out(parts, files, labels, "test", TEST_SHARE, seed)
        notes.append(f"{TEST_SHARE:.0%} of each class is held out for the score.")
    if "valid" not in parts and "train" in parts:
        _hold_out(parts, files, labels, "valid", VALID_SHARE, seed)
        notes.append(f"{VALID_SHARE:.0%} of each class's training pictures are for validation.")
    return parts, notes


def repair_parts(
    files: Sequence[str], labels: Sequence[int], parts: Sequence[str], given_parts: bool, seed: int
) -> list[str]:
    """Splits anew each class that has lost all its pictures of a part that it needs; the other classes keep theirs.

    A class needs a picture to learn from, and one to hold out unless the source says what is held out. Where no valid
    part is left at all, a share of each class's training pictures becomes "valid", for fine-tuning stops early by it.

    Args:
        files: Relative POSIX paths, shape (N,).
        labels: Class indices, shape (N,).
        parts: "train", "valid" or "test", shape (N,).
        given_parts: Whether "test" came with the source; it is kept then.
        seed: Of the split.

    Returns:
        The parts, shape (N,).
    """
    needed = {"train"} if given_parts else {"train", "test"}
    found = defaultdict(set)
    for label, part in zip(labels, parts, strict=True):
        found[label].add(part)
    broken = {label for label, of_class in found.items() if needed - of_class}
    chosen = [i for i, label in enumerate(labels) if label in broken and not (given_parts and parts[i] == "test")]
    again = ["train"] * len(chosen)
    columns = [files[i] for i in chosen], [labels[i] for i in chosen]
    if not given_parts:
        _hold_out(again, *columns, "test", TEST_SHARE, seed)
    _hold_out(again, *columns, "valid", VALID_SHARE, seed)
    repaired = list(parts)
    for i, part in zip(chosen, again, strict=True):
        repaired[i] = part
    if "valid" not in repaired:
        _hold_out(repaired, files, labels, "valid", VALID_SHARE, seed)
    return repaired


def _hold_out(
    parts: list[str], files: Sequence[str], labels: Sequence[int], part: str, share: float, seed: int
) -> None:
    """Moves a share of each class from "train" to `part`: at least one picture, and one at least stays."""
    classes = defaultdict(list)
    for index, label in enumerate(labels):
        if parts[index] == "train":
            classes[label].append(index)
    for members in classes.values():
        # Ranked by a hash of the file's own name: adding, moving or reordering pictures leaves the others in place.
        # The whole path decides only between pictures of one name in different folders of a class.
        members.sort(key=lambda index: (_rank(files[index], part, seed), files[index]))
        wanted = max(1, round(len(members) * share))
        for index in members[: min(wanted, len(members) - 1)]:
            parts[index] = part


def _rank(file: str, part: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{part}/{PurePosixPath(file).name}".encode()).digest()
