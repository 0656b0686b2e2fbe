"""What the report says of probabilities: against sampled truth, and in the words of the calibration."""

import dataclasses

import numpy as np
import pytest

from tests.page import Page
from tests.report.reported import copied_run, several_run
from tests.trained import finished_run
from tltool.evaluation.calibration import reliability
from tltool.report.answers import Answers, answers_of
from tltool.report.evidence import gather
from tltool.report.trust import by_chance, certainty_in_words, curves_section, trust_section, verdict
from tltool.run import open_run


def sampled(count: int, power: float, seed: int = 0) -> Answers:
    """Labels drawn from probabilities, which are then made surer (power above 1) or less sure."""
    random = np.random.default_rng(seed)
    prob = random.dirichlet([0.7, 0.7, 0.7], count)
    labels = (prob.cumsum(axis=1) > random.random((count, 1))).argmax(axis=1)
    said = prob**power / (prob**power).sum(axis=1, keepdims=True)
    return dataclasses.replace(answers_of(finished_run()), prob=said, labels=labels)


@pytest.mark.parametrize(
    ("power", "words"), [(1.0, "nothing speaks against"), (3.0, "surer of itself than it may"), (0.4, "less sure")]
)
def test_the_verdict(power, words):
    answers = sampled(3000, power)
    assert words in verdict(reliability(answers.prob, answers.labels), by_chance(answers))


def test_chance_is_larger_on_fewer_pictures():
    assert by_chance(sampled(60, 1.0)) > 2 * by_chance(sampled(3000, 1.0))


def test_the_sections_of_a_run():
    for run in (finished_run(), several_run()):
        answers = answers_of(run)
        page = Page(trust_section(gather(run), answers))
        assert len(page.named("svg")) == 2
        assert len(page.of_class("dot")) == sum(n > 0 for n in reliability(answers.prob, answers.labels).counts)
        curves = Page(curves_section(answers))
        assert all(name in curves.text for name in run.class_names)


def test_certainty_is_told_where_there_is_one(tmp_path):
    run = finished_run()
    lines = certainty_in_words(gather(run))
    assert "emperature" in lines[0]
    bare = copied_run(tmp_path / "run")
    (bare.path / "calibration.json").unlink()
    assert certainty_in_words(gather(open_run(bare.path))) == []
