"""Vectors on disk, with other processes writing, being killed, or leaving damage behind."""

import functools
import os
import signal
import sqlite3
import subprocess
import sys
import threading

import numpy as np
import pytest

from tltool.data.database import CHUNK
from tltool.errors import TltoolError
from tltool.features.store import FeatureStore


@pytest.fixture
def path(tmp_path):
    return tmp_path / "features" / "store.sqlite"


def vectors(count, size=7):
    return {f"key {index}": np.arange(size, dtype=np.float32) + index for index in range(count)}


def assert_holds(store, expected):
    found = store.get(list(expected))
    assert found.keys() == expected.keys()
    for key, vector in expected.items():
        np.testing.assert_array_equal(found[key], vector)


def test_vectors_come_back_bit_by_bit_in_a_new_store(path):
    expected = vectors(2 * CHUNK + 1) | {"odd": np.array([np.nan, np.inf, -0.0, 1e-45], np.float32)}
    FeatureStore(path).put(expected.items())
    assert_holds(FeatureStore(path), expected)
    assert FeatureStore(path).get(["odd"])["odd"].tobytes() == expected["odd"].tobytes()


def test_unknown_keys_are_left_out(path):
    store = FeatureStore(path)
    store.put(vectors(2).items())
    assert store.get(["key 1", "nobody"]).keys() == {"key 1"}
    assert store.get([]) == {}


def test_a_later_vector_replaces_an_earlier_one(path):
    store = FeatureStore(path)
    store.put([("a", np.zeros(3))])
    store.put([("a", np.ones(5))])
    np.testing.assert_array_equal(store.get(["a"])["a"], np.ones(5, np.float32))


def test_a_transaction_is_stored_whole_or_not_at_all(path):
    store = FeatureStore(path)
    with pytest.raises(ValueError, match="could not convert"):
        store.put([("a", np.zeros(3)), ("b", np.array(["no number"]))])
    assert store.get(["a", "b"]) == {}


DAMAGES = {
    "no database": lambda data: b"x" * 5000,
    "cut in its first page": lambda data: data[:100],
    "cut in half": lambda data: data[: len(data) // 2],
    "overwritten behind its first page": lambda data: data[:4096] + b"\xff" * (len(data) - 4096),
    "overwritten at its end": lambda data: data[:8192] + b"\xff" * (len(data) - 8192),
    "emptied": lambda data: b"",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_replaced(path, damage):
    FeatureStore(path).put(vectors(400, 200).items())
    path.write_bytes(damage(path.read_bytes()))
    store = FeatureStore(path)
    for key, vector in store.get(list(vectors(400))).items():
        np.testing.assert_array_equal(vector, vectors(400, 200)[key])  # what is still found is not made up
    store.put(vectors(3).items())
    assert_holds(FeatureStore(path), vectors(3))


def test_damage_while_the_store_is_open(path):
    store = FeatureStore(path)
    store.put(vectors(400, 200).items())
    path.write_bytes(b"x" * 5000)
    store.put(vectors(3).items())
    assert_holds(store, vectors(3))
    path.write_bytes(b"x" * 5000)
    assert store.get(["key 1"]) == {}


def test_what_is_no_damage_deletes_nothing(path, monkeypatch):
    """A full disk or a locked file must not cost the cache, nor must a mistake in the program."""
    store = FeatureStore(path)
    store.put(vectors(3).items())
    monkeypatch.setattr("tltool.data.database.LOCK_TIMEOUT", 0.05)
    other = sqlite3.connect(path)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(TltoolError, match="database is locked"):
            store.put(vectors(1).items())
    finally:
        other.close()
    with pytest.raises(sqlite3.Error):
        store.get([object()])
    assert_holds(store, vectors(3))


@pytest.mark.parametrize(
    ("pragma", "reason"), [("max_page_count = 2", "database or disk is full"), ("query_only = 1", "readonly database")]
)
def test_a_disk_that_is_full_or_read_only(path, monkeypatch, pragma, reason):
    store = FeatureStore(path)
    store.put(vectors(3).items())

    class Limited(sqlite3.Connection):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.execute(f"PRAGMA {pragma}")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Limited))
        with pytest.raises(TltoolError, match=rf"store\.sqlite: .*{reason}\)\. Free some space, or set TLTOOL_CACHE"):
            store.put((f"new {index}", np.ones(5000)) for index in range(10))
    assert_holds(store, vectors(3))


