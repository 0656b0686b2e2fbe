"""What is odd about classes: too few pictures, far more than in others, or names that look like one."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np

from tltool.data.dataset import MIN_IMAGES, PARTS, Dataset
from tltool.data.listing import shortened
from tltool.doctor.findings import Finding, counted

# Largest class over smallest; above it, always naming the larger of two classes is right in ten of eleven cases.
IMBALANCED = 10.0
# Held-out pictures of a class; with fewer, one picture more or less changes its score by over ten points.
FEW_HELD_OUT = 10


def check_classes(data: Dataset, readable: np.ndarray) -> Iterator[Finding]:
    """Findings on classes.

    Args:
        data: The data set.
        readable: Positions of the pictures that can be read, shape (n,); only they count.
    """
    counts = {part: Counter() for part in PARTS}
    for i in readable:
        counts[data.parts[i]].update(data.labels[i])
    learned, held_out = counts["train"] + counts["valid"], counts["test"]
    if any(learned.values()):
        yield from too_small(data, learned, held_out)
        yield from imbalance(data, learned)
    if any(held_out.values()):
        yield from few_held_out(data, held_out)
    if len(data.class_names) == 1:
        yield Finding(
            kind="one-class",
            severity="error",
            message=f"There is only one class, {data.class_names[0]!r}: training refuses such a set.",
            fix="Put the pictures of each class into a folder of their own.",
        )
    yield from names_alike(data)


def too_small(data: Dataset, learned: Counter[int], held_out: Counter[int]) -> Iterator[Finding]:
    """Classes that training refuses."""
    count = learned if data.given_parts else learned + held_out
    small = {name: count[label] for label, name in enumerate(data.class_names) if count[label] < MIN_IMAGES}
    if small:
        where = " to learn from" if data.given_parts else ""
        yield Finding(
            kind="class-too-small",
            severity="error",
            message=(
                f"{counted(len(small), 'class has', 'classes have')} fewer than {MIN_IMAGES} readable pictures{where}: "
                f"{shortened([f'{name!r} ({count})' for name, count in small.items()])}. Training refuses such a set."
            ),
            fix="Add pictures, or remove the class.",
        )


def imbalance(data: Dataset, learned: Counter[int]) -> Iterator[Finding]:
    """One class with far more pictures than another."""
    present = {label: count for label, count in learned.items() if count}
    largest, smallest = (choose(present, key=lambda label: (present[label], label)) for choose in (max, min))
    ratio = present[largest] / present[smallest]
    if ratio > IMBALANCED:
        names = data.class_names
        yield Finding(
            kind="imbalance",
            severity="warning",
            message=(
                f"'{names[largest]}' has {ratio:.0f} times as many pictures to learn from as '{names[smallest]}' "
                f"({present[largest]:,} and {present[smallest]:,}): rare classes will be named too seldom."
            ),
            fix="Add pictures of the rare classes, and go by the balanced accuracy or each class's own score.",
        )


def few_held_out(data: Dataset, held_out: Counter[int]) -> Iterator[Finding]:
    """Classes whose own score is a matter of luck."""
    few = {name: held_out[label] for label, name in enumerate(data.class_names) if held_out[label] < FEW_HELD_OUT}
    if few:
        yield Finding(
            kind="few-held-out",
            severity="warning",
            message=(
                f"{counted(len(few), 'class has', 'classes have')} fewer than {FEW_HELD_OUT} pictures held out for the "
                f"score: {shortened([f'{name!r} ({count})' for name, count in few.items()])}. One picture more or less "
                "changes such a class's score by over ten points."
            ),
            fix="Add pictures, or trust the score of the whole set alone.",
        )


def names_alike(data: Dataset) -> Iterator[Finding]:
    """Classes whose names differ in nothing but case, spaces, dashes or underscores."""
    alike = defaultdict(list)
    for name in data.class_names:
        # A and a are two letters, and sets of handwriting have a class for each.
        if len(name) > 1:
            alike[_bare(name)].append(name)
    groups = [names for names in alike.values() if len(names) > 1]
    if groups:
        shown = shortened([" and ".join(repr(name) for name in names) for names in groups])
        yield Finding(
            kind="class-names",
            severity="warning",
            message=f"Classes whose names differ in case or spacing alone: {shown}.",
            fix="If they are one class, put their pictures together: as two, each is a mistake for the other.",
        )


def _bare(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name)).strip().casefold()
