"""Finished runs as one: the mean of their probabilities as a run of its own, its table, and what is refused."""

import json
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, log_loss
from typer.testing import CliRunner

import tltool as tl
from tests.test_data_in import make_several
from tests.trained import TINY, copy_pictures, finished_run
from tltool import console
from tltool.cli import app
from tltool.data.decoding import decode
from tltool.ensembles.calibrating import unlearned_by
from tltool.ensembles.ensemble import ensemble_of_runs
from tltool.ensembles.made_run import MADE_OF
from tltool.errors import DataError, RunError, TltoolError
from tltool.features.extract import content_keys
from tltool.heads.threshold import tune_threshold
from tltool.run import Run, evaluate_run
from tltool.training.run_folder import RunFolder

SHORT = ("head.strengths=[1.0]",)  # a little worse than the finished run, and another classifier


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """On one split: the finished run, one of the last stage alone, and one of the same with little ridge."""
    folder, pictures = tmp_path_factory.mktemp("members"), finished_run().data.root
    return [
        finished_run(),
        tl.fit(pictures, "linear-probe", out=folder / "last", settings=(*TINY, *SHORT), seed=0),
        tl.fit(pictures, "linear-probe", out=folder / "loose", settings=(*TINY, "head.strengths=[0.01]"), seed=0),
    ]


@pytest.fixture(scope="module")
def ensemble(runs, tmp_path_factory):
    return ensemble_of_runs(runs, tmp_path_factory.mktemp("whole") / "ensemble")


def test_its_probabilities_are_the_mean(runs, ensemble):
    files = [runs[0].data.paths[row] for row in runs[0].data.indices("test")]
    batch = np.stack([decode(file) for file in files])
    expected = np.mean([run.model.predict_on_batch(batch) for run in runs], axis=0)
    assert np.abs(expected - runs[0].model.predict_on_batch(batch)).max() > 0.01
    np.testing.assert_allclose(ensemble.run.model.predict_on_batch(batch), expected, atol=1e-6)


def test_its_scores_are_those_of_the_mean(runs, ensemble):
    data = runs[0].data
    rows = data.indices("test")
    batch = np.stack([decode(data.paths[row]) for row in rows])
    truth = data.labels_of(rows)
    table = (*ensemble.members, ensemble.whole)
    for run, price in zip((*runs, ensemble.run), table, strict=True):
        prob = run.model.predict_on_batch(batch).astype(np.float64)
        assert price.accuracy == accuracy_score(truth, prob.argmax(axis=1))
        prob /= prob.sum(axis=1, keepdims=True)
        assert price.log_loss == pytest.approx(log_loss(truth, prob, labels=[0, 1, 2]), abs=5e-3)
        assert price.size == (run.path / "model.keras").stat().st_size
        assert price.latency > 0
    assert ensemble.whole.seconds == sum(price.seconds for price in ensemble.members)
    assert ensemble.pictures == len(rows) == ensemble.run.metrics.pictures
    assert ensemble.run.metrics.top1 == ensemble.whole.accuracy
    assert ensemble.gain == ensemble.whole.accuracy - max(price.accuracy for price in ensemble.members)


def test_one_frozen_backbone_is_stored_once(runs, ensemble):
    """Three heads of a few thousand numbers behind one backbone, not three backbones."""
    count = ensemble.run.model.count_params()
    assert count < 1.2 * max(run.model.count_params() for run in runs)
    assert sum(isinstance(layer, keras.layers.Dense) for layer in ensemble.run.model.layers) == 3


def test_it_says_the_gain(ensemble):
    text = str(ensemble)
    for name in ("run", "last", "loose", "ensemble of 3"):
        assert name in text
    assert f"On {ensemble.pictures} pictures that all members held out" in text
    assert ensemble.best.name in text.splitlines()[-1]
    for change, words in (
        (0.0123, "is 1.2 points above"),
        (-0.0123, "is 1.2 points below"),
        (0.0, "is as accurate as"),
    ):
        accuracy = ensemble.best.accuracy + change
        assert words in str(replace(ensemble, whole=replace(ensemble.whole, accuracy=accuracy)))


