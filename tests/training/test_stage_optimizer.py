"""What a recipe's stage says of optimizer, rate and schedule is what trains."""

import math

import keras
import numpy as np
import pytest

from tests.training.bench import STAGE, small_backbone
from tltool.optimizers.catalogue import OPTIMIZERS, names
from tltool.training.finetune import select_trainable
from tltool.training.stage_optimizer import build_optimizer, rate_callback


@pytest.fixture(scope="module")
def model_and_backbone():
    backbone = small_backbone()
    top = keras.layers.GlobalAveragePooling2D()(backbone.network.get_layer("relu4").output)
    model = keras.Model(backbone.network.input, keras.layers.Dense(3, name="head")(top))
    select_trainable(model, backbone, "all")
    return model, backbone


def built(model_and_backbone, steps: int, **changes) -> keras.optimizers.Optimizer:
    return build_optimizer(STAGE.model_copy(update=changes), steps, *model_and_backbone)


@pytest.mark.parametrize(("warmup", "steps"), [(0.0, 40), (0.1, 40), (0.5, 7), (0.3, 100), (0.1, 5), (0.9, 1)])
def test_schedule_is_linear_then_a_cosine_to_zero(model_and_backbone, warmup: float, steps: int):
    peak = 0.02
    schedule = built(model_and_backbone, steps, warmup=warmup, learning_rate=peak)._learning_rate
    rising = math.floor(warmup * steps)
    for step in range(steps + 1):
        if step < rising:
            expected = peak * step / rising
        else:
            expected = peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-5, abs=1e-9), step
    assert float(schedule(steps)) == pytest.approx(0.0, abs=1e-9)


def test_momentum_step_is_the_textbook_one(model_and_backbone):
    """v = m v - r g, then w += v, along the schedule; float64 by hand."""
    changes = {"optimizer": "momentum", "weight_decay": 0.0, "learning_rate": 0.1}
    optimizer = built(model_and_backbone, 5, **changes, optimizer_arguments={"momentum": 0.8})
    variable = keras.Variable(np.array([1.0, -2.0]), dtype="float64")
    optimizer.build([variable])
    weight, velocity = np.array([1.0, -2.0]), np.zeros(2)
    for step in range(5):
        gradient = 2 * weight
        velocity = 0.8 * velocity - 0.1 * 0.5 * (1 + math.cos(math.pi * step / 5)) * gradient
        weight = weight + velocity
        optimizer.apply([keras.ops.convert_to_tensor(gradient)])
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), weight, rtol=1e-6)


# Ftrl solves for its weights anew in each step, and these two average what they decay.
DECAYS_IN_ITS_OWN_WAY = {"ftrl", "muon", "schedule-free-adamw"}


@pytest.mark.parametrize("name", [name for name in names() if not OPTIMIZERS[name].full_batch])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_all_are_built_with_or_without_weight_decay(model_and_backbone, name: str, decay: float):
    optimizer = built(model_and_backbone, 10, optimizer=name, weight_decay=decay)
    assert type(optimizer).__name__ == OPTIMIZERS[name].class_name
    variable = keras.Variable([1.0, 2.0])
    optimizer.apply([np.zeros(2, "float32")], [variable])
    if name in DECAYS_IN_ITS_OWN_WAY:
        assert optimizer.weight_decay in (decay, None)
        return
    # No gradient: all that moves is what the decay shrinks.
    expected = np.array([1.0, 2.0]) * (1 - STAGE.learning_rate * decay)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), expected, rtol=1e-6)


def test_layer_decay_scales_the_schedule_of_each_stage(model_and_backbone):
    model, backbone = model_and_backbone
    optimizer = built(model_and_backbone, 20, layer_decay=0.5, warmup=0.2, learning_rate=0.1)
    optimizer.build(model.trainable_variables)
    for step in (0, 3, 4, 11, 19):
        for inner in optimizer.optimizers:
            inner.iterations.assign(step)
        rates = {
            variable.path.split("/")[0]: float(optimizer.optimizers[place].learning_rate)
            for variable in model.trainable_variables
            for place in [optimizer._var_to_optimizer_idx[optimizer._var_key(variable)]]
        }
        head = rates["head"]
        plain = built(model_and_backbone, 20, warmup=0.2, learning_rate=0.1)._learning_rate
        assert head == pytest.approx(float(plain(step)), rel=1e-6)
        for depth, stage in enumerate(reversed(backbone.stage_names), start=1):
            assert rates[stage.replace("stage", "conv")] == pytest.approx(head * 0.5**depth, rel=1e-5, abs=1e-12)


def test_plateau_lowers_all_rates_and_says_so(model_and_backbone):
    model, _ = model_and_backbone
    changes = {"schedule": "plateau", "schedule_arguments": {"patience": 2, "factor": 0.1}, "layer_decay": 0.5}
    stage = STAGE.model_copy(update=changes | {"learning_rate": 0.1, "warmup": 0.0})
    said = []
    model.compile(optimizer=build_optimizer(stage, 50, *model_and_backbone), loss="mse")
    callback = rate_callback(stage, 50, said.append)
    callback.set_model(model)
    before = [float(inner.learning_rate) for inner in model.optimizer.optimizers]
    for epoch, loss in enumerate([1.0, 0.9, 0.95, 0.9]):
        callback.on_train_batch_begin(epoch)
        callback.on_epoch_end(epoch, {"val_loss": loss})
    after = [float(inner.learning_rate) for inner in model.optimizer.optimizers]
    np.testing.assert_allclose(after, np.array(before) * 0.1, rtol=1e-6)
    (line,) = said
    assert "0.1 lowered to 0.01" in line