def test_a_file_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "file" / "store.sqlite", tmp_path / "folder"):
        with pytest.raises(TltoolError, match=r"features cannot be kept there .* set TLTOOL_CACHE"):
            FeatureStore(place)


def test_a_writer_waits_for_another_one(path):
    store = FeatureStore(path)
    other = sqlite3.connect(path, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO vectors VALUES ('other', x'0000803f')")
    timer = threading.Timer(0.3, other.commit)
    timer.start()
    store.put(vectors(1).items())
    timer.join()
    other.close()
    assert_holds(store, vectors(1) | {"other": np.ones(1, np.float32)})


WRITER = """
import sys
from pathlib import Path
import numpy as np
from tltool.features.store import FeatureStore
path, me = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for turn in range(60):
    store = FeatureStore(path)
    rows = [(f"{me}-{turn}-{row}", np.full(50, me * 1000 + turn)) for row in range(8)]
    store.put([*rows, ("shared", np.full(50, me))])
    assert len(store.get([key for key, _ in rows])) == 8
"""


def test_two_processes_write_at_once(path):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(me)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for me in (1, 2)
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:  # both have imported everything: from here on they meet
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    expected = {
        f"{me}-{turn}-{row}": np.full(50, me * 1000 + turn, np.float32)
        for me in (1, 2)
        for turn in range(60)
        for row in range(8)
    }
    store = FeatureStore(path)
    assert_holds(store, expected)
    assert set(store.get(["shared"])["shared"]) <= {1.0, 2.0}


# Dies when everything is written and only the commit is missing. The vectors are more than SQLite keeps in memory, so
# that by then it has overwritten pages of the file itself.
DYING = """
import functools, os, signal, sqlite3, sys
from pathlib import Path
import numpy as np
from tltool.features.store import FeatureStore

class Dying(sqlite3.Connection):
    def __exit__(self, *error):
        os.kill(os.getpid(), signal.SIGKILL)

store = FeatureStore(Path(sys.argv[1]))
sqlite3.connect = functools.partial(sqlite3.connect, factory=Dying)
store.put((f"key {index}", np.full(5000, -1.0)) for index in range(500))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a system that can kill: runs on Linux and macOS")
def test_a_process_killed_while_writing_loses_only_what_it_was_writing(path):
    before = vectors(300, 1000)
    FeatureStore(path).put(before.items())
    size = path.stat().st_size
    done = subprocess.run([sys.executable, "-c", DYING, str(path)], capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert path.stat().st_size > 2 * size  # half-written pages are in the file
    assert os.path.exists(f"{path}-journal")
    store = FeatureStore(path)
    assert_holds(store, before)
    assert store.get(["key 400"]) == {}
    store.put([("after", np.ones(3))])
    assert store.get(["after"])["after"].sum() == 3


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a system that can kill: runs on Linux and macOS")
def test_the_journal_of_a_damaged_file_is_not_played_into_the_new_one(path):
    FeatureStore(path).put(vectors(300, 1000).items())
    subprocess.run([sys.executable, "-c", DYING, str(path)], capture_output=True, timeout=60, check=False)
    assert os.path.exists(f"{path}-journal")
    data = path.read_bytes()
    path.write_bytes(b"x" * len(data))
    journal = path.with_name(f"{path.name}-journal")
    journal.write_bytes(journal.read_bytes()[: 512 + 5000])  # it cannot heal the damage
    FeatureStore(path).put(vectors(3).items())
    assert_holds(FeatureStore(path), vectors(3))
