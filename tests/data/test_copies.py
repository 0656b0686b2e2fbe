"""Copies are found however they were saved, other pictures are not, and no amount of them takes for ever."""

import io
import time

import numpy as np
import pytest
from PIL import Image

from tltool.data.copies import SAME_BELOW, find_copies
from tltool.data.likeness import describe, nearest
from tltool.data.record import THUMBNAIL, measure


def pictures(count: int, seed: int = 0) -> list[Image.Image]:
    """Smooth pictures with some detail, of which no two are alike."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (7, 9, 3)).astype(np.uint8))
        pixels = np.asarray(coarse.resize((180, 140), Image.Resampling.BICUBIC)).astype(float)
        made.append(Image.fromarray(np.clip(pixels + random.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)))
    return made


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def thumbnail(data: bytes) -> np.ndarray:
    record, _ = measure(data)
    return np.frombuffer(record.thumbnail, np.uint8).reshape(THUMBNAIL, THUMBNAIL)


CHANGES = {
    "saved at quality 60": lambda picture: encoded(picture, "JPEG", quality=60),
    "half the size": lambda picture: encoded(picture.resize((90, 70))),
    "mirrored": lambda picture: encoded(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "JPEG", quality=85),
    "upside down": lambda picture: encoded(picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM), "JPEG", quality=85),
    "turned by half": lambda picture: encoded(picture.transpose(Image.Transpose.ROTATE_180)),
    "turned by a quarter": lambda picture: encoded(picture.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=85),
    "brighter": lambda picture: encoded(picture.point(lambda value: min(255, value * 1.05 + 4)), "JPEG", quality=85),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_and_only_they(change):
    originals = pictures(40)
    data = [encoded(picture) for picture in originals] + [CHANGES[change](picture) for picture in originals[::4]]
    found = find_copies([str(i) for i in range(len(data))], np.stack([thumbnail(one) for one in data]))
    assert found.exact == ()
    assert found.groups == tuple((original, 40 + place) for place, original in enumerate(range(0, 40, 4)))


def test_files_of_one_content_are_exact_copies_even_when_blank():
    blank, other = np.full((32, 32), 200, np.uint8), thumbnail(encoded(pictures(1)[0]))
    found = find_copies(["a", "b", "a", "c", None, None], np.stack([blank, blank, blank, other, other, other]))
    assert found.exact == found.groups == ((0, 2),)


def test_exact_and_near_copies_of_one_picture_are_one_group():
    one, two = (encoded(picture) for picture in pictures(2))
    again = encoded(Image.open(io.BytesIO(one)).convert("RGB"), "JPEG", quality=60)
    thumbnails = np.stack([thumbnail(data) for data in (one, two, again, one)])
    found = find_copies(["one", "two", "again", "one"], thumbnails)
    assert found.exact == ((0, 3),)
    assert found.groups == ((0, 2, 3),)


def test_the_order_of_the_files_does_not_matter():
    random = np.random.default_rng(0)
    base = np.stack([thumbnail(encoded(picture)) for picture in pictures(150)])
    thumbnails = np.clip(np.tile(base, (2, 1, 1)) + random.integers(-25, 26, (300, 32, 32)), 0, 255).astype(np.uint8)
    order = random.permutation(300)
    found = find_copies([str(i) for i in range(300)], thumbnails)
    shuffled = find_copies([str(i) for i in order], thumbnails[order])
    assert 50 < len(found.groups) < 150
    assert {frozenset(order[list(group)].tolist()) for group in shuffled.groups} == set(map(frozenset, found.groups))


def icons(count: int) -> np.ndarray:
    """White shapes on black of which a third has another one nearer than `SAME_BELOW`, like drawings of clothes."""
    rows, columns = np.mgrid[-1:1:32j, -1:1:32j]
    wave = np.arange(1, 4)[:, None, None] * np.arctan2(rows, columns)
    height = np.random.default_rng(0).normal(0, 0.03, (count, 2, 3, 1, 1))
    edge = 0.6 + (height[:, 0] * np.cos(wave) + height[:, 1] * np.sin(wave)).sum(axis=1)
    return (255 / (1 + np.exp(20 * (np.hypot(rows, columns) - edge)))).astype(np.uint8)


def test_icons_that_all_look_alike_are_not_copies_but_their_copies_are():
    made = icons(600)
    distances, _ = nearest(describe(made), 1)
    assert (distances < SAME_BELOW).mean() > 0.25
    noise = np.random.default_rng(1).integers(-3, 4, (20, 32, 32))
    again = np.clip(made[:20] + noise, 0, 255).astype(np.uint8)
    found = find_copies([str(i) for i in range(620)], np.concatenate([made, again]))
    together = {i: group for group in found.groups for i in group}
    assert all(600 + i in together[i] for i in range(20))
    assert len(together) <= 60


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare(count):
    assert find_copies(["a"] * count, np.zeros((count, 32, 32), np.uint8)).groups == ()


def test_noise_on_a_blank_page_makes_no_copies():
    random = np.random.default_rng(0)
    pages = np.clip(np.rint(random.normal(250, 1.5, (500, 32, 32))), 0, 255).astype(np.uint8)
    assert find_copies([str(i) for i in range(500)], pages).groups == ()


@pytest.mark.parametrize("kind", ["equal", "crowd", "chain"])
def test_crowds_of_copies_take_no_longer_than_they_must(kind):
    count = 6000  # of which 18 million pairs would take a minute
    base = thumbnail(encoded(pictures(1)[0])).astype(int)
    random = np.random.default_rng(0)
    if kind == "crowd":
        made = base + random.integers(-2, 3, (count, 32, 32))
    elif kind == "chain":  # each frame hardly differs from the one before
        other = thumbnail(encoded(pictures(1, seed=1)[0])).astype(int)
        made = base + (other - base) * np.linspace(0, 1, count)[:, None, None]
    else:
        made = np.broadcast_to(base, (count, 32, 32))
    start = time.monotonic()
    found = find_copies([str(i) for i in range(count)], np.clip(np.rint(made), 0, 255).astype(np.uint8))
    assert time.monotonic() - start < 30  # no claim of speed: a quadratic search would be far above
    assert sum(map(len, found.groups)) == count
    if kind != "chain":
        assert len(found.groups) == 1
