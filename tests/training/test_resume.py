"""A stage that is stopped between any two steps, and taken up again, ends with the same weights, bit for bit."""

import keras
import numpy as np
import pytest

from tests.training.bench import STAGE, Bench, make_bench, same
from tltool.errors import RunError, StoppedError
from tltool.training import checkpoints, finetune
from tltool.training.checkpoints import Checkpoint, Checkpoints
from tltool.training.fine_tuning import FineTuning

LONG = STAGE.model_copy(update={"trainable": "top:2", "epochs": 3, "learning_rate": 0.02, "augmentation": "light"})
CYCLIC = {"snapshots": 3, "schedule": "restarts", "schedule_arguments": {"growth": 1.0}, "augmentation": "none"}


def tuned(bench: Bench, stages, folder, **belongs: str) -> FineTuning:
    return bench.tune(*stages, checkpoints=Checkpoints(folder, belongs))


def stop_after(monkeypatch, steps: int) -> None:
    """Asks to stop after so many steps, as Ctrl-C does."""

    class Asked:
        count = 0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def __call__(self):
            self.count += 1
            return self.count == steps

    monkeypatch.setattr(finetune, "stoppable", Asked)


CASES = {
    "adam": [LONG],
    "slots by stage": [LONG.model_copy(update={"layer_decay": 0.5, "schedule": "one-cycle", "warmup": 0.0})],
    "look-ahead": [LONG.model_copy(update={"optimizer": "nesterov", "learning_rate": 0.05})],
    "average": [LONG.model_copy(update={"optimizer_arguments": {"use_ema": True, "ema_momentum": 0.5}})],
    "plateau": [LONG.model_copy(update={"schedule": "plateau", "schedule_arguments": {"patience": 1}})],
    "drop": [LONG.model_copy(update={"regularizers": {"dropout": 0.3, "drop_block": 0.1, "l2_sp": 0.01}})],
    "statistics": [LONG.model_copy(update={"statistics": "learned"})],
    "kept on disk": [LONG.model_copy(update={"augmentation": "none"})],
    "less after more": [
        LONG.model_copy(update={"epochs": 1}),
        LONG.model_copy(update={"trainable": "top:1", "augmentation": "none", "epochs": 2}),
    ],
    "ema": [LONG.model_copy(update={"average": "ema", "layer_decay": 0.5})],
    "swa": [LONG.model_copy(update={"average": "swa", "statistics": "learned", "schedule": "constant", "epochs": 6})],
    "snapshots": [LONG.model_copy(update=CYCLIC), STAGE.model_copy(update={"epochs": 1})],
    "two stages": [STAGE.model_copy(update={"epochs": 1}), LONG.model_copy(update={"epochs": 2})],
}


@pytest.mark.parametrize("case", CASES)
def test_a_stopped_run_ends_as_one_that_was_not(pictures, tmp_path, monkeypatch, case):
    stages = CASES[case]
    whole = make_bench(pictures)
    expected = tuned(whole, stages, tmp_path / "whole")
    steps = [event for event in whole.heard if event["event"] == "epoch"]
    moments = {"adam": (1, 4, 7), "swa": (5, 25), "snapshots": (10, 14)}
    for number, after in enumerate(moments.get(case, (5,))):
        folder = tmp_path / str(number)
        stopped = make_bench(pictures)
        with monkeypatch.context() as patch:
            stop_after(patch, after)
            with pytest.raises(KeyboardInterrupt):
                tuned(stopped, stages, folder)
        resumed = make_bench(pictures)
        keras.utils.set_random_seed(99)  # a process of its own has other global states
        assert tuned(resumed, stages, folder) == expected
        assert same(resumed.model.get_weights(), whole.model.get_weights())
        assert resumed.epochs[-1]["loss"] == steps[-1]["loss"]


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, caplog):
    kept = Checkpoints(tmp_path / "c")
    for number in range(4):
        kept.write(Checkpoint({"number": number}, {"a": np.full(3, number)}))
    files = sorted((tmp_path / "c").iterdir())
    assert [file.name for file in files] == ["000003.npz", "000004.npz"]
    found = Checkpoints(tmp_path / "c").latest()
    assert found.place == {"number": 3}
    np.testing.assert_array_equal(found.arrays["a"], [3, 3, 3])
    files[1].write_bytes(files[1].read_bytes()[:-40])
    assert Checkpoints(tmp_path / "c").latest().place == {"number": 2}
    assert "damaged" in caplog.text


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    Checkpoints(tmp_path / "c", {"recipe": "a", "backbone": "b"}).write(Checkpoint({}, {}))
    with pytest.raises(RunError, match=r"written for another recipe\. Put back"):
        Checkpoints(tmp_path / "c", {"recipe": "x", "backbone": "b"}).latest()


def test_a_full_disk_stops_cleanly_with_the_last_checkpoint_intact(pictures, tmp_path, monkeypatch):
    whole = make_bench(pictures)
    tuned(whole, [LONG], tmp_path / "whole")
    monkeypatch.setattr(checkpoints, "EVERY_STEPS", 1)
    monkeypatch.setattr(checkpoints, "WRITING_SHARE", 1e9)
    savez, written = np.savez, []

    def fills_up(file, **arrays):
        written.append(1)
        if len(written) > 4:
            file.write(b"half")
            raise OSError(28, "No space left on device")
        savez(file, **arrays)

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", fills_up)
        with pytest.raises(StoppedError, match=r"No space left on device.*then `tltool resume"):
            tuned(make_bench(pictures), [LONG], tmp_path / "c")
    names = sorted(path.name for path in (tmp_path / "c").iterdir())
    assert names == ["000003.npz", "000004.npz"]
    resumed = make_bench(pictures)
    tuned(resumed, [LONG], tmp_path / "c")
    assert same(resumed.model.get_weights(), whole.model.get_weights())


def test_a_loss_that_is_no_number_goes_back_and_halves_the_rate(pictures, tmp_path, monkeypatch):
    """Once, at the fifth step: what follows is trained from the checkpoint, at half the rate."""
    from tltool.training.stage_network import StageNetwork

    monkeypatch.setattr(checkpoints, "EVERY_STEPS", 5)
    monkeypatch.setattr(checkpoints, "WRITING_SHARE", 1e9)
    step, taken = StageNetwork.step, []

    def fails_once(self, examples):
        taken.append(1)
        return float("nan") if len(taken) == 5 else step(self, examples)

    monkeypatch.setattr(StageNetwork, "step", fails_once)
    bench = make_bench(pictures)
    tuned(bench, [LONG.model_copy(update={"schedule": "constant", "epochs": 3})], tmp_path / "c")
    assert bench.texts("note")[0] == "tune, step 5: the loss is nan. Back to step 4, with the rate divided by 2."
    rates = [epoch["rate"] for epoch in bench.epochs]
    assert rates == pytest.approx([0.02, 0.01, 0.01])  # the second epoch began anew
