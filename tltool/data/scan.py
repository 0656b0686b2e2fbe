"""One look at every file of a data set, which is all that the doctor, the split and the pixel cache need."""

import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from tltool.data.content import content_key
from tltool.data.dataset import Problem
from tltool.data.decoding import Framing, read_bytes
from tltool.data.pixel_cache import PixelCache, pixel_cache
from tltool.data.record import THUMBNAIL, Record, measure, unreadable
from tltool.data.record_store import RecordStore, records_path
from tltool.errors import PictureError
from tltool.progress import Report, silent

TASK = "Looking at pictures"
FILES_AT_ONCE = 64  # files that a thread takes: fewer ask the store for too little at a time
HELD_BYTES = 16 * 2**20  # bytes of files that a thread holds before it decodes them; memory grows with it
LOOK_AHEAD = 2  # tasks a thread that wait for it
TRANSACTION = 256  # records written at once: a kill loses at most these, and each write costs a disk flush


@dataclass(frozen=True, eq=False)
class Scan:
    """What one reading of every file told; row i is file i of those that were asked for.

    Attributes:
        files: As they were asked for.
        keys: Content keys, None for a file that cannot be read.
        problems: Those that cannot be read.
        width, height: As stored, in pixels, shape (N,), int32; like all that follows 0 or "" for an unreadable one.
        formats: Pillow's names.
        frames: Shape (N,), int32; above 1 for animations and files of several pictures.
        brightness: Mean grey level, 0 to 255, shape (N,), float32.
        contrast: Standard deviation of the grey levels, shape (N,), float32.
        hidden: "", or what else the file is, such as "zip".
        thumbnails: The whole picture squeezed to grey levels, shape (N, 32, 32), uint8.
    """

    files: tuple[str, ...]
    keys: tuple[str | None, ...]
    problems: tuple[Problem, ...]
    width: np.ndarray
    height: np.ndarray
    formats: tuple[str, ...]
    frames: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    hidden: tuple[str, ...]
    thumbnails: np.ndarray

    def take(self, rows: Sequence[int] | np.ndarray) -> "Scan":
        """The scan of these files alone."""
        rows = np.asarray(rows, dtype=np.int64)
        files = tuple(self.files[row] for row in rows)
        kept = set(files)
        return Scan(
            files=files,
            keys=tuple(self.keys[row] for row in rows),
            problems=tuple(problem for problem in self.problems if problem.path in kept),
            width=self.width[rows],
            height=self.height[rows],
            formats=tuple(self.formats[row] for row in rows),
            frames=self.frames[rows],
            brightness=self.brightness[rows],
            contrast=self.contrast[rows],
            hidden=tuple(self.hidden[row] for row in rows),
            thumbnails=self.thumbnails[rows],
        )


def scan(root: Path, files: Sequence[str], framing: Framing | None = None, report: Report = silent) -> Scan:
    """Reads every file once, on all cores, and decodes those that no earlier scan has seen.

    Args:
        root: The folder that `files` are relative to.
        files: Relative paths.
        framing: Where pictures are decoded, their pixels as a network takes them go into the pixel cache on the way.
        report: Told how many files are done.

    Raises:
        TltoolError: if the cache cannot be used.
    """
    store = RecordStore(records_path())
    pixels = pixel_cache() if framing else None
    count = len(files)
    # Filled in as records come: a Python object a picture would cost as much memory again as the thumbnails.
    keys: list[str | None] = [None] * count
    problems: list[Problem] = []
    numbers = {name: np.zeros(count, np.int32) for name in ("width", "height", "frames")}
    numbers |= {name: np.zeros(count, np.float32) for name in ("brightness", "contrast")}
    words: dict[str, list[str]] = {"format": [""] * count, "hidden": [""] * count}
    columns = numbers | words
    thumbnails = np.zeros((count, THUMBNAIL, THUMBNAIL), np.uint8)
    fresh: list[tuple[str, Record]] = []
    row = 0
    # Closed at once where a report raises: the threads would look at pictures that nobody asks for any more.
    with closing(_in_order(root, files, store, framing, pixels)) as chunks:
        for looks in chunks:
            for key, record, is_kept in looks:
                if is_kept:
                    fresh.append((key, record))
                if record.kind:
                    problems.append(Problem(files[row], record.reason, record.kind))
                else:
                    keys[row] = key
                    for name, column in columns.items():
                        column[row] = getattr(record, name)
                    thumbnails[row] = np.frombuffer(record.thumbnail, np.uint8).reshape(THUMBNAIL, THUMBNAIL)
                row += 1
            if len(fresh) >= TRANSACTION or row == count:
                store.put(fresh)
                fresh = []
            report(TASK, row, count)
    return Scan(
        files=tuple(files),
        keys=tuple(keys),
        problems=tuple(problems),
        formats=tuple(words["format"]),
        hidden=tuple(words["hidden"]),
        thumbnails=thumbnails,
        **numbers,
    )


Look = tuple[str | None, Record, bool]  # content key (None if the file cannot be opened), record, whether to keep it


def _in_order(
    root: Path, files: Sequence[str], store: RecordStore, framing: Framing | None, pixels: PixelCache | None
) -> Generator[list[Look], None, None]:
    """What threads see, in the order of the files."""
    workers = os.cpu_count() or 1
    # Threads, not processes: Pillow gives up the interpreter lock while it decodes, and so does the hash.
    executor = ThreadPoolExecutor(workers, thread_name_prefix="tltool-scan")
    try:
        tasks = (
            executor.submit(_look, root, files[start : start + FILES_AT_ONCE], store, framing, pixels)
            for start in range(0, len(files), FILES_AT_ONCE)
        )
        window = deque(islice(tasks, workers * LOOK_AHEAD))
        while window:
            yield window.popleft().result()
            window.extend(islice(tasks, 1))
    finally:
        # Without cancelling, Ctrl-C would wait for the whole window.
        executor.shutdown(wait=True, cancel_futures=True)


def _look(
    root: Path, files: Sequence[str], store: RecordStore, framing: Framing | None, pixels: PixelCache | None
) -> list[Look]:
    looks: list[Look] = []
    for contents in _read(root, files):
        known = store.get([key for key, _ in contents if key is not None])
        for key, content in contents:
            if isinstance(content, PictureError):
                looks.append((None, unreadable(content), False))
            elif key in known:
                looks.append((key, known[key], False))
            else:
                record, prepared = measure(content, framing if pixels else None)
                if prepared is not None:
                    pixels.put(key, framing, prepared)
                # What is too large for this computer, or for it now, may not be so tomorrow.
                looks.append((key, record, record.kind != "too-large"))
    return looks


def _read(root: Path, files: Sequence[str]) -> Iterator[list[tuple[str | None, bytes | PictureError]]]:
    """Contents of files with their keys, in lists of at most HELD_BYTES and one file."""
    held: list[tuple[str | None, bytes | PictureError]] = []
    size = 0
    for file in files:
        try:
            data = read_bytes(root / file)
        except PictureError as error:
            held.append((None, error))
        else:
            held.append((content_key(data), data))
            size += len(data)
        if size >= HELD_BYTES:
            yield held
            held, size = [], 0
    yield held
