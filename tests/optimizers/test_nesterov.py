"""Both forms of Nesterov's momentum: one path, two sets of variables, and the right weights at the end of each."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from tests.optimizers.contract import gradients, new_model, new_variables, stepped, train, value, values
from tltool.optimizers import Nesterov

ROOT = Path(__file__).parents[2]
CURVATURE = np.array([0.3, 4.0], "float32")


def on_a_bowl(optimizer, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The variable after each step, and the velocity."""
    variable = keras.Variable([2.0, 1.0])
    points, velocities = [], []
    for _ in range(steps):
        optimizer.apply([variable * CURVATURE], [variable])
        points.append(value(variable))
        velocities.append(value(optimizer.variables[2]))
    return np.array(points), np.array(velocities)


def test_both_forms_follow_one_path_up_to_the_change_of_variables():
    ahead, velocity = on_a_bowl(Nesterov(0.1, 0.8, "reformulated"), 40)
    finals = []
    for steps in range(1, 41):
        optimizer, variable = Nesterov(0.1, 0.8, "lookahead"), keras.Variable([2.0, 1.0])
        for _ in range(steps):
            optimizer.apply([variable * CURVATURE], [variable])
        optimizer.finalize_variable_values([variable])
        finals.append(value(variable))
    np.testing.assert_allclose(np.array(finals) + 0.8 * velocity, ahead, atol=1e-6)
    assert np.abs(finals[5] - ahead[5]).max() > 0.01  # they are not the same point


def test_reformulated_is_what_keras_does():
    feed = [gradients(step) for step in range(20)]
    ours = stepped(Nesterov(0.05, 0.9, "reformulated", weight_decay=0.1), new_variables(), feed)
    theirs = keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.1)
    for one, other in zip(ours, stepped(theirs, new_variables(), feed), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("weight_decay", [None, 0.2])
def test_look_ahead_variables_train_as_keras_does(weight_decay):
    """Before it is finalized the variable holds the look-ahead point, which is all that Keras's form knows."""
    ours, theirs = new_variables(), new_variables()
    optimizer = Nesterov(0.05, 0.9, weight_decay=weight_decay)
    reference = keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=weight_decay)
    for step in range(20):
        optimizer.apply(gradients(step), ours)
        reference.apply(gradients(step), theirs)
    for one, other in zip(values(ours), values(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_without_momentum_it_is_sgd():
    feed = [gradients(step) for step in range(5)]
    expected = stepped(keras.optimizers.SGD(0.05), new_variables(), feed)
    for form in ("lookahead", "reformulated"):
        for one, other in zip(stepped(Nesterov(0.05, 0.0, form), new_variables(), feed), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)


def test_finalizing_twice_changes_nothing_and_looking_ahead_undoes_it():
    model = new_model(Nesterov(0.1))
    train(model, 0, 5)
    ahead = values(model.trainable_variables)
    for _ in range(2):
        model.optimizer.finalize_variable_values(model.trainable_variables)
        final = values(model.trainable_variables)
        assert not np.array_equal(final[0], ahead[0])
    model.optimizer.look_ahead()
    for one, other in zip(values(model.trainable_variables), ahead, strict=True):
        np.testing.assert_array_equal(one, other)
    model.optimizer.finalize_variable_values(model.trainable_variables)
    for one, other in zip(values(model.trainable_variables), final, strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_that_were_changed_since_are_left_alone():
    model = new_model(Nesterov(0.1))
    train(model, 0, 5)
    model.optimizer.finalize_variable_values(model.trainable_variables)
    chosen = [array + 1 for array in values(model.trainable_variables)]
    for variable, array in zip(model.trainable_variables, chosen, strict=True):
        variable.assign(array)
    model.optimizer.look_ahead()
    for one, other in zip(values(model.trainable_variables), chosen, strict=True):
        np.testing.assert_array_equal(one, other)


def test_training_on_after_finalizing_begins_with_a_step_of_plain_momentum():
    variable, optimizer = keras.Variable([2.0, 1.0]), Nesterov(0.1, 0.8)
    for _ in range(3):
        optimizer.apply([variable * CURVATURE], [variable])
    optimizer.finalize_variable_values([variable])
    x, v = value(variable).astype("float64"), value(optimizer.variables[2]).astype("float64")
    optimizer.apply([variable * CURVATURE], [variable])
    optimizer.finalize_variable_values([variable])
    np.testing.assert_allclose(value(variable), x + 0.8 * v - 0.1 * CURVATURE * x, rtol=1e-6)


def test_an_average_that_overwrites_is_refused():
    with pytest.raises(ValueError, match="`ema_overwrite_frequency`"):
        Nesterov(0.1, use_ema=True, ema_overwrite_frequency=3)
    Nesterov(0.1, form="reformulated", use_ema=True, ema_overwrite_frequency=3)
    Nesterov(0.1, ema_overwrite_frequency=3)  # without an average there is nothing to write


MIRRORED = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.optimizers.contract import DATA, TARGETS, new_model, values
from tltool.optimizers import FinalizedWeights, Nesterov
def fit(average):
    model = new_model(Nesterov(0.05, use_ema=average, ema_momentum=0.5))
    data = dict(batch_size=8, shuffle=False, verbose=0, validation_data=(DATA, TARGETS))
    model.fit(DATA, TARGETS, epochs=3, callbacks=[FinalizedWeights()], **data)
    return values(model.trainable_variables)
for average in (False, True):
    plain = fit(average)
    with tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"]).scope():
        mirrored = fit(average)
    print(max(np.abs(one - other).max() for one, other in zip(plain, mirrored)))
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="MirroredStrategy is TensorFlow's")
def test_mirrored_over_two_devices_it_trains_the_same():
    done = subprocess.run([sys.executable, "-c", MIRRORED], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [float(line) < 1e-6 for line in done.stdout.split()] == [True, True]


def test_constraints_hold():
    variable = keras.Variable(ops.convert_to_tensor([2.0, 1.0]))
    variable.constraint = keras.constraints.NonNeg()
    optimizer = Nesterov(0.5)
    for _ in range(4):
        optimizer.apply([np.ones(2, "float32")], [variable])
        assert value(variable).min() >= 0


@pytest.mark.parametrize("momentum", [1.0, -0.1, 1.5, "0.9", True, float("nan")])
def test_momentum_outside_its_range_is_refused(momentum):
    with pytest.raises(ValueError, match=r"nesterov: `momentum` = .*: must be a number in \[0, 1\)"):
        Nesterov(0.1, momentum)


def test_every_fault_is_told():
    with pytest.raises(ValueError, match="form") as caught:
        Nesterov(0.1, 2.0, "looking", clip_norm=1.0)
    text = str(caught.value)
    assert "`momentum` = 2.0" in text
    assert '"lookahead", "reformulated"' in text
    assert "unknown argument `clip_norm`. Did you mean `clipnorm`?" in text
