"""What flips do to pictures, on both sides of each limit."""

import numpy as np
import pytest

from tests.inspection.flips import CHANGED, KNOWN, UNSURE, orientation, symmetry
from tltool.inspection import flips
from tltool.inspection.flips import changed_classes, judge_orientation, judge_way

LIMITS = list(flips.FLIP_LIMITS.items())


@pytest.mark.parametrize(("name", "limit"), LIMITS, ids=[name for name, _ in LIMITS])
def test_both_sides_of_what_is_lost(name, limit):
    below, above = np.nextafter(limit.lost, 0), limit.lost
    assert judge_orientation(orientation(below), limit) == "itself"
    assert judge_orientation(orientation(above), limit) == "another"
    assert judge_orientation(orientation(-0.5), limit) == "itself"
    # A loss that counts must be beyond the noise; no loss, only where one that counts would have been.
    error = above / flips.NOISE_Z
    assert judge_orientation(orientation(above, error), limit) == "another"
    assert judge_orientation(orientation(above, 1.001 * error), limit) == "unclear"
    assert judge_orientation(orientation(below, error), limit) == "itself"
    assert judge_orientation(orientation(below, 1.001 * error), limit) == "unclear"
    assert judge_orientation(orientation(None), limit) == "unclear"


@pytest.mark.parametrize(("name", "limit"), LIMITS, ids=[name for name, _ in LIMITS])
@pytest.mark.parametrize(("lost", "without"), [(0.0, "itself"), (None, "unclear")])
def test_both_sides_of_what_is_told(name, limit, lost, without):
    if limit.told is None:
        assert judge_orientation(orientation(lost, told=1.0), limit) == without
        return
    assert judge_orientation(orientation(lost, told=np.nextafter(limit.told, 0)), limit) == without
    assert judge_orientation(orientation(lost, told=limit.told), limit) == "another"


def test_a_single_class_forbids_a_flip():
    fall, chance = flips.CLASS_FALLS_FROM, flips.CLASS_CHANCE / 2
    limit = flips.FLIP_LIMITS["mirrored"]
    for left, changed in (
        ((8, 1.0, 1.0 - fall, chance), ("left",)),
        ((8, 1.0, 1.0 - fall + 0.01, chance), ()),
        ((8, 1.0, 1.0 - fall, 1.01 * chance), ()),  # one hundredth over both classes, not for each
        ((8, 0.2, 1.0, chance), ()),
    ):
        flip = orientation(left=left, stop=(20, 0.9, 0.9, 1.0))
        assert changed_classes(flip) == changed
        assert judge_orientation(flip, limit) == ("another" if changed else "itself")
    both = orientation(left=(8, 1.0, 0.4, 1e-4), right=(9, 1.0, 0.1, 1e-5))
    assert changed_classes(both) == ("right", "left")


@pytest.mark.parametrize(
    ("found", "way"),
    [
        (symmetry(), "any way"),
        (symmetry(mirrored=CHANGED), "one way"),
        (symmetry(mirrored=KNOWN), "one way"),
        (symmetry(CHANGED, CHANGED, CHANGED), "one way"),
        (symmetry(mirrored=UNSURE), "unclear"),
        (symmetry(UNSURE, CHANGED, CHANGED), "unclear"),
        (symmetry(upside_down=CHANGED), "upright"),
        (symmetry(upside_down=KNOWN), "upright"),
        (symmetry(upside_down=UNSURE), "upright"),
        (symmetry(turned=CHANGED), "upright"),
        (symmetry(turned=KNOWN), "any way"),
        (symmetry(turned=UNSURE), "upright"),
        (symmetry(pictures=flips.FEWEST_FLIPPED - 1), "unclear"),
        (symmetry(CHANGED, pictures=flips.FEWEST_FLIPPED - 1), "unclear"),
        (symmetry(pictures=flips.FEWEST_FLIPPED), "any way"),
    ],
)
def test_which_flips_are_borne(found, way):
    assert judge_way(found) == way
