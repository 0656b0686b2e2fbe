"""Claim: `tltool inspect --no-features` takes linear time and bounded memory: at most 1.5 GB for 100,000 pictures.

Makes the pictures from public image sets, six copies of each with another comment, so that no two files are equal and
all copies look alike. Runs the whole process, with an empty cache and then with a full one, at three sizes; prints
seconds, pictures a second and the largest resident memory, and what a picture takes at the largest size over the
smallest.

    python benchmarks/scale.py [FOLDER]     about 1 GB of disk, for as long as it runs
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from contest import image_sets, print_setting

COPIES = 6
SIZES = (25_000, 50_000, 100_000)
MEMORY_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in which the system counts resident memory
LARGEST_MEMORY = 1.5e9  # bytes


@dataclass(frozen=True)
class Outcome:
    """What one process took: seconds, bytes of resident memory at most, and its answer."""

    seconds: float
    memory: int
    answer: dict


def commented(data: bytes, number: int) -> bytes:
    """The picture with a comment, and not a pixel changed."""
    text = f"copy {number}".encode()
    if data.startswith(b"\xff\xd8"):
        return data[:2] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + data[2:]
    body = b"tEXtComment\0" + text
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]  # behind the signature and the header chunk


def make_pictures(sources: list[tuple[str, Path]], folder: Path) -> int:
    """Writes class folders with COPIES copies of each source."""
    for number, (label, path) in enumerate(sources):
        (folder / label).mkdir(parents=True, exist_ok=True)
        data = path.read_bytes()
        for copy in range(COPIES):
            (folder / label / f"{number:06}_{copy}{path.suffix}").write_bytes(commented(data, copy))
    return COPIES * len(sources)


def inspect(folder: Path, cache: Path) -> Outcome:
    command = [sys.executable, "-m", "tltool", "inspect", str(folder), "--no-features", "--json"]
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, env=os.environ | {"TLTOOL_CACHE": str(cache)}, stdout=output, stderr=subprocess.DEVNULL
        )
        # Of this child alone: getrusage counts the largest of all children so far.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if status:
            sys.exit(f"{' '.join(command)} failed.")
        output.seek(0)
        return Outcome(seconds, usage.ru_maxrss * MEMORY_UNIT, json.load(output))


def show(kind: str, count: int, outcome: Outcome) -> None:
    findings = outcome.answer["health"]["findings"]
    named = ", ".join(f"{finding['kind']} ({len(finding['files']):,} files)" for finding in findings)
    print(
        f"{count:>7,} pictures, {kind} cache: {outcome.seconds:6.1f} s, {count / outcome.seconds:6,.0f} a second, "
        f"peak memory {outcome.memory / 1e6:5,.0f} MB; findings: {named}",
        flush=True,
    )


def main() -> None:
    print_setting()
    pictures = sorted(image_sets().glob("*/t*/*/*.*"))  # SET/train/CLASS/NAME and SET/test/CLASS/NAME
    sources = [(f"{path.parts[-4]}-{path.parts[-2]}", path) for path in pictures]
    order = np.random.default_rng(0).permutation(len(sources))
    outcomes = {}
    for size in SIZES:
        chosen = [sources[i] for i in order[: size // COPIES]]
        with tempfile.TemporaryDirectory() as folder:
            count = make_pictures(chosen, Path(folder, "pictures"))
            for kind in ("empty", "full"):
                outcomes[size, kind] = inspect(Path(folder, "pictures"), Path(folder, "cache"))
                show(kind, count, outcomes[size, kind])
    least, most = SIZES[0], SIZES[-1]
    for kind in ("empty", "full"):
        ratio = outcomes[most, kind].seconds / most / (outcomes[least, kind].seconds / least)
        print(f"{kind} cache: a picture takes {ratio:.2f} times as long among {most:,} as among {least:,}")
    memory = max(outcome.memory for outcome in outcomes.values())
    print(f"peak memory {memory / 1e9:.2f} GB, {memory / LARGEST_MEMORY:.2f} of the {LARGEST_MEMORY / 1e9} GB allowed")


if __name__ == "__main__":
    main()
