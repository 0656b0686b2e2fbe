"""Which third of a network's stages new pictures part from, on both sides of each threshold."""

import numpy as np
import pytest

from tltool.inspection import divergence
from tltool.inspection.divergence import divergence_in_words, diverging_stages
from tltool.inspection.similarity import Similarity

STAGES = ("stem", "stage1", "stage2", "stage3", "stage4", "stage5", "stage6", "stage7", "top")
EARLY, MIDDLE, LATE = STAGES[:3], STAGES[3:6], STAGES[6:]


def similarity(*divergences, stages=STAGES):
    by_stage = dict(zip(stages, divergences, strict=True))
    return Similarity(float(np.median(divergences)) if divergences else None, by_stage, 0.5, 64)


def of_thirds(early, middle, late):
    return similarity(*(third for third in (early, middle, late) for _ in range(3)))


# As `tltool inspect` measured them through efficientnet_lite0; the spoilt ones are copies of the flowers.
MEASURED = {
    "flowers": ((0.08, 0.04, 0.03, 0.03, 0.05, 0.03, 0.07, 0.09, 0.10), LATE),
    "cats and dogs": ((0.06, 0.03, 0.04, 0.03, 0.03, 0.02, 0.11, 0.12, 0.04), LATE),
    "ants and bees": ((0.08, 0.05, 0.03, 0.03, 0.04, 0.02, 0.06, 0.08, 0.07), LATE),
    "weather": ((0.08, 0.05, 0.06, 0.06, 0.08, 0.08, 0.12, 0.16, 0.15), LATE),
    "aerial": ((0.24, 0.10, 0.07, 0.06, 0.08, 0.06, 0.12, 0.19, 0.12), EARLY),
    "rubbish": ((0.18, 0.15, 0.13, 0.09, 0.08, 0.04, 0.07, 0.12, 0.09), EARLY),
    "X-rays": ((0.67, 0.29, 0.25, 0.21, 0.22, 0.12, 0.21, 0.28, 0.27), EARLY),
    "skin": ((0.50, 0.40, 0.38, 0.28, 0.24, 0.23, 0.29, 0.38, 0.25), EARLY),
    "characters": ((0.83, 0.46, 0.49, 0.36, 0.39, 0.20, 0.30, 0.36, 0.36), ()),
    "noise": ((0.17, 0.19, 0.26, 0.18, 0.17, 0.11, 0.13, 0.20, 0.13), EARLY),
    "blur": ((0.28, 0.30, 0.44, 0.33, 0.33, 0.17, 0.17, 0.24, 0.17), EARLY),
    "darkness": ((1.02, 0.63, 0.28, 0.13, 0.12, 0.05, 0.10, 0.14, 0.13), EARLY),
    "little contrast": ((0.78, 0.48, 0.31, 0.15, 0.12, 0.07, 0.10, 0.15, 0.13), EARLY),
    "no colour": ((0.57, 0.18, 0.15, 0.15, 0.15, 0.04, 0.07, 0.11, 0.11), EARLY),
    "negative": ((0.18, 0.11, 0.05, 0.05, 0.08, 0.03, 0.07, 0.09, 0.10), EARLY),
    "large pixels": ((0.25, 0.18, 0.24, 0.32, 0.72, 0.43, 0.48, 0.53, 0.48), MIDDLE),
}


@pytest.mark.parametrize("name", MEASURED)
def test_input_shifts_are_found_early_and_new_classes_late(name):
    profile, stages = MEASURED[name]
    assert diverging_stages(similarity(*profile)) == stages


def test_both_sides_of_what_a_later_third_must_exceed():
    by = divergence.LATER_BY
    assert diverging_stages(of_thirds(0.2, 0.1, 0.2 * by - 0.001)) == EARLY
    assert diverging_stages(of_thirds(0.2, 0.1, 0.2 * by + 0.001)) == LATE
    assert diverging_stages(of_thirds(0.1, 0.2, 0.2 * by - 0.001)) == MIDDLE
    assert diverging_stages(of_thirds(0.1, 0.2, 0.2 * by + 0.001)) == LATE
    assert diverging_stages(of_thirds(0.2, 0.2, 0.2)) == EARLY


def test_both_sides_of_parting_at_all():
    start = divergence.PART_FROM
    assert diverging_stages(of_thirds(start + 0.001, 0.0, 0.0)) == EARLY
    assert diverging_stages(of_thirds(start - 0.001, 0.0, 0.0)) == LATE
    assert divergence_in_words(of_thirds(start + 0.001, 0.0, 0.0)) != ""
    assert divergence_in_words(of_thirds(start - 0.001, 0.0, 0.0)) == ""
    assert divergence_in_words(of_thirds(0.0, 0.0, start - 0.001)) == ""


def test_both_sides_of_parting_everywhere():
    start = divergence.EVERYWHERE_FROM
    for third in range(3):
        thirds = [1.0, 1.0, 1.0]
        thirds[third] = start - 0.001
        assert diverging_stages(of_thirds(*thirds)) != ()
        assert "part most at" in divergence_in_words(of_thirds(*thirds))
        thirds[third] = start + 0.001
        assert diverging_stages(of_thirds(*thirds)) == ()
        assert divergence_in_words(of_thirds(*thirds)) == (
            "The statistics part at all stages, early, middle and late: pictures of another kind."
        )


@pytest.mark.parametrize(
    ("thirds", "words"),
    [
        ((1.0, 0.1, 0.1), "The statistics part most at stem, stage1 and stage2 (early): an input shift."),
        ((0.1, 1.0, 0.1), "The statistics part most at stage3, stage4 and stage5 (middle): a feature shift."),
        ((0.1, 0.1, 1.0), "The statistics part most at stage6, stage7 and top (late): an output shift."),
    ],
)
def test_in_words(thirds, words):
    assert divergence_in_words(of_thirds(*thirds)) == words


@pytest.mark.parametrize("count", [3, 4, 5, 7, 11])
@pytest.mark.parametrize("largest", [0, -1])
def test_the_block_is_contiguous_and_holds_the_end_that_parts(count, largest):
    stages = tuple(f"stage{number}" for number in range(count))
    divergences = np.full(count, 0.1)
    divergences[largest] = 5.0
    found = diverging_stages(similarity(*divergences, stages=stages))
    assert stages[largest] in found
    assert "|".join(found) in "|".join(stages)
    assert count // 3 <= len(found) <= -(-count // 3)


def test_a_third_of_one_stage_in_words():
    found = divergence_in_words(similarity(0.1, 0.2, 4.0, stages=("a", "b", "c")))
    assert found == "The statistics part most at c (late): an output shift."


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_stages_to_tell(count):
    few = similarity(*(9.0, 0.1)[:count], stages=STAGES[:count])
    assert diverging_stages(few) == ()
    assert divergence_in_words(few) == ""
