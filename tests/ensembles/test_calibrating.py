"""Calibration after averaging: against a grid over temperatures, on pictures that no member has learned from."""

import shutil

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

import tltool as tl
from tests.pictures import make_class_folders
from tests.trained import TINY
from tltool.ensembles import calibrating
from tltool.ensembles.ensemble import ensemble_of_runs
from tltool.evaluation.inference import classify
from tltool.evaluation.predictions import CALIBRATED_ON_FILE, read_predictions
from tltool.export.predictor import load_model
from tltool.heads import temperature

# A probe that is too weak and a high rate: what fine-tuning gives is kept.
WEAK = (*TINY, "head.strengths=[100.0]", "stages.top.epochs=1", "stages.top.learning_rate=0.004")


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrating")
    return tl.load_dataset(make_class_folders(folder, dict.fromkeys(("ant", "bee", "cat"), 40), size=48), 0)


@pytest.fixture(scope="module")
def probes(split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("probes")
    return [tl.fit(split, recipe, out=folder / recipe, settings=TINY) for recipe in ("linear-probe", "stage-probe")]


@pytest.fixture(scope="module")
def runs(split, tmp_path_factory):
    """Two that were fine-tuned, on one split."""
    folder = tmp_path_factory.mktemp("runs")
    runs = [tl.fit(split, "finetune-top", out=folder / str(seed), settings=WEAK, seed=seed) for seed in (0, 1)]
    assert all(run.tuning.kept for run in runs)
    return runs


def test_fine_tuned_runs_are_asked_for_their_validation_pictures(runs):
    data = runs[0].data
    rows = data.indices("valid")
    found = calibrating.unlearned_by(runs)
    mean = np.mean([classify(run.model, [data.paths[row] for row in rows]).values for run in runs], axis=0)
    np.testing.assert_array_equal(found.labels, data.labels_of(rows))
    np.testing.assert_allclose(found.prob, mean, atol=2e-3)


def test_probes_are_asked_for_pictures_that_they_were_fitted_without(probes):
    found = calibrating.unlearned_by(probes)
    rows = probes[0].data.indices("train", "valid")
    assert len(found.labels) == len(rows)
    said = [read_predictions(run.path / CALIBRATED_ON_FILE) for run in probes]
    np.testing.assert_allclose(found.prob, np.mean([each.prob for each in said], axis=0), atol=1e-6)
    # Not what the finished model says of them: it has learned from them.
    learned = classify(probes[0].model, [probes[0].data.paths[row] for row in rows]).values
    assert np.abs(learned - said[0].prob).max() > 1e-3


def test_a_picture_that_a_member_has_learned_from_does_not_count(runs, probes):
    """The probes were asked for all pictures to learn from, a fine-tuned run for its validation pictures alone."""
    found = calibrating.unlearned_by([*probes, runs[0]])
    assert len(found.labels) == len(runs[0].data.indices("valid"))


def test_without_pictures_there_is_no_temperature(probes, tmp_path):
    copy = shutil.copytree(probes[0].path, tmp_path / "old")
    (copy / CALIBRATED_ON_FILE).unlink()
    assert calibrating.unlearned_by([tl.open_run(copy), probes[1]]) is None
    told = calibrating.temperature_of(None)
    assert (told.value, told.reason) == (1.0, calibrating.NO_PICTURES)


def test_a_temperature_is_that_of_the_lowest_log_loss():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (4000, 4))
    labels = np.array([random.choice(4, p=row) for row in softmax(logits, axis=1)])
    sure = softmax(2.5 * logits, axis=1)
    found = calibrating.temperature_of(calibrating.Unlearned(sure, labels)).value
    grid = np.linspace(1.5, 4, 51)
    losses = [log_loss(labels, softmax(2.5 * logits / each, axis=1)) for each in grid]
    assert found == pytest.approx(grid[np.argmin(losses)], abs=0.06)


def test_it_is_folded_into_the_averaged_model(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(temperature, "FEWEST", 10)
    monkeypatch.setattr(temperature, "_best", lambda *_: 1.7)
    monkeypatch.setattr("tltool.heads.temperature._losses", lambda shuffles, labels, t: np.full(len(labels), 1.0 / t))
    made = ensemble_of_runs(runs, tmp_path / "warm")
    assert made.temperature.value == 1.7
    batch = np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3), dtype=np.uint8)
    mean = np.mean([run.model.predict_on_batch(batch) for run in runs], axis=0)
    expected = softmax(np.log(mean.astype(np.float64)) / 1.7, axis=1)
    np.testing.assert_allclose(load_model(tmp_path / "warm").model.predict_on_batch(batch), expected, atol=1e-5)
    certainty = made.run.certainty
    assert certainty.temperature.value == 1.7
    assert certainty.source == calibrating.SOURCE
    (prediction,) = tl.load_model(tmp_path / "warm").predict(runs[0].data.paths[0])
    assert prediction.known is None
