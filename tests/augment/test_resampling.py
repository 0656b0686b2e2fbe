import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import scipy.ndimage
from keras import ops

from tests.augment.operations import compiled, run
from tltool.augment.resampling import coordinates, project, sample, sample_as_written, transformed

# Grey levels, of noise from 0 to 255. float32 knows a place 300 pixels away to 3e-5 of a pixel, which here are as many
# as 0.008 grey levels.
TOLERANCE = 0.01
SIZES = [(37, 53), (1, 1), (1, 9), (2, 1), (8, 8)]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


def reference(images: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """SciPy's, in float64: its "reflect" is (d c b a | a b c d | d c b a)."""
    result = np.empty((*x.shape, images.shape[-1]))
    for place in np.ndindex(len(images), images.shape[-1]):
        picture = images[place[0], :, :, place[1]].astype(np.float64)
        where = y[place[0]].astype(np.float64), x[place[0]].astype(np.float64)
        result[place[0], :, :, place[1]] = scipy.ndimage.map_coordinates(picture, where, order=1, mode="reflect")
    return result


def places(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Inside, at the edge and as far away as five times the picture's size, some of them pixels."""
    random = np.random.default_rng(1)
    x, y = (random.uniform(-5 * size, 6 * size, (3, 20, 30)) for size in (width, height))
    x[:, :5], y[:, :3] = np.round(x[:, :5]), np.round(y[:, :3])
    return x.astype(np.float32), y.astype(np.float32)


def maps() -> np.ndarray:
    """Turned, sheared, moved, seen from the side, and mirrored, float32."""
    turned = [[np.cos(0.5), -np.sin(0.5), 11.3], [np.sin(0.5), np.cos(0.5), -40.2], [0, 0, 1]]
    aside = [[0.9, 0.2, -3.0], [-0.1, 1.1, 2.5], [0.004, -0.006, 1]]
    mirrored = [[-1, 0, 0], [0, 1, 0], [0, 0, 1]]
    return np.array([turned, aside, mirrored], np.float32)


def projected(images: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    height, width = images.shape[1:3]
    middle = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
    y, x = np.mgrid[:height, :width]
    read = middle @ matrices.astype(np.float64) @ np.linalg.inv(middle) @ np.stack([x, y, 1 + 0 * x]).reshape(3, -1)
    x, y = ((read[:, axis] / read[:, 2]).reshape(-1, height, width) for axis in (0, 1))
    return reference(images, x, y)


def check_sample(height: int, width: int, compile: bool = False) -> None:
    images, (x, y) = noise(3, height, width, 3), places(height, width)
    result = run(compiled(sample) if compile else sample, images, x, y)
    np.testing.assert_allclose(result, reference(images, x, y), rtol=0, atol=TOLERANCE)


def check_project(compile: bool = False) -> None:
    images = noise(3, 37, 53, 3)
    result = run(compiled(project) if compile else project, images, maps())
    np.testing.assert_allclose(result, projected(images, maps()), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_sample_reads_between_pixels_and_mirrors_outside(height: int, width: int):
    check_sample(height, width)


def test_project_reads_where_the_matrices_say():
    check_project()


def test_both_are_the_same_in_a_graph_that_xla_compiles():
    check_sample(37, 53, compile=True)
    check_project(compile=True)


def test_takes_any_number_of_channels():
    images, (x, y) = noise(3, 9, 7, 5), places(9, 7)
    np.testing.assert_allclose(run(sample, images, x, y), reference(images, x, y), rtol=0, atol=TOLERANCE)


def test_places_on_pixels_give_pixels():
    images = noise(2, 5, 7, 3)
    y, x = np.broadcast_to(np.mgrid[:5, :7][:, None], (2, 2, 5, 7))
    np.testing.assert_array_equal(run(sample, images, x, y), images)
    np.testing.assert_array_equal(run(project, images, np.stack([np.eye(3)] * 2)), images)
    np.testing.assert_array_equal(run(project, images, np.stack([np.diag([-1, -1, 1])] * 2)), images[:, ::-1, ::-1])


def test_a_picture_is_the_same_alone_and_in_a_batch():
    images = noise(3, 37, 53, 3)
    batch = run(project, images, maps())
    for place in range(3):
        alone = run(project, images[place : place + 1], maps()[place : place + 1])
        np.testing.assert_array_equal(alone[0], batch[place])
    assert run(project, images[:0], maps()[:0]).shape == (0, 37, 53, 3)


def test_what_lies_behind_the_camera_gives_numbers_of_the_picture():
    behind = np.array([np.diag([1, 1, -1]), np.diag([1, 1, 0]), [[1, 0, 0], [0, 1, 0], [0.05, 0, 1]]], np.float32)
    images = noise(3, 37, 53, 3)
    result = run(project, images, behind)
    assert np.isfinite(result).all()
    assert result.min() >= images.min() - TOLERANCE
    assert result.max() <= images.max() + TOLERANCE


def test_coordinates_have_their_origin_in_the_middle():
    x, y = coordinates(2, 3)
    assert x.dtype == y.dtype == np.float32
    np.testing.assert_array_equal(x, [[[-1, 0, 1], [-1, 0, 1]]])
    np.testing.assert_array_equal(y, [[[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]]])


def test_transformed_points_compose():
    x, y = coordinates(5, 7)
    one, other = maps()[:2, None]
    there = transformed(ops.convert_to_tensor(one), *transformed(ops.convert_to_tensor(other), x, y))
    np.testing.assert_allclose(there, transformed(ops.convert_to_tensor(one @ other), x, y), rtol=0, atol=1e-4)


def test_agrees_with_the_projective_resampler_of_tensorflow():
    import tensorflow as tf

    images = noise(3, 37, 53, 3)
    middle = np.array([[1, 0, 26], [0, 1, 18], [0, 0, 1]])
    whole = (middle @ maps() @ np.linalg.inv(middle)).reshape(3, 9)
    expected = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=(whole / whole[:, 8:])[:, :8].astype(np.float32),
        output_shape=(37, 53),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )
    # Both round: the one float32 coordinates from a corner, the other from the middle.
    np.testing.assert_allclose(run(project, images, maps()), expected, rtol=0, atol=2 * TOLERANCE)


def test_runs_in_graphs_and_in_tf_data_with_sizes_known_and_unknown():
    import tensorflow as tf

    images, (x, y) = noise(3, 37, 53, 3), places(37, 53)
    expected = run(sample, images, x, y)
    for shape in ((3, 37, 53, 3), (None, 37, 53, 3), (None, None, None, 3)):
        signature = [tf.TensorSpec(shape), *[tf.TensorSpec((*shape[:1], 20, 30))] * 2]
        graph = tf.function(sample, input_signature=signature)
        np.testing.assert_allclose(graph(images, x, y), expected, rtol=0, atol=TOLERANCE)
        batches = tf.data.Dataset.from_generator(lambda: iter([(images, x, y)]), output_signature=tuple(signature))
        (result,) = batches.map(sample, num_parallel_calls=2)
        np.testing.assert_allclose(result, expected, rtol=0, atol=TOLERANCE)


def test_is_a_part_of_a_model():
    class Warp(keras.layers.Layer):
        def call(self, images):
            return project(images, ops.broadcast_to(maps()[1], (ops.shape(images)[0], 3, 3)))

    images = noise(3, 8, 9, 3)
    model = keras.Sequential([keras.Input((8, 9, 3)), Warp()])
    for jit in (True, False):
        model.compile(jit_compile=jit)
        result = model.predict(images, batch_size=2, verbose=0)
        expected = projected(images, np.stack([maps()[1]] * 3))
        np.testing.assert_allclose(result, expected, rtol=0, atol=TOLERANCE)


def test_as_written_is_what_is_compiled():
    images, (x, y) = noise(3, 37, 53, 3), places(37, 53)
    np.testing.assert_allclose(run(sample_as_written, images, x, y), run(sample, images, x, y), rtol=0, atol=TOLERANCE)


def test_on_jax():
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    command = [sys.executable, "-m", "tests.augment.test_resampling"]
    done = subprocess.run(
        command, env=environment, cwd=Path(__file__).parents[2], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "jax resamples\n"


if __name__ == "__main__":
    for compile in (False, True):
        for size in SIZES:
            check_sample(*size, compile)
        check_project(compile)
    test_places_on_pixels_give_pixels()
    test_what_lies_behind_the_camera_gives_numbers_of_the_picture()
    print(f"{keras.backend.backend()} resamples")
