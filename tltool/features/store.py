"""Vectors on disk, by key: what a frozen backbone said of a picture need not be asked twice.

SQLite, because several processes may write at once and a killed one must leave the file whole.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np

from tltool.cache import VARIABLE
from tltool.errors import TltoolError

CHUNK = 500  # keys in one query; SQLite allows 999 variables in its oldest builds
LOCK_TIMEOUT = 60.0  # seconds to wait for another process that is writing
DAMAGED = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
# What a disk answers that is full, read-only or gone.
UNUSABLE = frozenset(
    (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM)
)
T = TypeVar("T")


class FeatureStore:
    """Float32 vectors under string keys, in one file.

    Args:
        path: The file; made, with its folder, where it is missing. A damaged one is replaced: it is only a cache.

    Raises:
        TltoolError: if the file cannot be made, read or written, here and in each method.
    """

    def __init__(self, path: Path):
        self.path = path
        self._run(lambda connection: None)

    def get(self, keys: Sequence[str]) -> dict[str, np.ndarray]:
        """The vectors that are there, by key."""

        def read(connection: sqlite3.Connection) -> dict[str, np.ndarray]:
            found = {}
            for start in range(0, len(keys), CHUNK):
                chunk = keys[start : start + CHUNK]
                marks = ",".join("?" * len(chunk))
                for key, data in connection.execute(f"SELECT key, data FROM vectors WHERE key IN ({marks})", chunk):
                    found[key] = np.frombuffer(data, dtype="<f4")
            return found

        return self._run(read)

    def put(self, items: Iterable[tuple[str, np.ndarray]]) -> None:
        """Stores vectors, all or none of them."""
        rows = [(key, np.ascontiguousarray(vector, dtype="<f4").tobytes()) for key, vector in items]
        self._run(lambda connection: connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows))

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Does the work in one transaction; if the file turns out to be damaged, on a new one."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                return self._attempt(work)
            except sqlite3.DatabaseError as error:
                if _kind(error) not in DAMAGED:
                    raise
                self.path.unlink(missing_ok=True)  # its journal, if any, goes too: SQLite plays none into an empty file
                return self._attempt(work)
        except (OSError, sqlite3.DatabaseError) as error:
            if isinstance(error, sqlite3.DatabaseError) and _kind(error) not in UNUSABLE:
                raise
            raise TltoolError(
                f"{self.path}: features cannot be kept there ({getattr(error, 'strerror', None) or error}). "
                f"Free some space, or set {VARIABLE} to a folder that can be written."
            ) from None

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with closing(sqlite3.connect(self.path, timeout=LOCK_TIMEOUT)) as connection, connection:
            connection.execute("CREATE TABLE IF NOT EXISTS vectors (key TEXT PRIMARY KEY, data BLOB) WITHOUT ROWID")
            return work(connection)


def _kind(error: sqlite3.DatabaseError) -> int:
    # The low byte is the kind of error; Python's own errors carry no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def content_key(data: bytes) -> str:
    """The key of a picture: a hash of the file's bytes, so that a renamed or moved file keeps its features."""
    return hashlib.sha256(data).hexdigest()[:40]
