"""Backbone and head as one flat graph, on prepared pixels and on whole pictures, here and in a bare Keras."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow
from scipy.special import softmax

from tltool.backbones import load_backbone
from tltool.data.decoding import FITS, Framing, prepare
from tltool.features.taps import POOLINGS, pooled
from tltool.heads.logistic import LinearHead
from tltool.heads.network import CLIP, LOGITS, attach_head, framing_of, picture_model, prepared_model

SIZES = [(32, 32), (20, 17), (203, 301), (301, 203), (5, 90), (1, 1)]  # (height, width)
# Odd and even differences, one pixel of difference, one pixel of width, and a hundred times as long as wide.
SHAPES = [*SIZES, (1, 2), (7, 1), (1, 500), (500, 1), (3, 2), (31, 32), (33, 32), (64, 33), (120, 121), (600, 4)]
# Resizing in the graph and in Pillow differs in the last digits, so that a value near a half may be rounded either way:
# one grey level, in at most so many values.
ROUNDED_APART = 1e-3
SQUEEZED = Framing(32)
CLASSES = 3
TAPS = {
    "one stage": (("top",), ("mean",)),
    "several stages": (("stage2", "stage5", "top"), POOLINGS),
    "below the top": (("stage3",), ("std",)),
}


def parts(stages, poolings):
    """A backbone, and a head with weights that tell classes apart."""
    backbone = load_backbone("tiny_random")
    width = pooled(backbone, stages, poolings).shape[-1]
    random = np.random.default_rng(0)
    kernel = random.normal(0, 1 / np.sqrt(width), (width, CLASSES)).astype(np.float32)
    return backbone, LinearHead(kernel, random.normal(size=CLASSES).astype(np.float32), 1.0)


@pytest.fixture(scope="module", params=["one stage", "several stages"])
def classifier(request):
    taps = TAPS[request.param]
    backbone, head = parts(*taps)
    return attach_head(backbone, *taps, head)


@pytest.fixture(scope="module")
def model(classifier):
    return picture_model(classifier, SQUEEZED)


def pixels(height, width, count=1):
    """Noise on a gradient: the noise is what resizing could get wrong, the gradient survives it."""
    random = np.random.default_rng(height * width)
    gradient = np.linspace(0, 200, width)[None, None, :, None] * random.uniform(0.2, 1, (count, 1, 1, 3))
    return np.clip(gradient + random.normal(0, 60, (count, height, width, 3)), 0, 255).astype(np.uint8)


def prepared(pictures, framing=SQUEEZED):
    return np.stack([prepare(picture, framing) for picture in pictures])


def seen_by_the_network(model, pictures):
    """What comes out of the graph's own preparing."""
    return keras.Model(model.input, model.get_layer(CLIP).output)(pictures).numpy()


def assert_flat(model):
    assert not [layer.name for layer in model.layers if isinstance(layer, keras.Model)]
    names = [layer.name for layer in model.layers]
    assert len(set(names)) == len(names)
    assert all(name.replace("_", "").isalnum() for name in names)  # what every export format takes


