"""From a picture file to RGB pixels, whatever the file's colour model."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from PIL import ExifTags, Image

from tltool.data.opening import opened
from tltool.errors import PictureError

# JPEG can be decoded at 1/2, 1/4 or 1/8 for a fraction of the work. Three times the wanted size is left for the
# resampling filter, so that the result stays within a few grey levels of full decoding; less shows as aliasing.
REDUCING_GAP = 3
SIXTEEN_BIT = 257  # 65535 / 255
MAX_FILE_BYTES = 2**29  # the largest picture that is decoded, without compression; each core may hold one such file
BACKGROUND = (255, 255, 255)  # transparent pixels hold arbitrary colours; cut-outs are drawn for white pages

# EXIF orientation -> what turns the stored rows upright; 1 is upright already. Exif 2.3, tag 0x0112.
UPRIGHT: Mapping[int, Image.Transpose] = MappingProxyType(
    {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
)


Fit = Literal["squish", "crop", "pad"]
FITS: tuple[Fit, ...] = get_args(Fit)
# Grey level around a padded picture: what EfficientNet-Lite takes for 0, as its convolutions pad; the mean of
# ImageNet's pictures is near it. Saved models hold it as well.
PADDING = 127


@dataclass(frozen=True)
class Framing:
    """How a picture becomes the square that a network takes.

    Attributes:
        size: Height and width of the square, pixels, >= 1.
        fit: "squish" squeezes the whole picture into it; "crop" takes the largest square from the middle, so that the
            ends of the longer side are lost; "pad" puts the whole picture between two grey bars.

    Raises:
        ValueError: if the size is below 1 or there is no such fit.
    """

    size: int
    fit: Fit = "squish"

    def __post_init__(self) -> None:
        if self.size < 1 or self.fit not in FITS:
            raise ValueError(f"Framing: size is {self.size}, fit '{self.fit}'; they must be at least 1 and of {FITS}.")


def decode(source: Path | bytes, size: int | None = None) -> np.ndarray:
    """Decodes one picture.

    EXIF orientation is applied; grey, palette, CMYK and 16-bit pictures become RGB; transparency is laid on white; of
    an animation the first frame is taken.

    Args:
        source: A file, or its bytes.
        size: What `prepare` will resize to, pixels: a much larger JPEG is then decoded at a fraction of its size, for
            a fraction of the work. None for the picture's own size.

    Returns:
        Pixels, shape (height, width, 3), uint8.

    Raises:
        PictureError: if it is not a picture, is damaged, or would take too much memory or time; the message is a reason
            without the file's name.
    """
    if not isinstance(source, bytes):
        source = read_bytes(source)
    with opened(source) as image:
        return pixels_of(image, size)


def pixels_of(image: Image.Image, size: int | None = None) -> np.ndarray:
    """The pixels of a picture that has been opened and not decoded yet, as `decode` gives them."""
    if size is not None:
        image.draft(None, (size * REDUCING_GAP, size * REDUCING_GAP))
    image.load()
    return np.asarray(_to_rgb(_upright(image)))


def prepare(pixels: np.ndarray, framing: Framing) -> np.ndarray:
    """Makes of a picture the square that a backbone takes, as the exported model does it inside its graph.

    Bicubic with antialiasing in float32, rounded once, at the end: Pillow's own resizing of bytes rounds between its
    two passes as well, and parts from the graph by up to 5 grey levels.

    Args:
        pixels: Shape (height, width, 3), uint8.
        framing: What becomes of the picture's own proportions, and the size of the square.

    Returns:
        Shape (size, size, 3), uint8; `pixels` itself where there is nothing to do.
    """
    if framing.fit == "crop":
        pixels = _centre_square(pixels)
    size = framing.size
    height, width, _ = pixels.shape
    if (height, width) == (size, size):
        return pixels
    # Both edges get the same, as in the graph: of an odd difference one row or column is left to resizing.
    margin = abs(height - width) // 2 if framing.fit == "pad" else 0
    across = ((margin, margin), (0, 0)) if width > height else ((0, 0), (margin, margin))
    prepared = np.empty((size, size, 3), np.uint8)
    for channel in range(3):
        plane = pixels[..., channel].astype(np.float32)
        if margin:
            # The long side first: padded before it, a panorama would take the square of its length in memory.
            plane = _resize(plane, size, height) if width > height else _resize(plane, width, size)
            plane = np.pad(plane, across, constant_values=PADDING)
        plane = _resize(plane, size, size)
        np.rint(plane, out=plane)
        prepared[..., channel] = np.clip(plane, 0.0, 255.0, out=plane)
    return prepared


def read_bytes(path: Path) -> bytes:
    """The file's content.

    Raises:
        PictureError: if it cannot be read, or is larger than any picture; the message is a reason without the file's
            name.
    """
    try:
        status = os.stat(path)
        # A pipe would wait for a writer for ever, and some devices never end.
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise PictureError(f"cannot be read ({what})", "unreadable")
        if status.st_size > MAX_FILE_BYTES:
            raise PictureError(f"a file of {status.st_size:,} bytes; at most {MAX_FILE_BYTES:,} are read", "too-large")
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PictureError(f"cannot be read ({reason})", "unreadable") from None


def _centre_square(pixels: np.ndarray) -> np.ndarray:
    height, width, _ = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def _resize(plane: np.ndarray, width: int, height: int) -> np.ndarray:
    """One channel, shape (height, width), float32, on its own memory."""
    return np.array(Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC))


def _upright(image: Image.Image) -> Image.Image:
    """The loaded picture as its camera was held."""
    # Not ImageOps.exif_transpose: it writes the metadata anew, which fails for odd tags around sound pixels.
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        return image
    turn = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray(_scaled(np.asarray(image), SIXTEEN_BIT)).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(_scaled(np.asarray(image), None)).convert("RGB")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        page = Image.new("RGBA", rgba.size, (*BACKGROUND, 255))
        return Image.alpha_composite(page, rgba).convert("RGB")
    return image.convert("RGB")


def _scaled(values: np.ndarray, divisor: float | None) -> np.ndarray:
    """Wide grey values as uint8. Without a divisor the format does not say the range: take the next that holds them."""
    top = float(np.max(values, initial=0, where=np.isfinite(values)))
    if divisor is None:
        divisor = next((d for limit, d in ((1, 1 / 255), (255, 1), (65535, SIXTEEN_BIT)) if top <= limit), top / 255)
        if values.dtype.kind in "iu" and top <= 255:
            divisor = 1
    # Scientific TIFFs mark missing pixels with infinities and -3e38, which would overflow in the division.
    kept = np.clip(np.nan_to_num(values, posinf=top, neginf=0), 0, top)
    return np.clip(np.rint(kept / divisor), 0, 255).astype(np.uint8)
