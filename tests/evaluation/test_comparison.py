"""Two models on the same pictures: textbook p-values, intervals by the normal, and what is said of them."""

import json
from math import comb

import numpy as np
import pytest
from scipy.stats import norm

from tltool.errors import ShapeError
from tltool.evaluation.comparison import compare, mcnemar


def pair(first_right, second_right):
    """Probabilities of two classes by which each model is right, or not, on pictures of class 0."""
    sure = np.array([[0.2, 0.8], [0.8, 0.2]])
    return sure[np.array(first_right, int)], sure[np.array(second_right, int)], np.zeros(len(first_right), int)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 5), (9, 2), (12, 12), (0, 24)])
def test_few_differing_pictures_are_judged_exactly(first, second):
    total, fewer = first + second, min(first, second)
    expected = min(1.0, 2 * sum(comb(total, k) for k in range(fewer + 1)) / 2**total)
    assert mcnemar(first, second) == pytest.approx(expected)


@pytest.mark.parametrize(("first", "second"), [(5, 20), (30, 30), (100, 150)])
def test_many_differing_pictures_are_judged_by_chi_square(first, second):
    z = max(abs(first - second) - 1, 0) / np.sqrt(first + second)
    assert mcnemar(first, second) == pytest.approx(2 * norm.sf(z))
    assert mcnemar(first, second) == mcnemar(second, first)


def test_a_better_model_is_called_so():
    random = np.random.default_rng(0)
    result = compare(*pair(random.random(400) < 0.7, random.random(400) < 0.9), names=("small", "large"))
    gain = result.accuracies[1] - result.accuracies[0]
    assert result.accuracy_gain == pytest.approx(gain)
    assert result.accuracy_gain == pytest.approx((result.only_second - result.only_first) / 400)
    spread = np.sqrt((result.only_first + result.only_second) / 400 - gain**2) / 20
    expected = gain - 1.96 * spread, gain + 1.96 * spread
    assert result.accuracy_interval == pytest.approx(expected, abs=0.3 * spread)
    assert str(result).startswith(f"large is better by {100 * gain:.1f} points (95 % interval ")
    assert "large's log loss is lower by" in str(result)


def test_it_does_not_matter_which_comes_first():
    random = np.random.default_rng(1)
    first, second, labels = pair(random.random(300) < 0.9, random.random(300) < 0.7)
    one, other = compare(first, second, labels, ("a", "b")), compare(second, first, labels, ("b", "a"))
    assert one.p_value == other.p_value
    assert one.accuracy_gain == -other.accuracy_gain
    assert one.accuracy_interval == pytest.approx((-other.accuracy_interval[1], -other.accuracy_interval[0]))
    for result in (one, other):
        assert str(result).startswith("a is better by 2")
    low, high = other.accuracy_interval
    assert f"{100 * low:.1f} to {100 * high:.1f}" in str(one)  # of the one that is better, whichever that is


def test_two_that_hardly_differ_are_not_told_apart():
    right = np.arange(100) % 10 > 0
    other = right.copy()
    other[:3] = ~other[:3]
    result = compare(*pair(right, other))
    assert result.p_value == 1.0  # 1 against 2
    assert str(result).startswith("No evidence of a difference in accuracy: A and B reach 90.0% and 89.0%")
    assert "No evidence of a difference in log loss" in str(result)


def test_a_model_equals_itself():
    first, _, labels = pair([True, False, True], [True, True, True])
    result = compare(first, first, labels)
    assert (result.p_value, result.accuracy_gain, result.accuracy_interval, result.log_loss_gain) == (1, 0, (0, 0), 0)
    assert "No evidence" in str(result)


def test_equal_accuracy_but_better_probabilities():
    labels = np.zeros(200, int)
    timid, bold = np.tile([0.6, 0.4], (200, 1)), np.tile([0.9, 0.1], (200, 1))
    result = compare(timid, bold, labels)
    assert result.log_loss_gain == pytest.approx(np.log(0.9 / 0.6))
    assert "No evidence of a difference in accuracy" in str(result)
    assert "B's log loss is lower by 0.405" in str(result)


def test_multi_label_models_are_right_where_all_their_labels_are():
    targets = np.array([[1, 0], [1, 1], [0, 1]])
    first = np.array([[0.9, 0.1], [0.9, 0.4], [0.2, 0.9]])
    second = np.array([[0.35, 0.1], [0.9, 0.4], [0.2, 0.9]])
    result = compare(first, second, targets, thresholds=(0.5, 0.3))
    assert (result.only_first, result.only_second, result.accuracies) == (0, 1, (pytest.approx(2 / 3), 1.0))
    assert result.log_loss_gain == pytest.approx(np.log(0.35 / 0.9) / 6)
    assert compare(first, second, targets).only_first == 1  # 0.5 without thresholds


def test_a_comparison_is_json():
    result = compare(*pair([True, False], [True, True]))
    assert json.loads(json.dumps(result.to_json(), allow_nan=False))["only_second"] == 1


def test_models_with_other_classes_are_refused():
    with pytest.raises(ShapeError, match="same classes on the same pictures"):
        compare(np.full((4, 3), 1 / 3), np.full((4, 2), 0.5), np.zeros(4, int))
    with pytest.raises(ShapeError, match="labels of shape"):
        compare(np.full((4, 2), 0.5), np.full((4, 2), 0.5), np.zeros(3, int))
