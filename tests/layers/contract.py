"""What every layer of tltool must do as a Keras layer, on whichever backend is running.

`check_layer(make, shape)` runs all of it. Run as a module it does so for all of them, for a backend that the tests' own
process does not have: KERAS_BACKEND=jax python -m tests.layers.contract
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras import ops

from tltool.layers.drop_block import DropBlock2D
from tltool.layers.drop_connect import DropConnect
from tltool.layers.fractional_max_pooling import FractionalMaxPooling2D
from tltool.layers.stochastic_depth import StochasticDepth

Make = Callable[..., keras.layers.Layer]
Shape = tuple[int, ...]
BATCH = 16


def connected(layer: type, rate: float, *sizes, dtype: str = "float32", activation=None, **more) -> DropConnect:
    """DropConnect around a layer whose weights are the same each time."""
    initializers = {"kernel_initializer": keras.initializers.RandomNormal(seed=1), "bias_initializer": "ones"}
    return DropConnect(layer(*sizes, activation=activation, dtype=dtype, **initializers), rate, **more)


# Each with the shape of one picture.
OURS: dict[str, tuple[Make, Shape]] = {
    "stochastic-depth": (lambda **more: StochasticDepth(0.3, **more), (6, 5, 3)),
    "drop-block": (lambda **more: DropBlock2D(0.2, block_size=3, **more), (9, 8, 4)),
    "drop-block on a small map": (lambda **more: DropBlock2D(0.3, **more), (4, 3, 5)),
    "drop-connect of a dense layer": (lambda **more: connected(keras.layers.Dense, 0.4, 3, **more), (12,)),
    "drop-connect of a convolution": (lambda **more: connected(keras.layers.Conv2D, 0.4, 5, 1, **more), (4, 3, 6)),
    "drop-connect by sampling": (
        lambda **more: connected(keras.layers.Dense, 0.4, 3, test="gaussian", **more),
        (12,),
    ),
    "fractional-max-pooling": (lambda **more: FractionalMaxPooling2D((1.4, 1.7), **more), (11, 13, 3)),
    "pseudo-random regions": (
        lambda **more: FractionalMaxPooling2D(1.3, regions="pseudo-random", overlapping=False, **more),
        (11, 13, 3),
    ),
}


def value(tensor) -> np.ndarray:
    return np.array(ops.convert_to_numpy(ops.cast(tensor, "float32")))


def pictures(shape: Shape, count: int = BATCH, seed: int = 0) -> np.ndarray:
    """Noise of mean 1, so that a scale that is missing is seen."""
    return np.random.default_rng(seed).uniform(0.5, 1.5, (count, *shape)).astype("float32")


def new_model(layer: keras.layers.Layer, shape: Shape, policy: str = "float32", **compiling) -> keras.Model:
    """A classifier with the layer after weights that need its gradient."""
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input(shape)
    x = layer(keras.layers.Dense(shape[-1], name="before", dtype=policy)(x))
    x = keras.layers.Dense(2, name="out", dtype=policy)(keras.layers.Flatten(dtype=policy)(x))
    model = keras.Model(inputs, x)
    model.compile(optimizer=keras.optimizers.SGD(1e-4), loss="mse", **compiling)
    return model


def train(model: keras.Model, shape: Shape, steps: int = 3) -> list[float]:
    targets = np.ones((BATCH, 2), "float32")
    return [float(model.train_on_batch(pictures(shape, seed=step), targets)) for step in range(steps)]


def same_draws(first: keras.layers.Layer, second: keras.layers.Layer, shape: Shape) -> None:
    for step in range(3):
        x = pictures(shape, seed=step)
        np.testing.assert_array_equal(value(first(x, training=True)), value(second(x, training=True)))


def rebuilds_from_its_configuration(make: Make, shape: Shape) -> None:
    first = make(seed=5, name="mine")
    config = json.loads(json.dumps(keras.layers.serialize(first)))
    second = keras.layers.deserialize(config)
    assert type(second) is type(first)
    assert config["registered_name"].startswith("tltool>")
    assert second.get_config() == first.get_config()
    for layer in (first, second):
        layer.build((None, *shape))
    second.set_weights(first.get_weights())
    same_draws(first, second, shape)


def is_saved_and_loaded(make: Make, shape: Shape) -> None:
    model = new_model(make(seed=5, name="mine"), shape)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        loaded = keras.models.load_model(Path(folder) / "model.keras")
    np.testing.assert_array_equal(value(model(pictures(shape))), value(loaded(pictures(shape))))
    # As Keras's own layers do it, the draws of a loaded one start at its seed again.
    same_draws(model.get_layer("mine"), loaded.get_layer("mine"), shape)


def compiled_equals_eager(make: Make, shape: Shape) -> None:
    losses, weights = [], []
    # XLA draws other numbers than TensorFlow's own kernels do; JAX is XLA both ways.
    for compiling in ({"run_eagerly": True}, {"jit_compile": keras.backend.backend() == "jax"}):
        model = new_model(make(seed=5), shape, **compiling)
        losses.append(train(model, shape))
        if keras.backend.backend() == "tensorflow":  # which traces a smaller batch with a size that it does not know
            losses[-1].append(float(model.train_on_batch(pictures(shape, 3), np.ones((3, 2), "float32"))))
        weights.append(model.get_weights())
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def trains_under_xla(make: Make, shape: Shape) -> None:
    model = new_model(make(seed=5), shape, jit_compile=True)
    got, expected = model.predict_on_batch(pictures(shape)), model(pictures(shape), training=False)
    np.testing.assert_allclose(got, value(expected), rtol=1e-5, atol=1e-6)
    before = value(model.get_layer("before").kernel)
    assert np.isfinite(train(model, shape)).all()
    assert not np.array_equal(value(model.get_layer("before").kernel), before)


def trains_in_mixed_precision(make: Make, shape: Shape) -> None:
    policy = "mixed_bfloat16"
    layer, exact = make(seed=5, dtype=policy), make(seed=5)
    for training in (False, True):
        got, expected = layer(pictures(shape), training=training), exact(pictures(shape), training=training)
        assert keras.backend.standardize_dtype(got.dtype) == "bfloat16"
        # bfloat16 keeps 8 bits, and the draws are the same.
        scale = np.abs(value(expected)).max()
        np.testing.assert_allclose(value(got), value(expected), rtol=0.03, atol=0.02 * scale)
    model = new_model(make(seed=5, dtype=policy), shape, policy, run_eagerly=True)
    assert np.isfinite(train(model, shape)).all()
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}


def a_seed_fixes_the_draws(make: Make, shape: Shape) -> None:
    same_draws(make(seed=5), make(seed=5), shape)
    x = pictures(shape)
    one, other = make(seed=5), make(seed=6)
    runs = [value(layer(x, training=True)) for layer in (one, one, one, other, other, other)]
    # Six draws: of the few regions of a small map two may be the same, but not all.
    assert len({run.tobytes() for run in runs[:3]}) > 1
    assert b"".join(run.tobytes() for run in runs[:3]) != b"".join(run.tobytes() for run in runs[3:])
    keras.utils.set_random_seed(1)
    first = make()
    keras.utils.set_random_seed(1)
    same_draws(first, make(), shape)


def one_output_at_test_time(make: Make, shape: Shape) -> None:
    x, layer = pictures(shape), make(seed=5)
    whole = value(layer(x, training=False))
    layer(x, training=True)
    np.testing.assert_array_equal(whole, value(layer(x)))
    np.testing.assert_array_equal(whole, value(make(seed=6)(x, training=False)))
    # Whatever stands beside it.
    np.testing.assert_allclose(whole[3:4], value(layer(x[3:4], training=False)), rtol=1e-6, atol=1e-6)
    assert layer.compute_output_shape((None, *shape)) == (None, *whole.shape[1:])


def gradients_are_those_of_its_output(make: Make, shape: Shape) -> None:
    """Against the change of the loss along the gradient, with the draws held still."""
    for training in (False, True):
        layer = make(seed=5)
        layer.build((None, *shape))
        start = ops.convert_to_numpy(layer.seed_generator.state)
        inputs = keras.Variable(pictures(shape))

        def loss(x, layer=layer, start=start, training=training):
            layer.seed_generator.state.assign(start)
            return ops.mean(ops.square(layer(x, training=training)))

        gradient = gradient_of(loss, inputs, layer)
        assert np.isfinite(gradient).all()
        assert np.linalg.norm(gradient) > 0
        step = 1e-2 * gradient / np.linalg.norm(gradient)
        x = value(inputs)
        change = float(loss(ops.convert_to_tensor(x + step))) - float(loss(ops.convert_to_tensor(x - step)))
        np.testing.assert_allclose(change, 2 * np.sum(step * gradient), rtol=0.02)


def gradient_of(loss: Callable, inputs: keras.Variable, layer: keras.layers.Layer) -> np.ndarray:
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        with tensorflow.GradientTape() as tape:
            total = loss(inputs.value)
        return value(tape.gradient(total, inputs.value))
    import jax

    seed = layer.seed_generator.state
    start = seed.value

    def pure(x):
        with keras.StatelessScope(state_mapping=[(seed, start)]):
            return loss(x)

    return value(jax.grad(pure)(inputs.value))


def expects_in_training_what_it_gives_at_test_time(make: Make, shape: Shape) -> None:
    """On noise, the mean over the batch and all units: exact in expectation for each layer as it is made in OURS.

    Fractional max pooling is not the same in expectation on any given picture, but has as many regions of each size
    in training as at test time, so that on noise its mean is. Of 150 calls on new noise each, the mean difference must
    lie within 4.5 standard errors of 0 (7 in a million by chance, and seeded), and that error must be below 1 % of
    the mean output, so that a scale that is missing or doubled, at least 20 %, cannot pass.
    """
    layer = make(seed=11)
    differences, outputs = [], []
    for call in range(150):
        x = pictures(shape, 64, seed=1000 + call)
        test = value(layer(x, training=False)).mean(dtype="float64")
        differences.append(value(layer(x, training=True)).mean(dtype="float64") - test)
        outputs.append(test)
    error = np.std(differences, ddof=1) / np.sqrt(len(differences))
    assert abs(np.mean(differences)) < 4.5 * error
    assert 0 < error < 0.01 * abs(np.mean(outputs))


CHECKS = (
    rebuilds_from_its_configuration,
    is_saved_and_loaded,
    compiled_equals_eager,
    *([trains_under_xla] if keras.backend.backend() == "tensorflow" else []),  # JAX has been there by now
    trains_in_mixed_precision,
    a_seed_fixes_the_draws,
    one_output_at_test_time,
    gradients_are_those_of_its_output,
    expects_in_training_what_it_gives_at_test_time,
)


def check_layer(make: Make, shape: Shape) -> None:
    """Runs all checks on the layers that `make` makes, on pictures of this shape.

    Raises:
        AssertionError: at the first that fails.
    """
    for check in CHECKS:
        check(make, shape)


if __name__ == "__main__":
    for ours, (maker, picture) in OURS.items():
        check_layer(maker, picture)
        print(f"{keras.backend.backend()}: {ours} keeps the contract")
