"""Parallel reading: in order, within memory, past bad files, through the cache, and no thread left behind."""

import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pictures import make_class_folders, make_picture
from tltool.data import batches, decode, prepare, read_batches
from tltool.data.batches import LOOK_AHEAD
from tltool.data.content import content_key
from tltool.data.decoding import FITS, Framing
from tltool.data.pixel_cache import pixel_cache

SQUARE = Framing(16)


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return sorted(make_class_folders(tmp_path / "photos", {"cat": 6, "dog": 5}).rglob("*.png"))


def keys_of(paths: list[Path]) -> list[str]:
    return [content_key(path.read_bytes()) for path in paths]


def pixels_of(paths: list[Path], framing: Framing, keys: list[str | None] | None) -> np.ndarray:
    return np.concatenate([batch.pixels for batch in read_batches(paths, framing, 4, keys=keys)])


def decoding_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tltool-decode")]


@pytest.mark.parametrize("workers", [None, 1, 5])
@pytest.mark.parametrize("batch_size", [1, 4, 11, 50])
def test_batches_hold_what_decode_returns_in_order(paths: list[Path], batch_size: int, workers: int | None) -> None:
    found = list(read_batches(paths, SQUARE, batch_size, workers))
    assert [len(batch.indices) for batch in found][:-1] == [batch_size] * (len(found) - 1)
    assert np.concatenate([batch.indices for batch in found]).tolist() == list(range(11))
    pixels = np.concatenate([batch.pixels for batch in found])
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, np.stack([prepare(decode(path), SQUARE) for path in paths]))
    assert all(batch.problems == [] for batch in found)
    assert decoding_threads() == []


def test_unreadable_files_are_left_out_and_named(paths: list[Path]) -> None:
    paths[1].write_bytes(b"no picture")
    paths[4].write_bytes(b"")
    paths[9].unlink()
    found = list(read_batches(paths, Framing(8), 5))
    assert np.concatenate([batch.indices for batch in found]).tolist() == [0, 2, 3, 5, 6, 7, 8, 10]
    assert [(index, str(fault), fault.kind) for batch in found for index, fault in batch.problems] == [
        (1, "not a picture that can be read", "not-a-picture"),
        (4, "the file is empty (0 bytes)", "empty"),
        (9, "cannot be read (No such file or directory)", "unreadable"),
    ]
    for batch in found:
        for index, pixels in zip(batch.indices, batch.pixels, strict=True):
            assert np.array_equal(pixels, prepare(decode(paths[index]), Framing(8)))


def test_a_batch_of_unreadable_files_has_length_zero(tmp_path: Path) -> None:
    (batch,) = read_batches([tmp_path / "a.png", tmp_path / "b.png"], Framing(8), 2)
    assert batch.indices.shape == (0,)
    assert batch.pixels.shape == (0, 8, 8, 3)
    assert batch.pixels.dtype == np.uint8
    assert [index for index, _ in batch.problems] == [0, 1]


