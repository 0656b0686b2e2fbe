"""DropConnect against the paper's moments in float64, closed forms of SciPy, and the layer that it wraps."""

import keras
import numpy as np
import pytest
from scipy.stats import norm

from tests.layers.contract import pictures, value
from tltool.errors import RegularizerError
from tltool.layers import drop_connect
from tltool.layers.drop_connect import DropConnect

RATE = 0.4


def dense(inputs: int = 6, units: int = 4, activation=None) -> keras.layers.Dense:
    """With weights of both signs and no zero."""
    layer = keras.layers.Dense(units, activation=activation)
    layer.build((None, inputs))
    random = np.random.default_rng(1)
    layer.set_weights([random.normal(size=(inputs, units)), random.normal(size=units)])
    return layer


def weights(layer) -> tuple[np.ndarray, np.ndarray]:
    kernel, bias = (array.astype("float64") for array in layer.get_weights())
    return kernel.reshape(kernel.shape[-2:]), bias


def moments(layer, x: np.ndarray, rate: float = RATE) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of a unit before its activation (section 3.2, with weights divided by 1 - rate)."""
    kernel, bias = weights(layer)
    keep = 1 - rate
    mean = keep * ((x @ kernel + bias) / keep)
    variance = keep * rate * (x**2 @ (kernel / keep) ** 2 + (bias / keep) ** 2)
    return mean, np.sqrt(variance)


def test_each_weight_is_kept_and_divided_or_is_zero():
    layer = dense()
    kernel, bias = weights(layer)
    layer.set_weights([kernel, np.zeros(4)])
    count = 4000
    for row in range(6):  # an input of one 1 shows one row of the kernel, for each picture under its own mask
        x = np.tile(np.eye(6, dtype="float32")[row], (count, 1))
        out = value(DropConnect(layer, RATE, seed=row)(x, training=True))
        kept = np.isclose(out, kernel[row] / (1 - RATE), rtol=1e-5)
        assert (kept | (out == 0)).all()
        assert (np.abs(kept.mean(axis=0) - (1 - RATE)) < 4.5 * np.sqrt(RATE * (1 - RATE) / count)).all()
    layer.set_weights([kernel, bias])
    out = value(DropConnect(layer, RATE, seed=9)(np.zeros((count, 6), "float32"), training=True))
    kept = np.isclose(out, bias / (1 - RATE), rtol=1e-5)
    assert (kept | (out == 0)).all()
    assert (np.abs(kept.mean(axis=0) - (1 - RATE)) < 4.5 * np.sqrt(RATE * (1 - RATE) / count)).all()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_units_have_the_moments_of_the_paper(rate: float):
    # 40,000 draws of one picture; mean and variance of 4 units within 4.5 of their own standard errors.
    layer, x = dense(), pictures((6,), 1)
    draws = value(DropConnect(layer, rate, seed=2)(np.tile(x, (40_000, 1)), training=True)).astype("float64")
    mean, deviation = moments(layer, x[0].astype("float64"), rate)
    assert (np.abs(draws.mean(axis=0) - mean) < 4.5 * deviation / np.sqrt(len(draws))).all()
    squares = (draws - mean) ** 2
    error = squares.std(axis=0) / np.sqrt(len(draws))
    assert (np.abs(squares.mean(axis=0) - deviation**2) < 4.5 * error).all()
    assert (error < 0.03 * deviation**2).all()


@pytest.mark.parametrize(("limit", "masks"), [(24, 32), (23, 1)])
def test_pictures_have_masks_of_their_own_up_to_a_size(limit: int, masks: int, monkeypatch):
    monkeypatch.setattr(drop_connect, "WEIGHTS_FOR_OWN_MASK", limit)
    layer = DropConnect(dense(6, 4), RATE, seed=3)
    same = np.tile(pictures((6,), 1), (32, 1))
    first, second = (value(layer(same, training=True)) for _ in range(2))
    assert len(np.unique(first, axis=0)) >= 0.9 * masks
    assert (len(np.unique(first, axis=0)) == 1) == (masks == 1)
    assert not np.array_equal(first, second)


def test_one_mask_a_batch_has_the_same_expectation(monkeypatch):
    # 3,000 batches; 4.5 standard errors for each of 4 units.
    monkeypatch.setattr(drop_connect, "WEIGHTS_FOR_OWN_MASK", 0)
    plain, x = dense(), pictures((6,), 1)
    layer = DropConnect(plain, RATE, seed=4)
    draws = np.concatenate([value(layer(x, training=True)) for _ in range(3000)]).astype("float64")
    mean, deviation = moments(plain, x[0].astype("float64"))
    assert (np.abs(draws.mean(axis=0) - mean) < 4.5 * deviation / np.sqrt(len(draws))).all()


def test_all_positions_of_a_picture_share_its_mask():
    convolution = keras.layers.Conv2D(4, 1, bias_initializer="ones")
    x = np.broadcast_to(pictures((6,), 1)[:, None, None], (8, 5, 3, 6))
    out = value(DropConnect(convolution, RATE, seed=5)(x, training=True))
    np.testing.assert_allclose(out, np.broadcast_to(out[:, :1, :1], out.shape), rtol=1e-6, atol=1e-6)
    assert len(np.unique(out[:, 0, 0], axis=0)) == 8
    dense_rows = value(DropConnect(dense(), RATE, seed=5)(x[:, :, 0], training=True))
    np.testing.assert_allclose(dense_rows, np.broadcast_to(dense_rows[:, :1], dense_rows.shape), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("limit", [0, 2**17])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_a_convolution_in_training_is_that_convolution(limit: int, padding: str, strides, monkeypatch):
    monkeypatch.setattr(drop_connect, "WEIGHTS_FOR_OWN_MASK", limit)
    for use_bias in (True, False):
        convolution = keras.layers.Conv2D(
            4, 1, strides, padding, activation="tanh", use_bias=use_bias, bias_initializer="ones"
        )
        for shape in ((7, 9, 6), (8, 6, 6), (1, 1, 6)):
            x = pictures(shape)
            # A rate at which nothing is dropped, through the code that drops.
            layer = DropConnect(convolution, 1e-12, seed=6)
            out = value(layer(x, training=True))
            np.testing.assert_allclose(out, value(convolution(x)), rtol=1e-5, atol=1e-6)
            assert layer.compute_output_shape(x.shape) == out.shape


def test_at_test_time_it_is_the_wrapped_layer():
    layer, x = dense(activation="relu"), pictures((6,))
    np.testing.assert_array_equal(value(DropConnect(layer, RATE)(x)), value(layer(x)))
    np.testing.assert_array_equal(value(DropConnect(layer, 0.0)(x, training=True)), value(layer(x)))


def test_a_gaussian_of_a_rectified_unit_has_its_closed_form():
    samples = 20_000
    layer, x = dense(activation="relu"), pictures((6,))
    out = value(DropConnect(layer, RATE, test="gaussian", samples=samples)(x)).astype("float64")
    mean, deviation = moments(layer, x.astype("float64"))
    ratio = mean / deviation
    expected = mean * norm.cdf(ratio) + deviation * norm.pdf(ratio)
    square = (mean**2 + deviation**2) * norm.cdf(ratio) + mean * deviation * norm.pdf(ratio)
    error = np.sqrt((square - expected**2) / samples)
    # 16 pictures share the draws of each of 4 units: 4.5 standard errors.
    assert (np.abs(out - expected) < 4.5 * error + 1e-5).all()
    assert (error < 0.01 * deviation).all()


def test_a_gaussian_of_a_sigmoid_is_its_integral():
    samples = 20_000
    layer, x = dense(activation="sigmoid"), pictures((6,))
    out = value(DropConnect(layer, RATE, test="gaussian", samples=samples)(x)).astype("float64")
    mean, deviation = moments(layer, x.astype("float64"))
    nodes, parts = np.polynomial.hermite_e.hermegauss(80)
    at_nodes = 1 / (1 + np.exp(-(mean[..., None] + deviation[..., None] * nodes)))
    expected, square = (at_nodes @ parts / parts.sum(), at_nodes**2 @ parts / parts.sum())
    assert (np.abs(out - expected) < 4.5 * np.sqrt((square - expected**2) / samples) + 1e-5).all()


def test_a_gaussian_is_nearer_to_the_average_network_than_the_mean_field():
    layer, x = dense(40, 8, activation="relu"), pictures((40,), 1) - 1
    masked = value(DropConnect(layer, 0.5, seed=7)(np.tile(x, (20_000, 1)), training=True)).mean(axis=0)
    gaussian = value(DropConnect(layer, 0.5, test="gaussian", samples=20_000)(x))[0]
    mean_field = value(layer(x))[0]
    assert np.abs(gaussian - masked).mean() < 0.2 * np.abs(mean_field - masked).mean()


def test_a_gaussian_averages_probabilities():
    layer, x = dense(activation="softmax"), pictures((6,))
    out = value(DropConnect(layer, RATE, test="gaussian")(x))
    np.testing.assert_allclose(out.sum(axis=-1), 1, rtol=1e-5)
    assert np.abs(out - value(layer(x))).max() > 0.01


def test_a_gaussian_of_a_convolution_is_that_of_a_dense_layer_at_each_position():
    inner = dense(activation="relu")
    convolution = keras.layers.Conv2D(4, 1, strides=2, activation="relu")
    convolution.build((None, None, None, 6))
    convolution.set_weights([inner.get_weights()[0][None, None], inner.get_weights()[1]])
    x = pictures((5, 4, 6))
    out = value(DropConnect(convolution, RATE, test="gaussian")(x))
    np.testing.assert_allclose(out, value(DropConnect(inner, RATE, test="gaussian")(x[:, ::2, ::2])), rtol=1e-4)


def test_a_gaussian_of_a_linear_unit_is_the_mean_field():
    layer, x = dense(), pictures((6,))
    np.testing.assert_array_equal(value(DropConnect(layer, RATE, test="gaussian")(x)), value(layer(x)))


def test_its_weights_are_the_wrapped_layers():
    plain = dense()
    layer = DropConnect(plain, RATE, seed=8)
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layer(inputs))
    assert [id(variable) for variable in model.trainable_variables] == [id(plain.kernel), id(plain.bias)]
    before = plain.get_weights()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.train_on_batch(pictures((6,)), np.ones((16, 4), "float32"))
    assert all(not np.array_equal(a, b) for a, b in zip(before, plain.get_weights(), strict=True))
    np.testing.assert_array_equal(model.predict_on_batch(pictures((6,))), value(plain(pictures((6,)))))


def test_a_frozen_layer_stays_frozen():
    plain = dense()
    plain.trainable = False
    layer = DropConnect(plain, RATE)
    layer.build((None, 6))
    assert layer.trainable_variables == []
    assert len(layer.non_trainable_variables) >= 2


def test_a_layer_that_is_not_built_is_built_by_it():
    plain = keras.layers.Dense(3)
    assert DropConnect(plain, RATE)(pictures((6,)), training=True).shape == (16, 3)
    assert plain.kernel.shape == (6, 3)


class Other(keras.layers.Dense):
    """A dense layer that may compute something else."""


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (keras.layers.Conv2D(4, 3), r"not a Conv2D of kernel \(3, 3\)"),
        (keras.layers.Conv2D(4, 1, groups=2), "groups 2"),
        (keras.layers.Conv2D(4, 1, data_format="channels_first"), "channels_first"),
        (keras.layers.DepthwiseConv2D(1), "not DepthwiseConv2D"),
        (keras.layers.EinsumDense("ab,bc->ac", 3), "not EinsumDense"),
        (keras.layers.BatchNormalization(), "not BatchNormalization"),
        (Other(3), "not Other"),
        (DropConnect(keras.layers.Dense(3), 0.1), "not DropConnect"),
        ("dense", "not str"),
        (keras.layers.Dense(3, activity_regularizer="l2", name="top"), "top has an activity regularizer"),
    ],
)
def test_another_layer_is_told(layer, words: str):
    with pytest.raises(RegularizerError, match=words):
        DropConnect(layer, RATE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rate": 1}, "DropConnect: `rate`"),
        ({"rate": 0.1, "test": "mean"}, '`test` must be "mean-field" or "gaussian", not \'mean\''),
        ({"rate": 0.1, "samples": 0}, "`samples` must be a whole number, 1 or above, not 0"),
        ({"rate": 0.1, "samples": 1.5}, "not 1.5"),
        ({"rate": 0.1, "samples": True}, "not True"),
    ],
)
def test_an_argument_out_of_range_is_told(arguments, words: str):
    with pytest.raises(RegularizerError, match=words):
        DropConnect(keras.layers.Dense(3), **arguments)
