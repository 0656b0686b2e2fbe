"""What one look at a picture tells."""

import io

import numpy as np
import pytest
from PIL import Image

from tltool.data.decoding import Framing, decode, prepare
from tltool.data.record import THUMBNAIL, Record, measure, thumbnail


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Coarse random patches, smooth in between, as photographs are."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def test_record_of_a_png():
    pixels = scene(40, 60)
    record, prepared = measure(encoded(pixels))
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    assert prepared is None
    assert (record.width, record.height, record.format, record.frames) == (60, 40, "PNG", 1)
    assert record.brightness == pytest.approx(grey.mean())
    assert record.contrast == pytest.approx(grey.std())
    assert (record.hidden, record.kind, record.reason) == ("", "", "")
    assert record.thumbnail == thumbnail(grey).tobytes()


@pytest.mark.parametrize("quality", [60, 95])
def test_a_reduced_jpeg_keeps_its_size_and_look(quality: int):
    """It is decoded at an eighth; the record must be that of the whole picture."""
    pixels = scene(1500, 2000)
    record, _ = measure(encoded(pixels, "JPEG", quality=quality))
    whole = np.asarray(Image.fromarray(pixels).convert("L"))
    assert (record.width, record.height, record.format) == (2000, 1500, "JPEG")
    assert record.brightness == pytest.approx(whole.mean(), abs=1)
    assert record.contrast == pytest.approx(whole.std(), abs=1.5)
    found = np.frombuffer(record.thumbnail, np.uint8).reshape(THUMBNAIL, THUMBNAIL)
    assert np.abs(found.astype(int) - thumbnail(whole)).max() <= 4


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_framing_changes_the_record_by_a_shade_at_most(kind: str):
    """Copies are found by thumbnails, and the cache must not decide whether they are."""
    data = encoded(scene(900, 1300), kind)
    plain, _ = measure(data)
    for size in (32, 64, 224):
        framed, prepared = measure(data, Framing(size))
        assert prepared.shape == (size, size, 3)
        np.testing.assert_array_equal(prepared, prepare(decode(data, size), Framing(size)))
        assert framed._replace(brightness=0, contrast=0, thumbnail=b"") == plain._replace(
            brightness=0, contrast=0, thumbnail=b""
        )
        shades = np.frombuffer(framed.thumbnail, np.uint8).astype(int) - np.frombuffer(plain.thumbnail, np.uint8)
        assert np.abs(shades).max() <= 2
        assert framed.contrast == pytest.approx(plain.contrast, abs=1)


@pytest.mark.parametrize(("side", "size"), [(28, 224), (500, 16)])
def test_pixels_that_are_not_worth_keeping_are_not_prepared(side: int, size: int):
    record, prepared = measure(encoded(scene(side, side)), Framing(size))
    assert record.width == side
    assert prepared is None


@pytest.mark.parametrize("shape", [(28, 28), (32, 32), (45, 33), (7, 100), (1, 1)])
def test_a_thumbnail_averages_areas(shape: tuple[int, int]):
    grey = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    height, width = shape
    # Each pixel cut into 32 x 32 pieces: then every cell of the thumbnail is made of whole pieces.
    pieces = np.kron(grey, np.ones((THUMBNAIL, THUMBNAIL)))
    expected = pieces.reshape(THUMBNAIL, height, THUMBNAIL, width).mean(axis=(1, 3))
    assert np.abs(thumbnail(grey) - expected).max() <= 0.5 + 1e-6


def test_mirrored_pictures_have_mirrored_thumbnails():
    grey = scene(45, 67)[..., 0]
    np.testing.assert_array_equal(thumbnail(grey[:, ::-1]), thumbnail(grey)[:, ::-1])
    np.testing.assert_array_equal(thumbnail(grey[::-1]), thumbnail(grey)[::-1])


def animation(kind: str) -> bytes:
    buffer = io.BytesIO()
    frames = [Image.fromarray(scene(40, 40, seed)) for seed in range(5)]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


@pytest.mark.parametrize(("kind", "frames"), [("GIF", 2), ("TIFF", 2), ("PNG", 5), ("WEBP", 5)])
def test_animations_are_counted_as_far_as_that_costs_nothing(kind: str, frames: int):
    assert measure(animation(kind))[0].frames == frames
    assert measure(encoded(scene(40, 40), kind))[0].frames == 1


def test_damage_behind_the_first_frame_does_not_cost_the_picture():
    # In place of the mark of the end: a second frame of which two bytes are there.
    record, _ = measure(encoded(scene(40, 40), "GIF").removesuffix(b";") + b",\x01\x00")
    assert (record.format, record.frames, record.kind) == ("GIF", 1, "")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"<html>not found</html>", "not-a-picture"),
        (encoded(scene(200, 200), "JPEG")[:2000], "truncated"),
    ],
)
def test_what_cannot_be_read_has_a_kind_and_a_reason(data: bytes, kind: str):
    record, prepared = measure(data, Framing(32))
    assert prepared is None
    assert record.kind == kind
    assert record.reason
    assert record == Record(kind=kind, reason=record.reason)
