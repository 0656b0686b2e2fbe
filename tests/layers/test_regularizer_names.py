"""Names and ranges of a stage's regularizers, and what is said of those that are wrong."""

import math
import subprocess
import sys

import pytest

from tltool.errors import RegularizerError
from tltool.layers.regularizer_names import RANDOM, REGULARIZERS, check_regularizers

RATES = ("dropout", "drop_connect", "stochastic_depth", "drop_block")
STRENGTHS = ("l1", "l2", "l2_sp")


def fault(table) -> str:
    with pytest.raises(RegularizerError) as error:
        check_regularizers(table)
    return str(error.value)


def test_what_is_random_is_what_drops():
    assert set(REGULARIZERS) == {*STRENGTHS, *RATES}
    assert sorted(RANDOM) == sorted(RATES)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_both_sides_of_each_boundary(name):
    highest = 0.999 if name in RATES else 1e9
    for right in (0, 0.0, 1e-9, highest):
        check_regularizers({name: right})
    wrong = [-1e-9, math.nan, math.inf, True, "0.1", None, [0.1]] + [1, 1.0] * (name in RATES)
    for value in wrong:
        assert f"`{name}` = {value!r}: must be {REGULARIZERS[name].range}" in fault({name: value})


def test_every_fault_is_named_with_what_to_do():
    lines = fault({"stochastic-depth": 0.1, "dropout": 1.0, "l2sp": 0.1, "zoom": 1, "l1": 0.1}).splitlines()
    assert len(lines) == 4
    assert "Did you mean `stochastic_depth`?" in lines[0]
    assert "`dropout` = 1.0" in lines[1]
    assert "Did you mean `l2_sp`?" in lines[2]
    assert "`zoom`" in lines[3]
    assert "Did you mean" not in lines[3]
    assert all(name in lines[3] for name in REGULARIZERS)


@pytest.mark.parametrize("name", ["weight_decay", "label_smoothing"])
def test_a_key_of_the_stage_is_sent_back_to_it(name):
    assert "key of the stage itself" in fault({name: 0.1})


@pytest.mark.parametrize("wrong", [None, 0.1, "dropout", ["dropout"]], ids=repr)
def test_no_table(wrong):
    assert "is no table" in fault(wrong)


def test_it_needs_no_keras():
    code = "import sys, tltool.layers.regularizer_names; assert 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
