"""Unpacks a .zip member by member."""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

from tltool.data.members import CHUNK_BYTES, MAX_MEMBERS, Target
from tltool.errors import DataError

MAX_DIRECTORY_BYTES = 64 * 2**20  # bytes of the table of contents; 200,000 members with long names have 40 MiB
ENTRY = b"PK\1\2"  # starts each entry of the table of contents; APPNOTE.TXT 4.3.12
# Those that bound what one read gives: bzip2 and LZMA let 4 KB become 80 MB, and no system's own packer uses them.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

ENCRYPTED = 0x1 | 0x40  # general purpose flag, bits 0 and 6; APPNOTE.TXT 4.4.4
UTF8_NAME = 0x800  # bit 11
UNICODE_PATH = 0x7075  # extra field: the name in UTF-8 beside one in a code page; APPNOTE.TXT 4.6.9


def unpack_zip(file: BinaryIO, size: int, target: Target) -> None:
    """Unpacks a .zip.

    Args:
        file: The archive, at its start.
        size: Of the archive, bytes.
        target: Where its members go.

    Raises:
        DataError: if it is not a whole .zip, if a member is encrypted, a link or packed in a rare way, or if `target`
            refuses one; the message names the member and the rule.
    """
    try:
        with zipfile.ZipFile(_Guarded(file, target)) as opened:
            _unpack(opened, size, target)
    except (DataError, OSError):
        raise
    except zipfile.BadZipFile as error:
        raise DataError(f"{target.archive}: not a whole .zip ({error}). Download or pack it again.") from None
    except Exception as error:
        # zipfile answers damage with struct.error, UnicodeDecodeError, NotImplementedError and others.
        reason = error or type(error).__name__
        raise DataError(f"{target.archive}: damaged .zip ({reason}). Download or pack it again.") from None


class _Guarded:
    """The archive as zipfile sees it: a table of contents that would fill the memory is refused before it is parsed.

    zipfile reads the table at once and makes an object of each entry, however many its end record owns up to.
    """

    def __init__(self, file: BinaryIO, target: Target):
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable
        self._file = file
        self._target = target

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY_BYTES:
            raise DataError(f"{self._target.archive}: not a whole .zip (absurd size of its table of contents).")
        data = self._file.read(size)
        if size > CHUNK_BYTES and data.count(ENTRY) > MAX_MEMBERS:
            raise DataError(f"{self._target.archive}: more than {MAX_MEMBERS:,} members.")
        return data


def _unpack(opened: zipfile.ZipFile, size: int, target: Target) -> None:
    # All members are checked first: a bad one late in the archive is found before gigabytes are written.
    plan = [(info, path) for info in opened.infolist() if (path := _admitted(info, target)) is not None]
    if any(info.header_offset < 0 for info, _ in plan):
        raise DataError(f"{target.archive}: not a whole .zip (its beginning is missing). Download or pack it again.")
    total = sum(info.file_size for info, _ in plan)
    if sum(info.compress_size for info, _ in plan) > size:
        raise DataError(f"{target.archive}: its members overlap or lie about their sizes. Pack the folder again.")
    target.check_whole(total, size)
    target.make_room(total)
    for info, path in plan:
        name = _name(info)
        if name.endswith("/"):
            target.add_folder(name, path)
            continue
        written = target.add_file(name, path, _content(opened, info, target))
        if written != info.file_size:
            raise target.fault(name, f"is cut short ({written:,} of {info.file_size:,} bytes). Pack it again.")
        target.tell(target.bytes, total)


def _admitted(info: zipfile.ZipInfo, target: Target) -> PurePosixPath | None:
    """The member's relative path, None if it is left out.

    Raises:
        DataError: naming the member and the rule that it breaks.
    """
    name = _name(info)
    path = target.admit(name)
    if path is None:
        return None
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a symbolic link" if kind == stat.S_IFLNK else "a special file"
        raise target.fault(name, f"is {what}. Pack the files themselves.")
    if info.flag_bits & ENCRYPTED:
        raise target.fault(name, "is encrypted. Pack the folder again without a password.")
    if info.compress_type not in METHODS:
        method = zipfile.compressor_names.get(info.compress_type, "unknown")
        raise target.fault(
            name,
            f"is packed by a rare method ({info.compress_type}, {method}). Pack the folder again, "
            "by the method Deflate where there is a choice.",
        )
    target.check_member(name, info.file_size, info.compress_size)
    return path


def _name(info: zipfile.ZipInfo) -> str:
    """The name as it was packed: `info.filename` is cut at a zero byte, and on Windows its backslashes are gone."""
    name = info.orig_filename
    if info.flag_bits & UTF8_NAME:
        return name
    packed = name.encode("cp437")
    # macOS writes UTF-8 without saying so; read as code page 437, every name beyond ASCII would be garbled.
    for candidate in (_unicode_path(info.extra, packed), packed):
        try:
            if candidate:
                return candidate.decode("utf-8")
        except UnicodeDecodeError:
            continue
    return name


def _unicode_path(extra: bytes, packed: bytes) -> bytes:
    """The name in UTF-8 from an entry's extra fields; empty if there is none, or it is that of another name."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == UNICODE_PATH and field[:1] == b"\1" and field[1:5] == struct.pack("<I", zlib.crc32(packed)):
            return field[5:]
    return b""


def _content(opened: zipfile.ZipFile, info: zipfile.ZipInfo, target: Target) -> Iterator[bytes]:
    try:
        with opened.open(info) as source:
            while chunk := source.read(CHUNK_BYTES):
                yield chunk
    except OSError:
        raise
    except Exception as error:
        # As above, and zlib.error, EOFError, BadZipFile.
        reason = error or type(error).__name__
        raise target.fault(_name(info), f"is damaged ({reason}). Download or pack it again.") from None
