"""Run folders: made once, never over something else, and telling the truth about runs that are gone."""

import json
import logging
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tltool.errors import RunError, StoppedError
from tltool.training import run_folder
from tltool.training.run_folder import RunFolder, create_run, list_runs, logging_to, new_run_path
from tltool.training.run_lock import lock_of


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def aged(run: RunFolder, seconds: float, **changes) -> RunFolder:
    """The run as if its state had been written so long ago."""
    state = json.loads(run.state_file.read_text()) | changes
    run.state_file.write_text(json.dumps(state | {"updated": time.time() - seconds}))
    return run


def test_a_new_run_is_queued(tmp_path):
    run = create_run(tmp_path / "deep" / "run", "run", "linear-probe", 7)
    state = run.read_state()
    assert {key: state[key] for key in ("name", "recipe", "seed", "state", "pid", "host", "reason")} == {
        "name": "run",
        "recipe": "linear-probe",
        "seed": 7,
        "state": "queued",
        "pid": None,
        "host": socket.gethostname(),
        "reason": None,
    }
    assert run.events.read_text() == ""


def test_state_is_merged(tmp_path):
    run = create_run(tmp_path / "run", "run", "linear-probe", 0)
    started = run.read_state()["started"]
    run.write_state(state="done", top1=0.5)
    state = run.read_state()
    assert (state["state"], state["top1"], state["started"], state["seed"]) == ("done", 0.5, started, 0)
    assert state["updated"] >= started
    assert [path.name for path in sorted(run.path.iterdir())] == ["events.jsonl", "run.json"]  # no temporary file


def test_an_empty_folder_is_taken(tmp_path):
    assert create_run(tmp_path, "run", "linear-probe", 0).path == tmp_path


def test_nothing_is_overwritten(tmp_path):
    create_run(tmp_path / "run", "run", "linear-probe", 0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("a file")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for name, message in [
        ("run", "already holds a run. Give another --out"),
        ("mine", "exists and is not empty. Give another --out"),
        ("file", "exists and is not empty. Give another --out"),
    ]:
        with pytest.raises(RunError, match=message):
            create_run(tmp_path / name, "run", "linear-probe", 0)
    with pytest.raises(RunError, match=r"cannot be written there .* Give another --out"):
        create_run(tmp_path / "file" / "below", "run", "linear-probe", 0)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_of_two_that_saw_an_empty_folder_one_gets_it(tmp_path, monkeypatch):
    create_run(tmp_path / "run", "first", "linear-probe", 0)
    # What the second one saw, before the first one wrote.
    monkeypatch.setattr(Path, "exists", lambda path: False)
    monkeypatch.setattr(Path, "iterdir", lambda path: iter(()))
    with pytest.raises(RunError, match=r"already holds a run\. Give another --out"):
        create_run(tmp_path / "run", "second", "linear-probe", 0)
    assert RunFolder(tmp_path / "run").read_state()["name"] == "first"


def test_a_run_whose_process_is_gone_is_interrupted(tmp_path):
    run = create_run(tmp_path / "run", "run", "linear-probe", 0)
    for pid in (dead_process(), os.getpid()):  # numbers are given again: a living one proves nothing
        run.write_state(state="running", pid=pid)
        assert run.read_state()["state"] == "interrupted"
    with lock_of(run.lock).acquire():
        assert run.read_state()["state"] == "running"
    assert run.read_state()["state"] == "interrupted"
    run.write_state(state="done")
    assert run.read_state()["state"] == "done"
    run.require_done()


def test_a_run_waits_a_minute_for_its_process(tmp_path):
    run = create_run(tmp_path / "run", "run", "linear-probe", 0)
    assert aged(run, 55).read_state()["state"] == "queued"
    assert aged(run, 65).read_state()["state"] == "interrupted"
    assert aged(run, 55, pid=dead_process()).read_state()["state"] == "interrupted"  # it had one
    with lock_of(run.lock).acquire():
        assert aged(run, 65).read_state()["state"] == "queued"


def test_of_a_run_elsewhere_the_heartbeat_tells(tmp_path):
    run = create_run(tmp_path / "run", "run", "linear-probe", 0)
    run.write_state(state="running", pid=os.getpid(), host="elsewhere")
    assert run.read_state()["state"] == "interrupted"  # none was ever heard
    run.heartbeat.touch()
    assert run.read_state()["state"] == "running"
    for seconds, state in ((55, "running"), (65, "interrupted")):
        os.utime(run.heartbeat, (time.time() - seconds,) * 2)
        assert run.read_state()["state"] == state


def test_where_locks_tell_nothing_the_heartbeat_does(tmp_path, monkeypatch):
    run = create_run(tmp_path / "run", "run", "linear-probe", 0)
    run.write_state(state="running", pid=os.getpid())
    monkeypatch.setattr(run_folder, "is_held", lambda path: None)
    assert run.read_state()["state"] == "interrupted"
    run.heartbeat.touch()
    assert run.read_state()["state"] == "running"


def test_reading_the_state_makes_no_file(tmp_path):
    run = create_run(tmp_path / "run", "run", "linear-probe", 0)
    run.write_state(state="running", pid=os.getpid())
    before = sorted(run.path.iterdir())
    run.read_state()
    assert sorted(run.path.iterdir()) == before


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({}, r"this run is queued, so it has no model to use\. Wait for it\."),
        ({"state": "running"}, r"is interrupted, so .* `tltool resume \S+run` goes on with it\."),
        (
            {"state": "stopped", "reason": "Ctrl-C"},
            r"stopped: Ctrl-C, so .* `tltool resume \S+run` goes on with it\.",
        ),
        ({"state": "failed", "reason": "No space left."}, r"is failed: No space left, so .* Fit again\."),
    ],
)
def test_an_unfinished_run_says_why_and_what_to_do(tmp_path, state, told):
    run = create_run(tmp_path / "run", "run", "linear-probe", 0)
    if state:
        run.write_state(pid=os.getpid(), **state)
    with pytest.raises(RunError, match=told):
        run.require_done()


