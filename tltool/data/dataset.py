"""The index of a data set: which picture, which class, which part. It holds no pixels."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tltool.data.split import assign_parts, repair_parts
from tltool.errors import DataError

PARTS = ("train", "valid", "test")
MIN_IMAGES = 2  # a class: one to learn from, one to hold out
SMALL_SHOWN = 10  # classes in a message: enough to see the pattern, short enough for one line


@dataclass(frozen=True)
class Problem:
    """A file that was left out, and why."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Dataset:
    """Pictures with a class and a part each. Indices below are positions in `files`.

    Attributes:
        source: What the user gave: a folder or an archive; for messages.
        root: The folder that `files` are relative to.
        files: Relative POSIX paths, sorted.
        labels: Class indices, one a file.
        parts: "train", "valid" or "test", one a file.
        class_names: Sorted; `labels` index it.
        seed: Of the split.
        given_parts: Whether the source came with parts of its own.
        problems: Files that were left out.
        notes: What was decided while reading the source, in words.
    """

    source: str
    root: Path
    files: tuple[str, ...]
    labels: tuple[int, ...]
    parts: tuple[str, ...]
    class_names: tuple[str, ...]
    seed: int
    given_parts: bool = False
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    @property
    def name(self) -> str:
        """Short, for titles and file names: the folder's name, or the archive's without its ending."""
        path = Path(self.source)
        if path.suffix.lower() == ".zip":
            return path.stem
        # "." and ".." name nothing.
        return path.name if path.name not in ("", "..", "~") else self.root.name

    @property
    def paths(self) -> list[Path]:
        return [self.root / file for file in self.files]

    def indices(self, *parts: str) -> np.ndarray:
        """Positions of the pictures in these parts, in order; shape (n,)."""
        return np.flatnonzero([part in parts for part in self.parts])

    def labels_of(self, indices: np.ndarray) -> np.ndarray:
        """Class indices at these positions, shape (n,), int64."""
        return np.asarray(self.labels, dtype=np.int64)[indices]

    def counts(self, *parts: str) -> dict[str, int]:
        """Pictures a class, in the given parts or in all."""
        wanted = parts or PARTS
        tally = Counter(label for label, part in zip(self.labels, self.parts, strict=True) if part in wanted)
        return {name: tally[index] for index, name in enumerate(self.class_names)}

    def without(self, problems: Iterable[Problem]) -> "Dataset":
        """A copy that leaves these files out; the rest keep their parts, as far as every class stays usable.

        Raises:
            DataError: if what is left cannot be trained on.
        """
        problems = tuple(problems)
        bad = {problem.path for problem in problems}
        keep = [i for i, file in enumerate(self.files) if file not in bad]
        files = tuple(self.files[i] for i in keep)
        labels = tuple(self.labels[i] for i in keep)
        parts = repair_parts(files, labels, [self.parts[i] for i in keep], self.given_parts, self.seed)
        return check(replace(self, files=files, labels=labels, parts=tuple(parts), problems=self.problems + problems))

    def to_json(self) -> dict[str, Any]:
        """What a run folder stores as `data.json`; `from_json` reads it back."""
        return {
            "source": self.source,
            "root": str(self.root),
            "seed": self.seed,
            "given_parts": self.given_parts,
            "class_names": list(self.class_names),
            "files": [list(row) for row in zip(self.files, self.labels, self.parts, strict=True)],
            "problems": [[problem.path, problem.reason] for problem in self.problems],
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Dataset":
        files, labels, parts = zip(*values["files"], strict=True)
        return cls(
            source=values["source"],
            root=Path(values["root"]),
            files=files,
            labels=labels,
            parts=parts,
            class_names=tuple(values["class_names"]),
            seed=values["seed"],
            given_parts=values["given_parts"],
            problems=tuple(Problem(*problem) for problem in values["problems"]),
            notes=tuple(values["notes"]),
        )

    def __str__(self) -> str:
        sizes = ", ".join(f"{len(self.indices(part))} {part}" for part in PARTS)
        return f"{self.source}: {len(self)} pictures, {len(self.class_names)} classes ({sizes})"


def build(
    source: str,
    root: Path,
    rows: Iterable[tuple[str, str, str | None]],
    seed: int,
    problems: Iterable[Problem] = (),
    notes: Iterable[str] = (),
    *,
    trainable: bool = True,
) -> Dataset:
    """A split data set from rows of (relative path, class name, given part or None).

    Raises:
        DataError: if it is to be trained on and has fewer than two classes or too few pictures in one; if it is not,
            only if it has no picture at all.
    """
    rows = sorted(rows)
    class_names = tuple(sorted({name for _, name, _ in rows}))
    position = {name: index for index, name in enumerate(class_names)}
    files = tuple(path for path, _, _ in rows)
    labels = tuple(position[name] for _, name, _ in rows)
    given = [part for _, _, part in rows]
    parts, split_notes = assign_parts(files, labels, given, seed)
    data = Dataset(
        source=source,
        root=root,
        files=files,
        labels=labels,
        parts=tuple(parts),
        class_names=class_names,
        seed=seed,
        given_parts=any(given),
        problems=tuple(problems),
        notes=(*notes, *split_notes),
    )
    return check(data) if trainable or not files else data


def check(data: Dataset) -> Dataset:
    """Returns `data` if it can be trained on.

    Raises:
        DataError: naming the rule that it breaks, and what to do.
    """
    left_out = f" Files left out: {len(data.problems)}; the first: {data.problems[0]}." if data.problems else ""
    if not data.files:
        raise DataError(
            f"{data.source}: no readable pictures found.{left_out} Put one folder of pictures a class in it."
        )
    if len(data.class_names) < 2:
        raise DataError(
            f"{data.source}: only one class, '{data.class_names[0]}'; a classifier needs at least 2. "
            f"Put each class in a folder of its own.{left_out}"
        )
    parts = ("train", "valid") if data.given_parts else PARTS
    small = [
        f"class '{name}' has {count} image{'s' * (count != 1)}"
        for name, count in data.counts(*parts).items()
        if count < MIN_IMAGES
    ]
    if small:
        where = "train part: " if data.given_parts else ""
        more = f" and {len(small) - SMALL_SHOWN} more" if len(small) > SMALL_SHOWN else ""
        raise DataError(
            f"{data.source}: {where}{', '.join(small[:SMALL_SHOWN])}{more}; at least {MIN_IMAGES} are needed to hold "
            f"one out. Add images or remove the class.{left_out}"
        )
    if "test" not in data.parts:
        raise DataError(f"{data.source}: no readable pictures in the test part.{left_out} Add some or remove the part.")
    return data


def load_index(path: Path) -> Dataset:
    """Reads back a `data.json`."""
    try:
        return Dataset.from_json(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a readable data index ({error}).") from None
