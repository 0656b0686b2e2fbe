"""One SQLite file in the cache, which several processes may write at once and a killed one must leave whole."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from tltool.cache import VARIABLE
from tltool.errors import TltoolError

CHUNK = 500  # keys in one query; SQLite allows 999 variables in its oldest builds
LOCK_TIMEOUT = 60.0  # seconds to wait for another process that is writing
DAMAGED = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
# What a disk answers that is full, read-only or gone, and a file that another process does not let go.
UNUSABLE = frozenset(
    (
        *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR),
        *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL),
    )
)
T = TypeVar("T")


class Database:
    """Rows in one file that is only a cache: a damaged one is replaced.

    Args:
        path: The file; made, with its folder, where it is missing.
        table: The only table, as `CREATE TABLE` takes it: "name (columns)" and options.
        content: What is kept in it, in the plural, for messages.

    Raises:
        TltoolError: if the file cannot be made, read or written, here and in `run`.
    """

    def __init__(self, path: Path, table: str, content: str):
        self.path, self._table, self._content = path, table, content
        self.run(lambda connection: None)

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
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
                f"{self.path}: {self._content} cannot be kept there ({getattr(error, 'strerror', None) or error}). "
                f"Free some space, or set {VARIABLE} to a folder that can be written."
            ) from None

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with closing(sqlite3.connect(self.path, timeout=LOCK_TIMEOUT)) as connection, connection:
            connection.execute(f"CREATE TABLE IF NOT EXISTS {self._table}")
            return work(connection)


def _kind(error: sqlite3.DatabaseError) -> int:
    # The low byte is the kind of error; Python's own errors carry no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
