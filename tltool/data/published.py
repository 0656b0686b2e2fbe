"""Puts folders into the cache whole: a reader, a second process or a crash never meets half of one."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


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
    # A sibling, so that the rename stays on one file system and is atomic.
    working = Path(tempfile.mkdtemp(prefix=".filling-", dir=target.parent))
    try:
        fill(working)
        publish(working, target)
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return target


def publish(working: Path, target: Path) -> None:
    """Renames a finished folder to its final name, unless another process was faster with the same content."""
    try:
        os.rename(working, target)
    except OSError:
        if not target.is_dir():
            raise
