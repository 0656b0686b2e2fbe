"""The sweep does what it says, step by step, and leaves no trace; its suggestions train a real network well."""

import math
import os
import random
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras.optimizers import SGD, Adam
from sklearn.datasets import load_digits

from tltool.errors import OptimizerError
from tltool.optimizers.rate_finder import STOP_ABOVE, find_rate
from tltool.optimizers.schedules import build_schedule

FEW = {"steps": 24, "smoothing": 0.5}
ONES = np.ones((4, 1), "float32")


def many(low, top) -> keras.optimizers.Optimizer:
    inner = keras.optimizers.OptimizerMap(SGD(top, momentum=0.9), {"low/.*": Adam(low)})
    return keras.optimizers.MultiOptimizer(inner)


OPTIMIZERS = {
    "sgd": lambda: SGD(0.05, momentum=0.9),
    "adam": lambda: Adam(0.01),
    "schedule": lambda: Adam(build_schedule("cosine", 0.01, 50, 3)),
    "many": lambda: many(0.002, 0.02),
    "many-schedules": lambda: many(build_schedule("one-cycle", 0.002, 50, 3), build_schedule("cosine", 0.02, 50, 3)),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(many(0.002, 0.02), dynamic_growth_steps=4),
    "accumulating": lambda: Adam(0.01, gradient_accumulation_steps=2, use_ema=True),
}


def network(optimizer: keras.optimizers.Optimizer, built: bool = True) -> keras.Model:
    """With dropout, BatchNorm and a metric: states that training moves beside the weights."""
    layers = [
        keras.layers.Dense(8, activation="relu", name="low"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.4),
        keras.layers.Dense(3, name="top"),
    ]
    model = keras.Sequential([keras.Input((5,)), *layers] if built else layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def data(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(0)
    return drawn.normal(size=(count, 5)).astype("float32"), drawn.integers(0, 3, count)


def state(model: keras.Model) -> list[np.ndarray]:
    variables = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def draw() -> list[float]:
    return [random.random(), np.random.rand(), *np.ravel(keras.ops.convert_to_numpy(keras.random.normal((3,))))]


def train(optimizer: keras.optimizers.Optimizer, before: int, sweep=None, built: bool = True) -> tuple:
    """The end of a training of a few steps, with a sweep in it or without, and random numbers drawn after it."""
    keras.utils.set_random_seed(5)
    model, (x, y) = network(optimizer, built), data()
    for _ in range(before):
        model.train_on_batch(x, y)
    if sweep is not None:
        learned = model.get_metrics_result() if before else None
        kept = state(model) if before else None
        sweep(model, x, y)
        assert before == 0 or same(state(model), kept)
        assert before == 0 or model.get_metrics_result() == learned
    drawn = draw()
    model.fit(x, y, batch_size=10, epochs=2, verbose=0)
    model.train_on_batch(x, y)
    return state(model), drawn


AGES = {"sgd": 0, "adam": 3, "schedule": 0, "many": 0, "many-schedules": 3, "scaled": 3, "accumulating": 3}


@pytest.mark.parametrize(("kind", "before"), AGES.items())
def test_training_after_a_sweep_is_the_same_to_the_last_bit(kind: str, before: int):
    def sweep(model, x, y):
        found = find_rate(model, x, y, batch_size=8, highest=100.0, **FEW)
        assert len(found.losses) > 10

    plain, swept = train(OPTIMIZERS[kind](), before), train(OPTIMIZERS[kind](), before, sweep)
    assert same(plain[0], swept[0])
    assert plain[1] == swept[1]


def test_a_model_that_is_not_built_yet():
    plain = train(Adam(0.01), 0, built=False)
    swept = train(Adam(0.01), 0, lambda model, x, y: find_rate(model, x, y, **FEW), built=False)
    assert same(plain[0], swept[0])


def test_a_model_of_two_losses():
    """Keras adds a metric for each when it builds them, and must not do so twice."""

    def train_two(sweep: bool) -> list[np.ndarray]:
        keras.utils.set_random_seed(5)
        x = keras.Input((5,))
        model = keras.Model(x, [keras.layers.Dense(3, name="first")(x), keras.layers.Dense(1, name="second")(x)])
        categorical = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(Adam(0.01), [categorical, "mse"], metrics=[["accuracy"], ["mae"]])
        x, y = data()
        if sweep:
            assert len(find_rate(model, x, (y, x[:, :1]), **FEW).losses) > 10
        logs = model.fit(x, (y, x[:, :1]), epochs=2, verbose=0).history
        assert list(logs) == ["first_accuracy", "first_loss", "loss", "second_loss", "second_mae"]
        return state(model) + [np.array(values) for values in logs.values()]

    assert same(train_two(sweep=False), train_two(sweep=True))


@pytest.mark.parametrize(
    ("kind", "before", "error"), [("many-schedules", 2, RuntimeError), ("adam", 0, KeyboardInterrupt)]
)
def test_an_error_in_the_midst_leaves_no_trace_either(kind: str, error: type, before: int):
    class Breaking:
        def __iter__(self):
            for _ in range(7):
                np.random.rand()
                random.random()
                yield data(8)
            raise error("in the midst")

    def sweep(model, x, y):
        with pytest.raises(error, match="in the midst"):
            find_rate(model, Breaking(), **FEW)

    plain, swept = train(OPTIMIZERS[kind](), before), train(OPTIMIZERS[kind](), before, sweep)
    assert same(plain[0], swept[0])
    assert plain[1] == swept[1]


def test_a_step_that_fails_leaves_no_trace_either():
    def sweep(model, x, y):
        with pytest.raises(Exception, match=r"."):
            find_rate(model, [(x, y), (x, y), (x[:, :2], y)], **FEW)

    plain, swept = train(Adam(0.01), 2, sweep=None), train(Adam(0.01), 2, sweep)
    assert same(plain[0], swept[0])


def slope(optimizer: keras.optimizers.Optimizer) -> keras.Model:
    """Its loss is the sum of two weights: descent lowers each by the rate."""
    x = keras.Input((1,))
    parts = [keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name=name)(x) for name in ("low", "top")]
    model = keras.Model(x, keras.layers.Add()(parts))
    model.compile(optimizer, lambda y, prediction: prediction)
    return model


def two(low, top) -> keras.optimizers.Optimizer:
    return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(SGD(top), {"low/.*": SGD(low)}))


