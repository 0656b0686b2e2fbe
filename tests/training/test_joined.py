"""Features of two backbones under one head: side by side in a table, and in one graph that takes pictures."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from tests.pictures import make_class_folders
from tltool.backbones import load_backbone
from tltool.data.decoding import decode, prepare
from tltool.errors import ShapeError, TltoolError
from tltool.features.extract import extract
from tltool.features.taps import pooled
from tltool.heads.logistic import LinearHead, LogisticProblem, to_probabilities
from tltool.heads.network import is_multi_label
from tltool.training.joined import joined_model, joined_stage, joined_table

POOLINGS = ("mean", "std")
STAGES = ("small/stage2", "small/top", "large/top")


@pytest.fixture(scope="module")
def backbones():
    return [
        replace(load_backbone("tiny_random", image_size=size), name=name)
        for name, size in (("small", 32), ("large", 48))
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_class_folders(tmp_path_factory.mktemp("joined"), {"ant": 8, "bee": 8, "cat": 8}, size=60)


@pytest.fixture(scope="module")
def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


@pytest.fixture(scope="module")
def tables(backbones, folder, files):
    return {backbone.name: extract(backbone, folder, files) for backbone in backbones}


@pytest.fixture(scope="module")
def head(tables):
    labels = np.repeat(np.arange(3), 8)
    return LogisticProblem(joined_table(tables).select(STAGES, POOLINGS), labels, 3).fit(0.1)


def test_the_columns_stand_side_by_side_in_the_order_of_the_backbones(tables):
    joined = joined_table(tables)
    expected = [tables["small"].select(("stage2", "top"), POOLINGS), tables["large"].select(("top",), POOLINGS)]
    np.testing.assert_array_equal(joined.select(STAGES, POOLINGS), np.concatenate(expected, axis=1))
    assert joined.values.shape[1] == joined.layout.width == sum(table.layout.width for table in tables.values())
    assert joined.keys == tables["small"].keys


def test_only_pictures_that_all_could_read_are_joined(tables):
    fewer = {"small": tables["small"].take(np.array([0, 2, 3, 5])), "large": tables["large"].take(np.array([2, 4, 5]))}
    joined = joined_table(fewer)
    assert joined.indices.tolist() == [2, 5]
    expected = np.concatenate([tables["small"].values[[2, 5]], tables["large"].values[[2, 5]]], axis=1)
    np.testing.assert_array_equal(joined.values, expected)


def test_features_of_other_pictures_are_refused(tables):
    other = replace(tables["large"], keys=tables["large"].keys[::-1])
    with pytest.raises(ShapeError, match="small and of large are of different pictures"):
        joined_table({"small": tables["small"], "large": other})
    with pytest.raises(ShapeError, match="no features"):
        joined_table({})


def test_no_backbone_outweighs_another_by_its_scale(tables):
    """The solver standardizes columns: features a thousand times as large give the same classifier."""
    labels = np.repeat(np.arange(3), 8)
    logits = []
    for factor in (1.0, 1000.0):
        large = replace(tables["large"], values=factor * tables["large"].values)
        values = joined_table({"small": tables["small"], "large": large}).select(STAGES, POOLINGS)
        logits.append(LogisticProblem(values, labels, 3).fit(0.1).logits(values))
    np.testing.assert_allclose(*logits, atol=1e-2)


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_model_gives_the_head_on_the_features(backbones, folder, files, tables, head, multi_label):
    model = joined_model(backbones, STAGES, POOLINGS, head, multi_label=multi_label)
    expected = to_probabilities(head.logits(joined_table(tables).select(STAGES, POOLINGS)), multi_label)
    for row in (0, 9, 20):
        found = keras.ops.convert_to_numpy(model(decode(folder / files[row])[None], training=False))[0]
        np.testing.assert_allclose(found, expected[row], atol=5e-3)  # resized in the graph: rounding differs
    assert is_multi_label(model) == multi_label


def test_the_model_is_the_backbones_on_squares_of_their_own(backbones, head):
    """To the last digits: 32 x 32 and 48 x 48 from one picture, each through its own network, then the head."""
    picture = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    features = []
    for backbone, stages in zip(backbones, (("stage2", "top"), ("top",)), strict=True):
        network = keras.Model(backbone.network.input, pooled(backbone, stages, POOLINGS))
        features.append(network(prepare(picture, backbone.framing)[None].astype(np.float32), training=False))
    expected = to_probabilities(head.logits(np.concatenate(features, axis=1)), multi_label=False)
    model = joined_model(backbones, STAGES, POOLINGS, head)
    np.testing.assert_allclose(model(picture[None], training=False), expected, atol=2e-3)


def test_saved_and_loaded_it_is_the_same(backbones, head, tmp_path):
    model = joined_model(backbones, STAGES, POOLINGS, head)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    picture = np.random.default_rng(0).integers(0, 256, (1, 70, 40, 3), dtype=np.uint8)
    np.testing.assert_allclose(loaded(picture, training=False), model(picture, training=False), atol=1e-6)
    names = [layer.name for layer in model.layers]
    assert len(set(names)) == len(names)
    assert all(name.replace("_", "").isalnum() for name in names)


def test_one_size_is_resized_once(backbones):
    twin = replace(load_backbone("tiny_random"), name="twin")
    random = np.random.default_rng(0)
    stages = ("small/top", "twin/top")
    width = sum(pooled(backbone, ("top",), ("mean",)).shape[-1] for backbone in (backbones[0], twin))
    head = LinearHead(random.normal(size=(width, 2)).astype(np.float32), np.zeros(2, np.float32), 1.0)
    model = joined_model([backbones[0], twin], stages, ("mean",), head)
    assert sum(isinstance(layer, keras.layers.Resizing) for layer in model.layers) == 1


def test_names_and_widths_must_fit(backbones, head):
    assert joined_stage("small", "top") == "small/top"
    with pytest.raises(TltoolError, match="Name each once"):
        joined_model([backbones[0], backbones[0]], STAGES, POOLINGS, head)
    with pytest.raises(ShapeError, match="A head for"):
        joined_model(backbones, STAGES[:1], POOLINGS, head)
