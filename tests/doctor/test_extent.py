"""Whether a fault is one of a few pictures or the nature of a class or set."""

import numpy as np
import pytest

from tests.doctor.sets import classes, data_of
from tltool.data.dataset import Row
from tltool.doctor.extent import FEWEST, reach


def rows_of(data, name: str, count: int) -> list[int]:
    return [i for i in range(len(data)) if data.files[i].startswith(f"{name}/")][:count]


@pytest.mark.parametrize(("dark", "whole"), [(20, False), (21, True)])
def test_more_than_half_is_the_nature_of_the_set(dark: int, whole: bool):
    data = data_of(*classes(day=20, night=20))
    found = np.array(rows_of(data, "night", 20) + rows_of(data, "day", dark - 20))
    extent = reach(data, np.arange(40), found)
    assert extent.whole_set == whole
    assert (extent.concerned, extent.total) == (dark, 40)
    assert not len(extent.rows)
    assert extent.classes == (() if whole else ("'night' (20 of 20)",))


@pytest.mark.parametrize(("dark", "natural"), [(10, False), (11, True)])
def test_more_than_half_is_the_nature_of_a_class(dark: int, natural: bool):
    data = data_of(*classes(day=40, night=20))
    found = np.array(rows_of(data, "night", dark) + rows_of(data, "day", 2))
    extent = reach(data, np.arange(60), found)
    assert not extent.whole_set
    assert extent.classes == (("'night' (11 of 20)",) if natural else ())
    assert len(extent.rows) == (2 if natural else dark + 2)


@pytest.mark.parametrize("size", [FEWEST - 1, FEWEST])
def test_of_a_small_class_the_pictures_are_told(size: int):
    data = data_of(*classes(day=100, night=size))
    extent = reach(data, np.arange(len(data)), np.array(rows_of(data, "night", size)))
    assert len(extent.rows) == (0 if size == FEWEST else size)


def test_a_small_set_has_no_nature():
    data = data_of(*classes(cat=4, dog=5))
    assert len(reach(data, np.arange(9), np.arange(9)).rows) == 9


def test_only_readable_pictures_count():
    data = data_of(*classes(day=20, night=20))
    extent = reach(data, np.arange(20, 40), np.arange(20, 31))
    assert extent.whole_set
    assert extent.total == 20


def test_a_picture_of_several_classes_counts_for_each():
    rows = [Row(f"{n:02}.jpg", ("night", "street") if n < 12 else ("street",)) for n in range(40)]
    extent = reach(data_of(*rows, multi_label=True), np.arange(40), np.arange(15))
    assert extent.classes == ("'night' (12 of 12)",)
    assert extent.rows.tolist() == [12, 13, 14]
