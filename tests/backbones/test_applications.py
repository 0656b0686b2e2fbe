import importlib
import inspect
import re
import urllib.error

import keras
import numpy as np
import pytest

from tltool.backbones.application_graph import TORCH_DEVIATION_RGB, TORCH_MEAN_RGB
from tltool.backbones.applications import APPLICATIONS, build_application
from tltool.backbones.backbone import PREPROCESSING
from tltool.errors import TltoolError, WeightsError

# One small member of each family, the module that holds its preprocess_input, and the heights of its stages' maps.
FAMILIES = {
    "resnet50": ("resnet", (112, 56, 28, 14, 7)),
    "resnet50_v2": ("resnet_v2", (112, 56, 28, 14, 7)),
    "mobilenet": ("mobilenet", (112, 56, 28, 14, 7)),
    "mobilenet_v2": ("mobilenet_v2", (112, 56, 28, 14, 7)),
    "mobilenet_v3_small": ("mobilenet_v3", (112, 56, 28, 14, 7)),
    "efficientnet_b0": ("efficientnet", (112, 56, 28, 14, 7)),
    "efficientnet_v2_b0": ("efficientnet_v2", (112, 56, 28, 14, 7)),
    "convnext_tiny": ("convnext", (56, 28, 14, 7)),
    "densenet121": ("densenet", (112, 56, 28, 14, 7)),
    "nasnet_mobile": ("nasnet", (111, 56, 28, 14, 7)),
    "vgg16": ("vgg16", (224, 112, 56, 28, 14, 7)),
    "xception": ("xception", (147, 74, 37, 19, 10)),
    "inception_v3": ("inception_v3", (147, 71, 35, 17, 8)),
    "inception_resnet_v2": ("inception_resnet_v2", (147, 71, 35, 17, 8)),
}


def original(name: str, size: int, **kwargs) -> keras.Model:
    build = getattr(keras.applications, APPLICATIONS[name].attribute)
    return build(weights=None, input_shape=(size, size, 3), classifier_activation=None, **kwargs)


def scatter(network: keras.Model, low: float, high: float) -> None:
    """Weights as if trained: the initial zeros, near-zero scales and unfit statistics would hide mistakes."""
    generator = np.random.default_rng(0)
    changed = [np.abs(w + generator.normal(0, 0.05, w.shape)) if w.ndim == 1 else w for w in network.get_weights()]
    network.set_weights(changed)
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
    network(generator.uniform(low, high, (8, *network.input_shape[1:])).astype("float32"), training=True)


def pictures(size: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (2, size, size, 3)).astype("float32")


def test_the_table_covers_every_classifier_of_keras():
    functions = {name for name, _ in inspect.getmembers(keras.applications, inspect.isfunction)}
    assert {application.attribute for application in APPLICATIONS.values()} == functions
    modules = {re.sub(r"_?\d*$", "", module) for module, _ in FAMILIES.values()}
    offered = {name for name, _ in inspect.getmembers(keras.applications, inspect.ismodule)} - {"imagenet_utils"}
    assert {re.sub(r"_?\d*$", "", name) for name in offered} == modules


@pytest.mark.parametrize("name", FAMILIES)
def test_a_member_of_each_family(name):
    module, heights = FAMILIES[name]
    backbone = build_application(name, None)
    network = backbone.network
    assert network.output_shape == (None, 1000)
    assert network.layers[-1].get_config().get("activation", "linear") == "linear"

    # Flat, of named layers only.
    assert len(network.operations) == len(network.layers)
    assert not any(isinstance(layer, keras.Model) for layer in network.layers)
    names = [layer.name for layer in network.layers]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[A-Za-z][A-Za-z0-9_]*", layer) for layer in names)

    # Stages.
    assert tuple(network.get_layer(stage.layer).output.shape[1] for stage in backbone.stages) == heights
    assert backbone.stage_names == (*(f"stage{n}" for n in range(1, len(heights))), "top")
    listed = [layer.name for stage in backbone.stage_names for layer in backbone.layers_of(stage)]
    expected = names[: names.index(backbone.stages[-1].layer) + 1]
    assert listed == [layer for layer in expected if not layer.startswith(PREPROCESSING)]

    # Preprocessing.
    pixels = pictures(backbone.image_size)
    preprocess = importlib.import_module(f"keras.applications.{module}").preprocess_input
    fixed = [layer for layer in network.layers if layer.name.startswith(PREPROCESSING)]
    mine = keras.Model(network.input, fixed[-1].output).predict_on_batch(pixels) if fixed else pixels
    np.testing.assert_allclose(mine, preprocess(pixels.copy()), atol=1e-4)
    assert not any(layer.trainable_weights for layer in fixed)


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny"])
def test_a_local_weights_file_round_trip(name, tmp_path):
    """A file saved from Keras's own network gives Keras's own logits; one of ours opens in safe mode."""
    theirs = original(name, 64)
    scatter(theirs, *((-128, 128) if name == "resnet50" else (0, 255)))
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    backbone = build_application(name, str(tmp_path / "theirs.weights.h5"), 64)
    module = importlib.import_module(f"keras.applications.{FAMILIES[name][0]}")
    pixels = pictures(64)
    logits = backbone.network.predict_on_batch(pixels)
    expected = theirs.predict_on_batch(module.preprocess_input(pixels.copy()))
    assert np.ptp(expected[0] - expected[1]) > 1e-3 * np.abs(expected).max()
    np.testing.assert_allclose(logits, expected, atol=2e-5 * np.abs(expected).max())

    backbone.network.save(tmp_path / "ours.keras")
    opened = keras.saving.load_model(tmp_path / "ours.keras", safe_mode=True)
    np.testing.assert_allclose(opened.predict_on_batch(pixels), logits, atol=2e-5 * np.abs(expected).max())
    again = build_application(name, tmp_path / "ours.keras", 64)
    assert again.fingerprint == backbone.fingerprint
    assert [layer.name for layer in again.network.layers] == [layer.name for layer in backbone.network.layers]