def test_no_paths_no_batches() -> None:
    assert list(read_batches([], Framing(8), 2)) == []


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The files that were decoded."""
    seen = []

    def counting(data: bytes, size: int) -> np.ndarray:
        seen.append(data)
        return decode(data, size)

    monkeypatch.setattr(batches, "decode", counting)
    return seen


@pytest.mark.parametrize("fit", FITS)
def test_with_keys_a_picture_is_decoded_once(paths: list[Path], decoded: list[bytes], fit: str) -> None:
    keys, framing = keys_of(paths), Framing(16, fit)
    plain = pixels_of(paths, framing, None)
    first = pixels_of(paths, framing, keys)
    assert len(decoded) == 22
    again = pixels_of(paths, framing, keys)
    backwards = pixels_of(paths[::-1], framing, keys[::-1])
    assert len(decoded) == 22
    for pixels in (first, again, backwards[::-1]):
        assert pixels.dtype == np.uint8
        assert np.array_equal(pixels, plain)


def test_another_framing_is_decoded_anew(paths: list[Path], decoded: list[bytes]) -> None:
    keys = keys_of(paths)
    for count, framing in enumerate((Framing(16), Framing(16, "pad"), Framing(15)), start=1):
        pixels_of(paths, framing, keys)
        assert len(decoded) == 11 * count


def test_without_a_key_the_cache_is_left_alone(paths: list[Path], decoded: list[bytes]) -> None:
    keys = [None, *keys_of(paths)[1:]]
    for _ in range(2):
        pixels_of(paths, SQUARE, keys)
    assert len(decoded) == 11 + 1


def test_a_file_that_changed_since_its_key_was_taken_does_not_spoil_the_cache(
    paths: list[Path], decoded: list[bytes]
) -> None:
    keys, before = keys_of(paths), paths[3].read_bytes()
    make_picture(paths[3], (1, 2, 3))
    changed = pixels_of(paths, SQUARE, keys)
    assert (changed[3] == (1, 2, 3)).all()
    paths[3].write_bytes(before)
    assert np.array_equal(pixels_of(paths, SQUARE, keys)[3], prepare(decode(before), SQUARE))
    assert len(decoded) == 11 + 1


def test_pictures_smaller_than_the_square_are_not_kept(paths: list[Path], decoded: list[bytes]) -> None:
    keys = keys_of(paths)  # of pictures of 32 x 32
    for size, kept in ((33, False), (32, True), (31, True)):
        decoded.clear()
        for _ in range(2):
            pixels_of(paths, Framing(size), keys)
        assert len(decoded) == (11 if kept else 22), size


def test_a_picture_that_is_kept_needs_no_file(paths: list[Path]) -> None:
    keys = keys_of(paths)
    before = pixels_of(paths, SQUARE, keys)
    paths[5].unlink()
    assert np.array_equal(pixels_of(paths, SQUARE, keys), before)
    pixel_cache()._path(keys[5], SQUARE).unlink()
    (*_, last) = read_batches(paths, SQUARE, 11, keys=keys)
    ((index, fault),) = last.problems
    assert (index, str(fault)) == (5, "cannot be read (No such file or directory)")


def test_without_a_usable_cache_pictures_are_decoded_each_time(
    paths: list[Path], decoded: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = keys_of(paths)
    expected = pixels_of(paths, SQUARE, None)
    monkeypatch.setenv("TLTOOL_PIXEL_CACHE", "0")
    for _ in range(2):
        assert np.array_equal(pixels_of(paths, SQUARE, keys), expected)
    assert len(decoded) == 33


def test_look_ahead_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def recorded_decode(data: bytes, size: int) -> np.ndarray:
        started.append(data)
        return np.zeros((size, size, 3), np.uint8)

    monkeypatch.setattr(batches, "read_bytes", lambda path: path.name.encode())
    monkeypatch.setattr(batches, "decode", recorded_decode)
    reader = read_batches([tmp_path / str(i) for i in range(1000)], Framing(4), 10)
    for handed_out in range(1, 4):
        next(reader)
        time.sleep(0.05)
        assert len(started) == 10 * (handed_out + LOOK_AHEAD)
    reader.close()


def test_threads_end_when_the_consumer_stops_early(paths: list[Path]) -> None:
    for batch in read_batches(paths * 100, SQUARE, 4):
        assert decoding_threads()
        assert len(batch.indices) == 4
        break
    assert decoding_threads() == []


def test_threads_end_when_decoding_fails_in_an_unforeseen_way(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(data: bytes, size: int) -> np.ndarray:
        raise ZeroDivisionError("a mistake in tltool")

    monkeypatch.setattr(batches, "decode", broken)
    with pytest.raises(ZeroDivisionError, match="a mistake in tltool"):
        list(read_batches(paths, SQUARE, 4))
    assert decoding_threads() == []


@pytest.mark.parametrize("numbers", [(0, 1), (4, 0)])
def test_numbers_below_one_are_refused_at_once(paths: list[Path], numbers: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        read_batches(paths, SQUARE, *numbers)


def test_another_number_of_keys_is_refused_at_once(paths: list[Path]) -> None:
    with pytest.raises(ValueError, match="11 paths but 2 keys"):
        read_batches(paths, SQUARE, 4, keys=["aa", "bb"])


def test_warnings_stay_quiet_in_every_thread_and_the_filters_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every picture warns that it is large; were the filters not shared, some thread would now and then raise it.
    paths = [make_picture(tmp_path / f"{i}.png", size=24) for i in range(20)] * 30
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 24 // 2 + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        assert [batch.problems for batch in read_batches(paths, SQUARE, 50, workers=8)] == [[]] * 12
        assert warnings.filters == before
