"""A network made quicker: the same outputs and gradients, bit for bit the same each time, and what it leaves alone."""

import keras
import numpy as np
import pytest
from keras import layers

from tltool.backbones import load_backbone
from tltool.errors import RegularizerError
from tltool.layers.functional_graph import Changes, calls_of, rebuilt
from tltool.layers.kept_statistics import KeptStatistics
from tltool.layers.penalties import penalized
from tltool.layers.quick_convolution import QuickConvolution
from tltool.layers.quickened import quickened

CLASSES, SIZE = 3, 15
RANDOM = np.random.default_rng(0)
PICTURES = RANDOM.normal(size=(8, SIZE, SIZE, 4)).astype(np.float32)
TARGETS = np.eye(CLASSES, dtype=np.float32)[RANDOM.integers(0, CLASSES, 8)]


def classifier(*body: keras.layers.Layer, kept: bool = True) -> keras.Model:
    """These layers between a convolution of 3 x 3 that is trained and logits; no BatchNorm is as it was made."""
    inputs = keras.Input((SIZE, SIZE, 4))
    outputs = layers.Conv2D(6, 3, padding="same", name="first")(inputs)
    for layer in body:
        outputs = layer(outputs)
    outputs = layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(outputs))
    model = keras.Model(inputs, outputs)
    random = np.random.default_rng(1)
    for weight in model.weights:
        spread = random.uniform(0.2, 1.0, weight.shape)  # a variance is positive
        weight.assign(spread if "variance" in weight.path else spread * random.choice((-1.0, 1.0), weight.shape))
    return with_kept_statistics(model) if kept else model


def with_kept_statistics(model: keras.Model) -> keras.Model:
    norms = [call for call in calls_of(model) if type(call.operation) is layers.BatchNormalization]
    return rebuilt(model, Changes(instead={call: KeptStatistics(call.operation) for call in norms}))


def every_kind() -> keras.Model:
    """A BatchNorm behind each kind of convolution, and one behind none."""
    return classifier(
        layers.BatchNormalization(),
        layers.ReLU(6.0),
        layers.DepthwiseConv2D(5, padding="same", use_bias=False),
        layers.BatchNormalization(scale=False),
        layers.BatchNormalization(),
        layers.Conv2D(8, 1),
        layers.BatchNormalization(center=False),
        layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2),
        layers.BatchNormalization(epsilon=0.1, axis=3),
        layers.Conv2D(8, 3, groups=4, use_bias=False),
        layers.BatchNormalization(),
        layers.DepthwiseConv2D(5, padding="same", activation="tanh"),
        layers.Conv2D(5, 1, strides=2, activation="relu"),
    )


def quick_layers(model: keras.Model) -> list[QuickConvolution]:
    return [layer for layer in model.layers if isinstance(layer, QuickConvolution)]


def stepped(model: keras.Model, steps: int = 1, pictures=PICTURES, targets=TARGETS) -> dict[str, np.ndarray]:
    """The variables by path after steps of gradient descent at rate 1."""
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), loss, jit_compile=False)
    for _ in range(steps):
        model.train_on_batch(pictures, targets)
    return {variable.path: np.array(variable.value) for variable in model.variables}


def test_outputs_and_gradients_are_as_near_the_exact_ones_as_those_of_keras():
    model = every_kind()
    start = model.get_weights()
    quick = quickened(model)
    assert len(quick_layers(quick)) == 7
    assert sum(layer.norm is not None for layer in quick_layers(quick)) == 5
    before = {variable.path: np.array(variable.value) for variable in model.variables}
    own = quick.predict_on_batch(PICTURES)
    usual = stepped(model)
    model.set_weights(start)
    found = stepped(quick)
    keras.config.set_dtype_policy("float64")
    try:
        model = every_kind()
        model.set_weights(start)
        np.testing.assert_allclose(own, model.predict_on_batch(PICTURES), rtol=1e-5)
        exact = dict(zip(before, stepped(model).values(), strict=True))  # Keras numbers the names of new layers on
    finally:
        keras.config.set_dtype_policy("float32")
    for path, first in before.items():
        step = exact[path] - first
        # Keras's own are up to 3e-5 away, after eight layers in float32; a term too many or too few would be 1e-2.
        for each in (usual[path] - first, found[path] - first):
            assert np.linalg.norm(each - step) <= 1e-4 * np.linalg.norm(step), path
        assert ("moving" in path) == np.array_equal(found[path], first), path


def test_in_the_optimizers_eyes_it_is_the_same_network():
    model = every_kind()
    quick = quickened(model)
    assert {id(variable) for variable in quick.trainable_variables} == {
        id(variable) for variable in model.trainable_variables
    }
    with penalized(model, {"l2": 0.1}):
        assert sum(quick.losses) > 0
        np.testing.assert_allclose(sum(quick.losses), sum(model.losses), rtol=1e-6)


