"""Doubtful labels rank first, and are called wrong only by heads that are otherwise right."""

import numpy as np
import pytest

from tltool.doctor.suspects import suspected_labels
from tltool.errors import ShapeError
from tltool.heads.cross_validation import out_of_fold_logits
from tltool.heads.logistic import LogisticProblem, to_probabilities


def test_scores_are_margins_and_the_order_follows_them():
    prob = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [np.nan] * 3])
    found = suspected_labels(prob, np.array([0, 0, 2, 1]))
    np.testing.assert_allclose(found.scores, [-0.5, 0.7, -0.1, np.nan])
    assert found.order.tolist() == [1, 2, 0]
    assert found.suggestion[:3].tolist() == [1, 1, 0]


def test_a_label_is_flagged_where_confident_answers_agree_with_all_others():
    prob = np.array([[0.9, 0.1]] * 10 + [[0.1, 0.9]] * 9 + [[0.95, 0.05]])
    labels = np.array([0] * 10 + [1] * 10)
    assert suspected_labels(prob, labels).flagged.tolist() == []  # the most confident answer of all is the wrong one
    prob[0], prob[1:10] = [0.6, 0.4], [0.96, 0.04]  # on average 0.924, below the 0.95; nine of ten answers agree
    assert suspected_labels(prob, labels).flagged.tolist() == [19]


def test_heads_that_know_nothing_accuse_nobody():
    random = np.random.default_rng(0)
    assert len(suspected_labels(random.dirichlet(np.ones(5), 500), random.integers(0, 5, 500)).flagged) <= 5


def made(count=400, classes=4, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    return random, labels, random.normal(size=(classes, 12))[labels] * 1.5 + random.normal(size=(count, 12))


@pytest.mark.parametrize("seed", range(3))
def test_swapped_labels_are_in_the_top_tenth(seed):
    random, labels, features = made(seed=seed)
    swapped = random.permutation(len(labels))[:20]
    given = labels.copy()
    given[swapped] = (given[swapped] + random.integers(1, 4, 20)) % 4
    prob = to_probabilities(out_of_fold_logits(LogisticProblem(features, given, 4), 1.0, 5, 0), False)
    found = suspected_labels(prob, given)
    assert np.isin(swapped, found.order[:40]).mean() > 0.9
    assert np.isin(found.flagged, swapped).mean() > 0.8
    right = swapped[np.isin(swapped, found.flagged)]
    assert len(right) >= 8
    assert (found.suggestion[right] == labels[right]).all()


def test_a_missing_and_a_surplus_label_are_found_in_sets_of_several():
    random = np.random.default_rng(0)
    truth = (random.random((400, 3)) < 0.5).astype(int)
    features = np.hstack([3.0 * truth + random.normal(size=(400, 3)), random.normal(size=(400, 5))])
    given = truth.copy()
    given[7, 0], given[8, 1] = 1 - truth[7, 0], 1 - truth[8, 1]
    prob = to_probabilities(out_of_fold_logits(LogisticProblem(features, given, 3), 0.1, 5, 0), True)
    found = suspected_labels(prob, given)
    assert {7, 8} <= set(found.order[:20].tolist())
    assert (found.suggestion[7], found.suggestion[8]) == (0, 1)
    assert len(found.flagged) < 20


def test_lengths_that_differ_are_refused():
    with pytest.raises(ShapeError, match="probabilities for"):
        suspected_labels(np.zeros((3, 2)), np.zeros(4, int))
    with pytest.raises(ShapeError, match="probabilities for"):
        suspected_labels(np.zeros((3, 2)), np.zeros((3, 3), int))
