"""Temperatures against a plain grid search, what is refused, and reliability against plain loops."""

import json

import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax

from tltool.errors import ShapeError
from tltool.evaluation.calibration import FEWEST, PRIOR, Temperature, chance_errors, fit_temperature, reliability
from tltool.evaluation.metrics import expected_calibration_error, score
from tltool.evaluation.multi_label import score_multi_label


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


def test_reliability_is_that_of_a_plain_loop():
    logits, labels = told(500)
    prob = softmax(2 * logits, axis=1)
    found = reliability(prob, labels, bins=10)
    for index in range(10):
        inside = [i for i in range(500) if index / 10 < prob[i].max() <= (index + 1) / 10]
        assert found.counts[index] == len(inside)
        if inside:
            assert found.confidence[index] == pytest.approx(np.mean([prob[i].max() for i in inside]))
            assert found.accuracy[index] == pytest.approx(np.mean([prob[i].argmax() == labels[i] for i in inside]))
        else:
            assert (found.confidence[index], found.accuracy[index]) == (None, None)
    assert found.expected_calibration_error == pytest.approx(expected_calibration_error(prob, labels, 10))
    assert found.edges == pytest.approx(np.arange(11) / 10)
    json.dumps(found.to_json(), allow_nan=False)


def test_reliability_agrees_with_the_scores():
    logits, labels = told(100)
    prob = softmax(logits, axis=1)
    names = ("a", "b", "c", "d")
    assert reliability(prob, labels).expected_calibration_error == pytest.approx(
        score(prob, labels, names).expected_calibration_error
    )
    targets = np.eye(4, dtype=int)[labels]
    found = reliability(prob, targets)
    assert sum(found.counts) == 400
    expected = score_multi_label(prob, targets, names, 0.5).expected_calibration_error
    assert found.expected_calibration_error == pytest.approx(expected)


def test_chance_alone_shows_an_error_that_grows_as_pictures_are_fewer():
    means = []
    for pictures in (60, 240, 2000):
        logits, _ = told(pictures)
        prob, random = softmax(logits, axis=1), np.random.default_rng(1)
        drawn = []
        for _ in range(300):
            labels = (prob.cumsum(axis=1) > random.random((pictures, 1))).argmax(axis=1)
            drawn.append(expected_calibration_error(prob, labels))
        found = chance_errors(prob.max(axis=1))
        assert found.mean() == pytest.approx(np.mean(drawn), rel=0.06)
        assert np.quantile(found, 0.975) == pytest.approx(np.quantile(drawn, 0.975), rel=0.1)
        means.append(found.mean())
        assert reliability(prob, labels).by_chance == found.mean()
    assert means[0] > means[1] > means[2]


def test_intervals_of_calibrated_probabilities_reach_down_to_0():
    reached = []
    for seed in range(60):
        logits, labels = told(200, seed=seed)
        reached.append(score(softmax(logits, axis=1), labels, ("a", "b", "c", "d")).expected_calibration_error_interval)
    assert np.mean([low == 0 for low, _ in reached]) > 0.9
    logits, labels = told(200, factor=3.0)
    assert score(softmax(logits, axis=1), labels, ("a", "b", "c", "d")).expected_calibration_error_interval[0] > 0.05


def test_reliability_of_other_labels_is_refused():
    with pytest.raises(ShapeError, match="do not fit"):
        reliability(np.full((3, 2), 0.5), np.zeros(4, int))
