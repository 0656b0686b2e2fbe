"""From a folder to a data set: class folders, or train, valid and test parts that hold class folders."""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tltool.data.dataset import Dataset, Problem, build
from tltool.data.layout import PART_NAMES, find_parts, see_through
from tltool.data.listing import list_class, list_folder
from tltool.errors import DataError

NAMES_SHOWN = 10  # of a list in a message: enough to see the pattern, short enough for one line


def read_folder(folder: Path, source: str, seed: int, notes: Iterable[str] = (), *, trainable: bool = True) -> Dataset:
    """Indexes a folder of pictures; opens none of them.

    The folder holds class folders, or parts (train or training; valid, val or validation; test or testing; any letter
    case) that hold class folders. Folders that only wrap another one are seen through. Pictures may lie in folders
    inside a class folder. Names that start with a dot, `__MACOSX`, `Thumbs.db` and `desktop.ini` are ignored.

    Args:
        folder: Where the pictures are; it is only read.
        source: What the user gave; messages start with it.
        seed: Of the split.
        notes: What was decided before, in words; the data set's notes begin with it.
        trainable: Whether it must be fit to train on. If not, it needs no train part, and a class may have no picture.

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
    parts, ignored = find_parts(root, source, trainable=trainable)
    notes = list(notes)
    if ignored:
        notes.append(f"Folders beside the parts are ignored: {_names(ignored)}.")
    if set(parts) - {"train"}:
        found = _read_parts(root, parts, source, notes, trainable)
    else:
        # A lone 'train' gets no part: its pictures are split like those of any folder, and a class of 2 is enough.
        folder = see_through(root / parts["train"]) if parts else root
        found = _read_classes(folder, root, None, source, trainable)
    if found.empty and not trainable:
        notes.append(f"No pictures in these class folders: {_names(found.empty)}.")
    loose = found.loose + (len(list_folder(root, root).pictures) if parts else 0)
    if loose:
        notes.append(f"Pictures beside the class folders are ignored, for they have no class: {loose}.")
    return build(source, root, found.rows, seed, found.problems, notes, trainable=trainable)


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
    known = classes["train"] if trainable else set().union(*classes.values())
    unknown = {part: sorted(names - known) for part, names in classes.items() if names - known}
    if unknown:
        listed = "; ".join(f"{part}: {_names(names)}" for part, names in unknown.items())
        raise DataError(
            f"{source}: classes that the train part does not have: {listed}. "
            "Add pictures of them to the train part, or take them out; names must match to the letter."
        )
    for part, names in classes.items():
        if known - names:
            notes.append(f"The {part} part has no pictures of {_names(sorted(known - names))}.")
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
        raise DataError(f"{where}: no pictures in these class folders: {_names(empty)}. Add pictures or remove them.")
    return _Found(rows, problems, len(listing.pictures), empty)


def _below(folder: Path, root: Path, problem: Problem) -> Problem:
    return Problem((folder.relative_to(root) / problem.path).as_posix(), problem.reason)


def _names(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
