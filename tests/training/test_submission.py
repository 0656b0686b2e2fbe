"""Runs in processes of their own: mistakes at once, a life of their own, stopped and taken up again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pictures import make_class_folders
from tltool.errors import RecipeError, RunError
from tltool.training import submission as module
from tltool.training.job import Job
from tltool.training.submission import Submission, resubmit, submit

# Stands in for `tltool resume`: takes the run as that does, and does what the first word of a file beside it says.
CARRY_OUT = """
import os, sys, time
from pathlib import Path
if Path(sys.argv[1]).parent.joinpath("never").exists():
    sys.exit("tltool: this is not a way to start.")
from tltool.training.holding import holding
from tltool.training.run_folder import RunFolder
run = RunFolder(Path(sys.argv[1]))
with holding(run):
    print("working in", os.getcwd(), "with", os.environ.get("SPECIAL"), flush=True)
    try:
        while not (run.path.parent / "finish").exists():
            time.sleep(0.02)
    except KeyboardInterrupt:
        run.write_state(state="stopped")
    else:
        run.write_state(state="done")
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return make_class_folders(tmp_path_factory.mktemp("data") / "photos", {"ant": 6, "bee": 6})


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The folder that the test works in; all that it starts is ended with it."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "carry_out.py").write_text(CARRY_OUT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    monkeypatch.setattr(module, "COMMAND", ("carry_out",))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for record in tmp_path.rglob(module.RECORD):
        Job(record).stop(patience=0)


def until(condition, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def working(submission: Submission) -> Submission:
    until(lambda: submission.run.read_state()["state"] == "running")
    return submission


def test_a_run_goes_through_its_states(here, photos, monkeypatch):
    monkeypatch.setenv("SPECIAL", "as it is")
    submission = submit(photos, "linear-probe", out="run")
    assert submission.run.path == Path("run")
    assert submission.is_running()
    assert submission.state in ("queued", "running")
    assert working(submission).state == "running"
    assert submission.wait(timeout=0.1) == "running"
    (here / "finish").touch()
    assert submission.wait() == "done"
    assert not submission.is_running()
    assert (here / "run" / "worker.log").read_text() == f"working in {here} with as it is\n"


def test_mistakes_are_told_at_once_and_nothing_is_started(here, photos):
    with pytest.raises(RecipeError, match="No recipe is called"):
        submit(photos, "linear-prob", out="run")
    assert not (here / "run").exists()


def test_stopped_and_taken_up_again(here, photos):
    submission = working(submit(photos, "linear-probe", out="run"))
    with pytest.raises(RunError, match="this run is running already"):
        resubmit(submission.run)
    submission.stop()
    assert submission.state == "stopped"
    started = submission.run.read_state()["started"]
    again = working(resubmit(submission.run))
    (here / "finish").touch()
    assert again.wait() == "done"
    assert submission.run.read_state()["started"] == started
    with pytest.raises(RunError, match="this run is done; there is nothing to resume"):
        resubmit(submission.run)


def test_one_that_was_killed_is_interrupted_and_can_be_taken_up(here, photos):
    submission = working(submit(photos, "linear-probe", out="run"))
    os.kill(submission.run.read_state()["pid"], signal.SIGKILL)
    assert submission.wait() == "interrupted"
    assert "without a word" in submission.failure()
    (here / "finish").touch()
    assert resubmit(submission.run).wait() == "done"


def test_one_that_cannot_start_says_why(here, photos):
    (here / "never").touch()
    submission = submit(photos, "linear-probe", out="run")
    assert submission.wait() == "interrupted"
    assert submission.failure() == "this is not a way to start."


def test_one_that_is_stopped_before_it_starts_is_stopped(here, photos):
    submission = submit(photos, "linear-probe", out="run")
    submission.stop(patience=0)
    assert submission.state == "stopped"


def test_it_outlives_whoever_started_it(here, photos):
    start = "import sys\nfrom tltool.training import submission, submit\n"
    start += "submission.COMMAND = ('carry_out',)\nsubmit(sys.argv[1], 'linear-probe', out='run')\n"
    process = subprocess.Popen([sys.executable, "-c", start, str(photos)], start_new_session=True)
    assert process.wait() == 0
    submission = working(Submission(module.RunFolder(here / "run")))
    assert submission.is_running()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, signal.SIGHUP)  # it is in none of its groups
    (here / "finish").touch()
    assert submission.wait() == "done"


def test_a_run_that_another_process_carries_out_is_not_stopped_from_here(here, photos):
    submission = working(submit(photos, "linear-probe", out="run"))
    record = here / "run" / module.RECORD
    kept = record.read_text()
    record.write_text(json.dumps({"pid": None}))
    os.utime(record, (0, 0))
    with pytest.raises(RunError, match=rf"process {json.loads(kept)['pid']} on .* carries it out"):
        submission.stop()
    record.write_text(kept)


def test_the_package_offers_it_and_stays_cheap():
    code = "import sys, tltool.training\nassert 'tltool.training.submission' not in sys.modules\n"
    code += "from tltool.training import submit\nassert not {'keras', 'tensorflow', 'mlflow'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
