"""Scores against scikit-learn, SciPy and plain loops."""

import json

import numpy as np
import pytest
import sklearn.metrics
from scipy.stats import binomtest

from tltool.errors import ShapeError
from tltool.evaluation.metrics import Metrics, expected_calibration_error, score, wilson_interval


def guesses(pictures=200, classes=4, seed=0, occurring=None):
    """Probabilities of a classifier that is somewhat better than chance, and labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, occurring or classes, pictures)
    logits = 2 * random.normal(size=(pictures, classes)) + 1.5 * np.eye(classes)[labels]
    exponents = np.exp(logits)
    return (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32), labels


def names(classes):
    return tuple(f"class {index}" for index in range(classes))


@pytest.mark.parametrize(("classes", "occurring"), [(2, 2), (4, 4), (10, 10), (4, 2), (3, 1)])
def test_scores_are_those_of_scikit_learn(classes, occurring):
    prob, labels = guesses(120, classes, occurring=occurring)
    metrics = score(prob, labels, names(classes))
    predicted = prob.argmax(axis=1)
    everything = list(range(classes))
    normalized = prob.astype(np.float64) / prob.astype(np.float64).sum(axis=1, keepdims=True)
    assert metrics.pictures == 120
    assert metrics.top1 == pytest.approx(sklearn.metrics.accuracy_score(labels, predicted))
    assert metrics.log_loss == pytest.approx(sklearn.metrics.log_loss(labels, normalized, labels=everything))
    recalls = [np.mean(predicted[labels == label] == label) for label in np.unique(labels)]
    assert metrics.balanced_accuracy == pytest.approx(np.mean(recalls))
    if occurring == classes:
        assert metrics.balanced_accuracy == pytest.approx(sklearn.metrics.balanced_accuracy_score(labels, predicted))
    expected = [[int(np.sum((labels == row) & (predicted == column))) for column in everything] for row in everything]
    assert [list(row) for row in metrics.confusion] == expected


def test_log_loss_is_the_mean_surprise():
    prob = np.array([[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]])
    assert score(prob, np.array([0, 1, 1]), names(2)).log_loss == pytest.approx(
        -(np.log(0.5) + np.log(0.75) + np.log(0.1)) / 3
    )


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_true_class_with_probability_zero_costs_much_but_not_infinitely(kind):
    prob = np.array([[1, 0], [1, 0], [0, 1]], kind)
    metrics = score(prob, np.array([0, 1, 1]), names(2))
    assert 4 < metrics.log_loss < 100
    assert metrics.top1 == pytest.approx(2 / 3)


def test_rows_of_float32_that_do_not_sum_to_one_exactly_are_no_warning():
    prob = np.full((50, 3), 1 / 3, np.float32) * np.float32(1 + 3e-7)
    assert score(prob, np.arange(50) % 3, names(3)).log_loss == pytest.approx(np.log(3), abs=1e-6)


@pytest.mark.parametrize(("hits", "count"), [(0, 1), (1, 1), (0, 20), (20, 20), (7, 20), (500, 1000), (999, 1000)])
def test_the_interval_is_that_of_wilson(hits, count):
    expected = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert wilson_interval(hits, count) == pytest.approx((expected.low, expected.high), abs=1e-6)
    low, high = wilson_interval(hits, count)
    assert 0 <= low <= hits / count <= high <= 1


def test_the_interval_in_the_scores_is_that_of_the_hits():
    prob, labels = guesses(80)
    metrics = score(prob, labels, names(4))
    assert metrics.top1_interval == wilson_interval(round(metrics.top1 * 80), 80)


def calibration_error_by_hand(prob, labels, bins):
    total = 0.0
    for index in range(bins):
        inside = [
            (max(row), int(np.argmax(row)) == label)
            for row, label in zip(prob.astype(float).tolist(), labels.tolist(), strict=True)
            if index / bins < max(row) <= (index + 1) / bins
        ]
        if inside:
            confidence, correct = (sum(values) / len(inside) for values in zip(*inside, strict=True))
            total += len(inside) / len(labels) * abs(correct - confidence)
    return total


@pytest.mark.parametrize("bins", [1, 5, 15])
@pytest.mark.parametrize("classes", [2, 6])
def test_calibration_error_is_that_of_a_plain_loop(bins, classes):
    prob, labels = guesses(300, classes, seed=bins)
    found = expected_calibration_error(prob, labels, bins)
    assert found == pytest.approx(calibration_error_by_hand(prob, labels, bins), abs=1e-9)
    assert found > 0.01  # the example is not calibrated, so that 0 would not pass


def test_calibration_error_of_known_cases():
    certain = np.array([[1.0, 0.0]] * 4)
    assert expected_calibration_error(certain, np.zeros(4, int)) == 0
    assert expected_calibration_error(certain, np.ones(4, int)) == 1
    three_of_four = np.array([[0.75, 0.25]] * 4)
    assert expected_calibration_error(three_of_four, np.array([0, 0, 0, 1])) == pytest.approx(0)
    # A bin holds its upper end: a half belongs to the lower of two.
    halves = np.array([[0.5, 0.5], [0.75, 0.25]])
    assert expected_calibration_error(halves, np.array([1, 0]), bins=2) == pytest.approx((0.5 + 0.25) / 2)
    # Over- and underconfidence in different bins do not cancel.
    mixed = np.array([[0.9, 0.1]] * 2 + [[0.6, 0.4]] * 2)
    assert expected_calibration_error(mixed, np.array([0, 1, 0, 0])) == pytest.approx((0.4 + 0.4) / 2)


@pytest.mark.parametrize(
    ("prob", "labels", "classes"),
    [
        (np.full((3, 2), 0.5), np.zeros(2, int), 2),
        (np.full((3, 2), 0.5), np.zeros(3, int), 3),
        (np.full(3, 0.5), np.zeros(3, int), 2),
    ],
)
def test_shapes_that_do_not_fit_are_refused(prob, labels, classes):
    with pytest.raises(ShapeError, match="do not fit"):
        score(prob, labels, names(classes))


def test_scores_survive_json():
    metrics = score(*guesses(60), names(4))
    text = json.dumps(metrics.to_json())
    assert Metrics.from_json(json.loads(text)) == metrics
    # A run's metrics.json holds more than these.
    assert Metrics.from_json(json.loads(text) | {"recipe": "linear-probe", "seconds": 3.0}) == metrics


def test_scores_in_words():
    metrics = score(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]]), np.array([0, 1, 1, 1]), names(2))
    assert str(metrics) == (
        "top-1 75.0% (95 % interval 30.1% to 95.4%), balanced accuracy 83.3%, log loss 0.400, "
        "calibration error 0.300, on 4 held-out pictures"
    )


@pytest.mark.parametrize(("classes", "occurring"), [(2, 2), (4, 4), (10, 10), (4, 2), (3, 1)])
def test_scores_by_class_are_those_of_scikit_learn(classes, occurring):
    prob, labels = guesses(120, classes, occurring=occurring)
    metrics = score(prob, labels, names(classes))
    predicted = prob.argmax(axis=1)
    precision, recall, f1, support = sklearn.metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(classes), zero_division=np.nan
    )
    assert metrics.support == tuple(support)
    for c in range(classes):
        assert metrics.precision[c] == (None if np.isnan(precision[c]) else pytest.approx(precision[c]))
        assert metrics.recall[c] == (pytest.approx(recall[c]) if support[c] else None)
        assert metrics.f1[c] == (pytest.approx(f1[c]) if support[c] else None)
        assert metrics.recall_interval[c] == (wilson_interval(int((predicted[labels == c] == c).sum()), support[c])
                                              if support[c] else None)  # fmt: skip
    assert metrics.macro_f1 == pytest.approx(np.mean(f1[support > 0]))


@pytest.mark.parametrize(("classes", "k"), [(2, None), (3, 2), (6, 5), (10, 5)])
def test_top_k_is_that_of_scikit_learn(classes, k):
    prob, labels = guesses(150, classes)
    metrics = score(prob, labels, names(classes))
    assert metrics.k == k
    if k is None:
        assert (metrics.top_k, metrics.top_k_interval) == (None, None)
    else:
        expected = sklearn.metrics.top_k_accuracy_score(labels, prob, k=k, labels=range(classes))
        assert metrics.top_k == pytest.approx(expected)
        assert metrics.top_k_interval == wilson_interval(round(expected * 150), 150)
        assert metrics.top1 < metrics.top_k < 1


def test_equal_probabilities_count_as_they_do_for_top_1():
    metrics = score(np.full((8, 4), 0.25), np.arange(8) % 4, names(4))
    assert metrics.top1 == 0.25  # argmax takes the first
    assert metrics.top_k == 0.75  # so the first three of four


def test_brier_is_the_squared_distance_from_the_truth():
    prob, labels = guesses(90, 5)
    expected = np.mean([((row - np.eye(5)[label]) ** 2).sum() for row, label in zip(prob, labels, strict=True)])
    assert score(prob, labels, names(5)).brier == pytest.approx(expected, abs=1e-6)
    two, binary = guesses(90, 2)
    halved = sklearn.metrics.brier_score_loss(binary, two[:, 1].astype(float))
    assert score(two, binary, names(2)).brier == pytest.approx(2 * halved, abs=1e-6)


def test_intervals_are_those_of_a_plain_bootstrap():
    prob, labels = guesses(100, 3)
    metrics = score(prob, labels, names(3))
    random = np.random.default_rng(7)
    drawn = {"log_loss": [], "brier": [], "balanced_accuracy": [], "macro_f1": [], "expected_calibration_error": []}
    for _ in range(400):
        rows = random.integers(100, size=100)
        predicted = prob[rows].argmax(axis=1)
        drawn["log_loss"].append(-np.log(prob[rows, labels[rows]]).mean())
        drawn["brier"].append(((prob[rows] - np.eye(3)[labels[rows]]) ** 2).sum(axis=1).mean())
        drawn["balanced_accuracy"].append(sklearn.metrics.balanced_accuracy_score(labels[rows], predicted))
        drawn["macro_f1"].append(sklearn.metrics.f1_score(labels[rows], predicted, average="macro"))
        drawn["expected_calibration_error"].append(expected_calibration_error(prob[rows], labels[rows]))
    for name, values in drawn.items():
        low, high = np.quantile(values, [0.025, 0.975])
        if name == "expected_calibration_error":
            low, high = 2 * metrics.expected_calibration_error - high, 2 * metrics.expected_calibration_error - low
        found = getattr(metrics, f"{name}_interval")
        assert found == pytest.approx((low, high), abs=0.2 * (high - low)), name
        assert found[0] <= getattr(metrics, name) <= found[1]


def test_the_same_seed_gives_the_same_intervals():
    prob, labels = guesses(50)
    assert score(prob, labels, names(4)) == score(prob, labels, names(4))
    assert score(prob, labels, names(4), seed=1).brier_interval != score(prob, labels, names(4)).brier_interval


@pytest.mark.parametrize("labels", [[2], [2, 2, 2], [0, 1, 1]])
def test_few_pictures_and_lacking_classes_give_numbers_that_json_holds(labels):
    prob, _ = guesses(len(labels))
    metrics = score(prob, np.array(labels), names(4))
    assert Metrics.from_json(json.loads(json.dumps(metrics.to_json(), allow_nan=False))) == metrics
    (warning,) = metrics.warnings
    assert ("no class but 'class 2'" in warning) == (len(set(labels)) == 1)


def test_a_test_set_with_all_classes_is_no_warning():
    assert score(*guesses(60), names(4)).warnings == ()


def test_a_classifier_of_one_class_can_be_scored():
    metrics = score(np.ones((3, 1)), np.zeros(3, int), names(1))
    assert (metrics.top1, metrics.macro_f1, metrics.k, metrics.log_loss) == (1, 1, None, 0)


def test_scores_of_earlier_versions_can_be_read():
    metrics = score(*guesses(60), names(4))
    first = (
        "pictures", "top1", "top1_interval", "balanced_accuracy", "log_loss", "expected_calibration_error",
        "class_names", "confusion",
    )  # fmt: skip
    read = Metrics.from_json({name: json.loads(json.dumps(metrics.to_json()))[name] for name in first})
    assert (read.top1, read.confusion, str(read)) == (metrics.top1, metrics.confusion, str(metrics))
    assert (read.macro_f1, read.brier_interval, read.recall) == (None, None, ())
    assert read.warnings == ()
