"""The search: the recipe itself comes first, the best comes out, and a search that was stopped keeps what it knows."""

import dataclasses
import time

import numpy as np
import optuna
import pytest

from tests.training.bench import STAGE, Bench, make_bench, same
from tltool.augment.policies import read_policy, scaled
from tltool.errors import DivergedError, RecipeError, RunError
from tltool.recipes import Recipe, load_recipe
from tltool.training import search as searching
from tltool.training.balance import score
from tltool.training.events import EventLog
from tltool.training.fine_tuning import FineTuning
from tltool.training.search import own_numbers, search, vary


def recipe(**changes) -> Recipe:
    stage = STAGE.model_copy(update={"trainable": "top:1", "epochs": 2, "learning_rate": 0.01} | changes)
    return load_recipe("finetune-top").model_copy(update={"stages": (stage,)})


def searched(bench: Bench, folder, trials: int, of: Recipe | None = None, seconds: float = 600, **belongs):
    given = of or recipe(), bench.model, bench.backbone, bench.train, bench.valid, 0
    events, end = EventLog(None, bench.heard.append), time.monotonic() + seconds
    return search(*given, events, end, folder, folder / "scratch", belongs, trials)


def test_the_best_of_all_trials_comes_out(pictures, tmp_path):
    bench = make_bench(pictures)
    found, tuning = searched(bench, tmp_path, 4)
    study = optuna.load_study(study_name="tltool", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert len(study.trials) == 4
    assert study.trials[0].params == {"rate": 1.0, "layer_decay": 1.0, "depth": 1}
    assert tuning.blended == study.best_value
    assert found == vary(recipe(), bench.backbone, optuna.trial.FixedTrial(study.best_trial.params))
    logits = bench.model.predict_on_batch(next(bench.valid.read(bench.backbone.framing, 64)).pixels)
    assert score(logits, bench.valid.labels, "log_loss") == pytest.approx(tuning.blended, abs=1e-5)
    assert len(bench.texts("note")) == 4
    assert bench.texts("note")[0].startswith("Trial 1: rate x 1, layer decay 1, depth 1: ")


def test_a_stopped_search_goes_on_with_what_it_knows(pictures, tmp_path, monkeypatch):
    stopped = make_bench(pictures)
    tune, done = searching.fine_tune, []

    def interrupted(*given, **options):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(1)
        return tune(*given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(searching, "fine_tune", interrupted)
        with pytest.raises(KeyboardInterrupt):
            searched(stopped, tmp_path, 4)
    resumed = make_bench(pictures)
    _, tuning = searched(resumed, tmp_path, 4)
    study = optuna.load_study(study_name="tltool", storage=f"sqlite:///{tmp_path / 'study.db'}")
    states = [trial.state.name for trial in study.trials]
    assert states[:3] == ["COMPLETE", "COMPLETE", "FAIL"]
    assert len(states) == 5, "the one that was stopped does not count"
    assert study.trials[3].params == study.trials[2].params
    assert tuning.blended == study.best_value
    # Where no trial is better, or there are none to come, the best of before comes out, weights and all.
    again = make_bench(pictures)
    searched(again, tmp_path, 4)
    assert same(again.model.get_weights(), resumed.model.get_weights())


def test_a_search_for_another_recipe_is_refused(pictures, tmp_path):
    searched(make_bench(pictures), tmp_path, 1, recipe_digest="a")
    with pytest.raises(RunError, match=r"begun with another recipe_digest\. Begin a new one"):
        searched(make_bench(pictures), tmp_path, 2, recipe_digest="b")


def test_without_time_the_probe_comes_out(pictures, tmp_path):
    bench = make_bench(pictures)
    before = bench.model.get_weights()
    found, tuning = searched(bench, tmp_path, 3, seconds=-1)
    assert found == recipe()
    assert not tuning.kept
    logits = bench.model.predict_on_batch(next(bench.valid.read(bench.backbone.framing, 64)).pixels)
    assert tuning.probe == tuning.blended == pytest.approx(score(logits, bench.valid.labels, "log_loss"), abs=1e-5)
    assert same(before, bench.model.get_weights())


def test_a_trial_that_is_worse_than_the_others_is_cut_short_and_one_that_diverges_is_passed_over(
    pictures,
    tmp_path,
    monkeypatch,
):
    scores = iter([[1.0, 1.0]] * 4 + [[9.0, 0.1]])
    bench, told = make_bench(pictures), []

    def scripted(model, backbone, stages, train, valid, seed, events, deadline, **_):
        if len(told) == 5:
            raise DivergedError("Stage 'x', step 3: the loss is nan after a step.")
        told.append(1)
        each = next(scores)
        for number, value in enumerate(each):
            events.emit("epoch", score=value, epoch=number + 1)
        return FineTuning("log_loss", 2.0, min(each), 1.0, min(each))

    monkeypatch.setattr(searching, "fine_tune", scripted)
    searched(bench, tmp_path, 6)
    study = optuna.load_study(study_name="tltool", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 4 + ["PRUNED", "FAIL"]
    assert "cut short; best 1.0000" in bench.texts("note")[4]
    assert bench.texts("note")[5].endswith(": the loss is nan after a step; best 1.0000.")


def test_what_is_varied(pictures):
    backbone = make_bench(pictures).backbone
    plain = recipe(augmentation="standard")
    assert own_numbers(plain, backbone) == {"rate": 1.0, "layer_decay": 1.0, "depth": 1, "strength": 1.0}
    own = vary(plain, backbone, optuna.trial.FixedTrial(own_numbers(plain, backbone)))
    assert own == plain
    numbers = {"rate": 0.5, "layer_decay": 0.7, "depth": 4, "strength": 0.0}
    (stage,) = vary(plain, backbone, optuna.trial.FixedTrial(numbers)).stages
    assert (stage.learning_rate, stage.layer_decay, stage.trainable, stage.augmentation) == (0.005, 0.7, "all", "none")
    (stage,) = vary(plain, backbone, optuna.trial.FixedTrial(numbers | {"depth": 0, "strength": 0.5})).stages
    assert stage.trainable == "head"
    assert stage.augmentation["rotate"]["degrees"] == 5
    assert "depth" not in own_numbers(recipe(trainable=("stage1",)), backbone)


def test_stages_keep_decays_of_their_own_until_another_is_tried(pictures):
    backbone = make_bench(pictures).backbone
    first, last = (recipe(layer_decay=decay).stages[0] for decay in (0.8, 0.3))
    plain = recipe().model_copy(update={"stages": (first, last)})
    assert vary(plain, backbone, optuna.trial.FixedTrial(own_numbers(plain, backbone))) == plain
    numbers = own_numbers(plain, backbone) | {"layer_decay": 0.9}
    assert [stage.layer_decay for stage in vary(plain, backbone, optuna.trial.FixedTrial(numbers)).stages] == [0.9] * 2


def test_a_first_trial_that_was_killed_comes_first_again(pictures, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(searching, "vary", lambda *_: 1 / 0)  # before it has drawn a number
        with pytest.raises(ZeroDivisionError):
            searched(make_bench(pictures), tmp_path, 1)
    bench = make_bench(pictures)
    found, _ = searched(bench, tmp_path, 1)
    assert found == recipe()


def test_the_strength_of_a_policy():
    standard = read_policy("standard")
    assert scaled(standard, 1) is standard
    assert not scaled(standard, 0)
    half = {step.name: step.magnitude for step in scaled(standard, 0.5).steps}
    assert half["flip_horizontal"] == 0.5  # done or not
    assert half["crop"] == pytest.approx(0.75)  # half the way to no crop
    assert half["rotate"] == 5
    strong = {step.name: step.magnitude for step in scaled(read_policy({"jpeg": 50, "translate": 0.8}), 1.5).steps}
    assert strong == {"jpeg": 25, "translate": 1.0}
    assert read_policy(scaled(standard, 0.5).table) == dataclasses.replace(scaled(standard, 0.5), name="custom")


@pytest.mark.parametrize(("name", "why"), [("linear-probe", "it only solves a head"), ("lbfgs", "lbfgs takes no rate")])
def test_a_recipe_without_numbers(name, why):
    one = load_recipe("linear-probe") if name == "linear-probe" else recipe(optimizer="lbfgs")
    with pytest.raises(RecipeError, match=why):
        searching.check_searchable(one)


def test_trials_that_freeze_the_same_share_what_it_gives(pictures, tmp_path, monkeypatch):
    bench = make_bench(pictures)
    of = recipe(trainable=("stage4",))
    searched(bench, tmp_path, 3, of)
    (kept,) = (tmp_path / "scratch").iterdir()
    assert np.fromfile(kept / "train" / "1.f32", np.float32).size == len(bench.train) * 3
