"""Curves: scikit-learn's areas, few points, and no crash where a class is lacking."""

import json

import numpy as np
import pytest
import sklearn.metrics

from tltool.errors import ShapeError
from tltool.evaluation.curves import LARGEST, trace_curves

NAMES = ("ant", "bee", "cat")


def made(count=300, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    exponents = np.exp(random.normal(size=(count, 3)) + 1.5 * np.eye(3)[labels])
    return exponents / exponents.sum(axis=1, keepdims=True), labels


def test_areas_are_those_of_scikit_learn():
    prob, labels = made()
    curves, hot = trace_curves(prob, labels, NAMES), np.eye(3)[labels]
    assert curves.roc_macro_area == pytest.approx(sklearn.metrics.roc_auc_score(hot, prob, average="macro"))
    assert curves.roc_micro.area == pytest.approx(sklearn.metrics.roc_auc_score(hot, prob, average="micro"))
    expected = sklearn.metrics.average_precision_score(hot, prob, average="macro")
    assert curves.precision_recall_macro_area == pytest.approx(expected)
    expected = sklearn.metrics.average_precision_score(hot, prob, average="micro")
    assert curves.precision_recall_micro.area == pytest.approx(expected)
    assert [curve.name for curve in curves.roc] == list(NAMES)
    assert curves.missing == ()


@pytest.mark.parametrize("skew", [0, 6])
def test_thinned_curves_have_few_points_and_nearly_the_area(skew):
    prob, labels = made(20_000)
    prob = prob ** (1 + skew)  # most of the negatives crowd at 0 then
    prob /= prob.sum(axis=1, keepdims=True)
    curves = trace_curves(prob, labels, NAMES)
    for curve in (*curves.roc, curves.roc_micro, *curves.precision_recall, curves.precision_recall_micro):
        assert len(curve.x) == len(curve.y) <= LARGEST
        assert (np.diff(curve.x) >= 0).all()
        assert np.trapezoid(curve.y, curve.x) == pytest.approx(curve.area, abs=0.005)
        assert (curve.x[0], curve.x[-1]) == (0, 1)


def test_a_multi_label_set_gives_a_curve_for_each_class():
    random = np.random.default_rng(1)
    targets = random.random((100, 3)) < 0.4
    prob = np.clip(0.5 * targets + random.random((100, 3)) / 2, 0, 1)
    curves = trace_curves(prob, targets.astype(int), NAMES)
    expected = [sklearn.metrics.roc_auc_score(targets[:, c], prob[:, c]) for c in range(3)]
    assert [curve.area for curve in curves.roc] == pytest.approx(expected)


def test_a_lacking_class_is_named_and_left_out():
    prob, labels = made()
    kept = labels != 1
    curves = trace_curves(prob[kept], labels[kept], NAMES)
    assert [curve.name for curve in curves.roc] == ["ant", "cat"]
    assert curves.missing == ("bee",)


def test_one_class_alone_has_no_roc_curve():
    prob, _ = made(5)
    curves = trace_curves(prob, np.zeros(5, int), NAMES)
    assert (curves.roc, curves.roc_micro, curves.roc_macro_area) == ((), None, None)
    assert [curve.name for curve in curves.precision_recall] == ["ant"]
    assert curves.missing == NAMES
    json.dumps(curves.to_json(), allow_nan=False)


def test_curves_are_json():
    curves = trace_curves(*made(40), NAMES)
    assert json.loads(json.dumps(curves.to_json(), allow_nan=False))["roc"][0]["area"] == curves.roc[0].area


def test_shapes_that_do_not_fit_are_refused():
    for labels, names in ((np.zeros(3, int), NAMES), (np.zeros(4, int), NAMES[:2]), (np.zeros((4, 2)), NAMES)):
        with pytest.raises(ShapeError, match="do not fit"):
            trace_curves(np.full((4, 3), 1 / 3), labels, names)
