"""One rate for each stage: how far each layer goes in a step, and that a saved model goes on as if never stopped."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from tltool.backbones.backbone import Backbone, Stage
from tltool.errors import OptimizerError
from tltool.optimizers.layer_rates import layer_groups, with_layer_rates

RATE = 0.1
NAMES = ("low", "middle", "high")
GROUPS = [["low", "low_relu"], ["middle", "middle_relu"], ["high", "high_relu"], ["head"]]


def layers(x, names: tuple[str, ...] = NAMES):
    for number, name in enumerate(names):
        turn = keras.initializers.RandomNormal(seed=number)
        x = keras.layers.Dense(6, activation="tanh", kernel_initializer=turn, name=name)(x)
        x = keras.layers.Activation("linear", name=f"{name}_relu")(x)
    return x


def small_backbone() -> Backbone:
    picture = keras.Input((5,), name="picture")
    x = layers(keras.layers.Rescaling(0.5, name="scale")(picture))
    x = keras.layers.Dense(6, name="after")(x)
    network = keras.Model(picture, keras.layers.Dense(9, name="old_logits")(x))
    return Backbone("small", network, tuple(Stage(name.upper(), f"{name}_relu") for name in NAMES), 5, "")


def small_model(names: tuple[str, ...] = NAMES) -> keras.Model:
    picture = keras.Input((5,), name="picture")
    turn = keras.initializers.RandomNormal(seed=9)
    return keras.Model(picture, keras.layers.Dense(2, kernel_initializer=turn, name="head")(layers(picture, names)))


def data(count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.normal(size=(count, 5)).astype("float32"), random.normal(size=(count, 2)).astype("float32")


def sgd(share: float) -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(share * RATE)


def adam(share: float) -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(share * RATE, weight_decay=0.01)


def moved(model: keras.Model, optimizer: keras.optimizers.Optimizer, eagerly: bool = False) -> dict[str, np.ndarray]:
    """How far each weight goes in one step."""
    before = {v.path: np.array(keras.ops.convert_to_numpy(v)) for v in model.trainable_variables}
    model.compile(optimizer, "mse", run_eagerly=eagerly)
    model.train_on_batch(*data())
    return {v.path: before[v.path] - keras.ops.convert_to_numpy(v) for v in model.trainable_variables}


@pytest.mark.parametrize("eagerly", [False, True], ids=["compiled", "eager"])
@pytest.mark.parametrize("frozen", [(), ("low",), ("low", "middle", "high"), ("head",)])
def test_the_first_step_of_each_layer(frozen: tuple[str, ...], eagerly: bool):
    """A step of SGD at rate 1 goes as far as the gradient."""
    models = small_model(), small_model()
    for model in models:
        for name in frozen:
            model.get_layer(name).trainable = False
    gradients = moved(models[0], keras.optimizers.SGD(1.0))
    steps = moved(models[1], with_layer_rates(GROUPS, models[1], sgd, 0.5), eagerly)
    shares = {"low": 0.125, "middle": 0.25, "high": 0.5, "head": 1.0}
    assert {path.split("/")[0] for path in steps} == set(shares) - set(frozen)
    for path, step in steps.items():
        expected = RATE * shares[path.split("/")[0]] * gradients[path]
        assert np.abs(expected).max() > 1e-7
        np.testing.assert_allclose(step, expected, rtol=1e-3, atol=1e-7)


# TensorFlow takes no other signs in the name of a layer.
SIGNS = ["a.b"] if keras.backend.backend() == "tensorflow" else ["a.b", "a(1", "a+", "a|b", "[a]"]


@pytest.mark.parametrize("name", SIGNS)
def test_names_are_taken_letter_by_letter(name: str):
    """Keras reads the names as patterns, where a dot stands for any letter and a bracket alone is an error."""
    model = small_model((name, "aXb", "aa"))
    groups = [[name], ["aXb"], ["aa"], ["head"]]
    model.compile(with_layer_rates(groups, model, sgd, 0.5), "mse")
    model.train_on_batch(*data())
    rates = {}
    for inner in model.optimizer.optimizers:
        rates |= {v.path.rsplit("/", 1)[0]: float(inner.learning_rate.numpy()) for v in inner._trainable_variables}
    assert rates == pytest.approx({name: 0.0125, "aXb": 0.025, "aa": 0.05, "head": 0.1})


def test_without_decay_one_plain_optimizer():
    model = small_model()
    optimizer = with_layer_rates(GROUPS, model, adam, 1)
    assert type(optimizer) is keras.optimizers.Adam
    assert float(optimizer.learning_rate.numpy()) == np.float32(RATE)
    for name in NAMES:
        model.get_layer(name).trainable = False
    assert type(with_layer_rates(GROUPS, model, adam, 0.5)) is keras.optimizers.Adam


@pytest.mark.parametrize("build", [sgd, adam], ids=["sgd", "adam"])
def test_resume_from_a_file_is_the_same_to_the_last_bit(build, tmp_path):
    straight, stopped = small_model(), small_model()
    for model in (straight, stopped):
        model.compile(with_layer_rates(GROUPS, model, build, 0.5), "mse")
    x, y = data()
    for _ in range(3):
        straight.train_on_batch(x, y)
        stopped.train_on_batch(x, y)
    stopped.save(tmp_path / "stopped.keras")
    loaded = keras.models.load_model(tmp_path / "stopped.keras")
    for _ in range(3):
        straight.train_on_batch(x, y)
        loaded.train_on_batch(x, y)
    pairs = [(straight.weights, loaded.weights), (straight.optimizer.variables, loaded.optimizer.variables)]
    for first, second in pairs:
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other))


def test_a_copy_from_the_config_has_as_many_optimizers():
    """With one entry for each path, Keras makes an optimizer for each weight of the copy."""
    first, second = small_model(), small_model()
    optimizer = with_layer_rates(GROUPS, first, adam, 0.5)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert len(copy.optimizers) == len(optimizer.optimizers) == 4
    one, other = moved(first, optimizer), moved(second, copy)
    assert len(copy.variables) == len(optimizer.variables)
    for path in one:
        np.testing.assert_array_equal(one[path], other[path])


def test_compiled_and_eager_agree():
    models = [small_model(), small_model()]
    x, y = data()
    for model, eagerly in zip(models, (False, True), strict=True):
        model.compile(with_layer_rates(GROUPS, model, adam, 0.7), "mse", run_eagerly=eagerly)
        for _ in range(5):
            model.train_on_batch(x, y)
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_groups_follow_the_stages():
    backbone = small_backbone()
    whole = layer_groups(backbone, backbone.network)
    assert whole == [
        ["picture", "scale", "low", "low_relu"],
        ["middle", "middle_relu"],
        ["high", "high_relu"],
        ["after", "old_logits"],
    ]
    head = keras.layers.Dense(2, name="head")(backbone.network.get_layer("middle_relu").output)
    lower = keras.Model(backbone.network.input, head)
    assert layer_groups(backbone, lower) == [
        ["picture", "scale", "low", "low_relu"],
        ["middle", "middle_relu"],
        ["head"],
    ]
    steps = moved(lower, with_layer_rates(layer_groups(backbone, lower), lower, sgd, 0.5))
    assert {path.split("/")[0] for path in steps} == {"low", "middle", "head"}


def test_what_cannot_be_grouped():
    model = small_model()
    for decay in (0.0, 1.1, -0.5):
        with pytest.raises(OptimizerError, match=r"`layer_decay` = \S+: must be a number in \(0, 1\]"):
            with_layer_rates(GROUPS, model, sgd, decay)
    with pytest.raises(OptimizerError, match="'low/kernel' is in 0 groups"):
        with_layer_rates(GROUPS[1:], model, sgd, 0.5)
    with pytest.raises(OptimizerError, match=r"'low/kernel' is in 2 groups\. Name the layer of each weight once"):
        with_layer_rates([["low"], *GROUPS], model, sgd, 0.5)
    with pytest.raises(OptimizerError, match=r"there is no layer 'hedd'"):
        with_layer_rates([*GROUPS[:3], ["hedd"]], model, sgd, 0.5)
    model.trainable = False
    with pytest.raises(OptimizerError, match="the model has nothing to train"):
        with_layer_rates(GROUPS, model, sgd, 0.5)


def test_two_weights_of_one_path():
    class Twins(keras.layers.Layer):
        def build(self, shape):
            self.first, self.second = self.add_weight(name="w"), self.add_weight(name="w")

        def call(self, x):
            return x * self.first + self.second

    model = keras.Sequential([keras.Input((2,)), Twins(name="twins")])
    with pytest.raises(OptimizerError, match=r"two weights are both '\S*twins/w'\. Give their layers names"):
        with_layer_rates([["twins"]], model, sgd, 0.5)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="this process runs on JAX already")
def test_the_same_on_jax():
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
    command += ["-k", "(first_step and compiled) or letter or resume or copy"]  # eager steps take JAX seconds each
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("shape", ["sequential", "nested"])
def test_models_that_name_their_weights_otherwise_are_saved_and_loaded(shape: str, tmp_path):
    hidden, head = keras.layers.Dense(6, name="hidden"), keras.layers.Dense(2, name="head")
    if shape == "sequential":
        model, groups = keras.Sequential([keras.Input((5,)), hidden, head]), [["hidden"], ["head"]]
    else:
        inner = keras.Sequential([keras.Input((5,)), hidden], name="inner")
        picture = keras.Input((5,))
        model, groups = keras.Model(picture, head(inner(picture))), [["inner"], ["head"]]
    model.compile(with_layer_rates(groups, model, adam, 0.5), "mse")
    x, y = data()
    model.train_on_batch(x, y)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, again):
        one.train_on_batch(x, y)
    for first, second in zip(model.trainable_variables, again.trainable_variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(first), keras.ops.convert_to_numpy(second))


def test_the_scale_of_the_loss_is_kept():
    model = small_model()
    optimizer = with_layer_rates(
        GROUPS, model, lambda share: keras.optimizers.SGD(share * RATE, loss_scale_factor=8.0), 0.5
    )
    assert {inner.loss_scale_factor for inner in optimizer.optimizers} == {8.0}
