import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

from tltool.augment.augmenter import Augmenter
from tltool.augment.policies import POLICIES, read_policy
from tltool.augment.steps import STEPS
from tltool.errors import AugmentError

SIZE = 32
# Every step that changes a picture by itself, at a strength that shows.
EVERY_STEP = {
    "flip_horizontal": 0.5,
    "rotate": 20,
    "lens": 0.2,
    "brightness": 0.1,
    "grey": 0.3,
    "blur": 1.0,
    "jpeg": 30,
    "cutout": 0.3,
    "erase": 0.3,
    "grid_mask": 0.4,
    "rand_augment": 9,
    "trivial_augment": 1.0,
    "aug_mix": 9,
}


def smooth_pictures(count: int = 4, size: int = SIZE, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(0, 3, size), np.linspace(0, 3, size))
    right, down = random.uniform(0, 6, (2, count, 1, 1, 3))
    waves = np.sin(x[None, :, :, None] + right) * np.cos(y[None, :, :, None] + down)
    return np.rint(127 + 100 * waves).astype(np.uint8)


@pytest.fixture
def pictures() -> np.ndarray:
    return smooth_pictures()


@pytest.mark.parametrize("policy", [*POLICIES, EVERY_STEP], ids=[*POLICIES, "every step"])
def test_same_seed_same_pictures_whatever_the_batches_and_threads(policy, pictures):
    augmenter = Augmenter(policy if isinstance(policy, dict) else read_policy(policy).per_picture, seed=3)
    together, _ = augmenter(pictures, epoch=1)
    alone = [augmenter(pictures[i : i + 1], pictures=[i], epoch=1)[0][0] for i in (2, 0, 3, 1)]
    # Sums over a batch of another size may be rounded otherwise: a grey level, now and then.
    np.testing.assert_allclose(np.stack(alone), together[[2, 0, 3, 1]].astype(int), atol=1)
    with ThreadPoolExecutor(4) as pool:
        for again, _ in pool.map(lambda _: augmenter(pictures, epoch=1), range(8)):
            np.testing.assert_array_equal(again, together)


def test_another_seed_epoch_or_picture_draws_otherwise(pictures):
    same = np.repeat(pictures[:1], 4, axis=0)
    augmenter = Augmenter("strong", seed=0)
    targets = np.eye(4, dtype=np.float32)
    first, _ = augmenter(same, targets)
    assert len({row.tobytes() for row in first}) == 4
    assert not np.array_equal(first, augmenter(same, targets, epoch=1)[0])
    assert not np.array_equal(first, Augmenter("strong", seed=1)(same, targets)[0])


def test_type_shape_and_range_stay(pictures):
    for policy in ("photographs", EVERY_STEP):
        changed, targets = Augmenter(policy)(pictures)
        assert (changed.shape, changed.dtype, targets) == (pictures.shape, np.uint8, None)
        whole, _ = Augmenter(policy)(pictures.astype(np.float32))
        assert whole.dtype == np.float32
        assert 0 <= whole.min() <= whole.max() <= 255
        # uint8 is the float rounded.
        np.testing.assert_array_equal(changed, np.rint(whole).astype(np.uint8))


def test_none_gives_back_what_it_was_given(pictures):
    changed, targets = Augmenter("none")(pictures, None)
    assert changed is pictures
    assert targets is None


@pytest.mark.parametrize("name", [name for name, rule in STEPS.items() if rule.kind != "mixing"])
def test_every_step_changes_pictures(name, pictures):
    main = STEPS[name].main
    changed, _ = Augmenter({name: min(main.highest, 50) if main.whole else main.highest * 0.6 + 0.4 * main.lowest})(
        np.concatenate([pictures] * 4)
    )
    assert np.abs(changed - np.concatenate([pictures] * 4).astype(int)).mean() > 0.3


def test_a_run_of_geometry_and_one_of_colour_are_a_pass_each():
    assert len(Augmenter("standard").passes) == 2
    assert len(Augmenter({"rotate": 5, "hue": 0.1, "shear": 5, "zoom": 0.1}).passes) == 3


class TestMixing:
    targets = np.eye(4, 3, dtype=np.float32)

    @pytest.mark.parametrize("step", ["mix_up", "cut_mix"])
    def test_labels_become_soft_by_what_is_seen(self, step):
        # Pictures of one level each: how much of whom is in a picture can be read off its pixels.
        levels = np.array([0, 60, 120, 240], np.uint8)
        flat = np.broadcast_to(levels[:, None, None, None], (4, SIZE, SIZE, 3)).copy()
        targets = np.eye(4, dtype=np.float32)
        seen = 0
        for epoch in range(6):
            mixed, soft = Augmenter({step: 1.0})(flat.astype(np.float32), targets, epoch=epoch)
            np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-6)
            np.testing.assert_allclose(mixed.mean(axis=(1, 2, 3)), soft @ levels, atol=1e-2)
            seen += (soft.max(axis=1) < 1).sum()
        assert seen > 8

    def test_several_labels_at_once_are_mixed_class_by_class(self):
        both = np.array([[1, 1, 0], [0, 1, 1]], np.float32)
        _, soft = Augmenter({"mix_up": 1.0}, seed=1)(smooth_pictures(2), both)
        assert (soft[:, 1] == 1).all()
        np.testing.assert_allclose(soft[:, 0] + soft[:, 2], 1, atol=1e-6)

    def test_of_two_mixings_each_batch_gets_one(self):
        augmenter = Augmenter({"mix_up": 1.0, "cut_mix": 1.0})
        boxes = [augmenter._draw_mix([epoch], epoch, 4, SIZE, SIZE).boxes.any() for epoch in range(20)]
        assert {True, False} == set(boxes)

    def test_one_class_or_no_targets_cannot_be_mixed(self, pictures):
        with pytest.raises(AugmentError, match="4 pictures that all show the same"):
            Augmenter({"mix_up": 1.0})(pictures, np.ones((4, 2), np.float32))
        with pytest.raises(AugmentError, match="give the targets"):
            Augmenter({"cut_mix": 1.0})(pictures)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (10, 1000), (1000, 3)])
def test_odd_pictures_pass_through(height, width):
    odd = np.full((2, height, width, 3), 90, np.uint8)
    for policy in (*POLICIES, EVERY_STEP):
        targets = np.eye(2, dtype=np.float32)
        changed, _ = Augmenter(policy)(odd, targets)
        assert changed.shape == odd.shape


def test_a_picture_of_ten_thousand_by_ten_pixels_passes_through():
    wide = np.full((1, 10, 10_000, 3), 90, np.uint8)
    changed, _ = Augmenter(read_policy("strong").per_picture)(wide)
    assert changed.shape == wide.shape


def test_policies_are_read_without_keras():
    code = "import sys, tltool.augment as a; a.read_policy('standard'); assert 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_of_it_is_drawn_from_the_global_generators(pictures):
    keras.utils.set_random_seed(0)
    first, _ = Augmenter(EVERY_STEP)(pictures)
    keras.utils.set_random_seed(1)
    np.testing.assert_array_equal(Augmenter(EVERY_STEP)(pictures)[0], first)
