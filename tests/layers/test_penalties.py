"""Penalties against their formulas in float64: in the loss and the gradient of Keras's own compiled training step."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tltool.errors import RegularizerError
from tltool.layers.penalties import L2SP, elastic_net, penalized
from tltool.layers.regularize import regularized
from tltool.optimizers.lbfgs import LBFGS

TABLE = {"l1": 0.03, "l2": 0.2, "l2_sp": 0.5}
RATE = 0.5
PIXELS = np.random.default_rng(0).normal(size=(8, 6, 6, 3)).astype("float32")
TARGETS = np.random.default_rng(1).normal(size=(8, 2)).astype("float32")


def value(tensor) -> np.ndarray:
    return np.array(ops.convert_to_numpy(tensor), dtype=np.float64)


def values(model) -> dict[str, np.ndarray]:
    return {variable.path: value(variable) for variable in model.weights}


def network() -> keras.Model:
    """Kernels of each kind, biases and a norm; the first convolution is frozen."""
    keras.utils.set_random_seed(2)
    image = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, name="frozen")(image)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.SeparableConv2D(5, 1, name="separable")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, layers.Dense(2, name="logits")(x))
    model.get_layer("frozen").trainable = False
    return model


def kernels(model) -> list:
    names = {"depthwise": ["kernel"], "separable": ["depthwise_kernel", "pointwise_kernel"], "logits": ["kernel"]}
    return [getattr(model.get_layer(name), kernel) for name, found in names.items() for kernel in found]


def moved(model) -> dict[str, np.ndarray]:
    """Weights as if trained, so that none is where it started."""
    random = np.random.default_rng(3)
    model.set_weights([weight + random.uniform(0.1, 0.3, weight.shape) for weight in model.get_weights()])
    return values(model)


def no_loss(_, logits):
    return 0.0 * ops.sum(logits, axis=-1)


def formula(table, weights, start) -> tuple[float, np.ndarray]:
    """Loss and gradient of one kernel."""
    l1, l2, l2_sp = (table.get(name, 0.0) for name in ("l1", "l2", "l2_sp"))
    apart = weights - start
    loss = l1 * np.abs(weights).sum() + l2 / 2 * (weights**2).sum() + l2_sp / 2 * (apart**2).sum()
    return loss, l1 * np.sign(weights) + l2 * weights + l2_sp * apart


@pytest.mark.parametrize("names", [["l1"], ["l2"], ["l1", "l2"], ["l2_sp"], ["l1", "l2", "l2_sp"]], ids="+".join)
def test_a_compiled_step_has_loss_and_gradient_of_the_formulas(names):
    """Where data has no say, a step of plain gradient descent shows the penalties' gradient alone."""
    table = {name: TABLE[name] for name in names}
    model = network()
    start = values(model)
    with penalized(model, table):
        before = moved(model)
        model.compile(keras.optimizers.SGD(RATE), no_loss)
        loss = float(model.train_on_batch(PIXELS, TARGETS))
        after = values(model)
    paths = {kernel.path for kernel in kernels(model)}
    expected = 0.0
    for path, old in before.items():
        if path in paths:
            term, gradient = formula(table, old, start[path])
            expected += term
            np.testing.assert_allclose(after[path], old - RATE * gradient, atol=1e-6)
        elif "moving" not in path:
            np.testing.assert_array_equal(after[path], old, err_msg=path)
    assert expected > 0.1
    assert loss == pytest.approx(expected, rel=1e-5)


def test_each_batch_counts_them_once_whatever_its_size():
    model = network()
    table = {"l2": 0.3}
    expected = sum(formula(table, value(kernel), 0)[0] for kernel in kernels(model))
    model.compile(loss="mse")
    plain = [model.test_on_batch(PIXELS[:count], TARGETS[:count]) for count in (2, 8)]
    with penalized(model, table):
        model.compile(loss="mse")
        penalties = [model.test_on_batch(PIXELS[:count], TARGETS[:count]) for count in (2, 8)]
    np.testing.assert_allclose(np.subtract(penalties, plain), expected, rtol=1e-5)


def test_half_precision_computes_them_in_full():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy("float32")
    start = values(model)
    with penalized(model, TABLE):
        before = moved(model)
        model.compile(keras.optimizers.SGD(RATE), no_loss)
        loss = float(model.train_on_batch(PIXELS, TARGETS))
    expected = sum(formula(TABLE, before[kernel.path], start[kernel.path])[0] for kernel in kernels(model))
    assert loss == pytest.approx(expected, rel=1e-5)  # bfloat16 would be off by up to 4e-3


