"""Picture files of a few kilobytes that ask for far more than their size tells."""

import io
import struct
import zlib

from PIL import Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encoded(kind: str, size: tuple[int, int] = (16, 16), **options: object) -> bytes:
    """A plain picture."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (200, 60, 30)).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """A piece of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *chunks: bytes, pixels: bytes | None = None) -> bytes:
    """A black PNG with more chunks in front of its pixels; for a size that is a lie, give the packed pixels."""
    if pixels is None:
        pixels = zlib.compress(bytes((3 * width + 1) * height))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return PNG_SIGNATURE + header + b"".join(chunks) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def packed_zeros(size: int) -> bytes:
    """A zlib stream that unpacks to `size` bytes, made in little memory."""
    packer, parts = zlib.compressobj(), []
    for start in range(0, size, 2**20):
        parts.append(packer.compress(bytes(min(2**20, size - start))))
    return b"".join((*parts, packer.flush()))


def jpeg2000_sizes(width: int, height: int, tile: int, components: int = 3) -> bytes:
    """The beginning of a JPEG 2000 codestream."""
    body = struct.pack(">H8IH", 0, width, height, 0, 0, tile, tile, 0, 0, components) + b"\x07\x01\x01" * components
    return b"\xff\x4f\xff\x51" + struct.pack(">H", len(body) + 2) + body


def with_sizes(jpeg2000: bytes, sizes: bytes) -> bytes:
    """A JPEG 2000 whose codestream begins in another way; what the file says around it stays."""
    start = jpeg2000.index(b"\xff\x4f\xff\x51")
    (length,) = struct.unpack_from(">H", jpeg2000, start + 4)
    head = bytearray(jpeg2000[:start])
    if head:
        head[-8:-4] = bytes(4)  # the box reaches to the end of the file, however long it is now
    return bytes(head) + sizes + jpeg2000[start + 4 + length :]


def tiff(*tags: tuple[int, int, int], data: bytes = b"") -> bytes:
    """A little-endian TIFF from (tag, count, value), all values four bytes wide; `data` stands where it ends."""
    entries = b"".join(struct.pack("<HHII", tag, 4, count, value) for tag, count, value in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


def tiff_with_tiles(side: int) -> bytes:
    """A TIFF of 16 x 16 pixels in one tile that is larger; the pixels are missing."""
    form = ((256, 1, 16), (257, 1, 16), (258, 1, 8), (259, 1, 8), (262, 1, 1), (277, 1, 1))
    return tiff(*form, (322, 1, side), (323, 1, side), (324, 1, 8), (325, 1, 64))


def jpeg_with_scans(more: int) -> bytes:
    """A progressive JPEG with its last scan repeated."""
    data = encoded("JPEG", progressive=True)
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    tables = data.rindex(b"\xff\xc4", 0, last)
    return data[:end] + data[tables:end] * more + data[end:]


def by_length(value: object) -> str | None:
    """For `pytest.mark.parametrize`: a file in a test's name is its length, not all its bytes."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return f"{len(value)} parts" if isinstance(value, list) else None
