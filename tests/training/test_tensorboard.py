"""Event files, read back by TensorBoard's own reader."""

import json
import os
import subprocess
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tltool.training import tensorboard as module
from tltool.training.events import EventLog
from tltool.training.run_folder import RunFolder, create_run
from tltool.training.tensorboard import TensorBoardLog


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return create_run(tmp_path / "run", "run", "r", 0)


def tell(run: RunFolder, epochs: list[tuple[str, int, float]], *, end: bool = True) -> None:
    """What one process tells of a run."""
    listener = TensorBoardLog(run.tensorboard)
    events = EventLog(run.events, listener)
    for stage, number, loss in epochs:
        events.report("training", 0, 10)
        events.emit("epoch", stage=stage, epoch=number, loss=loss, valid_log_loss=2 * loss, score=1.0, rate=1e-3)
    if end:
        events.emit("end", state="done", seconds=1.0)
    elif listener._file is not None:
        listener._file.close()  # as the system does for a process that was killed
    events.close()


def read(run: RunFolder) -> EventAccumulator:
    return EventAccumulator(str(run.tensorboard)).Reload()


def points(found: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(point.step, round(point.value, 6)) for point in found.Scalars(tag)]


def test_scores_of_each_stage_over_the_whole_run(run):
    tell(run, [("head", 1, 0.5), ("head", 2, 0.4), ("top blocks", 1, 0.3)])
    found = read(run)
    assert points(found, "loss/head") == [(1, 0.5), (2, 0.4)]
    assert points(found, "loss/top_blocks") == [(3, 0.3)]
    assert points(found, "valid_log_loss/head") == [(1, 1.0), (2, 0.8)]
    assert points(found, "rate/head") == [(1, 0.001), (2, 0.001)]
    told = [json.loads(line)["time"] for line in run.events.read_text().splitlines() if '"epoch"' in line]
    assert [point.wall_time for point in found.Scalars("loss/head")] == told[:2]


def test_a_resumed_run_goes_on_and_repeated_epochs_show_once(run):
    tell(run, [("head", 1, 0.5), ("all", 1, 0.4), ("all", 2, 9.0)], end=False)
    tell(run, [("all", 2, 0.3), ("all", 3, 0.2)])
    tell(run, [("all", 4, 0.1)])
    found = read(run)
    assert points(found, "loss/head") == [(1, 0.5)]
    assert points(found, "loss/all") == [(2, 0.4), (3, 0.3), (4, 0.2), (5, 0.1)]
    assert len(list(run.tensorboard.iterdir())) == 3  # nothing is overwritten


def test_notes_and_the_decision_are_text(run):
    events = EventLog(None, TensorBoardLog(run.tensorboard))
    events.emit("decision", cell="few and near", used="linear-probe", reasons=["Because."])
    events.emit("note", text="Left out: ant/broken.jpg")
    events.emit("end", state="done")
    found = read(run)

    def text(tag: str) -> str:
        return found.Tensors(f"{tag}/text_summary")[0].tensor_proto.string_val[0].decode()

    assert text("decision") == "few and near: linear-probe\n\nBecause."
    assert text("note") == "Left out: ant/broken.jpg"


def test_numbers_that_are_not_finite_are_kept(run):
    tell(run, [("head", 1, float("nan")), ("head", 2, float("inf"))])
    assert [str(point.value) for point in read(run).Scalars("loss/head")] == ["nan", "inf"]


def test_a_run_that_tells_nothing_of_it_makes_no_folder(run):
    tell(run, [])
    assert not run.tensorboard.exists()


def test_a_fault_is_logged_once_and_ends_nothing(run, caplog):
    run.tensorboard.write_text("a file where the folder would be")
    tell(run, [("head", 1, 0.5), ("head", 2, 0.4)])
    assert [record.message.partition(" (")[0] for record in caplog.records] == [
        f"{run.tensorboard}: nothing more is written for TensorBoard"
    ]


def test_a_disk_that_fills_up_ends_nothing(run, monkeypatch, caplog):
    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.EventsWriter, "flush", full)
    listener = TensorBoardLog(run.tensorboard)
    for number in (1, 2):
        listener({"time": 1.0, "event": "epoch", "stage": "head", "epoch": number, "loss": 0.5})
    assert len(caplog.records) == 1
    listener._file._py_recordio_writer.close()


def test_tensorflow_is_not_needed(run):
    code = """
import sys
from pathlib import Path
from tltool.training.tensorboard import TensorBoardLog
TensorBoardLog(Path(sys.argv[1]))({"time": 1.0, "event": "epoch", "stage": "head", "epoch": 1, "loss": 0.5})
assert not {"tensorflow", "keras", "torch"} & sys.modules.keys()
"""
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", code, str(run.tensorboard)], check=True, env=environment)
    assert points(read(run), "loss/head") == [(1, 0.5)]
