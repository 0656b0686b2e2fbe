"""Thousands of damaged archives and pictures: each is read or refused in words, and none does anything else.

A failure names the seed file and the number of the mutant; `mutants(name)` makes it again.
"""

import gzip
import io
import itertools
import os
import random
import resource
import shutil
import struct
import sys
import tarfile
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.hostile import PNG_SIGNATURE, chunk
from tests.packing import everything_under, pack, pack_tar, tar_member
from tltool.data import bombs, members
from tltool.data.archives import unpack
from tltool.data.decoding import decode
from tltool.data.polyglots import hidden_content
from tltool.errors import DataError, PictureError

PICTURE_MUTANTS = 500  # of each seed file; 5,500 in all
ARCHIVE_MUTANTS = 250  # of each; 750 in all. Writing what can be unpacked is slow on a busy disk
MEMORY = 512 * 2**20  # bytes that all of them together may add to the peak

CONTENT = {
    "cat/": b"",
    "cat/1.png": b"payload " * 40,
    "кот/2.png": random.Random(0).randbytes(300),
    "/".join(("a long name " * 9,) * 2): b"3",
}
EDGES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)  # bytes at which counts and signs turn over


def picture(kind: str, **options: object) -> bytes:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def exif() -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = 6
    tags[0x010F] = "maker"
    return tags


def animation(kind: str) -> bytes:
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "green", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


PICTURES: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: picture("JPEG", exif=exif(), icc_profile=b"profile" * 20, comment=b"holiday"),
    "progressive JPEG": lambda: picture("JPEG", progressive=True),
    "PNG": lambda: picture("PNG", exif=exif(), icc_profile=b"profile" * 20, dpi=(72, 72)),
    "animated PNG": lambda: animation("PNG"),
    "GIF": lambda: animation("GIF"),
    "WebP": lambda: picture("WEBP", exif=exif()),
    "TIFF": lambda: picture("TIFF", exif=exif()),
    "packed TIFF": lambda: picture("TIFF", compression="tiff_lzw"),
    "BMP": lambda: picture("BMP"),
    "AVIF": lambda: picture("AVIF", exif=exif()),
    "JPEG 2000": lambda: picture("JPEG2000"),
}
ARCHIVES = {"zip": ".zip", "tar": ".tar", "tgz": ".tgz"}


def flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 2, 8))):
        data[place(data, rng)] = rng.choice((rng.randrange(256), *EDGES))


def widen(data: bytearray, rng: random.Random) -> None:
    """A number of four bytes becomes absurd."""
    at = place(data, rng)
    data[at : at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice((0, 2**16, 2**31 - 1, 2**31, 2**32 - 1)))


def truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def cut_out(data: bytearray, rng: random.Random) -> None:
    at = place(data, rng)
    del data[at : at + rng.randint(1, 64)]


def repeat(data: bytearray, rng: random.Random) -> None:
    at = place(data, rng)
    data[at:at] = data[at : at + rng.randint(1, 600)] * rng.choice((1, 2, 50))


def splice(data: bytearray, rng: random.Random) -> None:
    """A piece of the file over another place in it."""
    source, at, length = rng.randrange(len(data)), place(data, rng), rng.randint(1, 256)
    data[at : at + length] = data[source : source + length]


def blank(data: bytearray, rng: random.Random) -> None:
    at = place(data, rng)
    length = min(rng.randint(1, 64), len(data) - at)
    data[at : at + length] = bytes([rng.choice(EDGES)]) * length


MUTATIONS = (flip, flip, widen, truncate, cut_out, repeat, splice, blank)


def place(data: bytearray, rng: random.Random) -> int:
    """Somewhere, but mostly near either end: headers and tables are where parsers stumble."""
    near = min(len(data), 200)
    return rng.choice((rng.randrange(near), len(data) - 1 - rng.randrange(near), rng.randrange(len(data))))


def mutants(name: str, seed: bytes) -> Iterator[bytes]:
    """Endless, and always the same ones."""
    rng = random.Random(name)
    while True:
        data = bytearray(seed)
        for _ in range(rng.choice((1, 1, 2, 5))):
            if data:
                rng.choice(MUTATIONS)(data, rng)
        yield bytes(data)


def with_checksums(png: bytes) -> bytes:
    """The PNG with all its checksums put right, so that what is wrong in its pieces is met."""
    pieces, at = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while at + 8 < len(png):
        end = at + 8 + int.from_bytes(png[at : at + 4])
        pieces.append(chunk(png[at + 4 : at + 8], png[at + 8 : end]))
        at = end + 4
    return b"".join(pieces)