def test_two_identical_runs_give_the_same_bits():
    pictures = RANDOM.normal(size=(512, SIZE, SIZE, 4)).astype(np.float32)  # enough for every thread to have a share
    targets = np.eye(CLASSES, dtype=np.float32)[RANDOM.integers(0, CLASSES, len(pictures))]
    model = every_kind()
    start = model.get_weights()
    first = stepped(quickened(model), 3, pictures, targets)
    model.set_weights(start)
    second = stepped(quickened(model), 3, pictures, targets)
    assert first.keys() == second.keys()
    for path, array in first.items():
        np.testing.assert_array_equal(second[path], array, err_msg=path)


def test_the_usual_backbone_is_folded_throughout():
    body = with_kept_statistics(load_backbone("efficientnet_lite0", None, 32).network)
    quick = quickened(body)
    assert len(quick_layers(quick)) == 49
    assert all(layer.norm is not None for layer in quick_layers(quick))
    assert not any(isinstance(layer, KeptStatistics | layers.BatchNormalization) for layer in quick.layers)


def test_a_frozen_batchnorm_is_folded_and_stays():
    norm = layers.BatchNormalization()
    model = classifier(norm, layers.DepthwiseConv2D(5), kept=False)
    norm.trainable = False
    before = norm.get_weights()
    quick = quickened(model)
    assert [layer.norm for layer in quick_layers(quick)] == [norm, None]
    np.testing.assert_allclose(quick.predict_on_batch(PICTURES), model.predict_on_batch(PICTURES), rtol=1e-5)
    stepped(quick)
    for found, wanted in zip(norm.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("kept", "body"),
    [
        (False, lambda: [layers.BatchNormalization()]),
        (True, lambda: [layers.ReLU(), layers.BatchNormalization()]),
        (True, lambda: [layers.BatchNormalization(axis=1)]),
        (True, lambda: [layers.BatchNormalization(dtype="mixed_bfloat16")]),
        (True, lambda: [layers.DepthwiseConv2D(3, activation="relu"), layers.BatchNormalization()]),
    ],
    ids=["learns its statistics", "behind an activation", "over rows", "in bfloat16", "behind an activation within"],
)
def test_a_batchnorm_that_is_not_folded(kept, body):
    quick = quickened(classifier(*body(), kept=kept))
    assert quick_layers(quick)
    assert all(layer.norm is None for layer in quick_layers(quick))


def test_a_batchnorm_is_not_folded_into_what_others_read_too():
    inputs = keras.Input((SIZE, SIZE, 4))
    convolved = layers.Conv2D(6, 3)(inputs)
    outputs = layers.Add()([convolved, layers.BatchNormalization()(convolved)])
    model = with_kept_statistics(keras.Model(inputs, layers.Dense(2)(outputs)))
    (quick,) = quick_layers(quickened(model))
    assert quick.norm is None


def test_a_convolution_called_twice_is_quick_twice():
    twice = layers.DepthwiseConv2D(5, padding="same")
    model = classifier(twice, layers.ReLU(), twice)
    start = model.get_weights()
    quick = quickened(model)
    assert sum(layer.convolution is twice for layer in quick_layers(quick)) == 2
    wanted = stepped(model)
    model.set_weights(start)
    found = stepped(quick)
    for path, array in wanted.items():
        np.testing.assert_allclose(found[path], array, rtol=1e-4, atol=1e-5, err_msg=path)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.DepthwiseConv2D(3, dilation_rate=2),
        lambda: layers.DepthwiseConv2D(3, dtype="mixed_bfloat16"),
        lambda: layers.Conv2D(4, 3, dilation_rate=2),
        lambda: layers.Conv2DTranspose(4, 3),
        lambda: layers.SeparableConv2D(4, 3),
        lambda: layers.DepthwiseConv2D(3, activity_regularizer="l2"),
    ],
    ids=["dilated", "bfloat16", "dilated and full", "transposed", "separable", "penalized output"],
)
def test_a_convolution_that_stays(layer):
    layer = layer()
    quick = quickened(classifier(layer))
    assert [each.convolution.name for each in quick_layers(quick)] == ["first"]
    assert layer in quick.layers


def test_what_no_step_changes_stays_as_it_is():
    frozen, norm = layers.DepthwiseConv2D(3), layers.BatchNormalization()
    model = classifier(frozen, norm, layers.Conv2D(4, 1))
    model.get_layer("first").trainable = frozen.trainable = False
    norm.trainable = False
    quick = quickened(model)
    assert [layer.convolution for layer in quick_layers(quick)] == [model.layers[-3]]
    assert frozen in quick.layers
    model.layers[-3].trainable = False
    assert quickened(model) is model


def test_a_scale_that_is_trained_behind_a_frozen_kernel_is_not_folded():
    frozen, norm = layers.DepthwiseConv2D(3), layers.BatchNormalization()
    model = classifier(frozen, norm)
    frozen.trainable = False
    assert [layer.norm for layer in quick_layers(quickened(model))] == [None, None]


def test_pictures_of_unknown_size_and_other_backends_stay(monkeypatch):
    inputs = keras.Input((None, None, 4))
    model = keras.Model(inputs, layers.Conv2D(2, 3)(inputs))
    assert quickened(model) is model
    model = every_kind()
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert quickened(model) is model


def test_what_is_no_graph_is_refused():
    with pytest.raises(RegularizerError, match="no graph"):
        quickened(keras.Sequential([layers.Dense(1)]))
