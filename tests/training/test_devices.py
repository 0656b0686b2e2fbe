"""Several devices take the step of one; so do both backends. Two logical CPUs stand in for two accelerators."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from tltool.training import devices
from tltool.training.devices import distribution, precision_here, replicas
from tltool.training.precision import computing_in

STEPS = """
import json, sys
two = sys.argv[1] == "two"
import os
if os.environ["KERAS_BACKEND"] == "tensorflow":
    import tensorflow as tf
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
import numpy as np
from tltool.training.devices import distribution, replicas
from tltool.training.pictures import predicted
from tltool.training.train_step import TrainStep

with distribution(["cpu:0", "cpu:1"] if two else None):
    keras.utils.set_random_seed(0)
    picture = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(picture))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.DepthwiseConv2D(3)(x))
    head = keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.1))
    network = keras.Model(picture, head(x))
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    optimizer.build(network.trainable_variables)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    network.compile(optimizer=optimizer, loss=loss)
    random = np.random.default_rng(0)
    step = TrainStep(network)
    losses = []
    for count in (6, 6, 5, 6, 1):
        x = random.integers(0, 256, (count, 8, 8, 3)).astype("uint8")
        y = np.eye(3, dtype="float32")[random.integers(0, 3, count)]
        losses.append(step(x, y, random.uniform(0.5, 2, count).astype("float32")))
    logits = predicted(network, x[:1])
    answer = {"replicas": replicas(), "losses": losses, "rows": len(logits), "logits": np.ravel(logits).tolist()}
print(json.dumps(answer))
"""


def steps(backend: str, count: str) -> dict:
    environment = os.environ | {"KERAS_BACKEND": backend, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run(
        [sys.executable, "-c", STEPS, count], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-1500:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_devices_take_the_steps_of_one(backend):
    one, two = steps(backend, "one"), steps(backend, "two")
    assert (one["replicas"], two["replicas"]) == (1, 2)
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-4)
    assert two["rows"] == 1
    assert two["logits"] == pytest.approx(one["logits"], rel=1e-4, abs=1e-5)


def test_on_cpus_nothing_is_shared_and_nothing_is_halved():
    with distribution():
        assert replicas() == 1
    assert precision_here() == "float32"


def test_the_precision_of_an_accelerator(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(devices, "has_accelerator", lambda: True)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["gpu"])
    for capability, expected in (((9, 0), "mixed_bfloat16"), ((8, 0), "mixed_bfloat16"), ((7, 5), "float32")):
        details = {"compute_capability": capability}
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device, found=details: found)
        assert precision_here() == expected
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: {})
    assert precision_here() == "float32"


def test_another_precision_ends_with_the_block_and_leaves_weights_alone():
    picture = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(2, 3, name="conv")(picture)
    model = keras.Model(picture, keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(x)))
    with computing_in(model, "mixed_bfloat16"):
        assert model.get_layer("conv").compute_dtype == "bfloat16"
        assert model.get_layer("logits").compute_dtype == "float32"
        assert model(keras.ops.ones((1, 4, 4, 3))).dtype == "float32"
    assert model.get_layer("conv").compute_dtype == "float32"
    assert {variable.dtype for variable in model.variables} == {"float32"}


def test_predictions_are_made_in_the_precision_of_the_moment():
    picture = keras.Input((16,))
    model = keras.Model(picture, keras.layers.Dense(2)(keras.layers.Dense(64)(picture)))
    x = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)
    plain = model.predict_on_batch(x)
    with computing_in(model, "mixed_bfloat16"):
        half = model.predict_on_batch(x)
        np.testing.assert_array_equal(half, keras.ops.convert_to_numpy(model(x)))
    assert np.abs(half - plain).max() > 1e-3
    np.testing.assert_array_equal(model.predict_on_batch(x), plain)
