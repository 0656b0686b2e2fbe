"""From any picture file to RGB: every colour model, every orientation, and every kind of damage."""

import io
import struct
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from tltool.data import bombs
from tltool.data.decoding import FITS, PADDING, Framing, decode, prepare
from tltool.data.formats import FORMATS
from tltool.errors import DataError, PictureError

WIDTH, HEIGHT = 48, 32


def scene(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Smooth, and different in all four corners, so that no turn of it looks like another."""
    rows, columns = np.mgrid[0:height, 0:width]
    rows, columns = rows / (height - 1), columns / (width - 1)
    return np.stack([255 * rows, 255 * columns, 255 * rows * columns], axis=-1).round().astype(np.uint8)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def difference(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


# What a camera stores for each orientation: the upright picture, turned the other way.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_gives_the_upright_picture(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](scene())))
    data = encode(stored, kind, exif=exif, **({"quality": 98} if kind in ("JPEG", "WEBP") else {}))
    assert difference(decode(data), scene()) < 4


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(decode(encode(Image.fromarray(scene()), "PNG", exif=exif)), scene())


def test_broken_metadata_does_not_cost_the_picture() -> None:
    data = encode(Image.fromarray(scene()), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xffgarbage", quality=95)
    assert difference(decode(data), scene()) < 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_colour_models_of_png(mode: str) -> None:
    image = Image.fromarray(scene()).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(decode(encode(image, "PNG")), expected)


def test_transparency_is_laid_on_white() -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2] = (255, 0, 0, 255)
    pixels[2:] = (0, 0, 255, 0)
    pixels[0, 0] = (0, 0, 0, 128)
    decoded = decode(encode(Image.fromarray(pixels), "PNG"))
    assert decoded[1, 1].tolist() == [255, 0, 0]
    assert decoded[3, 3].tolist() == [255, 255, 255]
    assert decoded[0, 0].tolist() == [127, 127, 127]


def test_grey_with_alpha_is_laid_on_white() -> None:
    pixels = np.array([[[10, 255], [10, 0]]], np.uint8)
    assert decode(encode(Image.fromarray(pixels, mode=None), "PNG"))[0, :, 0].tolist() == [10, 255]


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_with_transparency_is_laid_on_white(kind: str) -> None:
    image = Image.new("P", (4, 2), 1)
    image.putpalette([0, 0, 0, 200, 10, 20])
    image.putpixel((0, 0), 0)
    decoded = decode(encode(image, kind, transparency=0))
    assert decoded[0, 0].tolist() == [255, 255, 255]
    assert decoded[1, 1].tolist() == [200, 10, 20]


def test_one_transparent_colour_in_rgb_png() -> None:
    image = Image.new("RGB", (4, 2), (0, 200, 0))
    image.putpixel((0, 0), (1, 2, 3))
    decoded = decode(encode(image, "PNG", transparency=(1, 2, 3)))
    assert decoded[0, 0].tolist() == [255, 255, 255]
    assert decoded[1, 1].tolist() == [0, 200, 0]


def test_cmyk_jpeg_keeps_its_colours() -> None:
    data = encode(Image.fromarray(scene()).convert("CMYK"), "JPEG", quality=95)
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    assert difference(decode(data), scene()) < 6


def test_lab_tiff_keeps_its_colours() -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(Image.fromarray(scene()), srgb, lab, outputMode="LAB")
    assert difference(decode(encode(image, "TIFF")), scene()) < 3


def test_sixteen_bit_grey_is_scaled() -> None:
    values = np.linspace(0, 65535, 64 * 8).reshape(8, 64).astype(np.uint16)
    decoded = decode(encode(Image.fromarray(values), "PNG"))
    assert np.array_equal(decoded[..., 0], np.rint(values / 257))
    assert np.array_equal(decoded[..., 0], decoded[..., 2])


def sixteen_bit_png(values: np.ndarray) -> bytes:
    """A 16-bit RGB PNG, which Pillow can read and not write."""
    height, width, _ = values.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    ]
    packed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def test_sixteen_bit_rgb_is_scaled() -> None:
    assert np.abs(decode(sixteen_bit_png(scene().astype(np.uint16) * 257)).astype(int) - scene()).max() <= 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 128, 255]], np.int32), [0, 128, 255]),
        (np.array([[0, 1, 1]], np.int32), [0, 1, 1]),
        (np.array([[-5, 257, 65535]], np.int32), [0, 1, 255]),
        (np.array([[0, 500_000, 1_000_000]], np.int32), [0, 128, 255]),
        (np.array([[0.0, 0.2, 1.0]], np.float32), [0, 51, 255]),
        (np.array([[0.0, 20.4, 255.0]], np.float32), [0, 20, 255]),
        (np.array([[np.nan, 25700.0, 65535.0]], np.float32), [0, 100, 255]),
        (np.array([[-3e38, 0.2, 1.0]], np.float32), [0, 51, 255]),
        (np.array([[np.inf, 0.2, 1.0]], np.float32), [255, 51, 255]),
        (np.array([[np.nan, np.nan, np.nan]], np.float32), [0, 0, 0]),
    ],
)
def test_wide_grey_tiff_takes_the_next_range_that_holds_it(values: np.ndarray, expected: list[int]) -> None:
    assert decode(encode(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == expected


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ((250, 10, 10), (10, 250, 10), (10, 10, 250))]
    decoded = decode(encode(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert difference(decoded, np.asarray(frames[0])) < 5


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_in_the_table_is_read(kind: str) -> None:
    assert difference(decode(encode(Image.fromarray(scene()), kind)), scene()) < 6


def test_every_ending_in_the_table_belongs_to_its_format() -> None:
    known = Image.registered_extensions()
    # An .mpo is a JPEG with more JPEGs behind it; Pillow writes it as a format of its own and reads it as JPEG.
    known = {suffix: "JPEG" if kind == "MPO" else kind for suffix, kind in known.items()}
    assert {suffix: kind for kind, suffixes in FORMATS.items() for suffix in suffixes}.items() <= known.items()


CORNERS = ([0, 0, -1, -1], [0, -1, 0, -1])


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [1, 16, 33, WIDTH])
def test_every_fit_gives_a_square_of_bytes(size: int, fit: str) -> None:
    for picture in (scene(), scene(HEIGHT, WIDTH), scene(WIDTH, WIDTH), scene(2, 90), np.zeros((1, 1, 3), np.uint8)):
        prepared = prepare(picture, Framing(size, fit))
        assert prepared.shape == (size, size, 3)
        assert prepared.dtype == np.uint8


def test_squish_squeezes_the_whole_picture_into_a_square() -> None:
    for size in (16, 33):
        assert difference(prepare(scene(), Framing(size))[CORNERS], scene()[CORNERS]) < 25
    assert Framing(16).fit == "squish"


@pytest.mark.parametrize(("width", "height"), [(48, 32), (32, 48), (49, 32), (32, 49), (7, 2), (1, 9)])
def test_crop_is_the_squish_of_the_centre_square(width: int, height: int) -> None:
    picture, side = scene(max(width, 2), max(height, 2))[:height, :width], min(width, height)
    top, left = (height - side) // 2, (width - side) // 2
    centre = picture[top : top + side, left : left + side]
    assert np.array_equal(prepare(picture, Framing(20, "crop")), prepare(centre, Framing(20)))
    assert np.array_equal(prepare(picture, Framing(side, "crop")), centre)


@pytest.mark.parametrize(("width", "height"), [(48, 32), (32, 48), (49, 32), (32, 49), (90, 2), (1, 9), (2, 1)])
@pytest.mark.parametrize("size", [5, 20, 48, 100])
def test_pad_is_the_squish_of_the_picture_between_two_bars(width: int, height: int, size: int) -> None:
    picture = scene(max(width, 2), max(height, 2))[:height, :width]
    margin = abs(width - height) // 2
    bars = ((0, 0), (margin, margin)) if height > width else ((margin, margin), (0, 0))
    padded = np.pad(picture, (*bars, (0, 0)), constant_values=PADDING)
    # One axis first or the other: the same but for a value near a half now and then.
    apart = np.abs(prepare(picture, Framing(size, "pad")).astype(int) - prepare(padded, Framing(size)))
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.005


def test_padding_a_panorama_takes_little_memory() -> None:
    """A square of its length would take 30,000 x 30,000 floats a channel, 3.6 GB."""
    panorama = np.full((4, 30_000, 3), 200, np.uint8)
    tracemalloc.start()
    try:
        prepared = prepare(panorama, Framing(32, "pad"))
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert (prepared[:15] == PADDING).all()
    assert (prepared[17:] == PADDING).all()


@pytest.mark.parametrize(("size", "fit"), [(0, "squish"), (-1, "pad"), (16, "stretch")])
def test_a_framing_that_cannot_be_is_refused(size: int, fit: str) -> None:
    with pytest.raises(ValueError, match=f"size is {size}, fit '{fit}'"):
        Framing(size, fit)


def test_large_jpegs_are_decoded_small_and_look_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    picture = coarse.resize((1200, 800), Image.Resampling.BICUBIC)
    jpeg = encode(picture, "JPEG", quality=95)
    small = decode(jpeg, 64)
    assert small.shape == (200, 300, 3)  # a quarter: the smallest of 1, 1/2, 1/4, 1/8 with three times 64 pixels
    assert difference(prepare(small, Framing(64)), prepare(decode(jpeg), Framing(64))) < 3


def cubic(length: int, size: int) -> np.ndarray:
    """What each of `size` values takes of `length`, shape (size, length): Keys' kernel at -1/2, widened to shrink."""
    scale = length / size
    distance = np.abs(np.arange(length) + 0.5 - (np.arange(size)[:, None] + 0.5) * scale) / max(scale, 1)
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0))
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("width", "height"), [(48, 32), (16, 90), (10, 12)])
def test_preparing_is_bicubic_antialiased_resizing_rounded_once_at_the_end(width: int, height: int) -> None:
    picture = np.random.default_rng(0).integers(0, 2, (height, width, 3), dtype=np.uint8) * 255
    wanted = np.einsum("ih,hwc,jw->ijc", cubic(height, 16), picture.astype(np.float64), cubic(width, 16))
    if min(width, height) < 16:  # enlarging overshoots, so that clipping is seen
        assert wanted.min() < 0
        assert wanted.max() > 255
    apart = prepare(picture, Framing(16)) - np.clip(wanted, 0, 255)
    assert np.abs(apart).max() < 0.501
    assert np.abs(apart).max() > 0.45  # of 768 values some lie near a half, and were not cut off
    assert abs(apart.mean()) < 0.05


