"""Claim: a run that is killed at any moment and resumed ends with the same weights, bit for bit: 20 of 20.

Trains once without interruption; then, once for each kill, another run that is killed (`kill -9`) at a random moment
of its life, between its first second and its last, and resumed with `tltool resume`. Compares all weights and scores.

    python benchmarks/kills.py [FOLDER OF IMAGE SETS] [--kills N] [--lite]     --lite: EfficientNet-Lite0 at 64 pixels
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from contest import image_sets, print_setting

SETTINGS = {"image_size": "64", "stages.all.epochs": "6", "stages.all.patience": "6", "stages.all.batch_size": "16"}


def fit(data: Path, out: Path, backbone: str) -> list[str]:
    settings = SETTINGS | {"backbone": backbone}
    changes = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return [sys.executable, "-m", "tltool", "fit", str(data), "--recipe", "finetune-all", "--out", str(out), *changes]


def weights_of(run: Path) -> list[np.ndarray]:
    return keras.saving.load_model(run / "model.keras").get_weights()


def scores_of(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text("utf-8")) | {"seconds": None}


def killed(arguments: list[str], after: float) -> bool:
    """Whether the process was still alive after so many seconds, and was killed."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def main() -> None:
    count = int(sys.argv[sys.argv.index("--kills") + 1]) if "--kills" in sys.argv else 20
    backbone = "efficientnet_lite0" if "--lite" in sys.argv else "tiny_random"
    data = image_sets() / "hymenoptera"
    print_setting()
    print(f"{backbone}, {count} kills")
    chance, same, kills, checkpoints = random.Random(0), 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TLTOOL_CACHE"] = str(Path(folder, "cache"))
        whole = Path(folder, "whole")
        subprocess.run(fit(data, whole, backbone), check=True, capture_output=True)  # fills the cache
        whole = Path(folder, "timed")
        start = time.perf_counter()
        subprocess.run(fit(data, whole, backbone), check=True, capture_output=True)
        seconds = time.perf_counter() - start
        expected, scores = weights_of(whole), scores_of(whole)
        print(f"without a kill: {seconds:.1f} s")
        for number in range(count):
            run = Path(folder, f"run-{number}")
            moment = chance.uniform(1, seconds)
            was_killed = killed(fit(data, run, backbone), moment)
            kills += was_killed
            checkpoints += any((run / "checkpoints").glob("*.npz"))
            if not run.exists():  # killed before there was a run to resume
                subprocess.run(fit(data, run, backbone), check=True, capture_output=True)
            elif was_killed and json.loads((run / "run.json").read_text("utf-8"))["state"] != "done":
                subprocess.run([sys.executable, "-m", "tltool", "resume", str(run)], check=True, capture_output=True)
            equal = all(np.array_equal(a, b) for a, b in zip(weights_of(run), expected, strict=True))
            equal &= scores_of(run) == scores
            same += equal
            print(f"killed after {moment:5.1f} s: {'the same' if equal else 'DIFFERENT'}", flush=True)
    print(f"{kills} killed, {checkpoints} of them with checkpoints, {same} of {count} with the same weights and scores")


if __name__ == "__main__":
    main()
