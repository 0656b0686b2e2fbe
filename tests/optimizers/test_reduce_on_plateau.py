"""Rates that are lowered when the loss stays, in `fit` and in a loop of one's own, for one optimizer and for many."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from tltool.errors import OptimizerError
from tltool.optimizers.reduce_on_plateau import ReduceOnPlateau

ONE = np.ones((1, 1), "float32")
SGD = keras.optimizers.SGD


def many(low: float = 0.02, top: float = 0.1) -> keras.optimizers.Optimizer:
    return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(SGD(top), {"low/.*": SGD(low)}))


OPTIMIZERS = {
    "one": lambda: SGD(0.1),
    "many": many,
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(many(), initial_scale=2.0),
}


def compiled(optimizer: keras.optimizers.Optimizer) -> keras.Model:
    """The slope of the loss is 1 in both weights, so descent goes as far as the rate in each step."""
    x = keras.Input((1,))
    parts = [keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name=name)(x) for name in ("low", "top")]
    model = keras.Model(x, keras.layers.Add()(parts))
    model.compile(optimizer, lambda y, prediction: prediction)
    return model


def steps_of(model: keras.Model, callback: ReduceOnPlateau, losses: list[float], batches: int) -> np.ndarray:
    """Trains as many epochs as there are validation losses; how far each weight went in each step, shape (steps, 2)."""
    places = [np.zeros(2)]
    for epoch, loss in enumerate(losses):
        for batch in range(batches):
            callback.on_train_batch_begin(batch)
            model.train_on_batch(ONE, ONE)
            places.append(-np.ravel(model.get_weights()))
        callback.on_epoch_end(epoch, {"val_loss": loss})
    return np.diff(places, axis=0)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_loop_of_ones_own(kind: str):
    model, heard = compiled(OPTIMIZERS[kind]()), []
    callback = ReduceOnPlateau(factor=0.1, patience=2, report=heard.append)
    callback.set_model(model)
    # Equal is no improvement, nor is NaN; after a reduction it waits anew.
    losses = [3.0, 2.0, 2.0, 1.0, 1.5, float("nan"), 1.0, 1.0, 0.5, 0.4]
    factors = [1, 1, 1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]
    full = np.array([0.1, 0.1]) if kind == "one" else np.array([0.02, 0.1])
    expected = np.repeat(np.outer(factors, full), 2, axis=0)
    np.testing.assert_allclose(steps_of(model, callback, losses, 2), expected, rtol=1e-3, atol=2e-7)
    assert heard == [
        "val_loss has not fallen for 2 epochs: rate 0.1 lowered to 0.01",
        "val_loss has not fallen for 2 epochs: rate 0.01 lowered to 0.001",
    ]


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_warm_up_is_linear_and_not_judged(kind: str):
    model = compiled(OPTIMIZERS[kind]())
    callback = ReduceOnPlateau(factor=0.5, patience=1, warmup_steps=5)
    callback.set_model(model)
    # The third step of the third epoch is the first at the full rate; two epochs end before it and are not judged.
    factors = [0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 0.5, 0.5]
    full = np.array([0.1, 0.1]) if kind == "one" else np.array([0.02, 0.1])
    got = steps_of(model, callback, [1.0, 2.0, 3.0, 3.0, 2.0], 2)
    np.testing.assert_allclose(got, np.outer(factors, full), rtol=1e-4, atol=1e-7)


def test_the_smallest_rate_bounds_the_largest_and_the_proportions_stay():
    model, heard = compiled(many(0.02, 0.1)), []
    callback = ReduceOnPlateau(factor=0.1, patience=1, minimum_rate=0.05, report=heard.append)
    callback.set_model(model)
    got = steps_of(model, callback, [1.0] * 5, 1)
    np.testing.assert_allclose(got, [[0.02, 0.1]] * 2 + [[0.01, 0.05]] * 3, rtol=1e-4)
    assert heard == ["val_loss has not fallen for 1 epoch: rate 0.1 lowered to 0.05"]


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("together", [1, 2])
def test_fit(kind: str, together: int):
    """The loss falls without end, and so never improves where its negative is what is watched."""
    model = compiled(OPTIMIZERS[kind]())
    model.compile(model.optimizer, model.loss, metrics=[], steps_per_execution=together)
    callback, x = ReduceOnPlateau(factor=0.5, patience=1, warmup_steps=4), np.ones((4, 1), "float32")
    seen = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: places.append(-np.ravel(model.get_weights())),
        on_epoch_end=lambda epoch, logs: logs.update(val_loss=[9.0, 9.0, 9.0, 1.0, 1.0][epoch]),
    )
    places = []
    model.fit(x, x, batch_size=1, epochs=5, callbacks=[seen, callback], verbose=0)
    places.append(-np.ravel(model.get_weights()))
    full = np.array([0.1, 0.1]) if kind == "one" else np.array([0.02, 0.1])
    rise = {1: 0 + 0.25 + 0.5 + 0.75, 2: 0 + 0 + 0.5 + 0.5}[together]
    expected = np.outer([rise, 4, 4, 2, 2], full)
    np.testing.assert_allclose(np.diff(places, axis=0), expected, rtol=1e-4)


def test_a_second_fit_goes_on_where_the_first_was():
    model, callback, x = compiled(SGD(0.1)), ReduceOnPlateau(patience=1, warmup_steps=6), np.ones((4, 1), "float32")
    for _ in range(2):
        model.fit(x, x, validation_data=(x, x), batch_size=1, callbacks=[callback], verbose=0)
    went = 0.1 * (sum(range(6)) / 6 + 2)
    np.testing.assert_allclose(-np.ravel(model.get_weights()), [went, went], rtol=1e-5)


def test_validation_loss_of_fit_itself():
    model, x, heard = compiled(SGD(0.1)), np.ones((4, 1), "float32"), []
    model.compile(SGD(0.1), lambda y, prediction: keras.ops.abs(prediction) * 0 + prediction * 0 + 1)
    callback = ReduceOnPlateau(patience=2, report=heard.append)
    model.fit(x, x, validation_data=(x, x), epochs=5, callbacks=[callback], verbose=0)
    assert float(model.optimizer.learning_rate.numpy()) == pytest.approx(0.025)
    assert len(heard) == 2


def test_what_it_cannot_do():
    model = compiled(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 10)))
    with pytest.raises(OptimizerError, match=r"a rate inside the optimizer is a schedule\. Build it with a number"):
        ReduceOnPlateau().set_model(model)
    with pytest.raises(OptimizerError, match=r"the model has no optimizer\. Compile it first"):
        ReduceOnPlateau().set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    callback = ReduceOnPlateau()
    callback.set_model(compiled(SGD(0.1)))
    with pytest.raises(OptimizerError, match=r"`val_loss` is not among the epoch's numbers \(loss, accuracy\)"):
        callback.on_epoch_end(0, {"loss": 1.0, "accuracy": 0.5})
    with pytest.raises(OptimizerError, match="`monitor` = 'val_accuracy': must name a loss"):
        ReduceOnPlateau(monitor="val_accuracy")
    with pytest.raises(OptimizerError) as raised:
        ReduceOnPlateau(factor=1.0, patience=0, minimum_rate=-1.0, warmup_steps=-1)
    assert len(str(raised.value).splitlines()) == 4


def test_a_rate_of_zero_is_left_alone():
    model, heard = compiled(SGD(0.0)), []
    callback = ReduceOnPlateau(patience=1, report=heard.append)
    callback.set_model(model)
    assert not steps_of(model, callback, [1.0, 1.0, 1.0], 1).any()
    assert heard == []


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="this process runs on JAX already")
def test_the_same_on_jax():
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