def test_whatever_takes_a_run_takes_it(runs, ensemble, tmp_path):
    path = ensemble.run.path
    run = tl.open_run(path)
    assert run.class_names == runs[0].class_names
    assert run.metrics == ensemble.run.metrics
    picture = runs[0].data.paths[0]
    (prediction,) = tl.load_model(path).predict(picture)
    assert prediction.label in run.class_names
    bundle = run.export(tmp_path / "bundle")
    (again,) = tl.load_model(bundle.folder).predict(picture)
    assert again.probabilities == prediction.probabilities
    for command in (
        ["runs", str(path.parent)],
        ["predict", str(path), str(picture)],
        ["export", str(path), "--out", str(tmp_path / "exported")],
    ):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
    state = json.loads((path / "run.json").read_text("utf-8"))
    assert (state["state"], state["recipe"]) == ("done", "ensemble of 3")
    console.show_run(run)


def test_other_pictures_score_it_without_those_that_a_member_has_learned_from(runs, ensemble, tmp_path):
    result = evaluate_run(ensemble.run, runs[0].data.root)
    assert result.seen == len(runs[0].data.indices("train", "valid"))
    assert result.metrics.pictures == ensemble.pictures
    seen = json.loads((ensemble.run.path / "seen.json").read_text("utf-8"))
    assert set(seen) == {key for run in runs for key in json.loads(run.folder.seen.read_text("utf-8"))}


def test_the_folder_says_what_it_was_made_of(runs, ensemble):
    note = json.loads((ensemble.run.path / MADE_OF).read_text("utf-8"))
    assert note["members"] == [str(run.path.absolute()) for run in runs]
    assert [line["name"] for line in note["table"]] == ["run", "last", "loose", "ensemble of 3"]
    assert note["temperature"] == 1.0


def test_only_pictures_that_no_member_has_learned_from_count(runs, tmp_path):
    """Another seed, another split: what the one held out the other has learned from, but for some."""
    other = tl.fit(finished_run().data.root, "linear-probe", out=tmp_path / "other", settings=(*TINY, *SHORT), seed=4)
    result = ensemble_of_runs([runs[0], other], tmp_path / "both")
    held_out = [{run.data.files[row] for row in run.data.indices("test")} for run in (runs[0], other)]
    assert 0 < len(held_out[0] & held_out[1]) < len(held_out[0])
    data = result.run.data
    assert {data.files[row] for row in data.indices("test")} == held_out[0] & held_out[1]
    assert result.pictures == result.run.metrics.pictures == len(held_out[0] & held_out[1])


def test_a_temperature_is_folded_in_and_scored(runs, ensemble, tmp_path):
    result = ensemble_of_runs(runs, tmp_path / "cool", temperature=2.0)
    assert result.whole.accuracy == ensemble.whole.accuracy
    batch = decode(runs[0].data.paths[0])[None]
    warm, cool = (each.run.model.predict_on_batch(batch).astype(np.float64) for each in (ensemble, result))
    expected = np.sqrt(warm) / np.sqrt(warm).sum()
    np.testing.assert_allclose(cool, expected, atol=1e-5)
    assert result.run.metrics.log_loss != ensemble.run.metrics.log_loss


def test_several_labels_keep_the_decisions_at_any_temperature(tmp_path):
    manifest = make_several(tmp_path / "patches", 60)
    runs = [
        tl.fit(manifest, recipe, out=tmp_path / recipe, settings=(*TINY, *SHORT))
        for recipe in ("linear-probe", "stage-probe")
    ]
    plain = ensemble_of_runs(runs, tmp_path / "plain")
    tempered = ensemble_of_runs(runs, tmp_path / "tempered", temperature=3.0)
    data = runs[0].data
    rows = data.indices("test")
    batch = np.stack([decode(data.paths[row]) for row in rows])
    mean = np.mean([run.model.predict_on_batch(batch) for run in runs], axis=0)
    np.testing.assert_allclose(plain.run.model.predict_on_batch(batch), mean, atol=1e-6)
    expected = average_precision_score(data.labels_of(rows), mean, average="macro")
    assert plain.whole.accuracy == pytest.approx(expected)
    unlearned = unlearned_by(runs)
    assert plain.run.labels.threshold == pytest.approx(tune_threshold(unlearned.prob, unlearned.labels), abs=1e-6)
    assert plain.run.metrics.exact_match == tempered.run.metrics.exact_match
    assert plain.run.labels.threshold != tempered.run.labels.threshold
    with pytest.raises(RunError, match=r"one label a picture and .* several"):
        ensemble_of_runs([runs[0], renamed(finished_run(), tmp_path / "one", runs[0].class_names)])


