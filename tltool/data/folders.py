"""From a folder to a data set: class folders, parts that hold class folders, or pictures beside a manifest."""

import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tltool.data.dataset import Dataset, Problem, build
from tltool.data.layout import (
    PART_NAMES,
    check_parts,
    find_parts,
    find_tables,
    has_classes,
    notes_on_case,
    see_through,
)
from tltool.data.listing import list_class, list_folder, shortened
from tltool.data.manifests import read_manifest
from tltool.errors import DataError


def read_folder(
    folder: Path,
    source: str,
    seed: int,
    notes: Iterable[str] = (),
    *,
    trainable: bool = True,
    columns: Mapping[str, str] | None = None,
) -> Dataset:
    """Indexes a folder of pictures; opens none of them.

    The folder holds class folders, or parts (train or training; valid, val or validation; test or testing; any letter
    case) that hold class folders. Folders that only wrap another one are seen through. Pictures may lie in folders
    inside a class folder. Names that start with a dot, `__MACOSX`, `Thumbs.db` and `desktop.ini` are ignored.
    Where folders name no classes and one manifest (.csv, .tsv, .parquet) stands beside the pictures, it is read.

    Args:
        folder: Where the pictures are; it is only read.
        source: What the user gave; messages start with it.
        seed: Of the split.
        notes: What was decided before, in words; the data set's notes begin with it.
        trainable: Whether it must be fit to train on. If not, it needs no train part, and a class may have no picture.
        columns: For the manifest, as in `read_manifest`.

    Returns:
        A checked data set with an absolute `root`; files that look damaged or are no pictures are its `problems`.

    Raises:
        DataError: if the folder is missing, cannot be listed, or has no class folders that can be trained on.
    """
    folder = Path(os.path.abspath(folder))
    if not folder.exists():
        raise DataError(f"{source}: no such folder. Check the path.")
    if not folder.is_dir():
        raise DataError(f"{source}: a file, not a folder. Give a folder of class folders, or a .zip of one.")
    root = see_through(folder, stop_at=PART_NAMES)
    notes = list(notes)
    tables = find_tables(folder, root)
    if tables and not has_classes(root):
        table = _only(tables, folder, source)
        notes.append(f"No class folders, so {table.name} says which picture has which label.")
        # Its paths must stay inside: the folder may have come with the manifest from a stranger.
        return read_manifest(table, source, seed, notes, trainable=trainable, columns=columns, confined=True)
    if tables:
        names = shortened(table.name for table in tables)
        notes.append(f"Class folders give the labels; not read: {names}. To read a table, give its own path.")
    if columns:
        why = "class folders give the labels" if tables else "there is no table beside the pictures"
        raise DataError(f"{source}: columns are named, but {why}. Give the path of the table, or name no columns.")
    parts, ignored = find_parts(root, source, trainable=trainable)
    if ignored:
        notes.append(f"Folders beside the parts are ignored: {shortened(ignored)}.")
    if set(parts) - {"train"}:
        found = _read_parts(root, parts, source, notes, trainable)
    else:
        # A lone 'train' gets no part: its pictures are split like those of any folder, and a class of 2 is enough.
        folder = see_through(root / parts["train"]) if parts else root
        found = _read_classes(folder, root, None, source, trainable)
    if found.empty and not trainable:
        notes.append(f"No pictures in these class folders: {shortened(found.empty)}.")
    loose = found.loose + (len(list_folder(root, root).pictures) if parts else 0)
    if loose:
        notes.append(f"Pictures beside the class folders are ignored, for they have no class: {loose}.")
    notes += notes_on_case(label for _, label, _ in found.rows)
    return build(source, root, found.rows, seed, found.problems, notes, trainable=trainable)


def _only(tables: Sequence[Path], folder: Path, source: str) -> Path:
    if len(tables) > 1:
        names = shortened(table.relative_to(folder).as_posix() for table in tables)
        raise DataError(f"{source}: no class folders, and several tables: {names}. Give the path of the one to read.")
    return tables[0]


class _Found(NamedTuple):
    rows: list[tuple[str, str, str | None]]  # relative path, class, part
    problems: list[Problem]
    loose: int  # pictures beside the class folders
    empty: list[str]  # class folders without pictures


def _read_parts(root: Path, parts: dict[str, str], source: str, notes: list[str], trainable: bool) -> _Found:
    """Reads each part; checks that, to be trained on, none has a class that "train" lacks; adds to `notes`."""
    rows, problems, loose, empty, classes = [], [], 0, [], {}
    for part in ("train", "valid", "test"):
        if part not in parts:
            continue
        folder = see_through(root / parts[part], stop_at=classes.get("train", ()))
        found = _read_classes(folder, root, part, source, trainable)
        rows += found.rows
        problems += found.problems
        loose += found.loose
        empty += found.empty
        classes[part] = {name for _, name, _ in found.rows}
    notes += check_parts(source, classes, trainable=trainable)
    return _Found(rows, problems, loose, empty)


def _read_classes(folder: Path, root: Path, part: str | None, source: str, trainable: bool) -> _Found:
    """Reads the class folders in `folder`, which is `root` or lies below it."""
    where = source if folder == root else f"{source}, folder '{folder.relative_to(root).as_posix()}'"
    listing = list_folder(folder, root)
    if not listing.folders:
        loose = f"{len(listing.pictures)} pictures but no class folders" if listing.pictures else "no class folders"
        advice = "Put the pictures of each class in a folder named after it"
        raise DataError(f"{where}: {loose}. {advice}{', or remove this one' if part in ('valid', 'test') else ''}.")
    rows, problems, empty = [], [_below(folder, root, problem) for problem in listing.bad_folders], []
    for name in listing.folders:
        pictures, faults = list_class(folder / name, root)
        # One name may be composed on one system and decomposed on another ('é'): both are the same class.
        label = unicodedata.normalize("NFC", name)
        rows += [(path, label, part) for path in pictures]
        problems += faults
        if not pictures:
            empty.append(f"{name} (files left out: {len(faults)}, the first: {faults[0]})" if faults else name)
    if empty and trainable and part not in ("valid", "test"):
        raise DataError(
            f"{where}: no pictures in these class folders: {shortened(empty)}. Add pictures or remove them."
        )
    return _Found(rows, problems, len(listing.pictures), empty)


def _below(folder: Path, root: Path, problem: Problem) -> Problem:
    return replace(problem, path=(folder.relative_to(root) / problem.path).as_posix())
