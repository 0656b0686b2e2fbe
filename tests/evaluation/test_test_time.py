"""Views at test time: what they are, who bears them, and that answers are their mean."""

import dataclasses
import json

import numpy as np
import pytest

from tests.pictures import make_class_folders
from tests.trained import finished_run
from tltool.data.decoding import decode, prepare
from tltool.evaluation.inference import classify
from tltool.evaluation.test_time import BOTH, ENLARGED, views_at_test_time, views_beside, views_in_words
from tltool.export.predictor import load_model
from tltool.features.views import MIRRORED
from tltool.heads.network import framing_of, prepared_model
from tltool.inspection.orientation import ClassChange, Orientation
from tltool.inspection.symmetry import Symmetry
from tltool.run import evaluate_run

KEPT = Orientation(0.01, 0.01, 0.5, {"a": ClassChange(50, 0.9, 0.9, 1.0)})
CHANGED = Orientation(0.6, 0.05, 0.95, {"a": ClassChange(50, 0.9, 0.2, 1e-6)})


def inspection(mirrored: Orientation) -> dict:
    symmetry = Symmetry(mirrored, CHANGED, CHANGED, 200)
    return json.loads(json.dumps({"symmetry": dataclasses.asdict(symmetry)}))


def test_pictures_are_mirrored_only_where_they_bear_it():
    assert views_at_test_time(inspection(KEPT)) == (MIRRORED, ENLARGED, BOTH)
    assert views_at_test_time(inspection(CHANGED)) == (ENLARGED,)
    assert views_at_test_time({"symmetry": None}) == views_at_test_time(None) == (ENLARGED,)
    assert "not mirrored" in views_in_words((ENLARGED,))
    assert "not mirrored" not in views_in_words((MIRRORED, ENLARGED, BOTH))


def test_a_folder_says_what_its_pictures_bear(tmp_path):
    assert views_beside(tmp_path) == (ENLARGED,)
    (tmp_path / "inspection.json").write_text(json.dumps(inspection(KEPT)))
    assert views_beside(tmp_path) == (MIRRORED, ENLARGED, BOTH)
    (tmp_path / "inspection.json").write_text("{")
    assert views_beside(tmp_path) == (ENLARGED,)


def test_an_enlarged_view_shows_the_middle():
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    pixels[:, 2:30, 2:30] = 200
    assert (ENLARGED.change(pixels, [""]) == 200).all()
    half = np.zeros((1, 32, 32, 3), np.uint8)
    half[:, :, :8] = 200
    assert ENLARGED.change(half, [""])[0, 16, 0, 0] == 200
    assert BOTH.change(half, [""])[0, 16, -1, 0] == 200


def test_answers_are_the_mean_over_views(tmp_path):
    files = sorted(make_class_folders(tmp_path / "new", {"ant": 3, "bee": 3}, size=40, seed=9).rglob("*.png"))
    model = finished_run().model
    framing, network = framing_of(model), prepared_model(model)
    pixels = np.stack([prepare(decode(file), framing) for file in files])
    expected = np.mean([network.predict(view, verbose=0) for view in (pixels, pixels[:, :, ::-1])], axis=0)
    found = classify(model, files, keys=[None] * len(files), views=(MIRRORED,)).values
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_run_and_a_predictor_take_it(tmp_path):
    run = finished_run()
    pictures = make_class_folders(tmp_path / "new", dict.fromkeys(run.class_names, 4), size=48, seed=77)
    plain, averaged = evaluate_run(run, pictures), evaluate_run(run, pictures, test_time=True)
    assert plain.metrics.pictures == averaged.metrics.pictures == 12
    assert plain.metrics.log_loss != averaged.metrics.log_loss
    predictor = load_model(run.path)
    file = next(pictures.rglob("*.png"))
    one, mean = predictor.try_predict([file])[0][0], predictor.try_predict([file], test_time=True)[0][0]
    assert one.probabilities != mean.probabilities
    assert sum(mean.probabilities.values()) == pytest.approx(1, abs=1e-5)
