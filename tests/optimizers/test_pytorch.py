"""Where PyTorch has the same rule, weights go where PyTorch's went: pytorch_values.json, by make_pytorch_values.py."""

import json
import math
from pathlib import Path

import keras
import numpy as np
import pytest

from tltool.optimizers import get

MADE = json.loads(Path(__file__).with_name("pytorch_values.json").read_text("utf-8"))
TINY = 1e-30  # PyTorch adds epsilon to the root, Keras to what is under it: so small, it is neither here nor there
ADAGRAD = {"learning_rate": 0.1, "initial_accumulator_value": 0.1, "epsilon": TINY}
RESTARTS = "Adagrad(lr=0.1, initial_accumulator_value=0.1, eps=0), anew every 7 steps, CosineAnnealingWarmRestarts(7)"
NESTEROV = "SGD(lr=0.1, momentum=0.8, nesterov=True)"


@pytest.mark.parametrize(
    ("theirs", "name", "arguments"),
    [
        ("SGD(lr=0.1)", "sgd", {"learning_rate": 0.1}),
        ("SGD(lr=0.1, momentum=0.8)", "momentum", {"learning_rate": 0.1, "momentum": 0.8}),
        (NESTEROV, "nesterov", {"learning_rate": 0.1, "momentum": 0.8, "form": "reformulated"}),
        (NESTEROV, "nesterov", {"learning_rate": 0.1, "momentum": 0.8, "form": "lookahead"}),
        ("Adagrad(lr=0.1, initial_accumulator_value=0.1, eps=0)", "adagrad", ADAGRAD),
        ("Adagrad(lr=0.1, initial_accumulator_value=0.1, eps=0)", "decayed-adagrad", {**ADAGRAD, "decay": 1.0}),
        ("Adagrad(lr=0.1, initial_accumulator_value=0.1, eps=0)", "nesterov-adagrad", {**ADAGRAD, "momentum": 0.0}),
        (RESTARTS, "adagrad-with-warm-restart", {**ADAGRAD, "first_cycle": 7}),
        ("RMSprop(lr=0.1, alpha=0.9, eps=1e-30)", "rmsprop", {"learning_rate": 0.1, "rho": 0.9, "epsilon": TINY}),
        (
            "RMSprop(lr=0.1, alpha=0.9, eps=1e-30)",
            "decayed-adagrad",
            {"learning_rate": 0.1 / math.sqrt(0.1), "decay": 0.9, "initial_accumulator_value": 0.0, "epsilon": TINY},
        ),
        (
            "Adam(lr=0.1, betas=(0.9, 0.99), eps=1e-30)",
            "adam",
            {"learning_rate": 0.1, "beta_1": 0.9, "beta_2": 0.99, "epsilon": TINY},
        ),
        (
            "AdamW(lr=0.1, betas=(0.9, 0.99), eps=1e-30, weight_decay=0.2)",
            "adamw",
            {"learning_rate": 0.1, "beta_1": 0.9, "beta_2": 0.99, "epsilon": TINY, "weight_decay": 0.2},
        ),
    ],
)
def test_goes_where_pytorch_goes(theirs: str, name: str, arguments: dict):
    weights = keras.Variable(np.array(MADE["start"]), dtype="float64")
    optimizer = get(name, **arguments)
    for _ in range(MADE["steps"]):
        # While training, a look-ahead variable holds what PyTorch calls its weights.
        optimizer.apply([weights * np.array(MADE["curvature"])], [weights])
    got = keras.ops.convert_to_numpy(weights)
    # Keras keeps rates, and the powers of Adam's betas, in float32 even for float64 weights.
    np.testing.assert_allclose(got, MADE["weights"][theirs], rtol=2e-6, atol=2e-6)
