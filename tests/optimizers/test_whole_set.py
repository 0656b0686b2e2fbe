"""Loss, gradient and Hessian of a model on a whole set against equations in float64, differences, and Keras itself."""

import keras
import numpy as np
import pytest
from keras import layers, regularizers
from scipy.special import expit, log_softmax, softmax

from tltool.errors import OptimizerError
from tltool.optimizers.lbfgs import LBFGS
from tltool.optimizers.whole_set import WholeSet

CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture
def float64():
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


def examples(count=23, width=4, classes=3, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(count, width)), random.integers(0, classes, count), random.uniform(0.1, 3, count)


def small_network(width=4, classes=3):
    """Two layers, a norm, dropout, and decay of both kernels; 4 * 5 + 5 + 10 + 5 * 3 + 3 = 53 trainable numbers."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((width,)),
            layers.Dense(5, activation="tanh", kernel_regularizer=regularizers.L2(0.05)),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(classes, kernel_regularizer=regularizers.L2(0.02)),
        ]
    )
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def whole(model, data, batch_size=256):
    return WholeSet("Mine", model, data, batch_size)


def differences(function, point, step=1e-5):
    """Central differences; the first axis says by which number."""
    units = step * np.eye(len(point))
    return np.array([(function(point + unit) - function(point - unit)) / (2 * step) for unit in units])


def test_a_linear_head_is_that_of_the_equations(float64):
    # Decay is a power of two: Keras keeps it in float32.
    x, y, weight = examples()
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, kernel_regularizer=regularizers.L2(1 / 16))])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    point = np.random.default_rng(1).normal(size=15)
    loss, gradient = whole(model, (x, y, weight), 7).loss_and_gradient(point)
    kernel, bias = point[:12].reshape(4, 3), point[12:]
    logits = x @ kernel + bias
    # Keras divides by the number of examples, not by the sum of their weights.
    expected = -(weight * log_softmax(logits, axis=1)[np.arange(23), y]).mean() + (kernel**2).sum() / 16
    error = weight[:, None] * (softmax(logits, axis=1) - np.eye(3)[y]) / 23
    assert loss == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(
        gradient, np.concatenate([(x.T @ error + kernel / 8).ravel(), error.sum(axis=0)]), atol=1e-12
    )


def test_the_gradient_and_the_hessian_are_those_of_differences(float64):
    x, y, weight = examples()
    objective = whole(small_network(), (x, y, weight), 7)
    point = objective.start + 0.1 * np.random.default_rng(2).normal(size=53)
    _, gradient = objective.loss_and_gradient(point)
    np.testing.assert_allclose(gradient, differences(lambda p: objective.loss_and_gradient(p)[0], point), atol=1e-8)
    hessian = differences(lambda p: objective.loss_and_gradient(p)[1], point)
    products = np.array([objective.hessian_vector(point, unit) for unit in np.eye(53)])
    np.testing.assert_allclose(products, hessian, atol=1e-7)
    np.testing.assert_allclose(products, products.T, atol=1e-12)
    vector = np.random.default_rng(3).normal(size=53)
    np.testing.assert_allclose(objective.hessian_vector(point, vector), products @ vector, atol=1e-12)


def test_the_hessian_of_a_logistic_unit_is_that_of_the_equations(float64):
    x, y, _ = examples(classes=2)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    point, vector = np.random.default_rng(1).normal(size=(2, 5))
    inputs = np.hstack([x, np.ones((23, 1))])
    prob = expit(inputs @ point)
    expected = inputs.T * (prob * (1 - prob)) @ inputs / 23 @ vector
    product = whole(model, (x, y[:, None].astype(float)), 10).hessian_vector(point, vector)
    np.testing.assert_allclose(product, expected, atol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 7, 23])
def test_the_batch_size_changes_nothing(float64, batch_size):
    data, vector = examples(), np.linspace(-1, 1, 53)
    once, cut = whole(small_network(), data), whole(small_network(), data, batch_size)
    np.testing.assert_array_equal(once.start, cut.start)
    first, second = once.loss_and_gradient(once.start), cut.loss_and_gradient(once.start)
    assert first[0] == pytest.approx(second[0], rel=1e-13)
    np.testing.assert_allclose(first[1], second[1], atol=1e-13)
    first, second = once.hessian_vector(once.start, vector), cut.hessian_vector(once.start, vector)
    np.testing.assert_allclose(first, second, atol=1e-13)


def test_decay_counts_once_and_all_losses_of_layers_count(float64):
    x, y, _ = examples()
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, kernel_regularizer=regularizers.L2(0.5)),
            layers.Dense(3, kernel_regularizer=regularizers.L2(0.25), activity_regularizer=regularizers.L2(1 / 8)),
        ]
    )
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    logits = model.predict(x, verbose=0)
    cross_entropy = -log_softmax(logits, axis=1)[np.arange(23), y].mean()
    first, second = (np.array(layer.kernel) for layer in model.layers)
    expected = cross_entropy + 0.5 * (first**2).sum() + 0.25 * (second**2).sum() + (logits**2).sum(axis=1).mean() / 8
    for batch_size in (3, 23):
        objective = whole(model, (x, y), batch_size)
        assert objective.loss_and_gradient(objective.start)[0] == pytest.approx(expected, rel=1e-10)


def test_several_inputs_and_outputs_with_weights_of_their_losses(float64):
    x, y, weight = examples()
    left, right = keras.Input((2,), name="left"), keras.Input((2,), name="right")
    joined = layers.Concatenate()([left, right])
    model = keras.Model(
        {"left": left, "right": right},
        {"kind": layers.Dense(3, name="kind")(joined), "size": layers.Dense(1, name="size")(joined)},
    )
    model.compile(
        loss={"kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "size": "mse"},
        loss_weights={"kind": 1.0, "size": 0.5},
    )
    inputs = {"left": x[:, :2], "right": x[:, 2:]}
    size = weight[:, None]
    objective = whole(model, (inputs, {"kind": y, "size": size}), 10)
    found = model.predict(inputs, verbose=0)
    expected = -log_softmax(found["kind"], axis=1)[np.arange(23), y].mean() + 0.5 * ((found["size"] - size) ** 2).mean()
    loss, gradient = objective.loss_and_gradient(objective.start)
    assert loss == pytest.approx(expected, rel=1e-10)
    slopes = differences(lambda point: objective.loss_and_gradient(point)[0], objective.start)
    np.testing.assert_allclose(gradient, slopes, atol=1e-8)


def test_an_embedding_whose_gradient_is_sparse(float64):
    tokens = np.random.default_rng(0).integers(0, 6, (20, 3))
    model = keras.Sequential(
        [keras.Input((3,), dtype="int32"), layers.Embedding(8, 2), layers.Flatten(), layers.Dense(1)]
    )
    model.compile(loss="mse")
    objective = whole(model, (tokens, tokens.sum(axis=1, keepdims=True) / 10.0), 6)
    _, gradient = objective.loss_and_gradient(objective.start)
    slopes = differences(lambda point: objective.loss_and_gradient(point)[0], objective.start)
    np.testing.assert_allclose(gradient, slopes, atol=1e-8)
    assert (gradient[12:16] == 0).all()  # tokens 6 and 7 never occur
    vector = np.linspace(-1, 1, len(gradient))
    along = [objective.loss_and_gradient(objective.start + step * vector)[1] for step in (1e-5, -1e-5)]
    np.testing.assert_allclose(
        objective.hessian_vector(objective.start, vector), (along[0] - along[1]) / 2e-5, atol=1e-7
    )


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16", "float16"])
def test_coarser_numbers_give_a_coarser_gradient_of_the_same_loss(policy):
    x, y, _ = examples()
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, dtype=policy)])
    model.compile(loss=CROSS_ENTROPY)
    objective = whole(model, (x, y), 10)
    loss, gradient = objective.loss_and_gradient(objective.start)
    logits = x @ objective.start[:12].reshape(4, 3) + objective.start[12:]
    error = (softmax(logits, axis=1) - np.eye(3)[y]) / 23
    close = 1e-6 if policy == "float32" else 2e-2
    assert gradient.dtype == np.float64
    assert loss == pytest.approx(-log_softmax(logits, axis=1)[np.arange(23), y].mean(), abs=close)
    np.testing.assert_allclose(gradient, np.concatenate([(x.T @ error).ravel(), error.sum(axis=0)]), atol=close)
    assert objective.precision == policy.removeprefix("mixed_")  # though the model around the layer is float32


def test_evaluations_leave_the_model_as_it_is():
    x, y, _ = examples()
    model = small_network()
    before = [np.array(weight) for weight in model.get_weights()]
    objective = whole(model, (x, y))
    first = objective.loss_and_gradient(objective.start + 1)
    assert first[0] != objective.loss_and_gradient(objective.start)[0]
    assert objective.loss_and_gradient(objective.start + 1)[0] == first[0]
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_that_is_not_built_and_a_model_with_its_own_loss():
    class Mine(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x):
            return self.dense(x)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            assert training is False
            return keras.ops.mean(keras.ops.abs(y_pred[:, 0] - y) ** 3)

    x, y, _ = examples()
    model = Mine()
    model.compile()
    objective = whole(model, (x, y.astype(float)), 5)
    expected = np.mean(np.abs(x @ objective.start[:4] + objective.start[4] - y) ** 3)
    assert objective.loss_and_gradient(objective.start)[0] == pytest.approx(expected, rel=1e-5)


def compiled(model, loss=CROSS_ENTROPY):
    model.compile(loss=loss)
    return model


def dense(**options):
    return keras.Sequential([keras.Input((4,)), layers.Dense(3, **options)])


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        (lambda: dense(), r"no loss\. Compile it first: model\.compile\(loss=\.\.\.\)"),
        (lambda: compiled(dense(), None), r"no loss\. Compile it first"),
        (lambda: compiled(dense(trainable=False)), r"no trainable variables\. Set `trainable`"),
        (
            lambda: compiled(dense(), keras.losses.MeanSquaredError(reduction="sum")),
            r'reduction "sum".*"sum_over_batch',
        ),
        (
            lambda: compiled(keras.Sequential([keras.Input((9,)), layers.Dense(3)])),
            "model and data do not fit together",
        ),
    ],
)
def test_a_model_that_cannot_be_minimized(model, fault):
    x, y, _ = examples()
    with pytest.raises(OptimizerError, match=f"LBFGS: .*{fault}"):
        LBFGS().minimize(model(), (x, y))
