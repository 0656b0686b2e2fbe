"""Where a process is, from its events."""

import pytest

from tltool.ui.steps import current_step


def progress(time, done, total=100, task="Reading pictures"):
    return {"event": "progress", "time": time, "task": task, "done": done, "total": total}


STAGE = {"event": "stage", "time": 0.0, "text": "Loading"}


def test_nothing_yet():
    assert current_step([]) is None
    assert current_step([{"event": "note", "time": 0.0, "text": "x"}]) is None


def test_stage_has_no_share():
    step = current_step([progress(0, 3), STAGE])
    assert (step.text, step.share, step.seconds_left) == ("Loading", None, None)


def test_time_left_goes_by_the_rate_after_the_first_report():
    step = current_step([STAGE, progress(0, 0), progress(10, 20), progress(20, 60)])
    assert step.share == pytest.approx(0.6)
    assert step.seconds_left == pytest.approx(10)  # 40 in 10 s; the first 20 include the start


def test_no_time_is_told_before_it_is_known():
    assert current_step([progress(0, 20), progress(1, 60)]).seconds_left is None
    assert current_step([progress(0, 20)]).seconds_left is None


def test_a_task_that_is_done_again_starts_anew():
    again = [progress(0, 0), progress(50, 100), progress(60, 10), progress(64, 20)]
    assert current_step(again).seconds_left == pytest.approx(32)
    other_total = [progress(0, 1, 10), progress(50, 10, 10), progress(60, 10), progress(64, 20)]
    assert current_step(other_total).seconds_left == pytest.approx(32)


def test_nothing_to_do_is_done():
    assert current_step([progress(0, 0, 0)]).share == 0
