"""Averages over classes, and words for the classes that nothing is known of."""

import numpy as np
import pytest
import sklearn.metrics

from tltool.evaluation.per_class import class_averages, gaps_in_words, shares


@pytest.mark.parametrize("occurring", [4, 2])
def test_averages_are_those_of_scikit_learn(occurring):
    random = np.random.default_rng(occurring)
    labels, predicted = random.integers(0, occurring, 60), random.integers(0, 4, 60)
    confusion = sklearn.metrics.confusion_matrix(labels, predicted, labels=range(4))
    recall, f1 = class_averages(confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0))
    present = np.unique(labels)
    settings = {"labels": present, "average": "macro", "zero_division": 0}
    assert recall == pytest.approx(sklearn.metrics.recall_score(labels, predicted, **settings))
    assert f1 == pytest.approx(sklearn.metrics.f1_score(labels, predicted, **settings))


def test_many_draws_are_averaged_at_once():
    hits = np.array([[1, 2], [0, 3]])
    support, found = np.array([[2, 2], [0, 4]]), np.array([[1, 3], [1, 3]])
    recall, f1 = class_averages(hits, support, found)
    assert recall == pytest.approx([(0.5 + 1) / 2, 0.75])  # the second draw has one class only
    assert f1 == pytest.approx([(2 / 3 + 4 / 5) / 2, 6 / 7])


def test_nothing_at_all_is_a_zero_not_a_warning():
    assert class_averages(np.zeros(3), np.zeros(3), np.zeros(3)) == (0, 0)


def test_a_share_of_nothing_is_none():
    assert shares(np.array([1, 0]), np.array([4, 0])) == (0.25, None)


def test_words_name_what_is_missing():
    assert gaps_in_words("ab", [3, 1]) == ()
    (one,) = gaps_in_words(("ant", "bee", "cat"), [3, 0, 1])
    assert "bee" in one
    assert "ant" not in one
    assert "2 classes that occur" in one
    (single,) = gaps_in_words(("ant", "bee"), [0, 4])
    assert "no class but 'bee'" in single
    (nothing,) = gaps_in_words(("ant", "bee"), [0, 0])
    assert "any of the classes" in nothing
    (many,) = gaps_in_words([f"c{i}" for i in range(20)], [1, 1] + [0] * 18)
    assert "and 13 more" in many
    assert "c2, c3, c4, c5, c6 and" in many
