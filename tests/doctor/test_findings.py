"""Findings in words and as JSON."""

import json

from tltool.doctor.findings import Finding, by_severity, counted, dropped


def finding(**values: object) -> Finding:
    return Finding(**{"kind": "dark", "severity": "note", "message": "m", "fix": "f"} | values)


def test_lines_are_the_first_files_with_what_there_is_to_say():
    files = tuple(f"{n}.jpg" for n in range(8))
    assert finding(files=files).lines(3) == ["0.jpg", "1.jpg", "2.jpg", "and 5 more"]
    assert finding(files=files[:3]).lines(3) == ["0.jpg", "1.jpg", "2.jpg"]
    details = tuple(f"{n} x 1" for n in range(8))
    assert finding(files=files, details=details).lines(1) == ["0.jpg: 0 x 1", "and 7 more"]
    assert finding().lines() == []


def test_lines_of_copies_show_them_side_by_side():
    groups = (("a", "b"), ("c", "d", "e", "f"), ("g", "h"))
    files = tuple("abcdefgh")
    assert finding(files=files, groups=groups).lines(2) == ["a = b", "c = d and 2 more", "and 1 more"]
    details = ("labelled cat", "labelled dog")
    shown = finding(files=("a", "b"), details=details, groups=(("a", "b"),)).lines()
    assert shown == ["a (labelled cat) = b (labelled dog)"]
    # A leak is told of by the picture that leaks.
    assert finding(files=("b",), details=("copy of a",), groups=(("a", "b"),)).lines() == ["b: copy of a"]


def test_json_is_complete():
    files = tuple(f"{n}.jpg" for n in range(1000))
    whole = finding(files=files, drop=files, groups=(files,), details=files, labels=(("a", "b"),) * 1000)
    read = json.loads(json.dumps(whole.to_json()))
    assert read["files"] == read["drop"] == read["details"] == read["groups"][0] == list(files)
    assert read["labels"] == [["a", "b"]] * 1000
    assert (read["kind"], read["severity"], read["message"], read["fix"]) == ("dark", "note", "m", "f")


def test_errors_come_first_and_the_rest_keeps_its_order():
    kinds = [finding(kind=f"{n}", severity=s) for n, s in enumerate(["note", "error", "warning", "note", "error"])]
    assert [each.kind for each in by_severity(kinds)] == ["1", "4", "2", "0", "3"]


def test_dropped_is_what_any_finding_drops():
    assert dropped([finding(files=("a", "b"), drop=("a",)), finding(drop=("c",)), finding(files=("d",))]) == {"a", "c"}


def test_counted():
    assert counted(1, "picture") == "1 picture"
    assert counted(1200, "picture") == "1,200 pictures"
    assert counted(2, "class", "classes") == "2 classes"
