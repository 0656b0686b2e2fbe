"""Held-out pictures that are learned from as well."""

import pytest

from tests.doctor.sets import copies_of, data_of
from tltool.data.dataset import Row
from tltool.data.leaks import leaked

ROWS = [
    Row(f"{part}/{name}/{n}.jpg", name, part) for part in ("train", "valid", "test") for name in "ab" for n in "012"
]


@pytest.mark.parametrize(
    ("group", "found"),
    [
        (("train/a/0.jpg", "test/a/0.jpg"), ["test/a/0.jpg"]),
        (("valid/a/0.jpg", "test/b/1.jpg"), ["test/b/1.jpg"]),
        (("test/b/1.jpg", "train/a/0.jpg", "test/a/2.jpg"), ["test/a/2.jpg", "test/b/1.jpg"]),
        (("test/a/0.jpg", "test/a/1.jpg"), []),
        (("train/a/0.jpg", "valid/a/1.jpg"), []),
    ],
)
@pytest.mark.parametrize("kind", ["exact", "near"])
def test_copies_on_both_sides_leak(group, found, kind):
    data = data_of(*ROWS)
    rows = leaked(data, copies_of(data, **{kind: [group]}))
    assert [data.files[row] for row in rows] == found


def test_validation_pictures_that_are_learned_from():
    data = data_of(*ROWS)
    copies = copies_of(
        data, near=[("train/a/0.jpg", "valid/a/1.jpg", "test/a/0.jpg"), ("valid/b/0.jpg", "test/b/0.jpg")]
    )
    assert [data.files[row] for row in leaked(data, copies, ("valid",), ("train",))] == ["valid/a/1.jpg"]


def test_without_copies_nothing_leaks():
    data = data_of(*ROWS)
    rows = leaked(data, copies_of(data))
    assert (rows.shape, rows.dtype.kind) == ((0,), "i")
