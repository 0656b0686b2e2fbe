"""Rows on disk: what was written comes back by number, and rows that were not all written are not taken for whole."""

import numpy as np
import pytest

from tltool.training import stored_rows
from tltool.training.stored_rows import StoredRows

SHAPES = [(2, 3), (4,)]


@pytest.fixture
def arrays():
    random = np.random.default_rng(0)
    return [random.normal(size=(7, *shape)).astype(np.float32) for shape in SHAPES]


def test_rows_come_back_by_number(tmp_path, arrays):
    rows = StoredRows(tmp_path / "new" / "rows", SHAPES)
    rows.write([array[start : start + 3] for array in arrays] for start in range(0, 7, 3))
    with rows:
        for numbers in ([6, 0, 3], np.array([2]), range(7)):
            for found, array in zip(rows.read(numbers), arrays, strict=True):
                np.testing.assert_array_equal(found, array[list(numbers)])
    assert StoredRows(tmp_path / "new" / "rows", SHAPES).are_complete(7)
    assert not rows.are_complete(8)
    assert not StoredRows(tmp_path / "new" / "rows", SHAPES[:1]).are_complete(7)


def test_rows_of_a_writer_that_was_stopped_are_not_whole(tmp_path, arrays):
    def stopped():
        yield arrays
        raise KeyboardInterrupt

    rows = StoredRows(tmp_path, SHAPES)
    rows.write([arrays])
    with pytest.raises(KeyboardInterrupt):
        rows.write(stopped())
    assert not rows.are_complete(7)


def test_room_is_looked_for_beforehand(tmp_path, monkeypatch):
    rows = StoredRows(tmp_path, SHAPES)
    assert StoredRows.bytes_needed(SHAPES, 10) == 10 * 10 * 4
    assert rows.fit_in(10)
    monkeypatch.setattr(stored_rows, "FREE_KEPT", 10**18)
    assert not rows.fit_in(10)
