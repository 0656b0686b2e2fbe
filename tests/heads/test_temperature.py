"""Temperatures against a plain grid search, and what is refused."""

import json

import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax

from tltool.errors import ShapeError
from tltool.evaluation.metrics import expected_calibration_error
from tltool.heads.temperature import FEWEST, PRIOR, Temperature, fit_temperature


def told(pictures=2000, classes=4, factor=1.0, seed=0):
    """Logits that are `factor` times too large, and labels drawn from the right ones."""
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(pictures, classes))
    prob = softmax(logits, axis=1)
    labels = (prob.cumsum(axis=1) > random.random((pictures, 1))).argmax(axis=1)
    return factor * logits, labels


def loss(logits, labels):
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean()


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_undoes_what_was_done(factor):
    logits, labels = told(factor=factor)
    found = fit_temperature(logits, labels)
    assert found.value == pytest.approx(factor, rel=0.06)
    assert (found.reason, found.pictures) == (None, 2000)
    fresh, truth = told(factor=factor, seed=1)
    if factor != 1:
        before, after = expected_calibration_error(softmax(fresh, axis=1), truth), None
        after = expected_calibration_error(softmax(fresh / found.value, axis=1), truth)
        assert after < 0.5 * before
        expected = loss(fresh, truth) - loss(fresh / found.value, truth)
        assert found.gain == pytest.approx(expected, rel=0.3)


def test_it_is_the_best_of_a_grid():
    logits, labels = told(300, factor=1.7)
    grid = np.exp(np.linspace(-1, 1, 4001))
    costs = [loss(logits / t, labels) + PRIOR / 300 * np.log(t) ** 2 for t in grid]
    assert fit_temperature(logits, labels).value == pytest.approx(grid[np.argmin(costs)], rel=1e-3)


def test_multi_label_sets_have_one_as_well():
    random = np.random.default_rng(0)
    logits = random.normal(size=(1500, 3))
    targets = (random.random((1500, 3)) < expit(logits)).astype(int)
    found = fit_temperature(2.5 * logits, targets)
    assert found.value == pytest.approx(2.5, rel=0.1)
    assert 0 < found.gain < 0.3  # nats a decision, not a picture


def test_logarithms_of_probabilities_do_as_well():
    logits, labels = told(400, factor=2.0)
    assert fit_temperature(log_softmax(logits, axis=1), labels).value == pytest.approx(
        fit_temperature(logits, labels).value, rel=1e-4
    )


def test_a_shuffle_twice_tells_no_more_than_once():
    logits, labels = told(200, factor=2.0)
    once, twice = fit_temperature(logits, labels), fit_temperature(np.stack([logits, logits]), labels)
    assert twice.value == pytest.approx(once.value, rel=1e-4)
    assert twice.pictures == once.pictures == 200


def test_pictures_that_were_never_held_out_do_not_count():
    logits, labels = told(300, factor=2.0)
    holes = logits.copy()
    holes[[3, 70]] = np.nan
    kept = np.delete(np.arange(300), [3, 70])
    found = fit_temperature(holes, labels)
    assert found.pictures == 298
    assert found.value == pytest.approx(fit_temperature(logits[kept], labels[kept]).value, rel=1e-6)


@pytest.mark.parametrize(("pictures", "enough"), [(0, False), (1, False), (FEWEST - 1, False), (FEWEST, True)])
def test_too_few_pictures_do_without(pictures, enough):
    logits, labels = told(FEWEST, factor=3.0)
    found = fit_temperature(logits[:pictures], labels[:pictures])
    assert (found.reason is None) == enough
    assert (found.value != 1) == enough
    if not enough:
        assert str(found) == f"no temperature: {pictures} pictures to calibrate on, and it takes {FEWEST}"


def test_a_temperature_that_cross_fitting_speaks_against_is_refused():
    found = [fit_temperature(*told(60, seed=seed)) for seed in range(40)]
    refused = [temperature for temperature in found if temperature.reason]
    assert 0 < len(refused) < 30  # there is nothing to gain here, and now and then it shows
    assert {temperature.value for temperature in refused} == {1.0}
    assert "no temperature does better than none" in str(refused[0])
    assert not any(fit_temperature(*told(60, factor=3.0, seed=seed)).reason for seed in range(20))


def test_pictures_that_are_all_right_do_not_make_it_certain():
    logits, _ = told(FEWEST, factor=1.0)
    found = fit_temperature(logits, logits.argmax(axis=1))
    assert 0.1 < found.value <= 1  # likelihood alone would go to 0


def test_it_can_be_kept_and_said():
    assert "temperature 1.50 from 80 pictures, log loss lower by 0.0200" in str(Temperature(1.5, 80, 0.02))
    assert "higher by 0.0010" in str(Temperature(1.01, 80, -0.001))
    assert json.loads(json.dumps(Temperature(1.5, 80, 0.02).to_json()))["value"] == 1.5


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.zeros((5, 3)), np.zeros(4, int)),
        (np.zeros((5, 3)), np.zeros((5, 2))),
        (np.zeros(5), np.zeros(5, int)),
        (np.zeros((2, 5, 3)), np.zeros(2, int)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(logits, labels):
    with pytest.raises(ShapeError, match="do not fit"):
        fit_temperature(logits, labels)
