"""A model made anew from the same layers: order, what each tensor needs, and every kind of change."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tltool.errors import RegularizerError
from tltool.layers.functional_graph import Changes, calls_of, closures, cut, output_call, rebuilt

X = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


def double(tensor, **_):
    return 2.0 * tensor


def shared_layer_model() -> keras.Model:
    """One Dense called twice, an operation of keras.ops, and a layer with a keyword argument."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,), name="x")
    twice = layers.Dense(4, name="twice")
    first = twice(inputs)
    second = twice(ops.tanh(first))
    summed = layers.Add(name="add")([first, second])
    return keras.Model(inputs, layers.Dense(2, name="out")(layers.Dropout(0.5, name="drop")(summed, training=False)))


def by_hand(model, between=1.0, behind=1.0, second=True):
    """What the model computes, with the first term of the sum and the sum itself scaled."""
    kernel, bias = (array.astype(float) for array in model.get_layer("twice").get_weights())
    out, offset = (array.astype(float) for array in model.get_layer("out").get_weights())
    first = X @ kernel + bias
    other = np.tanh(first) @ kernel + bias if second else np.tanh(first)
    return behind * (between * first + other) @ out + offset


def call_named(model, name, index=0):
    return [call for call in calls_of(model) if call.operation.name == name][index]


def test_calls_come_after_what_they_read_and_know_all_that_they_need():
    model = shared_layer_model()
    calls = calls_of(model)
    assert len(calls) == 7  # input, Dense, tanh, Dense again, Add, Dropout, Dense
    needed = closures(calls)
    for position, call in enumerate(calls):
        (output,) = call.outputs
        mask = needed[id(output)]
        assert mask.bit_length() == position + 1
        for tensor in call.input_tensors:
            assert needed[id(tensor)] & mask == needed[id(tensor)]
    assert needed[id(model.output)] == 2**7 - 1
    assert output_call(model) is calls[-1]


def test_without_changes_it_is_the_same_and_shares_its_weights():
    model = shared_layer_model()
    again = rebuilt(model, Changes())
    np.testing.assert_array_equal(again.predict_on_batch(X), model.predict_on_batch(X))
    assert {id(variable) for variable in again.variables} >= {id(weight) for weight in model.weights}
    again.compile("sgd", "mse")
    again.train_on_batch(X, np.ones((5, 2)))
    np.testing.assert_allclose(model.predict_on_batch(X), by_hand(model), atol=1e-5)
    np.testing.assert_array_equal(again.predict_on_batch(X), model.predict_on_batch(X))


def test_what_stands_between_is_seen_by_one_reader_and_what_stands_behind_by_all():
    model = shared_layer_model()
    addition = call_named(model, "add")
    first, _ = addition.input_tensors
    between = rebuilt(model, Changes(between={(addition, id(first)): double}))
    np.testing.assert_allclose(between.predict_on_batch(X), by_hand(model, between=2), atol=1e-5)
    behind = rebuilt(model, Changes(behind={id(addition.outputs[0]): double}))
    np.testing.assert_allclose(behind.predict_on_batch(X), by_hand(model, behind=2), atol=1e-5)


def test_one_of_two_calls_of_a_layer_is_replaced():
    model = shared_layer_model()
    replaced = rebuilt(model, Changes(instead={call_named(model, "twice", 1): lambda tensor: tensor}))
    np.testing.assert_allclose(replaced.predict_on_batch(X), by_hand(model, second=False), atol=1e-5)


def test_a_call_that_never_trains_still_never_trains():
    model = shared_layer_model()
    again = rebuilt(model, Changes())
    (call,) = [call for call in calls_of(again) if call.operation.name == "drop"]
    assert call.arguments.kwargs["training"] is False


def test_the_model_is_not_touched():
    model = shared_layer_model()
    model.compile("adam", "mse")
    before, output = model.get_config(), model.get_layer("twice").output
    again = rebuilt(model, Changes(behind={id(model.output): double}))
    assert model.get_config() == before
    assert model.get_layer("twice").output is output
    assert not again.compiled
    np.testing.assert_allclose(model.predict_on_batch(X), by_hand(model), atol=1e-5)
    # And again from a graph whose layers have been called for another since.
    np.testing.assert_array_equal(rebuilt(again, Changes()).predict_on_batch(X), again.predict_on_batch(X))


def test_pixels_that_are_bytes_stay_bytes():
    inputs = keras.Input((4,), dtype="uint8", name="pixels")
    again = rebuilt(keras.Model(inputs, layers.Rescaling(0.5)(inputs)), Changes())
    assert again.input.dtype == "uint8"
    assert again.input.name == "pixels"


class _Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


def test_what_is_no_graph_is_refused():
    inputs = keras.Input((4,))
    two = keras.Model(inputs, [layers.Dense(1)(inputs), layers.Dense(1)(inputs)])
    for wrong, words in ((_Subclassed(), "no graph"), (two, "1 inputs and 2 outputs"), ("model", "str has no graph")):
        with pytest.raises(RegularizerError, match=words):
            calls_of(wrong)


def branched_model() -> keras.Model:
    """Two branches, of which one reads what the other has computed on the way, and a Dropout."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,), name="x")
    first = layers.Dense(5, name="first")(inputs)
    second = layers.Dense(5, name="second")(ops.tanh(first))
    side = ops.sin(first)
    third = layers.Dense(5, name="third")(layers.Dropout(0.5, name="drop")(second))
    return keras.Model(inputs, layers.Dense(2, name="out")(layers.Add(name="add")([third, side])))


@pytest.mark.parametrize(("moving", "borders"), [("out", [5]), ("third", [5, 5]), ("drop", [5, 5]), ("second", [5, 5])])
def test_cut_gives_a_front_that_stands_still_and_the_rest(moving, borders):
    model = branched_model()
    front, rest = cut(model, lambda call: call.operation.name == moving)
    assert [tensor.shape[1] for tensor in front.outputs] == borders
    assert moving not in [layer.name for layer in front.layers]
    between = front(X)
    between = between if isinstance(between, (list, tuple)) else [between]
    np.testing.assert_allclose(rest(list(between)), model(X), rtol=1e-6)
    assert rest.get_layer("out") is model.get_layer("out")
    assert {layer.name for layer in front.layers}.isdisjoint({layer.name for layer in rest.layers if layer.weights})


def test_cut_is_none_where_there_is_no_front_or_no_rest():
    model = branched_model()
    assert cut(model, lambda call: call.operation.name == "first") is None
    assert cut(model, lambda call: False) is None


def test_another_input_shape_keeps_the_layers():
    picture = keras.Input((8, 8, 3))
    x = layers.Conv2D(2, 3, name="conv")(picture)
    model = keras.Model(picture, layers.GlobalAveragePooling2D()(x))
    smaller = rebuilt(model, Changes(), (None, 6, 6, 3))
    assert smaller.input.shape == (None, 6, 6, 3)
    assert smaller.get_layer("conv") is model.get_layer("conv")
    pixels = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
    expected = ops.mean(model.get_layer("conv")(pixels), axis=(1, 2))
    np.testing.assert_allclose(smaller(pixels), expected, rtol=1e-5)
