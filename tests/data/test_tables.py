"""Tables as people save them, and files that only claim to be one."""

import sys
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tltool.data import tables
from tltool.data.tables import Table, TableRow, open_table
from tltool.errors import DataError


def read(path: Path) -> Table:
    return open_table(path, "t.csv")


def rows_of(path: Path, *columns: int) -> list[TableRow]:
    return list(read(path).rows(columns or (0, 1)))


def csv_of(folder: Path, content: bytes | str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends(tmp_path: Path, delimiter: str, end: str) -> None:
    lines = [delimiter.join(cells) for cells in (("path", "label", "x"), ("a.jpg", "cat", "1"), ("b.jpg", "dog", "2"))]
    path = csv_of(tmp_path, end.join(lines))
    assert read(path).header == ("path", "label", "x")
    assert rows_of(path) == [TableRow(2, ("a.jpg", "cat")), TableRow(3, ("b.jpg", "dog"))]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = csv_of(tmp_path, "path,label\né.jpg,кошка\n".encode(encoding))
    assert read(path).header == ("path", "label")
    assert rows_of(path) == [TableRow(2, ("é.jpg", "кошка"))]
    assert read(path).notes == ()


def test_latin_1_is_read_with_a_note(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "path,label\na.jpg,éléphant\n".encode("latin-1"))
    assert rows_of(path) == [TableRow(2, ("a.jpg", "éléphant"))]
    assert read(path).notes[0].startswith("t.csv is not in UTF-8 and was read as Latin-1.")


def test_a_byte_that_is_not_utf8_far_behind_the_header_is_found_before_rows_are_given(tmp_path: Path) -> None:
    text = "path,label\n" + "a.jpg,cat\n" * 300_000
    path = csv_of(tmp_path, text.encode() + "b.jpg,é".encode("latin-1"))
    assert rows_of(path)[-1].cells == ("b.jpg", "é")


def test_quoted_cells(tmp_path: Path) -> None:
    path = csv_of(tmp_path, 'path,label\n"a, b.jpg","the ""big""\none"\nc.jpg,x\n')
    # As in a spreadsheet: a row number does not count the lines inside a cell.
    assert rows_of(path) == [TableRow(2, ("a, b.jpg", 'the "big"\none')), TableRow(3, ("c.jpg", "x"))]


def test_blank_rows_count_but_are_not_given(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "\n\npath,label\n\na.jpg,cat\n , \n,\nb.jpg,dog\n\n")
    assert [row.number for row in rows_of(path)] == [5, 8]


def test_a_row_for_excel_is_seen_through(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "sep=;\npath;label,class\na.jpg;cat\n")
    assert read(path).header == ("path", "label,class")
    assert rows_of(path) == [TableRow(3, ("a.jpg", "cat"))]


def test_columns_are_given_as_asked_for(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "a,b,c\n1, 2 ,3\n")
    assert rows_of(path, 2, 1) == [TableRow(2, ("3", "2"))]


def test_short_rows_have_empty_cells_and_long_ones_a_fault(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "path,label\na.jpg\nb.jpg,cat,small\nc.jpg,dog,,\n")
    short, long, trailing = rows_of(path)
    assert short == TableRow(2, ("a.jpg", ""))
    assert (long.number, long.cells) == (3, ())
    assert long.fault == "3 cells where the header has 2: quote cells that hold ','"
    assert trailing.cells == ("c.jpg", "dog")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no row that names the columns"),
        (b"\n\n \n", "no row that names the columns"),
        (b"\n" * 100 + b"path,label\n", "no row that names the columns"),
        (b"path,label\na\0.jpg,cat\n", "it holds zero characters"),
        (b"PK\3\4\0\0\0\0", "it holds zero characters"),
        ("path,label\n".encode("utf-32"), "it holds zero characters"),
        ("path,label\n".encode("utf-16-le"), "it holds zero characters"),
        (b"\xef\xbb\xbfpath,label\n\xff,x\n", "first bytes promise utf-8-sig"),
        (b"\xff\xfep", "first bytes promise utf-16"),
        (b'path,label\n"a.jpg,cat\nb.jpg,dog\n', r"row 2: cannot be read .*Is a quotation mark open"),
        (b'path,label\na.jpg,cat\n"b"c.jpg,dog\n', r"row 3: cannot be read .*Is a quotation mark open"),
    ],
)
def test_what_is_no_table_is_explained(tmp_path: Path, content: bytes, message: str) -> None:
    path = csv_of(tmp_path, content)
    with pytest.raises(DataError, match=f"^t.csv.*{message}") as caught:
        rows_of(path)
    assert "\n" not in str(caught.value)


def test_a_line_of_a_gigabyte_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with open(path, "wb") as file:
        file.write(b"path,label\n")
        file.write(b"a" * (tables.MAX_LINE + 1))
    with pytest.raises(DataError, match=r"^t\.csv, line 2: more than 1,048,576 characters"):
        rows_of(path)
    # The header's own line too; and cells that go on over lines.
    with pytest.raises(DataError, match=r"^t\.csv, line 1: more than"):
        read(csv_of(tmp_path, b"a," * tables.MAX_LINE))
    with pytest.raises(DataError, match=r"^t\.csv, row 2: cannot be read \(field larger"):
        rows_of(csv_of(tmp_path, b'path,label\n"' + b"a\n" * 100_000))


