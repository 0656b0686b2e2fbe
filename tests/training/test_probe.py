"""The probe: learns from its rows alone, with the strength that cross-validation chose, and computes nothing twice."""

import numpy as np
import pytest

from tltool.features.extract import FeatureTable
from tltool.features.taps import TapLayout
from tltool.heads.cross_validation import cross_validate
from tltool.heads.logistic import LogisticProblem
from tltool.inspection.baselines import ProbeSpec
from tltool.training import probe
from tltool.training.probe import solve_probe

SPEC = ProbeSpec("mine", ("top",), ("mean",), (1.0, 0.1, 0.01), folds=3, shuffles=2)


@pytest.fixture
def table():
    """60 pictures, three classes; the stage "low" says nothing of them, "top" does."""
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    layout = TapLayout((("low", "mean", 2), ("low", "std", 2), ("top", "mean", 4), ("top", "std", 4)))
    values = random.normal(0, 1, (60, layout.width)).astype(np.float32)
    values[:, 4:7] += 2 * np.eye(3)[labels]
    keys = tuple(map(str, range(60)))
    return FeatureTable(values, np.ones(60), layout, keys, np.arange(60), ()), labels


def test_learns_from_its_rows_and_columns_alone(table):
    features, labels = table
    rows = np.arange(0, 60, 2)
    head, validation = solve_probe(SPEC, features, rows, labels[rows], 3, seed=1)
    spoilt = features.values.copy()
    spoilt[1::2] = 99  # pictures that it may not learn from
    spoilt[:, :4] = 99  # and a stage that it does not read
    spoilt[:, 8:] = 99  # and a pooling that it does not read
    other = FeatureTable(spoilt, features.confidence, features.layout, features.keys, features.indices, ())
    again, _ = solve_probe(SPEC, other, rows, labels[rows], 3, seed=1)
    np.testing.assert_array_equal(head.kernel, again.kernel)
    np.testing.assert_array_equal(head.bias, again.bias)
    assert head.kernel.shape == (4, 3)
    assert head.l2 == validation.l2
    accuracy = (head.logits(features.values[1::2, 4:8]).argmax(axis=1) == labels[1::2]).mean()
    assert accuracy > 0.7


def test_strength_is_the_one_that_cross_validation_chooses(table):
    features, labels = table
    rows = np.arange(60)
    problem = LogisticProblem(features.values[:, 4:8], labels, 3)
    expected = cross_validate(problem, SPEC.strengths, SPEC.folds, SPEC.shuffles, 5)
    head, validation = solve_probe(SPEC, features, rows, labels, 3, seed=5)
    assert validation.path == expected.path
    assert head.l2 == min(expected.path, key=lambda point: point[1])[0]
    np.testing.assert_array_equal(head.kernel, problem.fit(head.l2).kernel)


def test_a_known_validation_is_not_computed_again(table, monkeypatch):
    features, labels = table
    rows = np.arange(60)
    _, known = solve_probe(SPEC, features, rows, labels, 3, seed=5)
    monkeypatch.setattr(probe, "cross_validate", lambda *_: pytest.fail("computed again"))
    head, validation = solve_probe(SPEC, features, rows, labels, 3, seed=5, validation=known)
    assert validation is known
    assert head.l2 == known.l2


def test_progress_names_the_recipe(table):
    features, labels = table
    told = []
    solve_probe(SPEC, features, np.arange(60), labels, 3, seed=0, report=lambda *step: told.append(step))
    assert {task for task, _, _ in told} == {"Cross-validating the head of mine"}
    assert told[-1][1:] == (3, 3)
