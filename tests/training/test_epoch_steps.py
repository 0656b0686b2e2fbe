"""Epochs in one row over all stages, and in the same row after a run was resumed."""

import json

from tltool.training.epoch_steps import EpochSteps, scores_of
from tltool.training.run_folder import create_run


def epoch(stage: str, number: int) -> dict:
    return {"time": 1.5, "event": "epoch", "stage": stage, "epoch": number, "loss": 0.5, "valid_log_loss": 0.25}


def test_stages_follow_each_other(tmp_path):
    steps = EpochSteps(create_run(tmp_path / "run", "run", "r", 0))
    assert steps.last == 0
    assert [steps.step_of(epoch(*at)) for at in [("head", 1), ("head", 2), ("all", 1), ("all", 2)]] == [1, 2, 3, 4]
    assert steps.last == 4


def test_a_resumed_run_goes_on_and_a_repeated_epoch_keeps_its_place(tmp_path):
    run = create_run(tmp_path / "run", "run", "r", 0)
    told = [{"time": 1.0, "event": "note", "text": "x"}, epoch("head", 1), epoch("all", 1), epoch("all", 2)]
    run.events.write_text("".join(json.dumps(event) + "\n" for event in told))
    steps = EpochSteps(run)
    assert [steps.step_of(epoch("all", number)) for number in (2, 3)] == [3, 4]


def test_scores_are_the_numbers_that_were_measured():
    assert scores_of(epoch("head", 1)) == {"loss": 0.5, "valid_log_loss": 0.25}
    assert scores_of({"time": 1.0, "event": "epoch", "rate": None, "loss": 1.0}) == {"loss": 1.0}
