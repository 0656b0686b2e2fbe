"""Unpacks archives that come from strangers: nothing is written outside the target, and nothing without a bound."""

import hashlib
import os
import re
import shutil
import stat
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from tltool.data.listing import is_litter
from tltool.errors import DataError

MAX_MEMBERS = 200_000  # members; ImageNet-100 has 130,000, and a folder tree of more makes file systems crawl
MAX_TOTAL_BYTES = 20 * 2**30  # bytes on disk once unpacked; more does not fit beside a user's other files
RATIO_ABOVE_BYTES = 16 * 2**20  # bytes of one member; below it even a bomb is small
MAX_RATIO = 200  # unpacked / packed; pictures reach 1.1, blank BMP pages about 100, bombs 1000
CHUNK_BYTES = 2**20  # bytes read at once; a bound is overrun by one chunk at most
NAME_DIGITS = 32  # hex digits of the SHA-256 in the folder's name: 128 bits, so that no two archives meet

ENCRYPTED = 0x1  # general purpose flag, bit 0; APPNOTE.TXT 4.4.4
UTF8_NAME = 0x800  # bit 11


def unpack_zip(archive: Path, into: Path) -> Path:
    """Unpacks a .zip once; later calls with the same bytes return the same folder.

    Args:
        archive: The .zip; it is only read.
        into: The folder that holds the unpacked ones, made if it is missing.

    Returns:
        `into / <first 32 hex digits of the archive's SHA-256>`. It appears complete or not at all. Files of the system
        (dot files, `__MACOSX`, `Thumbs.db`) are left out.

    Raises:
        DataError: if it is not a whole .zip, if a member is encrypted, a link or has a name that leads elsewhere, or if
            it unpacks to more than the bounds above; the message names the member and the rule.
    """
    archive, into = Path(archive), Path(into)
    try:
        target = into / _digest(archive)
        if target.is_dir():
            return target
        into.mkdir(parents=True, exist_ok=True)
        # A sibling, so that the rename below stays on one file system and is atomic.
        working = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=into))
    except OSError as error:
        raise DataError(f"{archive}: cannot be unpacked into {into} ({error.strerror or error}).") from None
    try:
        _unpack(archive, working)
        _publish(working, target)
    except DataError:
        raise
    except OSError as error:
        raise DataError(
            f"{archive}: cannot be unpacked into {into} ({error.strerror or error}). Is the disk full?"
        ) from None
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return target


def _digest(archive: Path) -> str:
    with open(archive, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:NAME_DIGITS]


def _publish(working: Path, target: Path) -> None:
    try:
        os.rename(working, target)
    except OSError:
        # Another process may have been faster; what it published has the same content.
        if not target.is_dir():
            raise


def _unpack(archive: Path, working: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            if len(members) > MAX_MEMBERS:
                raise DataError(f"{archive}: {len(members):,} members; at most {MAX_MEMBERS:,} are unpacked.")
            # All names first: a bad one late in the archive is found before gigabytes are written.
            plan = [(info, _checked_path(archive, info)) for info in members]
            written = 0
            for info, path in plan:
                if not any(is_litter(name) for name in path.parts):
                    written += _write(archive, opened, info, working / path, MAX_TOTAL_BYTES - written)
    except (DataError, OSError):
        raise
    except zipfile.BadZipFile as error:
        raise DataError(f"{archive}: not a whole .zip ({error}). Download or pack it again.") from None
    except Exception as error:
        # zipfile answers damage with struct.error, zlib.error, EOFError, NotImplementedError and others.
        raise DataError(f"{archive}: damaged .zip ({error or type(error).__name__}). Pack it again.") from None


def _checked_path(archive: Path, info: zipfile.ZipInfo) -> PurePosixPath:
    """The member's relative path.

    Raises:
        DataError: naming the member and the rule that it breaks.
    """
    name = _name(info)
    path = PurePosixPath(name)
    kind = stat.S_IFMT(info.external_attr >> 16)
    rules = {
        "an absolute path": path.is_absolute(),
        "a drive letter": re.match(r"[A-Za-z]:", name),
        "a backslash": "\\" in name,
        "a zero byte": "\0" in name,
        "'..'": ".." in path.parts,
    }
    for rule, broken in rules.items():
        if broken:
            raise DataError(
                f"{archive}: member {name!r} has {rule} in its name. Pack the folder again with plain names."
            )
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a symbolic link" if kind == stat.S_IFLNK else "a special file"
        raise DataError(f"{archive}: member {name!r} is {what}. Pack the files themselves.")
    if info.flag_bits & ENCRYPTED:
        raise DataError(f"{archive}: member {name!r} is encrypted. Pack the folder again without a password.")
    return path


def _name(info: zipfile.ZipInfo) -> str:
    """The name as it was packed: `info.filename` is cut at a zero byte, and on Windows its backslashes are gone."""
    name = info.orig_filename
    if not info.flag_bits & UTF8_NAME:
        # macOS writes UTF-8 without saying so; read as code page 437, every name beyond ASCII would be garbled.
        try:
            return name.encode("cp437").decode("utf-8")
        except UnicodeError:
            return name
    return name


def _write(archive: Path, opened: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, allowance: int) -> int:
    """Writes one member and returns the bytes written, which are counted: a header may lie about its size."""
    name = _name(info)
    written = 0
    try:
        if name.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
            return 0
        target.parent.mkdir(parents=True, exist_ok=True)
        # "x": a second member of the same name must not replace the first.
        with opened.open(info) as source, open(target, "xb") as file:
            while chunk := source.read(CHUNK_BYTES):
                written += len(chunk)
                if written > allowance:
                    raise DataError(
                        f"{archive}: member {name!r}: more than {MAX_TOTAL_BYTES:,} bytes in all once unpacked."
                    )
                if written > RATIO_ABOVE_BYTES and written > MAX_RATIO * info.compress_size:
                    raise DataError(
                        f"{archive}: member {name!r} unpacks to more than {MAX_RATIO} times its packed size; "
                        "pictures do not. Remove it, or unpack the archive yourself and give the folder."
                    )
                file.write(chunk)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise DataError(f"{archive}: member {name!r} is there twice. Pack the folder again.") from None
    except zipfile.BadZipFile as error:
        raise DataError(f"{archive}: member {name!r} is damaged ({error}). Download or pack it again.") from None
    if written != info.file_size:
        raise DataError(
            f"{archive}: member {name!r} is cut short ({written:,} of {info.file_size:,} bytes). Pack it again."
        )
    return written
