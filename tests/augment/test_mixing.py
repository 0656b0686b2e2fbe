"""MixUp and CutMix: pictures, targets, boxes and draws."""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import scipy.stats
from keras import ops

from tltool.augment.mixing import cut_mix, draw_mixing, inside, mix_up
from tltool.errors import AugmentError

LEAST_P = 1e-3  # a test of a distribution fails by chance once in a thousand seeds; the seeds are fixed

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.uniform(0, 255, (5, 6, 8, 3)).astype(np.float32)
CLASSES = np.eye(4, dtype=np.float32)[[0, 1, 1, 3, 2]]
SEVERAL = np.float32([[1, 1, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0], [1, 1, 1]])  # of several labels at once, or of none
PARTNERS = np.array([3, 1, 0, 4, 2], np.int32)
SHARES = np.float32([0.25, 1, 0.5, 0, 0.9])
# Whole, empty, half outside, everything, with edges through the middle of pixels: the first of them counts.
BOXES = np.float32([[1, 2, 4, 5], [3, 3, 3, 6], [-2, -1, 2, 3], [0, 0, 8, 6], [1.5, 0.5, 4.5, 2.5]])
COVERED = np.array([9, 0, 6, 48, 3 * 2], np.float64)  # pixels whose centre lies inside


@pytest.fixture(params=["numpy", "tensors", "graph"])
def called(request):
    """Calls a function with NumPy arrays, tensors, or tensors in a compiled graph."""
    if request.param == "numpy":
        return lambda function, *given: function(*given)

    def through_tensors(function, *given):
        import tensorflow as tf

        function = tf.function(function, jit_compile=True) if request.param == "graph" else function
        return [ops.convert_to_numpy(each) for each in function(*map(tf.constant, given))]

    return through_tensors