@pytest.mark.skipif(sys.platform == "win32", reason="needs sparse files, which take no room on the disk")
def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with open(path, "wb") as file:
        file.truncate(2**31)
    with pytest.raises(DataError, match=r"^t\.csv: 2,147,483,648 bytes; tables of up to 536,870,912 are read"):
        read(path)


def test_too_many_rows_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_ROWS", 3)
    path = csv_of(tmp_path, "path,label\n" + "a,b\n" * 3)
    assert len(rows_of(path)) == 3
    with pytest.raises(DataError, match=r"^t\.csv: more than 3 rows"):
        rows_of(csv_of(tmp_path, "path,label\n" + "a,b\n" * 4))
    write_parquet(tmp_path / "t.parquet", {"path": ["a"] * 4})
    with pytest.raises(DataError, match=r"^t\.csv: more than 3 rows"):
        read(tmp_path / "t.parquet")


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^t\.csv: not a regular file"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"^t\.csv: cannot be read \(No such file"):
        read(tmp_path / "gone.csv")


@given(st.binary(max_size=200) | st.text(alphabet='ab,;"\n\r\t|\\', max_size=80).map(str.encode))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_bytes_are_a_table_or_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = csv_of(tmp_path_factory.getbasetemp(), content, "any.csv")
    found = rows_or_message(path)
    if isinstance(found, str):
        assert found.startswith("t.csv")
    else:
        assert all(row.fault or len(row.cells) == len(read(path).header) for row in found)


def rows_or_message(path: Path) -> list[TableRow] | str:
    try:
        return rows_of(path, *range(len(read(path).header)))
    except DataError as error:
        return str(error)


def write_parquet(path: Path, columns: dict[str, object]) -> Path:
    parquet.write_table(pyarrow.table(columns), path)
    return path


def test_parquet_gives_the_same_as_csv(tmp_path: Path) -> None:
    columns = {
        "path": pyarrow.array([" a.jpg ", "b.jpg", None, "c.jpg"]),
        "label": pyarrow.array([1.0, 2.0, None, float("nan")]),
        "kind": pyarrow.array(["x", "y", None, "x"]).dictionary_encode(),
        "sure": pyarrow.array([True, False, None, None]),
        "tags": pyarrow.array([["a", "b"], [], None, ["c"]]),
    }
    path = write_parquet(tmp_path / "t.parquet", columns)
    assert read(path).header == tuple(columns)
    assert rows_of(path, 0, 1, 2, 3, 4) == [
        TableRow(1, ("a.jpg", "1.0", "x", "True", "a|b")),
        TableRow(2, ("b.jpg", "2.0", "y", "False", "")),
        TableRow(4, ("c.jpg", "", "x", "", "c")),
    ]
    assert rows_of(path, 1, 1)[0].cells == ("1.0", "1.0")


def test_parquet_in_many_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "PARQUET_BATCH", 7)
    names = [f"{number}.jpg" for number in range(50)]
    parquet.write_table(pyarrow.table({"path": names}), tmp_path / "t.parquet", row_group_size=20)
    assert [row.cells[0] for row in rows_of(tmp_path / "t.parquet", 0)] == names


def test_a_text_that_parquet_repeats_is_in_memory_once(tmp_path: Path) -> None:
    # 4 MB of text in each of 2,000 rows would be 8 GB; the file holds it once.
    text = "x" * 4_000_000
    array = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 2_000, pyarrow.int32()), pyarrow.array([text]))
    path = write_parquet(tmp_path / "t.parquet", {"path": array})
    assert path.stat().st_size < 10_000_000
    before = pyarrow.total_allocated_bytes()
    for row in read(path).rows([0]):
        assert row.cells[0] == text
        assert pyarrow.total_allocated_bytes() - before < 100_000_000


def test_parquet_columns_that_hold_pictures_are_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "t.parquet", {"image": [{"bytes": b"x"}], "raw": [b"x"], "label": ["cat"]})
    assert rows_of(path, 2) == [TableRow(1, ("cat",))]
    for column, kind in ((0, "struct"), (1, "binary")):
        with pytest.raises(DataError, match=rf"column '(image|raw)' holds {kind}.*, not text or numbers"):
            rows_of(path, column)


@pytest.mark.parametrize("content", [b"", b"path,label\n", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_a_broken_parquet_file(tmp_path: Path, content: bytes) -> None:
    path = csv_of(tmp_path, content, "t.parquet")
    with pytest.raises(DataError, match=r"^t\.csv: not a readable Parquet file"):
        rows_of(path, 0)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install 'tltool\[parquet\]', or save the table as CSV"):
        read(csv_of(tmp_path, b"", "t.PARQUET"))
