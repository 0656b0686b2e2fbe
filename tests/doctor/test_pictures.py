"""What is odd about pictures as pictures: both sides of each boundary."""

import pytest

from tests.doctor.sets import classes, data_of, readable, scan_of
from tltool.doctor.pictures import check_pictures


def found(changed: dict[str, object], count: int = 1):
    """Findings on a set of 40 sound pictures of which the first few are changed."""
    data = data_of(*classes(cat=20, dog=20))
    seen = scan_of(data, {data.files[row]: changed for row in range(count)})
    return list(check_pictures(data, seen, readable(seen)))


def test_sound_pictures_give_no_finding():
    assert found({}) == []


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"width": 31, "height": 40}, "tiny"),
        ({"width": 32, "height": 40}, None),
        ({"width": 40, "height": 31}, "tiny"),
        ({"width": 10_000, "height": 5_001}, "huge"),
        ({"width": 10_000, "height": 5_000}, None),
        ({"width": 70_000, "height": 70_000}, "huge"),  # more pixels than 32 bits can count
        ({"width": 401, "height": 100}, "long"),
        ({"width": 400, "height": 100}, None),
        ({"width": 100, "height": 401}, "long"),
        ({"contrast": 2.9, "brightness": 200.0}, "blank"),
        ({"contrast": 3.0, "brightness": 200.0}, None),
        ({"contrast": 2.9, "brightness": 2.0}, "blank"),  # black all over: told once
        ({"contrast": 5.0, "brightness": 21.0}, "dark"),
        ({"contrast": 5.0, "brightness": 22.0}, None),
        ({"contrast": 25.0, "brightness": 6.0}, None),  # white strokes on black
        ({"contrast": 12.5, "brightness": 12.6}, None),  # a sunrise
    ],
)
def test_boundaries(changed: dict[str, object], kind: str | None):
    findings = found(changed)
    assert [finding.kind for finding in findings] == ([kind] if kind else [])
    if kind:
        (finding,) = findings
        assert finding.files == ("cat/00.jpg",)
        assert len(finding.details) == 1
        assert finding.drop == (finding.files if kind in ("blank", "dark") else ())
        assert finding.severity == ("warning" if kind in ("blank", "dark") else "note")


def test_details_say_what_was_measured():
    assert found({"width": 30, "height": 20})[0].details == ("30 x 20",)
    assert found({"contrast": 1.0})[0].details == ("mean grey level 120 of 255, standard deviation 1.0",)


def test_what_is_true_of_the_set_is_one_note():
    (finding,) = found({"width": 28, "height": 28}, count=40)
    assert (finding.kind, finding.severity, finding.files, finding.drop) == ("tiny", "note", (), ())
    assert "40 of 40 pictures" in finding.message


def test_what_is_true_of_a_class_is_one_note_beside_the_others():
    data = data_of(*classes(cat=60, night=20))
    changed = {file: {"brightness": 5.0, "contrast": 5.0} for file in data.files if file.startswith("night")}
    changed["cat/07.jpg"] = {"brightness": 5.0, "contrast": 5.0}
    seen = scan_of(data, changed)
    nature, few = check_pictures(data, seen, readable(seen))
    assert (nature.severity, nature.files) == ("note", ())
    assert "'night' (20 of 20)" in nature.message
    assert (few.severity, few.files, few.drop) == ("warning", ("cat/07.jpg",), ("cat/07.jpg",))


def test_unreadable_pictures_are_neither_tiny_nor_dark():
    assert found({"keys": None}) == []
