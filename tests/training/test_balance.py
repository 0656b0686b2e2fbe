"""Class balance: what is decided, how pictures are weighed and drawn, and the scores against scikit-learn's."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.utils.class_weight import compute_sample_weight

from tltool.errors import RecipeError
from tltool.training.balance import balanced_order, judge_balance, picture_weights, score

COUNTS = (90, 7, 3)
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(3), COUNTS))


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        ((40, 40), "none"),
        ((60, 20 + 1), "none"),
        ((60, 20), "weights"),
        ((60, 60, 20), "weights"),
        ((60, 0, 30), "none"),  # a class that has pictures only in other parts
        ((60, 0, 1), "weights"),
    ],
)
def test_the_counts_decide(counts, found):
    decided, sentence = judge_balance("auto", np.array(counts, np.float32), multi_label=False)
    assert decided == found
    if found == "none":
        assert sentence == ""
    else:
        assert f"The largest class has 60 training pictures, the smallest {min(filter(None, counts))}:" in sentence


@pytest.mark.parametrize("counts", [(40, 40), (60, 1)])
@pytest.mark.parametrize("asked", ["none", "weights", "sampling"])
def test_what_is_asked_for_is_done_whatever_the_counts(asked, counts):
    assert judge_balance(asked, np.array(counts), multi_label=False) == (asked, "")


def test_pictures_of_several_classes_cannot_be_balanced():
    counts = np.array([90, 2])
    assert judge_balance("auto", counts, multi_label=True) == ("none", "")
    assert judge_balance("none", counts, multi_label=True) == ("none", "")
    for asked in ("weights", "sampling"):
        with pytest.raises(
            RecipeError, match=f'balance = "{asked}": pictures here have several classes.* Write "none"'
        ):
            judge_balance(asked, counts, multi_label=True)


def test_weights_go_half_way_to_all_classes_counting_the_same():
    weights = picture_weights(LABELS, 3)
    assert weights.dtype == np.float32
    assert weights.mean() == pytest.approx(1.0)
    whole = compute_sample_weight("balanced", LABELS)
    np.testing.assert_allclose((weights / weights[0]) ** 2, whole / whole[0], rtol=1e-5)


def test_a_class_without_pictures_takes_no_weight_from_the_others():
    labels = np.array([0, 0, 0, 0, 3])
    np.testing.assert_allclose(picture_weights(labels, 5), np.array([1, 1, 1, 1, 2]) / 1.2, rtol=1e-6)


@pytest.mark.parametrize("counts", [COUNTS, (5, 5, 5), (0, 1, 40), (2, 9), (1, 1, 1, 50, 2)])
def test_an_epoch_has_every_class_equally_often_and_within_it_every_picture(counts):
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    order = balanced_order(labels, np.random.default_rng(2))
    assert len(order) == len(labels)
    drawn = np.bincount(labels[order], minlength=len(counts))[np.array(counts) > 0]
    assert drawn.max() - drawn.min() <= 1
    times = np.bincount(order, minlength=len(labels))
    for label in set(labels):
        of_class = times[labels == label]
        assert of_class.max() - of_class.min() <= 1


def test_the_order_is_the_generators_and_each_epoch_has_another():
    first, again, other = (balanced_order(LABELS, np.random.default_rng((0, epoch))) for epoch in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert set(first) != set(other)  # of the common class, others come


def test_all_pictures_come_in_time_and_no_class_is_always_the_one_that_comes_once_more():
    drawn = [balanced_order(LABELS, np.random.default_rng((0, epoch))) for epoch in range(20)]
    assert set(np.concatenate(drawn)) == set(range(len(LABELS)))
    largest = [np.bincount(LABELS[order]).argmax() for order in drawn]
    assert set(largest) == {0, 1, 2}


def test_classes_are_mixed_along_the_epoch():
    halves = np.split(LABELS[balanced_order(LABELS, np.random.default_rng(3))], 2)
    for half in halves:
        assert np.bincount(half, minlength=3).min() >= 8  # of 16 or 17


def some_logits(pictures=80, classes=4, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(0, 2, (pictures, classes)), random


def test_the_scores_of_single_classes_are_those_of_scikit_learn():
    logits, random = some_logits()
    labels = random.choice(3, size=80, p=[0.8, 0.15, 0.05])  # the last class has no picture
    expected = sklearn_log_loss(labels, softmax(logits, axis=1), labels=range(4))
    assert score(logits, labels, "log_loss") == pytest.approx(expected)
    logits[:, 3] -= 20.0  # scikit-learn warns of a predicted class that is not there
    expected = 1 - balanced_accuracy_score(labels, logits.argmax(axis=1))
    assert score(logits, labels, "balanced_accuracy") == pytest.approx(expected)


def test_the_scores_of_several_classes_a_picture_are_those_of_scikit_learn():
    logits, random = some_logits()
    labels = (random.random((80, 4)) < [0.5, 0.15, 0.9, 0.08]).astype(np.int64)
    prob = expit(logits)
    terms = [sklearn_log_loss(labels[:, label], prob[:, label], labels=[0, 1]) for label in range(4)]
    assert score(logits, labels, "log_loss") == pytest.approx(sum(terms))
    recalls = [balanced_accuracy_score(labels[:, label], prob[:, label] > 0.5) for label in range(4)]
    assert score(logits, labels, "balanced_accuracy") == pytest.approx(1 - np.mean(recalls))


def test_of_a_class_that_no_picture_has_only_the_other_answer_counts():
    logits = np.array([[1.0, -1.0], [1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    labels = np.array([[1, 0], [1, 0], [1, 0], [1, 0]])
    assert score(logits, labels, "balanced_accuracy") == pytest.approx(1 - (3 / 4 + 3 / 4) / 2)


@pytest.mark.parametrize("choose_by", ["log_loss", "balanced_accuracy"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_network_whose_logits_are_no_numbers_is_never_the_best(choose_by, wrong):
    logits, random = some_logits()
    labels = random.integers(4, size=80)
    assert np.isfinite(score(logits, labels, choose_by))
    logits[3, 2] = wrong
    assert score(logits, labels, choose_by) == np.inf
