"""The linear head: the optimum that scikit-learn finds, however the features are scaled, rotated or degenerate."""

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from tltool.errors import ShapeError
from tltool.heads import logistic
from tltool.heads.logistic import (
    GRADIENT_TOLERANCE,
    LogisticProblem,
    _loss_and_gradient,
    all_right,
    log_loss,
    to_probabilities,
)

# (pictures, features, classes): more pictures than features, and few enough that features are rotated.
TALL, WIDE = (90, 12, 3), (40, 150, 3)
SHAPES = [TALL, WIDE, (80, 10, 2), (30, 100, 2), (150, 20, 10), (60, 200, 10)]


def made(pictures, features, classes, seed=0):
    """Overlapping classes whose features differ in scale and place by orders of magnitude."""
    random = np.random.default_rng(seed)
    labels = np.arange(pictures) % classes
    values = random.normal(size=(classes, features))[labels] + 2 * random.normal(size=(pictures, features))
    return values * 10 ** random.uniform(-2, 2, features) + random.normal(0, 5, features), labels


def objective(kernel, bias, features, labels, l2):
    logits = features @ kernel + bias
    cross_entropy = logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]
    return cross_entropy.mean() + l2 / 2 * (kernel**2).sum()


def solved_by_scikit_learn(features, labels, classes, l2):
    # It sums the cross-entropy over pictures. Of two classes it solves for the difference w of the two columns, whose
    # squared norm is twice that of the columns -w/2 and w/2.
    strength = len(labels) * l2 / (2 if classes == 2 else 1)
    model = LogisticRegression(C=1 / strength, tol=1e-9, max_iter=20_000).fit(features, labels)
    if classes == 2:
        return np.hstack([-model.coef_.T / 2, model.coef_.T / 2]), np.array([-0.5, 0.5]) * model.intercept_
    return model.coef_.T, model.intercept_


@pytest.mark.parametrize("l2", [1.0, 0.01])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_solution_is_that_of_scikit_learn(shape, l2):
    features, labels = made(*shape)
    problem = LogisticProblem(features, labels, shape[2])
    assert (problem.basis is not None) == (2 * shape[0] < shape[1])
    head = problem.fit(l2)
    mean, spread = features.mean(axis=0), features.std(axis=0)
    standard = (features - mean) / spread
    kernel, bias = head.kernel.astype(np.float64), head.bias.astype(np.float64)
    ours = objective(kernel * spread[:, None], bias + mean @ kernel, standard, labels, l2)
    theirs = objective(*solved_by_scikit_learn(standard, labels, shape[2], l2), standard, labels, l2)
    assert ours == pytest.approx(theirs, abs=1e-6)
    assert ours < objective(np.zeros_like(kernel), np.zeros_like(bias), standard, labels, l2) - 0.01
    assert head.l2 == l2


def test_the_gradient_is_that_of_the_loss():
    random = np.random.default_rng(1)
    features, labels = random.normal(size=(20, 5)), np.arange(20) % 4
    weights, targets = random.normal(size=6 * 4), np.eye(4)[labels]
    loss, gradient = _loss_and_gradient(weights, features, targets, 0.3)
    assert loss == pytest.approx(objective(weights[:-4].reshape(5, 4), weights[-4:], features, labels, 0.3), abs=1e-12)
    step = 1e-5
    differences = [
        _loss_and_gradient(weights + step * unit, features, targets, 0.3)[0]
        - _loss_and_gradient(weights - step * unit, features, targets, 0.3)[0]
        for unit in np.eye(len(weights))
    ]
    np.testing.assert_allclose(gradient, np.array(differences) / (2 * step), atol=1e-9)


@pytest.mark.parametrize("shape", [TALL, WIDE], ids=str)
def test_several_labels_are_learned_one_against_the_rest(shape):
    features, labels = made(*shape)
    targets = np.eye(3, dtype=int)[labels]
    targets[::4, 0] = 1  # pictures with two labels
    head = LogisticProblem(features, targets, 3).fit(0.03)
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    for column in range(3):
        model = LogisticRegression(C=1 / (len(labels) * 0.03), tol=1e-9, max_iter=20_000)
        theirs = model.fit(standard, targets[:, column]).decision_function(standard)
        np.testing.assert_allclose(head.logits(features)[:, column], theirs, atol=2e-3)


