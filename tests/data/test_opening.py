"""Pictures from strangers: what is wrong with each is said, and none costs more memory or time than its size tells."""

import io
import os
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.hostile import (
    by_length,
    chunk,
    encoded,
    jpeg2000_sizes,
    jpeg_with_scans,
    packed_zeros,
    png,
    tiff,
    tiff_with_tiles,
    with_sizes,
)
from tltool.data import bombs, decoding, opening
from tltool.data.decoding import decode, read_bytes
from tltool.data.opening import opened
from tltool.errors import PictureError

JPEG = encoded("JPEG", (64, 48))


def check_refused(data: bytes, kind: str, message: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        start = time.perf_counter()
        with pytest.raises(PictureError, match=message) as error:
            decode(data)
    assert error.value.kind == kind
    assert time.perf_counter() - start < 5
    assert error.value.kind in PictureError.KINDS
    assert "\n" not in str(error.value)


def test_what_is_known_before_a_pixel_is_decoded() -> None:
    with opened(encoded("PNG", (7, 5))) as image:
        assert (image.size, image.format) == ((7, 5), "PNG")
        image.load()
        assert image.getpixel((0, 0)) == (200, 60, 30)


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (b"", "empty", r"empty \(0 bytes\)"),
        (b"<html>Not found</html>", "not-a-picture", "not a picture that can be read"),
        (b"P", "not-a-picture", "not a picture that can be read"),
        (b"\xff\xd8", "not-a-picture", "not a picture that can be read"),
        (bytes(100), "not-a-picture", "not a picture that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not-a-picture", "not a picture that can be read"),
        (JPEG[: len(JPEG) // 2], "truncated", "damaged picture: the file is cut short"),
        (JPEG[:300], "truncated", "damaged picture: the file is cut short"),
        (encoded("PNG", (99, 99))[:-30], "truncated", "cut short"),
        (encoded("GIF")[:20], "truncated", "cut short"),
        (encoded("WEBP")[:-5], "truncated", "cut short"),
        (encoded("AVIF")[:-5], "truncated", "cut short"),
        (encoded("JPEG2000", (64, 64))[:-9], "truncated", "cut short"),
        (encoded("TIFF", compression="tiff_lzw")[:-30], "truncated", "cut short"),
        (encoded("BMP")[:-100], "truncated", "cut short"),
        (png(4, 4, pixels=b"garbage"), "damaged", r"damaged picture \(.+\)"),
        (JPEG[:30] + b"\0" * (len(JPEG) - 30), "damaged", r"damaged picture \(its header cannot be read\)"),
        (b"GIF89a" + b"x" * 20 + b";", "damaged", r"damaged picture \(.+\)"),
    ],
    ids=by_length,
)
def test_each_fault_has_its_kind(data: bytes, kind: str, message: str) -> None:
    check_refused(data, kind, message)


AVIF = encoded("AVIF")
SIZES = AVIF.index(b"ispe") + 8


def claiming(kind: str, width: int, height: int) -> bytes:
    """A small file whose header claims a large picture."""
    if kind == "AVIF":
        return AVIF[:SIZES] + width.to_bytes(4) + height.to_bytes(4) + AVIF[SIZES + 8 :]
    if kind == "JPEG2000":
        return with_sizes(encoded("JPEG2000", no_jp2=True), jpeg2000_sizes(width, height, max(width, height)))
    if kind == "JPEG":
        at = JPEG.index(b"\xff\xc0") + 5
        return JPEG[:at] + height.to_bytes(2) + width.to_bytes(2) + JPEG[at + 4 :]
    if kind == "GIF":
        return b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + encoded("GIF")[10:]
    if kind == "BMP":
        data = encoded("BMP")
        return data[:18] + width.to_bytes(4, "little") + height.to_bytes(4, "little") + data[26:]
    if kind == "TIFF":
        strips = ((273, 1, 8), (278, 1, height), (279, 1, 64))
        form = ((258, 1, 8), (259, 1, 1), (262, 1, 1), (277, 1, 1))
        return tiff((256, 1, width), (257, 1, height), *form, *strips)
    if kind == "PPM":
        return b"P6 %d %d 255\n" % (width, height) + bytes(99)
    return png(width, height, pixels=packed_zeros(2**20))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "JPEG2000"])