def test_a_full_batch_search_finds_the_closed_form_and_an_endless_pull_the_start():
    """Least squares pulled to a start: (2 X'X / N + a I) w = 2 X'Y / N + a w0, in float64."""
    random = np.random.default_rng(4)
    x, y = random.normal(size=(40, 5)), random.normal(size=(40, 1))
    start = random.normal(size=(5, 1))
    distances = []
    for strength in (0.0, 0.1, 1.0, 100.0):
        model = keras.Sequential([keras.Input((5,)), layers.Dense(1, use_bias=False)])
        model.set_weights([start])
        with penalized(model, {"l2_sp": strength}):
            model.compile(loss="mse")
            LBFGS().minimize(model, (x.astype("float32"), y.astype("float32")))
        expected = np.linalg.solve(2 * x.T @ x / 40 + strength * np.eye(5), 2 * x.T @ y / 40 + strength * start)
        np.testing.assert_allclose(model.get_weights()[0], expected, atol=2e-4)
        distances.append(np.linalg.norm(model.get_weights()[0] - start))
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.05 * distances[0]


def test_training_stays_nearer_to_where_it_started():
    """Several steps of Adam on the whole network, head included."""
    distances = []
    for strength in (0.0, 0.3, 10.0):
        model = network()
        start = values(model)
        with penalized(model, {"l2_sp": strength}):
            model.compile(keras.optimizers.Adam(0.01), "mse")
            for _ in range(30):
                model.train_on_batch(PIXELS, TARGETS)
        distances.append([np.linalg.norm(value(kernel) - start[kernel.path]) for kernel in kernels(model)])
    for free, pulled, held in zip(*distances, strict=True):
        assert held < pulled < free


def test_pretrained_weights_of_an_earlier_stage_and_a_head_that_has_learned_nothing():
    model = network()
    pretrained = model.get_weights()
    by_path = dict(zip(values(model), pretrained, strict=True))
    now = moved(model)
    with penalized(model, {"l2_sp": 0.5}, start=pretrained, fresh=("logits",)):
        losses = value(sum(model.losses))
    expected = 0.0
    for kernel in kernels(model):
        reference = np.zeros(kernel.shape) if kernel.path.startswith("logits") else by_path[kernel.path]
        expected += formula({"l2_sp": 0.5}, now[kernel.path], reference)[0]
    assert losses == pytest.approx(expected, rel=1e-5)


def test_the_regularized_network_has_them_once():
    model = network()
    table = {**TABLE, "dropout": 0.5, "drop_connect": 0.5}
    trained = regularized(model, table, seed=0)
    start = values(model)
    with penalized(model, table):
        now = moved(model)
        expected = sum(formula(TABLE, now[kernel.path], start[kernel.path])[0] for kernel in kernels(model))
        for network_of_it in (model, trained):
            assert value(sum(network_of_it.losses)) == pytest.approx(expected, rel=1e-5)


class _LetGoError(Exception):
    pass


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_and_a_penalty_of_its_own_stays(fails):
    model = network()
    own = keras.regularizers.L2(0.25)
    model.get_layer("logits").kernel.regularizer = own
    frozen_too = [variable.regularizer for variable in model.variables]
    try:
        with penalized(model, {"l1": 0.1}):
            as_given = model.get_layer("logits").kernel.value
            weights = value(as_given)
            both = 0.25 * (weights**2).sum() + 0.1 * np.abs(weights).sum()
            assert float(value(model.get_layer("logits").kernel.regularizer(as_given))) == pytest.approx(both, rel=1e-5)
            assert len(model.losses) == len(kernels(model))
            if fails:
                raise _LetGoError
    except _LetGoError:
        assert fails
    assert [variable.regularizer for variable in model.variables] == frozen_too
    assert model.get_layer("logits").kernel.regularizer is own


def test_zeros_and_what_is_not_a_penalty_change_nothing():
    model = network()
    with penalized(model, {"l1": 0, "l2_sp": 0.0, "dropout": 0.5}):
        assert model.losses == []


def test_what_cannot_be_done_is_said_and_leaves_nothing():
    model = network()
    wrong = [
        (({"l2": -1.0},), {}, "must be a number, 0 or above"),
        (({"l2_sp": 0.1},), {"start": model.get_weights()[1:]}, "start is not this model's"),
        (({"l2_sp": 0.1},), {"fresh": ("logit",)}, "no layer 'logit'"),
    ]
    for arguments, more, words in wrong:
        with pytest.raises(RegularizerError, match=words), penalized(model, *arguments, **more):
            pass
        assert model.losses == []
    with pytest.raises(RegularizerError, match=r"shape \(2, 3\), the reference \(3, 2\)"):
        L2SP(0.1, np.zeros((3, 2)))(np.zeros((2, 3), "float32"))
    for make in (lambda: L2SP(-0.1, [0.0]), lambda: elastic_net(l1=-1), lambda: elastic_net(l2=float("nan"))):
        with pytest.raises(RegularizerError):
            make()


def test_l2_sp_is_a_keras_regularizer_that_is_saved_with_its_model(tmp_path):
    random = np.random.default_rng(5)
    start, weights = random.normal(size=(2, 4, 3)).astype("float32")
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, kernel_regularizer=L2SP(0.7, start))])
    model.layers[0].kernel.assign(weights)
    model.save(tmp_path / "model.keras")
    opened = keras.saving.load_model(tmp_path / "model.keras")
    expected = 0.35 * ((weights.astype(float) - start) ** 2).sum()
    for one in (model, opened):
        assert value(sum(one.losses)) == pytest.approx(expected, rel=1e-5)
