"""Descriptors that blur and turning do not change, and neighbours as a search of all pairs would find them."""

import time

import numpy as np
import pytest
from PIL import Image

from tltool.data.likeness import LEAF, describe, nearest

TURNS = [lambda levels, quarter=quarter: np.rot90(levels, quarter, (1, 2)) for quarter in range(4)]
ORIENTATIONS = [*TURNS, *(lambda levels, turn=turn: turn(levels)[:, :, ::-1] for turn in TURNS)]


def thumbnails(count: int, seed: int = 0, detail: int = 9) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (count, detail, detail), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((32, 32), Image.Resampling.BICUBIC)) for one in coarse])


def distances_of_all(levels: np.ndarray) -> np.ndarray:
    """The distance of each pair in the orientation that suits it best, shape (N, N); infinite to itself."""
    described = describe(levels).astype(np.float64)
    turned = [describe(turn(levels)).astype(np.float64) for turn in ORIENTATIONS]
    found = np.min([np.linalg.norm(described[:, None] - other, axis=2) for other in turned], axis=0)
    np.fill_diagonal(found, np.inf)
    return found


def test_descriptors_are_unit_vectors_without_brightness_and_contrast():
    levels = thumbnails(20)
    described = describe(levels)
    np.testing.assert_allclose(np.linalg.norm(described, axis=1), 1, rtol=1e-5)
    assert (np.linalg.norm(described - describe((levels // 2 + 60).astype(np.uint8)), axis=1) < 0.1).all()
    assert (describe(np.full((2, 32, 32), 77, np.uint8)) == 0).all()


@pytest.mark.parametrize("count", [2, 5, LEAF])
def test_within_one_leaf_neighbours_are_those_of_all_pairs(count):
    levels = thumbnails(count)
    distances, others = nearest(describe(levels), 4)
    wanted = distances_of_all(levels)
    there = min(4, count - 1)
    np.testing.assert_allclose(distances[:, :there], np.sort(wanted, axis=1)[:, :there], atol=2e-3)
    rows = np.arange(count)[:, None]
    np.testing.assert_allclose(wanted[rows, others[:, :there]], distances[:, :there], atol=2e-3)
    assert np.isinf(distances[:, there:]).all()
    assert (others[:, there:] == -1).all()


@pytest.mark.parametrize("turn", ORIENTATIONS)
def test_a_turned_picture_is_as_near_as_an_equal_one(turn):
    levels = thumbnails(30)
    distances, others = nearest(describe(np.concatenate([levels, turn(levels[:3])])), 1)
    np.testing.assert_allclose(distances[30:, 0], 0, atol=2e-3)
    assert others[30:, 0].tolist() == [0, 1, 2]


def test_among_many_nearly_all_near_pictures_are_found_once_each():
    count = 3000
    levels = thumbnails(count)
    noisy = np.clip(levels + np.random.default_rng(0).normal(0, 6, levels.shape), 0, 255).astype(np.uint8)
    distances, others = nearest(describe(np.concatenate([levels, noisy[:, :, ::-1]])), 5)
    assert (others[:count, 0] == np.arange(count, 2 * count)).mean() > 0.99
    assert (np.diff(distances, axis=1) >= 0).all()
    assert all(len(set(row)) == 5 for row in others.tolist())
    assert (others != np.arange(2 * count)[:, None]).all()


def test_a_crowd_takes_no_longer_than_other_pictures():
    count = 20_000  # of which 200 million pairs in eight orientations would take minutes
    crowd = thumbnails(1) // 2 + np.random.default_rng(0).integers(0, 4, (count, 32, 32), dtype=np.uint8)
    start = time.monotonic()
    distances, _ = nearest(describe(crowd), 16)
    assert time.monotonic() - start < 30
    assert (distances < 0.1).all()
