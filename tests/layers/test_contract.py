"""The contract of `check_layer`, for each of tltool's layers, here and on JAX in another process."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.layers.contract import CHECKS, OURS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", OURS)
def test_keeps_the_contract(name: str, check):
    check(*OURS[name])


@pytest.mark.skipif(not find_spec("jax"), reason="needs jax: runs again once it is installed")
def test_keeps_the_contract_on_jax():
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    command = [sys.executable, "-m", "tests.layers.contract"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.splitlines() == [f"jax: {name} keeps the contract" for name in OURS]
