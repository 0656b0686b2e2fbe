"""What a flip costs a head, class by class, and whether flipped pictures can be told from clean ones."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.linear_model import Ridge

from tltool.inspection.orientation import (
    TELLING_RIDGE,
    base_logits,
    class_changes,
    compare_orientation,
    share_lost,
    told_apart,
)


def test_the_share_is_the_ratio_of_the_means():
    known = np.array([1.0, 2.0, 1.5, 1.5])
    lost, error = share_lost(known * 0.3, known)
    assert lost == pytest.approx(0.3)
    assert error == pytest.approx(0)


def test_the_error_of_the_share_is_that_of_repeated_samples():
    """4,000 samples tell the spread to 1.1 %; the formula is of first order, so 5 % are allowed."""
    random = np.random.default_rng(0)
    known = random.normal(1.5, 0.8, (4000, 200))
    rise = 0.2 * known + random.normal(0.1, 0.7, known.shape)
    shares, errors = np.array([share_lost(*pair) for pair in zip(rise, known, strict=True)]).T
    assert np.mean(errors) == pytest.approx(shares.std(), rel=0.05)
    assert shares.mean() == pytest.approx(0.2 + 0.1 / 1.5, abs=0.01)


@pytest.mark.parametrize(
    "known",
    [np.array([1.0]), np.array([1.0, -1.0, 1.0, -1.0]), np.full(9, -0.5), np.array([3.0, 0.0, 0.0, -0.5])],
    ids=["one picture", "nothing", "less than nothing", "not beyond the noise"],
)
def test_a_head_that_knows_nothing_loses_no_share_of_it(known):
    assert share_lost(np.ones(len(known)), known) == (None, None)


def test_base_logits_are_the_frequencies():
    labels = np.repeat([0, 1, 3], [600, 300, 100])
    logits = base_logits(labels, 4)
    np.testing.assert_allclose(np.exp(logits)[[0, 1, 3]], [0.6, 0.3, 0.1], rtol=0.01)
    assert np.exp(logits)[2] < 0.001
    several = np.stack([np.arange(1000) < 700, np.arange(1000) < 20, np.ones(1000)], axis=1).astype(np.int64)
    share = 1 / (1 + np.exp(-base_logits(several, 3)))
    np.testing.assert_allclose(share, [0.7, 0.02, 1.0], atol=0.001)
    assert np.isfinite(base_logits(several, 3)).all()


def pairs(known, count=80, width=30, seed=0):
    """Features of pictures and of the same pictures flipped: of a share `known` the flip shows in one direction."""
    random = np.random.default_rng(seed)
    clean = random.normal(size=(count, width))
    flipped = clean + random.normal(0, 0.3, clean.shape)
    flipped[: round(known * count)] += 1.5 * np.eye(width)[3]
    order = random.permutation(count)
    return clean[order], flipped[order], np.array_split(np.arange(count), 4)


@pytest.mark.parametrize("width", [30, 300], ids=["fewer features than pairs", "more features than pairs"])
def test_pairs_are_told_apart_as_by_scikit_learn(width):
    clean, flipped, held = pairs(0.6, width=width)
    difference = (flipped - clean) / np.concatenate([clean, flipped]).std(axis=0)
    found = []
    for places in held:
        learned = np.delete(difference, places, axis=0)
        ridge = TELLING_RIDGE * (learned**2).sum(axis=1).mean()
        head = Ridge(ridge, fit_intercept=False).fit(learned, np.ones(len(learned)))
        found.append(head.predict(difference[places]) > 0)
    assert told_apart(clean, flipped, held) == np.concatenate(found).mean()
    assert 0.6 < np.concatenate(found).mean() < 0.95


def test_a_flip_that_always_shows_is_always_told_and_one_that_never_does_is_guessed():
    assert told_apart(*pairs(1.0)) > 0.97
    clean, _, held = pairs(0.0, count=400)
    assert told_apart(clean, clean, held) == 0.5
    # The noise has no direction: 400 guesses have a standard error of 0.025, and three of them are allowed.
    noise = clean + np.random.default_rng(1).normal(0, 0.3, clean.shape)
    assert told_apart(clean, noise, held) == pytest.approx(0.5, abs=0.075)


def test_what_was_learned_from_is_not_asked():
    """Every pair differs in a direction of its own: a head knows those that it learned, and no other."""
    clean = np.zeros((40, 40))
    assert told_apart(clean, np.eye(40), np.array_split(np.arange(40), 4)) <= 0.5
    assert told_apart(clean, np.ones((40, 40)), np.array_split(np.arange(40), 4)) == 1.0


def test_a_feature_that_never_moves_says_nothing():
    """Its rounding, always of one sign, would otherwise be the best of witnesses."""
    clean, flipped, held = pairs(0.0)
    constant = np.full((80, 1), 3.0)
    expected = told_apart(clean, flipped, held)
    assert told_apart(np.hstack([clean, constant]), np.hstack([flipped, constant + 1e-9]), held) == expected < 0.75


def test_pictures_that_are_never_held_out_or_all_at_once_are_guessed():
    clean, flipped, _ = pairs(1.0)
    assert told_apart(clean, flipped, [np.arange(80)]) == 0.5
    assert told_apart(clean, flipped, []) == 0.5
    assert told_apart(clean, flipped, [np.arange(40), np.array([], np.int64)]) > 0.7


def logits_of(answers, classes):
    return np.eye(classes)[answers] * 3.0


def test_classes_are_counted_one_by_one():
    labels = np.repeat([0, 1, 3], [8, 10, 5])
    clean, flipped = labels.copy(), labels.copy()
    flipped[:7] = 1  # seven of eight are taken for others
    flipped[7], clean[7] = 0, 2  # and one is only found now
    flipped[8:10] = 0
    changes = class_changes(logits_of(clean, 4), logits_of(flipped, 4), labels, ["a", "b", "c", "d"])
    assert list(changes) == ["a", "b", "d"]
    assert [change.pictures for change in changes.values()] == [8, 10, 5]
    assert (changes["a"].recall, changes["a"].flipped_recall) == (7 / 8, 1 / 8)
    assert (changes["b"].recall, changes["b"].flipped_recall) == (1.0, 0.8)
    assert (changes["d"].recall, changes["d"].flipped_recall, changes["d"].chance) == (1.0, 1.0, 1.0)
    assert changes["a"].chance == pytest.approx(binomtest(7, 8, alternative="greater").pvalue)
    assert changes["b"].chance == pytest.approx(0.25)


def test_a_class_of_a_multi_label_set_is_found_by_its_own_logit():
    labels = np.array([[1, 1], [1, 0], [1, 1], [0, 1]])
    clean = np.where(labels == 1, 2.0, -2.0)
    flipped = clean.copy()
    flipped[:2, 0] = -1.0
    flipped[3, 0] = 5.0  # a picture that is not of the class
    changes = class_changes(clean, flipped, labels, ["dog", "lead"])
    assert (changes["dog"].pictures, changes["dog"].recall, changes["dog"].flipped_recall) == (3, 1.0, 1 / 3)
    assert changes["dog"].chance == 0.25
    assert (changes["lead"].pictures, changes["lead"].flipped_recall) == (3, 1.0)


def test_the_parts_are_put_together():
    clean, flipped, held = pairs(1.0, count=40)
    labels = np.arange(40) % 2
    answers, wrong = logits_of(labels, 2), logits_of(np.where(np.arange(40) < 10, 1 - labels, labels), 2)
    found = compare_orientation(clean, flipped, answers, wrong, labels, ["a", "b"], np.log([0.5, 0.5]), held)
    known = np.log(2) - np.log1p(np.exp(-3))
    assert found.lost == pytest.approx(10 * 3 / 40 / known)
    assert found.error == pytest.approx(np.std([3.0] * 10 + [0.0] * 30, ddof=1) / np.sqrt(40) / known)
    assert found.told_apart == told_apart(clean, flipped, held)
    assert [change.flipped_recall for change in found.classes.values()] == [0.75, 0.75]