def test_halves_are_rounded_to_even() -> None:
    """As in the graph. The mean of two pixels of equal weight is a half here: 0.5, 1.5 and 2.5."""
    picture = np.array([[[0, 1, 1], [1, 2, 4]]], np.uint8).repeat(2, axis=0)
    assert prepare(picture, Framing(1)).tolist() == [[[0, 2, 2]]]


def test_a_picture_of_the_right_size_stays_as_it_is() -> None:
    square = scene()[:16, :16]
    for fit in FITS:
        assert np.array_equal(prepare(square, Framing(16, fit)), square)


def test_a_truncated_jpeg_is_refused() -> None:
    data = encode(Image.fromarray(scene()), "JPEG")
    for size in (None, 16):
        with pytest.raises(DataError, match="damaged picture"):
            decode(data[: len(data) // 2], size)


@pytest.mark.parametrize("data", [b"This is a letter, not a photograph.\n", b"\0" * 100, b"\xff\xd8", b"x"])
def test_what_is_no_picture_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "letter.jpg"
    path.write_bytes(data)
    with pytest.raises(DataError, match="not a picture that can be read"):
        decode(path)


def test_postscript_is_never_run(tmp_path: Path) -> None:
    path = tmp_path / "drawing.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match="not a picture that can be read"):
        decode(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    with pytest.raises(DataError, match=r"empty \(0 bytes\)"):
        decode(tmp_path / "empty.png")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read \(No such file or directory\)"):
        decode(tmp_path / "gone.png")


def test_a_decompression_bomb_is_refused_and_a_large_picture_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(Image.fromarray(scene()), "PNG")
    monkeypatch.setattr(bombs, "MAX_PIXELS", WIDTH * HEIGHT - 1)
    with pytest.raises(PictureError, match="48 x 32 pixels; at most 1,535 in all are read"):
        decode(data)
    monkeypatch.setattr(bombs, "MAX_PIXELS", WIDTH * HEIGHT)
    assert decode(data).shape == (HEIGHT, WIDTH, 3)


def test_warning_filters_are_left_as_they_were() -> None:
    before = list(warnings.filters)
    decode(encode(Image.fromarray(scene()), "PNG"))
    assert warnings.filters == before


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM"])
def test_damage_never_surprises(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A changed header may promise a picture of 100 million pixels: allowed, and slow.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10**6)
    exif = Image.Exif()
    exif[0x0112] = 6
    good = encode(Image.fromarray(scene()), kind, **({"exif": exif} if kind in ("PNG", "JPEG", "WEBP") else {}))
    rng = np.random.default_rng(0)
    read = 0
    for trial in range(150):
        data = bytearray(good)
        # Headers are where parsers stumble; most changes go there.
        reach = len(data) if trial % 3 == 0 else min(len(data), 100)
        for position in rng.integers(0, reach, size=rng.integers(1, 6)):
            data[position] = rng.integers(0, 256)
        if trial % 5 == 0:
            del data[rng.integers(1, len(data)) :]
        pixels = decoded_or_none(bytes(data), 16 if trial % 2 else None)
        if pixels is not None:
            read += 1
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3
            assert pixels.shape[2] == 3
            assert pixels.size > 0
    assert 0 < read < 150


def decoded_or_none(data: bytes, size: int | None) -> np.ndarray | None:
    try:
        return decode(data, size)
    except DataError:
        return None
