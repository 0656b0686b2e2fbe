"""What is odd about classes: both sides of each boundary."""

import numpy as np
import pytest

from tests.doctor.sets import classes, data_of
from tltool.data.dataset import Dataset, Row
from tltool.doctor.classes import check_classes
from tltool.doctor.findings import Finding


def parted(**counts: tuple[int, int]) -> Dataset:
    """So many train and test pictures a class, as given parts."""
    rows = [
        Row(f"{part}/{name}/{n:03}.jpg", name, part)
        for name, numbers in counts.items()
        for part, number in zip(("train", "test"), numbers, strict=True)
        for n in range(number)
    ]
    return data_of(*rows)


def found(data: Dataset, readable: np.ndarray | None = None) -> dict[str, Finding]:
    findings = list(check_classes(data, np.arange(len(data)) if readable is None else readable))
    return {finding.kind: finding for finding in findings}


def test_even_classes_give_no_finding():
    assert found(parted(cat=(40, 10), dog=(40, 10))) == {}


@pytest.mark.parametrize(("rare", "told"), [(20, False), (19, True)])
def test_imbalance_begins_above_ten(rare: int, told: bool):
    findings = found(parted(cat=(200, 10), dog=(rare, 10)))
    assert set(findings) == ({"imbalance"} if told else set())
    if told:
        assert findings["imbalance"].severity == "warning"
        assert "'cat' has 11 times as many" in findings["imbalance"].message
        assert "(200 and 19)" in findings["imbalance"].message


@pytest.mark.parametrize(("held_out", "told"), [(10, False), (9, True), (0, True)])
def test_few_held_out_begins_below_ten(held_out: int, told: bool):
    findings = found(parted(cat=(40, 20), dog=(40, held_out)))
    assert set(findings) == ({"few-held-out"} if told else set())
    if told:
        assert f"'dog' ({held_out})" in findings["few-held-out"].message


def test_unreadable_pictures_do_not_count():
    data = parted(cat=(40, 10), dog=(40, 10))
    readable = np.array([i for i in range(len(data)) if i != data.files.index("test/dog/003.jpg")])
    assert set(found(data, readable)) == {"few-held-out"}


@pytest.mark.parametrize(("learned", "told"), [(2, False), (1, True), (0, True)])
def test_classes_that_training_refuses_are_an_error(learned: int, told: bool):
    finding = found(parted(cat=(10, 10), dog=(learned, 10))).get("class-too-small")
    assert (finding is not None) == told
    if told:
        assert finding.severity == "error"
        assert f"'dog' ({learned})" in finding.message


def test_without_given_parts_all_pictures_of_a_class_count():
    assert "class-too-small" not in found(data_of(*classes(cat=40, dog=2)))
    assert "class-too-small" in found(data_of(*classes(cat=40, dog=1)))


def test_a_set_that_is_only_scored_is_not_told_what_training_needs():
    data = data_of(*(row._replace(part="test") for row in classes(cat=40, dog=1)))
    assert set(found(data)) == {"few-held-out"}


def test_many_small_classes_are_counted_and_not_all_named():
    data = data_of(*classes(**{f"c{n:03}": 5 for n in range(200)}))
    finding = found(data)["few-held-out"]
    assert finding.message.startswith("200 classes")
    assert "and 190 more" in finding.message
    assert len(finding.message) < 500


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("Cat", "cat", "dog"), True),
        (("golden_retriever", "Golden Retriever", "pug"), True),
        (("ice-cream", "ice cream"), True),
        (("Ünal", "ünal"), True),
        (("A", "a", "b"), False),  # handwritten letters
        (("cat", "cats"), False),
        (("0", "00"), False),
    ],
)
def test_names_that_differ_in_case_or_spacing(names: tuple[str, ...], told: bool):
    finding = found(data_of(*classes(**dict.fromkeys(names, 60)))).get("class-names")
    assert (finding is not None) == told
    if told:
        assert finding.severity == "warning"
        assert repr(sorted(names)[0]) in finding.message


def test_several_labels_a_picture():
    rows = [Row(f"{n:03}.jpg", ("sea", "sun") if n < 5 else ("sea",)) for n in range(100)]
    findings = found(data_of(*rows, multi_label=True))
    assert set(findings) == {"imbalance", "few-held-out"}
