"""A network with what drops inserted: unchanged at test time, the same weights, each in its place."""

import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

from tltool.backbones import load_backbone
from tltool.errors import RegularizerError
from tltool.features.taps import pooled
from tltool.heads.logistic import LinearHead
from tltool.heads.network import LOGITS, attach_head
from tltool.layers.drop_block import DropBlock2D
from tltool.layers.drop_connect import DropConnect
from tltool.layers.functional_graph import calls_of
from tltool.layers.regularize import regularized
from tltool.layers.residual_branches import residual_branches
from tltool.layers.stochastic_depth import StochasticDepth

ROOT = Path(__file__).parents[2]
ALL = {"dropout": 0.3, "drop_connect": 0.2, "stochastic_depth": 0.4, "drop_block": 0.1}
TABLES = {**{name: {name: rate} for name, rate in ALL.items()}, "all": ALL}
PIXELS = np.random.default_rng(0).uniform(0, 255, (6, 32, 32, 3)).astype("float32")
TARGETS = np.random.default_rng(1).integers(0, 3, 6)


def classifier(name="tiny_random", stages=("top",)) -> keras.Model:
    """As tltool trains it: BatchNorm frozen."""
    backbone = load_backbone(name, None, 32)
    width = pooled(backbone, stages, ("mean",)).shape[-1]
    kernel = np.random.default_rng(2).normal(0, width**-0.5, (width, 3)).astype("float32")
    model = attach_head(backbone, stages, ("mean",), LinearHead(kernel, np.zeros(3, "float32"), 1.0))
    for layer in model.layers:
        layer.trainable = not isinstance(layer, layers.BatchNormalization)
    return model


def small() -> keras.Model:
    """Two resolutions, two branches, and a frozen norm in each."""
    random = np.random.default_rng(3)

    def conv(x, name, strides=1):
        x = layers.Conv2D(6, 3, strides=strides, padding="same", name=name)(x)
        return layers.BatchNormalization(trainable=False, name=f"{name}_norm")(x)

    image = keras.Input((32, 32, 3))
    x = layers.ReLU()(conv(layers.Rescaling(1 / 255)(image), "stem", 4))
    x = layers.Add()([x, layers.ReLU()(conv(x, "first"))])
    x = layers.ReLU()(conv(x, "down", 2))
    x = layers.Add()([x, layers.ReLU()(conv(x, "second"))])
    model = keras.Model(image, layers.Dense(3, name=LOGITS)(layers.GlobalAveragePooling2D()(x)))
    model.set_weights([random.normal(0, 0.5, w.shape) if w.ndim > 1 else w for w in model.get_weights()])
    return model


def inserted(model, kind) -> list:
    return [layer for layer in model.layers if type(layer) is kind]


def maker_of(tensor) -> str:
    return tensor._keras_history.operation.name


def trained(model, pixels=PIXELS) -> np.ndarray:
    """What it gives in training."""
    return ops.convert_to_numpy(model(pixels, training=True))


def compiled(model) -> keras.Model:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss, jit_compile="auto")
    return model


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_outside_of_training_it_is_the_model_to_the_bit(table):
    model = small()
    network = regularized(model, table, seed=0)
    np.testing.assert_array_equal(network.predict_on_batch(PIXELS), model.predict_on_batch(PIXELS))
    np.testing.assert_array_equal(ops.convert_to_numpy(network(PIXELS)), ops.convert_to_numpy(model(PIXELS)))
    assert np.abs(trained(network) - trained(model)).max() > 1e-3
    assert {id(weight) for weight in network.trainable_weights} == {id(weight) for weight in model.trainable_weights}


def test_so_is_a_backbone_under_a_head_that_reads_two_stages():
    model = classifier(stages=("stage4", "top"))
    network = regularized(model, ALL, seed=0)
    np.testing.assert_array_equal(network.predict_on_batch(PIXELS), model.predict_on_batch(PIXELS))
    assert len(inserted(network, StochasticDepth)) == 4


