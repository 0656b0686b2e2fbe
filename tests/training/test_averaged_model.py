"""The mean of members' probabilities as one model: against the mean in NumPy, at temperatures, here and elsewhere."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from scipy.special import expit, logit, softmax

from tests.ensembles.members import CLASSES, member, new_member, pictures, said
from tltool.errors import ShapeError, TltoolError
from tltool.heads.network import CLIP, LOGITS, framing_of, is_multi_label, prepared_model, squarings
from tltool.training.averaged_model import averaged_model

MIXED = {"one size": (32, 32, 32), "several sizes": (32, 48, 32)}


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("sizes", MIXED.values(), ids=MIXED)
def test_it_gives_the_mean(sizes, multi_label):
    members = [member(seed, size, multi_label=multi_label) for seed, size in enumerate(sizes)]
    model = averaged_model(members, CLASSES)
    for size in ((41, 50), (90, 33)):
        batch = pictures(4, *size)
        expected = np.mean([said(each, batch) for each in members], axis=0)
        assert np.abs(expected - said(members[0], batch)).max() > 0.05
        np.testing.assert_allclose(said(model, batch), expected, atol=1e-6)
    assert is_multi_label(model) == multi_label


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_follows_the_mean(temperature):
    batch = pictures()
    members = [member(0), member(1)]
    mean = np.mean([said(each, batch) for each in members], axis=0)
    expected = softmax(np.log(mean) / temperature, axis=1)
    model = averaged_model(members, CLASSES, temperature)
    np.testing.assert_allclose(said(model, batch), expected, atol=1e-6)
    logits = keras.Model(model.input, model.get_layer(LOGITS).output)
    np.testing.assert_allclose(said(logits, batch), np.log(mean) / temperature, atol=1e-4)


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_the_temperature_of_several_labels_is_that_of_their_log_odds(temperature):
    batch = pictures()
    members = [member(seed, multi_label=True) for seed in range(2)]
    mean = np.mean([said(each, batch) for each in members], axis=0)
    model = averaged_model(members, CLASSES, temperature)
    np.testing.assert_allclose(said(model, batch), expit(logit(mean) / temperature), atol=1e-5)


@pytest.mark.parametrize("multi_label", [False, True])
def test_probabilities_of_0_and_1_stay(multi_label):
    members = [new_member(seed, multi_label=multi_label) for seed in range(2)]
    for each in members:
        logits = each.get_layer(LOGITS)
        logits.set_weights([0 * logits.get_weights()[0], np.array([-500, 500, -500], np.float32)])
    assert said(members[0], pictures()).tolist() == [[0, 1, 0]] * 3
    np.testing.assert_allclose(said(averaged_model(members, CLASSES), pictures()), [[0, 1, 0]] * 3, atol=1e-7)


def test_members_with_one_backbone_cost_one_pass():
    members = [member(seed) for seed in range(5)]
    model = averaged_model(members, CLASSES)
    heads = 4 * members[0].get_layer(LOGITS).count_params()
    assert model.count_params() == members[0].count_params() + heads


def test_one_member_is_itself():
    model = averaged_model([member(0)], CLASSES)
    np.testing.assert_allclose(said(model, pictures()), said(member(0), pictures()), atol=1e-6)


def test_an_ensemble_may_be_a_member():
    members = [member(seed) for seed in range(3)]
    inner = averaged_model(members[:2], CLASSES)
    outer = averaged_model([inner, members[2]], CLASSES)
    batch = pictures()
    first, second, third = (said(each, batch) for each in members)
    np.testing.assert_allclose(said(outer, batch), (first + second) / 4 + third / 2, atol=1e-6)
    assert sum(isinstance(layer, keras.layers.DepthwiseConv2D) for layer in outer.layers) == sum(
        isinstance(layer, keras.layers.DepthwiseConv2D) for layer in inner.layers
    )


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_saved_ensemble_may_be_one_in_another_process(tmp_path, multi_label):
    """There Keras counts from the beginning, and would give operations the names that the member's have."""
    members = [new_member(seed, multi_label=multi_label) for seed in range(3)]
    averaged_model(members[:2], CLASSES).save(tmp_path / "inner.keras")
    batch = pictures()
    first, second, third = (said(each, batch) for each in members)
    keras.backend.clear_session()
    inner = keras.saving.load_model(tmp_path / "inner.keras")
    outer = averaged_model([inner, members[2], inner], CLASSES)
    np.testing.assert_allclose(said(outer, batch), (first + second + third) / 3, atol=1e-6)


def test_it_is_used_like_any_picture_model():
    """Of one size: squares are made once, and the rest takes them."""
    members = [member(0), member(1)]
    model = averaged_model(members, CLASSES)
    assert framing_of(model) == framing_of(members[0])
    square = squarings(model)[0](pictures(1)[0])
    np.testing.assert_array_equal(square, squarings(members[0])[0](pictures(1)[0]))
    expected = np.mean([said(prepared_model(each), square[None]) for each in members], axis=0)
    np.testing.assert_allclose(said(prepared_model(model), square[None]), expected, atol=1e-6)


def test_the_graph_is_flat_and_its_names_are_legal():
    model = averaged_model([member(0, 32), member(1, 48)], CLASSES)
    names = [layer.name for layer in model.layers]
    assert len(set(names)) == len(names)
    assert all(name.replace("_", "").isalnum() for name in names)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert model.input.dtype == "uint8"
    assert model.get_layer(CLIP).output.shape[1] == 32


OPEN = """
import sys
sys.modules["tltool"] = None  # importing it would fail
import keras
import numpy as np
pictures, out, *files = sys.argv[1:]
models = [keras.saving.load_model(file, safe_mode=True) for file in files]
np.savez(out, *[keras.ops.convert_to_numpy(model(np.load(pictures))) for model in models])
"""


def test_saved_ones_open_in_a_keras_without_tltool(tmp_path):
    models = [
        averaged_model([member(0, 32), member(1, 48)], CLASSES, 1.5),
        averaged_model([member(0, multi_label=True), member(1, multi_label=True)], CLASSES, 1.5),
    ]
    files = [tmp_path / f"{number}.keras" for number in range(2)]
    for model, file in zip(models, files, strict=True):
        model.save(file)
    np.save(tmp_path / "pictures.npy", pictures())
    command = [sys.executable, "-c", OPEN, tmp_path / "pictures.npy", tmp_path / "out.npz", *files]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz") as results:
        for name, model in zip(results.files, models, strict=True):
            np.testing.assert_allclose(results[name], said(model, pictures()), atol=1e-5)


def test_what_has_no_mean_is_refused():
    with pytest.raises(ShapeError, match="no model"):
        averaged_model([], CLASSES)
    with pytest.raises(ShapeError, match="Member 1 of 2 has 3 classes, but 2 names"):
        averaged_model([member(0), member(1)], CLASSES[:2])
    with pytest.raises(TltoolError, match="have no mean"):
        averaged_model([member(0), member(1, multi_label=True)], CLASSES)
    for temperature in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(TltoolError, match="above 0"):
            averaged_model([member(0)], CLASSES, temperature)
