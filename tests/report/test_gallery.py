"""Mistakes with pictures: the wrong ones with what is like them, and the classes that are taken for each other."""

import dataclasses

import numpy as np

from tests.page import Page
from tests.trained import finished_run
from tltool.evaluation.mistakes import find_mistakes
from tltool.report.answers import Answers, answers_of
from tltool.report.closer_look import NEIGHBOURS_SHOWN, RIGHT_SHOWN, WRONG_SHOWN, look_closer
from tltool.report.gallery import mistakes_section


def mistaken() -> Answers:
    """The first three answers are those of the next class."""
    answers = answers_of(finished_run())
    prob = answers.prob.copy()
    prob[:3] = np.roll(0.9 * np.eye(3)[answers.labels[:3]] + 0.05, 1, axis=1)
    prob[3:] = 0.9 * np.eye(3)[answers.labels[3:]] + 0.05
    return dataclasses.replace(answers, prob=prob, mistakes=find_mistakes(prob, answers.labels))


def test_a_closer_look():
    answers = mistaken()
    wrong, right = look_closer(finished_run().model, answers)
    assert {look.position for look in wrong} == {0, 1, 2}
    assert len(wrong) <= WRONG_SHOWN
    assert 1 <= len(right) <= RIGHT_SHOWN
    assert len({look.asked for look in right}) == len(right)
    for look in (*wrong, *right):
        assert look.asked == answers.prob[look.position].argmax()
        assert look.picture.startswith("data:image/")
        assert len(look.alike) == NEIGHBOURS_SHOWN
        assert set(look.alike) <= set(answers.known.tolist())
        values = answers.features[look.position]
        cosine = answers.known_features @ values / np.linalg.norm(answers.known_features, axis=1)
        assert look.alike[0] == answers.known[cosine.argmax()]


def test_the_section():
    answers = mistaken()
    looks = look_closer(finished_run().model, answers)
    page = Page(mistakes_section(answers, *looks, None))
    assert f"3 of {len(answers.rows)} are wrong" in page.text
    assert "Most confused" in page.text
    assert len(page.of_class("glass")) == sum(map(len, looks))
    files = [answers.data.files[row] for row in answers.rows[:3]]
    assert set(files) <= {picture["alt"] for picture in page.named("img")}


def test_nothing_is_wrong():
    answers = mistaken()
    prob = 0.9 * np.eye(3)[answers.labels] + 0.05
    answers = dataclasses.replace(answers, prob=prob, mistakes=find_mistakes(prob, answers.labels))
    page = Page(mistakes_section(answers, *look_closer(finished_run().model, answers), None))
    assert "Not one of the held-out pictures is wrong" in page.text
    assert "Most confused" not in page.text