def with_tar_checksums(tar: bytes) -> bytes:
    """The .tar with the checksums of all that may be headers put right, packed as .tgz so that its bytes arrive."""
    data = bytearray(tar)
    for at in range(0, len(data) - 511, 512):
        if data[at + 257 : at + 262] == b"ustar":
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    return gzip.compress(data, 1)


@pytest.fixture
def _bounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keeps the bounds low enough for a quick test, and checks that they hold the memory down."""
    # A changed header may promise 100 million pixels: allowed, and slow.
    monkeypatch.setattr(bombs, "MAX_PIXELS", 2**20)
    monkeypatch.setattr(members, "MAX_TOTAL_BYTES", 2**24)
    # Shown as errors, they would be taken for damage inside Pillow and never be seen.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = peak()
        yield
        assert peak() - before < MEMORY
    assert [str(warning.message) for warning in caught] == []


def peak() -> int:
    """The most memory that the process has had, bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@pytest.mark.usefixtures("_bounded")
@pytest.mark.parametrize("name", PICTURES)
def test_mutated_pictures(name: str) -> None:
    outcomes, reasons = Counter(), set()
    for number, data in enumerate(itertools.islice(mutants(name, PICTURES[name]()), PICTURE_MUTANTS)):
        if "PNG" in name and number % 2:
            data = with_checksums(data)
        try:
            pixels = decode(data, (None, 16)[number // 2 % 2])
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3
            assert pixels.shape[2] == 3
            assert pixels.size > 0
            outcomes["read"] += 1
        except PictureError as error:
            outcomes[error.kind] += 1
            reasons.add(str(error))
        except Exception as error:
            raise AssertionError(f"{name}, mutant {number}: {error!r}") from error
        assert isinstance(hidden_content(data), str)
    assert outcomes.total() == PICTURE_MUTANTS
    assert outcomes.keys() <= {"read", *PictureError.KINDS}
    assert all(reason and "\n" not in reason for reason in reasons)
    assert outcomes["read"] > 0
    assert outcomes["damaged"] > 0
    assert outcomes["truncated"] > 0


@pytest.mark.usefixtures("_bounded")
@pytest.mark.parametrize("name", ARCHIVES)
def test_mutated_archives(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, into = tmp_path / "home", tmp_path / "cache" / "datasets"
    home.mkdir()
    monkeypatch.chdir(home)
    packed = tmp_path / f"a{ARCHIVES[name]}"
    seed = pack(tmp_path / f"seed{'.zip' if name == 'zip' else '.tar'}", CONTENT)
    around = everything_under(tmp_path) | {packed.name, "cache", "cache/datasets"}
    outcomes, reasons = Counter(), set()
    for number, data in enumerate(itertools.islice(mutants(name, seed.read_bytes()), ARCHIVE_MUTANTS)):
        packed.write_bytes(with_tar_checksums(data) if name == "tgz" else data)
        try:
            target = unpack(packed, into)
            assert os.listdir(into) == [target.name]
            assert not any(path.is_symlink() for path in target.rglob("*"))
            shutil.rmtree(target)
            outcomes["unpacked"] += 1
        except DataError as error:
            outcomes["refused"] += 1
            reasons.add(str(error))
        except Exception as error:
            raise AssertionError(f"{name}, mutant {number}: {error!r}") from error
        assert not into.exists() or os.listdir(into) == []
    assert everything_under(tmp_path) <= around
    assert outcomes.total() == ARCHIVE_MUTANTS
    assert all(reason.startswith(f"{packed}: ") for reason in reasons)
    assert outcomes["unpacked"] > 0
    assert outcomes["refused"] > 0


def test_there_are_enough_and_they_differ() -> None:
    assert PICTURE_MUTANTS * len(PICTURES) + ARCHIVE_MUTANTS * len(ARCHIVES) >= 2000
    seed = picture("BMP")
    some = list(itertools.islice(mutants("BMP", seed), 200))
    assert some == list(itertools.islice(mutants("BMP", seed), 200))
    assert len(set(some)) > 190
    assert sum(data != seed for data in some) > 190


def test_mended_files_are_whole_again(tmp_path: Path) -> None:
    # Otherwise their mutants would all be refused for a checksum, and nothing behind it would be tried.
    png = picture("PNG")
    assert with_checksums(png) == png
    broken = png.replace(struct.pack(">I", zlib.crc32(png[12:29])), b"abcd")
    assert broken != png
    assert with_checksums(broken) == png
    seed = pack_tar(tmp_path / "a.tar", [tar_member("cat/1.png", b"1")])
    data = seed.read_bytes()
    seed.write_bytes(gzip.decompress(with_tar_checksums(data.replace(b"cat/1.png", b"dog/1.png"))))
    with tarfile.open(seed) as archive:
        assert archive.getnames() == ["dog/1.png"]