@pytest.fixture
def released(monkeypatch, tmp_path):
    """EfficientNetB0 as Keras offers it for download, with its deviation in the place of the variance."""
    network = original("efficientnet_b0", 224)
    scatter(network, 0, 255)
    normalization = next(layer for layer in network.layers if isinstance(layer, keras.layers.Normalization))
    normalization.set_weights([np.array(TORCH_MEAN_RGB), np.array(TORCH_DEVIATION_RGB), np.array(0)])
    network.save(tmp_path / "efficientnetb0.h5")
    module = inspect.getmodule(inspect.unwrap(keras.applications.EfficientNetB0))
    monkeypatch.setattr(module.file_utils, "get_file", lambda *_args, **_kwargs: str(tmp_path / "efficientnetb0.h5"))
    return tmp_path / "efficientnetb0.h5"


def test_pretrained_weights_are_those_of_keras(released):
    """At Keras's size, at another, and from the file that Keras downloads, given as a path."""
    theirs = keras.applications.EfficientNetB0(weights="imagenet", classifier_activation=None)
    # Not the logits: the network is not trained, and a rounding error in its input grows from block to block.
    expected = at_block(theirs, pictures(224))
    native, local = (build_application("efficientnet_b0", weights).network for weights in ("pretrained", released))
    smaller = build_application("efficientnet_b0", "pretrained", 64).network
    for network in (native, local):
        np.testing.assert_allclose(at_block(network, pictures(224)), expected, atol=1e-5 * np.abs(expected).max())
    statistics = 3  # mean, variance and count of the input normalization, where the released file is put right
    for network in (native, local, smaller):
        for mine, wanted in zip(network.get_weights()[statistics:], theirs.get_weights()[statistics:], strict=True):
            np.testing.assert_array_equal(mine, wanted)


def at_block(network: keras.Model, pixels: np.ndarray) -> np.ndarray:
    return keras.Model(network.input, network.get_layer("block3a_project_bn").output).predict_on_batch(pixels)


def test_without_a_network_the_error_names_what_works(monkeypatch, tmp_path, capsys):
    files = importlib.import_module("keras.src.utils.file_utils")
    monkeypatch.setattr(files.config, "keras_home", lambda: str(tmp_path))

    def unreachable(*_args, **_kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(files, "urlretrieve", unreachable)
    with pytest.raises(WeightsError) as caught:
        build_application("mobilenet_v3_small", "pretrained")
    message = str(caught.value)
    assert message.startswith("The ImageNet weights of mobilenet_v3_small could not be downloaded (")
    assert "no route to host" in message
    assert "efficientnet_lite0" in message
    assert "weights file" in message
    assert "\n" not in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert capsys.readouterr().out == ""


def test_files_that_do_not_fit_are_refused(tmp_path):
    other = tmp_path / "other.weights.h5"
    original("mobilenet_v2", 32).save_weights(other)
    (tmp_path / "damaged.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    (tmp_path / "damaged.keras").write_bytes(b"PK\x03\x04")
    (tmp_path / "weights.pth").touch()
    for file, reason in [
        ("other.weights.h5", "not weights of mobilenet"),
        ("damaged.h5", "not weights of mobilenet"),
        ("damaged.keras", "not weights of mobilenet"),
        ("weights.pth", "unknown kind of weights file; give one that ends in .weights.h5"),
        ("none.h5", "no such weights file"),
    ]:
        with pytest.raises(WeightsError, match=f"{file}: {reason}") as caught:
            build_application("mobilenet", tmp_path / file, 32)
        assert "\n" not in str(caught.value)


def test_sizes_that_a_network_does_not_take():
    with pytest.raises(TltoolError, match="vgg16 takes pictures of 224 x 224 pixels only, not 192 x 192"):
        build_application("vgg16", None, 192)
    with pytest.raises(TltoolError, match=r"inception_v3 does not take 64 x 64 pixels; its own are 299.*at least 75"):
        build_application("inception_v3", None, 64)
