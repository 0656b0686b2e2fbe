"""Records of pictures on disk, by the pictures' content: what was looked at once is not decoded again."""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import PIL

from tltool.cache import cache_dir
from tltool.data.database import CHUNK, Database
from tltool.data.record import FORMAT, Record

COLUMNS = ", ".join(("key", *Record._fields))


def records_path() -> Path:
    """The file of the records, in the cache."""
    # Another Pillow may read what this one cannot.
    return cache_dir() / "pictures" / f"records-{FORMAT}-pillow-{PIL.__version__}.sqlite"


class RecordStore:
    """Records under content keys, in one file.

    Args:
        path: The file; made, with its folder, where it is missing. A damaged one is replaced: it is only a cache.

    Raises:
        TltoolError: if the file cannot be made, read or written, here and in each method.
    """

    def __init__(self, path: Path):
        columns = ", ".join(Record._fields)  # without types: SQLite gives back what it was given
        # Not WITHOUT ROWID: SQLite would then give the thumbnail a page of its own, four times what it takes.
        self._database = Database(path, f"records (key TEXT PRIMARY KEY, {columns})", "records of pictures")

    def get(self, keys: Sequence[str]) -> dict[str, Record]:
        """The records that are there, by key."""

        def read(connection: sqlite3.Connection) -> dict[str, Record]:
            found = {}
            for start in range(0, len(keys), CHUNK):
                chunk = keys[start : start + CHUNK]
                marks = ",".join("?" * len(chunk))
                query = f"SELECT {COLUMNS} FROM records WHERE key IN ({marks})"
                found |= {key: Record(*values) for key, *values in connection.execute(query, chunk)}
            return found

        return self._database.run(read)

    def put(self, items: Iterable[tuple[str, Record]]) -> None:
        """Stores records, all or none of them."""
        rows = [(key, *record) for key, record in items]
        marks = ",".join("?" * (1 + len(Record._fields)))
        self._database.run(
            lambda connection: connection.executemany(f"INSERT OR REPLACE INTO records VALUES ({marks})", rows)
        )
