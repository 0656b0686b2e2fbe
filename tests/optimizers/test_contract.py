"""The contract of `check_optimizer`, for each of tltool's optimizers, here and on JAX in another process."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import pytest

from tests.optimizers.contract import CHECKS, OURS, maker, new_model, train
from tltool.optimizers import AdagradNorm, Nesterov, OneCycle, WarmUp
from tltool.optimizers.catalogue import KERAS, OPTIMIZERS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", OURS)
def test_keeps_the_contract(name: str, check):
    check(maker(name))


def test_all_of_ours_are_checked():
    ours = {name for name, entry in OPTIMIZERS.items() if entry.home != KERAS and not entry.full_batch}
    assert {known for known, _ in OURS.values()} == ours


@pytest.mark.parametrize(
    "first", ["import keras, tltool.optimizers", "import tltool.optimizers as o, keras; o.register()"]
)
def test_a_saved_model_is_loaded_in_another_process(first: str, tmp_path):
    schedule = WarmUp(OneCycle(0.1, 10), 3)
    inner = keras.optimizers.OptimizerMap(AdagradNorm(0.1))
    inner["hidden/.*"] = Nesterov(schedule)
    model = new_model(keras.optimizers.MultiOptimizer(inner))
    train(model, 0, 3)
    model.save(tmp_path / "model.keras")
    code = f"{first}; print(len(keras.models.load_model('model.keras').optimizer.variables))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) == len(model.optimizer.variables)


@pytest.mark.skipif(not find_spec("jax"), reason="needs jax: runs again once it is installed")
def test_keeps_the_contract_on_jax():
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    command = [sys.executable, "-m", "tests.optimizers.contract"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.splitlines() == [f"jax: {name} keeps the contract" for name in OURS]
