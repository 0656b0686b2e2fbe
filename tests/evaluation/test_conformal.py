"""Sets hold the right class as often as asked, on average over many calibrations."""

import json

import numpy as np
import pytest
from scipy.special import softmax

from tltool.errors import DataError, ShapeError
from tltool.evaluation.conformal import LARGEST, ConformalScores


def told(pictures, seed=0, spread=1.0):
    """Probabilities of a model that is too sure of itself, and labels."""
    random = np.random.default_rng(seed)
    logits = spread * random.normal(size=(pictures, 5))
    labels = (softmax(logits, axis=1).cumsum(axis=1) > random.random((pictures, 1))).argmax(axis=1)
    return softmax(2 * logits, axis=1), labels


@pytest.mark.parametrize("coverage", [0.6, 0.8, 0.9])
@pytest.mark.parametrize("pictures", [9, 30, 101])
def test_new_pictures_are_covered_as_asked(coverage, pictures):
    held = []
    for seed in range(300):
        prob, labels = told(pictures + 200, seed)
        scores = ConformalScores.from_probabilities(prob[:pictures], labels[:pictures])
        inside = prob[pictures:] >= scores.threshold(coverage)
        held.append(inside[np.arange(200), labels[pictures:]].mean())
    rank = np.ceil((pictures + 1) * coverage)  # the exact coverage of a finite sample without ties
    assert np.mean(held) == pytest.approx(rank / (pictures + 1), abs=4 * np.std(held) / 300**0.5)


def test_the_threshold_is_an_order_statistic():
    prob = np.stack([np.linspace(0.05, 0.95, 19), 1 - np.linspace(0.05, 0.95, 19)], axis=1)
    scores = ConformalScores.from_probabilities(prob, np.zeros(19, int))
    assert scores.threshold(0.9) == pytest.approx(0.10)  # of 19, the 18th from above
    assert scores.threshold(0.95) == pytest.approx(0.05)
    assert scores.threshold(0.5) == pytest.approx(0.50)


def test_sets_hold_what_is_likely_enough_and_are_never_empty():
    scores = ConformalScores(np.array([0.9, 0.8, 0.6]), 3)
    prob = np.array([[0.7, 0.2, 0.1], [0.45, 0.4, 0.15], [0.0, 0.2, 0.8]])
    assert scores.sets(prob, 0.5).tolist() == [[True, False, False], [True, False, False], [False, False, True]]
    assert scores.sets(np.array([[0.45, 0.55]]), 0.75).tolist() == [[False, True]]
    assert ConformalScores(np.array([0.9, 0.3, 0.3]), 3).sets(prob, 0.75).tolist()[1] == [True, True, False]


def test_more_coverage_never_takes_a_class_out():
    prob, labels = told(400)
    scores = ConformalScores.from_probabilities(prob[:200], labels[:200])
    sizes = []
    before = np.zeros((200, 5), bool)
    for coverage in (0.5, 0.7, 0.8, 0.9, 0.95, 0.99):
        now = scores.sets(prob[200:], coverage)
        assert not (before & ~now).any()
        sizes.append(now.sum())
        before = now
    assert sizes[0] < sizes[-1]


@pytest.mark.parametrize("pictures", [LARGEST, LARGEST + 1, 2500, 7777])
def test_few_scores_stand_for_many(pictures):
    prob, labels = told(pictures)
    scores = ConformalScores.from_probabilities(prob, labels)
    assert len(scores.scores) == LARGEST
    assert scores.pictures == pictures
    all_of_them = np.sort(prob[np.arange(pictures), labels])
    for coverage in (0.8, 0.9, 0.999):
        share = (all_of_them >= scores.threshold(coverage)).mean()
        rank = int(np.ceil((pictures + 1) * coverage - 1e-9))
        assert rank / pictures <= share <= rank / pictures + 1 / LARGEST + 1e-9


@pytest.mark.parametrize(("coverage", "needed"), [(0.5, 1), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_too_few_pictures_are_told_how_many_it_takes(coverage, needed):
    prob, labels = told(needed)
    ConformalScores.from_probabilities(prob, labels).threshold(coverage)
    with pytest.raises(DataError, match=rf"take {needed} pictures .* were {needed - 1}\."):
        ConformalScores.from_probabilities(prob[1:], labels[1:]).threshold(coverage)


@pytest.mark.parametrize("coverage", [0.0, 0.49, 1.0, 90, float("nan")])
def test_a_coverage_that_makes_no_sense_is_refused(coverage):
    with pytest.raises(DataError, match="give a share from"):
        ConformalScores(np.array([0.5]), 5000).threshold(coverage)


def test_pictures_that_were_never_held_out_do_not_count():
    prob, labels = told(50)
    holes = prob.copy()
    holes[7] = np.nan
    expected = ConformalScores.from_probabilities(np.delete(prob, 7, axis=0), np.delete(labels, 7))
    found = ConformalScores.from_probabilities(holes, labels)
    assert found.pictures == 49
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_scores_survive_a_file():
    scores = ConformalScores.from_probabilities(*told(300))
    read = ConformalScores.from_json(json.loads(json.dumps(scores.to_json())))
    assert read.threshold(0.9) == scores.threshold(0.9)
    assert read.pictures == 300


def test_several_labels_are_refused_in_words():
    with pytest.raises(DataError, match="exactly one class"):
        ConformalScores.from_probabilities(np.full((3, 2), 0.5), np.zeros((3, 2), int))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="do not fit"):
        ConformalScores.from_probabilities(np.full((3, 2), 0.5), np.zeros(4, int))