def test_a_picture_that_claims_to_be_vast_is_refused_by_its_size(kind: str) -> None:
    check_refused(claiming(kind, 60_000, 60_000), "too-large", "^60,000 x 60,000 pixels; at most 134,217,728 in all")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000"])
def test_a_picture_a_little_too_large_is_refused_by_its_size(kind: str) -> None:
    # Larger than what is read here, and smaller than what Pillow itself would refuse.
    check_refused(claiming(kind, 12_000, 12_000), "too-large", "^12,000 x 12,000 pixels; at most 134,217,728 in all")


@pytest.mark.parametrize("limit", [10, None])
def test_what_others_set_for_pillow_does_not_matter(monkeypatch: pytest.MonkeyPatch, limit: int | None) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    check_refused(claiming("PNG", 60_000, 60_000), "too-large", "60,000 x 60,000 pixels")
    if limit:
        check_refused(encoded("PNG"), "too-large", "more pixels than Pillow reads")


@pytest.mark.parametrize(("width", "height"), [(1, 65_535), (65_535, 1)])
def test_slivers_are_read(width: int, height: int) -> None:
    assert decode(png(width, height)).shape == (height, width, 3)


@pytest.mark.parametrize(("width", "height"), [(1, 1_000_000), (1_000_000, 1), (2**31 - 1, 1)])
def test_longer_slivers_are_refused(width: int, height: int) -> None:
    check_refused(
        png(width, height, pixels=packed_zeros(2**20)), "too-large", f"^{width:,} x {height:,} pixels; a side"
    )


@pytest.mark.parametrize(
    "pieces",
    [
        [chunk(b"iCCP", b"profile\0\0" + packed_zeros(2**28))],
        [chunk(b"zTXt", b"text\0\0" + packed_zeros(2**28))],
        [chunk(b"iTXt", b"text\0\1\0\0\0" + packed_zeros(2**28))],
        [chunk(b"zTXt", b"text%d\0\0" % i + packed_zeros(2**20)) for i in range(70)],
    ],
    ids=by_length,
)
def test_a_profile_or_text_that_unpacks_to_a_lot_is_refused(pieces: list[bytes]) -> None:
    check_refused(png(4, 4, *pieces), "too-large", "a colour profile or text in it unpacks to more than a megabyte")


