"""Parallel decoding: in order, within memory, past bad files, and no thread left behind."""

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


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return sorted(make_class_folders(tmp_path, {"cat": 6, "dog": 5}).rglob("*.png"))


def decoding_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tltool-decode")]


@pytest.mark.parametrize("workers", [None, 1, 5])
@pytest.mark.parametrize("batch_size", [1, 4, 11, 50])
def test_batches_hold_what_decode_returns_in_order(paths: list[Path], batch_size: int, workers: int | None) -> None:
    found = list(read_batches(paths, 16, batch_size, workers))
    assert [len(batch.indices) for batch in found][:-1] == [batch_size] * (len(found) - 1)
    assert np.concatenate([batch.indices for batch in found]).tolist() == list(range(11))
    pixels = np.concatenate([batch.pixels for batch in found])
    assert pixels.dtype == np.float32
    assert np.array_equal(pixels, np.stack([prepare(decode(path), 16) for path in paths]))
    assert all(batch.problems == [] for batch in found)
    assert decoding_threads() == []


def test_unreadable_files_are_left_out_and_named(paths: list[Path]) -> None:
    paths[1].write_bytes(b"no picture")
    paths[4].write_bytes(b"")
    paths[9].unlink()
    found = list(read_batches(paths, 8, 5))
    assert np.concatenate([batch.indices for batch in found]).tolist() == [0, 2, 3, 5, 6, 7, 8, 10]
    assert [problem for batch in found for problem in batch.problems] == [
        (1, "not a picture that can be read"),
        (4, "the file is empty (0 bytes)"),
        (9, "cannot be read (No such file or directory)"),
    ]
    for batch in found:
        for index, pixels in zip(batch.indices, batch.pixels, strict=True):
            assert np.array_equal(pixels, prepare(decode(paths[index]), 8))


def test_a_batch_of_unreadable_files_has_length_zero(tmp_path: Path) -> None:
    (batch,) = read_batches([tmp_path / "a.png", tmp_path / "b.png"], 8, 2)
    assert batch.indices.shape == (0,)
    assert batch.pixels.shape == (0, 8, 8, 3)
    assert [index for index, _ in batch.problems] == [0, 1]


def test_no_paths_no_batches() -> None:
    assert list(read_batches([], 8, 2)) == []


def test_look_ahead_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def slow_consumer_decode(path: Path, size: int) -> np.ndarray:
        started.append(path)
        return np.zeros((size, size, 3), np.uint8)

    monkeypatch.setattr(batches, "decode", slow_consumer_decode)
    reader = read_batches([tmp_path / str(i) for i in range(1000)], 4, 10)
    for handed_out in range(1, 4):
        next(reader)
        time.sleep(0.05)
        assert len(started) == 10 * (handed_out + LOOK_AHEAD)
    reader.close()


def test_threads_end_when_the_consumer_stops_early(paths: list[Path]) -> None:
    for batch in read_batches(paths * 100, 16, 4):
        assert decoding_threads()
        assert len(batch.indices) == 4
        break
    assert decoding_threads() == []


def test_threads_end_when_decoding_fails_in_an_unforeseen_way(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path, size: int) -> np.ndarray:
        raise ZeroDivisionError("a mistake in tltool")

    monkeypatch.setattr(batches, "decode", broken)
    with pytest.raises(ZeroDivisionError, match="a mistake in tltool"):
        list(read_batches(paths, 16, 4))
    assert decoding_threads() == []


@pytest.mark.parametrize("numbers", [(0, 4, 1), (16, 0, 1), (16, 4, 0)])
def test_numbers_below_one_are_refused_at_once(paths: list[Path], numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        read_batches(paths, *numbers)


def test_warnings_stay_quiet_in_every_thread_and_the_filters_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every picture warns that it is large; were the filters not shared, some thread would now and then raise it.
    paths = [make_picture(tmp_path / f"{i}.png", size=24) for i in range(20)] * 30
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 24 // 2 + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        assert [batch.problems for batch in read_batches(paths, 16, 50, workers=8)] == [[]] * 12
        assert warnings.filters == before
