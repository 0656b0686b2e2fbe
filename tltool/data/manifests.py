"""From a manifest, a table of pictures and their labels, to a data set."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from tltool.data.columns import Columns, find_columns, notes_on_columns
from tltool.data.dataset import PARTS, Dataset, Problem, Row, build
from tltool.data.layout import PART_NAMES, check_parts, notes_on_case
from tltool.data.listed_files import Finder
from tltool.data.listing import shortened
from tltool.data.tables import Table, open_table
from tltool.errors import DataError

SEPARATOR = "|"  # between the labels of one picture
TRIED = 100  # paths by which it is found out what they are relative to: more than a few slips at a table's top
FAULTS_SHOWN = 3  # of rows, where no row can be used


def read_manifest(
    path: Path,
    source: str,
    seed: int,
    notes: Iterable[str] = (),
    *,
    trainable: bool = True,
    columns: Mapping[str, str] | None = None,
    confined: bool = False,
    multi_label: bool | None = None,
) -> Dataset:
    """Indexes the pictures that a table lists (CSV, TSV or Parquet, a header first); opens none of them.

    A column holds each picture's path, relative to the table; one its label, or several labels separated by "|", which
    makes it a multi-label set; there may be one for the part (train, valid or val, test) and one for a group whose
    pictures stay together. Where the paths lead to nothing, the folders beside the table are looked into.

    Args:
        path: The table; it is only read.
        source: What the user gave; messages start with it.
        seed: Of the split.
        notes: What was decided before, in words; the data set's notes begin with it.
        trainable: Whether it must be fit to train on. If not, it needs no train part.
        columns: Names of columns, as in `find_columns`, where they are not recognised.
        confined: Whether only pictures below the table's folder may be listed: for tables from strangers.
        multi_label: Whether it is a multi-label set; None to go by the "|".

    Returns:
        A checked data set whose `root` is the table's folder. Rows that cannot be used are its `problems`, of these
        kinds: "missing-file", "outside", "empty-label", "conflicting-row" (other labels for the same picture),
        "duplicate-row" (another part or group for it), "bad-row", or what is wrong with the file.

    Raises:
        DataError: if the table, its columns or its parts cannot be read, or no row can be used.
    """
    path = path.absolute()
    where = source if PurePath(source).name == path.name else f"{source}, {path.name}"
    table = open_table(path, where)
    chosen = find_columns(table.header, columns, where)
    rows, problems = _read(table, chosen, path.name)
    if not rows and not problems:
        raise DataError(f"{where}: no rows below the header. Add one for each picture.")
    notes = [*notes, *table.notes, *notes_on_columns(table.header, chosen)]
    parts = _parts_of(rows, where, trainable)
    if multi_label is None:
        multi_label = any(SEPARATOR in row.label for row in rows)
        if multi_label:
            notes.append(f"Labels are separated by '{SEPARATOR}', so a picture may have several.")
    finder = Finder(path.parent, confined=confined)
    beside = finder.look_beside(row.path for row in rows[:TRIED])
    if beside:
        notes.append(f"Paths in {path.name} are relative to folders beside it: {shortened(beside)}.")
    found, unusable = _find(rows, finder, parts, multi_label, path.name)
    pictures, contradictory, settling = _settle(found, multi_label, path.name)
    problems += unusable + contradictory
    notes += settling
    if not pictures:
        first = "; ".join(str(problem) for problem in problems[:FAULTS_SHOWN])
        raise DataError(
            f"{where}: none of {len(problems):,} rows can be used. The first: {first}. "
            "Paths must be relative to the table's folder."
        )
    classes: dict[str | None, set[str]] = {part: set() for part in PARTS if part in parts.values()}
    for picture in pictures.values():
        classes.setdefault(picture.part, set()).update(picture.labels)
    if None not in classes:
        notes += check_parts(where, classes, trainable=trainable)
    notes += notes_on_case(label for labels in classes.values() for label in labels)
    listed = (
        Row(file, picture.labels if multi_label else picture.labels[0], picture.part, picture.group)
        for file, picture in pictures.items()
    )
    return build(source, path.parent, listed, seed, problems, notes, trainable=trainable, multi_label=multi_label)


def listed_paths(path: Path, columns: Mapping[str, str] | None, shown: str) -> list[str]:
    """The paths in a manifest as they stand there, without repeats.

    Raises:
        DataError: if the table or its columns cannot be read.
    """
    table = open_table(path, shown)
    position = find_columns(table.header, columns, shown).path
    return list(dict.fromkeys(row.cells[0] for row in table.rows([position]) if row.cells and row.cells[0]))


class _Entry(NamedTuple):
    number: int
    path: str
    label: str
    split: str
    group: str


class _Picture(NamedTuple):
    labels: tuple[str, ...]
    part: str | None
    group: str
    number: int  # of the row


def _read(table: Table, columns: Columns, name: str) -> tuple[list[_Entry], list[Problem]]:
    positions = [position for position in columns if position is not None]
    place = {role: positions.index(at) for role, at in columns._asdict().items() if at is not None}
    rows, problems = [], []
    # Few labels, parts and groups come in many rows: one string each instead of one a row.
    kept: dict[str, str] = {}
    for row in table.rows(positions):
        if row.fault:
            problems.append(_problem(name, row.number, row.fault, "bad-row"))
            continue
        label, split, group = (
            kept.setdefault(row.cells[place[role]], row.cells[place[role]]) if role in place else ""
            for role in ("label", "split", "group")
        )
        rows.append(_Entry(row.number, row.cells[place["path"]], label, split, group))
    return _without_point_zero(rows), problems


def _without_point_zero(rows: list[_Entry]) -> list[_Entry]:
    """Class numbers that were kept as floats, as whole numbers: "3.0" in such a column means class 3."""
    labels = {label.strip() for row in rows for label in row.label.split(SEPARATOR)} - {""}
    if not labels or not all(re.fullmatch(r"-?\d+\.0+", label) for label in labels):
        return rows
    return [row._replace(label=re.sub(r"\.0+(?=\s*(\||$))", "", row.label)) for row in rows]


def _parts_of(rows: Sequence[_Entry], where: str, trainable: bool) -> dict[str, str | None]:
    """The part for each value of the split column.

    Raises:
        DataError: if a value names no part, or only some rows have one, or none is for training.
    """
    values = dict.fromkeys(row.split for row in rows)
    unknown = [value for value in values if value and value.lower() not in PART_NAMES]
    if unknown:
        raise DataError(
            f"{where}: unknown parts in the split column: {shortened(unknown)}. Known are {', '.join(PART_NAMES)}; "
            'leave the column out with --column split= (in Python columns={"split": ""}) to have it split.'
        )
    if "" in values and len(values) > 1:
        first = next(row.number for row in rows if not row.split)
        count = sum(not row.split for row in rows)
        raise DataError(
            f"{where}: {count:,} of {len(rows):,} rows have no part in the split column, the first is row {first}. "
            "Fill it in for all rows or for none."
        )
    parts = {value: PART_NAMES.get(value.lower()) for value in values}
    given = set(parts.values()) - {None}
    if given and trainable and "train" not in given:
        raise DataError(f"{where}: no row for the train part, only for {', '.join(sorted(given))}. Add such rows.")
    # Like a lone folder 'train': its pictures are split like those of any table.
    return dict.fromkeys(parts) if given == {"train"} else parts


def _find(
    rows: Sequence[_Entry], finder: Finder, parts: Mapping[str, str | None], multi_label: bool, name: str
) -> tuple[dict[str, list[_Picture]], list[Problem]]:
    """What the rows say of each file, in their order, and the rows that say nothing of use."""
    found: dict[str, list[_Picture]] = {}
    problems = []
    for row in rows:
        labels = row.label.split(SEPARATOR) if multi_label else [row.label]
        # One name may be composed in one row and decomposed in another ('é'): both are the same class.
        labels = [unicodedata.normalize("NFC", label.strip()) for label in labels]
        if "" in labels:
            reason = f"an empty label in '{row.label}'" if row.label else "no label"
            problems.append(_problem(name, row.number, reason, "empty-label"))
            continue
        file, fault = finder.find(row.path)
        if fault:
            problems.append(_problem(name, row.number, *fault))
            continue
        picture = _Picture(tuple(sorted(set(labels))), parts[row.split], row.group, row.number)
        found.setdefault(file, []).append(picture)
    return found, problems


def _settle(
    found: Mapping[str, list[_Picture]], multi_label: bool, name: str
) -> tuple[dict[str, _Picture], list[Problem], list[str]]:
    """One answer for each file, the rows that contradict it, and notes on those that only repeat it."""
    settled, problems, repeats, merged = {}, [], [], []
    for file, (first, *others) in found.items():
        labels = {first.labels, *(other.labels for other in others)}
        if len(labels) > 1 and not multi_label:
            listed = " and ".join(sorted(f"'{each}'" for (each,) in labels))
            reason = f"{file} has different labels in different rows: {listed}"
            problems += [_problem(name, each.number, reason, "conflicting-row") for each in (first, *others)]
            continue
        for other in others:
            if (other.part, other.group) == (first.part, first.group):
                repeats.append(other.number)
                continue
            column = "part" if other.part != first.part else "group"
            reason = f"{file} has another {column} in row {first.number}, which counts"
            problems.append(_problem(name, other.number, reason, "duplicate-row"))
        if len(labels) > 1:
            merged.append(file)
        settled[file] = first._replace(labels=tuple(sorted(set().union(*labels))))
    notes = []
    if merged:
        notes.append(f"Pictures in several rows of {name} have the labels of all of them: {shortened(merged)}.")
    elif repeats:
        notes.append(f"Rows of {name} that repeat another one count once: {shortened(map(str, sorted(repeats)))}.")
    return settled, problems, notes


def _problem(name: str, number: int, reason: str, kind: str) -> Problem:
    return Problem(f"{name}, row {number}", reason, kind)
