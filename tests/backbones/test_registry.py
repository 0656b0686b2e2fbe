import random
import subprocess
import sys

import keras
import numpy as np
import pytest

from tltool.backbones import Backbone, backbone_names, load_backbone, native_image_size, offline_names
from tltool.data.decoding import FITS, Framing
from tltool.errors import TltoolError, WeightsError


def test_listing_imports_no_keras():
    code = (
        "import sys, tltool.backbones as b; b.backbone_names(); b.offline_names(); b.native_image_size('resnet50');"
        "print([m for m in ('tensorflow', 'keras', 'jax', 'torch', 'h5py') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names():
    names = backbone_names()
    assert len(set(names)) == len(names)
    assert {"efficientnet_lite0", "resnet50", "convnext_tiny", "tiny_random"} <= set(names)
    assert set(offline_names()) <= set(names)
    assert "efficientnet_lite0" in offline_names()


def test_offline_names_are_those_of_installed_packages(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if "lite1" in name else object())
    assert offline_names() == ("efficientnet_lite0", "efficientnet_lite2")


@pytest.mark.parametrize(
    ("typo", "meant"), [("efficientnet_lite_0", "efficientnet_lite0"), ("ResNet-50", "resnet50"), ("vgg", "vgg")]
)
@pytest.mark.parametrize("function", [load_backbone, native_image_size])
def test_an_unknown_name_gets_a_suggestion(function, typo, meant):
    message = rf"no backbone '{typo}'. Did you mean '{meant}.*With weights on this machine: efficientnet_lite0"
    with pytest.raises(TltoolError, match=message):
        function(typo)


def test_a_name_like_no_other_gets_the_list_alone():
    with pytest.raises(TltoolError, match=r"no backbone '\?'. With weights on this machine"):
        load_backbone("?")


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet50", "tiny_random"])
@pytest.mark.parametrize("size", [31, 0, -1])
def test_too_small_a_picture_is_refused(name, size):
    with pytest.raises(TltoolError, match=f"{name}: image_size is {size}; it must be at least 32"):
        load_backbone(name, None, size)


def test_the_fit_is_carried_and_tells_features_apart():
    backbones = {fit: load_backbone("tiny_random", image_size=48, fit=fit) for fit in FITS}
    for fit, backbone in backbones.items():
        assert backbone.framing == Framing(48, fit)
    assert len({backbone.fingerprint for backbone in backbones.values()}) == 3
    assert load_backbone("tiny_random").framing == Framing(32, "squish")


def test_a_fit_that_does_not_exist_is_refused():
    with pytest.raises(TltoolError, match="there is no fit 'stretch'; it must be one of squish, crop, pad"):
        load_backbone("tiny_random", fit="stretch")


def test_lite_is_loaded_with_its_own_size_and_weights():
    backbone = load_backbone("efficientnet_lite0")
    assert isinstance(backbone, Backbone)
    assert backbone.image_size == native_image_size("efficientnet_lite0") == 224
    assert backbone.network.count_params() > 4_000_000


def test_tiny_random_is_the_same_each_time():
    random.seed(3)
    before = random.getstate()
    first = load_backbone("tiny_random")
    assert random.getstate() == before
    keras.utils.set_random_seed(1234)
    second = load_backbone("tiny_random", None)
    assert first.fingerprint == second.fingerprint
    assert [layer.name for layer in first.network.layers] == [layer.name for layer in second.network.layers]
    assert first.network.input_shape == (None, 32, 32, 3)
    assert first.network.output_shape == (None, 10)
    assert native_image_size("tiny_random") == first.image_size == 32


def test_tiny_random_remembers_what_passes_through_it():
    """Its BatchNorm statistics are those of pictures, so that similarity to them can be measured."""
    backbone = load_backbone("tiny_random", image_size=48)
    norms = [layer for layer in backbone.network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    taps = keras.Model(backbone.network.input, [norm.output for norm in norms])
    pictures = np.random.default_rng(0).uniform(0, 255, (64, 4, 4, 3)).repeat(12, axis=1).repeat(12, axis=2)
    for norm, output in zip(norms, taps.predict_on_batch(pictures.astype("float32")), strict=True):
        assert 0.1 < output.std(axis=(0, 1, 2)).mean() < 3, norm.name
        assert norm.momentum == 0.99


def test_tiny_random_takes_a_file(tmp_path):
    backbone = load_backbone("tiny_random")
    bias = backbone.network.get_layer("imagenet_logits").bias
    bias.assign(bias + 1)
    backbone.network.save_weights(tmp_path / "tiny.weights.h5")
    again = load_backbone("tiny_random", tmp_path / "tiny.weights.h5")
    np.testing.assert_array_equal(again.network.get_layer("imagenet_logits").bias, np.ones(10))
    with pytest.raises(WeightsError, match="no such weights file"):
        load_backbone("tiny_random", tmp_path / "none.weights.h5")