@pytest.mark.parametrize(
    "data",
    [
        png(4, 4, chunk(b"iCCP", b"profile\0\0garbage")),
        png(4, 4, chunk(b"iCCP", b"")),
        png(4, 4, chunk(b"iCCP", b"profile\0\0" + packed_zeros(500))),
        png(4, 4, chunk(b"iCCP", b"profile\0\0" + packed_zeros(500))[:-1] + b"x"),
        png(4, 4, chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff")),
        png(4, 4, chunk(b"eXIf", b"garbage")[:-1] + b"x"),
        png(4, 4, chunk(b"tEXt", b"no zero byte")),
        png(4, 4, chunk(b"gAMA", b"\0")[:-4] + bytes(4)),
        encoded("JPEG", icc_profile=b"garbage"),
        encoded("JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xffgarbage"),
        encoded("WEBP", icc_profile=b"garbage", exif=b"garbage"),
        encoded("TIFF", icc_profile=b"garbage"),
        encoded("AVIF", icc_profile=b"garbage" * 20),
    ],
    ids=by_length,
)
def test_a_broken_profile_or_metadata_does_not_cost_the_picture(data: bytes) -> None:
    assert decode(data).shape in ((4, 4, 3), (16, 16, 3))


def test_damage_to_the_pixels_of_a_png_is_not_overlooked_with_its_metadata() -> None:
    broken = chunk(b"tEXt", b"a\0b")[:-1] + b"x"
    check_refused(png(4, 4, broken, pixels=b"garbage"), "damaged", "damaged picture")
    assert decode(png(4, 4, broken)).shape == (4, 4, 3)
    data = png(4, 4)
    at = data.index(b"IHDR") + 17
    check_refused(data[:at] + bytes(4) + data[at + 4 :], "damaged", "damaged picture")


@pytest.mark.skipif(sys.platform == "win32", reason="libtiff is out of reach inside Pillow there: see data/quiet.py")
def test_damage_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    data = encoded("TIFF", (64, 64), compression="tiff_lzw")
    check_refused(data[:8] + b"\xff" * 40 + data[48:], "damaged", "damaged picture")
    check_refused(data[:-60], "truncated", "cut short")
    assert capfd.readouterr() == ("", "")


def animation(kind: str, count: int) -> bytes:
    frames = [Image.new("RGB", (8, 8), (i % 256, 255 - i % 256, 60 + i % 7)) for i in range(count)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_only_the_first_frame_is_decoded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = animation(kind, 500)
    seek = pytest.fail
    for plugin in ("GifImagePlugin.GifImageFile", "PngImagePlugin.PngImageFile", "WebPImagePlugin.WebPImageFile"):
        monkeypatch.setattr(f"PIL.{plugin}.seek", lambda *args: seek("went on to another frame"))
    assert np.abs(decode(data).astype(int) - [0, 255, 60]).max() < 8


@pytest.mark.parametrize("frames", [0, 2**31 - 1, 2**32 - 1])
def test_a_count_of_frames_may_be_a_lie(frames: int) -> None:
    assert decode(png(4, 4, chunk(b"acTL", frames.to_bytes(4) + bytes(4)))).shape == (4, 4, 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (jpeg_with_scans(500), "more than 100 scans"),
        (with_sizes(encoded("JPEG2000"), jpeg2000_sizes(256, 255, 1)), "65,280 tiles"),
        (tiff_with_tiles(40_000), "tiles of 40,000 x 40,000 pixels"),
    ],
    ids=by_length,
)
def test_bombs_are_refused(data: bytes, message: str) -> None:
    check_refused(data, "too-large", message)


@pytest.mark.parametrize(
    "data",
    [
        with_sizes(encoded("JPEG2000"), jpeg2000_sizes(60_000, 60_000, 60_000)),
        with_sizes(encoded("JPEG2000"), jpeg2000_sizes(16, 16, 16, components=16_000)),
        tiff((256, 1, 16), (257, 1, 16), (258, 1, 8), (262, 1, 1), (273, 2**32 - 1, 8), (279, 2**32 - 1, 8)),
        tiff((256, 1, 16), (257, 1, 16), (258, 1, 8), (262, 1, 1), (277, 1, 65_535), (273, 1, 8), (279, 1, 256)),
        claiming("AVIF", 60_000, 60_000),
    ],
    ids=by_length,
)
def test_sizes_that_contradict_each_other_are_refused(data: bytes) -> None:
    with pytest.raises(PictureError) as error:
        decode(data)
    assert error.value.kind in ("damaged", "truncated", "too-large")


def test_large_pictures_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most = 0, 0
    lock = threading.Lock()

    def look(data: bytes) -> None:
        nonlocal inside, most
        with opened(data):
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.05)
            with lock:
                inside -= 1

    def most_at_once() -> int:
        nonlocal most
        most = 0
        threads = [threading.Thread(target=look, args=(JPEG,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return most

    assert most_at_once() > 1
    monkeypatch.setattr(opening, "LARGE_PIXELS", 64 * 48 - 1)
    assert most_at_once() == 1


def test_more_memory_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(*args: object) -> None:
        raise MemoryError

    data = encoded("GIF")
    monkeypatch.setattr(Image.Image, "convert", hungry)
    check_refused(data, "too-large", "more memory than there is")


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path, reason in {
        tmp_path: "a folder",
        tmp_path / "pipe.jpg": "not a regular file",
        Path("/dev/zero"): "not a regular file",
        tmp_path / "gone.jpg": "No such file or directory",
        tmp_path / "a\0b.jpg": "[a-z: ]*embedded null [a-z ]+",
        tmp_path / ("x" * 300): "File name too long",
    }.items():
        with pytest.raises(PictureError, match=rf"^cannot be read \({reason}\)$") as error:
            read_bytes(path)
        assert error.value.kind == "unreadable"


def test_a_file_larger_than_any_picture_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_FILE_BYTES", len(JPEG))
    (tmp_path / "a.jpg").write_bytes(JPEG)
    assert read_bytes(tmp_path / "a.jpg") == JPEG
    (tmp_path / "b.jpg").write_bytes(JPEG + b"x")
    with pytest.raises(PictureError, match=r"a file of [\d,]+ bytes; at most") as error:
        read_bytes(tmp_path / "b.jpg")
    assert error.value.kind == "too-large"
    assert bombs.MAX_PIXELS * 8 <= 2**30
