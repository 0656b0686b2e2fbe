"""Prepared pixels on disk, by what the picture is: a picture is decoded and resized once, not in every epoch.

One file a picture, so that several processes may read, write and evict at once without a lock between them. It is only
a cache: whatever is missing, damaged, unwritable or full costs time, never a run.
"""

import logging
import math
import os
import secrets
import shutil
import threading
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from tltool.cache import cache_dir
from tltool.data.decoding import Framing
from tltool.errors import TltoolError

FORMAT = 1  # raise it when decoding, preparing or the files' layout changes: what older versions wrote is not read then
VARIABLE = "TLTOOL_PIXEL_CACHE"
GIGABYTE = 10**9
LARGEST = 20 * GIGABYTE  # bytes of all pictures together: 130,000 at 224 pixels
FREE_KEPT = 2 * GIGABYTE  # bytes of the disk that are left to others
SHARDS = "0123456789abcdef"  # first digits of the keys; each shard gets an equal part of the bytes
# Seconds for which a used picture is safe from eviction. Without it, a pass over a set that is larger than the cache
# would throw out each picture shortly before the next pass asks for it, and no pass would ever find one.
KEPT_AFTER_USE = 3600.0
MARKED_EVERY = 600.0  # seconds between two notes of a picture's use: each costs a write to the disk
MADE_ROOM = 0.1  # of a shard, freed at once: listing it for every picture would cost more than decoding
RECOUNTED = 0.05  # of a shard, written between two looks at what other processes wrote; the bound is kept to that
CHECKSUM = 4  # bytes in front of the pixels, CRC-32, little endian
CLOSED = 60.0  # seconds before a shard without room, or a disk that is nearly full, is looked at again
WRITING = ".writing-"
ABANDONED = 3600.0  # seconds after which an unfinished file was left by a process that died

log = logging.getLogger(__name__)
_warning = threading.Lock()


def pays(pixels: np.ndarray, framing: Framing) -> bool:
    """Whether a decoded picture of this shape, (height, width, 3), is worth keeping as prepared.

    One with fewer pixels than the square is cheaper to decode than to keep. Measured on one core for squares of 224
    pixels, which take 150 kB each: a JPEG of 28 x 28 (1 kB) is decoded and prepared in 0.5 ms, one of 300 x 300 (25 kB)
    in 1.3 ms, one of 500 x 375 (51 kB) in 2.3 ms and one of 1024 x 768 (131 kB) in 11 ms; keeping any of them takes
    0.3 ms, reading it back 0.03 ms.
    """
    height, width, _ = pixels.shape
    return height * width >= framing.size**2


def pixel_cache() -> "PixelCache | None":
    """This process's cache in the cache folder; None where there is to be none, or can be none.

    Raises:
        TltoolError: if TLTOOL_PIXEL_CACHE holds no number of gigabytes.
    """
    largest = _wanted()
    if largest == 0:
        return None
    try:
        return _opened(cache_dir() / "pixels", largest)
    except TltoolError as error:
        _warn_once(str(error))
        return None


