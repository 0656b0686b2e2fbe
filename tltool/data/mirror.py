"""Copies the files of a remote place into a folder of the cache: in parallel, within bounds, and not twice."""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fsspec import AbstractFileSystem

from tltool.data.published import publish, remove_abandoned
from tltool.errors import DataError
from tltool.progress import Report

TASK = "Copying files"
TASK_OF_ONE = "Copying (MB)"
WORKERS = 16  # files at once: they wait for the network, not for a processor
CHUNK_BYTES = 2**20  # read at once; a bound is overrun by one chunk a worker at most
SPARE_BYTES = 2**30  # left free on the disk: features and the run's own files must fit as well
ATTEMPTS = 3  # for a file, where the network fails
PAUSE_SECONDS = 0.5  # before the second attempt; doubled before each further one
MEGABYTE = 10**6
REASON_SHOWN = 300  # characters of a message: some packages print a whole request


class RemoteFile(NamedTuple):
    """A file to copy.

    Attributes:
        address: What its file system calls it.
        name: Where it goes: relative to the folder, POSIX, checked not to leave it.
        size: Bytes, None if it is not known before.
        version: Changes with the content, as far as the place says: an ETag, a time.
        required: Whether it is an error if it is not there.
    """

    address: str
    name: str
    size: int | None
    version: str = ""
    required: bool = True


def mirror(
    system: AbstractFileSystem, files: Sequence[RemoteFile], target: Path, source: str, report: Report, workers: int
) -> Path:
    """`target` with the files in it; it appears complete or not at all.

    What was copied before an interruption is kept beside it and is not copied again.

    Args:
        system: Where the files are.
        files: With names that differ.
        target: Named after the list of files, so that the same name means the same content.
        source: What the user gave; messages start with it.
        report: Told how many files are done; of a single file how many megabytes.
        workers: Files at once, 1 if the file system must not be asked by several threads.

    Raises:
        DataError: if they do not fit on the disk or a file cannot be copied.
    """
    if target.is_dir():
        return target
    partial = target.with_name(f".partial-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(target.parent)
        partial.mkdir(exist_ok=True)
        missing = [file for file in files if not _is_there(partial / file.name, file)]
        allowance = _Allowance(_allowed(missing, partial, source))
        # Beside, not in, what will be published: a second process may be at work on the same folder.
        working = Path(tempfile.mkdtemp(prefix=".copying-", dir=target.parent))
    except OSError as error:
        raise DataError(f"{source}: cannot be copied into {target.parent} ({error.strerror or error}).") from None
    try:
        copier = _Copier(system, partial, working, source, allowance)
        if len(files) == 1:
            copier.run_one(missing, report)
        else:
            copier.run(missing, len(files), report, workers)
        publish(partial, target)
    except OSError as error:
        # A second process that was faster has renamed the folder under this one's hands.
        if not target.is_dir():
            raise DataError(
                f"{source}: cannot be copied into {target.parent} ({error.strerror or error}). Is the disk full?"
            ) from None
    finally:
        shutil.rmtree(working, ignore_errors=True)
        if target.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
    return target


def _is_there(path: Path, file: RemoteFile) -> bool:
    # A file is renamed to its name once it is complete, so it is whole if it exists.
    return path.is_file() and file.size in (None, path.stat().st_size)


def _allowed(missing: Sequence[RemoteFile], folder: Path, source: str) -> int:
    """Bytes that may be written.

    Raises:
        DataError: if those that are known of do not fit.
    """
    free = shutil.disk_usage(folder).free - SPARE_BYTES
    needed = sum(file.size or 0 for file in missing)
    if needed > free:
        raise DataError(
            f"{source}: {needed / MEGABYTE:,.0f} MB to copy, but only {max(0, free) / MEGABYTE:,.0f} MB may be used in "
            f"{folder.parent}. Free some, or set TLTOOL_CACHE to a folder on a larger disk."
        )
    return free


class _Allowance:
    """Bytes that may still be written, by any thread; a place may lie about its sizes, or not know them."""

    def __init__(self, count: int) -> None:
        self._left, self._lock = count, threading.Lock()

    def take(self, count: int) -> bool:
        with self._lock:
            self._left -= count
            return self._left >= 0


class _Copier:
    def __init__(
        self, system: AbstractFileSystem, folder: Path, working: Path, source: str, allowance: _Allowance
    ) -> None:
        self._system, self._folder, self._working = system, folder, working
        self._source, self._allowance = source, allowance

    def run(self, missing: Sequence[RemoteFile], total: int, report: Report, workers: int) -> None:
        done = total - len(missing)
        report(TASK, done, total)
        executor = ThreadPoolExecutor(workers, thread_name_prefix="tltool-copy")
        try:
            for _ in executor.map(self._copy, missing, range(len(missing))):
                done += 1
                report(TASK, done, total)
        finally:
            executor.shutdown(cancel_futures=True)  # after an error or Ctrl-C, not thousands of files later

    def run_one(self, missing: Sequence[RemoteFile], report: Report) -> None:
        for file in missing:
            written = 0

            def count(count: int, size: int | None = file.size) -> None:
                nonlocal written
                written += count
                report(TASK_OF_ONE, written // MEGABYTE, max(size or 0, written) // MEGABYTE)

            self._copy(file, 0, count)

    def _copy(self, file: RemoteFile, number: int, count: Callable[[int], None] = lambda _: None) -> None:
        temporary = self._working / str(number)
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))
            try:
                self._read(file, temporary, count)
                break
            except FileNotFoundError:
                if not file.required:
                    return
                raise DataError(f"{self._source}: {file.name} is listed but not there.") from None
            except DataError:
                raise
            except Exception as error:
                # What a file system raises depends on the package behind it: OSError, ValueError, botocore's own ...
                if attempt == ATTEMPTS - 1 or isinstance(error, PermissionError):
                    raise DataError(
                        f"{self._source}: {file.name} cannot be copied ({reason(error)}). "
                        "Start again: what has been copied is kept."
                    ) from None
        final = self._folder / PurePosixPath(file.name)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(final)

    def _read(self, file: RemoteFile, temporary: Path, count: Callable[[int], None]) -> None:
        written = 0
        with self._system.open(file.address, "rb") as source, open(temporary, "wb") as target:
            while chunk := source.read(CHUNK_BYTES):
                written += len(chunk)
                if file.size is not None and written > file.size:
                    break
                if not self._allowance.take(len(chunk)):
                    raise DataError(
                        f"{self._source}: {file.name} does not fit on the disk any more. Free some space, or set "
                        "TLTOOL_CACHE to a folder on a larger disk."
                    )
                target.write(chunk)
                count(len(chunk))
        if file.size not in (None, written):
            raise OSError(f"not the {file.size:,} bytes that were listed")


def reason(error: BaseException) -> str:
    """One line of what an error says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = (lines[0] if lines else type(error).__name__).rstrip(".")
    return text if len(text) <= REASON_SHOWN else f"{text[:REASON_SHOWN]} ..."
