"""Claim: the memory of fine-tuning grows neither with epochs nor with the size of the set.

Runs `tltool fit --recipe finetune-all` as a process of its own, on the tiny backbone at 96 pixels: 300 pictures for 1
and for 20 epochs, 10,000 pictures for 1 epoch; prints the largest resident memory while fine-tuning, above what it was
when fine-tuning began, and the largest of the whole run, in which the probe holds its features (16 kB a picture).

    python benchmarks/memory.py [FOLDER OF IMAGE SETS]
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from contest import image_sets, print_setting

CASES = ((300, 1), (300, 20), (10_000, 1))


def copy(source: Path, target: Path, count: int) -> None:
    files = sorted((source / "train").rglob("*.png")) + sorted((source / "test").rglob("*.png"))
    for file in random.Random(0).sample(files, count):
        folder = target / file.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{file.parent.parent.name}-{file.name}").write_bytes(file.read_bytes())


def resident(pid: int) -> int:
    """Bytes of a process in memory, 0 once it is gone; Linux."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")), 0)


def run(data: Path, out: Path, epochs: int) -> tuple[int, int]:
    """Bytes at the end of the first tenth of fine-tuning's samples, and at most after that; at most of all."""
    settings = {"backbone": "tiny_random", "image_size": "96", "head.folds": "2", "head.shuffles": "1"}
    settings |= {"stages.all.epochs": str(epochs), "stages.all.patience": str(epochs)}
    changes = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "tltool", "fit", str(data), "--recipe", "finetune-all", "--out", str(out)]
    process = subprocess.Popen([*command, *changes], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    all_of_it, tuning = [], []
    while process.poll() is None:
        now = resident(process.pid)
        all_of_it.append(now)
        if (out / "probe.npz").exists() and not (out / "model.keras").exists():
            tuning.append(now)
        time.sleep(0.05)
    if process.returncode:
        sys.exit(f"{data}: the run failed")
    first = tuning[: max(1, len(tuning) // 10)]
    return max(tuning) - max(first), max(all_of_it)


def main() -> None:
    sets = image_sets()
    print_setting()
    print(f"{'pictures':>8} {'epochs':>6} {'fine-tuning adds':>17} {'whole run':>10}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TLTOOL_CACHE"] = str(Path(folder, "cache"))
        for pictures, epochs in CASES:
            data = Path(folder, f"set-{pictures}")
            if not data.exists():
                copy(sets / "kmnist_test", data, pictures)
            added, largest = run(data, Path(folder, f"run-{pictures}-{epochs}"), epochs)
            print(f"{pictures:8} {epochs:6} {added / 1e6:14.0f} MB {largest / 1e6:7.0f} MB", flush=True)


if __name__ == "__main__":
    main()
