"""Pixels of many pictures, decoded on all cores while the consumer works on the batch before."""

import os
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from tltool.data.decoding import decode, prepare
from tltool.errors import DataError

LOOK_AHEAD = 2  # batches decoded beyond the one handed out; memory grows with it, and one is too few for uneven files


@dataclass(frozen=True)
class Batch:
    """Some of the pictures, in the order of their paths.

    Attributes:
        indices: Positions in the paths, shape (n,), int64, increasing.
        pixels: Shape (n, size, size, 3), float32 in [0, 255].
        problems: Position and reason of each file that could not be read; such a file is in neither array.
    """

    indices: np.ndarray
    pixels: np.ndarray
    problems: list[tuple[int, str]]


def read_batches(
    paths: Sequence[Path], size: int, batch_size: int, workers: int | None = None
) -> Generator[Batch, None, None]:
    """Decodes pictures in parallel and yields them in order.

    Memory stays below LOOK_AHEAD + 2 batches however many paths there are. Threads start with the first batch and end
    with the last one, or when the generator is closed.

    Args:
        paths: Picture files.
        size: Height and width of the result in pixels, >= 1.
        batch_size: Paths a batch, >= 1; only the last batch may have fewer.
        workers: Threads, >= 1; None for one a core.

    Yields:
        ceil(len(paths) / batch_size) batches; where all files of one are unreadable, its arrays have length 0.

    Raises:
        ValueError: at once, if a number is below 1.
    """
    workers = (os.cpu_count() or 1) if workers is None else workers
    for name, value in (("size", size), ("batch_size", batch_size), ("workers", workers)):
        if value < 1:
            raise ValueError(f"read_batches: {name} is {value}; it must be at least 1.")
    return _generate(paths, size, batch_size, workers)


def _generate(paths: Sequence[Path], size: int, batch_size: int, workers: int) -> Generator[Batch, None, None]:
    # Threads, not processes: Pillow gives up the interpreter lock while it decodes, and arrays need no copy between.
    executor = ThreadPoolExecutor(workers, thread_name_prefix="tltool-decode")
    try:
        waiting = (executor.submit(_read, path, size) for path in paths)
        window: deque[Future[np.ndarray | str]] = deque(islice(waiting, batch_size * LOOK_AHEAD))
        for start in range(0, len(paths), batch_size):
            # Before waiting for this batch, so that the threads still have work while the consumer computes on it.
            window.extend(islice(waiting, batch_size))
            ready = [window.popleft().result() for _ in range(min(batch_size, len(paths) - start))]
            yield _collect(ready, start, size)
    finally:
        # Without cancelling, a consumer that stops early would wait for the whole look-ahead.
        executor.shutdown(wait=True, cancel_futures=True)


def _read(path: Path, size: int) -> np.ndarray | str:
    """The pixels, or why there are none."""
    try:
        return prepare(decode(path, size), size)
    except DataError as error:
        return str(error)


def _collect(results: Iterable[np.ndarray | str], start: int, size: int) -> Batch:
    indices, pixels, problems = [], [], []
    for index, result in enumerate(results, start):
        if isinstance(result, str):
            problems.append((index, result))
        else:
            indices.append(index)
            pixels.append(result)
    stacked = np.stack(pixels) if pixels else np.empty((0, size, size, 3), np.float32)
    return Batch(np.asarray(indices, dtype=np.int64), stacked, problems)
