"""The pixel cache: what it gives is what was put in, whatever happened in between, and it never fails a run."""

import errno
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tltool.data import pixel_cache as module
from tltool.data.decoding import FITS, Framing
from tltool.data.pixel_cache import (
    ABANDONED,
    CHECKSUM,
    CLOSED,
    FREE_KEPT,
    KEPT_AFTER_USE,
    LARGEST,
    MARKED_EVERY,
    SHARDS,
    WRITING,
    PixelCache,
    pays,
    pixel_cache,
)
from tltool.errors import TltoolError

SQUARE = Framing(8)
FILE = CHECKSUM + 8 * 8 * 3  # bytes
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def _room_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2 * FREE_KEPT, 0, 2 * FREE_KEPT))
    module._warn.cache_clear()


def key(number: int) -> str:
    """Keys of one shard."""
    return f"a{number:039x}"


def square(number: int, framing: Framing = SQUARE) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (framing.size, framing.size, 3), dtype=np.uint8)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def small_cache(folder: Path, pictures: int) -> PixelCache:
    """A cache with room for so many pictures in each shard."""
    return PixelCache(folder, pictures * FILE * len(SHARDS))


def age(folder: Path, seconds: float) -> None:
    """Makes all that is in the cache older."""
    for path in files(folder):
        used = path.stat().st_mtime - seconds
        os.utime(path, (used, used))


def known(cache: PixelCache, numbers: range) -> list[int]:
    return [number for number in numbers if cache.get(key(number), SQUARE) is not None]


def test_what_was_put_in_comes_out(tmp_path: Path) -> None:
    cache = PixelCache(tmp_path / "pixels")
    framings = [Framing(size, fit) for size in (1, 8, 33) for fit in FITS]
    for number in range(5):
        for framing in framings:
            assert cache.get(key(number), framing) is None
            cache.put(key(number), framing, square(number, framing))
    for reader in (cache, PixelCache(tmp_path / "pixels")):
        for number in range(5):
            for framing in framings:
                found = reader.get(key(number), framing)
                assert found.dtype == np.uint8
                assert np.array_equal(found, square(number, framing))
                found[:] = 0  # the caller's own
        assert reader.get(key(9), SQUARE) is None


def test_pixels_that_do_not_lie_in_one_piece_are_kept_as_they_look(tmp_path: Path) -> None:
    cache = PixelCache(tmp_path)
    wide = square(0, Framing(16))
    cache.put(key(0), SQUARE, wide[::2, 3:11])
    assert np.array_equal(cache.get(key(0), SQUARE), wide[::2, 3:11])


def damage(data: bytes, how: str) -> bytes:
    changed = bytearray(data)
    if how == "a changed pixel":
        changed[100] ^= 1
    if how == "a changed checksum":
        changed[0] ^= 1
    return {
        "cut": data[:-1],
        "longer": data + b"\0",
        "empty": b"",
        "only zeros": bytes(len(data)),
    }.get(how, bytes(changed))


@pytest.mark.parametrize(
    "how", ["cut", "longer", "empty", "only zeros", "a changed pixel", "a changed checksum", "a folder"]
)
def test_a_damaged_file_is_a_miss_and_goes(tmp_path: Path, how: str) -> None:
    cache = PixelCache(tmp_path)
    cache.put(key(1), SQUARE, square(1))
    (path,) = files(tmp_path)
    data = path.read_bytes()
    if how == "a folder":
        path.unlink()
        path.mkdir()
        assert cache.get(key(1), SQUARE) is None
        return
    path.write_bytes(damage(data, how))
    assert cache.get(key(1), SQUARE) is None
    assert files(tmp_path) == []
    cache.put(key(1), SQUARE, square(1))
    assert np.array_equal(cache.get(key(1), SQUARE), square(1))


