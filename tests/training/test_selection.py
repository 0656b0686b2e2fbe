"""What a stage trains: by name, by number, normalization alone; and what unfreezes nothing is an error."""

import keras
import numpy as np
import pytest

from tests.training.bench import SIZE, STAGE, make_bench, small_backbone, weights_of
from tltool.backbones.backbone import Backbone, Stage
from tltool.data.decoding import Framing
from tltool.errors import RecipeError
from tltool.training.selection import check_trainable, select_trainable, trained_stages
from tltool.training.stage_network import StageNetwork

CASES = {
    "head": set(),
    "all": {"conv1", "conv2", "conv3", "conv4"},
    "top:1": {"conv4"},
    "norm": {"bn1", "bn2", "bn3", "bn4"},
    ("stage3", "stage1"): {"conv1", "conv3"},
}


@pytest.mark.parametrize("trainable", CASES)
def test_what_is_trained(pictures, trainable):
    bench = make_bench(pictures)
    assert set(select_trainable(bench.model, bench.backbone, trainable)) == CASES[trainable] | {"logits"}


def test_learned_statistics_train_the_norms_of_the_stages(pictures):
    bench = make_bench(pictures)
    found = select_trainable(bench.model, bench.backbone, ["stage2"], "learned")
    assert set(found) == {"conv2", "bn2", "logits"}


@pytest.mark.parametrize(("statistics", "moving"), [("kept", False), ("learned", True)])
def test_norm_trains_scale_and_shift_and_keeps_statistics_unless_told(pictures, statistics, moving):
    bench = make_bench(pictures)
    before = weights_of(bench.model)
    stage = STAGE.model_copy(update={"trainable": "norm", "epochs": 1, "statistics": statistics})
    select_trainable(bench.model, bench.backbone, "norm", statistics)
    with StageNetwork(bench.model, stage, bench.train, bench.valid, Framing(SIZE), 0) as trained:
        trained.prepare()
        trained.compile(keras.optimizers.SGD(0.1))
        for examples in trained.batches(trained.order(1), 1):
            trained.step(examples)
    after = weights_of(bench.model)
    moved = {path for path in before if not np.array_equal(before[path], after[path])}
    expected = {f"bn{n}/{kind}" for n in range(1, 5) for kind in ("gamma", "beta")} | {"logits/kernel", "logits/bias"}
    if moving:
        expected |= {f"bn{n}/moving_{kind}" for n in range(1, 5) for kind in ("mean", "variance")}
    assert moved == expected


def test_the_step_of_norm_is_that_of_a_network_with_fixed_statistics(pictures):
    """Against scale and shift written out: gamma * (x - mean) / sqrt(variance + epsilon) + beta."""
    bench = make_bench(pictures)
    stage = STAGE.model_copy(update={"trainable": "norm", "batch_size": len(bench.train)})
    select_trainable(bench.model, bench.backbone, "norm")
    norm = bench.model.get_layer("bn4")
    gamma = norm.gamma.numpy() if hasattr(norm.gamma, "numpy") else np.asarray(norm.gamma)
    below = keras.Model(bench.model.input, bench.model.get_layer("conv4").output)
    (batch,) = bench.train.read(Framing(SIZE), len(bench.train))
    mean, variance = np.asarray(norm.moving_mean), np.asarray(norm.moving_variance)
    x = (below.predict_on_batch(batch.pixels) - mean) / np.sqrt(variance + norm.epsilon)
    kernel, bias = bench.model.get_layer("logits").get_weights()
    features = np.maximum(gamma * x, 0)
    logits = features.mean(axis=(1, 2)) @ kernel + bias
    prob = np.exp(logits - logits.max(1, keepdims=True))
    prob /= prob.sum(1, keepdims=True)
    error = (prob - np.eye(3)[bench.train.labels]) @ kernel.T / len(logits)
    expected = (error[:, None, None, :] * (features > 0) * x).sum(axis=(0, 1, 2)) / (x.shape[1] * x.shape[2])
    with StageNetwork(bench.model, stage, bench.train, bench.valid, Framing(SIZE), 0) as trained:
        trained.prepare()
        trained.compile(keras.optimizers.SGD(1.0))
        (examples,) = trained.batches(np.arange(len(bench.train)), 1)
        trained.step(examples)
    np.testing.assert_allclose(gamma - np.asarray(norm.gamma), expected, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("trainable", "message"),
    [
        ("top:5", "'top:5': small has 4 stages, stage1, stage2, stage3, stage4. Name fewer"),
        (["stage2", "stge3"], "small has no stage 'stge3'. Its stages are stage1, stage2, stage3, stage4."),
    ],
)
def test_stages_that_are_not_there(trainable, message):
    with pytest.raises(RecipeError, match=message.replace(".", r"\.")):
        trained_stages(small_backbone(), trainable)


def test_a_stage_that_unfreezes_nothing():
    picture = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(picture)
    x = keras.layers.MaxPooling2D(name="pool")(x)
    plain = keras.Model(picture, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    backbone = Backbone("plain", plain, (Stage("a", "conv"), Stage("b", "pool")), SIZE, "")
    check_trainable(backbone, "all")
    check_trainable(backbone, "head")
    for trainable, what in (("norm", "normalization layer"), ("top:1", "layer with weights"), (["b"], "layer with")):
        with pytest.raises(RecipeError, match=f'unfreezes nothing: plain has no {what}.*write "head"'):
            check_trainable(backbone, trainable)
