"""An upload on its way to disk: written chunk by chunk into a new workspace, within bounds, or gone again."""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tltool.cache import cache_dir
from tltool.data.archives import ARCHIVE_ENDINGS
from tltool.data.members import MAX_TOTAL_BYTES
from tltool.errors import TltoolError
from tltool.ui.words import shortened, size
from tltool.ui.workspace import FOLDER, UPLOADS, Workspace, describe, file_name, new_workspace

# As much as is unpacked of an archive. Pictures do not shrink when they are packed: a larger one would take its time to
# arrive, only to be refused then.
MAX_UPLOAD_BYTES = MAX_TOTAL_BYTES
UNPACKED = 2  # times its own size that an archive of pictures takes: itself, and what is unpacked from it
KEPT_FREE_BYTES = 2**29  # of the disk, while an upload is written: on a full one, runs fail that are in training now
PART = ".part"  # at the end of the name of a file that is not whole yet
ABANDONED_SECONDS = 24 * 60 * 60  # without a new byte; then the server that was writing it is gone
LONGEST_TITLE = 200  # characters of a file's name that are kept for people to read


class UploadError(TltoolError):
    """An upload that is not taken.

    Attributes:
        status: HTTP's number for the reason.
    """

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class Incoming:
    """A file that is being written."""

    def __init__(self, folder: Path, title: str, ending: str, file: IO[bytes]):
        self._folder, self._title, self._file = folder, title, file
        self._target = folder / UPLOADS / f"{file_name(title)}{ending}"
        self._shown = shortened(f"{title}{ending}", 80)
        self.received = 0  # bytes

    def write(self, chunk: bytes) -> None:
        """Appends a chunk.

        Raises:
            UploadError: if the file has become too large, or the disk too full.
        """
        self.received += len(chunk)
        if self.received > MAX_UPLOAD_BYTES:
            raise _too_large(self._shown)
        free = shutil.disk_usage(self._folder).free
        if free - len(chunk) < KEPT_FREE_BYTES:
            raise _disk_full(self._shown, free)
        self._file.write(chunk)

    def keep(self, backbone: str) -> Workspace:
        """Makes a workspace of it.

        Args:
            backbone: To look through.
        """
        self._file.close()  # a file that is open cannot be renamed on Windows
        Path(self._file.name).rename(self._target)
        return describe(self._folder, self._title, self._target, backbone)


def check_upload(name: str, expected: int | None) -> tuple[str, str]:
    """What the file is called, and its ending, if it can be taken.

    Args:
        name: As the browser gives it.
        expected: Bytes that it will have; None if that is not known.

    Raises:
        UploadError: if it is no archive, is empty, or would not fit.
    """
    bare = re.split(r"[\\/]", name)[-1].strip()
    shown = shortened(bare or "a file without a name", 80)
    ending = max((ending for ending in ARCHIVE_ENDINGS if bare.lower().endswith(ending)), key=len, default=None)
    if ending is None:
        raise UploadError(
            415,
            f"{shown}: not an archive that can be unpacked. Pack the folder that holds the class folders into a .zip; "
            f"{', '.join(list(ARCHIVE_ENDINGS)[1:])} are taken too.",
        )
    if expected == 0:
        raise UploadError(400, f"{shown}: the file is empty. Pack the folder again.")
    if expected is not None and expected > MAX_UPLOAD_BYTES:
        raise _too_large(shown)
    free = shutil.disk_usage(cache_dir()).free
    if UNPACKED * (expected or 0) + KEPT_FREE_BYTES > free:
        raise _disk_full(shown, free, expected)
    return bare[: -len(ending)][:LONGEST_TITLE] or "pictures", ending


@contextmanager
def receiving(name: str, expected: int | None) -> Iterator[Incoming]:
    """A file to write to, and then to `keep`; nothing of it stays if the block fails.

    Args:
        name: As the browser gives it.
        expected: Bytes that it will have; None if that is not known.

    Raises:
        UploadError: see `check_upload` and `Incoming.write`.
        TltoolError: if it cannot be written.
    """
    title, ending = check_upload(name, expected)
    _forget_abandoned()
    with new_workspace() as folder:
        part = folder / UPLOADS / f"{file_name(title)}{PART}"
        part.parent.mkdir()
        with part.open("xb") as file:
            yield Incoming(folder, title, ending, file)


def _forget_abandoned() -> None:
    """Removes what is left of uploads whose server was killed."""
    for part in (cache_dir() / FOLDER).glob(f"*/{UPLOADS}/*{PART}"):
        with suppress(FileNotFoundError):  # another server has just finished it
            if time.time() - part.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(part.parents[1], ignore_errors=True)


def _too_large(shown: str) -> UploadError:
    return UploadError(
        413,
        f"{shown}: more than {size(MAX_UPLOAD_BYTES)}. Unpack it on the machine that runs tltool, and give the folder.",
    )


def _disk_full(shown: str, free: int, expected: int | None = None) -> UploadError:
    needs = f"{size(expected)}, and as much again once it is unpacked; " if expected else ""
    return UploadError(
        507,
        f"{shown}: {needs}{size(free)} are free on the disk of the machine that runs tltool, of which "
        f"{size(KEPT_FREE_BYTES)} are left alone. Free some space there.",
    )
