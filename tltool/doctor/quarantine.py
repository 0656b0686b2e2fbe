"""Copies what is sound of a data set to a new place; the data set itself is only read."""

import csv
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tltool.data.dataset import Dataset, Row, build
from tltool.data.formats import PICTURE_SUFFIXES
from tltool.data.layout import PART_NAMES
from tltool.data.listing import is_litter, shortened, would_join
from tltool.data.manifests import SEPARATOR
from tltool.doctor.findings import Finding, dropped
from tltool.errors import DataError
from tltool.progress import Report, silent

TASK = "Copying pictures"
MANIFEST = "labels.csv"  # of a set that class folders cannot express
PICTURES = "pictures"  # the folder beside it
LEFT_OUT = "left-out.txt"  # columns separated by tabs; another .csv beside the pictures would be taken for a manifest
BLOCK = 4096  # bytes by which files grow on most disks
LONGEST_NAME = 255  # bytes of a file or folder name; the limit of all common file systems
LONGEST_STEM = 50  # characters that are kept of a name that gets a number: 200 bytes at most
# What this system does not take in a folder's name.
UNSOUND = re.compile(r'[<>:"/\\|?*\x00-\x1f]|[. ]$' if os.name == "nt" else r"[/\0]")


class _Copy(NamedTuple):
    row: int  # position in the data set
    target: PurePosixPath  # relative to the new folder


def copy_clean(data: Dataset, findings: Iterable[Finding], folder: Path, report: Report = silent) -> int:
    """Copies the pictures that no finding drops into a folder that `load_dataset` takes.

    The copy has class folders, inside of the parts that the source came with, if any; or, for groups, several labels or
    class names that are no folder names, a `labels.csv` beside a folder of pictures. `left-out.txt` says which files
    are missing, and why. A class of which nothing is left is missing as well.

    Args:
        data: The data set, with its source's own groups and not those that a split has made of copies.
        findings: What the doctor said of it.
        folder: New or empty, and outside of the data set. It appears complete or not at all: a copy that was cut off
            lies beside it as `NAME.incomplete-...`.
        report: Told how many pictures are copied.

    Returns:
        How many pictures were copied.

    Raises:
        DataError: if the folder cannot be used, the disk has no room, a picture cannot be read, or what is left cannot
            be trained on.
    """
    findings = tuple(findings)
    folder = check_target(data, Path(folder))
    out = dropped(findings)
    kept = [i for i, file in enumerate(data.files) if file not in out]
    _check_rest(data, kept, folder)
    as_manifest = _needs_manifest(data, kept)
    if as_manifest:
        _check_labels(data, kept, folder)
    copies = _plan(data, kept, as_manifest)
    _check_room(data, kept, folder)
    with _appearing(folder) as working:
        for made in {(working / copy.target).parent for copy in copies}:
            made.mkdir(parents=True, exist_ok=True)
        for done, copy in enumerate(copies, 1):
            # The content alone: a read-only original would make a copy that its owner cannot delete.
            shutil.copyfile(data.root / data.files[copy.row], working / copy.target)
            report(TASK, done, len(copies))
        if as_manifest:
            _write_manifest(working / MANIFEST, data, copies)
        _write_left_out(working / LEFT_OUT, data, findings)
    return len(copies)


def check_target(data: Dataset, folder: Path) -> Path:
    """Whether the data set may be copied there; to be asked before the work that decides what is copied.

    Returns:
        The folder without links in its path.

    Raises:
        DataError: if it is not new or empty, or lies in the data set.
    """
    try:
        resolved = folder.expanduser().resolve()
        if would_join(data, folder):
            raise DataError(f"{folder}: lies inside the data set. Give a folder outside of {data.root}.")
        if resolved.exists() and (not resolved.is_dir() or any(resolved.iterdir())):
            raise DataError(f"{folder}: exists and is not empty. Give a new folder; nothing is overwritten.")
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{folder}: cannot be used ({reason}). Give another folder.") from None
    return resolved


def _check_rest(data: Dataset, kept: Sequence[int], folder: Path) -> None:
    """Raises DataError if `load_dataset` would not take what is left."""
    rows = [_row(data, i) for i in kept]
    held_out = next((part for part in ("test", "valid") if part in data.given), None)
    if held_out and not any(row.part == held_out for row in rows):
        # A split of its own would hide that nothing of the given one was sound.
        raise DataError(
            f"{folder}: nothing is copied, for nothing would be left of the {held_out} part. Put all pictures into "
            "class folders without parts, and tltool makes a sound split of its own."
        )
    try:
        rest = build(str(folder), folder, rows, data.seed, multi_label=data.multi_label)
    except DataError as error:
        raise DataError(f"Nothing is copied: what the findings leave cannot be trained on. {error}") from None
    learned = {
        label
        for labels, part in zip(rest.labels, rest.given, strict=True)
        if part in (None, "train")
        for label in labels
    }
    unlearned = [name for label, name in enumerate(rest.class_names) if label not in learned]
    if unlearned:
        raise DataError(
            f"{folder}: nothing is copied: no training picture is left of {shortened(unlearned)}. Add some to the data "
            "set, or take these classes out of it."
        )


