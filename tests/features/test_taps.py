"""Which numbers are read off a backbone, and in which order."""

import keras
import numpy as np
import pytest

from tltool.backbones import load_backbone
from tltool.errors import TltoolError
from tltool.features.taps import EXTRA_POOLINGS, POOLINGS, extra_poolings, pooled, resolve_taps, tap_layout
from tltool.layers.fractional_max_pooling import FractionalMaxPooling2D


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("tiny_random")


@pytest.fixture(scope="module")
def pictures(backbone):
    size = backbone.image_size
    return np.random.default_rng(0).uniform(0, 255, (4, size, size, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def feature_maps(backbone, pictures):
    """By stage, from the network alone."""
    outputs = {stage.name: backbone.network.get_layer(stage.layer).output for stage in backbone.stages}
    return keras.Model(backbone.network.input, outputs).predict_on_batch(pictures)


def read(backbone, stages, poolings, pictures):
    return keras.Model(backbone.network.input, pooled(backbone, stages, poolings)).predict_on_batch(pictures)


def test_resolve_taps(backbone):
    names = backbone.stage_names
    assert resolve_taps(backbone, "all") == names
    assert resolve_taps(backbone, "last") == ("top",) == names[-1:]
    assert resolve_taps(backbone, ["stage3"]) == ("stage3",)
    assert resolve_taps(backbone, ["top", "stem", "stage2", "stem"]) == ("stem", "stage2", "top")


def test_a_tap_that_the_backbone_lacks(backbone):
    with pytest.raises(TltoolError, match=r"tiny_random has no stage 'stage9'\. Its stages: stem, stage1"):
        resolve_taps(backbone, ["stem", "stage9"])


def test_pooled_values_are_those_of_the_feature_maps(backbone, pictures, feature_maps):
    layout = tap_layout(backbone)
    values = read(backbone, backbone.stage_names, POOLINGS, pictures)
    assert values.shape == (4, layout.width)
    for stage in backbone.stage_names:
        maps = feature_maps[stage].astype(np.float64)
        means, deviations = maps.mean(axis=(1, 2)), maps.std(axis=(1, 2))
        assert layout.select([stage], ["mean"]).shape == (maps.shape[-1],)
        np.testing.assert_allclose(values[:, layout.select([stage], ["mean"])], means, rtol=1e-4, atol=1e-5)
        # The floor under the root is a thousandth: below it, deviations cannot be told apart.
        np.testing.assert_allclose(values[:, layout.select([stage], ["std"])], deviations, rtol=1e-3, atol=1.1e-3)


@pytest.mark.parametrize(
    ("stages", "poolings"),
    [
        (("top",), ("mean",)),
        (("top",), ("std",)),
        (("stem", "stage4", "top"), ("mean", "std")),
        (("top", "stem"), ("std", "mean")),  # the order asked for does not matter
        (("stage1", "stage2"), ("std",)),
    ],
)
def test_selected_columns_are_what_pooling_those_stages_gives(backbone, pictures, stages, poolings):
    everything = read(backbone, backbone.stage_names, POOLINGS, pictures)
    chosen = everything[:, tap_layout(backbone).select(stages, poolings)]
    np.testing.assert_allclose(chosen, read(backbone, stages, poolings, pictures), rtol=1e-5, atol=1e-6)


def test_the_columns_of_all_stages_are_each_taken_once(backbone):
    layout = tap_layout(backbone)
    parts = [layout.select([stage], [pooling]) for stage in backbone.stage_names for pooling in POOLINGS]
    assert np.concatenate(parts).tolist() == list(range(layout.width))
    assert layout.select(backbone.stage_names, POOLINGS).tolist() == list(range(layout.width))


def test_a_picture_of_one_colour_has_finite_features_and_gradients(backbone):
    """A deviation of zero has no derivative; fine-tuning through it must not turn weights into NaN."""
    import tensorflow as tf

    size = backbone.image_size
    pixels = tf.Variable(np.full((1, size, size, 3), 128, np.float32))
    model = keras.Model(backbone.network.input, pooled(backbone, ["stem"], ["std"]))
    with tf.GradientTape() as tape:
        total = keras.ops.sum(model(pixels, training=False))
    assert np.isfinite(total)
    assert np.isfinite(tape.gradient(total, pixels)).all()


def test_a_pooling_that_was_not_read_cannot_be_selected(backbone):
    with pytest.raises(TltoolError, match="read without the pooling 'fractional-max'"):
        tap_layout(backbone).select(backbone.stage_names, ["mean", "fractional-max"])


def test_fractional_max_pooling_comes_after_the_others(backbone, pictures):
    everything = read(backbone, backbone.stage_names, (*POOLINGS, *EXTRA_POOLINGS), pictures)
    layout = tap_layout(backbone, EXTRA_POOLINGS)
    assert everything.shape[1] == layout.width
    alone = read(backbone, ["stem"], ["fractional-max"], pictures)
    np.testing.assert_allclose(everything[:, layout.select(["stem"], ["fractional-max"])], alone, rtol=1e-5, atol=1e-6)
    feature_map = keras.Model(backbone.network.input, backbone.network.get_layer(backbone.stage("stem").layer).output)
    pool = FractionalMaxPooling2D(2**0.5)
    twice = pool(FractionalMaxPooling2D(2**0.5)(feature_map.predict_on_batch(pictures)))
    np.testing.assert_allclose(alone, keras.ops.mean(twice, axis=(1, 2)), rtol=1e-5, atol=1e-6)
    assert extra_poolings(["fractional-max", "mean"]) == ("fractional-max",)
    assert extra_poolings(["mean", "std"]) == ()