@pytest.mark.parametrize(("stages", "poolings"), TAPS.values(), ids=TAPS)
def test_logits_are_the_head_on_the_pooled_features(stages, poolings):
    backbone, head = parts(stages, poolings)
    batch = prepared(pixels(40, 50, 4))
    features = keras.Model(backbone.network.input, pooled(backbone, stages, poolings)).predict_on_batch(batch)
    classifier = attach_head(backbone, stages, poolings, head)
    logits = classifier.predict_on_batch(batch)
    assert logits.shape == (4, CLASSES)
    np.testing.assert_allclose(logits, features @ head.kernel + head.bias, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(logits, head.logits(features), rtol=1e-4, atol=1e-4)
    assert_flat(classifier)


def test_what_lies_above_the_highest_tap_is_left_out():
    backbone, head = parts(("stage3",), ("mean",))
    names = {layer.name for layer in attach_head(backbone, ("stage3",), ("mean",), head).layers}
    above = {layer.name for stage in backbone.stage_names[4:] for layer in backbone.layers_of(stage)}
    assert above
    assert not names & above


def test_training_the_classifier_trains_the_backbone_itself():
    backbone, head = parts(("top",), ("mean",))
    classifier = attach_head(backbone, ("top",), ("mean",), head)
    batch = prepared(pixels(32, 32, 4))
    before, stem = backbone.network.predict_on_batch(batch), backbone.network.get_layer("stem_conv").kernel.numpy()
    classifier.compile(
        keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False
    )
    classifier.train_on_batch(batch, np.array([0, 1, 2, 0]))
    assert np.abs(backbone.network.get_layer("stem_conv").kernel.numpy() - stem).max() > 0
    assert np.abs(backbone.network.predict_on_batch(batch) - before).max() > 0


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_whole_pictures_get_the_probabilities_of_prepared_ones(classifier, model, size):
    pictures = pixels(*size, count=2)
    expected = softmax(classifier.predict_on_batch(prepared(pictures)).astype(np.float64), axis=1)
    # Left to itself, Keras resizes bytes to floats when compiled, and rounds them when called directly.
    for found in (model.predict_on_batch(pictures), model(pictures).numpy()):
        np.testing.assert_allclose(found, expected, atol=1e-4)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("size", [1, 32, 33])
@pytest.mark.parametrize("fit", FITS)
def test_the_graph_prepares_pictures_as_the_decoder_does(fit, size):
    framing = Framing(size, fit)
    squares = keras.Input((size, size, 3))
    logits = keras.layers.Dense(2, name=LOGITS)(keras.layers.Flatten(name="flatten")(squares))
    model = picture_model(keras.Model(squares, logits), framing)
    apart = []
    for shape in SHAPES:
        picture = pixels(*shape)
        expected = prepared(picture, framing)
        found = seen_by_the_network(model, picture)
        assert found.dtype == np.float32
        assert set(np.unique(found)) <= set(range(256))  # whole grey levels
        apart.append(np.abs(found - expected).ravel())
    apart = np.concatenate(apart)
    assert apart.max() <= 1
    assert (apart > 0).mean() < ROUNDED_APART
    assert framing_of(model) == framing


def test_the_fits_differ():
    """Otherwise the agreement above would prove little."""
    wide = pixels(40, 90)
    results = [prepared(wide, Framing(32, fit)).astype(float) for fit in FITS]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(results[one] - results[other]).mean() > 10


def test_a_plain_call_is_inference(model):
    """Left to itself, the Resizing layer puts every layer after it into training mode."""
    before = [weight.copy() for weight in model.get_weights()]
    assert any("moving_mean" in weight.path for weight in model.weights)
    model(pixels(64, 33, 4))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_training_a_picture_model_is_still_possible(classifier):
    """What a plain call leaves alone, training moves."""
    model = picture_model(classifier, SQUEEZED)
    norm = next(layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))
    before = norm.moving_mean.numpy()
    model(pixels(64, 33, 4), training=True)
    assert np.abs(norm.moving_mean.numpy() - before).max() > 0


def test_the_pictures_tell_the_classes_apart(classifier):
    """Otherwise equal probabilities would prove little."""
    logits = np.concatenate([classifier.predict_on_batch(prepared(pixels(*size))) for size in SIZES[:4]])
    assert np.ptp(softmax(logits, axis=1), axis=0).max() > 0.02


def test_pixels_outside_the_range_are_clipped_as_preparing_clips_them(classifier, model):
    """Bicubic resizing overshoots at a hard edge."""
    edge = np.zeros((1, 9, 11, 3), np.uint8)
    edge[:, :, 5:] = 255
    unclipped = keras.Model(model.input, model.get_layer("resize").output)(edge).numpy()
    assert unclipped.min() < -1
    assert unclipped.max() > 256
    np.testing.assert_array_equal(seen_by_the_network(model, edge), prepared(edge))
    np.testing.assert_allclose(model(edge), softmax(classifier(prepared(edge)).numpy(), axis=1), atol=1e-5)


