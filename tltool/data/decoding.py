"""From a picture file to RGB pixels, whatever the file's colour model."""

import io
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from tltool.data.formats import FORMATS
from tltool.data.quiet import quiet_pillow
from tltool.errors import DataError

# JPEG can be decoded at 1/2, 1/4 or 1/8 for a fraction of the work. Three times the wanted size is left for the
# resampling filter, so that the result stays within a few grey levels of full decoding; less shows as aliasing.
REDUCING_GAP = 3
SIXTEEN_BIT = 257  # 65535 / 255
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
        DataError: if it is not a picture or is damaged; the message is a reason without the file's name.
    """
    if not isinstance(source, bytes):
        source = read_bytes(source)
    if not source:
        raise DataError("the file is empty (0 bytes)")
    try:
        with quiet_pillow():
            return _decode(source, size)
    except UnidentifiedImageError:
        raise DataError("not a picture that can be read") from None
    except Image.DecompressionBombError:
        raise DataError(f"too many pixels (more than {2 * Image.MAX_IMAGE_PIXELS:,})") from None
    except Exception as error:
        # Pillow's decoders answer damage with whatever their parser stumbles over: OSError, SyntaxError, struct.error,
        # OverflowError, zlib.error and more. One that is not listed would end a whole run for one bad file.
        reason = str(error).strip().splitlines()
        raise DataError(f"damaged picture ({reason[0] if reason else type(error).__name__})") from None


def prepare(pixels: np.ndarray, size: int) -> np.ndarray:
    """Resizes a picture to what a backbone takes, as the exported model does it inside its graph.

    Pictures are squeezed to a square: the whole picture stays in view, and a frame that is mostly subject loses nothing
    at its edges. Bicubic with antialiasing, in float32: rounding here would part from the graph by up to 5 grey levels.

    Args:
        pixels: Shape (height, width, 3), uint8.
        size: Height and width of the result, pixels.

    Returns:
        Shape (size, size, 3), float32 in [0, 255].
    """
    if pixels.shape[:2] == (size, size):
        return pixels.astype(np.float32)
    planes = [
        Image.fromarray(plane.astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC)
        for plane in np.moveaxis(pixels, 2, 0)
    ]
    return np.clip(np.stack([np.asarray(plane) for plane in planes], axis=-1), 0.0, 255.0)


def read_bytes(path: Path) -> bytes:
    """The file's content.

    Raises:
        DataError: if it cannot be read; the message is a reason without the file's name.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})") from None


def _decode(data: bytes, size: int | None) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=list(FORMATS)) as image:
        if size is not None:
            image.draft(None, (size * REDUCING_GAP, size * REDUCING_GAP))
        image.load()
        return np.asarray(_to_rgb(_upright(image)))


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