def _row(data: Dataset, index: int) -> Row:
    names = data.label_names(index)
    return Row(data.files[index], names if data.multi_label else names[0], data.given[index], data.groups[index])


def _needs_manifest(data: Dataset, kept: Sequence[int]) -> bool:
    """Whether class folders would lose something of these pictures."""
    classes = {name for i in kept for name in data.label_names(i)}
    return (
        data.multi_label
        or any(data.groups[i] for i in kept)
        or not all(_is_sound(name) for name in classes)
        or len({_folded(name) for name in classes}) < len(classes)
        or not all(_is_listed(PurePosixPath(data.files[i]).name) for i in kept)
    )


def _check_labels(data: Dataset, kept: Sequence[int], folder: Path) -> None:
    """Raises DataError if a class's name would read as two in a manifest."""
    split = sorted({name for i in kept for name in data.label_names(i) if SEPARATOR in name})
    if split:
        raise DataError(
            f"{folder}: nothing is copied: '{SEPARATOR}' separates labels in {MANIFEST}, and is in the name of "
            f"{shortened(split)}. Rename the class."
        )


def _is_sound(name: str) -> bool:
    """Whether a class name can be the name of its folder, and be read back as that."""
    return (
        0 < len(os.fsencode(name)) <= LONGEST_NAME
        and not UNSOUND.search(name)
        and not is_litter(name)
        and name.lower() not in PART_NAMES
    )


def _is_listed(name: str) -> bool:
    """Whether a file of this name in a class folder is taken for a picture."""
    return not is_litter(name) and PurePosixPath(name).suffix.lower() in PICTURE_SUFFIXES


def _plan(data: Dataset, kept: Sequence[int], as_manifest: bool) -> list[_Copy]:
    """Where each picture goes; no two names in a folder differ in case alone."""
    with_parts = any(data.given[i] not in (None, "train") for i in kept)
    taken: dict[PurePosixPath, dict[str, int]] = {}
    copies = []
    for i in kept:
        if as_manifest:
            place = PurePosixPath(PICTURES)
        else:
            place = PurePosixPath(*([data.given[i] or "train"] if with_parts else []), *data.label_names(i))
        name = _unique(PurePosixPath(data.files[i]).name, taken.setdefault(place, {}))
        copies.append(_Copy(i, place / name))
    return copies


def _unique(name: str, taken: dict[str, int]) -> str:
    """The name, with a number if it is taken already.

    Args:
        name: As it is in the data set.
        taken: Folded names in the folder so far, with the last number that each was given; is added to.
    """
    path, candidate = PurePosixPath(name), name
    while _folded(candidate) in taken:
        taken[_folded(name)] += 1
        candidate = f"{path.stem[:LONGEST_STEM]}_{taken[_folded(name)]}{path.suffix}"
    taken[_folded(candidate)] = 1
    return candidate


def _folded(name: str) -> str:
    """What some file systems take for the same name."""
    return unicodedata.normalize("NFC", name).casefold()


def _check_room(data: Dataset, kept: Sequence[int], folder: Path) -> None:
    try:
        needed = sum((data.root / data.files[i]).stat().st_size + BLOCK for i in kept)
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(existing).free
    except OSError as error:
        raise DataError(f"{folder}: cannot be copied to ({error.strerror}: {error.filename}).") from None
    if needed > free:
        raise DataError(
            f"{folder}: the copy takes {needed / 1e6:,.1f} MB and {free / 1e6:,.1f} MB are free there. Make room, "
            "or give a folder on another disk."
        )


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A working folder beside `folder`, which takes its place if the block succeeds, and else goes."""
    working = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        name = folder.with_name(f"{folder.name}.incomplete-{secrets.token_hex(4)}")
        name.mkdir()
        working = name
        yield working
        if folder.exists():
            folder.rmdir()  # empty, or it fails: then somebody else has been faster
        working.rename(folder)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise DataError(f"{folder}: cannot be copied to ({error.strerror or error}{where}).") from None
    finally:
        if working is not None:
            shutil.rmtree(working, ignore_errors=True)


def _write_manifest(path: Path, data: Dataset, copies: Sequence[_Copy]) -> None:
    with_parts = any(data.given[copy.row] for copy in copies)
    with_groups = any(data.groups[copy.row] for copy in copies)
    header = ["path", "label", *(["split"] if with_parts else []), *(["group"] if with_groups else [])]
    with path.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for i, target in copies:
            row = [target, SEPARATOR.join(data.label_names(i))]
            row += [data.given[i] or "train"] if with_parts else []
            row += [data.groups[i]] if with_groups else []
            writer.writerow(row)


def _write_left_out(path: Path, data: Dataset, findings: Sequence[Finding]) -> None:
    with path.open("x", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["path", "finding", "detail"])
        out = dropped(findings)
        for finding in findings:
            details = dict(zip(finding.files, finding.details, strict=True)) if finding.details else _kept(finding, out)
            names = set(finding.drop)
            writer.writerows([name, finding.kind, details.get(name, "")] for name in finding.files if name in names)


def _kept(finding: Finding, out: Set[str]) -> dict[str, str]:
    """What is kept in the place of each copy, in words."""
    kept = {
        name: next((other for other in group if other not in out), "") for group in finding.groups for name in group
    }
    return {name: f"copy of {other}" for name, other in kept.items() if other}
