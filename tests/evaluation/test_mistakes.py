import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, log_loss

from tltool.errors import ShapeError
from tltool.evaluation.mistakes import find_mistakes


def made(count: int = 200, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    logits = random.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels]
    prob = np.exp(logits)
    return prob / prob.sum(axis=1, keepdims=True), labels


def test_mistakes_against_scikit_learn():
    prob, labels = made()
    found = find_mistakes(prob, labels)
    assert found.losses.mean() == pytest.approx(log_loss(labels, prob))
    assert found.wrong.tolist() == (prob.argmax(axis=1) != labels).tolist()
    assert found.blamed.tolist() == prob.argmax(axis=1).tolist()
    assert found.losses[found.order].tolist() == sorted(found.losses, reverse=True)
    matrix = confusion_matrix(labels, prob.argmax(axis=1))
    np.fill_diagonal(matrix, 0)
    assert {(pair.truth, pair.answer): len(pair.positions) for pair in found.pairs} == {
        (truth, answer): matrix[truth, answer] for truth, answer in zip(*np.nonzero(matrix), strict=True)
    }
    counts = [len(pair.positions) for pair in found.pairs]
    assert counts == sorted(counts, reverse=True)
    for pair in found.pairs:
        assert all(labels[p] == pair.truth and prob[p].argmax() == pair.answer for p in pair.positions)
        assert pair.share == pytest.approx(len(pair.positions) / (labels == pair.truth).sum())
        assert found.losses[list(pair.positions)].tolist() == sorted(found.losses[list(pair.positions)], reverse=True)


def test_swapped_labels_are_suspected():
    random = np.random.default_rng(1)
    labels = random.integers(0, 3, 300)
    sure = random.uniform(0.8, 0.99, 300)
    prob = np.where(np.eye(3)[labels] == 1, sure[:, None], (1 - sure[:, None]) / 2)  # a model that is always right
    given = labels.copy()
    given[:6] = (given[:6] + 1) % 3
    found = find_mistakes(prob, given)
    assert set(found.suspected.tolist()) <= set(range(6))
    assert len(found.suspected) >= 2  # those of which it is surer than of most
    assert found.suggestion[:6].tolist() == labels[:6].tolist()


def test_several_labels():
    prob = np.array([[0.9, 0.2], [0.9, 0.9], [0.1, 0.05]])
    labels = np.array([[1, 0], [1, 0], [1, 0]])
    found = find_mistakes(prob, labels, 0.5)
    assert found.wrong.tolist() == [False, True, True]
    assert found.blamed.tolist() == [1, 1, 0]
    assert found.order.tolist() == [2, 1, 0] if found.losses[2] > found.losses[1] else [1, 2, 0]
    np.testing.assert_allclose(
        found.losses, [-np.log([0.9, 0.8]).mean(), -np.log([0.9, 0.1]).mean(), -np.log([0.1, 0.95]).mean()]
    )
    assert found.pairs == ()


def test_nothing_wrong():
    found = find_mistakes(np.eye(3), np.arange(3))
    assert not found.wrong.any()
    assert found.pairs == ()
    assert len(found.suspected) == 0


@pytest.mark.parametrize(("labels", "threshold"), [(np.zeros(3), None), (np.zeros(4), 0.5), (np.zeros((4, 3)), None)])
def test_shapes_that_do_not_fit(labels, threshold):
    with pytest.raises(ShapeError, match="do not fit"):
        find_mistakes(np.full((4, 3), 1 / 3), labels.astype(int), threshold)
