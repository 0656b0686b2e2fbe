"""Small files that would take hours or fill the memory."""

import io
import time

import pytest
from PIL import Image

from tests.hostile import encoded, jpeg2000_sizes, jpeg_with_scans, png, tiff_with_tiles, with_sizes
from tltool.data import bombs
from tltool.data.bombs import MAX_PIXELS, MAX_SCANS, MAX_SIDE, MAX_TILES, check_content, check_size
from tltool.data.decoding import decode
from tltool.errors import PictureError

BROAD = MAX_PIXELS // MAX_SIDE


@pytest.mark.parametrize(
    ("width", "height", "message"),
    [
        (12_032, 9_024, None),
        (10_980, 10_980, None),
        (2**14, 2**13, None),
        (2**14, 2**13 + 1, "16,384 x 8,193 pixels; at most 134,217,728 in all"),
        (60_000, 60_000, "60,000 x 60,000 pixels; at most 134,217,728 in all"),
        (1, MAX_SIDE, None),
        (MAX_SIDE, 1, None),
        (1, MAX_SIDE + 1, "1 x 65,536 pixels; a side may have 65,535"),
        (1_000_000, 1, "1,000,000 x 1 pixels; a side may have 65,535"),
        (MAX_SIDE, BROAD, None),
        (MAX_SIDE, BROAD + 1, "in all"),
    ],
)
def test_sizes(width: int, height: int, message: str | None) -> None:
    if message is None:
        check_size(width, height)
        return
    with pytest.raises(PictureError, match=message) as error:
        check_size(width, height)
    assert error.value.kind == "too-large"


def check(data: bytes) -> None:
    with Image.open(io.BytesIO(data)) as image:
        check_content(image, data)


@pytest.mark.parametrize(("more", "refused"), [(0, False), (MAX_SCANS - 20, False), (MAX_SCANS + 1, True)])
def test_scans_of_a_jpeg(more: int, refused: bool) -> None:
    data = jpeg_with_scans(more)
    if not refused:
        check(data)
        return
    with pytest.raises(PictureError, match="more than 100 scans") as error:
        check(data)
    assert error.value.kind == "too-large"


def test_scans_elsewhere_in_a_jpeg_do_not_count() -> None:
    marks = b"\xff\xda\0\2" * (2 * MAX_SCANS)
    data = encoded("JPEG")
    check(data + marks)
    comment = b"\xff\xfe" + (len(marks) + 2).to_bytes(2) + marks
    check(data[:2] + comment + data[2:])


def test_counting_scans_ends_whatever_the_bytes_are() -> None:
    for data in (b"", b"\xff\xd8\xff\xe0", b"\xff\xd8" + b"\xff\xda\0\0" * 500, b"\xff\xda" * 500, b"\xff" * 500):
        assert 0 <= bombs._scans(data) <= MAX_SCANS + 1


@pytest.mark.parametrize("has_boxes", [True, False])
@pytest.mark.parametrize(("side", "tile", "tiles"), [(64, 1, MAX_TILES), (65, 1, 4225), (1000, 1000, 1)])
def test_tiles_of_a_jpeg_2000(has_boxes: bool, side: int, tile: int, tiles: int) -> None:
    data = with_sizes(encoded("JPEG2000", no_jp2=not has_boxes), jpeg2000_sizes(side, side, tile))
    if tiles <= MAX_TILES:
        check(data)
        return
    with pytest.raises(PictureError, match="a JPEG 2000 of 4,225 tiles; at most 4,096") as error:
        check(data)
    assert error.value.kind == "too-large"


def test_a_decoy_does_not_hide_the_tiles_of_a_jpeg_2000() -> None:
    bomb = with_sizes(encoded("JPEG2000"), jpeg2000_sizes(256, 255, 1))
    boxes = bomb.index(b"jp2h") - 4
    decoy = jpeg2000_sizes(16, 16, 16)
    data = bomb[:boxes] + (len(decoy) + 8).to_bytes(4) + b"free" + decoy + bomb[boxes:]
    with pytest.raises(PictureError, match="65,280 tiles"):
        check(data)


def test_absurd_sizes_in_a_jpeg_2000_do_not_stop_the_count() -> None:
    assert bombs._most_tiles(jpeg2000_sizes(10, 10, 0)) == 0
    assert bombs._most_tiles(jpeg2000_sizes(10, 10, 1)[:30]) == 0
    assert bombs._most_tiles(jpeg2000_sizes(2**32 - 1, 2**32 - 1, 1)) > 2**60


@pytest.mark.parametrize(("side", "refused"), [(256, False), (4096, False), (4112, True), (40_000, True)])
def test_tiles_of_a_tiff(side: int, refused: bool) -> None:
    data = tiff_with_tiles(side)
    if not refused:
        check(data)
        return
    with pytest.raises(PictureError, match=f"a TIFF with tiles of {side:,} x {side:,} pixels") as error:
        check(data)
    assert error.value.kind == "too-large"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000"])
def test_sound_pictures_pass(kind: str) -> None:
    check(encoded(kind))
    check(png(3, 2))


@pytest.mark.parametrize("filling", [b"\0", b"\xff"], ids=["zeros", "fill bytes"])
def test_a_jpeg_header_full_of_padding_is_refused_at_once(filling):
    data = b"\xff\xd8\xff\xe0" + b"\0\2" + filling * 20_000_000
    start = time.monotonic()
    with pytest.raises(PictureError, match="bytes of padding in its header") as raised:
        decode(data)
    assert time.monotonic() - start < 5  # Pillow alone walks it byte by byte
    assert raised.value.kind == "damaged"


def test_a_jpeg_header_of_endless_segments_is_refused():
    with pytest.raises(PictureError, match=r"more than 10,000 segments"):
        decode(b"\xff\xd8" + b"\xff\xe1\0\2" * 20_000)


def test_padding_as_encoders_write_it_is_passed_over():
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10), (200, 30, 60)).save(buffer, "JPEG")
    whole = buffer.getvalue()
    assert decode(whole[:2] + b"\xff" * 100 + whole[2:]).shape == (10, 20, 3)
