"""The scan: every file read once, decoded at most once, whatever happens to its store."""

import os
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pictures import make_class_folders
from tltool.data import record_store
from tltool.data import scan as scan_module
from tltool.data.content import content_key
from tltool.data.decoding import Framing, decode, prepare
from tltool.data.pixel_cache import pixel_cache
from tltool.data.record import measure
from tltool.data.record_store import RecordStore, records_path
from tltool.data.scan import scan


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("TLTOOL_CACHE", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path, cache) -> Path:
    root = make_class_folders(tmp_path / "pictures", {"a": 5, "b": 4}, size=40)
    Image.open(root / "a" / "a_0001.png").resize((300, 200)).save(root / "a" / "photo.jpg")
    (root / "a" / "empty.png").touch()
    (root / "b" / "page.png").write_text("<html>")
    return root


def listed(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*"))


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """Content keys of what is decoded from here on."""
    keys = []

    def counting(data, framing=None):
        keys.append(content_key(data))
        return measure(data, framing)

    monkeypatch.setattr(scan_module, "measure", counting)
    return keys


def assert_same(a, b):
    for name in ("files", "keys", "problems", "formats", "hidden"):
        assert getattr(a, name) == getattr(b, name)
    for name in ("width", "height", "frames", "brightness", "contrast", "thumbnails"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert getattr(a, name).dtype == getattr(b, name).dtype


def test_every_row_is_what_a_look_at_its_file_tells(folder):
    files = listed(folder)
    seen = scan(folder, files)
    assert seen.files == tuple(files)
    assert seen.thumbnails.shape == (len(files), 32, 32)
    assert {problem.path: problem.kind for problem in seen.problems} == {
        "a/empty.png": "empty",
        "b/page.png": "not-a-picture",
    }
    readable = 0
    for row, file in enumerate(files):
        record, _ = measure((folder / file).read_bytes())
        if record.kind:
            assert seen.keys[row] is None
            assert not seen.thumbnails[row].any()
            continue
        readable += 1
        assert seen.keys[row] == content_key((folder / file).read_bytes())
        assert (seen.width[row], seen.height[row], seen.frames[row]) == (record.width, record.height, record.frames)
        assert (seen.formats[row], seen.hidden[row]) == (record.format, record.hidden)
        assert seen.brightness[row] == np.float32(record.brightness)
        assert seen.contrast[row] == np.float32(record.contrast)
        assert seen.thumbnails[row].tobytes() == record.thumbnail
    assert readable == 10
    assert dict(zip(files, seen.formats, strict=True))["a/photo.jpg"] == "JPEG"


def test_the_second_time_nothing_is_decoded(folder, decoded):
    files = listed(folder)
    first = scan(folder, files)
    assert len(decoded) == len(files)
    # Verdicts are remembered as well, and names do not matter.
    (folder / "b" / "page.png").rename(folder / "b" / "moved.png")
    moved = listed(folder)
    second = scan(folder, moved)
    assert len(decoded) == len(files)
    assert [problem.path for problem in second.problems] == ["a/empty.png", "b/moved.png"]
    assert [problem.reason for problem in second.problems] == [problem.reason for problem in first.problems]
    (folder / "b" / "moved.png").rename(folder / "b" / "page.png")
    assert_same(scan(folder, files), first)


def test_order_and_chunks_do_not_matter(folder, monkeypatch):
    files = listed(folder)
    whole = scan(folder, files)
    monkeypatch.setattr(scan_module, "FILES_AT_ONCE", 3)
    monkeypatch.setattr(scan_module, "HELD_BYTES", 1)
    monkeypatch.setattr(scan_module, "TRANSACTION", 2)
    records_path().unlink()
    assert_same(scan(folder, files), whole)
    backwards = scan(folder, files[::-1])
    np.testing.assert_array_equal(backwards.thumbnails[::-1], whole.thumbnails)
    assert backwards.keys[::-1] == whole.keys
    assert backwards.problems[::-1] == whole.problems


def test_take_gives_the_rows_of_some_files(folder):
    files = listed(folder)
    seen = scan(folder, files)
    rows = [files.index("b/page.png"), files.index("a/photo.jpg")]
    part = seen.take(np.array(rows))
    assert_same(part, scan(folder, ["b/page.png", "a/photo.jpg"]))
    assert part.width.tolist() == [0, 300]
    assert [problem.path for problem in part.problems] == ["b/page.png"]


def test_no_files():
    seen = scan(Path("nowhere"), [])
    assert (seen.files, seen.problems, seen.thumbnails.shape) == ((), (), (0, 32, 32))


def test_a_file_that_cannot_be_opened_is_asked_for_again(folder, decoded):
    seen = scan(folder, ["a/a_0000.png", "a/gone.png"])
    assert seen.keys[1] is None
    (problem,) = seen.problems
    assert (problem.path, problem.kind) == ("a/gone.png", "unreadable")
    (folder / "a" / "gone.png").write_bytes((folder / "a" / "a_0001.png").read_bytes())
    again = scan(folder, ["a/a_0000.png", "a/gone.png"])
    assert not again.problems
    assert len(decoded) == 2


def test_what_is_too_large_is_judged_each_time(folder, decoded):
    data = (folder / "a" / "a_0000.png").read_bytes()
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + data[24:29]
    (folder / "a" / "vast.png").write_bytes(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:])
    for _ in range(2):
        (problem,) = scan(folder, ["a/vast.png"]).problems
        assert (problem.path, problem.kind) == ("a/vast.png", "too-large")
        assert "60,000 x 60,000" in problem.reason
    assert len(decoded) == 2


def test_with_a_framing_pixels_are_kept_on_the_way(folder):
    framing = Framing(40, "crop")
    seen = scan(folder, ["a/photo.jpg", "b/page.png"], framing)
    kept = pixel_cache().get(seen.keys[0], framing)
    np.testing.assert_array_equal(kept, prepare(decode(folder / "a" / "photo.jpg", 40), framing))
    assert_same(seen, scan(folder, ["a/photo.jpg", "b/page.png"]))


def test_progress_is_told_to_the_end(folder, monkeypatch):
    monkeypatch.setattr(scan_module, "FILES_AT_ONCE", 4)
    told = []
    files = listed(folder)
    scan(folder, files, report=lambda task, done, total: told.append((done, total)))
    assert told == [(4, 12), (8, 12), (12, 12)]


@pytest.mark.parametrize("damage", [b"x" * 5000, b""], ids=["no database", "emptied"])
def test_a_damaged_store_is_replaced(folder, decoded, damage):
    files = listed(folder)
    first = scan(folder, files)
    records_path().write_bytes(damage)
    assert_same(scan(folder, files), first)
    assert len(decoded) == 2 * len(files)
    assert_same(scan(folder, files), first)
    assert len(decoded) == 2 * len(files)


def test_another_pillow_looks_again(folder, decoded, monkeypatch):
    scan(folder, ["b/page.png"])
    monkeypatch.setattr(record_store.PIL, "__version__", "99.0")
    scan(folder, ["b/page.png"])
    assert len(decoded) == 2


# Dies in its third look, when the first two are stored.
DYING = """
import os, signal, sys
from pathlib import Path
from tltool.data import scan as module
module.FILES_AT_ONCE, module.TRANSACTION, module.LOOK_AHEAD = 1, 1, 1
os.cpu_count = lambda: 1
measure, looks = module.measure, []
def dying(*arguments):
    looks.append(1)
    if len(looks) > 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return measure(*arguments)
module.measure = dying
module.scan(Path(sys.argv[1]), sys.argv[2:])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a system that can kill: runs on Linux and macOS")
def test_a_kill_loses_only_what_was_not_written(folder, decoded):
    files = [file for file in listed(folder) if file.startswith("a/a_")]
    done = subprocess.run(
        [sys.executable, "-c", DYING, str(folder), *files], capture_output=True, timeout=60, check=False, env=os.environ
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    keys = [content_key((folder / file).read_bytes()) for file in files]
    stored = RecordStore(records_path()).get(keys)
    assert 1 <= len(stored) <= 3
    seen = scan(folder, files)
    assert len(decoded) == len(files) - len(stored)
    assert seen.keys == tuple(keys)


def test_an_interrupt_ends_the_threads(folder, monkeypatch):
    monkeypatch.setattr(scan_module, "FILES_AT_ONCE", 1)

    def interrupt(task, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(folder, listed(folder), report=interrupt)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tltool-scan")]
    assert len(scan(folder, listed(folder)).problems) == 2


def test_records_come_back_as_they_were_put(tmp_path):
    record, _ = measure(b"no picture")
    other = record._replace(width=7, brightness=0.1, contrast=float(np.float64(1) / 3), thumbnail=bytes(range(256)) * 4)
    store = RecordStore(tmp_path / "records.sqlite")
    store.put([("one", record), ("two", other)])
    assert RecordStore(tmp_path / "records.sqlite").get(["one", "two", "three"]) == {"one": record, "two": other}
    with pytest.raises(sqlite3.Error):
        store.get([object()])
    assert len(store.get(["one"])) == 1