def test_a_write_that_is_cut_off_leaves_nothing_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = PixelCache(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            cache.put(key(1), SQUARE, square(1))
    assert files(tmp_path) == []
    assert cache.get(key(1), SQUARE) is None


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    cache = small_cache(tmp_path, 4)
    shard = tmp_path / "a"
    shard.mkdir()
    (shard / f"{WRITING}1-1").write_bytes(b"half of a picture")
    age(tmp_path, ABANDONED + 60)
    (shard / f"{WRITING}2-2").write_bytes(b"being written by another process")
    cache.put(key(1), SQUARE, square(1))
    assert [path.name for path in files(tmp_path)] == [f"{WRITING}2-2", f"{key(1)}-8-squish.{module.FORMAT}"]


def test_the_pictures_that_were_not_used_for_longest_go_first(tmp_path: Path) -> None:
    for number in range(10):
        small_cache(tmp_path, 10).put(key(number), SQUARE, square(number))
        age(tmp_path, KEPT_AFTER_USE)  # so that each is older than the next
    cache = small_cache(tmp_path, 10)
    assert cache.get(key(2), SQUARE) is not None  # which marks its use
    for number in (10, 11, 12):
        cache.put(key(number), SQUARE, square(number))
    assert known(cache, range(13)) == [2, 4, 5, 6, 7, 8, 9, 10, 11, 12]


def test_the_bound_holds(tmp_path: Path) -> None:
    cache = small_cache(tmp_path, 30)
    sizes = []
    for number in range(200):
        cache.put(key(number), SQUARE, square(number))
        sizes.append(sum(path.stat().st_size for path in files(tmp_path)))
        if number % 10 == 0:
            age(tmp_path, KEPT_AFTER_USE)
    assert max(sizes) <= 30 * FILE
    assert min(sizes[40:]) >= 20 * FILE  # and the room is used


def test_room_is_made_for_more_than_one_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard holds thousands: listing it for each of them would take longer than decoding."""
    monkeypatch.setattr(module, "KEPT_AFTER_USE", -1.0)
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: listed.append(folder) or scandir(folder))
    cache = small_cache(tmp_path, 100)
    for number in range(200):
        cache.put(key(number), SQUARE, square(number))
    # Every 5 pictures, of which 100 fit, to see what others wrote; and every 10 to make room once they are there.
    assert len(listed) <= 200 / 5 + 100 / 10


def test_what_is_in_use_is_not_thrown_out_for_more(tmp_path: Path) -> None:
    """Of a set twice as large as the cache, half is found in each pass; by age alone it would be nothing."""
    cache = small_cache(tmp_path, 10)
    found = []
    for _ in range(3):
        found.append(known(cache, range(20)))
        for number in range(20):
            cache.put(key(number), SQUARE, square(number))
    assert found == [[], list(range(10)), list(range(10))]


def test_a_clock_that_was_set_back_does_not_keep_pictures_for_good(tmp_path: Path) -> None:
    cache = small_cache(tmp_path, 2)
    for number in range(2):
        cache.put(key(number), SQUARE, square(number))
    age(tmp_path, -2 * KEPT_AFTER_USE)
    cache.put(key(2), SQUARE, square(2))
    assert 2 in known(cache, range(3))
    assert len(files(tmp_path)) <= 2


def test_what_older_versions_left_is_evicted_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_cache(tmp_path, 1).put(key(0), SQUARE, square(0))
    age(tmp_path, 2 * KEPT_AFTER_USE)
    monkeypatch.setattr(module, "FORMAT", module.FORMAT + 1)
    cache = small_cache(tmp_path, 1)
    assert cache.get(key(0), SQUARE) is None
    cache.put(key(1), SQUARE, square(1))
    assert [path.name[:40] for path in files(tmp_path)] == [key(1)]


def test_pictures_of_other_processes_count(tmp_path: Path) -> None:
    first, second = small_cache(tmp_path, 20), small_cache(tmp_path, 20)
    for number in range(0, 60, 2):
        first.put(key(number), SQUARE, square(number))
        second.put(key(number + 1), SQUARE, square(number + 1))
    # Each looks again after a twentieth of the room.
    assert len(files(tmp_path)) <= 20 + 2 * 2


def test_use_is_marked_now_and_then(tmp_path: Path) -> None:
    cache = PixelCache(tmp_path)
    cache.put(key(0), SQUARE, square(0))
    (path,) = files(tmp_path)
    for seconds, marked in ((MARKED_EVERY / 2, False), (2 * MARKED_EVERY, True)):
        before = time.time() - seconds
        os.utime(path, (before, before))
        assert cache.get(key(0), SQUARE) is not None
        assert (path.stat().st_mtime > before + 1) == marked


def test_a_picture_larger_than_a_shard_is_not_kept(tmp_path: Path) -> None:
    cache = small_cache(tmp_path, 1)
    cache.put(key(0), Framing(9), square(0, Framing(9)))
    assert files(tmp_path) == []


def test_a_disk_that_is_nearly_full_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = PixelCache(tmp_path)
    cache.put(key(0), SQUARE, square(0))
    now = time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: Usage(2 * FREE_KEPT, FREE_KEPT, FREE_KEPT))
        cache.put(key(1), SQUARE, square(1))
    cache.put(key(2), SQUARE, square(2))
    assert known(cache, range(3)) == [0]  # and it does not look again at once
    now += CLOSED + 1
    cache.put(key(3), SQUARE, square(3))
    assert known(cache, range(4)) == [0, 3]


def unwritable(tmp_path: Path) -> Path:
    """Not a matter of permissions, which do not bind every user."""
    (tmp_path / "file").touch()
    return tmp_path / "file" / "pixels"


@pytest.mark.parametrize("how", ["unwritable", "full"])
def test_where_nothing_can_be_kept_there_is_one_warning_and_no_error(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = []

    def full_disk(self: PixelCache, path: Path, pixels: np.ndarray) -> None:
        tried.append(self)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PixelCache, "_write", full_disk)
    folder = unwritable(tmp_path) if how == "unwritable" else tmp_path / "pixels"
    with caplog.at_level(logging.WARNING, logger=module.__name__):
        for cache in (PixelCache(folder), PixelCache(folder)):
            for number in range(3):
                cache.put(key(number), SQUARE, square(number))
                assert cache.get(key(number), SQUARE) is None
    assert len(tried) == (2 if how == "full" else 0)  # not again for each picture
    (record,) = caplog.records
    reason = "Not a directory" if how == "unwritable" else "No space left on device"
    assert record.getMessage() == (
        f"{folder}: pixels cannot be kept there ({reason}). Pictures are decoded anew each time."
    )


def test_a_folder_that_is_deleted_meanwhile_is_made_again(tmp_path: Path) -> None:
    cache = PixelCache(tmp_path / "pixels")
    cache.put(key(0), SQUARE, square(0))
    shutil.rmtree(tmp_path / "pixels")
    assert cache.get(key(0), SQUARE) is None
    cache.put(key(1), SQUARE, square(1))
    assert known(cache, range(2)) == [1]


def test_threads_may_put_the_same_picture_at_once(tmp_path: Path) -> None:
    cache = PixelCache(tmp_path)
    barrier = threading.Barrier(8)

    def work(_: int) -> bool:
        barrier.wait(10)
        for number in range(30):
            cache.put(key(number % 3), SQUARE, square(number % 3))
            found = cache.get(key(number % 3), SQUARE)
            if found is None or not np.array_equal(found, square(number % 3)):
                return False
        return True

    with ThreadPoolExecutor(8) as executor:
        assert all(executor.map(work, range(8)))
    assert len(files(tmp_path)) == 3


PROCESS = """
import sys, time
import numpy as np
from tltool.data import pixel_cache as module
from tltool.data.decoding import Framing
folder, largest, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
module.KEPT_AFTER_USE = -1.0  # so that each throws out what the other reads
module.FREE_KEPT = 0
cache = module.PixelCache(module.Path(folder), largest)
framing, random = Framing(64), np.random.default_rng()
hits = misses = 0
end = time.monotonic() + seconds
while time.monotonic() < end:
    number = int(random.integers(60))
    key = f"a{number:039x}"
    found = cache.get(key, framing)
    if found is None:
        misses += 1
        cache.put(key, framing, np.full((64, 64, 3), number, np.uint8))
    else:
        hits += 1
        assert (found == number).all(), number
assert cache._usable
print(hits, misses)
"""


def test_processes_may_read_write_and_evict_at_once(tmp_path: Path) -> None:
    size = CHECKSUM + 64 * 64 * 3
    largest = 40 * size * len(SHARDS)  # of the 60 pictures that they want
    command = [sys.executable, "-W", "error", "-c", PROCESS, str(tmp_path), str(largest), "1.5"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in running:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert errors == ""
        hits, misses = map(int, output.split())
        assert hits > 100
        assert misses > 100
    left = files(tmp_path)
    assert not [path for path in left if path.name.startswith(WRITING)]
    assert 20 <= len(left) <= 40 + 2 * 3  # each may write a twentieth before it looks again


@pytest.mark.parametrize(
    ("height", "width", "worth"), [(8, 8, True), (7, 9, False), (4, 16, True), (28, 28, True), (7, 8, False)]
)
def test_pictures_smaller_than_the_square_do_not_pay(height: int, width: int, worth: bool) -> None:
    assert pays(np.zeros((height, width, 3), np.uint8), SQUARE) == worth


def test_the_cache_of_the_process_lies_in_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path / "here"))
    monkeypatch.delenv(module.VARIABLE, raising=False)
    cache = pixel_cache()
    assert cache is pixel_cache()
    assert cache._share == LARGEST / len(SHARDS)
    cache.put(key(0), SQUARE, square(0))
    assert files(tmp_path / "here" / "pixels")
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path / "there"))
    assert pixel_cache().get(key(0), SQUARE) is None


@pytest.mark.parametrize(("text", "largest"), [("", LARGEST), ("1.5", 1.5e9), (" 30 ", 30e9)])
def test_the_variable_says_how_large_it_may_be(
    text: str, largest: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path))
    monkeypatch.setenv(module.VARIABLE, text)
    assert pixel_cache()._share == largest / len(SHARDS)


def test_the_variable_may_say_that_there_is_to_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.VARIABLE, "0")
    assert pixel_cache() is None


@pytest.mark.parametrize("text", ["lots", "-1", "nan", "inf", "20GB"])
def test_a_variable_that_is_no_number_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.VARIABLE, text)
    with pytest.raises(TltoolError, match=f"TLTOOL_PIXEL_CACHE is '{text}'; it must be a number of gigabytes, or 0"):
        pixel_cache()


def test_without_a_cache_folder_there_is_none_and_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TLTOOL_CACHE", str(unwritable(tmp_path)))
    with caplog.at_level(logging.WARNING, logger=module.__name__):
        assert pixel_cache() is None
        assert pixel_cache() is None
    (record,) = caplog.records
    assert "cannot be written" in record.getMessage()
