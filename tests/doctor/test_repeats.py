"""Pictures that are there more than once."""

import pytest

from tests.doctor.sets import classes, copies_of, data_of, scan_of
from tltool.data.dataset import Dataset, Problem, Row
from tltool.doctor.findings import Finding
from tltool.doctor.repeats import LEAK, check_repeats


def parts(*, groups: dict[str, str] | None = None) -> Dataset:
    rows = [
        Row(f"{part}/{name}/{n}.jpg", name, part)
        for part in ("train", "valid", "test")
        for name in ("cat", "dog")
        for n in range(4)
    ]
    return data_of(*(row._replace(group=(groups or {}).get(row.path, "")) for row in rows))


def found(data: Dataset, exact=(), near=()) -> dict[str, Finding]:
    """Findings by kind; copies that are exact have one key in the scan, as they have in the wild."""
    changed = {file: {"keys": group[0]} for group in exact for file in group}
    findings = list(check_repeats(data, scan_of(data, changed), copies_of(data, exact, near)))
    by_kind = {finding.kind: finding for finding in findings}
    assert len(by_kind) == len(findings)
    return by_kind


def test_no_copies_no_finding():
    assert found(parts()) == {}


def test_exact_copies_keep_one_of_each():
    data = data_of(*classes(cat=8, dog=4))
    groups = [("cat/01.jpg", "cat/03.jpg", "cat/05.jpg"), ("dog/00.jpg", "dog/01.jpg")]
    (finding,) = found(data, exact=groups).values()
    assert (finding.kind, finding.severity) == ("exact-copies", "warning")
    assert finding.groups == tuple(groups)
    assert finding.files == ("cat/01.jpg", "cat/03.jpg", "cat/05.jpg", "dog/00.jpg", "dog/01.jpg")
    assert finding.drop == ("cat/03.jpg", "cat/05.jpg", "dog/01.jpg")
    assert finding.message.startswith("3 files are copies")
    assert "5 files hold 2 pictures" in finding.message


def test_near_copies_are_told_and_kept():
    data = data_of(*classes(cat=8))
    (finding,) = found(data, near=[("cat/01.jpg", "cat/03.jpg")]).values()
    assert (finding.kind, finding.severity, finding.drop) == ("near-copies", "note", ())
    assert finding.groups == (("cat/01.jpg", "cat/03.jpg"),)


def test_an_exact_pair_with_a_near_third_is_told_as_both():
    data = data_of(*classes(cat=8))
    both = found(data, exact=[("cat/01.jpg", "cat/02.jpg")], near=[("cat/01.jpg", "cat/02.jpg", "cat/03.jpg")])
    assert set(both) == {"exact-copies", "near-copies"}
    assert both["near-copies"].files == ("cat/01.jpg", "cat/02.jpg", "cat/03.jpg")
    assert both["exact-copies"].drop == ("cat/02.jpg",)


def test_one_picture_under_two_labels():
    data = data_of(*classes(cat=4, dog=4))
    findings = found(data, exact=[("cat/01.jpg", "dog/02.jpg"), ("cat/02.jpg", "cat/03.jpg")])
    finding = findings["two-labels"]
    assert finding.severity == "error"
    # Which label is right, nobody knows: none of them is kept.
    assert finding.files == finding.drop == ("cat/01.jpg", "dog/02.jpg")
    assert finding.details == ("labelled cat", "labelled dog")
    assert "near-two-labels" not in findings


def test_near_copies_under_two_labels_are_worth_a_look():
    data = data_of(*classes(cat=4, dog=4))
    findings = found(data, near=[("cat/01.jpg", "dog/02.jpg")])
    assert "two-labels" not in findings
    finding = findings["near-two-labels"]
    assert (finding.severity, finding.drop) == ("warning", ())
    assert finding.details == ("labelled cat", "labelled dog")


def test_a_near_copy_of_an_exact_contradiction_is_not_told_twice():
    data = data_of(*classes(cat=4, dog=4))
    exact, near = [("cat/01.jpg", "dog/02.jpg")], [("cat/01.jpg", "cat/03.jpg", "dog/02.jpg")]
    assert "near-two-labels" not in found(data, exact=exact, near=near)
    near = [("cat/01.jpg", "cat/03.jpg", "dog/02.jpg", "dog/03.jpg")]
    assert found(data, exact=exact, near=near)["near-two-labels"].files == ("cat/03.jpg", "dog/03.jpg")


def test_several_labels_are_compared_as_sets():
    rows = [Row("0.jpg", ("sea", "sun")), Row("1.jpg", ("sun", "sea")), Row("2.jpg", ("sea",)), Row("3.jpg", ("sun",))]
    data = data_of(*rows, multi_label=True)
    assert "two-labels" not in found(data, exact=[("0.jpg", "1.jpg")])
    contradiction = found(data, exact=[("0.jpg", "2.jpg")])["two-labels"]
    assert contradiction.details == ("labelled sea and sun", "labelled sea")


