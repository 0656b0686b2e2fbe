"""The mean of weights: NumPy's own over all at once, in the types that they came in, and the same after a restart."""

import io

import numpy as np
import pytest

from tltool.errors import ShapeError
from tltool.training.weight_average import WeightAverage


def weights(count):
    random = np.random.default_rng(0)
    shapes = ((3, 4), (4,), ())
    return [[random.normal(5, 1, shape).astype(np.float32) for shape in shapes] for _ in range(count)]


def filled(given):
    average = WeightAverage()
    for each in given:
        average.update(each)
    return average


def test_it_is_the_mean_of_all():
    given = weights(7)
    found = filled(given).weights()
    for place, weight in enumerate(found):
        expected = np.mean([each[place].astype(np.float64) for each in given], axis=0).astype(np.float32)
        np.testing.assert_allclose(weight, expected, rtol=1e-7)
        assert weight.dtype == np.float32
        assert weight.shape == given[0][place].shape


def test_nothing_is_rounded_away_over_many_steps():
    """A float32 running mean of these stops moving: 1e-8 is below the spacing of its numbers at 1."""
    average = WeightAverage()
    for number in range(10_000):
        average.update([np.array([1 + (number % 2) * 2.0**-23], np.float32)])
    assert average.state()["mean/0"][0] == pytest.approx(1 + 2.0**-24, abs=1e-12)


def test_what_was_given_and_what_was_handed_out_may_change_later():
    given = weights(2)
    average = filled(given)
    before = average.weights()
    for weight in (*given[0], *average.weights()):
        weight[...] = 0
    for old, new in zip(before, average.weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_restart_changes_nothing():
    given = weights(6)
    file = io.BytesIO()
    np.savez(file, **filled(given[:4]).state())
    file.seek(0)
    restored = WeightAverage()
    with np.load(file, allow_pickle=False) as arrays:
        restored.restore(arrays)
    assert restored.count == 4
    whole = filled(given)
    for each in given[4:]:
        restored.update(each)
    for first, second in zip(restored.weights(), whole.weights(), strict=True):
        np.testing.assert_array_equal(first, second)
        assert first.dtype == second.dtype
    empty = WeightAverage()
    empty.restore(WeightAverage().state())
    assert empty.count == 0


def test_other_shapes_and_none_are_refused():
    average = filled(weights(1))
    with pytest.raises(ShapeError, match="another network"):
        average.update(weights(1)[0][:2])
    with pytest.raises(ShapeError, match="another network"):
        average.update([np.zeros((4, 3)), np.zeros(4), np.zeros(())])
    with pytest.raises(ShapeError, match="No weights"):
        WeightAverage().weights()