def test_the_gradient_of_several_labels_is_that_of_the_loss():
    random = np.random.default_rng(1)
    features, targets = random.normal(size=(20, 5)), random.integers(0, 2, (20, 4)).astype(float)
    weights = random.normal(size=6 * 4)
    loss, gradient = _loss_and_gradient(weights, features, targets, 0.3, True)
    kernel = weights[:-4].reshape(5, 4)
    prob = 1 / (1 + np.exp(-(features @ kernel + weights[-4:])))
    binary = -(targets * np.log(prob) + (1 - targets) * np.log(1 - prob))
    assert loss == pytest.approx(binary.sum(axis=1).mean() + 0.15 * (kernel**2).sum(), abs=1e-12)
    step = 1e-5
    differences = [
        _loss_and_gradient(weights + step * unit, features, targets, 0.3, True)[0]
        - _loss_and_gradient(weights - step * unit, features, targets, 0.3, True)[0]
        for unit in np.eye(len(weights))
    ]
    np.testing.assert_allclose(gradient, np.array(differences) / (2 * step), atol=1e-9)


@pytest.mark.parametrize("shape", [TALL, WIDE], ids=str)
def test_the_bias_is_free_and_the_gradient_vanishes(shape):
    features, labels = made(*shape)
    labels = np.where(labels == 2, 0, labels)  # uneven classes, so that the bias has work to do
    problem = LogisticProblem(features, labels, 2)
    (weights,) = problem.solve([1000.0])
    _, gradient = _loss_and_gradient(weights.ravel(), problem.inputs, np.eye(2)[labels], 1000.0)
    assert np.abs(gradient).max() <= GRADIENT_TOLERANCE
    # At such a strength only the bias is left: it gives the share of each class.
    share = np.exp(weights[-1]) / np.exp(weights[-1]).sum()
    np.testing.assert_allclose(share, np.bincount(labels) / len(labels), atol=1e-3)


def test_rotation_loses_nothing():
    features, labels = made(*WIDE)
    rotated = LogisticProblem(features, labels, 3)
    plain = LogisticProblem(features, labels, 3)
    plain.basis, plain.inputs = None, (features - plain.center) / plain.scale
    assert rotated.inputs.shape == (40, 40)
    assert plain.inputs.shape == (40, 150)
    for l2 in (1.0, 0.03):
        first, second = rotated.fit(l2), plain.fit(l2)
        size = np.abs(second.kernel * plain.scale[:, None]).max()
        np.testing.assert_allclose((first.kernel - second.kernel) * plain.scale[:, None] / size, 0, atol=1e-3)
        np.testing.assert_allclose(first.logits(features), second.logits(features), atol=1e-3)
    fitted, held_out = np.arange(30), np.arange(30, 40)
    paths = [list(problem.path_logits([1.0, 0.1], fitted, held_out, 1e-7)) for problem in (rotated, plain)]
    np.testing.assert_allclose(paths[0], paths[1], atol=1e-4)


@pytest.mark.parametrize("shape", [TALL, WIDE], ids=str)
def test_folding_standardization_into_the_head_changes_no_logit(shape):
    features, labels = made(*shape)
    problem = LogisticProblem(features, labels, shape[2])
    (weights,) = problem.solve([0.1])
    head = problem.fit(0.1)
    assert head.kernel.shape == (shape[1], shape[2])
    assert head.kernel.dtype == head.bias.dtype == np.float32
    np.testing.assert_allclose(head.logits(features), problem.inputs @ weights[:-1] + weights[-1], atol=1e-4)
    np.testing.assert_allclose(head.logits(features.astype(np.float32)), head.logits(features), atol=1e-3)


@pytest.mark.parametrize("shape", [TALL, WIDE], ids=str)
def test_constant_features_get_no_weight_and_do_no_harm(shape):
    features, labels = made(*shape)
    # 0.1 and 1e6 / 3 have means that rounding moves off the value.
    constant = np.tile([0.0, 0.1, -7.0, 1e6 / 3], (len(features), 1))
    padded = np.hstack([constant, features])
    head = LogisticProblem(padded, labels, shape[2]).fit(0.1)
    assert (head.kernel[:4] == 0).all()
    assert np.isfinite(head.kernel).all()
    assert np.isfinite(head.bias).all()
    without = LogisticProblem(features, labels, shape[2]).fit(0.1)
    np.testing.assert_allclose(head.logits(padded), without.logits(features), atol=1e-3)


def test_features_that_are_all_constant_leave_the_shares_of_the_classes():
    labels = np.array([0, 0, 0, 1])
    head = LogisticProblem(np.full((4, 3), 0.1), labels, 2).fit(0.1)
    assert (head.kernel == 0).all()
    assert np.exp(head.bias[0] - head.bias[1]) == pytest.approx(3, rel=1e-4)