@pytest.mark.parametrize(
    ("optimizer", "sum_of_shares"),
    [
        (lambda: SGD(0.3), 2.0),
        (lambda: SGD(build_schedule("cosine", 0.3, 40, 5)), 2.0),
        (lambda: SGD(lambda: keras.ops.convert_to_tensor(0.3)), 2.0),
        (lambda: two(0.02, 0.1), 1.2),
        (lambda: two(0.0, 0.1), 1.0),
        (lambda: two(build_schedule("cosine", 0.02, 40, 7), build_schedule("cosine", 0.1, 40, 7)), 1.2),
        (lambda: two(build_schedule("cosine", 0.05, 40, 7), 0.1), 1.5),
        (lambda: keras.optimizers.LossScaleOptimizer(two(0.05, 0.1), initial_scale=4.0), 1.5),
    ],
)
def test_every_step_goes_as_far_as_its_rate(optimizer, sum_of_shares: float):
    found = find_rate(slope(optimizer()), ONES, ONES, batch_size=4, lowest=1e-4, highest=0.1, steps=41)
    np.testing.assert_allclose(found.rates, 1e-4 * 1000 ** (np.arange(41) / 40), rtol=1e-12)
    went = np.concatenate([[0], np.cumsum(found.rates)[:-1]])
    np.testing.assert_allclose(found.losses, -sum_of_shares * went, rtol=1e-3, atol=1e-7)
    weights = 0.9 ** np.arange(41)
    for step in (0, 1, 7, 40):
        past = weights[: step + 1][::-1]
        assert found.smoothed[step] == pytest.approx((past * found.losses[: step + 1]).sum() / past.sum(), rel=1e-9)
    assert found.suggestion is None
    assert "still falls at the last rate, 0.1. Go on to a higher one with `highest`" in found.verdict


def bowl(start: float) -> keras.Model:
    """Half the square of one weight."""
    at = keras.initializers.Constant(start)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer=at)])
    model.compile(SGD(1.0), lambda y, prediction: keras.ops.square(prediction) / 2)
    return model


def test_it_stops_where_the_loss_explodes():
    found = find_rate(bowl(1.0), ONES, ONES, lowest=0.001, highest=1e4, steps=70, smoothing=0.5)
    weight, losses = 1.0, []
    for rate in 0.001 * 1e7 ** (np.arange(70) / 69):
        losses.append(weight**2 / 2)
        weight -= rate * weight
    count = len(found.losses)
    assert 20 < count < 60
    np.testing.assert_allclose(found.losses, losses[:count], rtol=1e-3, atol=1e-12)
    assert found.smoothed[-1] <= STOP_ABOVE * found.smoothed.min()
    after = (0.5 ** np.arange(count + 1) * losses[: count + 1][::-1]).sum() / (0.5 ** np.arange(count + 1)).sum()
    assert after > STOP_ABOVE * found.smoothed.min()
    assert found.valley is not None


def test_a_loss_that_is_no_number_ends_it():
    found = find_rate(bowl(1.0), ONES, ONES, lowest=1e25, highest=1e30, **FEW)
    assert found.suggestion is None
    assert found.verdict == "No clear valley: the loss exploded at step 2. Start at a lower rate with `lowest`."
    assert find_rate(bowl(math.nan), ONES, ONES, **FEW).losses.shape == (0,)


