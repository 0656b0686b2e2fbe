"""Both forms of the layer; what Keras's does elsewhere than in TensorFlow is checked in processes of their own."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
import scipy.ndimage
import scipy.optimize
from keras import ops

from tests.augment.operations import noisy, smooth
from tltool.augment.keras_lens_distortion import RandomLensDistortion as OfKeras
from tltool.augment.random_lens_distortion import RandomLensDistortion
from tltool.errors import AugmentError

ROOT = Path(__file__).parents[2]
HEIGHT, WIDTH = 37, 53
STRENGTHS = np.array([-0.3, -0.1, 0.0, 0.2, 0.5], np.float32)
PICTURES = np.stack([noisy(HEIGHT, WIDTH, seed) for seed in range(5)]).astype(np.float32)
TOLERANCE = 0.01  # grey levels, of float32
NEEDS_KERAS_CV = pytest.mark.skipif(not find_spec("keras_cv"), reason="needs keras-cv: runs again once it is installed")
FORMS = [pytest.param(RandomLensDistortion, marks=NEEDS_KERAS_CV, id="keras-cv"), pytest.param(OfKeras, id="keras")]
form_of_each = pytest.mark.parametrize("form", FORMS)


def shown_at(strength: float, x, y, height: int = HEIGHT, width: int = WIDTH) -> tuple[np.ndarray, np.ndarray]:
    """Where the output shows points that count from the middle of the input, by roots of the cubic in float64."""
    half = np.hypot(height, width) / 2
    largest = 1 + max(strength, 0)
    furthest = 1.5 if strength >= 0 else 1 / np.sqrt(-3 * strength)  # where the cubic bends back

    def factor(radius: float) -> float:
        if radius == 0:
            return largest
        root = scipy.optimize.brentq(lambda r: r * (1 + strength * r**2) / largest - radius, 0, furthest, xtol=1e-13)
        return root / radius

    factors = np.array([factor(radius) for radius in np.hypot(x, y) / half])
    return x * factors, y * factors


def distorted(picture: np.ndarray, strength: float, order: int = 1) -> np.ndarray:
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width] - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    strength = float(strength)
    scale = (1 + strength * (x**2 + y**2) / ((height**2 + width**2) / 4)) / (1 + max(strength, 0))
    where = y * scale + (height - 1) / 2, x * scale + (width - 1) / 2
    channels = np.moveaxis(picture.astype(np.float64), -1, 0)
    return np.stack([scipy.ndimage.map_coordinates(each, where, order=order) for each in channels], axis=-1)


def given(form, data, layer=None, strengths=STRENGTHS, **arguments) -> dict:
    """Calls a layer that draws these strengths."""
    layer = layer or form((-0.3, 0.5), **arguments)
    strengths = ops.convert_to_tensor(strengths)
    if form is OfKeras:
        draw = layer.get_random_transformation
        layer.get_random_transformation = lambda *args, **more: {**draw(*args, **more), "strengths": strengths}
    else:
        layer.get_random_transformation_batch = lambda *_, **__: {"strengths": strengths}
    return layer(data)


def array(tensor) -> np.ndarray:
    return ops.convert_to_numpy(tensor)


def check_pictures(form) -> None:
    for interpolation, order in (("bilinear", 1), ("nearest", 0)):
        result = array(given(form, ops.convert_to_tensor(PICTURES), interpolation=interpolation))
        assert result.dtype == np.float32
        expected = np.stack([distorted(*pair, order) for pair in zip(PICTURES, STRENGTHS, strict=True)])
        # Half-way between two pixels float32 may take the other one.
        assert (np.abs(result - expected) > TOLERANCE).mean() <= (0 if order else 0.002)


@form_of_each
def test_shows_pictures_as_the_formula_says(form):
    check_pictures(form)


@NEEDS_KERAS_CV
def test_both_forms_give_the_same_pictures_for_the_same_strengths():
    one, other = (array(given(form, ops.convert_to_tensor(PICTURES))) for form in (RandomLensDistortion, OfKeras))
    np.testing.assert_array_equal(one, other)


@NEEDS_KERAS_CV
def test_is_a_layer_of_keras_cv_where_that_is_there():
    import keras_cv

    assert issubclass(RandomLensDistortion, keras_cv.layers.VectorizedBaseImageAugmentationLayer)


@form_of_each
@pytest.mark.parametrize(
    ("factor", "low", "high"), [(0.25, -0.25, 0.25), ((-0.1, 0.5), -0.1, 0.5), ([0.2, 0.2], 0.2, 0.2)]
)
def test_draws_strengths_evenly_within_the_factor(form, factor, low, high):
    layer, count = form(factor, seed=3), 4000
    if form is OfKeras:
        drawn = layer.get_random_transformation(np.zeros((count, 1, 1, 3), np.float32))
    else:
        drawn = layer.get_random_transformation_batch(count)
    strengths = array(drawn["strengths"])
    assert strengths.shape == (count,)
    assert strengths.min() >= np.float32(low)
    assert strengths.max() <= np.float32(high)
    if low < high:
        # Four standard errors of the largest distance between the two distributions: the seed is one of very many.
        assert scipy.stats.kstest(strengths, "uniform", (low, high - low)).statistic < 2 / np.sqrt(count)


@form_of_each
def test_the_same_seed_gives_the_same_pictures(form):
    def twice(seed: int | None) -> list[np.ndarray]:
        layer = form(0.3, seed=seed)
        return [array(layer(ops.convert_to_tensor(PICTURES))) for _ in range(2)]

    for seed in (0, 7):
        one, other = twice(seed), twice(seed)
        np.testing.assert_array_equal(one, other)
        assert np.abs(one[0] - one[1]).max() > 1  # but not with each call
    assert np.abs(twice(0)[0] - twice(7)[0]).max() > 1
    assert np.abs(twice(None)[0] - twice(None)[0]).max() > 1


@form_of_each
def test_pictures_of_a_batch_draw_strengths_of_their_own(form):
    same = ops.convert_to_tensor(np.stack([PICTURES[0]] * 4))
    result = array(form(0.3, seed=1)(same))
    assert all(np.abs(result[i] - result[j]).max() > 1 for i in range(4) for j in range(i))


@form_of_each
def test_labels_stay_and_so_does_what_it_was_given(form):
    labels, name = np.eye(5, dtype=np.float32), "labels"
    data = {"images": ops.convert_to_tensor(PICTURES), name: ops.convert_to_tensor(labels)}
    np.testing.assert_array_equal(array(given(form, data)[name]), labels)


BOXES = np.array([[3, 2, 21, 17], [10, 5, 44, 33], [30, 20, 50, 36], [0, 0, 53, 37]], np.float32)


def boxes_around(strength: float) -> np.ndarray:
    """What the edges of `BOXES` become, point by point; cut off at the edge of the picture."""
    middle = np.array([WIDTH, HEIGHT]) / 2
    result = []
    for left, top, right, bottom in BOXES.astype(np.float64):
        x, y = np.linspace(left, right, 1001), np.linspace(top, bottom, 1001)
        edges = (
            np.concatenate([[x, 0 * x + top], [x, 0 * x + bottom], [0 * y + left, y], [0 * y + right, y]], axis=1).T
            - middle
        )
        ends = np.transpose(shown_at(strength, *edges.T)) + middle
        result.append(np.clip([*ends.min(axis=0), *ends.max(axis=0)], 0, [WIDTH, HEIGHT] * 2))
    return np.array(result)


def dense_boxes(form, result) -> np.ndarray:
    boxes = result["bounding_boxes"]["boxes"]
    return array(boxes if form is OfKeras else boxes.to_tensor())


def with_boxes(form, boxes: np.ndarray) -> dict:
    classes = "labels" if form is OfKeras else "classes"
    several = np.repeat(boxes[None], len(PICTURES), axis=0)
    kinds = np.repeat(np.arange(len(boxes), dtype=np.float32)[None], len(PICTURES), axis=0)
    found = {"boxes": ops.convert_to_tensor(several), classes: ops.convert_to_tensor(kinds)}
    return {"images": ops.convert_to_tensor(PICTURES), "bounding_boxes": found}


def check_boxes(form, strengths=(-0.1, -0.05, 0.0, 0.2, 0.5)) -> None:
    strengths = np.array(strengths, np.float32)
    expected = np.stack([boxes_around(float(strength)) for strength in strengths])
    result = given(form, with_boxes(form, BOXES), strengths=strengths, bounding_box_format="xyxy")
    # The points of the reference lie up to 0.05 pixels apart.
    np.testing.assert_allclose(dense_boxes(form, result), expected, rtol=0, atol=2e-3)
    relative = BOXES / np.float32([WIDTH, HEIGHT, WIDTH, HEIGHT])
    result = given(form, with_boxes(form, relative), strengths=strengths, bounding_box_format="rel_xyxy")
    np.testing.assert_allclose(dense_boxes(form, result) * [WIDTH, HEIGHT, WIDTH, HEIGHT], expected, rtol=0, atol=2e-3)


@form_of_each
def test_boxes_lie_around_what_they_held(form):
    check_boxes(form)


@form_of_each
def test_boxes_without_a_format_are_an_error(form):
    with pytest.raises(AugmentError, match="bounding_box_format"):
        form(0.2)(with_boxes(form, BOXES))


@form_of_each
def test_a_box_that_leaves_the_picture_is_no_longer_one(form):
    corner = np.array([[0, 0, 2, 2], [10, 10, 20, 20]], np.float32)
    result = given(form, with_boxes(form, corner), strengths=np.full(5, -0.3, np.float32), bounding_box_format="xyxy")
    found = result["bounding_boxes"]
    if form is OfKeras:
        assert array(found["labels"]).tolist() == [[-1, 1]] * 5
    else:
        assert found["classes"].to_list() == [[1]] * 5


@NEEDS_KERAS_CV
@pytest.mark.parametrize("ragged", [False, True])
def test_key_points_move_with_what_they_mark(ragged: bool):
    import tensorflow as tf

    middle = np.array([WIDTH, HEIGHT]) / 2
    marked = np.array([[15.5, 10.5], [40.5, 25.5], [26.5, 18.5]], np.float32)  # middles of pixels, from the corner
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    spots = np.stack([np.exp(-((x - u) ** 2 + (y - v) ** 2) / 8) for u, v in marked], axis=-1)
    pictures = np.repeat(spots[None], 5, axis=0).astype(np.float32)
    points = np.repeat(marked[None], 5, axis=0)
    given_points = tf.RaggedTensor.from_tensor(points) if ragged else tf.constant(points)
    data = {"images": tf.constant(pictures), "keypoints": given_points}
    result = given(RandomLensDistortion, data)
    moved = result["keypoints"].to_tensor() if ragged else result["keypoints"]
    for picture, places in zip(array(result["images"]), array(moved), strict=True):
        for spot, place in enumerate(places):
            weights = picture[..., spot] ** 4  # what is near its top, where the distortion is nearly a magnification
            centre = [(weights * axis).sum() / weights.sum() for axis in (x, y)]
            np.testing.assert_allclose(place, centre, rtol=0, atol=0.15)
    expected = np.stack([np.transpose(shown_at(float(k), *(marked - middle).T)) for k in STRENGTHS])
    np.testing.assert_allclose(moved, expected + middle, rtol=0, atol=1e-4)


def check_masks(form) -> None:
    masks = (smooth(HEIGHT, WIDTH)[None, ..., :1] // 86).repeat(5, axis=0)  # 0, 1 or 2
    data = {"images": ops.convert_to_tensor(PICTURES), "segmentation_masks": ops.convert_to_tensor(masks)}
    nearest = array(given(form, dict(data))["segmentation_masks"])
    shares = array(given(form, dict(data), segmentation_classes=3)["segmentation_masks"])
    for place, strength in enumerate(STRENGTHS):
        expected = distorted(masks[place], strength, order=0)
        assert (nearest[place] != expected).mean() < 0.002
        parts = [distorted((masks[place] == each).astype(np.float64), strength) for each in range(3)]
        leading = np.sort(np.concatenate(parts, axis=-1), axis=-1)
        clear = (leading[..., 2] - leading[..., 1] > 1e-3)[..., None]
        winner = np.concatenate(parts, axis=-1).argmax(axis=-1)[..., None]
        np.testing.assert_array_equal(shares[place][clear], winner[clear])
    assert set(np.unique(shares)) == set(np.unique(nearest)) == {0, 1, 2}


@form_of_each
def test_masks_go_through_the_lens_of_their_picture(form):
    check_masks(form)


@form_of_each
def test_masks_with_a_channel_a_class_stay_so(form):
    masks = np.eye(3, dtype=np.float32)[smooth(HEIGHT, WIDTH)[..., 0] // 86][None].repeat(5, axis=0)
    data = {"images": ops.convert_to_tensor(PICTURES), "segmentation_masks": ops.convert_to_tensor(masks)}
    result = array(given(form, data)["segmentation_masks"])
    assert set(np.unique(result)) == {0, 1}
    np.testing.assert_array_equal(result.sum(axis=-1), 1)


@NEEDS_KERAS_CV
def test_ragged_pictures_go_through_lenses_of_their_own():
    import tensorflow as tf

    pictures = [noisy(20, 31).astype(np.float32), noisy(33, 12, 1).astype(np.float32)]
    ragged = tf.ragged.stack([tf.RaggedTensor.from_tensor(each) for each in pictures])
    masks = tf.ragged.stack([tf.RaggedTensor.from_tensor(each[..., :1] // 86) for each in pictures])
    boxes = {"boxes": tf.constant([[[3.0, 2, 11, 12]]] * 2), "classes": tf.constant([[1.0]] * 2)}
    data = {"images": ragged, "bounding_boxes": boxes, "segmentation_masks": masks}
    arguments = {"strengths": np.float32([0.4, -0.2]), "bounding_box_format": "xyxy"}
    result = given(RandomLensDistortion, data, **arguments)
    for place, (picture, strength) in enumerate(zip(pictures, arguments["strengths"], strict=True)):
        expected = distorted(picture, strength)
        np.testing.assert_allclose(result["images"][place].to_tensor(), expected, rtol=0, atol=TOLERANCE)
        mask = result["segmentation_masks"][place].to_tensor()
        assert (array(mask) != distorted(picture[..., :1] // 86, strength, order=0)).mean() < 0.01
        alone = {
            "images": tf.constant(picture[None]),
            "bounding_boxes": {name: each[:1] for name, each in boxes.items()},
        }
        single = given(RandomLensDistortion, alone, **{**arguments, "strengths": np.float32([strength])})
        one, other = (each["bounding_boxes"]["boxes"] for each in (single, result))
        np.testing.assert_allclose(one[0], other[place], rtol=0, atol=1e-4)


def check_tf_data(form) -> None:
    import tensorflow as tf

    for size in (HEIGHT, None):
        spec = tf.TensorSpec((None, size, size and WIDTH, 3))
        several = tf.data.Dataset.from_generator(lambda: iter([PICTURES, PICTURES[:2]]), output_signature=spec)
        layer = form((0.3, 0.3), seed=1)
        for pictures in several.map(layer, num_parallel_calls=2):
            expected = distorted(PICTURES[1], 0.3)
            np.testing.assert_allclose(pictures.numpy()[1], expected, rtol=0, atol=TOLERANCE)
    single = tf.data.Dataset.from_tensor_slices(PICTURES).map(form((-0.2, -0.2))).batch(5)
    np.testing.assert_allclose(next(iter(single))[4], distorted(PICTURES[4], -0.2), rtol=0, atol=TOLERANCE)
    data = {"images": PICTURES, "labels": np.arange(5.0), "segmentation_masks": PICTURES[..., :1]}
    (result,) = tf.data.Dataset.from_tensors(data).map(form((0.3, 0.3), segmentation_classes=2))
    assert set(result) == set(data)
    drawn = [next(iter(tf.data.Dataset.from_tensors(PICTURES).map(form(0.3, seed=5)))).numpy() for _ in range(2)]
    np.testing.assert_array_equal(*drawn)


@form_of_each
def test_runs_in_tf_data(form):
    check_tf_data(form)


@form_of_each
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_computes_places_in_float32_whatever_the_precision(form, policy: str):
    result = given(form, ops.convert_to_tensor(PICTURES), layer=form(0.3, dtype=policy))
    assert keras.backend.standardize_dtype(result.dtype) == policy.removeprefix("mixed_")
    # bfloat16 knows 8 bits: whole grey levels up to 256, and the places are not to blame.
    expected = [distorted(*pair) for pair in zip(PICTURES, STRENGTHS, strict=True)]
    allowed = {"mixed_float16": 0.15, "mixed_bfloat16": 1.1, "float64": TOLERANCE}[policy]
    np.testing.assert_allclose(array(ops.cast(result, "float32")), expected, rtol=0, atol=allowed)


@form_of_each
def test_rebuilds_from_its_configuration(form):
    layer = form((-0.1, 0.3), "nearest", "xyxy", 4, 11, name="mine")
    config = json.loads(json.dumps(layer.get_config()))
    again = form.from_config(config)
    assert json.loads(json.dumps(again.get_config())) == config
    assert config["segmentation_classes"] == 4
    pictures = ops.convert_to_tensor(PICTURES)
    np.testing.assert_array_equal(array(again(pictures)), array(layer(pictures)))


def saved(path: Path) -> Path:
    model = keras.Sequential([keras.Input((HEIGHT, WIDTH, 3)), RandomLensDistortion((0.3, 0.3), seed=1)])
    model.save(path)
    return path


def check_saved(path: Path) -> None:
    model = keras.models.load_model(path)
    assert isinstance(model.layers[-1], RandomLensDistortion)
    expected = [distorted(picture, 0.3) for picture in PICTURES]
    np.testing.assert_allclose(array(model(PICTURES, training=True)), expected, rtol=0, atol=TOLERANCE)


def test_is_saved_and_loaded_as_a_part_of_a_model(tmp_path):
    check_saved(saved(tmp_path / "model.keras"))


def check_model(form) -> None:
    inputs = keras.Input((HEIGHT, WIDTH, 3))
    layer = form((0.3, 0.3), seed=1)
    means = keras.layers.GlobalAveragePooling2D()(layer(inputs))
    same = keras.layers.Dense(3, use_bias=False, kernel_initializer="identity")(means)  # training wants a weight
    model = keras.Model(inputs, same)
    assert model.output_shape == (None, 3)
    expected = np.mean([distorted(picture, 0.3) for picture in PICTURES], axis=(1, 2))
    for jit in (True, False):
        model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=jit)
        # What training is given, and what it makes of it: the loss is 0 where the layer does what it should.
        assert model.train_on_batch(PICTURES, expected) < 1e-4


@form_of_each
def test_is_a_part_of_compiled_models(form):
    check_model(form)


def test_changes_nothing_at_test_time():
    np.testing.assert_array_equal(array(OfKeras(0.3)(PICTURES, training=False)), PICTURES)


def test_takes_channels_first():
    layer = OfKeras(0.3, data_format="channels_first")
    result = given(OfKeras, ops.convert_to_tensor(np.moveaxis(PICTURES, 3, 1)), layer=layer)
    expected = array(given(OfKeras, ops.convert_to_tensor(PICTURES)))
    np.testing.assert_array_equal(np.moveaxis(array(result), 1, 3), expected)


@form_of_each
def test_pictures_of_one_pixel_and_of_a_long_strip_pass_through(form):
    for size in ((1, 1), (10_000, 10)):
        pictures = np.random.default_rng(0).uniform(0, 255, (1, *size, 3)).astype(np.float32)
        result = array(given(form, ops.convert_to_tensor(pictures), strengths=np.float32([0.4])))
        # Of 10,000 pixels float32 knows the places to half a thousandth: 0.3 of noise's grey levels.
        np.testing.assert_allclose(result[0], distorted(pictures[0], 0.4), rtol=0, atol=0.5)


@form_of_each
def test_a_single_picture_needs_no_batch(form):
    result = given(form, ops.convert_to_tensor(PICTURES[0]), strengths=STRENGTHS[-1:])
    np.testing.assert_allclose(array(result), distorted(PICTURES[0], STRENGTHS[-1]), rtol=0, atol=TOLERANCE)


@form_of_each
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"factor": 0.31}, ["factor", "0.31", "-0.3"]),
        ({"factor": -0.1}, ["factor", "-0.1"]),
        ({"factor": (0.2, 0.1)}, ["factor", "smaller first"]),
        ({"factor": (-0.31, 0.1)}, ["factor", "-0.31"]),
        ({"factor": (0.0, 0.51)}, ["factor", "0.51"]),
        ({"factor": (0.0, float("nan"))}, ["factor", "nan"]),
        ({"factor": "barrel"}, ["factor", "barrel"]),
        ({"factor": (0.1, 0.2, 0.3)}, ["factor", "pair"]),
        ({"factor": 0.1, "interpolation": "cubic"}, ["interpolation", "cubic", '"nearest"']),
        ({"factor": 0.1, "segmentation_classes": 0}, ["segmentation_classes", "above 0"]),
        ({"factor": 0.1, "seed": 0.5}, ["seed", "0.5"]),
        ({"factor": 9, "interpolation": "x", "segmentation_classes": 1.5}, ["factor", "interpolation", "1.5"]),
    ],
)
def test_arguments_out_of_range_are_errors(form, arguments: dict, named: list[str]):
    with pytest.raises(AugmentError) as caught:
        form(**arguments)
    assert all(part in str(caught.value) for part in ["RandomLensDistortion", *named])


@form_of_each
@pytest.mark.parametrize("factor", [0, 0.3, (-0.3, 0.5), [0.5, 0.5]])
def test_the_ends_of_the_range_belong_to_it(form, factor):
    assert form(factor).get_config()["factor"] == factor


def process(environment: dict, *arguments: str) -> str:
    command = [sys.executable, "-m", "tests.augment.test_random_lens_distortion", *arguments]
    done = subprocess.run(
        command, env={**os.environ, **environment}, cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_on_jax_it_is_a_layer_of_keras(tmp_path):
    path = saved(tmp_path / "model.keras")
    assert process({"KERAS_BACKEND": "jax"}, str(path)) == "jax: Keras's form does it all\n"


def test_without_keras_cv_it_is_a_layer_of_keras(tmp_path):
    path = saved(tmp_path / "model.keras")
    hidden = f"import sys; sys.modules['keras_cv'] = None; from {__name__} import check_saved, OfKeras"
    program = f"{hidden}, RandomLensDistortion; assert RandomLensDistortion is OfKeras; check_saved({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    assert RandomLensDistortion is OfKeras
    check_pictures(OfKeras)
    check_boxes(OfKeras)
    check_masks(OfKeras)
    check_tf_data(OfKeras)
    check_model(OfKeras)
    check_saved(Path(sys.argv[1]))
    print(f"{keras.backend.backend()}: Keras's form does it all")
