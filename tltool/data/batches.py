"""Pixels of many pictures, read on all cores while the consumer works on the batch before."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from tltool.data.content import content_key
from tltool.data.decoding import Framing, decode, prepare, read_bytes
from tltool.data.pixel_cache import PixelCache, pays, pixel_cache
from tltool.errors import PictureError

LOOK_AHEAD = 2  # batches read beyond the one handed out; memory grows with it, and one is too few for uneven files


@dataclass(frozen=True)
class Batch:
    """Some of the pictures, in the order of their paths.

    Attributes:
        indices: Positions in the paths, shape (n,), int64, increasing.
        pixels: Shape (n, size, size, 3), uint8.
        problems: Position and fault of each file that could not be read; such a file is in neither array.
    """

    indices: np.ndarray
    pixels: np.ndarray
    problems: list[tuple[int, PictureError]]


def read_batches(
    paths: Sequence[Path],
    framing: Framing,
    batch_size: int,
    workers: int | None = None,
    keys: Sequence[str | None] | None = None,
    square: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Generator[Batch, None, None]:
    """Decodes and prepares pictures in parallel, or finds them in the pixel cache, and yields them in order.

    Memory stays below LOOK_AHEAD + 2 batches however many paths there are. Threads start with the first batch and end
    with the last one, or when the generator is closed.

    Args:
        paths: Picture files.
        framing: How they become squares.
        batch_size: Paths a batch, >= 1; only the last batch may have fewer.
        workers: Threads, >= 1; None for one a core.
        keys: Content keys of the files, with None for those that have none. A picture with a key comes from the pixel
            cache, or goes into it; without keys the cache is left alone.
        square: Makes the squares in the place of `prepare`; only without keys. Called from several threads.

    Yields:
        ceil(len(paths) / batch_size) batches; where all files of one are unreadable, its arrays have length 0.

    Raises:
        ValueError: at once, if a number is below 1 or there are not as many keys as paths.
    """
    workers = (os.cpu_count() or 1) if workers is None else workers
    for name, value in (("batch_size", batch_size), ("workers", workers)):
        if value < 1:
            raise ValueError(f"read_batches: {name} is {value}; it must be at least 1.")
    if keys is not None and len(keys) != len(paths):
        raise ValueError(f"read_batches: {len(paths)} paths but {len(keys)} keys.")
    if keys is not None and square is not None:
        raise ValueError("read_batches: what `square` makes must not get into the cache under keys.")
    cache = None if keys is None else pixel_cache()
    return _generate(paths, keys, framing, batch_size, workers, cache, square)


def _generate(
    paths: Sequence[Path],
    keys: Sequence[str | None] | None,
    framing: Framing,
    batch_size: int,
    workers: int,
    cache: PixelCache | None,
    square: Callable[[np.ndarray], np.ndarray] | None,
) -> Generator[Batch, None, None]:
    # Threads, not processes: Pillow gives up the interpreter lock while it decodes, and arrays need no copy between.
    executor = ThreadPoolExecutor(workers, thread_name_prefix="tltool-decode")
    try:
        waiting = (
            executor.submit(_read, path, framing, cache, None if cache is None else keys[index], square)
            for index, path in enumerate(paths)
        )
        window: deque[Future[np.ndarray | PictureError]] = deque(islice(waiting, batch_size * LOOK_AHEAD))
        for start in range(0, len(paths), batch_size):
            # Before waiting for this batch, so that the threads still have work while the consumer computes on it.
            window.extend(islice(waiting, batch_size))
            ready = [window.popleft().result() for _ in range(min(batch_size, len(paths) - start))]
            yield _collect(ready, start, framing.size)
    finally:
        # Without cancelling, a consumer that stops early would wait for the whole look-ahead.
        executor.shutdown(wait=True, cancel_futures=True)


def _read(
    path: Path,
    framing: Framing,
    cache: PixelCache | None,
    key: str | None,
    square: Callable[[np.ndarray], np.ndarray] | None,
) -> np.ndarray | PictureError:
    """The pixels, or why there are none; a key only with a cache."""
    if key is not None:
        kept = cache.get(key, framing)
        if kept is not None:
            return kept
    try:
        data = read_bytes(path)
        pixels = decode(data, framing.size)
    except PictureError as error:
        return error
    prepared = square(pixels) if square else prepare(pixels, framing)
    # A file that was changed since its key was taken must not pass for what it was, here or in another data set.
    if key is not None and pays(pixels, framing) and content_key(data) == key:
        cache.put(key, framing, prepared)
    return prepared


def _collect(results: Iterable[np.ndarray | PictureError], start: int, size: int) -> Batch:
    indices, pixels, problems = [], [], []
    for index, result in enumerate(results, start):
        if isinstance(result, PictureError):
            problems.append((index, result))
        else:
            indices.append(index)
            pixels.append(result)
    stacked = np.stack(pixels) if pixels else np.empty((0, size, size, 3), np.uint8)
    return Batch(np.asarray(indices, dtype=np.int64), stacked, problems)
