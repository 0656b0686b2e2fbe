"""Unpacks a .tar, packed or not, member by member and front to back."""

import tarfile
from collections.abc import Iterator, Mapping
from tarfile import BLOCKSIZE, TarInfo
from types import MappingProxyType
from typing import BinaryIO, NamedTuple

from tltool.data.inflating import Inflated
from tltool.data.members import CHUNK_BYTES, Target
from tltool.errors import DataError

MAX_EXTENDED_BYTES = 2**20  # bytes of an extended header: names, and what macOS keeps beside a file
MAX_EXTENDED = 8  # extended headers in a row; a member has two or three at most
LENGTH_DIGITS = 8  # of a record in an extended header; the bound above has seven

FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
FOLDER = tarfile.DIRTYPE
SPARSE = tarfile.GNUTYPE_SPARSE
PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
LONG_NAME = tarfile.GNUTYPE_LONGNAME
UNUSED = (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK)  # what git says of the whole archive; the target of a link
SPECIAL: Mapping[bytes, str] = MappingProxyType(
    {
        tarfile.SYMTYPE: "a symbolic link",
        tarfile.LNKTYPE: "a hard link",
        tarfile.CHRTYPE: "a device",
        tarfile.BLKTYPE: "a device",
        tarfile.FIFOTYPE: "a pipe",
        tarfile.GNUTYPE_SPARSE: "a sparse file",
    }
)
# Nothing follows the headers of these, whatever size they give.
WITHOUT_CONTENT = (FOLDER, *(kind for kind in SPECIAL if kind != SPARSE))


class _Member(NamedTuple):
    name: str
    type: bytes  # as in the header
    size: int  # bytes that follow


def unpack_tar(file: BinaryIO, size: int, packed_by: str, target: Target) -> None:
    """Unpacks a .tar.

    Only single headers are parsed by `tarfile`. Its `TarFile` ends quietly at a damaged header, as if there were no
    more members, and in the older Python releases follows hostile extended headers into endless loops and gigabytes of
    memory. Its `data_filter` would add nothing: links are refused here, and names are checked by `target`.

    Args:
        file: The archive, at its start.
        size: Of the archive, bytes.
        packed_by: "gz", "bz2", "xz", or "" if it is not packed.
        target: Where its members go.

    Raises:
        DataError: if it is damaged or cut short, if a member is a link, a device or a sparse file, or if `target`
            refuses one; the message names the member and the rule.
    """
    if not packed_by:
        target.make_room(size)
    stream = _Stream(file, packed_by, target)
    for member in _members(stream, target):
        path = target.admit(member.name)
        if member.type not in (*FILES, FOLDER) and (path is not None or member.type == SPARSE):
            what = SPECIAL.get(member.type, "a special file")
            raise target.fault(member.name, f"is {what}. Pack the files themselves.")
        content = stream.content(member.size, member.name)
        if path is not None and member.type in FILES and not member.name.endswith("/"):
            target.add_file(member.name, path, content)
        elif path is not None:
            target.add_folder(member.name, path)
        for _ in content:  # of what is left out; nothing is left of a file that was written
            pass
        target.tell(file.tell(), size)
    stream.check_end()
    target.tell(size, size)


class _Stream:
    """The unpacked archive. It can only be read on: nothing in it makes the reading go back or stand still."""

    def __init__(self, file: BinaryIO, packed_by: str, target: Target):
        self._file = file
        self._source = Inflated(target.archive, file, packed_by) if packed_by else file
        self._target = target
        self._position = 0

    def header(self) -> TarInfo | None:
        """The next header; None at the end mark.

        Raises:
            DataError: if it is damaged, or there is none.
        """
        start, block = self._position, self._read(BLOCKSIZE)
        if len(block) < BLOCKSIZE:
            raise self._cut_short()
        if not block.strip(b"\0"):
            return None
        try:
            header = TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            what = f"not a whole .tar (at byte {start:,}: {error})" if start else f"not a .tar ({error})"
            raise DataError(f"{self._target.archive}: {what}. Download or pack it again.") from None
        if header.size < 0:
            raise DataError(f"{self._target.archive}: not a whole .tar (a size below zero). Pack it again.")
        return header

    def content(self, size: int, name: str = "") -> Iterator[bytes]:
        """What follows a header, and on to the next one; read by the block, whatever size is claimed.

        Raises:
            DataError: if there is less; it names the member where there is one.
        """
        padding = -size % BLOCKSIZE
        while size > 0:
            data = self._read(min(size, CHUNK_BYTES))
            if not data:
                raise self._cut_short(name)
            size -= len(data)
            yield data
        if len(self._read(padding)) < padding:
            raise self._cut_short(name)

    def check_end(self) -> None:
        """Only zeros may follow the end mark: what else does would be left out without a word."""
        while data := self._read(CHUNK_BYTES):
            if data.strip(b"\0"):
                raise DataError(
                    f"{self._target.archive}: goes on after its end mark, as joined archives do. Unpack it yourself "
                    "and give the folder."
                )

    def _read(self, size: int) -> bytes:
        data = self._source.read(size)
        self._position += len(data)
        self._target.check_whole(self._position, self._file.tell())
        return data

    def _cut_short(self, name: str = "") -> DataError:
        if name:
            return self._target.fault(name, "is cut short. Download or pack the archive again.")
        return DataError(f"{self._target.archive}: cut short. Download or pack it again.")


def _members(stream: _Stream, target: Target) -> Iterator[_Member]:
    """The members; the content of each is read before the next is asked for."""
    name, size, is_sparse, extended = None, None, False, 0
    while header := stream.header():
        if header.type in (*PAX, LONG_NAME, *UNUSED):
            extended += 1
            if extended > MAX_EXTENDED or header.size > MAX_EXTENDED_BYTES:
                raise DataError(f"{target.archive}: not a .tar that can be read (absurd extended headers).")
            content = b"".join(stream.content(header.size))
            if header.type == LONG_NAME:
                name = content.rstrip(b"\0")
            elif header.type in PAX:
                try:
                    records = _records(content)
                    size = int(records[b"size"]) if records.get(b"size") else size
                except ValueError:
                    raise DataError(f"{target.archive}: damaged .tar (an extended header). Pack it again.") from None
                name = records.get(b"path") or name
                is_sparse = is_sparse or any(key.startswith(b"GNU.sparse.") for key in records)
            continue
        yield _Member(
            _text(name or header.name.encode("utf-8", "surrogateescape")),
            SPARSE if is_sparse else header.type,
            0 if header.type in WITHOUT_CONTENT else max(0, header.size if size is None else size),
        )
        name, size, is_sparse, extended = None, None, False, 0


def _records(content: bytes) -> dict[bytes, bytes]:
    """Keys and values of an extended header.

    Raises:
        ValueError: if it is not a row of "length key=value" lines.
    """
    records = {}
    start = 0
    while start < len(content) and content[start]:
        space = content.index(b" ", start, start + LENGTH_DIGITS)
        end = start + int(content[start:space])
        key, equals, value = content[space + 1 : end].partition(b"=")
        if not equals or not value.endswith(b"\n") or end > len(content):
            raise ValueError
        records[key] = value[:-1]
        start = end
    return records


def _text(name: bytes) -> str:
    """A name in characters. One from an old system in another encoding is garbled, but stays a name of its own."""
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("latin-1")
