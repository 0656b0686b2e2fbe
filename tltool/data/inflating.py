"""The bytes inside a .gz, .bz2 or .xz, front to back, in bounded memory."""

import zlib
from pathlib import Path
from typing import BinaryIO, Protocol

from tltool.errors import DataError

READ_BYTES = 2**16  # packed bytes read at once
XZ_MEMORY = 128 * 2**20  # bytes; `xz -9` needs 65 MiB, and a hostile header may ask for 4 GiB


class Decompressor(Protocol):
    """What `bz2.BZ2Decompressor` and `lzma.LZMADecompressor` can do."""

    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class Inflated:
    """A packed file to read from as if it were not packed.

    Args:
        archive: Named in messages.
        file: The packed file, at its start.
        kind: "gz", "bz2" or "xz".
    """

    def __init__(self, archive: Path, file: BinaryIO, kind: str):
        self._archive, self._file, self._kind = archive, file, kind
        self._inner = self._started()

    def read(self, size: int) -> bytes:
        """The next bytes; fewer than `size` only at the end.

        Raises:
            DataError: if the packed bytes are damaged or end too early.
            OSError: if the file cannot be read.
        """
        parts = []
        while size > 0 and (part := self._next(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _next(self, size: int) -> bytes:
        while True:
            packed = b""
            if self._inner.eof:
                # Several streams one after the other are one file, and zeros behind the last are padding.
                packed = (self._inner.unused_data or self._file.read(READ_BYTES)).lstrip(b"\0")
                while not packed:
                    read = self._file.read(READ_BYTES)
                    if not read:
                        return b""
                    packed = read.lstrip(b"\0")
                self._inner = self._started()
            elif self._inner.needs_input:
                packed = self._file.read(READ_BYTES)
                if not packed:
                    raise DataError(f"{self._archive}: cut short. Download or pack it again.")
            try:
                part = self._inner.decompress(packed, size)
            except Exception as error:  # zlib.error, OSError of bz2, LZMAError; none of them is about the disk
                raise DataError(f"{self._archive}: damaged ({error}). Download or pack it again.") from None
            if part:
                return part

    def _started(self) -> Decompressor:
        # Imported here: Python can be built without either, and then still reads the other kinds.
        try:
            if self._kind == "bz2":
                import bz2

                return bz2.BZ2Decompressor()
            if self._kind == "xz":
                import lzma

                return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
        except ImportError:
            raise DataError(
                f"{self._archive}: this Python was built without {self._kind}. Pack the folder as .zip or .tar.gz."
            ) from None
        return _Gunzip()


class _Gunzip:
    """zlib with the manners of the other two."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)  # 16: a gzip header and its checksum
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self.needs_input = len(out) < max_length and not self._inner.unconsumed_tail
        return out