class PixelCache:
    """Prepared pixels by content key and framing.

    Args:
        folder: Made where it is missing, with the first picture that is put in.
        largest: Bytes that the pictures may take together.
    """

    def __init__(self, folder: Path, largest: int = LARGEST):
        self.folder = folder
        self._share = largest / len(SHARDS)
        self._shards = {name: _Shard() for name in SHARDS}
        self._usable = True

    def get(self, key: str, framing: Framing) -> np.ndarray | None:
        """The pixels, shape (size, size, 3), uint8; None if they are not there or damaged.

        Args:
            key: Of the picture's content, hexadecimal.
            framing: As they were prepared.
        """
        path = self._path(key, framing)
        count = framing.size * framing.size * 3
        # One byte more than there should be, so that a file that is too long shows as well.
        data = np.empty(CHECKSUM + count + 1, np.uint8)
        try:
            with open(path, "rb", buffering=0) as file:
                length = file.readinto(data)
                used = os.fstat(file.fileno()).st_mtime
        except OSError:
            return None
        pixels = data[CHECKSUM:-1]
        if length != CHECKSUM + count or _checksum(pixels) != data[:CHECKSUM].tobytes():
            # After a power cut a file may lack its content. Written again, it is whole.
            with suppress(OSError):
                path.unlink()
            return None
        if time.time() - used > MARKED_EVERY:
            with suppress(OSError):
                os.utime(path)
        return pixels.reshape(framing.size, framing.size, 3)

    def put(self, key: str, framing: Framing, pixels: np.ndarray) -> None:
        """Keeps pixels, shape (size, size, 3), uint8, if there is room; else does nothing."""
        if not self._usable:
            return
        path = self._path(key, framing)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if self._has_room(path.parent, CHECKSUM + pixels.size):
                self._write(path, np.ascontiguousarray(pixels))
        except FileNotFoundError:
            pass  # the folder was deleted this very moment; the next picture makes it again
        except OSError as error:
            self._usable = False
            _warn_once(f"{self.folder}: pixels cannot be kept there ({error.strerror}).")

    def _path(self, key: str, framing: Framing) -> Path:
        # The version is in the name and not in a folder's, so that what older versions left is evicted with the rest.
        return self.folder / key[0] / f"{key}-{framing.size}-{framing.fit}.{FORMAT}"

    def _write(self, path: Path, pixels: np.ndarray) -> None:
        # Threads may write the same picture at once, and containers that share the folder may have the same numbers of
        # processes and threads: a random name for each.
        temporary = path.with_name(f"{WRITING}{secrets.token_hex(8)}")
        try:
            with open(temporary, "wb", buffering=0) as file:
                # Unbuffered, so that the system may take less than it is given.
                data = memoryview(_checksum(pixels) + pixels.tobytes())
                while data:
                    data = data[file.write(data) :]
            # No flush to the disk, which would cost more than decoding: a file that a power cut emptied fails its
            # checksum.
            with suppress(PermissionError):  # Windows, where another process is reading the same picture
                temporary.replace(path)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()

    def _has_room(self, folder: Path, size: int) -> bool:
        """Whether a file of this size may go into the shard; makes room if need be."""
        shard = self._shards[folder.name]
        with shard.lock:
            if time.monotonic() < shard.closed_until:
                return False
            # Other processes write and evict as well: what is there is counted anew now and then.
            stale = shard.counted is None or shard.written > RECOUNTED * self._share
            if stale or shard.counted + shard.written + size > self._share:
                shard.counted, shard.written = self._make_room(folder, size), 0
            free = shutil.disk_usage(folder).free
            if shard.counted + shard.written + size > self._share or free < FREE_KEPT + size:
                shard.closed_until = time.monotonic() + CLOSED
                return False
            shard.written += size
            return True

    def _make_room(self, folder: Path, size: int) -> int:
        """Bytes in the shard, after evicting what was not used for longest if a file of this size would not fit."""
        now = time.time()
        found: list[tuple[float, int, str]] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                with suppress(OSError):  # another process evicts as well
                    status = entry.stat()
                    if entry.name.startswith(WRITING) and now - status.st_mtime > ABANDONED:
                        os.unlink(entry.path)
                    else:
                        found.append((status.st_mtime, status.st_size, entry.path))
        total = sum(length for _, length, _ in found)
        if total + size <= self._share:
            return total
        wanted = min(self._share * (1 - MADE_ROOM), self._share - size)
        # The absolute value, so that a clock that was set back does not keep pictures for good.
        unused = sorted(entry for entry in found if abs(now - entry[0]) > KEPT_AFTER_USE)
        for _, length, path in unused:
            if total <= wanted:
                break
            try:
                os.unlink(path)
            except FileNotFoundError:  # another process was faster
                pass
            except PermissionError:  # Windows, where it is being read
                continue
            total -= length
        return total


@dataclass
class _Shard:
    """What this process knows of one folder of the cache."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    counted: int | None = None  # bytes in it when it was last listed
    written: int = 0  # bytes that this process has added since
    closed_until: float = -math.inf  # monotonic seconds before which nothing is added


def _checksum(pixels: np.ndarray) -> bytes:
    return zlib.crc32(pixels).to_bytes(CHECKSUM, "little")


def _wanted() -> int:
    """Bytes that the user lets the cache take."""
    text = os.environ.get(VARIABLE)
    if not text:
        return LARGEST
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes < math.inf:
        raise TltoolError(f"{VARIABLE} is '{text}'; it must be a number of gigabytes, or 0 for no cache of pixels.")
    return int(gigabytes * GIGABYTE)


@lru_cache
def _opened(folder: Path, largest: int) -> PixelCache:
    return PixelCache(folder, largest)


def _warn_once(message: str) -> None:
    """Logs a warning that this process has not logged before."""
    with _warning:  # many threads meet the same full disk at once
        _warn(message)


@lru_cache
def _warn(message: str) -> None:
    log.warning("%s Pictures are decoded anew each time.", message)
