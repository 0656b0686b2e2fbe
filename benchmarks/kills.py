"""Claim: a run that is killed at any moment and resumed ends with the same weights, bit for bit: 20 of 20.

Trains once without interruption; then, once for each kill, another run that is killed (`kill -9`) at a random moment
of its life, between its first event and its last, and resumed with `tltool resume`. Compares all weights and scores.

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


def events_of(run: Path) -> int:
    """How many lines it has written into `events.jsonl`."""
    try:
        return (run / "events.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0


def killed(arguments: list[str], run: Path, after: int, moment: float) -> bool:
    """Whether the process was alive some moment after so many events, and was killed."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while events_of(run) < after and process.poll() is None:
        time.sleep(0.005)
    time.sleep(moment)
    if process.poll() is not None:
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return True


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
        whole = Path(folder, "cached")
        subprocess.run(fit(data, whole, backbone), check=True, capture_output=True)
        expected, scores, events = weights_of(whole), scores_of(whole), events_of(whole)
        print(f"without a kill: {events} events")
        for number in range(count):
            run = Path(folder, f"run-{number}")
            moment = chance.randrange(1, events)
            was_killed = killed(fit(data, run, backbone), run, moment, chance.uniform(0, 0.2))
            kills += was_killed
            checkpoints += any((run / "checkpoints").glob("*.npz"))
            if not run.exists():  # killed before there was a run to resume
                subprocess.run(fit(data, run, backbone), check=True, capture_output=True)
            elif was_killed and json.loads((run / "run.json").read_text("utf-8"))["state"] != "done":
                subprocess.run([sys.executable, "-m", "tltool", "resume", str(run)], check=True, capture_output=True)
            equal = all(np.array_equal(a, b) for a, b in zip(weights_of(run), expected, strict=True))
            equal &= scores_of(run) == scores
            same += equal
            result = "the same" if equal else "DIFFERENT"
            print(f"{'killed' if was_killed else 'done'} after {moment} events: {result}", flush=True)
    print(f"{kills} killed, {checkpoints} of them with checkpoints, {same} of {count} with the same weights and scores")


if __name__ == "__main__":
    main()
