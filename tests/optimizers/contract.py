"""What every optimizer of tltool must do as a Keras optimizer, on whichever backend is running.

`check_optimizer(make)` runs all of it. Run as a module it does so for all of them, for a backend that the tests' own
process does not have: KERAS_BACKEND=jax python -m tests.optimizers.contract
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras import ops

from tltool.optimizers import FinalizedWeights, get

Make = Callable[..., keras.optimizers.Optimizer]
OURS = {
    "nesterov-lookahead": ("nesterov", {"form": "lookahead"}),
    "nesterov-reformulated": ("nesterov", {"form": "reformulated"}),
    "decayed-adagrad": ("decayed-adagrad", {"decay": 0.9}),
    "adagrad-norm": ("adagrad-norm", {}),
    "nesterov-adagrad": ("nesterov-adagrad", {}),
    # Both a cycle's end and a growing cycle lie within the few steps of a check.
    "adagrad-with-warm-restart": ("adagrad-with-warm-restart", {"first_cycle": 3, "cycle_growth": 2}),
}
RATE = 0.05
SIZES = ((4, 3), (3,))


def maker(name: str) -> Make:
    """Makes the optimizer of this entry of `OURS`, with more arguments or others."""
    known, arguments = OURS[name]
    return lambda **more: get(known, **{"learning_rate": RATE, **arguments, **more})


def value(variable) -> np.ndarray:
    return np.array(ops.convert_to_numpy(variable))


def values(variables) -> list[np.ndarray]:
    return [value(variable) for variable in variables]


def assert_same(first, second) -> None:
    """To the last bit."""
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def assert_close(first, second, tolerance: float = 2e-6) -> None:
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def new_variables(dtype: str = "float32") -> list[keras.Variable]:
    random = np.random.default_rng(1)
    return [keras.Variable(random.normal(size=size).astype(dtype), dtype=dtype) for size in SIZES]


def gradients(step: int) -> list[np.ndarray]:
    random = np.random.default_rng(100 + step)
    return [random.normal(size=size).astype("float32") for size in SIZES]


def stepped(optimizer, variables, feed) -> list[np.ndarray]:
    """Applies one list of gradients after the other, finalizes, and returns the weights."""
    for grads in feed:
        optimizer.apply([ops.convert_to_tensor(gradient) for gradient in grads], variables)
    optimizer.finalize_variable_values(variables)
    return values(variables)


DATA = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
TARGETS = np.tanh(DATA @ np.random.default_rng(5).normal(size=(4, 2))).astype("float32")


def new_model(optimizer, policy: str = "float32", **compiling) -> keras.Model:
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input((4,))
    x = keras.layers.Dense(5, activation="tanh", name="hidden", dtype=policy)(x)
    model = keras.Model(inputs, keras.layers.Dense(2, name="out", dtype=policy)(x))
    model.compile(optimizer=optimizer, loss="mse", **compiling)
    return model


def train(model: keras.Model, first: int, last: int) -> list[float]:
    losses = []
    for step in range(first, last):
        rows = slice(8 * (step % 3), 8 * (step % 3) + 8)
        losses.append(float(model.train_on_batch(DATA[rows], TARGETS[rows])))
    return losses


def state(model: keras.Model) -> list[np.ndarray]:
    return values(model.trainable_variables) + values(model.optimizer.variables)


def saved_and_loaded(model: keras.Model) -> keras.Model:
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        return keras.models.load_model(Path(folder) / "model.keras")


def rebuilds_from_its_configuration(make: Make) -> None:
    first = make(weight_decay=0.1, clipnorm=1.0, use_ema=True, ema_momentum=0.9, name="mine")
    config = keras.optimizers.serialize(first)
    second = keras.optimizers.deserialize(json.loads(json.dumps(config)))
    assert type(second) is type(first)
    assert second.get_config() == first.get_config()
    assert second.get_config()["weight_decay"] == 0.1
    feed = [gradients(step) for step in range(4)]
    assert_same(stepped(first, new_variables(), feed), stepped(second, new_variables(), feed))


def resumes_to_the_last_bit(make: Make) -> None:
    whole = new_model(make())
    train(whole, 0, 8)
    part = new_model(make())
    train(part, 0, 4)
    part = saved_and_loaded(part)
    train(part, 4, 8)
    assert_same(state(whole), state(part))


def resumes_after_a_finished_fit(make: Make) -> None:
    def fit(model: keras.Model, epochs: int) -> None:
        model.fit(DATA, TARGETS, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=[FinalizedWeights()])

    whole = new_model(make())
    fit(whole, 4)
    part = new_model(make())
    fit(part, 2)
    part = saved_and_loaded(part)
    fit(part, 2)
    assert_same(state(whole), state(part))


def scores_the_final_weights(make: Make) -> None:
    def fit(**more) -> keras.Model:
        model = new_model(make(use_ema=True, ema_momentum=0.5))
        model.history = model.fit(DATA, TARGETS, batch_size=8, shuffle=False, verbose=0, **more)
        return model

    scored = fit(epochs=3, validation_data=(DATA, TARGETS), callbacks=[FinalizedWeights()])
    for epochs in (1, 3):
        short = fit(epochs=epochs)
        expected = short.evaluate(DATA, TARGETS, verbose=0)
        np.testing.assert_allclose(scored.history.history["val_loss"][epochs - 1], expected, rtol=1e-5)
    assert_same(state(scored), state(short))  # being scored in between changed nothing


def compiled_equals_eager(make: Make) -> None:
    compiled, eager = new_model(make()), new_model(make(), run_eagerly=True)
    train(compiled, 0, 8)
    train(eager, 0, 8)
    assert_close(state(compiled), state(eager))


def weight_decay_shrinks_before_the_step(make: Make) -> None:
    decayed, plain = new_variables(), new_variables()
    for variable in plain:
        variable.assign(variable * (1 - RATE * 0.5))
    # The steps that follow differ in what they decay, so only one is compared; `stepped` would finalize.
    stepped(make(weight_decay=0.5), decayed, [gradients(0)])
    stepped(make(), plain, [gradients(0)])
    assert_close(values(decayed), values(plain))


def clips(make: Make) -> None:
    feed = [gradients(step) for step in range(4)]
    norms = [[np.linalg.norm(gradient) for gradient in grads] for grads in feed]
    whole = [np.sqrt(np.sum(np.square(norm))) for norm in norms]
    expected = {
        "clipvalue": [[gradient.clip(-0.5, 0.5) for gradient in grads] for grads in feed],
        "clipnorm": [
            [gradient * min(1, 0.5 / norm) for gradient, norm in zip(*pair, strict=True)]
            for pair in zip(feed, norms, strict=True)
        ],
        "global_clipnorm": [
            [gradient * min(1, 0.5 / length) for gradient in grads] for grads, length in zip(feed, whole, strict=True)
        ],
    }
    for argument, clipped in expected.items():
        clipped = [[gradient.astype("float32") for gradient in grads] for grads in clipped]
        got = stepped(make(**{argument: 0.5}), new_variables(), feed)
        assert_close(got, stepped(make(), new_variables(), clipped), 1e-5)


def averages_the_final_weights(make: Make) -> None:
    feed = [gradients(step) for step in range(5)]
    # What the weights would have ended with after each step, by themselves.
    path = [stepped(make(), new_variables(), feed[:count]) for count in range(1, 6)]
    average = path[0]
    for point in path[1:]:
        average = [0.8 * mean + 0.2 * weights for mean, weights in zip(average, point, strict=True)]
    assert_close(stepped(make(use_ema=True, ema_momentum=0.8), new_variables(), feed), average)


def accumulates_gradients(make: Make) -> None:
    halves = [gradients(step) for step in range(6)]
    means = [[(a + b) / 2 for a, b in zip(halves[i], halves[i + 1], strict=True)] for i in range(0, len(halves), 2)]
    got = stepped(make(gradient_accumulation_steps=2), new_variables(), halves)
    assert_close(got, stepped(make(), new_variables(), means))


def scales_the_loss(make: Make) -> None:
    plain, scaled = new_model(make()), new_model(make(loss_scale_factor=256.0))
    train(plain, 0, 6)
    train(scaled, 0, 6)
    assert_close(values(plain.trainable_variables), values(scaled.trainable_variables), 1e-5)
    wrapped = keras.optimizers.LossScaleOptimizer(make(), initial_scale=16.0)
    variables = new_variables()
    wrapped.build(variables)
    infinite = [ops.full(size, np.inf) for size in SIZES]
    if keras.backend.backend() == "jax":  # where Keras branches without side effects only
        weights, slots = wrapped.stateless_apply(
            [slot.value for slot in wrapped.variables], infinite, [variable.value for variable in variables]
        )
    else:
        wrapped.apply(infinite, variables)
        weights, slots = variables, wrapped.variables
    # The step is left out, and the scale halved.
    assert_same(values(weights), values(new_variables()))
    assert [value(slot) for slot in slots if slot.dtype == "float32" and value(slot).tolist() == 8.0]


def follows_a_schedule(make: Make) -> None:
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([2, 4], [0.1, 0.03, 0.01])
    feed = [gradients(step) for step in range(7)]
    scheduled = make(learning_rate=schedule)
    got = stepped(scheduled, new_variables(), feed)
    assert keras.optimizers.deserialize(keras.optimizers.serialize(scheduled)).get_config() == scheduled.get_config()
    by_hand, variables = make(), new_variables()
    for step, grads in enumerate(feed):
        by_hand.learning_rate = 0.1 if step <= 2 else 0.03 if step <= 4 else 0.01
        by_hand.apply(grads, variables)
    by_hand.finalize_variable_values(variables)
    assert_close(got, values(variables))


def works_inside_a_multi_optimizer(make: Make) -> None:
    def divided() -> keras.optimizers.Optimizer:
        inner = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1))
        inner["hidden/.*"] = make()
        return keras.optimizers.MultiOptimizer(inner)

    whole = new_model(divided())
    losses = train(whole, 0, 8)
    assert losses[6] < losses[3] < losses[0]  # the same pictures each time
    part = new_model(divided())
    train(part, 0, 4)
    part = saved_and_loaded(part)
    train(part, 4, 8)
    assert_same(state(whole), state(part))
    # Each layer moves as it would under its own optimizer: those of the other are given no gradient here.
    alone = new_model(divided())
    first = values(alone.get_layer("hidden").trainable_variables)
    grads = [np.ones(array.shape, "float32") for array in values(alone.trainable_variables)]
    alone.optimizer.apply(grads, alone.trainable_variables)
    alone.optimizer.finalize_variable_values(alone.trainable_variables)
    variables = [keras.Variable(array) for array in first]
    expected = stepped(make(), variables, [[np.ones(array.shape, "float32") for array in first]])
    assert_close(values(alone.get_layer("hidden").trainable_variables), expected)


def trains_in_mixed_precision(make: Make) -> None:
    exact = new_model(make())
    train(exact, 0, 9)
    for policy in ("mixed_bfloat16", "mixed_float16"):
        model = new_model(make(), policy)
        losses = train(model, 0, 9)
        assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
        assert np.isfinite(losses).all()
        assert_close(values(model.trainable_variables), values(exact.trainable_variables), 0.05)


def keeps_the_type_of_its_variables(make: Make) -> None:
    for dtype, tolerance in (("bfloat16", 0.05), ("float64", 1e-6)):
        variables = new_variables(dtype)
        feed = [gradients(step) for step in range(5)]
        got = stepped(make(), variables, feed)
        assert {variable.dtype for variable in variables} == {dtype}
        exact = stepped(make(), new_variables(), feed)
        assert_close([array.astype("float32") for array in got], exact, tolerance)


def takes_sparse_gradients(make: Make) -> None:
    def embedded(optimizer, sparse: bool) -> list[np.ndarray]:
        keras.utils.set_random_seed(3)
        ids = inputs = keras.Input((2,), dtype="int32")
        if sparse:
            x = keras.layers.Embedding(6, 3, name="table")(ids)
        else:
            x = keras.layers.Dense(3, use_bias=False, name="table")(keras.layers.Rescaling(1.0)(one_hot(ids)))
        model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(x))
        model.get_layer("table").set_weights([np.random.default_rng(2).normal(size=(6, 3)).astype("float32")])
        model.compile(optimizer=optimizer, loss="mse")
        for rows in ([[0, 1], [1, 1]], [[2, 5], [0, 0]], [[1, 2], [3, 3]]):  # with repeats
            model.train_on_batch(np.array(rows, "int32"), np.ones((2, 3), "float32"))
        return model.get_layer("table").get_weights()

    def one_hot(ids):
        return ops.one_hot(ids, 6)

    assert_close(embedded(make(), sparse=True), embedded(make(), sparse=False), 1e-5)


def leaves_alone_what_has_no_gradient(make: Make) -> None:
    used, unused = new_variables()
    optimizer = make()
    optimizer.build([used, unused])
    before = value(unused)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras names the variables without a gradient
        optimizer.apply([gradients(0)[0], None], [used, unused])
    optimizer.finalize_variable_values([used, unused])
    assert_same([value(unused)], [before])
    assert not np.array_equal(value(used), value(new_variables()[0]))


CHECKS = (
    rebuilds_from_its_configuration,
    resumes_to_the_last_bit,
    resumes_after_a_finished_fit,
    scores_the_final_weights,
    compiled_equals_eager,
    weight_decay_shrinks_before_the_step,
    clips,
    averages_the_final_weights,
    accumulates_gradients,
    scales_the_loss,
    follows_a_schedule,
    works_inside_a_multi_optimizer,
    trains_in_mixed_precision,
    keeps_the_type_of_its_variables,
    takes_sparse_gradients,
    leaves_alone_what_has_no_gradient,
)


def check_optimizer(make: Make) -> None:
    """Runs all checks on the optimizers that `make` makes.

    Raises:
        AssertionError: at the first that fails.
    """
    for check in CHECKS:
        check(make)


if __name__ == "__main__":
    for ours in OURS:
        check_optimizer(maker(ours))
        print(f"{keras.backend.backend()}: {ours} keeps the contract")