def test_only_a_run_that_is_done_is_finished(tmp_path):
    run = create_run(tmp_path / "run", "run", "linear-probe", 0)
    for state in ("queued", "stopped", "failed"):
        run.write_state(state=state)
        run.require_unfinished()
    run.write_state(state="done")
    with pytest.raises(RunError, match="this run is done; there is nothing to resume"):
        run.require_unfinished()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"state": "done"}', "\xff"])
def test_a_foreign_run_json_is_no_run(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(RunError, match=r"run\.json"):
        RunFolder(tmp_path).read_state()


def test_no_run_at_all(tmp_path):
    with pytest.raises(RunError, match=r"not a run folder \(run\.json is missing\)"):
        RunFolder(tmp_path).read_state()


def test_runs_are_listed_oldest_first_and_foreign_ones_passed_over(tmp_path):
    for name, started in (("b", 2.0), ("a", 3.0), ("c", 1.0)):
        create_run(tmp_path / name, name, "linear-probe", 0).write_state(started=started)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").write_text(json.dumps({"program": "another one"}))
    (tmp_path / "empty").mkdir()
    assert [run.path.name for run in list_runs(tmp_path)] == ["c", "b", "a"]
    assert list_runs(tmp_path / "missing") == []


def test_new_run_path_is_the_first_free_one(tmp_path):
    assert new_run_path("ants", tmp_path / "runs").name == "ants-1"
    (tmp_path / "runs" / "ants-3").mkdir()
    (tmp_path / "runs" / "ants-2").write_text("a file")
    assert new_run_path("ants", tmp_path / "runs").name == "ants-4"


def test_a_new_run_path_is_given_once(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        paths = list(threads.map(lambda _: new_run_path("ants", tmp_path / "runs"), range(40)))
    assert len(set(paths)) == 40
    assert create_run(paths[0], "ants", "linear-probe", 0).read_state()["state"] == "queued"


def test_a_new_run_path_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("a file")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    for parent in ("file", "gone"):
        with pytest.raises(RunError, match=r"ants-1: the run cannot be written there .* Give another --out"):
            new_run_path("ants", tmp_path / parent)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full: Linux")
def test_a_log_that_cannot_be_written_hides_nothing(capsys):
    def stop() -> None:
        logging.getLogger("tltool.test").info("a line")
        raise StoppedError("the reason")

    with pytest.raises(StoppedError, match=r"^the reason$"), logging_to(Path("/dev/full")):
        stop()
    assert capsys.readouterr().err == ""