def test_the_prepared_part_gives_the_same_and_shares_the_weights(classifier):
    model = picture_model(classifier, SQUEEZED)
    part = prepared_model(model)
    batch = pixels(70, 41, 3)
    np.testing.assert_allclose(part.predict_on_batch(prepared(batch)), model(batch), atol=1e-4)
    before = part.predict_on_batch(prepared(batch))
    model.get_layer(LOGITS).bias.assign([5.0, 0.0, 0.0])
    after = part.predict_on_batch(prepared(batch))
    assert (after[:, 0] > before[:, 0]).all()


def test_the_picture_model_is_flat_and_takes_bytes(model):
    assert_flat(model)
    assert model.input.dtype == "uint8"
    assert model.input.shape == (None, None, None, 3)
    assert model.output.shape == (None, CLASSES)


def test_bytes_and_floats_of_prepared_pixels_give_the_same(classifier):
    """Batches are bytes; the network computes with floats."""
    batch = prepared(pixels(70, 41, 3))
    assert batch.dtype == np.uint8
    expected = classifier.predict_on_batch(batch.astype(np.float32))
    np.testing.assert_array_equal(classifier.predict_on_batch(batch), expected)
    np.testing.assert_array_equal(classifier(batch), classifier(batch.astype(np.float32)))


def test_the_prepared_part_has_gradients_for_its_pixels(classifier):
    """Those of rounding are zero: it must lie before the part begins."""
    part = prepared_model(picture_model(classifier, SQUEEZED))
    batch = tensorflow.constant(prepared(pixels(70, 41, 2)), tensorflow.float32)
    with tensorflow.GradientTape() as tape:
        tape.watch(batch)
        result = part(batch)[:, 0]
    assert np.abs(tape.gradient(result, batch)).max() > 0


def test_the_picture_model_is_a_copy(classifier):
    model = picture_model(classifier, SQUEEZED)
    before = classifier.predict_on_batch(prepared(pixels(32, 32)))
    for weight in model.weights:
        weight.assign(keras.ops.zeros_like(weight))
    np.testing.assert_array_equal(classifier.predict_on_batch(prepared(pixels(32, 32))), before)


OPEN = """
import sys
sys.modules["tltool"] = None  # importing it would fail
import keras
import numpy as np
pictures, out, *files = sys.argv[1:]
with np.load(pictures) as archive:
    batches = dict(archive)
results = {}
for file in files:
    model = keras.saving.load_model(file, safe_mode=True)
    results |= {f"{file} {name}": model(batch).numpy() for name, batch in batches.items()}
np.savez(out, **results)
"""


def test_saved_models_open_in_a_keras_without_tltool(tmp_path):
    backbone, head = parts(*TAPS["several stages"])
    classifier = attach_head(backbone, *TAPS["several stages"], head)
    models = {str(tmp_path / f"{fit}.keras"): picture_model(classifier, Framing(32, fit)) for fit in FITS}
    for (file, model), fit in zip(models.items(), FITS, strict=True):
        model.save(file)
        assert framing_of(keras.saving.load_model(file, safe_mode=True)) == Framing(32, fit)
    given, out = str(tmp_path / "given.npz"), str(tmp_path / "out.npz")
    pictures = {str(size): pixels(*size, count=2) for size in SIZES}
    np.savez(given, **pictures)
    command = [sys.executable, "-c", OPEN, given, out, *models]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(out) as results:
        assert len(results.files) == len(FITS) * len(SIZES)
        for file, model in models.items():
            for name, batch in pictures.items():
                np.testing.assert_allclose(results[f"{file} {name}"], model(batch), atol=1e-5)