def test_copies_across_given_parts_leak():
    data = parts()
    exact = [("test/cat/0.jpg", "train/cat/1.jpg"), ("test/dog/0.jpg", "valid/dog/1.jpg")]
    near = [("test/cat/2.jpg", "train/cat/2.jpg", "valid/cat/2.jpg")]
    findings = found(data, exact, near)
    leak = findings["leak"]
    assert leak.severity == "error"
    assert leak.files == leak.drop == ("test/cat/0.jpg", "test/cat/2.jpg", "test/dog/0.jpg")
    assert leak.details == ("copy of train/cat/1.jpg", "near copy of train/cat/2.jpg", "copy of valid/dog/1.jpg")
    assert len(leak.groups) == 3
    assert leak.message.startswith("3 of 8 test pictures")
    valid = findings["leak-valid"]
    assert (valid.severity, valid.files) == ("warning", ("valid/cat/2.jpg",))
    assert valid.drop == valid.files
    # What is learned from is what is kept.
    assert set(findings["exact-copies"].drop) == {"test/cat/0.jpg", "test/dog/0.jpg"}


@pytest.mark.parametrize(
    ("leaking", "severity"), [({"near": 1}, "warning"), ({"near": 2}, "error"), ({"exact": 1}, "error")]
)
def test_few_near_copies_across_parts_may_look_alike_by_chance(leaking: dict[str, int], severity: str):
    data = data_of(*(Row(f"{part}/{n:03}.jpg", "cat", part) for part in ("train", "test") for n in range(100)))
    groups = {
        kind: [(f"test/{n:03}.jpg", f"train/{n:03}.jpg") for n in range(count)] for kind, count in leaking.items()
    }
    finding = found(data, **groups)["leak"]
    assert finding.severity == severity
    assert len(finding.drop) == sum(leaking.values())


def test_copies_across_a_split_that_tltool_makes_are_no_leak():
    data = data_of(*classes(cat=20, dog=20))
    test, train = data.indices("test")[0], data.indices("train")[0]
    assert data.labels[test] == data.labels[train]
    assert set(found(data, exact=[(data.files[test], data.files[train])])) == {"exact-copies"}


def test_validation_pictures_that_tltool_takes_from_the_train_part_are_no_leak():
    rows = [Row(f"{part}/{n:02}.jpg", "cat", part) for part in ("train", "test") for n in range(20)]
    data = data_of(*rows)
    valid, train = data.indices("valid")[0], data.indices("train")[0]
    assert set(found(data, exact=[(data.files[valid], data.files[train])])) == {"exact-copies"}


def test_copies_that_were_left_out_of_the_validation_part_are_told():
    problem = Problem("valid/cat/9.jpg", "a copy of a training picture", LEAK)
    data = data_of(
        *(Row(file, "cat", file.split("/")[0]) for file in ("train/0.jpg", "test/0.jpg")), problems=[problem]
    )
    (finding,) = found(data).values()
    assert (finding.kind, finding.files, finding.details) == ("leak-valid", (problem.path,), (problem.reason,))
    assert finding.message.startswith("1 validation picture is a copy")


def test_groups_across_given_parts_leak():
    members = {
        **dict.fromkeys(("train/cat/0.jpg", "train/cat/1.jpg", "test/cat/0.jpg", "test/cat/1.jpg"), "patient 1"),
        **dict.fromkeys(("train/dog/0.jpg", "valid/dog/1.jpg"), "patient 2"),
        **dict.fromkeys(("test/dog/0.jpg", "test/dog/1.jpg"), "patient 3"),
    }
    findings = found(parts(groups=members))
    leak = findings.pop("group-leak")
    assert (leak.severity, leak.files) == ("error", ("test/cat/0.jpg", "test/cat/1.jpg"))
    assert leak.drop == leak.files
    assert leak.details[0] == "of group 'patient 1'"
    assert leak.message.startswith("1 group has pictures both in the test part")
    valid = findings.pop("group-leak-valid")
    assert (valid.severity, valid.files) == ("warning", ("valid/dog/1.jpg",))
    assert findings == {}


def test_groups_that_are_made_of_copies_are_told_as_copies():
    """As `keeping_together` makes them."""
    data = parts()
    group = ("test/cat/0.jpg", "train/cat/1.jpg")
    together = data.keeping_together([[data.files.index(file) for file in group]])
    assert len(set(together.together)) == 2
    assert "group-leak" not in found(together, exact=[group])
    assert "leak" in found(together, exact=[group])


def test_groups_are_honoured_by_a_split_that_tltool_makes():
    rows = [row._replace(group="patient") for row in classes(cat=20)] + classes(dog=20)
    assert found(data_of(*rows)) == {}


@pytest.mark.parametrize("order", [1, -1])
def test_of_copies_in_several_parts_the_training_picture_is_kept(order: int):
    names = ["a.jpg", "b.jpg"][::order]
    rows = [Row(names[0], "cat", "train"), Row(names[1], "cat", "test"), Row("c.jpg", "dog", "train")]
    data = data_of(*rows)
    assert found(data, exact=[names])["exact-copies"].drop == (names[1],)
