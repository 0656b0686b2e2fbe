import threading

import numpy as np
import pytest

from tests.augment.test_augmenter import SIZE, smooth_pictures
from tltool.augment.augmenter import Augmenter
from tltool.augment.policies import read_policy
from tltool.data.batches import Batch
from tltool.training.augmented import augmented, augmented_view

PIXELS = smooth_pictures(10)
TARGETS = np.eye(3, dtype=np.float32)[np.arange(10) % 3]


def batches(order: np.ndarray, size: int = 4):
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        yield Batch(np.arange(start, start + len(rows)), PIXELS[rows], [])


def run(policy, order=None, workers: int = 3, size: int = 4, **options) -> tuple[np.ndarray, np.ndarray]:
    order = np.arange(10) if order is None else order
    made = list(augmented(batches(order, size), TARGETS[order], order, Augmenter(policy), 0, workers, **options))
    return np.concatenate([each.pixels for each in made]), np.concatenate([each.targets for each in made])


def test_order_workers_and_sizes_of_batches_change_nothing():
    pixels, targets = run("photographs")
    np.testing.assert_array_equal(targets, TARGETS)
    shuffled = np.random.default_rng(0).permutation(10)
    again, order_kept = run("photographs", shuffled, workers=1, size=3)
    np.testing.assert_allclose(again.astype(int), pixels[shuffled].astype(int), atol=1)
    np.testing.assert_array_equal(order_kept, TARGETS[shuffled])


def test_no_policy_passes_batches_through():
    pixels, targets = run("none")
    np.testing.assert_array_equal(pixels, PIXELS)
    np.testing.assert_array_equal(targets, TARGETS)


def test_a_batch_that_holds_one_class_by_chance_is_left_unmixed():
    order = np.array([0, 3, 6, 9, 1, 2, 4, 5])  # the first four are of one class
    pixels, targets = run({"mix_up": 1.0}, order)
    np.testing.assert_array_equal(pixels[:4], PIXELS[order[:4]])
    np.testing.assert_array_equal(targets[:4], TARGETS[order[:4]])
    assert (targets[4:].max(axis=1) < 1).any()


def test_threads_end_with_the_generator_and_faults_reach_the_consumer():
    def failing():
        yield from batches(np.arange(4))
        raise OSError("disk")

    stream = augmented(failing(), TARGETS, np.arange(10), Augmenter("light"), 0, 2)
    with pytest.raises(OSError, match="disk"):
        list(stream)
    stream = augmented(batches(np.arange(10), 1), TARGETS, np.arange(10), Augmenter("light"), 0, 2)
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tltool-augment")]


def test_views_are_drawn_by_content_alone():
    keys = [f"{number:064x}" for number in range(1, 11)]
    view = augmented_view(read_policy("strong"), seed=0, number=0)
    whole = view.change(PIXELS, keys)
    assert whole.dtype == np.uint8
    np.testing.assert_allclose(view.change(PIXELS[3:5], keys[3:5]).astype(int), whole[3:5].astype(int), atol=1)
    names = {augmented_view(read_policy(p), s, n).name for p in ("light", "strong") for s in (0, 1) for n in (0, 1)}
    assert len(names) == 8
    assert whole.shape[1] == SIZE
