"""What a regularized network drops in training: how often, of what, and whether draws are independent."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tltool.layers.regularize import regularized
from tltool.layers.stochastic_depth import StochasticDepth

DEPTH, PICTURES = 4, 4000


def depths(network) -> list[StochasticDepth]:
    return [layer for layer in network.layers if isinstance(layer, StochasticDepth)]


def trained(model, inputs) -> np.ndarray:
    """What it gives in training."""
    return ops.convert_to_numpy(model(inputs, training=True))


def counting_toy() -> keras.Model:
    """The l-th of four branches adds 1 to the l-th channel: the output says which were dropped."""
    x = inputs = keras.Input((1, 1, DEPTH))
    for number in range(DEPTH):
        branch = layers.Dense(DEPTH, kernel_initializer="zeros", name=f"branch{number}")
        x = layers.Add()([x, layers.ReLU()(branch(x))])
        branch.bias.assign(np.eye(DEPTH)[number])
    logits = layers.Dense(DEPTH, kernel_initializer="identity", name="logits")
    return keras.Model(inputs, logits(layers.Flatten()(x)))


def test_branches_are_dropped_at_linear_rates_each_picture_and_each_branch_for_itself():
    rate = 0.6
    model = counting_toy()
    network = regularized(model, {"stochastic_depth": rate}, seed=0)
    rates = rate * np.arange(1, DEPTH + 1) / DEPTH
    np.testing.assert_allclose([layer.rate for layer in depths(network)], rates)
    output = trained(network, np.zeros((PICTURES, 1, 1, DEPTH), "float32"))
    dropped = output == 0
    np.testing.assert_allclose(output[~dropped], np.broadcast_to(1 / (1 - rates), output.shape)[~dropped], rtol=1e-5)
    # Four standard errors of a share; of the mean number; and of a variance of numbers that are near normal.
    np.testing.assert_array_less(np.abs(dropped.mean(axis=0) - rates), 4 * np.sqrt(rates * (1 - rates) / PICTURES))
    count, variance = dropped.sum(axis=1), (rates * (1 - rates)).sum()
    assert abs(count.mean() - rate * (DEPTH + 1) / 2) < 4 * np.sqrt(variance / PICTURES)
    # Branches that fell together would make it larger: at one common draw it would be 2.25, not 0.825.
    assert abs(count.var() - variance) < 4 * variance * np.sqrt(2 / PICTURES)
    between = np.corrcoef(dropped.T.astype(float))[np.triu_indices(DEPTH, 1)]
    np.testing.assert_array_less(np.abs(between), 4 / np.sqrt(PICTURES))


def test_the_expectation_in_training_is_the_output_of_a_linear_network():
    """Branches of branches: only if their draws are independent is the mean of the product the product of means."""
    x = inputs = keras.Input((3,))
    for _ in range(DEPTH):
        x = layers.Add()([x, layers.Dense(3, use_bias=False)(x)])
    model = keras.Model(inputs, layers.Dense(2, name="logits")(x))
    model.set_weights([np.random.default_rng(5).uniform(0, 0.6, weight.shape) for weight in model.get_weights()])
    network = regularized(model, {"stochastic_depth": 0.5, "dropout": 0.3, "drop_connect": 0.3}, seed=6)
    picture = np.array([[1.0, 0.5, 2.0]], "float32")
    outputs = trained(network, np.repeat(picture, 20 * PICTURES, axis=0)).astype(np.float64)
    error = outputs.std(axis=0) / np.sqrt(len(outputs))
    expected = model.predict_on_batch(picture)[0]
    np.testing.assert_array_less(np.abs(outputs.mean(axis=0) - expected), 4 * error)
    assert (error < 0.01 * expected).all()  # otherwise this would prove little


def test_frozen_branches_stay_and_leave_the_rates_of_the_others_alone():
    model = counting_toy()
    for number in (0, 2):
        model.get_layer(f"branch{number}").trainable = False
    network = regularized(model, {"stochastic_depth": 0.4}, seed=0)
    assert [layer.rate for layer in depths(network)] == pytest.approx([0.2, 0.4])
    free = regularized(counting_toy(), {"stochastic_depth": 0.4}, seed=0)
    assert [layer.seed for layer in depths(network)] == [layer.seed for layer in depths(free)][1::2]
    output = trained(network, np.zeros((200, 1, 1, DEPTH), "float32"))
    np.testing.assert_array_equal(output[:, [0, 2]], 1)
    assert (output[:, [1, 3]] == 0).any(axis=0).all()


def test_dropout_takes_features_and_drop_connect_weights():
    inputs = keras.Input((50,))
    ones = {"kernel_initializer": "ones", "bias_initializer": "zeros"}
    model = keras.Model(inputs, layers.Dense(40, **ones)(layers.Activation("linear")(inputs)))
    single = np.zeros((100, 50), "float32")
    single[:, 7] = 1  # one feature, so that its weights are the outputs
    for table, value in (({"dropout": 0.25}, 4 / 3), ({"drop_connect": 0.25}, 4 / 3)):
        output = trained(regularized(model, table, seed=1), single)
        np.testing.assert_allclose(np.unique(output), [0, value], rtol=1e-6)
        together = (output == output[:, :1]).all(axis=1)  # all classes lose a feature, but not a weight, together
        assert together.all() == ("dropout" in table)
        draws = 100 if "dropout" in table else 4000
        assert abs((output == 0).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / draws)
