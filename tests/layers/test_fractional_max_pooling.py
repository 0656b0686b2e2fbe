"""Fractional max pooling against exact fractions, pooling by loops, and how often each cutting must come."""

import json
import logging
import math
from collections import Counter
from fractions import Fraction
from itertools import pairwise, product

import keras
import numpy as np
import pytest
from scipy.stats import chisquare

from tests.layers.contract import pictures, value
from tltool.errors import RegularizerError
from tltool.features.engine import load_engine
from tltool.layers.fractional_max_pooling import (
    FIXED_U,
    FractionalMaxPooling2D,
    fixed_fractional_pool,
    fractional_regions,
    pooled_size,
)

ROOT_2 = math.sqrt(2)


def pooled_by_loops(x: np.ndarray, ratios, overlapping: bool) -> np.ndarray:
    rows = fractional_regions(x.shape[1], ratios[0], FIXED_U, overlapping)
    columns = fractional_regions(x.shape[2], ratios[1], FIXED_U, overlapping)
    out = np.empty((len(x), len(rows), len(columns), x.shape[3]), x.dtype)
    for (i, (top, bottom)), (j, (left, right)) in product(enumerate(rows), enumerate(columns)):
        out[:, i, j] = x[:, top:bottom, left:right].max(axis=(1, 2))
    return out


def cut(layer: FractionalMaxPooling2D, size: int) -> tuple[tuple[int, int], ...]:
    """The regions of one training call, read off a map of its row numbers and their opposites."""
    rows = np.arange(size, dtype="float32")
    out = value(layer(np.stack([rows, -rows], axis=-1)[None, :, None], training=True))[0, :, 0]
    return tuple((int(-opposite), int(last) + 1) for last, opposite in out)


@pytest.mark.parametrize("overlapping", [True, False])
@pytest.mark.parametrize("ratio", [1.05, 1.2, ROOT_2, 1.5, 1.75, 2.0])
def test_regions_go_by_ones_and_twos_from_end_to_end(ratio: float, overlapping: bool):
    for size, u in product(range(2, 41), (0.0, 0.01, 0.3, 0.5, 0.99, 1.0)):
        regions = fractional_regions(size, ratio, u, overlapping)
        count = max(1, math.floor(size / ratio + 1e-9))
        count -= count == size  # 2 at most halves, and never stays
        assert regions.shape == (count, 2) == (pooled_size(size, ratio), 2)
        assert regions[0, 0] == 0
        assert set(np.diff(regions[:, 0])) <= {1, 2}
        if overlapping:
            np.testing.assert_array_equal(regions[1:, 0], regions[:-1, 1] - 1)
            assert regions[-1, 1] == size
            assert set(regions[:, 1] - regions[:, 0]) <= {2, 3}
        else:
            np.testing.assert_array_equal(regions[1:, 0], regions[:-1, 1])
            assert regions[-1, 1] == min(size, 2 * count)
            assert set(regions[:, 1] - regions[:, 0]) <= {1, 2}


@pytest.mark.parametrize("ratio", [1.1, ROOT_2, 1.6, 2.0])
def test_regions_are_those_of_the_formula_in_exact_fractions(ratio: float):
    for size, tenth in product((3, 7, 14, 29, 112), (1, 3, 5, 9)):
        u = Fraction(tenth, 16)  # exact in binary too
        regions = fractional_regions(size, ratio, float(u))
        alpha = Fraction(size - 1, len(regions))
        expected = [math.ceil(alpha * (i + u)) - math.ceil(alpha * u) for i in range(len(regions) + 1)]
        assert regions[:, 0].tolist() == expected[:-1]
        assert (regions[:, 1] - 1).tolist() == expected[1:]


def test_regions_of_seven_units_by_the_square_root_of_two():
    # By hand: alpha = 6 / 4, ceil(1.5 (i + 0.5)) = 1, 3, 4, 6, 7.
    assert fractional_regions(7, ROOT_2, 0.5).tolist() == [[0, 3], [2, 4], [3, 6], [5, 7]]
    assert fractional_regions(1, ROOT_2, 0.5).tolist() == [[0, 1]]


@pytest.mark.parametrize("overlapping", [True, False])
@pytest.mark.parametrize(("shape", "ratios"), [((7, 7), (ROOT_2, ROOT_2)), ((11, 6), (1.2, 1.9)), ((1, 5), (1.5, 1.5))])
def test_the_fixed_pooling_takes_the_largest_of_each_region(shape, ratios, overlapping: bool):
    x = pictures((*shape, 3)) - 1  # of both signs
    expected = pooled_by_loops(x, ratios, overlapping)
    np.testing.assert_array_equal(value(fixed_fractional_pool(x, ratios, overlapping)), expected)
    layer = FractionalMaxPooling2D(ratios, overlapping=overlapping)
    np.testing.assert_array_equal(value(layer(x)), expected)
    assert layer.compute_output_shape(x.shape) == expected.shape


@pytest.mark.parametrize("regions", ["random", "pseudo-random"])
@pytest.mark.parametrize("shape", [(6, 8, 3), (7, 5, 3)])
def test_disjoint_regions_of_ratio_two_are_max_pooling(shape, regions: str):
    x = pictures(shape) - 1
    expected = value(keras.layers.MaxPooling2D(2)(x))
    layer = FractionalMaxPooling2D(2, regions, overlapping=False)
    for training in (False, True):
        np.testing.assert_array_equal(value(layer(x, training=training)), expected)


