"""Turns: one run of a machine at a time, in order, and nobody waits for the dead."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tltool.training import turns
from tltool.training.run_folder import RunFolder, create_run
from tltool.training.turns import queue_folder, turn

TAKE_A_TURN = """
import sys
from pathlib import Path
from tltool.training import turns
from tltool.training.run_folder import RunFolder
turns.LOOK_EVERY = 0.02
def say(text):
    print(text, flush=True)
with turns.turn(RunFolder(Path(sys.argv[1])), say):
    say("in")
    sys.stdin.readline()
"""
# Writes when its turn begins and ends.
COUNT = """
import sys, time
from pathlib import Path
from tltool.training import turns
from tltool.training.run_folder import RunFolder
turns.LOOK_EVERY = 0.01
with turns.turn(RunFolder(Path(sys.argv[1])), print), open(sys.argv[2], "a") as file:
    for word in ("begins", "ends"):
        file.write(word + "\\n")
        file.flush()
        time.sleep(0.02)
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path / "cache"))


def a_run(folder: Path, name: str) -> RunFolder:
    run = create_run(folder / name, name, "linear-probe", 0)
    run.write_state(state="running")
    return run


def tickets() -> list[str]:
    return sorted(path.name for path in queue_folder().glob("*.ticket"))


@contextmanager
def taking_a_turn(run: RunFolder) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-c", TAKE_A_TURN, str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def let_go(process: subprocess.Popen) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


def state_on_disk(run: RunFolder) -> str:
    return json.loads(run.state_file.read_text())["state"]


def test_first_come_first_served_and_the_dead_are_passed_over(tmp_path):
    runs = [a_run(tmp_path, name) for name in "abc"]
    with ExitStack() as stack:
        words, processes = [], []
        for run in runs:
            processes.append(stack.enter_context(taking_a_turn(run)))
            words.append(processes[-1].stdout.readline())
        first, second, third = processes
        assert words[0] == "in\n"
        assert re.fullmatch(rf"Waiting for {runs[0].path}, which started at \d\d:\d\d\.\n", words[1])
        assert words[2] == words[1].replace(".\n", ". In the queue before this one: 1 more.\n")
        assert [state_on_disk(run) for run in runs] == ["running", "queued", "queued"]
        let_go(first)
        assert second.stdout.readline() == "in\n"
        assert [state_on_disk(run) for run in runs[1:]] == ["running", "queued"]
        second.kill()
        assert third.stdout.readline() == "in\n"
        assert tickets() == ["00000003.ticket"]
        let_go(third)
        assert third.wait() == 0
    assert tickets() == []


def test_never_two_at_a_time(tmp_path):
    told = tmp_path / "told.txt"
    processes = [
        subprocess.Popen([sys.executable, "-c", COUNT, str(a_run(tmp_path, str(number)).path), str(told)])
        for number in range(5)
    ]
    assert [process.wait() for process in processes] == [0] * 5
    assert told.read_text().split() == ["begins", "ends"] * 5


def test_a_slow_queue_makes_nobody_go_first(tmp_path, monkeypatch):
    first = turns._draw(a_run(tmp_path, "first"))
    second = turns._draw(a_run(tmp_path, "second"))
    monkeypatch.setattr(turns, "PATIENCE", 0.05)
    with turns._alone(queue_folder()):
        assert turns._before(second.path) == [first.path]
    first.lock.release()
    second.lock.release()


def test_a_process_that_has_its_turn_has_it_for_all_its_runs(tmp_path):
    outer, inner = a_run(tmp_path, "outer"), a_run(tmp_path, "inner")
    with turn(outer, pytest.fail), turn(inner, pytest.fail):
        assert tickets() == ["00000001.ticket"]
    assert tickets() == []
    with turn(outer, pytest.fail):
        pass


def test_an_interrupt_while_waiting_gives_the_place_back(tmp_path):
    def interrupt(text: str) -> None:
        assert tickets() == ["00000001.ticket", "00000002.ticket"]
        raise KeyboardInterrupt

    with taking_a_turn(a_run(tmp_path, "first")) as process:
        process.stdout.readline()
        with pytest.raises(KeyboardInterrupt), turn(a_run(tmp_path, "second"), interrupt):
            pytest.fail("it is not its turn")
        assert tickets() == ["00000001.ticket"]


def test_an_error_in_a_turn_ends_it(tmp_path):
    with pytest.raises(ZeroDivisionError), turn(a_run(tmp_path, "run"), pytest.fail):
        1 / 0  # noqa: B018
    assert tickets() == []


def test_where_nothing_can_be_locked_nobody_waits(tmp_path, monkeypatch, caplog):
    def refuse(path):
        raise OSError(37, "No locks available")

    with taking_a_turn(a_run(tmp_path, "first")) as process:
        process.stdout.readline()
        with monkeypatch.context() as patch:
            patch.setattr(turns, "lock_of", refuse)
            with turn(a_run(tmp_path, "second"), pytest.fail):
                assert "Runs on this machine do not wait for each other" in caplog.text
        # What it left in the queue keeps nobody.
        os.kill(process.pid, 9)
        process.wait()
        with turn(a_run(tmp_path, "third"), pytest.fail):
            pass


def test_a_cache_folder_that_cannot_be_written_keeps_nobody_waiting(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("a file")
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path / "file"))
    with turn(a_run(tmp_path, "run"), pytest.fail):
        assert "Runs on this machine do not wait for each other" in caplog.text
