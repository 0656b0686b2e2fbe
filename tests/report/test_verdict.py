import dataclasses

import pytest

from tests.page import Page
from tests.trained import finished_run
from tltool.decision import TABLE
from tltool.report.evidence import gather
from tltool.report.verdict import decision_section


def shown(**changes) -> Page | None:
    evidence = gather(finished_run())
    section = decision_section(dataclasses.replace(evidence, decision=evidence.decision | changes))
    return Page(section)


@pytest.mark.parametrize(("amount", "kinship"), TABLE)
def test_the_cell_is_marked(amount, kinship):
    recipe = TABLE[amount, kinship]
    page = shown(amount=amount, kinship=kinship, recipe=recipe, overruled=False, used=recipe)
    (here,) = page.of_class("here")
    assert here
    assert page.of_class("picked") == []
    lines = page.text.splitlines()
    assert lines[lines.index("your pictures") - 1] == recipe
    assert "as the table says" in page.text


def test_evidence_and_wishes():
    overruled = {"amount": "little", "kinship": "similar", "recipe": "stage-probe", "overruled": True}
    page = shown(**overruled, used="stage-probe")
    assert len(page.of_class("picked")) == 1
    assert "evidence overruled the table" in page.text
    assert "You asked for" in shown(**overruled, used="finetune-all").text


def test_a_run_that_was_made_of_others():
    evidence = dataclasses.replace(gather(finished_run()), decision={"used": "ensemble of 2: a, b"})
    assert "ensemble of 2: a, b" in Page(decision_section(evidence)).text
    assert decision_section(dataclasses.replace(evidence, decision=None)) is None


def test_members_and_what_they_cost():
    line = {"name": "a<b", "accuracy": 0.875, "log_loss": 0.25, "calibration_error": 0.03}
    line |= {"seconds": 90.0, "size": 2_000_000, "latency": 0.012}
    evidence = dataclasses.replace(gather(finished_run()), decision={"used": "x"}, made_of={"table": [line]})
    text = Page(decision_section(evidence)).text
    assert all(words in text for words in ("a<b", "87.5 %", "0.250", "0.030", "1 min 30 s", "2.0 MB", "12 ms"))
