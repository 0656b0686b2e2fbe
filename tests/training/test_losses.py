"""The stage's loss, against float64 NumPy and finite differences."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import expit, log_expit, log_softmax, softmax

from tltool.training.losses import FocalLoss, stage_loss

CLASSES = 4


def logits_and_targets(multi_label, seed=0, pictures=6, scale=3.0):
    """Hard and soft targets, as MixUp makes them."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, scale, (pictures, CLASSES))
    if multi_label:
        hard = (random.random((pictures, CLASSES)) < 0.4).astype(float)
    else:
        hard = np.eye(CLASSES)[random.integers(CLASSES, size=pictures)]
    share = np.array([1.0, 1.0, 0.3, 0.8, 0.5, 0.9])[:, None]
    return logits, share * hard + (1 - share) * hard[::-1]


def by_definition(logits, targets, multi_label, smoothing, gamma):
    """The mean over what a target may turn out to be of -(1 - p)^gamma log p, float64."""
    if multi_label:
        targets = targets * (1 - smoothing) + smoothing / 2
        yes, no = expit(logits), expit(-logits)
        terms = targets * no**gamma * log_expit(logits) + (1 - targets) * yes**gamma * log_expit(-logits)
        return -terms.mean(axis=1)
    targets = targets * (1 - smoothing) + smoothing / targets.shape[1]
    return -(targets * (1 - softmax(logits, axis=1)) ** gamma * log_softmax(logits, axis=1)).sum(axis=1)


def gradient(loss, targets, logits, weights=None):
    """Of the mean loss by the logits."""

    def value(values):
        return loss(ops.convert_to_tensor(targets, "float32"), values, weights)

    start = ops.convert_to_tensor(logits, "float32")
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(value)(start))
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(start)
        found = value(start)
    return tape.gradient(found, start).numpy()


def computed(loss, targets, logits, weights=None):
    return float(loss(targets.astype("float32"), logits.astype("float32"), weights))


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_the_loss_is_that_of_the_definition(multi_label, smoothing, gamma):
    logits, targets = logits_and_targets(multi_label)
    loss = stage_loss(multi_label, smoothing, gamma)
    expected = by_definition(logits, targets, multi_label, smoothing, gamma)
    assert computed(loss, targets, logits) == pytest.approx(expected.mean(), rel=1e-5)
    weights = np.array([0.0, 3.0, 1.0, 0.5, 1.0, 0.5], np.float32)
    assert computed(loss, targets, logits, weights) == pytest.approx((weights * expected).mean(), rel=1e-5)


@pytest.mark.parametrize("multi_label", [False, True])
def test_without_focus_it_is_the_cross_entropy_of_keras(multi_label):
    logits, targets = (array.astype("float32") for array in logits_and_targets(multi_label))
    classes = keras.losses.BinaryCrossentropy if multi_label else keras.losses.CategoricalCrossentropy
    theirs = classes(from_logits=True, label_smoothing=0.1)
    assert float(stage_loss(multi_label, 0.1, 0.0)(targets, logits)) == float(theirs(targets, logits))


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_gradient_is_that_of_finite_differences(multi_label, gamma):
    logits, targets = logits_and_targets(multi_label)
    step = 1e-5
    expected = np.empty_like(logits)
    for place in np.ndindex(logits.shape):
        moved = np.zeros_like(logits)
        moved[place] = step
        ends = (by_definition(logits + sign * moved, targets, multi_label, 0.1, gamma).mean() for sign in (1, -1))
        expected[place] = (next(ends) - next(ends)) / (2 * step)
    found = gradient(stage_loss(multi_label, 0.1, gamma), targets, logits)
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_a_picture_that_is_quite_wrong_still_pulls_and_a_sure_one_does_no_harm(multi_label, gamma):
    """After a softmax that is clipped neither holds: no gradient in the one, no number in the other."""
    logits = np.array([[60.0, -60.0, -60.0, -60.0]] * 2)
    targets = np.eye(CLASSES)[[1, 0]]
    if multi_label:
        logits[:, 2:] = -60.0
    wrong, sure = gradient(stage_loss(multi_label, 0.0, gamma), targets, logits)
    share = 2 * (CLASSES if multi_label else 1)  # the mean is over both pictures, and over their classes
    assert wrong[1] * share == pytest.approx(-1.0, rel=1e-5)
    np.testing.assert_allclose(sure, 0.0, atol=1e-3 if gamma < 1 else 1e-9)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_logits_of_bfloat16_are_added_up_in_float32(multi_label, gamma):
    logits, targets = logits_and_targets(multi_label)
    rounded = ops.cast(ops.convert_to_tensor(logits, "float32"), "bfloat16")
    exactly = ops.convert_to_numpy(ops.cast(rounded, "float32")).astype(np.float64)
    found = stage_loss(multi_label, 0.0, gamma)(ops.convert_to_tensor(targets, "float32"), rounded)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    expected = by_definition(exactly, targets, multi_label, 0.0, gamma).mean()
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_it_is_the_same_after_being_saved():
    loss = FocalLoss(1.5, multi_label=True, label_smoothing=0.2)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    logits, targets = logits_and_targets(multi_label=True)
    assert computed(again, targets, logits) == computed(loss, targets, logits)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_network_learns_by_it(compiled):
    random = np.random.default_rng(0)
    inputs = random.normal(size=(64, 3)).astype("float32")
    targets = np.eye(3, dtype="float32")[inputs.argmax(axis=1)]
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.compile(keras.optimizers.Adam(0.1), stage_loss(False, 0.0, 2.0), run_eagerly=not compiled)
    before = model.evaluate(inputs, targets, verbose=0)
    model.fit(inputs, targets, epochs=10, verbose=0)
    assert model.evaluate(inputs, targets, verbose=0) < before / 3
