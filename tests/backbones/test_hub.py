"""Backbones of KerasHub as tltool takes them apart, against KerasHub's own networks; random weights."""

import keras
import numpy as np
import pytest

pytest.importorskip("keras_hub", reason='runs again with `pip install "tltool[hub]"`')

import keras_hub

from tests.backbones.hub_presets import MADE, SIZE, TRANSFORMERS, expected, pictures, preset
from tltool.backbones import load_backbone, native_image_size
from tltool.backbones.hub import build_hub, whole_name
from tltool.errors import RecipeError, TltoolError, WeightsError
from tltool.features.engine import load_engine
from tltool.features.reading import FEATURES, reading_model
from tltool.features.taps import pooled, tap_layout
from tltool.recipes import load_recipe

EXTRA = {"vit": 1, "deit": 2, "dinov2": 3, "siglip": 0, "resnet": 0}


def hub(kind, **about):
    return load_backbone(f"hub:{preset(kind)[1]}", **about)


def run(backbone, output):
    return np.array(keras.Model(backbone.network.input, output)(pictures()))


@pytest.mark.parametrize("kind", MADE)
def test_the_last_stage_is_what_kerashub_gives(kind):
    backbone = hub(kind)
    last = backbone.network.get_layer(backbone.stages[-1].layer).output
    np.testing.assert_allclose(run(backbone, last), expected(kind), rtol=1e-4, atol=1e-4)
    assert backbone.extra_tokens == EXTRA[kind]
    assert native_image_size(backbone.name) == backbone.image_size == SIZE


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_features_are_the_mean_of_the_patches_and_the_class_token(kind):
    backbone, tokens = hub(kind), expected(kind)
    assert backbone.stage_names == ("embedding", "block1", "block2", "top")
    patches = tokens[:, EXTRA[kind] :]
    parts = [patches.mean(axis=1), *([tokens[:, 0]] if EXTRA[kind] else []), patches.std(axis=1)]
    found = run(backbone, pooled(backbone, ["top"], ["mean", "std"]))
    np.testing.assert_allclose(found, np.concatenate(parts, axis=1), rtol=1e-3, atol=1e-3)
    layout = tap_layout(backbone)
    assert len(layout.select(["top"], ["mean"])) == (32 if EXTRA[kind] else 16)
    # Patches lie in the map as they lie in the picture.
    given = run(backbone, backbone.feature_map("top"))
    np.testing.assert_allclose(given.reshape(patches.shape), patches, rtol=1e-4, atol=1e-4)


def test_stages_between_are_kerashubs_own():
    backbone, (model, _) = hub("dinov2"), preset("dinov2")
    own = keras.Model(model.input, [model.pyramid_outputs[name] for name in ("stem", "stage1", "stage2")])
    normalize = backbone.network.get_layer("preprocess_normalize")
    outputs = own({"images": normalize(pictures())})
    for name, output in zip(("embedding", "block1", "block2"), outputs, strict=True):
        np.testing.assert_allclose(run(backbone, backbone.network.get_layer(name).output), output, atol=1e-4)


@pytest.mark.parametrize("kind", MADE)
def test_the_engine_reads_what_keras_reads(kind):
    backbone = hub(kind)
    model = reading_model(backbone)
    features, confidence = load_engine(model, FEATURES)(pictures())
    np.testing.assert_allclose(features, np.array(model(pictures())[0]), rtol=1e-3, atol=1e-3)
    assert features.shape == (3, tap_layout(backbone).width)
    assert np.array_equal(confidence, np.zeros((3, 1)))  # it has no classifier


def test_random_weights_and_a_file_of_weights(tmp_path):
    pretrained, random = hub("vit"), hub("vit", weights=None)
    assert random.fingerprint != pretrained.fingerprint
    assert "Random weights" in random.licence
    file = tmp_path / "own.weights.h5"
    pretrained.network.save_weights(file)
    again = hub("vit", weights=file)
    for one, other in zip(pretrained.network.weights, again.network.weights, strict=True):
        assert np.array_equal(one, other)
    with pytest.raises(WeightsError, match="no such weights file"):
        hub("vit", weights=tmp_path / "none.weights.h5")


def test_sizes():
    assert hub("resnet", image_size=64).network.input.shape == (None, 64, 64, 3)
    larger = hub("dinov2", image_size=48)
    assert larger.feature_map("top").shape == (None, 6, 6, 16)
    for kind in ("vit", "siglip"):
        with pytest.raises(TltoolError, match="does not take 64 x 64 pixels; its own are 32"):
            hub(kind, image_size=64)


def test_what_cannot_be_loaded_names_the_alternatives(tmp_path):
    with pytest.raises(WeightsError, match=r"hub:no_such_preset could not be loaded .* efficientnet_lite0.*hub:FOLDER"):
        load_backbone("hub:no_such_preset")
    keras_hub.models.ViTBackbone.from_preset(str(preset("vit")[1])).save_to_preset(tmp_path)
    with pytest.raises(WeightsError, match="could not be loaded from KerasHub"):  # without an image converter
        load_backbone(f"hub:{tmp_path}")
    with pytest.raises(TltoolError, match="no backbone 'hub:'"):
        load_backbone("hub:")


def test_without_kerashub_it_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "keras_hub", None)
    with pytest.raises(TltoolError, match=r"pip install \"tltool\[hub\]\""):
        build_hub("hub:dinov2_base", "pretrained")


def test_a_family_that_cannot_be_taken_apart_is_refused(monkeypatch):
    seen = keras_hub.models.DINOV3Backbone(8, 1, 16, 2, 32, image_shape=(SIZE, SIZE, 3))
    monkeypatch.setattr("tltool.backbones.hub._load", lambda *args, **about: seen)
    with pytest.raises(TltoolError, match="cannot take a DINOV3Backbone apart"):
        hub("vit")


def test_a_recipe_may_name_any_preset():
    assert load_recipe("linear-probe", ["backbone=hub:dinov2_base"]).backbone == "hub:dinov2_base"
    with pytest.raises(RecipeError, match="unknown backbone 'hub:'"):
        load_recipe("linear-probe", ["backbone=hub:"])


def test_a_folder_is_named_in_full(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert whole_name("hub:mine") == f"hub:{tmp_path / 'mine'}"
    assert [whole_name(name) for name in ("hub:dinov2_base", "resnet50", "auto")] == [
        "hub:dinov2_base",
        "resnet50",
        "auto",
    ]
