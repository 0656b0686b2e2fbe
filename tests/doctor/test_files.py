"""What is wrong with files as files."""

import pytest

from tests.doctor.sets import classes, data_of, scan_of
from tltool.data.dataset import Problem, Row
from tltool.doctor.files import PROBLEMS, check_files, unreadable_files
from tltool.doctor.findings import Finding
from tltool.errors import PictureError


def only(findings) -> Finding:
    (finding,) = findings
    return finding


def test_sound_files_give_no_finding():
    data = data_of(*classes(cat=5, dog=5))
    assert list(check_files((), scan_of(data))) == []


def test_problems_are_put_together_by_kind():
    problems = [
        Problem("b/2.jpg", "cut", "truncated"),
        Problem("b/1.jpg", "also cut", "truncated"),
        Problem("a/0.jpg", "the file is empty (0 bytes)", "empty"),
        Problem("a/9.jpg", "of tomorrow", "newly-invented"),
        Problem("b/2.jpg", "cut once more", "truncated"),
    ]
    empty, truncated, unknown = unreadable_files(problems)
    assert (empty.kind, empty.files, empty.message) == ("empty", ("a/0.jpg",), "1 file is empty (0 bytes).")
    assert truncated.files == truncated.drop == ("b/1.jpg", "b/2.jpg")
    assert truncated.details == ("also cut", "cut")
    assert truncated.message.startswith("2 files are cut short")
    assert (unknown.kind, unknown.details) == ("newly-invented", ("of tomorrow",))
    assert {finding.severity for finding in (empty, truncated, unknown)} == {"warning"}


def test_every_kind_of_picture_error_has_words():
    assert set(PictureError.KINDS) <= set(PROBLEMS)


@pytest.mark.parametrize(
    ("file", "holds", "told"),
    [
        ("cat/a.png", "JPEG", "holds JPEG"),
        ("cat/a.JPG", "WEBP", "holds WEBP"),
        ("cat/a.JPEG", "JPEG", None),
        ("cat/a.jpg", "MPO", None),
        ("cat/a.dib", "BMP", None),
        ("cat/a.bmp", "DIB", None),
        ("cat/a.pgm", "PPM", None),
        ("cat/a", "JPEG", None),
    ],
)
def test_endings_that_promise_another_format(file: str, holds: str, told: str | None):
    data = data_of(Row(file, "cat"), Row("dog/a.jpg", "dog"))
    findings = list(check_files((), scan_of(data, {file: {"formats": holds}})))
    if told is None:
        assert findings == []
        return
    finding = only(findings)
    assert (finding.kind, finding.severity, finding.files, finding.details) == (
        "wrong-extension",
        "note",
        (file,),
        (told,),
    )
    assert finding.drop == ()


def test_an_unreadable_file_is_not_misnamed_as_well():
    data = data_of(Row("cat/a.png", "cat"), Row("dog/a.jpg", "dog"))
    seen = scan_of(data, {"cat/a.png": {"keys": None}})
    assert only(check_files(seen.problems, seen)).kind == "damaged"


def test_animations_and_pages_but_not_depth_maps():
    data = data_of(*classes(cat=4))
    changed = {
        "cat/00.jpg": {"frames": 2, "formats": "MPO"},
        "cat/01.jpg": {"frames": 24, "formats": "JPEG"},
    }
    finding = only(check_files((), scan_of(data, changed)))
    assert (finding.kind, finding.severity, finding.files, finding.drop) == ("animated", "note", ("cat/01.jpg",), ())


def test_hidden_contents_are_named_and_left_out():
    data = data_of(*classes(cat=3))
    finding = only(check_files((), scan_of(data, {"cat/02.jpg": {"hidden": "zip"}})))
    assert (finding.kind, finding.severity) == ("hidden-content", "warning")
    assert finding.files == finding.drop == ("cat/02.jpg",)
    assert finding.details == ("also zip",)


@pytest.mark.parametrize(("changed", "kind"), [({"formats": "PNG"}, "wrong-extension"), ({"frames": 5}, "animated")])
def test_what_is_true_of_most_files_is_one_note_without_their_names(changed, kind):
    data = data_of(*classes(cat=20))
    finding = only(check_files((), scan_of(data, dict.fromkeys(data.files[:11], changed))))
    assert (finding.kind, finding.files, finding.details) == (kind, (), ())
    assert finding.message.startswith("11 files")
    assert len(only(check_files((), scan_of(data, dict.fromkeys(data.files[:10], changed)))).files) == 10
