"""Pictures of a few bytes that would fill the memory or take hours: refused by what their headers claim."""

import re
import struct

from PIL import Image, TiffImagePlugin

from tltool.errors import PictureError

# Whole satellite scenes (120 million) and 108-megapixel phones pass. A decoder takes up to 17 bytes a pixel at its
# peak (WebP; measured), so that one picture takes 2.3 GB at most.
MAX_PIXELS = 2**27
# JPEG's own bound on a side, in pixels. Of a longer one the other side is a sliver, and resizing takes memory by the
# longer side alone.
MAX_SIDE = 65_535
# Of a TIFF; 4096 x 4096 is the largest in use, and a tile is decoded whole, however small the rest.
MAX_TILE_PIXELS = 2**24
# Of a JPEG 2000; each takes 12 KB before a pixel is decoded, and 256 x 256 tiles of 2**27 pixels are 2048.
MAX_TILES = 4096
# Of a JPEG, before its first scan; cameras write some dozens of segments, and pad none of them.
MAX_SEGMENTS = 10_000
MAX_PADDING = 2**16
MAX_SCANS = 100  # of a JPEG; encoders write about 10, and each is a walk over the whole picture: 2000 took 43 seconds

JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # but for those that stand inside entropy-coded data
PADDING = re.compile(rb"[\x00\xff]*")
START_OF_SCAN = b"\xff\xda"
END_OF_IMAGE = 0xD9
CODESTREAM = b"\xff\x4f\xff\x51"  # JPEG 2000: start, and the marker of the segment with the sizes


def check_size(width: int, height: int) -> None:
    """Refuses a picture that is too large to decode.

    Raises:
        PictureError: kind "too-large"; it says the size.
    """
    if max(width, height) > MAX_SIDE:
        raise PictureError(f"{width:,} x {height:,} pixels; a side may have {MAX_SIDE:,}: cut it up", "too-large")
    if width * height > MAX_PIXELS:
        raise PictureError(
            f"{width:,} x {height:,} pixels; at most {MAX_PIXELS:,} in all are read: save it smaller", "too-large"
        )


def check_header(data: bytes) -> None:
    """Refuses a JPEG whose header Pillow would walk byte by byte for minutes.

    Raises:
        PictureError: kind "damaged".
    """
    if not data.startswith(b"\xff\xd8"):
        return
    at = 2
    for _ in range(MAX_SEGMENTS):
        start = PADDING.match(data, at).end()
        if start - at > MAX_PADDING:
            raise PictureError(f"damaged picture: {start - at:,} bytes of padding in its header")
        marker = data[start - 1 : start + 1]
        # A scan, the end, or no marker at all: what follows is no walk any more.
        if len(marker) < 2 or marker[0] != 0xFF or marker[1] in (0xDA, END_OF_IMAGE):
            return
        length = int.from_bytes(data[start + 1 : start + 3])
        at = start + 1 + max(length, 2)
    raise PictureError(f"damaged picture: more than {MAX_SEGMENTS:,} segments in its header")


def check_content(image: Image.Image, data: bytes) -> None:
    """Refuses a picture whose decoding would take far more than its size tells; reads headers only.

    Raises:
        PictureError: kind "too-large".
    """
    # The counts come first: walking a JPEG takes a millisecond a megabyte, and is needed for next to none.
    if image.format in ("JPEG", "MPO") and data.count(START_OF_SCAN) > MAX_SCANS and _scans(data) > MAX_SCANS:
        raise PictureError(f"a JPEG of more than {MAX_SCANS} scans, which only attacks have", "too-large")
    if image.format == "JPEG2000" and _most_tiles(data) > MAX_TILES:
        raise PictureError(f"a JPEG 2000 of {_most_tiles(data):,} tiles; at most {MAX_TILES:,} are read", "too-large")
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        width, height = (image.tag_v2.get(tag, 0) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH))
        if width * height > MAX_TILE_PIXELS:
            raise PictureError(f"a TIFF with tiles of {width:,} x {height:,} pixels", "too-large")


def _scans(data: bytes) -> int:
    """The scans up to the end of the first picture in the file; counts no further than one too many."""
    scans, at = 0, 2
    while scans <= MAX_SCANS and (marker := JPEG_MARKER.search(data, at)):
        at = marker.start()
        if data[at + 1] == END_OF_IMAGE:
            break
        scans += data.startswith(START_OF_SCAN, at)
        # Past the segment: a thumbnail in it has scans of its own.
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
    return scans


def _most_tiles(data: bytes) -> int:
    """The tiles of the codestream that has most. Any place counts: a decoy may stand before the one that is decoded."""
    most, at = 0, data.find(CODESTREAM)
    while at >= 0 and len(data) >= at + 40:
        # Extent of the picture, its offset, extent of a tile, its offset; ISO/IEC 15444-1, A.5.1.
        right, bottom, _, _, width, height, left, top = struct.unpack_from(">8I", data, at + 8)
        if width and height:
            most = max(most, -(-max(0, right - left) // width) * -(-max(0, bottom - top) // height))
        at = data.find(CODESTREAM, at + 1)
    return most
