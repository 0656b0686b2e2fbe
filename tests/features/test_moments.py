"""What the BatchNorm layers see, against NumPy on the inputs of those layers."""

import keras
import numpy as np
import pytest

from tests.pictures import make_class_folders
from tltool.backbones import load_backbone
from tltool.backbones.backbone import Backbone, Stage
from tltool.data.decoding import decode, prepare
from tltool.features import moments as module
from tltool.features.engine import ENGINE_BATCH
from tltool.features.extract import content_keys
from tltool.features.moments import batchnorm_moments


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("tiny_random")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """More than one batch, and the last one not full: an average of batch averages would be off."""
    root = make_class_folders(tmp_path_factory.mktemp("photos"), {"ant": 10, "bee": 9}, size=40)
    found = sorted(root.rglob("*.png"))
    assert len(found) % ENGINE_BATCH not in (0, len(found))
    return found


def keys_of(paths):
    return content_keys(paths[0].parent, [path.as_posix() for path in paths])[0]


def test_moments_are_those_of_the_inputs_of_the_layers(backbone, paths):
    found = batchnorm_moments(backbone, paths, keys_of(paths))
    norms = [layer for layer in backbone.network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(found) == len(norms) > 20
    pixels = np.stack([prepare(decode(path), backbone.framing) for path in paths])
    inputs = keras.Model(backbone.network.input, [norm.input for norm in norms]).predict_on_batch(pixels)
    for layer, norm, values in zip(found, norms, inputs, strict=True):
        values = values.astype(np.float64)
        variance = values.var(axis=(0, 1, 2))
        np.testing.assert_allclose(layer.mean, values.mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(layer.variance, variance, rtol=1e-3, atol=1e-5 * (values**2).mean())
        np.testing.assert_allclose(layer.remembered_mean, norm.moving_mean)
        np.testing.assert_allclose(layer.remembered_variance, norm.moving_variance)
        assert layer.epsilon == norm.epsilon
        assert norm.name.startswith(layer.stage)


def test_the_same_pictures_are_measured_once(backbone, paths, monkeypatch):
    keys = keys_of(paths)
    first = batchnorm_moments(backbone, paths, keys)
    measure = module._measure
    monkeypatch.setattr(module, "_measure", lambda *args: pytest.fail("these were known"))
    again = batchnorm_moments(load_backbone("tiny_random"), paths[::-1], keys[::-1])
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.mean, other.mean)
        np.testing.assert_array_equal(one.variance, other.variance)
    monkeypatch.setattr(module, "_measure", measure)
    fewer = batchnorm_moments(backbone, paths[:10], keys[:10])
    assert (fewer[0].mean != first[0].mean).any()


def test_measuring_leaves_what_the_layers_remember(backbone, paths):
    before = [weight.copy() for weight in backbone.network.get_weights()]
    batchnorm_moments(backbone, paths, keys_of(paths))
    for old, new in zip(before, backbone.network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_network_without_batchnorm_has_no_moments(paths):
    picture = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(picture)
    network = keras.Model(picture, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x)))
    plain = Backbone("plain", network, (Stage("only", "conv"),), 32, "none")
    assert batchnorm_moments(plain, paths, keys_of(paths)) == []


def test_a_constant_channel_has_no_negative_variance(backbone, paths):
    """Mean square minus squared mean cancels; rounding alone would leave a little below zero."""
    found = batchnorm_moments(backbone, paths[:1], keys_of(paths[:1]))
    assert min(layer.variance.min() for layer in found) >= 0


def test_progress_ends_at_the_number_of_pictures(backbone, paths):
    told = []
    batchnorm_moments(backbone, paths, keys_of(paths), lambda *report: told.append(report))
    assert [done for _, done, _ in told] == [8, 16, 19]
    assert {(task, total) for task, _, total in told} == {(module.TASK, 19)}
