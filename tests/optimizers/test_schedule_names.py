"""What is said to a recipe that names a schedule or an argument that does not exist; Keras stays out of it."""

import subprocess
import sys

import pytest

from tltool.errors import OptimizerError
from tltool.optimizers.schedule_names import SCHEDULES, check_lengths, check_schedule


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("constant", {}),
        ("cosine", {"floor": 0.0}),
        ("cosine", {"floor": 0.99}),
        ("one-cycle", {"rise": 0.01, "start_divisor": 1, "end_divisor": 1.0}),
        ("restarts", {"cycles": 1, "growth": 1, "floor": 0.5}),
        ("plateau", {"factor": 0.1, "patience": 1, "minimum_rate": 0}),
    ],
)
def test_good_ones_pass(name: str, arguments: dict):
    check_schedule(name, arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("cosin", {}, r"no schedule 'cosin'\. Did you mean `cosine`\? Schedules: constant, cosine, one-cycle, "),
        ("", {}, r"no schedule ''\. Schedules: constant"),
        ("constant", {"floor": 0.1}, r'Schedule "constant": unknown argument `floor`\. It takes none\.'),
        ("cosine", {"flor": 0.1}, r"unknown argument `flor`\. Did you mean `floor`\? It takes floor\."),
        ("cosine", {"floor": 1.0}, r"`floor` = 1\.0: must be a number in \[0, 1\)"),
        ("one-cycle", {"rise": 1.0}, r"`rise` = 1\.0: must be a number in \(0, 1\)"),
        ("one-cycle", {"start_divisor": 0.9}, "`start_divisor` = 0.9: must be a number, 1 or above"),
        ("one-cycle", {"end_divisor": True}, "`end_divisor` = True: must be a number, 1 or above"),
        ("restarts", {"cycles": 0}, "`cycles` = 0: must be a whole number from 1 to 50"),
        ("restarts", {"growth": 0.5}, "`growth` = 0.5: must be a number from 1 to 100"),
        ("plateau", {"factor": 1.0}, "`factor` = 1.0: must be"),
        ("plateau", {"minimum_rate": -1e-9}, "`minimum_rate` = -1e-09: must be"),
    ],
)
def test_wrong_ones_are_told_the_right_ones(name: str, arguments: dict, message: str):
    with pytest.raises(OptimizerError, match=message):
        check_schedule(name, arguments)


def test_all_faults_are_told_at_once():
    with pytest.raises(OptimizerError) as raised:
        check_schedule("restarts", {"cycles": 0.5, "grow": 2, "floor": -1})
    assert len(str(raised.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("rate", "steps", "warmup_steps", "message"),
    [
        (0.0, 10, 0, "`rate` = 0.0: must be a number above 0"),
        (-0.1, 10, 0, "`rate` = -0.1: must be a number above 0"),
        (float("nan"), 10, 0, "`rate` = nan"),
        (0.1, 0, 0, "`steps` = 0: must be a whole number, 1 or above"),
        (0.1, 10, -1, "`warmup_steps` = -1: must be a whole number, 0 or above"),
        (0.1, 10, 10, "a warm-up of 10 steps leaves none of 10. Train longer"),
        (0.1, 10, 11, "a warm-up of 11 steps leaves none of 10"),
    ],
)
def test_impossible_lengths(rate: float, steps: int, warmup_steps: int, message: str):
    with pytest.raises(OptimizerError, match=message):
        check_lengths(rate, steps, warmup_steps)
    check_lengths(0.1, 10, 9)


def test_names_are_known_without_keras():
    code = "import sys, tltool.optimizers.schedule_names; assert not {'keras', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert set(SCHEDULES) == {"constant", "cosine", "one-cycle", "restarts", "plateau"}
