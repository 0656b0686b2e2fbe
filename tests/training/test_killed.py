"""`kill -9` at any moment, `tltool resume`, and the weights are those of the run that was not killed, bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.pictures import make_class_folders
from tltool.training.events import read_events
from tltool.training.run_folder import RunFolder

KILLS = 3
SETTINGS = {
    "backbone": "tiny_random",
    "head.folds": "2",
    "head.shuffles": "1",
    "stages.all.epochs": "6",
    "stages.all.batch_size": "2",
    "stages.all.patience": "6",
    "stages.all.learning_rate": "0.003",
}
PATIENCE = 180  # seconds


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tltool", *arguments]


def fit(data: Path, out: Path) -> list[str]:
    settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    return command("fit", str(data), "--recipe", "finetune-all", "--out", str(out), *settings)


def steps_of(folder: RunFolder) -> int:
    """Steps of fine-tuning that were told so far, those that were done twice counted twice."""
    events = read_events(folder.events)
    return sum(event["event"] == "progress" and event["task"].startswith("Fine-tuning") for event in events)


def kill_after(arguments: list[str], folder: RunFolder, steps: int, moment: float) -> bool:
    """Kills the process some time after so many more steps were told; False if it ended before."""
    before = steps_of(folder)
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    end = time.monotonic() + PATIENCE
    while steps_of(folder) < before + steps and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(moment)
    if process.poll() is not None:
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return True


def weights_of(folder: RunFolder) -> list[np.ndarray]:
    return keras.saving.load_model(folder.model).get_weights()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Pictures, and the run on them that was left alone."""
    folder = tmp_path_factory.mktemp("killed")
    data = make_class_folders(folder / "pictures", {"ant": 14, "bee": 14, "cat": 14}, size=48)
    subprocess.run(fit(data, folder / "whole"), check=True, capture_output=True)
    return data, RunFolder(folder / "whole")


def test_killed_runs_end_as_the_one_that_was_not(whole, tmp_path):
    data, expected = whole
    chance = random.Random(0)
    folder = RunFolder(tmp_path / "run")
    arguments, kills = fit(data, folder.path), 0
    for _ in range(KILLS):
        kills += kill_after(arguments, folder, chance.randrange(1, 6), chance.uniform(0, 0.3))
        if folder.read_state()["state"] == "done":
            break
        assert folder.read_state()["state"] == "interrupted"
        arguments = command("resume", str(folder.path))
    assert kills
    if folder.read_state()["state"] != "done":
        subprocess.run(arguments, check=True, capture_output=True)
    assert folder.read_state()["state"] == "done"
    assert all(np.array_equal(a, b) for a, b in zip(weights_of(folder), weights_of(expected), strict=True))
    scores = [json.loads(run.metrics.read_text()) | {"seconds": 0} for run in (folder, expected)]
    assert scores[0] == scores[1]
    assert not folder.scratch.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_writes_a_checkpoint_and_says_how_to_go_on(whole, tmp_path, number):
    data, _ = whole
    folder = RunFolder(tmp_path / "run")
    process = subprocess.Popen(fit(data, folder.path), stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + PATIENCE
    while steps_of(folder) < 3:
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert f"tltool resume {folder.path}" in told.replace("\n", "")
    assert folder.read_state()["state"] == "stopped"
    assert len(list(folder.checkpoints.glob("*.npz"))) == 2