def test_training_it_trains_the_model_and_nothing_that_is_frozen():
    model = small()
    model.get_layer("stem").trainable = False
    frozen = {v.path: ops.convert_to_numpy(v).copy() for v in model.non_trainable_variables}
    free = {v.path: ops.convert_to_numpy(v).copy() for v in model.trainable_variables}
    assert "stem/kernel" in frozen
    network = compiled(regularized(model, ALL, seed=0))
    losses = [float(network.train_on_batch(PIXELS, TARGETS)) for _ in range(3)]
    assert np.isfinite(losses).all()
    np.testing.assert_array_equal(network.predict_on_batch(PIXELS), model.predict_on_batch(PIXELS))
    for variable in model.variables:
        now = ops.convert_to_numpy(variable)
        if variable.path in frozen:
            np.testing.assert_array_equal(now, frozen[variable.path], err_msg=variable.path)
        else:
            assert np.abs(now - free[variable.path]).max() > 0, variable.path


def test_the_model_is_saved_as_if_nothing_had_been(tmp_path):
    model = small()
    config = model.get_config()
    logits = model.predict_on_batch(PIXELS)
    regularized(model, ALL, seed=0)
    assert model.get_config() == config
    np.testing.assert_array_equal(trained(model), trained(model))
    model.save(tmp_path / "model.keras")
    assert b"tltool" not in zipfile.ZipFile(tmp_path / "model.keras").read("config.json")
    opened = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(opened.predict_on_batch(PIXELS), logits)


@pytest.mark.parametrize("table", [{}, {"l2_sp": 0.1, "l1": 0.1}, dict.fromkeys(ALL, 0)], ids=str)
def test_a_table_that_asks_nothing_of_the_graph_gives_the_model_itself(table):
    model = small()
    assert regularized(model, table, seed=0) is model


def test_the_seed_alone_decides_and_other_regularizers_leave_the_draws_alone():
    model = small()

    def outputs(table, seed):
        network = regularized(model, table, seed)
        return [trained(network) for _ in range(2)]

    first, second = outputs(ALL, 3)
    np.testing.assert_array_equal(outputs(ALL, 3), [first, second])
    assert np.abs(first - second).max() > 1e-3
    assert np.abs(outputs(ALL, 4)[0] - first).max() > 1e-3

    def seeds(network):
        return [layer.seed for layer in inserted(network, StochasticDepth)]

    alone = seeds(regularized(model, {"stochastic_depth": 0.1}, 3))
    assert len(set(alone)) == len(alone)
    assert seeds(regularized(model, ALL, 3)) == alone


def test_drops_of_the_networks_own_give_way_to_those_asked_for():
    model = classifier("efficientnet_b0")
    own = {layer.name for layer in inserted(model, layers.Dropout)}
    assert len(own) == 9

    def left(table):
        return {layer.name for layer in inserted(regularized(model, table, 0), layers.Dropout)} & own

    assert left({"dropout": 0.1}) == own
    network = regularized(model, {"stochastic_depth": 0.18}, seed=0)
    assert not {layer.name for layer in network.layers} & own
    rates = [layer.rate for layer in inserted(network, StochasticDepth)]
    np.testing.assert_allclose(rates, 0.02 * np.arange(1, 10))
    np.testing.assert_array_equal(network.predict_on_batch(PIXELS), model.predict_on_batch(PIXELS))