def renamed(run, folder, class_names):
    """A copy of a run whose classes have other names."""
    shutil.copytree(run.path, folder)
    (folder / "labels.json").write_text(json.dumps(list(class_names)), "utf-8")
    return Run(RunFolder(folder))


def test_other_classes_are_refused_by_name(runs, tmp_path):
    other = renamed(runs[1], tmp_path / "renamed", ("ant", "bee", "dog"))
    message = r"run and .*renamed differ in their classes: only run has 'cat'; only renamed has 'dog'"
    with pytest.raises(RunError, match=message):
        ensemble_of_runs([runs[0], other], tmp_path / "out")
    turned = renamed(runs[1], tmp_path / "turned", ("bee", "ant", "cat"))
    with pytest.raises(RunError, match="another order"):
        ensemble_of_runs([runs[0], turned], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_run_is_no_ensemble_and_counts_once(runs, tmp_path):
    with pytest.raises(RunError, match="two or more"):
        ensemble_of_runs(runs[:1])
    with pytest.raises(RunError, match="given more than once"):
        ensemble_of_runs([runs[0], runs[1], Run(RunFolder(runs[0].path))])


def test_unfinished_members_are_refused(runs, tmp_path):
    shutil.copytree(runs[1].path, tmp_path / "half")
    half = Run(RunFolder(tmp_path / "half"))
    half.folder.write_state(state="stopped")
    half.folder.metrics.unlink()
    with pytest.raises(RunError, match="this run is stopped"):
        ensemble_of_runs([runs[0], half])


def test_members_that_have_seen_each_others_pictures_cannot_be_scored(runs, tmp_path):
    shutil.copytree(runs[1].path, tmp_path / "all")
    greedy = Run(RunFolder(tmp_path / "all"))
    every, _ = content_keys(runs[0].data.root, runs[0].data.files)
    greedy.folder.seen.write_text(json.dumps(every), "utf-8")
    with pytest.raises(RunError, match="another one has learned from"):
        ensemble_of_runs([runs[0], greedy])


def test_pictures_that_are_gone_are_told_of(runs, tmp_path):
    pictures = copy_pictures(tmp_path / "moving", range(10))
    run = tl.fit(pictures, "linear-probe", out=tmp_path / "first", settings=(*TINY, *SHORT))
    pictures.rename(tmp_path / "moved")
    with pytest.raises(DataError, match=r"none of its test pictures can be read .* Put .*moving back"):
        ensemble_of_runs([run, runs[0]], tmp_path / "out")


def test_nothing_is_overwritten_and_nothing_joins_the_data(runs, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "note.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        ensemble_of_runs(runs, tmp_path / "taken")
    assert (tmp_path / "taken" / "note.txt").read_text() == "mine"
    with pytest.raises(RunError, match="inside the data set"):
        ensemble_of_runs(runs, runs[0].data.root / "ensemble")
    with pytest.raises(TltoolError, match="above 0"):
        ensemble_of_runs(runs, tmp_path / "cold", temperature=0.0)
    assert not (tmp_path / "cold").exists()


def test_one_that_fails_half_way_says_so(runs, tmp_path, monkeypatch):
    def broken(*_):
        raise OSError("the disk is gone")

    monkeypatch.setattr("tltool.ensembles.ensemble.save_model", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        ensemble_of_runs(runs, tmp_path / "half")
    assert RunFolder(tmp_path / "half").read_state()["state"] == "failed"
