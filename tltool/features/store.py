"""Vectors on disk, by key: what a frozen backbone said of a picture need not be asked twice."""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tltool.data.database import CHUNK, Database


class FeatureStore:
    """Float32 vectors under string keys, in one file.

    Args:
        path: The file; made, with its folder, where it is missing. A damaged one is replaced: it is only a cache.

    Raises:
        TltoolError: if the file cannot be made, read or written, here and in each method.
    """

    def __init__(self, path: Path):
        self._database = Database(path, "vectors (key TEXT PRIMARY KEY, data BLOB) WITHOUT ROWID", "features")

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

        return self._database.run(read)

    def put(self, items: Iterable[tuple[str, np.ndarray]]) -> None:
        """Stores vectors, all or none of them."""
        rows = [(key, np.ascontiguousarray(vector, dtype="<f4").tobytes()) for key, vector in items]
        self._database.run(
            lambda connection: connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
        )
