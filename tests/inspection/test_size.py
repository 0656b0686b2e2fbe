"""Counting what may be learned from, without opening a file."""

from pathlib import Path

import pytest

from tltool.data import Dataset
from tltool.data.dataset import Row, build
from tltool.inspection.size import Size, measure_size


def index(rows):
    """A data set whose files do not exist, from (class, part, count)."""
    names = sorted({name for name, _, _ in rows})
    pictures = [(names.index(name), part) for name, part, count in rows for _ in range(count)]
    return Dataset(
        source="nowhere",
        root=Path("nowhere"),
        files=tuple(f"{position}.png" for position in range(len(pictures))),
        labels=tuple((label,) for label, _ in pictures),
        parts=tuple(part for _, part in pictures),
        class_names=tuple(names),
        seed=0,
        given=tuple(part for _, part in pictures),
        groups=("",) * len(pictures),
        together=("",) * len(pictures),
    )


def test_held_out_pictures_do_not_count_as_data():
    size = measure_size(
        index([("ant", "train", 6), ("ant", "valid", 2), ("ant", "test", 50), ("bee", "train", 3), ("bee", "test", 7)])
    )
    assert size.per_class == {"ant": 8, "bee": 3}
    assert size.images == 11
    assert size.held_out == 57
    assert size.classes == 2


def test_a_picture_of_several_classes_counts_once():
    rows = [Row(f"{i}.png", ("sea", "sky", "sun")[: 1 + i % 3]) for i in range(30)]
    size = measure_size(build("s", Path("nowhere"), rows, seed=0, multi_label=True))
    assert size.images + size.held_out == 30
    assert sum(size.per_class.values()) > 1.5 * size.images


def test_a_class_without_training_pictures_is_still_a_class():
    size = measure_size(index([("ant", "train", 4), ("bee", "test", 2)]))
    assert size.per_class == {"ant": 4, "bee": 0}
    assert size.imbalance == 4


@pytest.mark.parametrize(
    ("counts", "typical", "imbalance"), [([5], 5, 1), ([10, 20], 15, 2), ([1000, 10, 10], 10, 100), ([9, 3, 6], 6, 3)]
)
def test_the_typical_class_is_the_median_so_one_large_class_hides_no_small_ones(counts, typical, imbalance):
    size = Size(sum(counts), {str(position): count for position, count in enumerate(counts)}, 0)
    assert size.typical_class == typical
    assert size.imbalance == imbalance
