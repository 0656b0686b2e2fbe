"""Heads of a recipe: what they say of pictures that they have not learned from."""

import numpy as np
import pytest

from tests.trained import TINY, finished_run
from tltool.backbones import load_backbone
from tltool.features.extract import extract
from tltool.heads.cross_validation import out_of_fold_logits
from tltool.heads.logistic import LogisticProblem
from tltool.recipes import load_recipe
from tltool.training import probes as module
from tltool.training.events import EventLog
from tltool.training.probes import Probes


@pytest.fixture
def probes() -> tuple[Probes, object, np.ndarray]:
    data = finished_run().data
    backbone = load_backbone("tiny_random")
    features = extract(backbone, data.root, data.files)
    made = Probes(load_recipe("linear-probe", TINY), backbone, data, features, (), 5, EventLog(None))
    rows = data.indices("train", "valid")
    values = features.select(made.spec.stages, made.spec.pooling)[rows]
    return made, LogisticProblem(values, data.labels_of(rows), len(data.class_names)), rows


def test_held_out_logits_are_those_of_ten_folds_three_times(probes):
    made, problem, rows = probes
    head = made.solve(rows)
    found = made.held_out_logits(head, rows)
    expected = [out_of_fold_logits(problem, head.l2, 10, seed) for seed in (5, 6, 7)]
    np.testing.assert_allclose(found, expected)
    assert not np.isnan(found).any()


def test_of_many_pictures_only_some_are_held_out(probes, monkeypatch):
    monkeypatch.setattr(module, "CALIBRATION_PICTURES", 7)
    made, _, rows = probes
    found = made.held_out_logits(made.solve(rows), rows)
    known = ~np.isnan(found).any(axis=2)
    assert found.shape[0] == 1
    assert 7 <= known.sum() < len(rows)
