"""Processes in a session of their own: started once, watched, stopped, and heard when they fail."""

import os
import time

import pytest

from tltool.training import job as jobs
from tltool.training.job import start

SLEEP = ["timeit", "-n1", "-r1", "import time; time.sleep(60)"]


@pytest.fixture
def record(tmp_path):
    return tmp_path / "jobs" / "job.json"


def wait(job):
    end = time.monotonic() + 20
    while job.is_running():
        assert time.monotonic() < end
        time.sleep(0.02)
    return job


def test_job_runs_until_it_is_stopped(record):
    job = start(SLEEP, record)
    assert job.is_running()
    job.stop()
    assert not job.is_running()
    assert job.was_stopped


def test_same_record_starts_no_second_process(record):
    job = start(SLEEP, record)
    content = record.read_text()
    start(SLEEP, record)
    assert record.read_text() == content
    job.stop(patience=0)


def test_another_process_recognizes_the_process(record, monkeypatch):
    job = start(SLEEP, record)
    mine = dict(jobs._mine)
    monkeypatch.setattr(jobs, "_mine", {})
    assert job.is_running()
    monkeypatch.setattr(jobs, "_mine", mine)
    job.stop(patience=0)


def test_a_number_that_now_is_somebody_elses_is_not_stopped(record):
    other = start(SLEEP, record.with_name("other.json"))
    job = jobs.Job(record)
    record.write_text(other.record.read_text().replace("sleep(60)", "sleep(61)"))
    other_process = jobs._mine.pop(other._pid())
    try:
        assert not job.is_running()
        job.stop()
        assert other.is_running()
    finally:
        jobs._mine[other_process.pid] = other_process
        other.stop(patience=0)


def test_mistake_of_the_users_is_its_message(record):
    words = "tltool: photos: no class folders.\\nAdd some.\\n"
    code = f"import os, sys; print('Starting'); sys.stdout.flush(); os.write(2, b'{words}'); os._exit(2)"
    job = wait(start(["timeit", code], record))
    assert job.failure() == "photos: no class folders. Add some."


def test_fault_of_the_programs_is_one_sentence_with_the_log(record):
    job = wait(start(["timeit", "1/0"], record))
    assert "ZeroDivisionError" in job.failure()
    assert "Traceback" not in job.failure()
    assert str(job.log) in job.failure()


def test_process_that_was_killed_is_one_sentence(record):
    job = start(SLEEP, record)
    jobs._mine[job._pid()].kill()
    assert "without a word" in wait(job).failure()


def test_record_that_was_cut_short_is_no_running_process(record):
    record.parent.mkdir()
    record.write_text("{")
    job = jobs.Job(record)
    assert job.is_running()  # perhaps just being started
    os.utime(record, (0, 0))
    assert not job.is_running()
