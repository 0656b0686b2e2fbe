"""The index of a data set: which picture, which class, which part. It holds no pixels."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from tltool.data.split import assign_parts, join_groups
from tltool.errors import DataError

PARTS = ("train", "valid", "test")
MIN_IMAGES = 2  # a class: one to learn from, one to hold out
SMALL_SHOWN = 10  # classes in a message: enough to see the pattern, short enough for one line
# What is cut off a source's name for titles.
NAME_ENDINGS = (
    *(".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz"),
    *(".csv", ".tsv", ".parquet"),
)


class Row(NamedTuple):
    """One picture as a source gives it.

    Attributes:
        path: Relative to the data set's root, POSIX.
        label: The class's name; in a multi-label set a tuple of names.
        part: "train", "valid", "test", or None where the source does not say.
        group: Pictures with the same non-empty name (a patient, a video) stay in one part.
    """

    path: str
    label: str | tuple[str, ...]
    part: str | None = None
    group: str = ""


@dataclass(frozen=True)
class Problem:
    """A file that was left out, and why.

    Attributes:
        path: Relative to the data set's root.
        reason: In words.
        kind: For the doctor: one of `PictureError.KINDS`, or what a source gives.
    """

    path: str
    reason: str
    kind: str = "unreadable"

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Dataset:
    """Pictures with a class (or, in a multi-label set, several) and a part each. Indices are positions in `files`.

    Attributes:
        source: What the user gave: a folder, an archive, a manifest, an address; for messages.
        root: The folder that `files` are relative to.
        files: Relative POSIX paths, sorted.
        labels: Class indices of each file, sorted: one, or in a multi-label set any number above 0.
        parts: "train", "valid" or "test", one a file.
        class_names: Sorted; `labels` index it.
        seed: Of the split.
        given: The parts that the source came with, None where it does not say, one a file.
        groups: The source's own (patients, videos), "" for none, one a file.
        together: Files with the same non-empty name stay in one part, one a file: the groups, joined with copies.
        multi_label: Whether a picture may have several classes.
        problems: Files that were left out.
        notes: What was decided while reading the source, in words.
    """

    source: str
    root: Path
    files: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]
    parts: tuple[str, ...]
    class_names: tuple[str, ...]
    seed: int
    given: tuple[str | None, ...]
    groups: tuple[str, ...]
    together: tuple[str, ...]
    multi_label: bool = False
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    @property
    def name(self) -> str:
        """Short, for titles and file names: the folder's name, or the archive's without its ending."""
        tail = PurePosixPath(Path(self.source).as_posix()).name.removeprefix("tfds:")
        for ending in NAME_ENDINGS:
            if tail.lower().endswith(ending) and len(tail) > len(ending):
                return tail[: -len(ending)]
        # "." and ".." name nothing.
        return tail if tail not in ("", "..", "~") else self.root.name

    @property
    def paths(self) -> list[Path]:
        return [self.root / file for file in self.files]

    @property
    def given_parts(self) -> bool:
        """Whether the source came with parts of its own."""
        return any(self.given)

    def indices(self, *parts: str) -> np.ndarray:
        """Positions of the pictures in these parts, in order; shape (n,)."""
        return np.flatnonzero([part in parts for part in self.parts])

    def labels_of(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """What a head learns: class indices, shape (n,), int64; of a multi-label set a matrix of 0 and 1, (n, C)."""
        if not self.multi_label:
            return np.array([self.labels[i][0] for i in indices], dtype=np.int64)
        matrix = np.zeros((len(indices), len(self.class_names)), dtype=np.int64)
        for row, i in enumerate(indices):
            matrix[row, list(self.labels[i])] = 1
        return matrix

    def together_of(self, indices: Sequence[int] | np.ndarray) -> list[str]:
        """What the pictures at these positions must not be parted from, by name, length n."""
        return [self.together[i] for i in indices]

    def label_names(self, index: int) -> tuple[str, ...]:
        """Names of the classes of one picture."""
        return tuple(self.class_names[label] for label in self.labels[index])

    def counts(self, *parts: str) -> dict[str, int]:
        """Pictures a class, in the given parts or in all; one with several classes counts for each."""
        wanted = parts or PARTS
        tally: Counter[int] = Counter()
        for labels, part in zip(self.labels, self.parts, strict=True):
            if part in wanted:
                tally.update(labels)
        return {name: tally[index] for index, name in enumerate(self.class_names)}

    def without(self, problems: Iterable[Problem], *, trainable: bool = True) -> "Dataset":
        """A copy that leaves these files out and is split as if they had never been there.

        Args:
            problems: One a file.
            trainable: Whether what is left must be fit to train on.

        Raises:
            DataError: if what is left cannot be trained on.
        """
        problems = tuple(problems)
        bad = {problem.path for problem in problems}
        keep = [i for i, file in enumerate(self.files) if file not in bad]
        given = tuple(self.given[i] for i in keep)
        rest = replace(
            self,
            files=tuple(self.files[i] for i in keep),
            labels=tuple(self.labels[i] for i in keep),
            parts=tuple(self.parts[i] for i in keep),
            given=given,
            groups=tuple(self.groups[i] for i in keep),
            together=tuple(self.together[i] for i in keep),
            problems=self.problems + problems,
        )
        # Where nothing is left of what the source held out, holding out others would hide that.
        held_out = "test" if "test" in self.given else "valid" if "valid" in self.given else None
        if held_out is None or held_out in given:
            rest = rest._split_again()
        return check(rest) if trainable or not rest.files else rest

    def keeping_together(self, sets: Iterable[Iterable[int]]) -> "Dataset":
        """A copy whose split never parts the pictures of a set (copies of one picture, say), besides its own groups.

        Parts that the source came with stay as they are.

        Args:
            sets: Positions in `files`; they may overlap with each other and with the groups.
        """
        own: dict[str, list[int]] = {}
        for index, group in enumerate(self.groups):
            if group:
                own.setdefault(group, []).append(index)
        together = list(self.groups)
        for members in join_groups(len(self), [*own.values(), *sets]):
            # Named after a member, which no other group can be: group names of the source only need to differ.
            name = next((together[i] for i in members if together[i]), f"copies of {self.files[members[0]]}")
            for index in members:
                together[index] = name
        return replace(self, together=tuple(together))._split_again()

    def _split_again(self) -> "Dataset":
        parts, _ = assign_parts(self.files, self.labels, self.given, self.seed, self.together)
        return replace(self, parts=tuple(parts))

    def to_json(self) -> dict[str, Any]:
        """What a run folder stores as `data.json`; `from_json` reads it back."""
        rows = zip(self.files, self.labels, self.parts, self.given, self.groups, self.together, strict=True)
        return {
            "source": self.source,
            "root": str(self.root),
            "seed": self.seed,
            "multi_label": self.multi_label,
            "class_names": list(self.class_names),
            "columns": ["file", "labels", "part", "given_part", "group", "together"],
            "files": [[file, list(labels), *rest] for file, labels, *rest in rows],
            "problems": [[problem.path, problem.reason, problem.kind] for problem in self.problems],
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Dataset":
        files, labels, parts, given, groups, together = zip(*values["files"], strict=True)
        return cls(
            source=values["source"],
            root=Path(values["root"]),
            files=files,
            labels=tuple(tuple(of_file) for of_file in labels),
            parts=parts,
            class_names=tuple(values["class_names"]),
            seed=values["seed"],
            given=given,
            groups=groups,
            together=together,
            multi_label=values["multi_label"],
            problems=tuple(Problem(*problem) for problem in values["problems"]),
            notes=tuple(values["notes"]),
        )

    @classmethod
    def from_arrays(
        cls,
        images: np.ndarray | Sequence[np.ndarray],
        labels: np.ndarray | Sequence[Any],
        class_names: Sequence[str] | None = None,
        **options: Any,
    ) -> "Dataset":
        """Pictures in memory as a data set: `tltool.data.arrays.from_arrays`, which tells of shapes and options."""
        from tltool.data.arrays import from_arrays  # late: it builds on this module

        return from_arrays(images, labels, class_names, **options)

    def __str__(self) -> str:
        sizes = ", ".join(f"{len(self.indices(part))} {part}" for part in PARTS)
        return f"{self.source}: {len(self)} pictures, {len(self.class_names)} classes ({sizes})"


def build(
    source: str,
    root: Path,
    rows: Iterable[Row | tuple],
    seed: int,
    problems: Iterable[Problem] = (),
    notes: Iterable[str] = (),
    *,
    trainable: bool = True,
    multi_label: bool = False,
) -> Dataset:
    """A split data set from rows of (relative path, class name, given part or None, group); see `Row`.

    Raises:
        DataError: if it is to be trained on and has fewer than two classes or too few pictures in one; if it is not,
            only if it has no picture at all.
    """
    rows = sorted((Row(*row) for row in rows), key=lambda row: row.path)
    names = [row.label if multi_label else (row.label,) for row in rows]
    class_names = tuple(sorted({name for of_row in names for name in of_row}))
    position = {name: index for index, name in enumerate(class_names)}
    files = tuple(row.path for row in rows)
    labels = tuple(tuple(sorted({position[name] for name in of_row})) for of_row in names)
    given = tuple(row.part for row in rows)
    groups = tuple(row.group for row in rows)
    parts, split_notes = assign_parts(files, labels, given, seed, groups)
    data = Dataset(
        source=source,
        root=root,
        files=files,
        labels=labels,
        parts=tuple(parts),
        class_names=class_names,
        seed=seed,
        given=given,
        groups=groups,
        together=groups,
        multi_label=multi_label,
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
    if "test" not in data.parts and data.given_parts:
        raise DataError(f"{data.source}: no readable pictures in the test part.{left_out} Add some or remove the part.")
    if "test" not in data.parts:
        raise DataError(
            f"{data.source}: nothing can be held out for a score: in each class all pictures are copies of one, or of "
            f"one group.{left_out} Add pictures of other origin, or a split of your own."
        )
    return data


def load_index(path: Path) -> Dataset:
    """Reads back a `data.json`."""
    try:
        return Dataset.from_json(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a readable data index ({error}).") from None
