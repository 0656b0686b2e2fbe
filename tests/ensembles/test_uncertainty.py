"""Disagreement, entropies and mutual information: counted pair by pair, SciPy's entropies, and closed forms."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score

from tltool.ensembles.uncertainty import uncertainty
from tltool.errors import ShapeError


def drawn(members, pictures, classes, multi_label=False, seed=0):
    random = np.random.default_rng(seed)
    if multi_label:
        return random.uniform(size=(members, pictures, classes))
    return random.dirichlet(np.full(classes, 0.4), size=(members, pictures))


@pytest.mark.parametrize("members", [1, 2, 5])
def test_disagreement_is_the_share_of_pairs(members):
    prob = drawn(members, 40, 4)
    found = uncertainty(prob).disagreement
    pairs = list(combinations(prob.argmax(axis=2), 2))
    expected = np.mean([a != b for a, b in pairs], axis=0) if pairs else np.zeros(40)
    np.testing.assert_allclose(found, expected)
    assert members == 1 or 0 < found.mean() < 1


def test_several_labels_disagree_where_any_answer_does():
    prob = drawn(3, 50, 4, multi_label=True)
    answers = prob >= 0.3
    expected = [
        np.mean([tuple(answers[a, n]) != tuple(answers[b, n]) for a, b in combinations(range(3), 2)]) for n in range(50)
    ]
    np.testing.assert_allclose(uncertainty(prob, threshold=0.3).disagreement, expected)


def test_entropies_are_those_of_scipy():
    prob = drawn(4, 30, 6)
    found = uncertainty(prob)
    np.testing.assert_allclose(found.entropy, entropy(prob.mean(axis=0), axis=1))
    np.testing.assert_allclose(found.expected_entropy, entropy(prob, axis=2).mean(axis=0))


def test_entropies_of_several_labels_are_summed_over_the_decisions():
    prob = drawn(4, 30, 3, multi_label=True)
    found = uncertainty(prob, threshold=0.5)
    both = np.stack([prob, 1 - prob])
    np.testing.assert_allclose(found.entropy, entropy(both.mean(axis=1)).sum(axis=1))
    np.testing.assert_allclose(found.expected_entropy, entropy(both).sum(axis=2).mean(axis=0))
    assert (found.mutual_information >= 0).all()


def test_information_is_that_between_member_and_answer():
    """Members drawn evenly and answers drawn from them: scikit-learn's mutual information of the joint counts."""
    counts = np.array([[[7, 2, 1]], [[1, 8, 1]], [[0, 5, 5]], [[10, 0, 0]]])
    member, answer = [], []
    for number, row in enumerate(counts[:, 0]):
        member += [number] * int(row.sum())
        answer += [label for label, count in enumerate(row) for _ in range(count)]
    found = uncertainty(counts / counts.sum(axis=2, keepdims=True)).mutual_information
    np.testing.assert_allclose(found, [mutual_info_score(member, answer)])


def test_members_that_are_sure_of_different_classes_and_members_that_all_shrug():
    """log 3 of uncertainty in both, that other members would settle in the first alone."""
    sure, shrug = np.eye(3)[:, None], np.full((3, 1, 3), 1 / 3)
    found = uncertainty(np.concatenate([sure, shrug], axis=1))
    np.testing.assert_allclose(found.entropy, [np.log(3), np.log(3)])
    np.testing.assert_allclose(found.expected_entropy, [0, np.log(3)], atol=1e-12)
    np.testing.assert_allclose(found.mutual_information, [np.log(3), 0], atol=1e-12)
    np.testing.assert_allclose(found.disagreement, [1, 0])


def test_float32_of_equal_members_never_goes_below_nothing():
    prob = np.repeat(drawn(1, 500, 7).astype(np.float32), 3, axis=0)
    found = uncertainty(prob)
    assert (found.mutual_information >= 0).all()
    np.testing.assert_allclose(found.mutual_information, 0, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 4), (0, 5, 2)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ShapeError, match="members, pictures, classes"):
        uncertainty(np.zeros(shape))
