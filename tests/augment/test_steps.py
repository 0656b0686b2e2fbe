import pytest

from tltool.augment.steps import STEPS, read_step
from tltool.errors import AugmentError


@pytest.mark.parametrize("name", STEPS)
def test_both_ends_of_every_range_are_allowed_and_what_lies_beyond_is_not(name):
    for magnitude in STEPS[name].magnitudes:
        others = {each.name: each.highest for each in STEPS[name].magnitudes if each.default is None}
        for value in (magnitude.lowest, magnitude.highest):
            assert read_step(name, {**others, magnitude.name: value}).arguments[magnitude.name] == value
        for value in (magnitude.lowest - 1, magnitude.highest + 1):
            with pytest.raises(AugmentError, match=rf"`{name}"):
                read_step(name, {**others, magnitude.name: value})


def test_a_number_stands_for_the_main_magnitude_and_the_rest_have_defaults():
    assert dict(read_step("rand_augment", 9).arguments) == {"magnitude": 9.0, "layers": 2.0, "chance": 1.0}
    assert dict(read_step("flip_horizontal", 0.5).arguments) == {"chance": 0.5}
    assert read_step("blur", {"sigma": 2, "chance": 0.3}).chance == 0.3


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rotate", 200, r"`rotate` = 200: must be a number from 0 to 180 \(largest angle, degrees"),
        ("crop", 1.5, r"`crop` = 1.5: the crop would be larger than the picture"),
        ("rotatte", 10, r"no step `rotatte`. Did you mean `rotate`\? The steps are flip_horizontal"),
        ("blur", {"sigmma": 1}, r"`blur` has no argument `sigmma`; it has `sigma`, `chance`.\n`blur` lacks `sigma`"),
        ("jpeg", 50.5, r"`jpeg` = 50.5: must be a whole number from 1 to 100"),
        ("rotate", True, r"`rotate` = True: must be a number"),
        ("rotate", "10", r"`rotate` = '10': must be a number"),
        ("rotate", float("nan"), r"`rotate` = nan"),
    ],
)
def test_what_is_wrong_is_told(name, value, message):
    with pytest.raises(AugmentError, match=message):
        read_step(name, value)
