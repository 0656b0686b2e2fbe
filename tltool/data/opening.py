"""Opens picture files that come from strangers: nothing is decoded before the header has been judged."""

import io
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from PIL import Image, UnidentifiedImageError

from tltool.data.bombs import check_content, check_header, check_size
from tltool.data.formats import FORMATS
from tltool.data.quiet import quiet_pillow
from tltool.data.truncation import ends_early
from tltool.errors import PictureError

SIGNATURE_BYTES = 16  # what Pillow shows its decoders before they may try
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
USEFUL_CHUNKS = (b"tRNS", b"eXIf")  # which colour is transparent, and how the camera was held
TEXT_BOUND = "MAX_TEXT"  # begins Pillow's names of its bounds on compressed texts and profiles, which its errors name
# Pixels. Above it pictures are decoded one at a time: as many as there are threads would fill the memory, and there are
# few of them.
LARGE_PIXELS = 2**25

_large = threading.RLock()


@contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """Opens a picture whose pixels are not decoded yet; its size, format and frame are known, and checked.

    What goes wrong inside the block, such as in `image.load()`, becomes a `PictureError` too.

    Raises:
        PictureError: if it is not a picture that can be read, is cut short, damaged, or would take too much memory or
            time; the message is a reason without the file's name.
    """
    if not data:
        raise PictureError("the file is empty (0 bytes)", "empty")
    with quiet_pillow():
        try:
            check_header(data)
            with _open(data) as image:
                width, height = image.size
                check_size(width, height)
                check_content(image, data)
                with _large if width * height > LARGE_PIXELS else nullcontext():
                    yield image
        except PictureError:
            raise
        except Exception as error:
            # Pillow's decoders answer damage with whatever their parser stumbles over: OSError, SyntaxError,
            # struct.error, OverflowError, zlib.error and more. One that is not listed would end a whole run for one
            # bad file.
            raise _fault(data, error) from None


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=list(FORMATS))
    except Exception as error:
        # Pillow gives a PNG up for a broken colour profile or comment, whatever its pixels are.
        bare = _without_metadata(data)
        if len(bare) == len(data) or isinstance(error, Image.DecompressionBombError) or TEXT_BOUND in str(error):
            raise
    return Image.open(io.BytesIO(bare), formats=list(FORMATS))


def _without_metadata(data: bytes) -> bytes:
    """A PNG with no more chunks than its pixels and their orientation need; other files as they are."""
    if not data.startswith(PNG_SIGNATURE):
        return data
    kept, at = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        kind, checksum = data[at + 4 : at + 8], int.from_bytes(data[end - 4 : end])
        # The case of the first letter tells whether a decoder must know the chunk.
        if kind[:1].isupper() or (kind in USEFUL_CHUNKS and zlib.crc32(data[at + 4 : end - 4]) == checksum):
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _fault(data: bytes, error: Exception) -> PictureError:
    """What the user is told of an error in Pillow."""
    if isinstance(error, Image.DecompressionBombError):
        # Pillow's own bound, which lies above the one here unless somebody lowered it.
        try:
            check_size(*_size_of(data))
        except PictureError as refused:
            return refused
        except Exception:
            pass
        return PictureError("more pixels than Pillow reads", "too-large")
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, MemoryError):
        return PictureError("it takes more memory than there is: save it smaller", "too-large")
    if TEXT_BOUND in reason:
        return PictureError("a colour profile or text in it unpacks to more than a megabyte", "too-large")
    if isinstance(error, UnidentifiedImageError):
        if not _signed(data):
            return PictureError("not a picture that can be read", "not-a-picture")
        reason = "its header cannot be read"
    if "truncat" in reason.lower() or ends_early(data):
        return PictureError("damaged picture: the file is cut short", "truncated")
    return PictureError(f"damaged picture ({reason})", "damaged")


def _signed(data: bytes) -> list[str]:
    """The formats whose signature the file begins with."""
    head = data[:SIGNATURE_BYTES].ljust(SIGNATURE_BYTES, b"\0")  # some decoders index it without a look at its length
    return [name for name in FORMATS if name in Image.OPEN and (accept := Image.OPEN[name][1]) and accept(head) is True]


def _size_of(data: bytes) -> tuple[int, int]:
    """Width and height as the header has them, of a picture that Pillow refuses to open for them."""
    opener, _ = Image.OPEN[_signed(data)[0]]
    with opener(io.BytesIO(data), "") as image:
        return image.size
