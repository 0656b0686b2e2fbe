"""The whole chain on small pictures: what a run holds, what it learned from, and what it says when it fails."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import tltool as tl
from tests.pictures import make_class_folders, make_picture
from tests.trained import CLASSES, TINY, copy_pictures, finished_run
from tltool import carry_out
from tltool.backbones import load_backbone
from tltool.data import load_index
from tltool.errors import DataError, RecipeError, RunError
from tltool.evaluation.inference import classify
from tltool.evaluation.metrics import score
from tltool.features.extract import content_keys
from tltool.heads.network import CLIP
from tltool.recipes import load_recipe, recipe_files
from tltool.run import evaluate_run
from tltool.training import train as module_of_training
from tltool.training.events import read_events
from tltool.training.fine_tuning import FineTuning
from tltool.training.run_folder import RunFolder

FILES = {
    ".lock",
    "calibrated-on.npz",
    "calibration.json",
    "data.json",
    "decision.json",
    "events.jsonl",
    "heartbeat",
    "inspection.json",
    "labels.json",
    "log.txt",
    "metrics.json",
    "model.keras",
    "predictions.npz",
    "recipe.toml",
    "report.html",
    "request.json",
    "run.json",
    "seen.json",
    "tensorboard",
    "versions.json",
}
# What makes each shipped recipe a matter of seconds: nothing of it but the backbone and the number of steps changes.
WEAK = ("head.strengths=[100.0]",)
SETTINGS = {
    None: ("backbone=tiny_random",),
    "linear-probe": TINY,
    "stage-probe": TINY,
    "joined-probe": ('backbones=["tiny_random", "efficientnet_lite0"]', "image_size=32", *TINY[1:]),
    # A probe that is too weak and a high rate: what fine-tuning gives is kept.
    "finetune-top": (*TINY, *WEAK, "stages.top.epochs=1", "stages.top.batch_size=16", "stages.top.learning_rate=0.003"),
    "finetune-all": (*TINY, "stages.all.epochs=1", "stages.all.batch_size=16"),
    "gradual": (*TINY, *(f"stages.{name}.epochs=1" for name in ("top2", "top4", "all"))),
    "surgical": (*TINY, "stages.surgical.epochs=1"),
}


def strict(path: Path):
    """Parses JSON as other programs do: NaN and Infinity are no JSON."""

    def refuse(name):
        raise AssertionError(f"{path.name} holds {name}")

    return json.loads(path.read_text("utf-8"), parse_constant=refuse)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return copy_pictures(tmp_path_factory.mktemp("photos") / "photos", range(12))


def recompute(run: tl.Run):
    """Scores of the saved model on the held-out pictures, from their files."""
    rows = run.data.indices("test")
    result = classify(run.model, [run.data.paths[i] for i in rows])
    return score(result.values, run.data.labels_of(rows), run.class_names)


@pytest.mark.parametrize("recipe", SETTINGS)
def test_a_run_is_complete_and_its_scores_are_those_of_its_model(photos, tmp_path, recipe):
    heard = []
    run = tl.fit(photos, recipe, out=tmp_path / "run", settings=SETTINGS[recipe], listener=heard.append)
    tuned = recipe is not None and bool(load_recipe(recipe).stages)
    told = {"probe.npz"} if tuned else set()
    told |= set() if isinstance(run.certainty.novelty, str) else {"novelty.npz"}
    assert {path.name for path in run.path.iterdir()} == FILES | told
    for path in run.path.glob("*.json"):
        strict(path)
    events = [json.loads(line) for line in run.folder.events.read_text("utf-8").splitlines()]
    assert len(events) == len(heard)
    assert events[-1]["event"] == "end"
    assert run.folder.read_state()["state"] == "done"

    metrics, again = strict(run.folder.metrics), recompute(run)
    assert metrics["top1"] == again.top1 == run.metrics.top1
    assert metrics["confusion"] == [list(row) for row in again.confusion]
    assert metrics["log_loss"] == pytest.approx(again.log_loss, abs=2e-3)
    assert metrics["pictures"] == len(run.data.indices("test")) == 6

    used = strict(run.folder.decision)["used"]
    assert used == metrics["recipe"] == load_recipe(run.folder.recipe).name == run.folder.read_state()["recipe"]
    assert used == (recipe or strict(run.folder.decision)["recipe"])
    saved = load_recipe(run.folder.recipe)
    # The validation pictures judge what fine-tuning gives, so the probe that it starts from has not learned from them.
    learned = len(run.data.indices("train") if saved.stages else run.data.indices("train", "valid"))
    assert f"Solving the linear head on {learned} pictures" in [event.get("text") for event in events]
    decided = strict(run.folder.decision)["augmentation"]
    diverging = strict(run.folder.decision)["diverging"]
    filled_in = load_recipe(used, SETTINGS[recipe]).with_augmentation(decided).with_trainable(diverging)
    assert saved == filled_in.model_copy(update={"image_size": saved.image_size})
    assert not saved.leaves_augmentation
    assert strict(run.folder.labels) == list(CLASSES) == list(run.class_names)
    assert strict(run.folder.versions)["packages"]["tltool"] == tl.__version__
    if saved.stages:
        validation = metrics["validation"]
        better = validation["factor"] > 0
        assert validation["blended"] <= min(validation["probe"], validation["fine_tuned"])
        assert run.tuning.kept == better
        assert better or recipe != "finetune-top"  # its settings make sure of that
        if count := {"finetune-top": 2, "finetune-all": 9}.get(recipe):
            check_what_moved(run.model, count if better else 0)
        assert sum(event["event"] == "epoch" for event in events) == len(saved.stages)


def test_what_is_known_of_certainty_is_from_pictures_that_were_held_out(photos, tmp_path):
    """A probe from cross-validation, a fine-tuned network from the validation pictures; the test part is in neither."""
    probe = finished_run()
    learned = len(probe.data.indices("train", "valid"))
    assert probe.certainty.source == "cross-validation"
    assert (
        probe.certainty.temperature.pictures == probe.certainty.sets.pictures == len(probe.certainty.novelty.reference)
    )
    assert probe.certainty.sets.pictures == learned
    rows = probe.data.indices("test")
    paths = [probe.data.paths[i] for i in rows]
    result = classify(probe.model, paths, with_features=True)
    scores = probe.certainty_scores
    inside = result.values >= probe.certainty.sets.threshold(0.9)
    inside[np.arange(len(rows)), result.values.argmax(axis=1)] = True
    assert scores.coverage == 0.9
    assert scores.covered == pytest.approx(inside[np.arange(len(rows)), probe.data.labels_of(rows)].mean())
    assert scores.set_size == pytest.approx(inside.sum(axis=1).mean())
    assert scores.known == pytest.approx(probe.certainty.novelty.known(result.features).mean())
    assert f"{scores.known:.1%} of the pictures count as known" in str(scores)

    tuned = tl.fit(photos, "finetune-top", out=tmp_path / "run", settings=SETTINGS["finetune-top"])
    valid = tuned.data.indices("valid")
    assert tuned.certainty.source == "validation pictures"
    assert tuned.certainty.sets.pictures == len(valid) < 19
    prob = classify(tuned.model, [tuned.data.paths[i] for i in valid]).values
    right = np.sort(prob[np.arange(len(valid)), tuned.data.labels_of(valid)])[::-1]
    np.testing.assert_allclose(tuned.certainty.sets.scores, right, atol=2e-3)
    assert "takes 19 of them" in tuned.certainty.novelty
    assert tuned.certainty_scores.known is None


def test_every_shipped_recipe_is_tried_above():
    assert set(SETTINGS) - {None} == set(recipe_files())


def check_what_moved(model: keras.Model, stages: int) -> None:
    """In the saved file itself: BatchNorm as it was pretrained, all convolutions of the last stages moved."""
    backbone = load_backbone("tiny_random")
    before, after = (
        {variable.path: keras.ops.convert_to_numpy(variable) for variable in network.variables}
        for network in (backbone.network, model)
    )
    moved = {path for path in before.keys() & after.keys() if not np.array_equal(before[path], after[path])}
    names = backbone.stage_names[len(backbone.stages) - stages :]
    last = [layer for stage in names for layer in backbone.layers_of(stage)]
    convolutions = [layer for layer in last if "conv" in type(layer).__name__.lower()]
    assert moved == {variable.path for layer in convolutions for variable in layer.variables}
    assert [path for path in after if path.endswith("moving_mean") and path in before]


def test_held_out_pictures_were_never_learned_from():
    run = finished_run()
    seen = set(strict(run.path / "seen.json"))
    data = load_index(run.folder.data)
    keys = np.array(content_keys(data.root, data.files)[0])
    assert set(keys[data.indices("train", "valid")]) == seen
    assert not set(keys[data.indices("test")]) & seen


def test_a_given_test_part_is_used_as_it_is(tmp_path):
    for part, numbers in (("train", range(8)), ("valid", range(8, 11)), ("test", range(11, 14))):
        copy_pictures(tmp_path / "data" / part, numbers)
    run = tl.fit(tmp_path / "data", "stage-probe", out=tmp_path / "run", settings=TINY)
    data = run.data
    for index, part in enumerate(data.parts):
        assert data.files[index].startswith(f"{part}/")
    assert run.metrics.pictures == 9
    assert len(strict(run.path / "seen.json")) == 33
    # With the held-out pictures under wrong names the score falls, and the model is the same to the last bit.
    folders = [tmp_path / "data" / "test" / name for name in (*CLASSES, "aside")]
    for source, target in ((0, 3), (1, 0), (2, 1), (3, 2)):
        folders[source].rename(folders[target])
    other = tl.fit(tmp_path / "data", "stage-probe", out=tmp_path / "other", settings=TINY)
    assert other.metrics.top1 <= 1 / 3 < run.metrics.top1
    for a, b in zip(run.model.get_weights(), other.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_same_seed_same_run(photos, tmp_path, monkeypatch):
    runs = []
    for name in ("one", "two"):
        if name == "two":  # nothing is taken from the runs before
            monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path / "cache"))
        runs.append(tl.fit(photos, "finetune-top", out=tmp_path / name, seed=5, settings=SETTINGS["finetune-top"]))
    one, two = runs
    assert one.metrics == two.metrics
    assert one.data == two.data
    assert one.data.parts != tl.load_dataset(photos, seed=6).parts
    for a, b in zip(one.model.get_weights(), two.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_unreadable_files_are_told_of_and_left_out(tmp_path):
    data = copy_pictures(tmp_path / "data", range(8))
    (data / "ant" / "notes.txt").write_text("text")
    (data / "bee" / "empty.jpg").write_bytes(b"")
    torn = make_picture(data / "cat" / "torn.jpg", size=64)
    torn.write_bytes(torn.read_bytes()[:300])
    run = tl.fit(data, "linear-probe", out=tmp_path / "run", settings=TINY)
    bad = {"ant/notes.txt", "bee/empty.jpg", "cat/torn.jpg"}
    assert {problem.path for problem in run.data.problems} == bad
    assert not bad & set(run.data.files)
    assert len(run.data) == 24
    told = [event["text"] for event in read_events(run.folder.events) if event["event"] == "note"]
    for name in bad:
        assert sum(text.startswith(f"Left out: {name}: ") for text in told) == 1
    assert {problem["path"] for problem in strict(run.folder.inspection)["health"]["problems"]} == bad


def test_too_few_readable_pictures(tmp_path):
    data = copy_pictures(tmp_path / "data", range(2), ["ant", "bee"])
    (data / "bee" / "bee_0000.png").write_bytes(b"\x89PNG but no more")
    with pytest.raises(DataError, match=r"class 'bee' has 1 image; at least 2 .*bee_0000\.png"):
        tl.fit(data, "linear-probe", out=tmp_path / "run", settings=TINY)
    assert tl.open_run(tmp_path / "run").folder.read_state()["state"] == "failed"


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (MemoryError("no memory for it"), "failed", "no memory for it"),
        (ZeroDivisionError(), "failed", "ZeroDivisionError"),
        (KeyboardInterrupt(), "stopped", "somebody asked it to stop"),
    ],
)
def test_a_run_that_ends_early_says_so(photos, tmp_path, monkeypatch, error, state, reason):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(carry_out, "read_set", fail)
    heard = []
    with pytest.raises(type(error)):
        tl.fit(photos, "linear-probe", out=tmp_path / "run", settings=TINY, listener=heard.append)
    run = tl.open_run(tmp_path / "run")
    told = run.folder.read_state()
    assert (told["state"], told["reason"]) == (state, reason)
    assert heard[-1]["event"] == read_events(run.folder.events)[-1]["event"] == "end"
    assert heard[-1]["state"] == state
    assert not run.folder.model.exists()
    for use in (
        lambda: run.metrics,
        lambda: run.model,
        lambda: run.export(tmp_path / "out"),
        lambda: run.evaluate(photos),
    ):
        with pytest.raises(RunError, match=f"this run is {state}: {reason}, so it has no model to use"):
            use()
    with pytest.raises(RunError, match="already holds a run"):
        tl.fit(photos, "linear-probe", out=tmp_path / "run", settings=TINY)


def test_a_size_that_is_left_to_the_pictures_is_that_of_a_probe_too(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(carry_out, "pick_image_size", lambda *_: (64, "Larger."))
    settings = ("backbone=tiny_random", 'image_size="auto"')
    run = tl.fit(photos, out=tmp_path / "run", settings=settings)
    assert not load_recipe(run.folder.recipe).stages, "the table picks a probe"
    assert load_recipe(run.folder.recipe).image_size == 64
    assert run.model.get_layer(CLIP).output.shape[1] == 64
    assert strict(run.folder.metrics)["top1"] == recompute(run).top1


def test_a_resumption_that_is_refused_can_be_put_right(photos, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module_of_training, "fine_tune", interrupt)
        with pytest.raises(KeyboardInterrupt):
            tl.fit(photos, "finetune-top", out=tmp_path / "run", settings=SETTINGS["finetune-top"])
    probe = tmp_path / "run" / "probe.npz"
    whole = probe.read_bytes()
    probe.write_bytes(whole[:100])
    with pytest.raises(RunError, match="cannot be read"):
        tl.resume(tmp_path / "run")
    assert tl.open_run(tmp_path / "run").folder.read_state()["state"] == "stopped"
    probe.write_bytes(whole)
    assert tl.resume(tmp_path / "run").metrics.pictures == 6


def test_a_probe_that_is_handed_back_is_that_of_the_probe_recipe(photos, tmp_path, monkeypatch):
    """There is nothing left to compare, so it learns from the validation pictures as well."""

    def hand_back(model, *_, **__):
        return FineTuning("log_loss", 0.5, 0.6, 0.0, 0.5)

    monkeypatch.setattr(module_of_training, "fine_tune", hand_back)
    run = tl.fit(photos, "finetune-top", out=tmp_path / "run", settings=TINY)
    probe = tl.fit(photos, "linear-probe", out=tmp_path / "probe", settings=TINY)
    assert run.metrics == probe.metrics
    assert run.metrics.log_loss == pytest.approx(recompute(run).log_loss, abs=2e-3)


def test_a_search_for_which_the_table_picks_a_probe_says_so(photos, tmp_path):
    with pytest.raises(RecipeError, match=r"nothing to search, as it only solves a head\. Give --recipe finetune-top"):
        tl.tune(photos, out=tmp_path / "run", budget=60.0, settings=("backbone=tiny_random",))


def test_what_a_search_has_found_is_the_recipe_of_a_run_that_was_killed_in_its_last_moment(tmp_path):
    run = RunFolder(shutil.copytree(finished_run().path, tmp_path / "run"))
    run.write_state(state="running")
    found = load_recipe(run.recipe).model_copy(update={"summary": "Found."}).to_toml()
    run.found_recipe.write_text(found, "utf-8")
    assert tl.resume(run.path).folder.read_state()["state"] == "done"
    assert run.recipe.read_text("utf-8") == found
    assert not run.found_recipe.exists()


def test_evaluate_leaves_out_what_was_learned(tmp_path):
    run = finished_run()
    result = evaluate_run(run, run.data.root)
    learned = len(run.data.indices("train", "valid"))
    assert result.seen == learned
    assert result.metrics.pictures == len(run.data) - learned
    assert result.metrics.top1 == run.metrics.top1
    assert result.metrics.log_loss == pytest.approx(run.metrics.log_loss, abs=2e-3)

    # New pictures under new names count; one that was learned from is known by its content, whatever its name.
    new = make_class_folders(tmp_path / "new", {"ant": 2, "cat": 3}, size=48, seed=9)
    index = run.data.indices("train")[0]
    (name,) = run.data.label_names(index)
    (new / name).mkdir(exist_ok=True)
    shutil.copyfile(run.data.paths[index], new / name / "renamed.png")
    (new / "cat" / "torn.png").write_bytes(b"\x89PNG")
    result = evaluate_run(run, new)
    assert result.seen == 1
    assert result.metrics.pictures == 5
    assert len(result.problems) == 1
    assert result.metrics.class_names == CLASSES
    assert [sum(row) for row in result.metrics.confusion] == [2, 0, 3]


def test_evaluate_counts_a_given_test_part_alone(tmp_path):
    make_class_folders(tmp_path / "data" / "train", dict.fromkeys(CLASSES, 3), size=48, seed=11)
    make_class_folders(tmp_path / "data" / "test", dict.fromkeys(CLASSES, 2), size=48, seed=12)
    result = evaluate_run(finished_run(), tmp_path / "data")
    assert (result.metrics.pictures, result.seen) == (6, 0)


def test_evaluate_refuses_when_nothing_is_new(tmp_path):
    run = finished_run()
    for index in run.data.indices("train"):
        target = tmp_path / run.data.files[index]
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(run.data.paths[index], target)
    with pytest.raises(DataError, match="the run has learned from all of these pictures"):
        evaluate_run(run, tmp_path)


def test_evaluate_refuses_unknown_classes(tmp_path):
    make_class_folders(tmp_path, {"ant": 1, "wasp": 1, "fly": 1})
    with pytest.raises(DataError, match=r"does not know: fly, wasp\. Its classes are ant, bee, cat\."):
        evaluate_run(finished_run(), tmp_path)


def test_evaluate_without_a_readable_picture(tmp_path):
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"no readable pictures\. The first: .*a\.png"):
        evaluate_run(finished_run(), tmp_path)


def test_inspect_recommend_fit_one_after_the_other(photos, tmp_path):
    data = tl.load_dataset(photos, seed=2)
    facts = tl.inspect(data, seed=2, settings=["backbone=tiny_random"])
    assert facts.size.images == 30
    assert facts.size.held_out == 6
    plan = tl.recommend(facts)
    assert plan.cell == plan.decision.cell
    assert plan.reasons == plan.decision.reasons
    assert plan.recipe == load_recipe(plan.decision.recipe, ["backbone=tiny_random"])
    run = tl.fit(data, plan.recipe, out=tmp_path / "run", seed=2)
    decision, expected = strict(run.folder.decision), plan.decision.to_json() | {"used": plan.recipe.name}
    # A probe without views augments nothing, so that the run does not ask what flips do to the classes.
    for one in (decision, expected):
        del one["augmentation"], one["reasons"][-1]
    assert decision == expected
    assert run.data == data


def test_nothing_that_decides_is_measured_on_held_out_pictures(tmp_path):
    data = tl.load_dataset(copy_pictures(tmp_path / "data", range(10)))

    def measured() -> dict:
        facts = tl.inspect(data, settings=["backbone=tiny_random"]).to_json()
        del facts["health"]["findings"]  # the doctor looks at every file
        return facts

    before = measured()
    for index in data.indices("test"):
        make_picture(data.paths[index], (index, 0, 255))
    assert measured() == before


def test_a_recipe_object_is_taken_as_it_is(photos, tmp_path):
    recipe = load_recipe("linear-probe", TINY).model_copy(update={"name": "mine"})
    run = tl.fit(photos, recipe, out=tmp_path / "run")
    assert load_recipe(run.folder.recipe) == recipe
    assert run.decision["used"] == "mine"
    with pytest.raises(RecipeError, match="change the Recipe object itself"):
        tl.fit(photos, recipe, out=tmp_path / "other", settings=["head.folds=3"])
    assert not (tmp_path / "other").exists()


def test_runs_go_to_a_numbered_folder_where_none_is_named(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "photos-1").mkdir(parents=True)
    run = tl.fit(photos, "linear-probe", settings=TINY)
    assert run.path == Path("runs") / "photos-2"
    assert run.folder.read_state()["state"] == "done"


@pytest.mark.parametrize(
    ("recipe", "settings", "message"),
    [
        (None, ["backbone=tiny_random", "haed.folds=3"], "no section 'haed'. Did you mean 'head'?"),
        (None, ["backbone=tiny_rando"], "unknown backbone 'tiny_rando'. Did you mean 'tiny_random'?"),
        ("linear-probe", [*TINY, "stages.top.epochs=3"], "no stage 'top'; there are none"),
        ("finetune-top", [*TINY, "stages.top.epochs=0"], "`epochs` = 0"),
        ("finetune-tip", [], "No recipe is called 'finetune-tip'. Did you mean 'finetune-top'?"),
    ],
)
def test_a_bad_setting_is_told_before_anything_is_done(photos, tmp_path, recipe, settings, message):
    with pytest.raises(RecipeError) as raised:
        tl.fit(photos, recipe, out=tmp_path / "run", settings=settings)
    assert message in str(raised.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "setting", ["stages.top.trainable=top:99", 'head.taps=["stage77"]', 'stages.top.trainable=["stage77"]']
)
def test_a_stage_that_the_backbone_lacks_is_told_before_reading(photos, tmp_path, monkeypatch, setting):
    monkeypatch.setattr(carry_out, "read_set", lambda *_: pytest.fail("pictures were read"))
    with pytest.raises(tl.TltoolError, match=r"99|stage77"):
        tl.fit(photos, "finetune-top", out=tmp_path / "run", settings=[*TINY, setting])


def test_the_table_takes_settings_of_the_recipe_that_it_picks(photos, tmp_path):
    run = tl.fit(photos, out=tmp_path / "run", settings=["backbone=tiny_random", "head.shuffles=2"])
    assert load_recipe(run.folder.recipe).head.shuffles == 2


def test_a_spent_budget_leaves_the_probe(photos, tmp_path):
    run = tl.fit(photos, "finetune-top", out=tmp_path / "run", settings=[*TINY, *WEAK], budget=0.01)
    assert strict(run.folder.metrics)["validation"] == {
        "choose_by": "log_loss",
        "probe": pytest.approx(1.0, abs=1.0),
        "fine_tuned": None,
        "blended": pytest.approx(1.0, abs=1.0),
        "factor": 0.0,
        "kept": "probe",
    }
    assert recompute(run).confusion == run.metrics.confusion


def test_export_and_predict(tmp_path):
    run = finished_run()
    bundle = run.export(tmp_path / "out")
    picture = run.data.paths[run.data.indices("test")[0]]
    (prediction,) = tl.load_model(bundle.folder).predict([picture])
    assert prediction.path == picture
    assert prediction.label in CLASSES


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX: `pip install jax` ends this skip")
def test_fits_and_predicts_on_jax(photos, tmp_path):
    program = (
        "import sys, keras, tltool as tl\n"
        "run = tl.fit(sys.argv[1], 'finetune-top', out='run', settings=sys.argv[2:])\n"
        "labels = [p.label for p in tl.load_model('run').predict([sys.argv[1]])]\n"
        "print(keras.backend.backend(), run.metrics.pictures, len(labels))\n"
    )
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    command = [sys.executable, "-c", program, str(photos), *SETTINGS["finetune-top"]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["jax", "6", "36"]


def test_a_run_that_was_killed_in_its_last_moment_is_only_marked_as_done(tmp_path, monkeypatch):
    shutil.copytree(finished_run().path, tmp_path / "run")
    folder = tl.open_run(tmp_path / "run").folder
    folder.write_state(state="running", pid=None, updated=0)
    assert folder.read_state()["state"] in ("interrupted", "running")
    monkeypatch.setattr(carry_out, "_fit", lambda *_: pytest.fail("there was nothing left to train"))
    run = tl.resume(folder.path)
    assert folder.read_state()["state"] == "done"
    assert run.metrics == finished_run().metrics
    with pytest.raises(RunError, match="there is nothing to resume"):
        tl.resume(folder.path)
