"""What is in a folder, without opening a file: folders to go on with, pictures, and what is wrong with the rest."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from tltool.data.dataset import Problem
from tltool.data.formats import fault_of_name
from tltool.errors import DataError

# What systems leave in folders of pictures, besides names that start with a dot.
LITTER = frozenset(("__macosx", "thumbs.db", "desktop.ini"))


@dataclass(frozen=True)
class Listing:
    """One level of a folder, each tuple sorted by name.

    Attributes:
        folders: Names of folders that may be entered.
        pictures: Names of files that look like pictures.
        bad_folders: Folders that are left out; `path` is the bare name.
        bad_files: Files that are left out; `path` is the bare name.
    """

    folders: tuple[str, ...]
    pictures: tuple[str, ...]
    bad_folders: tuple[Problem, ...]
    bad_files: tuple[Problem, ...]


def is_litter(name: str) -> bool:
    """Whether this file or folder name belongs to the system, not to the data set."""
    return name.startswith(".") or name.lower() in LITTER


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
    folders, pictures, bad_folders, bad_files = [], [], [], []
    for entry in entries:
        if is_litter(entry.name):
            continue
        kind, fault = _examine(entry, root)
        if fault:
            shown = entry.name.encode(errors="backslashreplace").decode()
            (bad_folders if kind == "folder" else bad_files).append(Problem(shown, fault))
        else:
            (folders if kind == "folder" else pictures).append(entry.name)
    return Listing(tuple(folders), tuple(pictures), tuple(bad_folders), tuple(bad_files))


def list_class(folder: Path, root: Path) -> tuple[list[str], list[Problem]]:
    """All pictures in `folder` and the folders in it, and the files that are left out.

    Returns:
        POSIX paths relative to `root`, and problems whose `path` is relative to `root` as well.

    Raises:
        DataError: if a folder cannot be listed.
    """
    pictures, problems = [], []
    pending, seen = [folder], set()
    while pending:
        current = pending.pop()
        # Links between folders outside the data set may form a ring; without this the walk would not end.
        real = os.path.realpath(current)
        if real in seen:
            continue
        seen.add(real)
        listing = list_folder(current, root)
        prefix = current.relative_to(root).as_posix()
        pictures += [f"{prefix}/{name}" for name in listing.pictures]
        problems += [Problem(f"{prefix}/{bad.path}", bad.reason) for bad in listing.bad_folders + listing.bad_files]
        pending += [current / name for name in reversed(listing.folders)]
    return pictures, problems


def _examine(entry: os.DirEntry[str], root: Path) -> tuple[str, str | None]:
    """Whether the entry is a "folder" or a "file", and why it is left out (None if it is not)."""
    try:
        status = entry.stat()
    except FileNotFoundError:
        return "file", "a link to something that does not exist"
    except OSError as error:
        return "file", f"cannot be read ({error.strerror})"
    kind = "folder" if stat.S_ISDIR(status.st_mode) else "file"
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return kind, "its name is not valid UTF-8: rename it"
    if kind == "folder":
        return kind, _fault_of_link(entry, root) if entry.is_symlink() else None
    fault = fault_of_name(os.path.splitext(entry.name)[1])
    if fault is None and not stat.S_ISREG(status.st_mode):
        fault = "not a regular file"  # opening a pipe would wait for a writer for ever
    if fault is None and status.st_size == 0:
        fault = "the file is empty (0 bytes)"
    return kind, fault


def _fault_of_link(entry: os.DirEntry[str], root: Path) -> str | None:
    """Links lead to folders kept elsewhere; one that leads back would count pictures twice, or walk in a circle."""
    target, top = Path(os.path.realpath(entry.path)), Path(os.path.realpath(root))
    if target.is_relative_to(top) or top.is_relative_to(target):
        return "a link back into the same data set: it would count pictures twice"
    return None
