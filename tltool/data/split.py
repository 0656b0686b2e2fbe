"""A stratified, seeded split that depends on nothing but the pictures' own names and on which belong together."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

TEST_SHARE = 0.20  # of a set without a held-out part: 40 of 200 pictures give a score that is good to +-15 points
VALID_SHARE = 0.15  # of what is left; fine-tuning stops early by it, probes add it to their training pictures


def assign_parts(
    files: Sequence[str],
    labels: Sequence[tuple[int, ...]],
    given: Sequence[str | None],
    seed: int,
    groups: Sequence[str] = (),
) -> tuple[list[str], list[str]]:
    """Gives each picture a part.

    Parts that the source came with are kept. Where it has none, a share of each class is held out as "test"; where it
    has train and valid but no test, the valid part is what it held out, so it becomes "test". Where no valid part is
    left, a share of each class's training pictures becomes "valid".

    Args:
        files: Relative POSIX paths, shape (N,).
        labels: Class indices of each picture, shape (N,): one, or any number in a multi-label set.
        given: "train", "valid", "test" or None, shape (N,).
        seed: Another seed, another split.
        groups: Pictures with the same non-empty name are never parted, shape (N,); empty if there are none.

    Returns:
        The parts, shape (N,), and notes in words.
    """
    notes = []
    parts = [part or "train" for part in given]
    if "valid" in given and "test" not in given:
        parts = ["test" if part == "valid" else part for part in parts]
        notes.append("No test part: the valid part is held out for the score.")
    if "test" not in parts:
        _hold_out(parts, files, labels, groups, "test", TEST_SHARE, seed)
        notes.append(f"{TEST_SHARE:.0%} of each class is held out for the score.")
    if "valid" not in parts and "train" in parts:
        _hold_out(parts, files, labels, groups, "valid", VALID_SHARE, seed)
        notes.append(f"{VALID_SHARE:.0%} of each class's training pictures are for validation.")
    return parts, notes


def join_groups(count: int, sets: Iterable[Iterable[int]]) -> list[list[int]]:
    """Joins overlapping sets of positions in [0, count); returns the joined ones of two or more, sorted."""
    leader = list(range(count))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    for members in sets:
        first, *others = members
        for other in others:
            a, b = sorted((find(first), find(other)))
            leader[b] = a
    joined = defaultdict(list)
    for index in range(count):
        joined[find(index)].append(index)
    return [members for members in joined.values() if len(members) > 1]


def _hold_out(
    parts: list[str],
    files: Sequence[str],
    labels: Sequence[tuple[int, ...]],
    groups: Sequence[str],
    part: str,
    share: float,
    seed: int,
) -> None:
    """Moves a share of each class from "train" to `part`: at least one unit, and one at least stays.

    A unit is a picture, or all pictures of a group. Rare classes choose first: in a multi-label set a common class
    finds its share among the pictures that the rare ones have moved (Sechidis et al., 2011, "On the stratification of
    multi-label data", give the same precedence).
    """
    units = _units(parts, files, groups, part, seed)
    holding = defaultdict(list)  # class -> units with a picture of it, in rank order
    count = []  # unit -> class -> pictures
    for number, unit in enumerate(units):
        tally = defaultdict(int)
        for index in unit:
            for label in labels[index]:
                tally[label] += 1
        count.append(tally)
        for label in tally:
            holding[label].append(number)
    total = {label: sum(count[number][label] for number in numbers) for label, numbers in holding.items()}
    staying = {label: len(numbers) for label, numbers in holding.items()}
    moved: set[int] = set()

    def move(number: int) -> None:
        moved.add(number)
        for other in count[number]:
            staying[other] -= 1

    def is_free(number: int) -> bool:
        return number not in moved and all(staying[other] > 1 for other in count[number])

    for label in sorted(holding, key=lambda label: (total[label], label)):
        wanted = max(1, round(total[label] * share))
        held = sum(count[number][label] for number in holding[label] if number in moved)
        for number in holding[label]:
            more = count[number][label]
            # A group far above the share would take most of the class away from training.
            fits = abs(held + more - wanted) <= abs(held - wanted) and more <= 2 * wanted
            if held < wanted and fits and is_free(number):
                move(number)
                held += more
        free = [number for number in holding[label] if is_free(number)]
        if held == 0 and free:  # nothing fits the share: the smallest group is better than no score
            move(min(free, key=lambda number: count[number][label]))
    for number in moved:
        for index in units[number]:
            parts[index] = part


def _units(parts: Sequence[str], files: Sequence[str], groups: Sequence[str], part: str, seed: int) -> list[list[int]]:
    """Training pictures that move together, in an order that only names and seed decide."""
    units = defaultdict(list)
    for index, current in enumerate(parts):
        if current == "train":
            units[groups[index] if groups and groups[index] else index].append(index)

    # Ranked by a hash of the file's own name: adding, moving or reordering pictures leaves the others in place.
    # The whole path decides only between pictures of one name in different folders of a class.
    def rank(unit: list[int]) -> tuple[bytes, str]:
        return min((_rank(files[index], part, seed), files[index]) for index in unit)

    return sorted(units.values(), key=rank)


def _rank(file: str, part: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{part}/{PurePosixPath(file).name}".encode()).digest()
