"""What one look at a picture tells, so that neither the doctor nor the next run needs another one."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from tltool.data.decoding import Framing, pixels_of, prepare
from tltool.data.opening import opened
from tltool.data.pixel_cache import pays
from tltool.data.polyglots import hidden_content
from tltool.errors import PictureError

FORMAT = 1  # of the stored records: raise it when decoding or measuring changes what they hold
THUMBNAIL = 32  # pixels a side
# Pixels that the shorter side keeps where brightness and contrast are measured: three for each of the thumbnail's, so
# that its averages are not those of single pixels, and fine texture still counts as contrast.
MEASURED = 3 * THUMBNAIL
REDUCTIONS = (8, 4, 2)  # those of the JPEG decoder
WALKED = ("GIF", "TIFF")  # their frames are only counted by reading through all of them, in minutes if need be
MOST_FRAMES = 2**31 - 1  # a PNG may claim one more, which the column could not hold


class Record(NamedTuple):
    """One picture; one that cannot be read has a kind and a reason, and nothing else.

    Attributes:
        width, height: As stored, in pixels: before a camera's turn.
        format: Pillow's name.
        frames: 1, or more of an animation or a file of several pictures; of a GIF or TIFF, 2 stands for any number.
        brightness: Mean grey level, 0 to 255.
        contrast: Standard deviation of the grey levels.
        hidden: What else the file is, such as "zip"; empty if nothing.
        thumbnail: The whole picture squeezed to 32 x 32 grey levels, row by row.
        kind: One of `PictureError.KINDS` if it cannot be read, else empty.
        reason: Why not, in words.
    """

    width: int = 0
    height: int = 0
    format: str = ""
    frames: int = 0
    brightness: float = 0.0
    contrast: float = 0.0
    hidden: str = ""
    thumbnail: bytes = b""
    kind: str = ""
    reason: str = ""


def unreadable(error: PictureError) -> Record:
    """The record of a picture that cannot be read."""
    return Record(kind=error.kind, reason=str(error))


def measure(data: bytes, framing: Framing | None = None) -> tuple[Record, np.ndarray | None]:
    """Looks at a picture, decoding it once.

    Args:
        data: The file's bytes.
        framing: How the picture is to be prepared on the way, for the pixel cache; None for not at all.

    Returns:
        The record, and the prepared pixels where they were asked for and are worth keeping.
    """
    if framing and framing.size < THUMBNAIL:
        framing = None  # its pixels come from a coarser decoding than the record's
    try:
        with opened(data) as image:
            width, height = image.size  # before decoding, which may be at a fraction of it
            pixels = pixels_of(image, framing.size if framing else THUMBNAIL)
            kind, frames = image.format, _frames(image)
    except PictureError as error:
        return unreadable(error), None
    grey = _grey(pixels, width, height)
    record = Record(
        width=width,
        height=height,
        format=kind or "",
        frames=frames,
        brightness=float(grey.mean()),
        contrast=float(grey.std()),
        hidden=hidden_content(data),
        thumbnail=thumbnail(grey).tobytes(),
    )
    return record, prepare(pixels, framing) if framing and pays(pixels, framing) else None


def _frames(image: Image.Image) -> int:
    try:
        frames = 1 + image.is_animated if image.format in WALKED else getattr(image, "n_frames", 1)
    except Exception:
        # Damage behind the first frame, which is sound: parsers raise whatever they stumble over.
        return 1
    return min(int(frames), MOST_FRAMES)


def _grey(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Grey levels at the scale that brightness and contrast are measured at, uint8.

    The scale follows from the picture alone, so that one which was decoded at full size for its network gets the same
    record as one that was decoded for the record's sake.
    """
    scale = next((reduction for reduction in REDUCTIONS if reduction <= min(width, height) // MEASURED), 1)
    decoded_at = round(max(width, height) / max(pixels.shape[:2]))
    grey = Image.fromarray(pixels).convert("L")
    return np.asarray(grey.reduce(scale // decoded_at) if scale > decoded_at else grey)


def thumbnail(grey: np.ndarray) -> np.ndarray:
    """Squeezes a grey picture, shape (height, width), to (32, 32), uint8: each value is the mean of its area."""
    return np.rint(_averaged(_averaged(grey.astype(np.float64)).T).T).astype(np.uint8)


def _averaged(values: np.ndarray) -> np.ndarray:
    """The means of 32 equal stretches of the rows, each row counted by how much of it lies in the stretch."""
    # Not Pillow's box filter, which takes a row whole or not at all: a picture and its mirror image would differ.
    length = len(values)
    edges = np.linspace(0, length, THUMBNAIL + 1)
    row = np.minimum(edges.astype(np.int64), length - 1)
    above = np.cumsum(values, axis=0) - values  # the sum of all rows above each row
    total = above[row] + (edges - row)[:, None] * values[row]
    return np.diff(total, axis=0) / (length / THUMBNAIL)
