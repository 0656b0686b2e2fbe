"""Calibration after averaging: against a grid over temperatures, on pictures that no member has learned from."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

import tltool as tl
from tests.pictures import make_class_folders
from tests.trained import TINY, finished_run
from tltool.ensembles import calibrating
from tltool.ensembles.common_pictures import untouched_by_all
from tltool.ensembles.ensemble import ensemble_of_runs
from tltool.export.predictor import load_model
from tltool.heads import temperature

# A probe that is too weak and a high rate: what fine-tuning gives is kept.
WEAK = (*TINY, "head.strengths=[100.0]", "stages.top.epochs=1", "stages.top.learning_rate=0.004")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two that were fine-tuned, on one split."""
    folder = tmp_path_factory.mktemp("calibrating")
    data = make_class_folders(folder / "pictures", dict.fromkeys(("ant", "bee", "cat"), 40), size=48)
    split = tl.load_dataset(data, 0)
    runs = [tl.fit(split, "finetune-top", out=folder / str(seed), settings=WEAK, seed=seed) for seed in (0, 1)]
    assert all(run.tuning.kept for run in runs)
    return runs


def test_the_pictures_are_the_validation_pictures_of_all(runs):
    data = runs[0].data
    np.testing.assert_array_equal(untouched_by_all(runs).rows, data.indices("valid"))


def test_probes_have_learned_from_theirs(runs):
    assert untouched_by_all([finished_run()]) is None
    told = calibrating.temperature_of(None, None)
    assert (told.value, told.reason) == (1.0, calibrating.NO_PICTURES)


def test_a_temperature_is_that_of_the_lowest_log_loss():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (4000, 4))
    labels = np.array([random.choice(4, p=row) for row in softmax(logits, axis=1)])
    sure = softmax(2.5 * logits, axis=1)
    found = calibrating.temperature_of(sure, labels).value
    grid = np.linspace(1.5, 4, 51)
    losses = [log_loss(labels, softmax(2.5 * logits / each, axis=1)) for each in grid]
    assert found == pytest.approx(grid[np.argmin(losses)], abs=0.06)


def test_it_is_folded_into_the_averaged_model(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(temperature, "FEWEST", 10)
    made = ensemble_of_runs(runs, tmp_path / "both")
    assert made.temperature.reason is None or made.temperature.value == 1.0
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
