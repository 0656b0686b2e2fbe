"""Keras's form against Pillow, SciPy and NumPy: eager, compiled, on JAX, and with pictures of any shape."""

import importlib.util
import os
import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from tests.augment.operations import CASES, PICTURES, check_operation, run
from tltool.augment import with_keras


@pytest.mark.parametrize("compile", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", CASES)
def test_does_what_the_reference_does(name: str, compile: bool):
    check_operation(with_keras, name, compile)


@pytest.mark.skipif(not find_spec("jax"), reason="needs jax: runs again once it is installed")
def test_does_the_same_on_jax():
    done = subprocess.run(
        [sys.executable, "-m", "tests.augment.operations"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "jax: 9 operations and 14 of RandAugment\n"


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (3, 3), (1000, 2)])
@pytest.mark.parametrize("name", [*CASES, "jpeg"])
def test_takes_pictures_of_any_shape(name: str, size: tuple[int, int]):
    given = CASES[name].given if name in CASES else (np.float32([10, 50, 90, 0]),)
    pictures = np.random.default_rng(0).uniform(0, 255, (4, *size, 3))
    result = run(getattr(with_keras, name), pictures, *given)
    assert result.shape == pictures.shape
    assert result.min() >= 0
    assert result.max() <= 255 + 1e-3


@pytest.mark.parametrize("name", [*CASES, "jpeg"])
def test_each_picture_is_changed_by_itself(name: str):
    given = CASES[name].given if name in CASES else (np.float32([10, 50, 90, 0]),)
    function = getattr(with_keras, name)
    together = run(function, PICTURES, *given)
    for place in range(len(PICTURES)):
        alone = run(function, PICTURES[place, None], *(values[place, None] for values in given))
        np.testing.assert_allclose(alone[0], together[place], rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", CASES)
def test_works_in_a_graph_whose_batches_differ(name: str):
    import tensorflow as tf

    function = tf.function(getattr(with_keras, name), reduce_retracing=True)
    given = [tf.constant(values) for values in (PICTURES.astype(np.float32), *CASES[name].given)]
    shapes = [tf.TensorSpec((None, *value.shape[1:]), tf.float32) for value in given]
    traced = function.get_concrete_function(*shapes)
    np.testing.assert_allclose(traced(*given), getattr(with_keras, name)(*given), rtol=0, atol=1e-3)


def test_values_a_hair_outside_of_the_range_are_not_wrapped_around():
    pictures = np.stack([np.full((4, 4, 3), 255.001), np.full((4, 4, 3), -0.001)])
    np.testing.assert_array_equal(run(with_keras.posterize, pictures, [8, 8])[:, 0, 0, 0], [255, 0])
    np.testing.assert_array_equal(run(with_keras.equalize, pictures)[:, 0, 0, 0], [255, 0])


def test_noise_of_resampling_is_not_stretched_to_the_whole_range():
    grey = 128 + np.random.default_rng(0).uniform(-1e-4, 1e-4, (1, 9, 9, 3))
    np.testing.assert_allclose(run(with_keras.autocontrast, grey), grey, atol=1e-4)
    two_levels = np.where(np.arange(9)[:, None, None] < 4, 100.0, 101.0) * np.ones((1, 9, 9, 3))
    np.testing.assert_allclose(np.unique(run(with_keras.autocontrast, two_levels)), [0, 255], atol=1e-3)


def test_a_smaller_largest_sigma_only_saves_time():
    whole, short = (run(lambda p, s, r=r: with_keras.blur(p, s, r), PICTURES, np.ones(4)) for r in (5.0, 1.0))
    assert with_keras.kernel_reach(1.0) == 4
    np.testing.assert_allclose(short, whole, rtol=0, atol=0.05)


@pytest.mark.parametrize(("size", "reach"), [(1, 3), (2, 5), (7, 3), (4, 9)])
def test_mirrored_is_numpys_symmetric_padding(size: int, reach: int):
    np.testing.assert_array_equal(np.pad(np.arange(size), reach, mode="symmetric"), with_keras.mirrored(size, reach))


def test_importing_it_touches_no_one_elses_settings_and_is_not_touched_by_them():
    place = importlib.util.spec_from_file_location("again", with_keras.__file__)
    again = importlib.util.module_from_spec(place)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    random.seed(5)
    try:
        place.loader.exec_module(again)
    finally:
        keras.config.set_dtype_policy(before)
    assert random.random() == random.Random(5).random()
    for name in ("autocontrast", "posterize", "solarize"):
        check_operation(again, name)


def test_keras_equalization_is_of_the_batch_and_ours_of_each_picture():
    theirs = keras.layers.Equalization(value_range=(0, 255), dtype="float32")
    both = ops.convert_to_tensor(PICTURES[:2].astype(np.float32))
    apart = [ops.convert_to_numpy(theirs.transform_images(both[i : i + 1], None, training=True)) for i in range(2)]
    together = ops.convert_to_numpy(theirs.transform_images(both, None, training=True))
    # The reason for writing it out; when this fails Keras's layer can be looked at again.
    assert np.abs(np.concatenate(apart) - together).max() > 5
