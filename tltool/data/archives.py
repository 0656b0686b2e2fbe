"""Unpacks archives that come from strangers: nothing is written outside the target, and nothing without a bound."""

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from tltool.data.listing import is_litter
from tltool.data.members import CHUNK_BYTES, MAX_TOTAL_BYTES, Target, too_large
from tltool.data.published import remove_abandoned
from tltool.data.tars import unpack_tar
from tltool.data.zips import unpack_zip
from tltool.errors import DataError
from tltool.progress import Report, silent

CHECKING = "Checking the archive"
NAME_DIGITS = 32  # hex digits of the SHA-256 in the folder's name: 128 bits, so that no two archives meet
# A dot in front: neither is ever listed as part of a data set, nor can an archive bring one along.
WORKING_PREFIX = ".unpacking-"
RECEIPT = ".unpacked.json"
NESTED_SHOWN = 3  # names in a message

# Endings of names, and the kind of archive that each stands for.
ARCHIVE_ENDINGS: Mapping[str, str] = MappingProxyType(
    {
        ".zip": "zip",
        ".tar": "tar",
        ".tar.gz": "gz",
        ".tgz": "gz",
        ".tar.bz2": "bz2",
        ".tbz2": "bz2",
        ".tar.xz": "xz",
        ".txz": "xz",
    }
)
# How files begin: where, with which bytes, and what they are. The first that fits counts.
SIGNATURES = (
    *((0, b"PK\3\4", "zip"), (0, b"PK\5\6", "zip"), (257, b"ustar", "tar")),
    *((0, b"\x1f\x8b", "gz"), (0, b"BZh", "bz2"), (0, b"\xfd7zXZ\0", "xz")),
    *((0, b"Rar!", "rar"), (0, b"7z\xbc\xaf\x27\x1c", "7z"), (0, b"\x28\xb5\x2f\xfd", "zst")),
)
SIGNATURE_BYTES = 512
WEB_PAGES = (b"<!doctype html", b"<html")  # what a download is where a site asks for a login or a click first


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive which `unpack` takes."""
    return path.name.lower().endswith(tuple(ARCHIVE_ENDINGS))


def unpack(archive: Path, into: Path, report: Report = silent) -> Path:
    """Unpacks a .zip, a .tar, or a .tar packed by gzip, bzip2 or xz; later calls with the same bytes reuse the folder.

    Archives inside it are left packed.

    Args:
        archive: The archive; it is only read.
        into: The folder that holds the unpacked ones, made if it is missing.
        report: Told how many bytes are done.

    Returns:
        `into / <first 32 hex digits of the archive's SHA-256>`. It appears complete or not at all, and is unpacked
        again if files of it are gone. Files of the system (dot files, `__MACOSX`, `Thumbs.db`) are left out.

    Raises:
        DataError: if it is not a whole archive of the kind that its name says, holds nothing or nothing but archives,
            if a member is encrypted, a link or has a name that leads elsewhere, or if it unpacks to more than the
            bounds of `tltool.data.members`; the message names the member and the rule.
    """
    archive, into = Path(archive), Path(into)
    with _opened(archive) as file:
        kind = _kind(archive, file)
        before = os.fstat(file.fileno())
        if before.st_size > MAX_TOTAL_BYTES:  # known before gigabytes are read: pictures do not shrink when packed
            raise too_large(archive)
        try:
            digest = _digest(file, before.st_size, report)
            target = into / digest
            if _is_complete(target):
                return target
            into.mkdir(parents=True, exist_ok=True)
            remove_abandoned(into)
            # A sibling, so that the rename below stays on one file system and is atomic. Its name is the longer of the
            # two: a path that fits here fits there.
            working = Path(tempfile.mkdtemp(prefix=f"{WORKING_PREFIX}{digest}-", dir=into))
        except OSError as error:
            raise _failed(archive, into, error) from None
        try:
            _fill(working, archive, file, kind, before.st_size, report)
            if _changed(before, os.fstat(file.fileno())):
                raise DataError(f"{archive}: changed while it was read. Wait until it is whole, and try again.")
            _publish(working, target)
        except OSError as error:
            raise _failed(archive, into, error) from None
        finally:
            shutil.rmtree(working, ignore_errors=True)
    return target


def _opened(archive: Path) -> BinaryIO:
    try:
        mode = archive.stat().st_mode
        if stat.S_ISREG(mode):  # opening a pipe would wait for a writer for ever
            return archive.open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{archive}: cannot be read ({reason}). Check the path and its permissions.") from None
    what = "a folder" if stat.S_ISDIR(mode) else "a special file"
    raise DataError(f"{archive}: {what}, not an archive, though its name ends like that of one. Rename it.")


def _kind(archive: Path, file: BinaryIO) -> str:
    """What the archive's name says that it is.

    Raises:
        DataError: if its content says otherwise.
    """
    head = file.read(SIGNATURE_BYTES)
    file.seek(0)
    name = archive.name.lower()
    kind = next((ARCHIVE_ENDINGS[ending] for ending in ARCHIVE_ENDINGS if name.endswith(ending)), None)
    if kind is None:
        raise DataError(f"{archive}: not an archive that can be unpacked. Give one of {', '.join(ARCHIVE_ENDINGS)}.")
    if not head:
        raise DataError(f"{archive}: the file is empty (0 bytes). Download or pack it again.")
    if head.lstrip().lower().startswith(WEB_PAGES):
        raise DataError(f"{archive}: a web page, not an archive. Open its address in a browser and download there.")
    found = next((found for at, start, found in SIGNATURES if head.startswith(start, at)), None)
    # A .zip may begin with a program that unpacks it, and the oldest .tar have no signature.
    if found == kind or (found is None and kind in ("zip", "tar")):
        return kind
    if found is None:
        raise DataError(f"{archive}: its content is not that of an archive. Download or pack it again.")
    fitting = [ending for ending, of_kind in ARCHIVE_ENDINGS.items() if of_kind == found]
    advice = f"Rename it to end in {fitting[0]}." if fitting else "Unpack it yourself and give the folder."
    raise DataError(f"{archive}: by its content a {fitting[0] if fitting else '.' + found}. {advice}")


def _digest(file: BinaryIO, size: int, report: Report) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
        report(CHECKING, file.tell(), size)
    file.seek(0)
    return digest.hexdigest()[:NAME_DIGITS]


def _fill(working: Path, archive: Path, file: BinaryIO, kind: str, size: int, report: Report) -> None:
    """Unpacks into an empty folder and leaves a receipt in it."""
    target = Target(archive, working, report)
    if kind == "zip":
        unpack_zip(file, size, target)
    else:
        unpack_tar(file, size, "" if kind == "tar" else kind, target)
    if not target.files:
        raise DataError(f"{archive}: no files in this archive. Pack the folder again.")
    if len(target.nested) == target.files:
        names = ", ".join(target.nested[:NESTED_SHOWN])
        what = "another archive" if target.files == 1 else f"{target.files} other archives"
        raise DataError(
            f"{archive}: holds nothing but {what} ({names}), and archives in archives are not unpacked. "
            "Unpack it yourself and give what was inside."
        )
    (working / RECEIPT).write_text(json.dumps({"files": target.files, "bytes": target.bytes}), "utf-8")


def _is_complete(folder: Path) -> bool:
    """Whether the folder holds no less than was unpacked into it: cleaners of caches and power cuts take files away."""
    try:
        receipt = json.loads((folder / RECEIPT).read_bytes())
        files, total = receipt["files"], receipt["bytes"]
        pending = [folder]
        while pending:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if is_litter(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                    else:
                        files, total = files - 1, total - entry.stat(follow_symlinks=False).st_size
    except (OSError, ValueError, TypeError, KeyError):
        return False
    return files <= 0 and total <= 0


def _publish(working: Path, target: Path) -> None:
    try:
        os.rename(working, target)
    except OSError:
        # Another process may have been faster; what it published has the same content.
        if _is_complete(target):
            return
        aside = Path(tempfile.mkdtemp(prefix=WORKING_PREFIX, dir=target.parent))
        try:
            with suppress(FileNotFoundError):
                os.rename(target, aside / "damaged")
            os.rename(working, target)
        except OSError:
            if not _is_complete(target):
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _changed(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)


def _failed(archive: Path, into: Path, error: OSError) -> DataError:
    what = f"{archive}: cannot be unpacked into {into} ({error.strerror or error})."
    return DataError(f"{what} Is the disk full?" if error.errno in (errno.ENOSPC, errno.EDQUOT) else what)