@pytest.mark.parametrize("shape", [TALL, WIDE], ids=str)
def test_a_warm_started_path_ends_where_cold_starts_end(shape):
    features, labels = made(*shape)
    problem = LogisticProblem(features, labels, shape[2])
    strengths = [10.0, 1.0, 0.1, 0.01]
    targets = np.eye(shape[2])[labels]
    for l2, warm in zip(strengths, problem.solve(strengths), strict=True):
        (cold,) = problem.solve([l2])
        losses = [_loss_and_gradient(weights.ravel(), problem.inputs, targets, l2)[0] for weights in (warm, cold)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-8)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("shape", [TALL, WIDE], ids=str)
def test_a_start_in_float32_ends_at_the_same_optimum(monkeypatch, shape, multi_label):
    features, labels = made(*shape)
    targets = np.eye(shape[2])[labels]
    seen = []

    def recorded(flat, inputs, **arguments):
        seen.append(inputs.dtype)
        return _loss_and_gradient(flat, inputs, **arguments)

    monkeypatch.setattr(logistic, "_loss_and_gradient", recorded)
    problem = LogisticProblem(features, targets if multi_label else labels, shape[2])
    found = []
    for limit in (problem.inputs.size, problem.inputs.size - 1):
        monkeypatch.setattr(logistic, "FLOAT32_PAYS_ABOVE", limit)
        seen.clear()
        (weights,) = problem.solve([0.1])
        found.append(_loss_and_gradient(weights.ravel(), problem.inputs, targets, 0.1, multi_label))
        # All steps in float64, or a first part in float32 and the last, fewer, in float64.
        single = seen.count(np.dtype(np.float32))
        assert seen == [np.dtype(np.float32)] * single + [np.dtype(np.float64)] * (len(seen) - single)
        assert (single > len(seen) / 4) == (limit < problem.inputs.size)
        assert np.abs(found[-1][1]).max() <= GRADIENT_TOLERANCE
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-10)


def test_only_the_given_rows_are_fitted():
    features, labels = made(*TALL)
    problem = LogisticProblem(features, labels, 3)
    rows = np.arange(0, 90, 2)
    wrong = LogisticProblem(features, np.where(np.arange(90) % 2, 2 - labels, labels), 3)
    (ours,), (theirs,) = problem.solve([0.1], rows), wrong.solve([0.1], rows)
    np.testing.assert_array_equal(ours, theirs)
    (everything,) = wrong.solve([0.1])
    assert np.abs(everything - theirs).max() > 0.1


@pytest.mark.parametrize("shape", [TALL, WIDE], ids=str)
def test_two_fits_are_the_same_to_the_bit(shape):
    heads = [LogisticProblem(*made(*shape), shape[2]).fit(0.01) for _ in range(2)]
    assert heads[0].kernel.tobytes() == heads[1].kernel.tobytes()
    assert heads[0].bias.tobytes() == heads[1].bias.tobytes()


def test_lengths_that_differ_are_refused():
    with pytest.raises(ShapeError, match="5 feature vectors but 4 labels"):
        LogisticProblem(np.zeros((5, 3)), np.zeros(4, int), 2)
    with pytest.raises(ShapeError, match="3 columns for 2 classes"):
        LogisticProblem(np.zeros((5, 3)), np.zeros((5, 3), int), 2)


def test_log_loss_of_each_picture():
    logits = np.array([[0.0, np.log(3)], [0.0, np.log(3)], [1000.0, -1000.0]])
    np.testing.assert_allclose(log_loss(logits, np.array([0, 1, 1])), [np.log(4), np.log(4 / 3), 2000])


def test_log_loss_of_several_labels_is_summed():
    logits = np.array([[0.0, np.log(3)], [-1000.0, 1000.0]])
    np.testing.assert_allclose(log_loss(logits, np.array([[1, 0], [1, 1]])), [np.log(2) + np.log(4), 1000])


def test_a_picture_is_right_when_all_its_labels_are():
    logits = np.array([[2.0, 1.0], [-1.0, 3.0], [-1.0, -2.0]])
    assert all_right(logits, np.array([0, 0, 0])).tolist() == [True, False, True]
    assert all_right(logits, np.array([[1, 1], [0, 0], [0, 0]])).tolist() == [True, False, True]


def test_probabilities_sum_to_one_only_where_a_picture_has_one_label():
    logits = np.array([[0.0, np.log(3)]])
    np.testing.assert_allclose(to_probabilities(logits, multi_label=False), [[1 / 4, 3 / 4]])
    np.testing.assert_allclose(to_probabilities(logits, multi_label=True), [[1 / 2, 3 / 4]])


def test_a_head_that_is_divided_says_the_same_with_less_confidence():
    features, labels = made(*TALL)
    head = LogisticProblem(features, labels, 3).fit(0.1)
    np.testing.assert_allclose(head.divided(2.5).logits(features), head.logits(features) / 2.5, rtol=1e-4, atol=1e-5)
    assert head.divided(2.5).kernel.dtype == np.float32