def test_random_cuttings_come_equally_often():
    # 6 units by 1.5: 4 regions by one step of 2 and three of 1, so 4 orders; chi-squared over 1,200 calls, seeded.
    layer = FractionalMaxPooling2D(1.5, seed=1)
    seen = Counter(cut(layer, 6) for _ in range(1200))
    starts = {tuple(np.cumsum([0, *(2 if i == two else 1 for i in range(4))])) for two in range(4)}
    assert set(seen) == {tuple((a, b + 1) for a, b in pairwise(path)) for path in starts}
    assert chisquare(list(seen.values())).pvalue > 1e-4


@pytest.mark.parametrize(("size", "ratio", "overlapping"), [(7, ROOT_2, True), (10, 1.3, False)])
def test_pseudo_random_cuttings_come_as_often_as_an_even_u_gives_them(size: int, ratio: float, overlapping: bool):
    layer = FractionalMaxPooling2D(ratio, "pseudo-random", overlapping, seed=2)
    seen = Counter(cut(layer, size) for _ in range(800))
    grid = [tuple(map(tuple, fractional_regions(size, ratio, u, overlapping))) for u in (np.arange(20_000) + 0.5) / 2e4]
    expected = Counter(grid)
    assert set(seen) == set(expected)
    assert len(expected) > 1
    shares = [800 * expected[path] / len(grid) for path in expected]
    assert chisquare([seen[path] for path in expected], shares).pvalue > 1e-4


@pytest.mark.parametrize("regions", ["random", "pseudo-random"])
@pytest.mark.parametrize("overlapping", [True, False])
def test_cuttings_in_training_go_by_ones_and_twos_from_end_to_end(regions: str, overlapping: bool):
    for size in (1, 2, 3, 9, 33):
        layer = FractionalMaxPooling2D(1.6, regions, overlapping, seed=3)
        fixed = fractional_regions(size, 1.6, FIXED_U, overlapping)
        for _ in range(5):
            path = np.array(cut(layer, size))
            assert path[0, 0] == 0
            assert path[-1, 1] == fixed[-1, 1]
            # As many of each size as at test time, in whatever order.
            assert sorted(path[:, 1] - path[:, 0]) == sorted(fixed[:, 1] - fixed[:, 0])
            np.testing.assert_array_equal(path[1:, 0], path[:-1, 1] - overlapping)


def test_rows_and_columns_are_cut_apart():
    layer = FractionalMaxPooling2D(1.5, seed=4)
    x = np.stack(np.meshgrid(np.arange(12.0), np.arange(12.0), indexing="ij"), axis=-1)[None]
    pairs = [value(layer(x, training=True))[0] for _ in range(5)]
    assert any(not np.array_equal(out[:, 0, 0], out[0, :, 1]) for out in pairs)


def network(size: int = 7) -> keras.Model:
    """As a head would pool: halved in two steps, then the mean."""
    x = inputs = keras.Input((size, size, 3), name="map")
    x = fixed_fractional_pool(fixed_fractional_pool(x, ROOT_2), ROOT_2)
    assert x.shape == (None, 2, 2, 3)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def test_a_saved_fixed_pooling_holds_nothing_of_tltool(tmp_path):
    model, x = network(), pictures((7, 7, 3))
    model.save(tmp_path / "model.keras")
    assert "tltool" not in json.dumps(json.loads(model.to_json()))
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True, custom_objects={})
    np.testing.assert_array_equal(loaded.predict_on_batch(x), model.predict_on_batch(x))
    first = pooled_by_loops(x, (ROOT_2, ROOT_2), True)
    expected = pooled_by_loops(first, (ROOT_2, ROOT_2), True).mean(axis=(1, 2))
    np.testing.assert_allclose(model.predict_on_batch(x), expected, rtol=1e-6)


def test_openvino_computes_the_fixed_pooling(caplog):
    model, x = network(), pictures((7, 7, 3))
    with caplog.at_level(logging.WARNING, "tltool.features.engine"):
        engine = load_engine(model)
    assert caplog.records == []  # where it could not convert, it would say so and fall back to Keras
    np.testing.assert_allclose(engine(x)[0], model.predict_on_batch(x), rtol=1e-5)


@pytest.mark.parametrize("ratio", [1, 1.0, 2.01, 0.5, True, "2", None, (1.2, 1), float("nan")])
def test_a_ratio_out_of_range_is_told(ratio):
    for pool in (FractionalMaxPooling2D, lambda r: fixed_fractional_pool(pictures((5, 5, 1)), r)):
        with pytest.raises(RegularizerError, match="`ratio` must be a number above 1 and up to 2, not "):
            pool(ratio)


@pytest.mark.parametrize("ratio", [(1.5,), (1.2, 1.3, 1.4), []])
def test_a_wrong_number_of_ratios_is_told(ratio):
    with pytest.raises(RegularizerError, match="one number or two, of height and width"):
        FractionalMaxPooling2D(ratio)


def test_regions_that_are_not_known_are_told():
    with pytest.raises(RegularizerError, match='`regions` must be "random" or "pseudo-random", not \'pseudo\''):
        FractionalMaxPooling2D(1.5, "pseudo")


@pytest.mark.parametrize(("size", "u"), [(0, 0.5), (5, -0.1), (5, 1.1)])
def test_regions_of_nothing_are_told(size: int, u: float):
    with pytest.raises(RegularizerError, match=r"`size` must be 1 or above and `u` in \[0, 1\]"):
        fractional_regions(size, 1.5, u)


@pytest.mark.parametrize("shape", [(5,), (5, 5), (None, 5, 3), (5, None, 3)])
def test_what_is_no_feature_map_is_told(shape):
    for pool in (FractionalMaxPooling2D(1.5), lambda x: fixed_fractional_pool(x, 1.5)):
        with pytest.raises(RegularizerError, match=r"takes feature maps of a known size, shape \(B, H, W, C\), not "):
            pool(keras.Input(shape))
