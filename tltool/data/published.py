"""Puts folders into the cache whole: a reader, a second process or a crash never meets half of one."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# How the names of unfinished folders begin: of archives, of what is written here, and of what comes over a network.
UNFINISHED = (".unpacking-", ".filling-", ".copying-", ".reading-", ".partial-")
ABANDONED_AFTER = 24 * 3600  # seconds; each takes minutes, or is taken up again, so whoever began this was killed


def published(target: Path, fill: Callable[[Path], None]) -> Path:
    """`target`; where it is missing, it is filled by `fill(folder)` first, and appears complete or not at all.

    Args:
        target: Named after its content, so that two processes that fill it at once fill it with the same.
        fill: Writes the content into an empty folder. What it raises is passed on, and nothing is left behind.

    Raises:
        OSError: if the folder cannot be written.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(target.parent)
    # A sibling, so that the rename stays on one file system and is atomic.
    working = Path(tempfile.mkdtemp(prefix=".filling-", dir=target.parent))
    try:
        fill(working)
        publish(working, target)
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return target


def remove_abandoned(folder: Path) -> None:
    """Removes unfinished folders that nobody has touched for a day.

    Raises:
        OSError: if the folder cannot be listed.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            # Another process may remove it at the same moment. Of a link nothing is removed.
            with suppress(FileNotFoundError):
                age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                if entry.name.startswith(UNFINISHED) and age > ABANDONED_AFTER:
                    shutil.rmtree(entry.path, ignore_errors=True)


def publish(working: Path, target: Path) -> None:
    """Renames a finished folder to its final name, unless another process was faster with the same content."""
    try:
        os.rename(working, target)
    except OSError:
        if not target.is_dir():
            raise
