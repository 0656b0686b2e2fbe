"""What is in a folder, without opening a file: folders to go on with, pictures, and what is wrong with the rest."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from tltool.data.dataset import Dataset, Problem
from tltool.data.formats import UNREADABLE_SUFFIXES, fault_of_name
from tltool.errors import DataError

# What systems leave in folders of pictures, besides names that start with a dot.
LITTER = frozenset(("__macosx", "thumbs.db", "desktop.ini"))
NAMES_SHOWN = 10  # of a list in a message: enough to see the pattern, short enough for one line
TABLE_SUFFIXES = frozenset((".csv", ".tsv", ".parquet"))  # of files that may list pictures: manifests


@dataclass(frozen=True)
class Listing:
    """One level of a folder, each tuple sorted by name.

    Attributes:
        folders: Names of folders that may be entered.
        pictures: Names of files that look like pictures.
        bad_folders: Folders that are left out; `path` is the bare name.
        bad_files: Files that are left out; `path` is the bare name.
        tables: Names of files that may be manifests, which are among the `bad_files` too.
    """

    folders: tuple[str, ...]
    pictures: tuple[str, ...]
    bad_folders: tuple[Problem, ...]
    bad_files: tuple[Problem, ...]
    tables: tuple[str, ...]


def is_litter(name: str) -> bool:
    """Whether this file or folder name belongs to the system, not to the data set."""
    return name.startswith(".") or name.lower() in LITTER


def is_table(name: str) -> bool:
    """Whether a file of this name may be a manifest: CSV, TSV or Parquet."""
    return os.path.splitext(name)[1].lower() in TABLE_SUFFIXES


def would_join(data: Dataset, path: Path) -> bool:
    """Whether what is written to `path` would lie among the data set's files and be taken for a part of it.

    A manifest names its pictures one by one; nothing beside them joins the set.
    """
    return not is_table(data.source) and path.expanduser().resolve().is_relative_to(data.root.resolve())


def shortened(names: Iterable[str]) -> str:
    """Names in a sentence: the first few, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def list_folder(folder: Path, root: Path) -> Listing:
    """Lists one level of `folder`, which is `root` or lies below it; opens no file.

    Raises:
        DataError: if the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            entries = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be read ({error.strerror}). Change its permissions.") from None
    folders, pictures, bad_folders, bad_files, tables = [], [], [], [], []
    for entry in entries:
        if is_litter(entry.name):
            continue
        is_folder, fault = _examine(entry, root)
        if fault:
            shown = entry.name.encode(errors="backslashreplace").decode()
            (bad_folders if is_folder else bad_files).append(Problem(shown, fault.reason, fault.kind))
        else:
            (folders if is_folder else pictures).append(entry.name)
        if not is_folder and is_table(entry.name) and fault and fault.kind == "not-a-picture":
            tables.append(entry.name)
    return Listing(tuple(folders), tuple(pictures), tuple(bad_folders), tuple(bad_files), tuple(tables))


def list_class(folder: Path, root: Path) -> tuple[list[str], list[Problem]]:
    """All pictures in `folder` and the folders in it, and the files that are left out.

    Returns:
        POSIX paths relative to `root`, and problems whose `path` is relative to `root` as well.

    Raises:
        DataError: if a folder cannot be listed.
    """
    pictures, problems = [], []
    for current, listing in _walk(folder, root):
        prefix = current.relative_to(root).as_posix()
        pictures += [f"{prefix}/{name}" for name in listing.pictures]
        problems += [replace(bad, path=f"{prefix}/{bad.path}") for bad in listing.bad_folders + listing.bad_files]
    return pictures, problems


def holds_picture(folder: Path) -> bool:
    """Whether a picture lies in `folder` or in a folder in it; the walk ends at the first.

    Raises:
        DataError: if a folder cannot be listed.
    """
    return any(listing.pictures for _, listing in _walk(folder, folder))


def _walk(folder: Path, root: Path) -> Iterator[tuple[Path, Listing]]:
    """`folder`, which is `root` or lies below it, and the folders in it, each with its listing, sorted by name."""
    pending, seen = [folder], set()
    while pending:
        current = pending.pop()
        # Links between folders outside the data set may form a ring; without this the walk would not end.
        real = os.path.realpath(current)
        if real in seen:
            continue
        seen.add(real)
        listing = list_folder(current, root)
        yield current, listing
        pending += [current / name for name in reversed(listing.folders)]


class Fault(NamedTuple):
    """Why a file or folder is left out."""

    reason: str  # in words
    kind: str = "unreadable"  # as in `Problem`


def fault_of_file(name: str, status: os.stat_result) -> Fault | None:
    """Why a file with this name and status is not read; None if it is."""
    suffix = os.path.splitext(name)[1]
    reason = fault_of_name(suffix)
    if reason:
        return Fault(reason, "unreadable" if suffix.lower() in UNREADABLE_SUFFIXES else "not-a-picture")
    if not stat.S_ISREG(status.st_mode):
        return Fault("not a regular file")  # opening a pipe would wait for a writer for ever
    if status.st_size == 0:
        return Fault("the file is empty (0 bytes)", "empty")
    return None


def _examine(entry: os.DirEntry[str], root: Path) -> tuple[bool, Fault | None]:
    """Whether the entry is a folder, and why it is left out (None if it is not)."""
    try:
        status = entry.stat()
    except FileNotFoundError:
        return False, Fault("a link to something that does not exist", "missing-file")
    except OSError as error:
        return False, Fault(f"cannot be read ({error.strerror})")
    is_folder = stat.S_ISDIR(status.st_mode)
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return is_folder, Fault("its name is not valid UTF-8: rename it")
    if is_folder:
        return True, _fault_of_link(entry, root) if entry.is_symlink() else None
    return False, fault_of_file(entry.name, status)


def _fault_of_link(entry: os.DirEntry[str], root: Path) -> Fault | None:
    """Links lead to folders kept elsewhere; one that leads back would count pictures twice, or walk in a circle."""
    target, top = Path(os.path.realpath(entry.path)), Path(os.path.realpath(root))
    if target.is_relative_to(top) or top.is_relative_to(target):
        return Fault("a link back into the same data set: it would count pictures twice")
    return None
