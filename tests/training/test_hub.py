"""Fine-tuning, saving and explaining backbones of KerasHub: tiny ones, with random weights."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

pytest.importorskip("keras_hub", reason='runs again with `pip install "tltool[hub]"`')

import tltool as tl
from tests.backbones.hub_presets import pictures, preset
from tests.pictures import make_class_folders
from tests.training.bench import changed, weights_of
from tltool.backbones import load_backbone
from tltool.evaluation.gradcam import grad_cam
from tltool.features.taps import tap_layout
from tltool.heads.logistic import LinearHead
from tltool.heads.network import attach_head
from tltool.optimizers.layer_rates import layer_groups, with_layer_rates
from tltool.training.selection import select_trainable


def classifier(kind):
    """The backbone, and it with a head of two classes on its top."""
    backbone = load_backbone(f"hub:{preset(kind)[1]}")
    width = len(tap_layout(backbone).select(["top"], ["mean"]))
    kernel = np.random.default_rng(2).normal(size=(width, 2)).astype("float32")
    return backbone, attach_head(backbone, ["top"], ["mean"], LinearHead(kernel, np.zeros(2, "float32"), 1.0))


def step(model, optimizer):
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.train_on_batch(pictures(4), np.array([0, 1, 0, 1]))


def stages_of(backbone, paths):
    """Which stages hold the variables of these paths; "head" for those that are no stage's."""
    names = {layer.name: stage for stage in backbone.stage_names for layer in backbone.layers_of(stage)}
    return {names.get(path.split("/")[0], "head") for path in paths}


@pytest.mark.parametrize(
    ("trainable", "moved"),
    [
        ("head", {"head"}),
        ("top:1", {"head", "top"}),
        (("block1",), {"head", "block1"}),
        ("all", {"head", "embedding", "block1", "block2", "top"}),
    ],
)
@pytest.mark.parametrize("kind", ["vit", "dinov2"])
def test_what_is_frozen_stays(kind, trainable, moved):
    backbone, model = classifier(kind)
    select_trainable(model, backbone, trainable)
    before = weights_of(model)
    step(model, keras.optimizers.SGD(0.1))
    assert stages_of(backbone, changed(before, weights_of(model))) == moved


@pytest.mark.parametrize("kind", ["vit", "dinov2"])
def test_normalization_alone_is_trained_inside_blocks_too(kind):
    backbone, model = classifier(kind)
    select_trainable(model, backbone, "norm")
    before = weights_of(model)
    step(model, keras.optimizers.SGD(0.1))
    moved = changed(before, weights_of(model))
    assert stages_of(backbone, moved) == {"head", "block1", "block2", "top"}
    assert {path.split("/")[-1] for path in moved if not path.startswith("logits")} == {"gamma", "beta"}


def test_a_convolutional_one_is_frozen_by_stages_with_its_statistics():
    backbone, model = classifier("resnet")
    select_trainable(model, backbone, "top:1")
    before = weights_of(model)
    step(model, keras.optimizers.SGD(0.1))
    moved = changed(before, weights_of(model))
    assert stages_of(backbone, moved) == {"head", "top"}
    assert not any("moving" in path for path in moved)


def test_deeper_blocks_take_smaller_steps():
    backbone, model = classifier("dinov2")
    select_trainable(model, backbone, "all")
    optimizer = with_layer_rates(layer_groups(backbone, model), model, keras.optimizers.SGD, layer_decay=0.5)
    before = weights_of(model)
    optimizer.build(model.trainable_variables)
    optimizer.apply([keras.ops.ones_like(each) for each in model.trainable_variables], model.trainable_variables)
    after = weights_of(model)
    names = {layer.name: stage for stage in backbone.stage_names for layer in backbone.layers_of(stage)}
    order = [*backbone.stage_names, "head"]
    for variable in model.trainable_variables:
        depth = order.index(names.get(variable.path.split("/")[0], "head"))
        moved = before[variable.path] - after[variable.path]
        np.testing.assert_allclose(moved, 0.5 ** (len(order) - 1 - depth), rtol=1e-4)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return make_class_folders(tmp_path_factory.mktemp("hub"), {"a": 14, "b": 14}, size=40)


@pytest.fixture(scope="module")
def runs(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    quick = ("head.folds=2", "head.shuffles=1")
    stage = ("epochs=1", "batch_size=8", "learning_rate=0.01", "layer_decay=0.8", "trainable=all", "augmentation=none")
    tuned = ("head.taps=all", *(f"stages.0.{each}" for each in stage))
    recipes = {"vit": ("finetune-top", tuned), "dinov2": ("stage-probe", ()), "resnet": ("linear-probe", ())}
    return {
        kind: tl.fit(photos, recipe, out=folder / kind, settings=(f"backbone=hub:{preset(kind)[1]}", *quick, *more))
        for kind, (recipe, more) in recipes.items()
    }


def test_a_fresh_process_reads_the_models_of_fits(runs, photos):
    assert runs["vit"].tuning is not None
    files = sorted((photos / "a").iterdir())[:3]
    code = (
        "import sys, tltool as tl\n"
        "for run in sys.argv[1:4]:\n"
        "    print(*(f'{each.label} {each.confidence:.5f}' for each in tl.load_model(run).predict(sys.argv[4:])))\n"
    )
    command = [sys.executable, "-c", code, *(str(run.path) for run in runs.values()), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.strip().splitlines()
    for run, line in zip(runs.values(), lines, strict=True):
        here, there = tl.load_model(run.path).predict(files), line.split()
        assert there[::2] == [each.label for each in here]
        np.testing.assert_allclose([float(sure) for sure in there[1::2]], [each.confidence for each in here], atol=1e-4)


@pytest.mark.parametrize("kind", ["vit", "dinov2", "resnet"])
def test_it_can_be_asked_where_it_looked(runs, kind):
    heat = grad_cam(runs[kind].model, [pictures(2)], np.array([0, 1]))
    assert heat.shape == (2, 4, 4)
    assert 0 <= heat.min() <= heat.max() <= 1


def test_trained_positions_survive_a_file(tmp_path):
    """KerasHub's own DINOv2 would interpolate them there and back, and keep some changes to itself."""
    _, model = classifier("dinov2")
    (positions,) = [each for each in model.weights if each.path.endswith("interpolated_position_embeddings")]
    positions.assign(np.array(positions) - np.random.default_rng(3).uniform(0, 1, positions.shape))
    file = tmp_path / "model.keras"
    model.save(file)
    again = keras.saving.load_model(file, compile=False, safe_mode=True)
    np.testing.assert_allclose(np.array(again(pictures())), np.array(model(pictures())), atol=1e-5)


def test_the_decision_says_that_there_is_no_classifier(runs):
    told = {kind: json.loads(run.folder.inspection.read_text("utf-8"))["similarity"] for kind, run in runs.items()}
    assert (told["vit"]["confidence"], told["vit"]["divergence"]) == (None, None)
    assert (told["resnet"]["confidence"] is None, told["resnet"]["divergence"] is None) == (True, False)
    assert "neither BatchNorm to compare with nor a classifier" in " ".join(runs["vit"].decision["reasons"])