def test_each_stands_where_it_is_said_to():
    model = classifier("resnet50")
    network = regularized(model, ALL, seed=0)
    top, below = inserted(network, DropBlock2D)[::-1]
    assert [maker_of(layer.input) for layer in (top, below)] == ["conv5_block3_out", "conv4_block6_out"]
    assert [layer.rate for layer in (top, below)] == pytest.approx([0.1, 0.025])
    # Both ways of the next block read what is left of the map.
    readers = [call for call in calls_of(network) if any(maker_of(t) == below.name for t in call.input_tensors)]
    assert {call.operation.name for call in readers} == {"conv5_block1_0_conv", "conv5_block1_1_conv"}
    (head,) = inserted(network, DropConnect)
    assert head.layer is model.get_layer(LOGITS)
    (dropout,) = inserted(network, layers.Dropout)
    assert maker_of(head.input) == dropout.name
    assert maker_of(dropout.input) == "top_mean"
    for branch in residual_branches(network):
        assert maker_of(branch.output).startswith("stochastic_depth_")


def test_blocks_of_a_stem_far_below_are_left_to_augmentation():
    inputs = keras.Input((64, 64, 3))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    x = layers.Concatenate()([layers.MaxPooling2D(16)(x), layers.Conv2D(4, 16, strides=16)(x)])
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(layers.Conv2D(8, 1, name="last")(x))))
    (block,) = inserted(regularized(model, {"drop_block": 0.2}, seed=0), DropBlock2D)
    assert maker_of(block.input) == "last"
    assert block.rate == 0.2


def test_half_precision_stays_what_it_was():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small()
    finally:
        keras.config.set_dtype_policy("float32")
    network = regularized(model, ALL, seed=0)
    np.testing.assert_array_equal(network.predict_on_batch(PIXELS), model.predict_on_batch(PIXELS))
    assert network(PIXELS, training=True).dtype == model(PIXELS).dtype
    for kind in (DropBlock2D, StochasticDepth, layers.Dropout, DropConnect):
        assert {layer.compute_dtype for layer in inserted(network, kind)} == {"bfloat16"}


def plain_network(*last) -> keras.Model:
    x = inputs = keras.Input((8, 8, 3))
    for layer in (layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), *last):
        x = layer(x)
    return keras.Model(inputs, x, name="plain")


def test_what_has_no_place_is_refused_in_words():
    frozen = small()
    for layer in frozen.layers:
        layer.trainable = layer.name == LOGITS
    inputs = keras.Input((4,))
    dense = keras.Model(inputs, layers.Dense(2)(inputs))
    wrong = [
        (plain_network(layers.Dense(2)), {"stochastic_depth": 0.1}, "plain has no residual branch"),
        (frozen, {"stochastic_depth": 0.1}, "none of the 2 residual branches"),
        (plain_network(layers.Dense(2), layers.Softmax()), {"dropout": 0.1}, "ends in Softmax"),
        (plain_network(), {"drop_connect": 0.1}, "ends in GlobalAveragePooling2D"),
        (dense, {"drop_block": 0.1}, "no feature map"),
        (dense, {"drop_blocks": 0.1}, "Did you mean `drop_block`"),
    ]
    for model, table, words in wrong:
        with pytest.raises(RegularizerError, match=words):
            regularized(model, table, seed=0)


ON_BOTH = {
    "test_regularize.py": [
        "test_outside_of_training_it_is_the_model_to_the_bit[all]",
        "test_training_it_trains_the_model_and_nothing_that_is_frozen",
    ],
    "test_regularize_draws.py": [
        "test_branches_are_dropped_at_linear_rates_each_picture_and_each_branch_for_itself",
        "test_the_expectation_in_training_is_the_output_of_a_linear_network",
    ],
    "test_penalties.py": [
        "test_a_compiled_step_has_loss_and_gradient_of_the_formulas[l1+l2+l2_sp]",
        "test_a_full_batch_search_finds_the_closed_form_and_an_endless_pull_the_start",
    ],
}


@pytest.mark.skipif(not find_spec("jax"), reason="needs jax: runs again once it is installed")
def test_so_it_is_on_jax():
    chosen = [f"tests/layers/{file}::{name}" for file, names in ON_BOTH.items() for name in names]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert f"{len(chosen)} passed" in done.stdout