def told(rows: int, batch_size: int, seed: int = 0) -> np.ndarray:
    """The sum of each batch, where row i is 2 to the i."""
    x = 2.0 ** np.arange(rows, dtype="float32")[:, None]
    inner = keras.Input((1,))
    model = keras.Model(inner, inner * 1.0 + 0.0 * keras.layers.Dense(1)(inner))
    model.compile(SGD(0.1), lambda y, prediction: prediction)
    # The smallest rates and the largest losses differ too much for the rule that ends it.
    found = find_rate(model, x, x, batch_size=batch_size, lowest=1e-9, highest=1e-8, seed=seed, steps=200)
    return np.round(found.losses * min(batch_size, rows)).astype(int)


def test_rows_are_drawn_without_replacement_and_then_anew(monkeypatch):
    monkeypatch.setattr("tltool.optimizers.rate_finder.STOP_ABOVE", 1e9)
    one, again, other = told(10, 1), told(10, 1), told(10, 1, seed=1)
    for start in range(0, 200, 10):
        assert sorted(one[start : start + 10]) == [2**i for i in range(10)]
    assert one[:10].tolist() != one[10:20].tolist()
    assert one.tolist() == again.tolist()
    assert one.tolist() != other.tolist()
    four = told(10, 4)
    assert {int(rows).bit_count() for rows in four} == {4}
    assert not (four[0::2] & four[1::2]).any()
    assert set(told(3, 32).tolist()) == {7}


def test_batches_are_gone_through_again_and_again():
    passes = []

    class Batches:
        def __iter__(self):
            passes.append(len(passes))
            x, y = data(20)
            yield x[:10], y[:10]
            yield x[10:], y[10:], np.zeros(10, "float32")  # the weights make this batch's loss 0

    model = network(SGD(0.01))
    found = find_rate(model, Batches(), lowest=1e-8, highest=1e-7, **FEW)
    assert passes == list(range(12))
    assert not found.losses[1::2].any()
    assert (found.losses[0::2] > 0.1).all()


def test_digits_are_learned_at_the_rate_that_is_suggested():
    digits = load_digits()
    x, y = (digits.data / 16).astype("float32"), digits.target

    def small() -> keras.Model:
        keras.utils.set_random_seed(1)
        hidden = keras.layers.Dense(64, activation="relu")
        model = keras.Sequential([keras.Input((64,)), hidden, keras.layers.Dense(10)])
        model.compile(Adam(1.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        return model

    found = find_rate(small(), x[:1200], y[:1200])
    assert f"train with {found.suggestion:.2g}" in found.verdict
    assert found.suggestion == found.valley
    scores = []
    for factor in (0.03, 1.0, 30.0):
        model = small()
        model.optimizer.learning_rate = factor * found.suggestion
        model.fit(x[:1200], y[:1200], epochs=4, verbose=0)
        scores.append(model.evaluate(x[1200:], y[1200:], verbose=0))
    assert scores[1][1] > 0.88
    assert scores[1][0] < 0.5 * min(scores[0][0], scores[2][0])

    shuffled = np.random.default_rng(0).permutation(y)
    guessed = find_rate(small(), x, shuffled)
    assert guessed.suggestion is guessed.steepest is guessed.minimum_tenth is None
    assert guessed.verdict.startswith("No clear valley: the loss fell by")


def test_what_it_cannot_sweep():
    model, (x, y) = network(SGD(0.1)), data()
    for arguments, message in (
        ({"lowest": 0.1, "highest": 0.1}, r"`lowest` = 0\.1 must be below `highest` = 0\.1"),
        ({"lowest": 0.0}, r"`lowest` = 0\.0: must be a number above 0"),
        ({"steps": 39}, r"`steps` = 39: a smoothing of 0\.9 needs at least 40"),
        ({"steps": 19, "smoothing": 0.0}, r"`steps` = 19: a smoothing of 0 needs at least 20"),
        ({"smoothing": 1.0}, r"`smoothing` = 1\.0: must be a number in \[0, 1\)"),
        ({"batch_size": 0}, "`batch_size` = 0: must be a whole number"),
    ):
        with pytest.raises(OptimizerError, match=message):
            find_rate(model, x, y, **arguments)
    for given, message in (
        ((x[:0], y[:0]), "x and y have no rows"),
        ((x, y[:-1]), "x and y have 39 and 40 rows"),
        (([],), "there are no batches"),
        ((x,), "without `y`, `x` must give batches"),
        ((3,), "without `y`, `x` must give batches"),
        ((iter([(x, y)] * 5),), "the batches ran out and cannot be gone through again"),
    ):
        with pytest.raises(OptimizerError, match=message):
            find_rate(model, *given)
    with pytest.raises(OptimizerError, match=r"the model has no optimizer and loss\. Compile it first"):
        find_rate(keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)]), x, y)
    with pytest.raises(OptimizerError, match="all rates inside the optimizer are 0"):
        find_rate(slope(two(0.0, 0.0)), ONES, ONES)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="this process runs on JAX already")
def test_the_same_on_jax():
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
    command += [
        "-k",
        "(last_bit and (schedules or many-0)) or fails or two_losses or (goes_as_far and optimizer5)",
    ]
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
