"""Writes files so that a reader, or a crash, never meets half of one."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tltool.errors import TltoolError


def check_new(file: Path, instead: str = "another name", fault: type[TltoolError] = TltoolError) -> None:
    """Checks, before any work, that a user's file can be made and that nothing is overwritten by it.

    Args:
        file: What is to be written.
        instead: What to give if it cannot, for messages.
        fault: What is raised then.

    Raises:
        TltoolError: the fault, if it exists, or its folder does not.
    """
    try:
        exists, has_folder = file.exists(), file.parent.is_dir()
    except OSError as error:
        raise fault(f"{file}: cannot be written ({error.strerror}). Give {instead}.") from None
    if exists:
        raise fault(f"{file}: exists already and is not overwritten. Give {instead}.")
    if not has_folder:
        raise fault(f"{file}: there is no folder {file.parent}. Make it, or give {instead}.")


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file, all or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file, all or nothing."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path with the same ending; it takes the place of `path` if the block succeeds, else it goes."""
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # without it a power cut can leave an empty file under the final name
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