@pytest.mark.parametrize("targets", [CLASSES, SEVERAL], ids=["classes", "several labels"])
def test_mix_up_is_the_convex_combination_of_pictures_and_of_targets(called, targets: np.ndarray):
    pixels, soft = called(mix_up, PIXELS, targets, PARTNERS, SHARES)
    for place, (partner, share) in enumerate(zip(PARTNERS, SHARES.astype(np.float64), strict=True)):
        picture = share * PIXELS[place] + (1 - share) * PIXELS[partner]
        np.testing.assert_allclose(pixels[place], picture, rtol=1e-5)
        np.testing.assert_allclose(soft[place], share * targets[place] + (1 - share) * targets[partner], atol=1e-6)
    assert (pixels.dtype, soft.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("targets", [CLASSES, SEVERAL], ids=["classes", "several labels"])
def test_cut_mix_pastes_boxes_and_shares_targets_by_their_true_area(called, targets: np.ndarray):
    pixels, soft = called(cut_mix, PIXELS, targets, PARTNERS, BOXES)
    for place, partner in enumerate(PARTNERS):
        expected, pasted = PIXELS[place].copy(), 0
        for y, x in np.ndindex(6, 8):
            left, top, right, bottom = BOXES[place]
            if left <= x + 0.5 < right and top <= y + 0.5 < bottom:
                expected[y, x] = PIXELS[partner, y, x]
                pasted += 1
        assert pasted == COVERED[place]
        np.testing.assert_array_equal(pixels[place], expected)
        share = 1 - pasted / 48
        np.testing.assert_allclose(soft[place], share * targets[place] + (1 - share) * targets[partner], atol=1e-6)


def test_one_hot_targets_keep_adding_up_to_one():
    for function, amounts in ((mix_up, SHARES), (cut_mix, BOXES)):
        np.testing.assert_allclose(function(PIXELS, CLASSES, PARTNERS, amounts)[1].sum(axis=1), 1, atol=1e-6)


def test_numpy_stays_numpy():
    for function, amounts in ((mix_up, SHARES), (cut_mix, BOXES)):
        assert all(isinstance(each, np.ndarray) for each in function(PIXELS, CLASSES, PARTNERS, amounts))


def test_inside_holds_whole_numbers_of_pixels():
    np.testing.assert_array_equal(inside(BOXES, 6, 8).sum(axis=(1, 2, 3)), COVERED)


@pytest.mark.parametrize("targets", [np.tile(CLASSES[:1], (5, 1)), np.tile(SEVERAL[:1], (5, 1))])
def test_a_batch_of_one_class_is_refused_unless_nothing_is_mixed(called, targets: np.ndarray):
    for name, function, amounts, none in (
        ("mix_up", mix_up, SHARES, np.ones(5, np.float32)),
        ("cut_mix", cut_mix, BOXES, np.zeros((5, 4), np.float32)),
    ):
        pixels, soft = called(function, PIXELS, targets, PARTNERS, none)
        np.testing.assert_array_equal(pixels, PIXELS)
        np.testing.assert_array_equal(soft, targets)
        with pytest.raises(AugmentError, match=rf"`{name}`: the batch holds 5 pictures .* the same.*shuffle"):
            function(PIXELS, targets, PARTNERS, amounts)


def test_a_batch_of_one_picture_is_refused_unless_nothing_is_mixed():
    one = PIXELS[:1], CLASSES[:1], np.zeros(1, np.int32)
    with pytest.raises(AugmentError, match=r"`mix_up`: the batch holds one picture.*larger batches"):
        mix_up(*one, np.float32([0.5]))
    with pytest.raises(AugmentError, match="`cut_mix`: the batch holds one picture"):
        cut_mix(*one, np.float32([[0, 0, 1, 1]]))
    np.testing.assert_array_equal(mix_up(*one, np.float32([1]))[0], PIXELS[:1])
    np.testing.assert_array_equal(cut_mix(*one, np.float32([[0, 0, 0, 0]]))[0], PIXELS[:1])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_follow_the_beta_distribution(alpha: float):
    partners, shares = draw_mixing(np.random.default_rng(1), 5000, alpha, "mix_up", (9, 9))
    assert shares.shape == (5000,)
    assert scipy.stats.kstest(shares.astype(np.float64), scipy.stats.beta(alpha, alpha).cdf).pvalue > LEAST_P
    np.testing.assert_array_equal(np.sort(partners), np.arange(5000))


def test_boxes_have_their_centre_anywhere_and_the_area_that_was_drawn():
    height, width, count = 400, 300, 5000
    partners, boxes = draw_mixing(np.random.default_rng(2), count, 1.0, "cut_mix", (height, width))
    np.testing.assert_array_equal(boxes, np.rint(boxes))
    assert (boxes >= 0).all()
    assert (boxes <= [width, height, width, height]).all()
    assert (boxes[:, 2:] >= boxes[:, :2]).all()
    np.testing.assert_array_equal(np.sort(partners), np.arange(count))
    whole = (boxes[:, :2] > 0).all(axis=1) & (boxes[:, 2:] < [width, height]).all(axis=1)
    size = boxes[whole, 2:] - boxes[whole, :2]
    np.testing.assert_allclose(size[:, 0] / width, size[:, 1] / height, atol=2 / 300)  # the picture's own shape
    # Centre and area drawn apart: the mean area that stays inside, from the same formula by numbers of our own.
    rng = np.random.default_rng(3)
    half = np.sqrt(rng.uniform(0, 1, 200_000)) / 2
    inner = [np.minimum(c + half, 1) - np.maximum(c - half, 0) for c in rng.uniform(0, 1, (2, 200_000))]
    expected = inner[0] * inner[1]
    got = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / (height * width)
    error = expected.std() * np.sqrt(1 / count + 1 / 200_000)
    assert abs(got.mean() - expected.mean()) < 4 * error


def test_the_same_generator_draws_the_same():
    for kind in ("mix_up", "cut_mix"):
        draws = [draw_mixing(np.random.default_rng(seed), 16, 1.0, kind, (32, 32)) for seed in (5, 5, 6)]
        for one, other in zip(*draws[:2], strict=True):
            np.testing.assert_array_equal(one, other)
        assert not np.array_equal(draws[0][1], draws[2][1])


def test_draws_that_cannot_be_are_refused():
    with pytest.raises(AugmentError, match="`mix_up`: alpha = 0: must be above 0"):
        draw_mixing(np.random.default_rng(0), 4, 0.0, "mix_up", (8, 8))
    with pytest.raises(AugmentError, match="there is no mixing 'mixup'; there are mix_up and cut_mix"):
        draw_mixing(np.random.default_rng(0), 4, 1.0, "mixup", (8, 8))


@pytest.mark.skipif(not find_spec("jax"), reason="needs jax: runs again once it is installed")
def test_mixes_the_same_in_a_compiled_graph_of_jax():
    code = (
        "import jax, numpy as np, tests.augment.test_mixing as t\n"
        "for function, amounts in ((t.mix_up, t.SHARES), (t.cut_mix, t.BOXES)):\n"
        "    given = t.PIXELS, t.CLASSES, t.PARTNERS, amounts\n"
        "    for one, other in zip(jax.jit(function)(*given), function(*given)):\n"
        "        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)\n"
        "print('same')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "same\n", done.stderr
