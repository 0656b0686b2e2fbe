import colorsys
import math

import keras
import numpy as np
import pytest

from tltool.augment.colour import LUMA, YIQ, Recolouring
from tltool.augment.steps import read_step

KEPT = np.array(LUMA)


@pytest.fixture
def pictures() -> np.ndarray:
    """Of middling colours, so that little is clipped."""
    return np.random.default_rng(0).uniform(80, 170, (4, 6, 5, 3)).astype(np.float32)


def change(pictures: np.ndarray, *steps: tuple[str, float]) -> np.ndarray:
    """The steps with these parameters for all pictures."""
    recolouring = Recolouring([read_step(name, 0.5) for name, _ in steps])
    parameters = [keras.ops.full((len(pictures),), value, "float32") for _, value in steps]
    return keras.ops.convert_to_numpy(recolouring.apply(keras.ops.convert_to_tensor(pictures), parameters))


def brighter(x: np.ndarray, value: float) -> np.ndarray:
    return x + value


def contrasted(x: np.ndarray, value: float) -> np.ndarray:
    mean = x.mean(axis=(1, 2), keepdims=True)
    return value * (x - mean) + mean


def faded(x: np.ndarray, value: float) -> np.ndarray:
    return value * x + (1 - value) * (x @ KEPT)[..., None]


def turned(x: np.ndarray, value: float) -> np.ndarray:
    y, i, q = np.moveaxis(x @ YIQ.T, -1, 0)
    cos, sin = math.cos(value), math.sin(value)
    return np.stack([y, cos * i - sin * q, sin * i + cos * q], axis=-1) @ np.linalg.inv(YIQ).T


ONE_BY_ONE = {
    "brightness": (brighter, 12.0),
    "contrast": (contrasted, 1.3),
    "saturation": (faded, 0.7),
    "hue": (turned, 0.4),
    "grey": (faded, 0.0),
}


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_each_change_is_the_textbook_s(name, pictures):
    formula, value = ONE_BY_ONE[name]
    expected = formula(pictures.astype(np.float64), value).clip(0, 255)
    np.testing.assert_allclose(change(pictures, (name, value)), expected, atol=2e-3)


@pytest.mark.parametrize("order", [list(ONE_BY_ONE)[:4], ["hue", "contrast", "saturation", "contrast", "brightness"]])
def test_a_chain_is_its_links_one_after_the_other(order, pictures):
    expected = pictures.astype(np.float64)
    for name in order:
        expected = ONE_BY_ONE[name][0](expected, ONE_BY_ONE[name][1])
    assert expected.min() > 0
    assert expected.max() < 255
    got = change(pictures, *((name, ONE_BY_ONE[name][1]) for name in order))
    np.testing.assert_allclose(got, expected, atol=5e-3)


def test_turning_the_hue_keeps_the_luma_and_turns_as_far_as_hsv_does():
    red = np.full((1, 1, 1, 3), [180.0, 100.0, 100.0], np.float32)
    for turn in (1 / 3, -1 / 3):
        got = change(red, ("hue", 2 * math.pi * turn))[0, 0, 0]
        assert got @ KEPT == pytest.approx(red[0, 0, 0] @ KEPT, abs=0.01)
        hue, _, _ = colorsys.rgb_to_hsv(*(got / 255))
        # YIQ's circle runs against HSV's, and its angles differ by up to some 30 degrees.
        assert abs((hue + turn + 0.5) % 1.0 - 0.5) < 0.09


def test_values_are_clipped(pictures):
    assert change(pictures, ("brightness", 250.0)).max() == 255
    assert change(pictures, ("brightness", -250.0)).min() == 0


def test_draws_stay_in_their_ranges():
    random = np.random.default_rng(0)
    steps = [("brightness", 0.1), ("contrast", 0.2), ("saturation", 0.3), ("hue", 0.05), ("grey", 0.25)]
    recolouring = Recolouring([read_step(*step) for step in steps])
    drawn = np.array([recolouring.draw(random, 8, 8) for _ in range(4000)])
    for column, (low, high) in enumerate([(-25.5, 25.5), (0.8, 1.2), (0.7, 1.3), (-0.1 * math.pi, 0.1 * math.pi)]):
        assert drawn[:, column].min() == pytest.approx(low, abs=0.01 * abs(high - low))
        assert drawn[:, column].max() == pytest.approx(high, abs=0.01 * abs(high - low))
    assert set(drawn[:, 4]) == {0.0, 1.0}
    assert np.mean(drawn[:, 4] == 0.0) == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 4000))


def test_a_chance_of_zero_changes_nothing(pictures):
    step = read_step("contrast", {"share": 0.9, "chance": 0.0})
    assert Recolouring([step]).draw(np.random.default_rng(0), 4, 4) == [1.0]
    np.testing.assert_allclose(change(pictures, ("contrast", 1.0), ("hue", 0.0)), pictures, atol=1e-3)
