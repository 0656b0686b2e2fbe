"""Runs tltool and the plain Keras baseline as processes of their own, with an empty cache, and times them."""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PLAIN_KERAS = Path(__file__).with_name("plain_keras.py")


@dataclass(frozen=True)
class Outcome:
    """What one process reached: top-1 on the test part in [0, 1], seconds from its start to its end, its recipe."""

    top1: float
    seconds: float
    recipe: str


def run_tltool(data: Path, *options: str) -> Outcome:
    """`tltool fit DATA`, the table deciding, nothing cached."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        command = [sys.executable, "-m", "tltool", "fit", str(data), "--out", str(out), *options]
        _, seconds = _timed(command, cache=Path(folder, "cache"))
        metrics = json.loads((out / "metrics.json").read_text("utf-8"))
        return Outcome(metrics["top1"], seconds, metrics["recipe"])


def run_plain_keras(data: Path) -> Outcome:
    """The frozen backbone trained for 20 epochs without cached features."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(PLAIN_KERAS), str(data), str(Path(folder, "model.keras"))]
        output, seconds = _timed(command, cache=Path(folder, "cache"))
        return Outcome(json.loads(output.splitlines()[-1])["top1"], seconds, "plain Keras")


def _timed(command: list[str], cache: Path) -> tuple[str, float]:
    start = time.perf_counter()
    done = subprocess.run(
        command, env=os.environ | {"TLTOOL_CACHE": str(cache)}, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout, seconds


def image_sets() -> Path:
    """The folder of public image sets: the first argument, or shared/data beside the checkout."""
    given = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    folder = Path(given[0]) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        sys.exit(f"{folder}: no such folder. Give the folder of image sets as argument.")
    return folder


def print_setting() -> None:
    """Device, versions and seed."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("tltool", "keras", "tensorflow", "openvino"))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}, seed 0")
