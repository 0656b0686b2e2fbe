"""A run in hand: one process at a time, seen to live, let go of however that process ends."""

import logging
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tltool.errors import RunError
from tltool.files import write_json
from tltool.training import holding as module
from tltool.training import run_folder
from tltool.training.holding import holding
from tltool.training.run_folder import RunFolder, create_run

HOLD = """
import sys, time
from pathlib import Path
from tltool.training.holding import holding
from tltool.training.run_folder import RunFolder
with holding(RunFolder(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return create_run(tmp_path / "run", "run", "linear-probe", 0)


def test_a_run_in_hand_is_running_here(run):
    started = run.read_state()["started"]
    with holding(run):
        state = run.read_state()
        assert (state["state"], state["pid"], state["host"]) == ("running", os.getpid(), socket.gethostname())
        assert state["started"] == started  # a resumed run keeps its place in a list
    assert run.read_state()["state"] == "interrupted"  # nobody said how it ended
    with holding(run):
        run.write_state(state="done")
    assert run.read_state()["state"] == "done"


def test_another_process_is_told_who_has_it_until_it_is_killed(run):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(run.path)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "held\n"
        told = rf"another process \(pid {process.pid} on {re.escape(socket.gethostname())}\) is working on this run"
        with pytest.raises(RunError, match=told), holding(run):
            pass
        assert run.read_state()["pid"] == process.pid
        assert run.read_state()["state"] == "running"
        process.kill()
    assert run.read_state()["state"] == "interrupted"
    with holding(run):
        assert run.read_state()["state"] == "running"


def test_reading_the_state_all_the_time_keeps_nobody_out(run):
    look = "import sys\nfrom pathlib import Path\nfrom tltool.training.run_folder import RunFolder\nprint(flush=True)\n"
    look += "while True: RunFolder(Path(sys.argv[1])).read_state()"
    with holding(run):
        pass
    with subprocess.Popen([sys.executable, "-c", look, str(run.path)], stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        for _ in range(100):
            with holding(run):
                pass
        process.kill()


def test_the_heart_beats_while_it_is_held(run, monkeypatch):
    monkeypatch.setattr(module, "BEAT", 0.01)

    def beats(seconds: float = 2.0) -> bool:
        os.utime(run.heartbeat, (0, 0))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if run.heartbeat.stat().st_mtime > 0:
                return True
        return False

    with holding(run):
        assert run.is_beating()
        assert beats()
    assert not beats(0.1)


def test_a_heartbeat_that_cannot_be_written_is_told_once_and_ends_nothing(run, monkeypatch, caplog):
    def full(path, *arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "BEAT", 0.01)
    monkeypatch.setattr(Path, "touch", full)
    with caplog.at_level(logging.WARNING, "tltool"), holding(run):
        time.sleep(0.1)
    assert [record.message for record in caplog.records] == [
        f"{run.heartbeat}: cannot be written ([Errno 28] No space left on device)."
    ]


def test_a_folder_that_cannot_be_written_is_a_clear_error_and_stays_free(run, monkeypatch):
    def refuse(path, value):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(run_folder, "write_json", refuse)
    with pytest.raises(RunError, match=r"cannot be written there .*Read-only file system.* Make the folder writable"):
        holding(run).__enter__()
    monkeypatch.setattr(run_folder, "write_json", write_json)
    with holding(run):
        pass


def test_without_locks_the_heartbeat_keeps_others_away(run, monkeypatch, caplog):
    def refuse(path):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(module, "lock_of", refuse)
    with holding(run):
        pass
    assert "nothing but its heartbeat keeps others away" in caplog.text
    with pytest.raises(RunError, match="is working on this run"), holding(run):
        pass
    os.utime(run.heartbeat, (0, 0))
    with holding(run):
        pass


def test_time_that_a_killed_process_worked_counts(run):
    with holding(run) as spent:
        assert spent == 0.0
        run.write_state(working_since=time.time() - 100.0)  # and killed: nobody says how it ended
    with holding(run) as spent:
        assert spent == pytest.approx(100.0, abs=1.0)
        os.utime(run.heartbeat, (time.time() + 900.0,) * 2)  # waiting its turn is no work
    with holding(run) as spent:
        assert spent == pytest.approx(100.0, abs=1.0)
        run.write_state(state="stopped", spent=120.0, working_since=None)
    with holding(run) as spent:
        assert spent == 120.0
