"""By name: everything that Keras has, with the arguments that it really takes, and ours."""

import importlib
import inspect
import subprocess
import sys

import keras
import pytest

from tltool.errors import OptimizerError
from tltool.optimizers import get, names
from tltool.optimizers.catalogue import COMMON, KERAS, OPTIMIZERS, check_optimizer_arguments, rules_of

WRAPPERS = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer"}  # these hold others
SCHEDULE = keras.optimizers.schedules.CosineDecay(0.1, 10)


def test_everything_that_keras_has_is_there():
    theirs = {
        name
        for name, value in vars(keras.optimizers).items()
        if inspect.isclass(value) and issubclass(value, keras.optimizers.Optimizer)
    }
    assert {entry.class_name for entry in OPTIMIZERS.values() if entry.home == KERAS} == theirs - WRAPPERS


@pytest.mark.parametrize("name", names())
def test_the_rules_name_the_arguments_that_there_are(name: str):
    entry = OPTIMIZERS[name]
    maker = getattr(importlib.import_module(entry.home), entry.class_name)
    parameters = inspect.signature(maker.__init__).parameters
    taken = {name for name, one in parameters.items() if one.kind != one.VAR_KEYWORD} - {"self", "learning_rate"}
    if entry.home != KERAS and not entry.full_batch:
        taken |= set(COMMON)
    assert set(rules_of(entry)) == taken


@pytest.mark.parametrize("name", names())
def test_defaults_keep_the_rules(name: str):
    entry = OPTIMIZERS[name]
    maker = getattr(importlib.import_module(entry.home), entry.class_name)
    parameters = inspect.signature(maker.__init__).parameters
    defaults = {key: one.default for key, one in parameters.items() if key in rules_of(entry)}
    check_optimizer_arguments(name, {**defaults, **entry.preset})


@pytest.mark.parametrize("name", [name for name in names() if not OPTIMIZERS[name].full_batch])
def test_builds_by_name_with_rate_and_schedule(name: str):
    optimizer = get(name, learning_rate=0.125)
    assert type(optimizer).__name__ == OPTIMIZERS[name].class_name
    assert float(optimizer.learning_rate) == 0.125
    assert get(name, learning_rate=SCHEDULE).get_config()["learning_rate"]["class_name"] == "CosineDecay"
    again = get(keras.optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()
    assert get(again) is again


def test_names_are_read_kindly():
    for name in ("decayed_adagrad", "DecayedAdagrad", "DECAYED-ADAGRAD"):
        assert type(get(name)).__name__ == "DecayedAdagrad"
    assert get("momentum").momentum == 0.9
    assert get("adamw", weight_decay=None).weight_decay == 0.0  # which Keras itself wants as a number
    assert get("adam", weight_decay=None).weight_decay is None
    assert get("momentum", momentum=0.5).momentum == 0.5
    assert get("sgd", learning_rate=1, momentum=0).momentum == 0.0  # which Keras itself wants written with a point


@pytest.mark.parametrize(
    ("identifier", "arguments", "words"),
    [
        ("adamm", {}, ["'adamm'", "Did you mean `adam`?", "lbfgs"]),
        ("adam", {"beta1": 0.5}, ["unknown argument `beta1`. Did you mean `beta_1`?", "amsgrad", "weight_decay"]),
        ("adam", {"beta_1": 1.0, "epsilon": 0}, ["`beta_1` = 1.0: must be a number in [0, 1)", "`epsilon` = 0"]),
        ("sgd", {"momentum": 1.0}, ["sgd: `momentum` = 1.0"]),
        ("sgd", {"learning_rate": 0}, ["sgd: `learning_rate` = 0: must be a number above 0"]),
        ("sgd", {"learning_rate": -0.1}, ["`learning_rate` = -0.1"]),
        ("sgd", {"learning_rate": float("nan")}, ["`learning_rate` = nan"]),
        ("sgd", {"learning_rate": "0.1"}, ["`learning_rate` = '0.1'"]),
        ("adam", {"clipnorm": 1.0, "clipvalue": 1.0}, ["give one of"]),
        ("adam", {"name": "a/b"}, ["`name` = 'a/b': must be a word without /"]),
        ("muon", {"exclude_layers": ["("]}, ["a list of regular expressions"]),
        ("adagrad-norm", {"initial_accumulator_value": 1e-50}, ["above 1e-30"]),
        ("adagrad-with-warm-restart", {"first_cycle": 10**12}, ["2^31 - 1"]),
        ("adam", {"gradient_accumulation_steps": 1}, ["a whole number, 2 or above"]),
        ("lbfgs", {"learning_rate": 0.1}, ["lbfgs: unknown argument `learning_rate`", "memory"]),
        ("lbfgs", {"memory": 0}, ["lbfgs: `memory` = 0"]),
        (None, {}, ["None"]),
        ({"class_name": "Adamm", "config": {}}, {}, ["Adamm"]),
        (keras.optimizers.SGD(), {"momentum": 0.5}, ["has its arguments already", "momentum"]),
    ],
)
def test_what_is_wrong_is_told_with_what_is_right(identifier, arguments: dict, words: list[str]):
    with pytest.raises(OptimizerError) as caught:
        get(identifier, **arguments)
    for word in words:
        assert word in str(caught.value)


def test_a_rate_that_fell_to_zero_is_loaded_again():
    optimizer = get("nesterov", learning_rate=0.1)
    optimizer.learning_rate = 0.0
    again = get(keras.optimizers.serialize(optimizer))
    assert float(again.learning_rate) == 0.0
    assert type(again).__name__ == "Nesterov"


def test_names_and_rules_need_no_keras():
    code = (
        "import sys, tltool as tl; from tltool.optimizers import catalogue;"
        "catalogue.check_optimizer_arguments('adam', {'beta_1': 0.5});"
        "assert 'keras' not in sys.modules; print(len(tl.optimizers.names()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(OPTIMIZERS)
