"""DropBlock2D against the paper's formula, SciPy's morphology and the closed form of how often a unit is dropped."""

import keras
import numpy as np
import pytest
from scipy.ndimage import binary_opening

from tests.layers.contract import pictures, value
from tltool.errors import RegularizerError
from tltool.layers.drop_block import DropBlock2D, block_probability


def dropped(layer: DropBlock2D, shape) -> np.ndarray:
    return value(layer(np.ones(shape, "float32"), training=True)) == 0


@pytest.mark.parametrize(("keep", "block", "side"), [(0.9, 7, 14), (0.8, 3, 8), (0.95, 1, 5), (0.7, 6, 6)])
def test_the_probability_of_a_block_is_the_papers(keep: float, block: int, side: int):
    expected = (1 - keep) / block**2 * side**2 / (side - block + 1) ** 2
    assert block_probability(1 - keep, (side, side), (block, block)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("block", [2, 3, 4])
def test_what_is_dropped_is_made_of_whole_blocks(block: int):
    mask = dropped(DropBlock2D(0.25, block, seed=1), (4, 11, 9, 3))
    assert 0.1 < mask.mean() < 0.4
    for picture in mask:
        for channel in np.moveaxis(picture, -1, 0):
            # Opening leaves exactly what a square of this side can cover from inside.
            np.testing.assert_array_equal(binary_opening(channel, np.ones((block, block))), channel)
    # And no larger: somewhere there is a block that the next size up does not fit into.
    larger = np.ones((block + 1, block + 1))
    assert any(not np.array_equal(binary_opening(c, larger), c) for p in mask for c in np.moveaxis(p, -1, 0))


def test_a_unit_stays_as_often_as_no_block_covers_it():
    # 24,000 maps; 4.5 standard errors for each of 30 units.
    height, width, block, rate, maps = 6, 5, 3, 0.3, 24_000
    gamma = block_probability(rate, (height, width), (block, block))
    kept = 1 - dropped(DropBlock2D(rate, block, seed=2), (maps // 8, height, width, 8)).mean(axis=(0, 3))
    covering = np.zeros((height, width))
    for top in range(height - block + 1):
        for left in range(width - block + 1):
            covering[top : top + block, left : left + block] += 1
    expected = (1 - gamma) ** covering
    assert (np.abs(kept - expected) < 4.5 * np.sqrt(expected * (1 - expected) / maps)).all()


def test_channels_and_pictures_draw_their_own_blocks():
    # A shared mask would drop two of them together as often as one; 20,000 pairs, 4.5 standard errors.
    mask = dropped(DropBlock2D(0.3, 2, seed=3), (20_000, 2, 2, 2))[:, 0, 0]
    rate = 0.3
    both = (mask[:, 0] & mask[:, 1]).mean()
    assert abs(both - rate**2) < 4.5 * np.sqrt(rate**2 * (1 - rate**2) / len(mask))
    neighbours = (mask[:-1, 0] & mask[1:, 0]).mean()
    assert abs(neighbours - rate**2) < 4.5 * np.sqrt(rate**2 * (1 - rate**2) / len(mask) * 2)


def test_kept_units_are_scaled_by_their_share_of_the_batch():
    x = pictures((7, 6, 3), 5)
    out = value(DropBlock2D(0.3, 3, seed=4)(x, training=True))
    kept = out != 0
    np.testing.assert_allclose(out[kept], x[kept] * kept.size / kept.sum(), rtol=1e-6)
    assert value(DropBlock2D(0.3, 3, seed=4)(np.ones_like(x), training=True)).mean() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(("shape", "block"), [((4, 3), 7), ((1, 1), 7), ((9, 2), 4)])
def test_the_block_shrinks_to_a_smaller_map(shape, block: int):
    mask = dropped(DropBlock2D(0.3, block, seed=5), (400, *shape, 10))
    rows, columns = min(block, shape[0]), min(block, shape[1])
    for picture in mask[:20]:
        for channel in np.moveaxis(picture, -1, 0):
            np.testing.assert_array_equal(binary_opening(channel, np.ones((rows, columns))), channel)
    if (rows, columns) == shape:  # whole channels, as often as the rate says
        share = mask[:, 0, 0].mean()
        assert abs(share - 0.3) < 4.5 * np.sqrt(0.3 * 0.7 / 4000)


def test_a_batch_that_loses_everything_is_zero():
    np.testing.assert_array_equal(value(DropBlock2D(0.999, 7, seed=1)(np.ones((1, 1, 1, 1)), training=True)), 0)


def test_rate_zero_keeps_everything():
    x = pictures((7, 6, 3))
    np.testing.assert_array_equal(value(DropBlock2D(0.0)(x, training=True)), x)


@pytest.mark.parametrize("block", [0, -1, 2.5, True, "7"])
def test_a_block_size_out_of_range_is_told(block):
    with pytest.raises(RegularizerError, match="DropBlock2D: `block_size` must be a whole number, 1 or above, not "):
        DropBlock2D(0.1, block)


def test_a_rate_out_of_range_is_told():
    with pytest.raises(RegularizerError, match=r"DropBlock2D: `rate`"):
        DropBlock2D(1.0)


@pytest.mark.parametrize("shape", [(5,), (5, 5), (None, 5, 3), (5, None, 3)])
def test_what_is_no_feature_map_is_told(shape):
    with pytest.raises(RegularizerError, match=r"takes feature maps of a known size, shape \(B, H, W, C\), not "):
        DropBlock2D(0.1)(keras.Input(shape))
