"""Reads CSV, TSV and Parquet files from anybody, row by row and with bounds, as text."""

import csv
import re
import stat
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from tltool.errors import DataError

if TYPE_CHECKING:
    import pyarrow

MAX_BYTES = 512 * 2**20  # of a CSV; a million rows of 100 characters take 100 MB
MAX_ROWS = 1_000_000  # kept in memory at about 500 bytes each; ImageNet-21k would need another kind of index
MAX_LINE = 2**20  # characters; a row of paths and labels has hundreds
HEADER_WITHIN = 100  # lines, blank ones and Excel's hint before it
DELIMITERS = ",;\t|"  # the first of those that give the header the same number of columns wins
BLOCK_BYTES = 2**20  # bytes decoded at once
PARQUET_BATCH = 4096  # rows; more would only cost memory


class TableRow(NamedTuple):
    """One row that is not blank."""

    number: int  # as a spreadsheet counts: of a CSV the header is row 1; of a Parquet file the first row of values is
    cells: tuple[str, ...]  # of the columns asked for, without whitespace at the ends; "" where there is nothing
    fault: str = ""  # why the row cannot be read, in words; its cells are then empty


class Table(NamedTuple):
    """A table that has been opened.

    Attributes:
        header: Names of the columns.
        rows: Called with positions in the header, gives the rows; to be called any number of times.
        notes: What had to be guessed, in words.
    """

    header: tuple[str, ...]
    rows: Callable[[Sequence[int]], Iterator[TableRow]]
    notes: tuple[str, ...] = ()


def open_table(path: Path, shown: str) -> Table:
    """Opens a table by its ending: .parquet is Parquet, everything else separated values.

    Those are in UTF-8 or, with a byte order mark, UTF-16; Latin-1 where they are neither. The header tells which of
    comma, semicolon, tab and bar separates them.

    Args:
        path: The file; it is only read.
        shown: What messages call it.

    Raises:
        DataError: if it cannot be opened, is no table, or is above the bounds; so do the rows as they are read.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{shown}: not a regular file. Give a .csv, .tsv or .parquet file.")
        if path.suffix.lower() == ".parquet":
            return _open_parquet(path, shown)
        if status.st_size > MAX_BYTES:
            raise DataError(
                f"{shown}: {status.st_size:,} bytes; tables of up to {MAX_BYTES:,} are read. "
                "Leave out the columns that are not needed, or give a .parquet file."
            )
        return _open_csv(path, shown)
    except OSError as error:
        raise DataError(f"{shown}: cannot be read ({error.strerror or error}). Check the path.") from None


def _open_csv(path: Path, shown: str) -> Table:
    encoding = _encoding(path, shown)
    notes = ()
    if encoding == "latin-1":
        notes = (f"{path.name} is not in UTF-8 and was read as Latin-1. Check the labels that have accents.",)
    with open(path, encoding=encoding, newline="") as file:
        before, line, delimiter = 0, "", ""
        for line in islice(_lines(file, shown), HEADER_WITHIN):
            # Excel puts a line "sep=;" before the header where the system's own separator is another.
            hint = re.fullmatch(r'"?sep=(.)"?\s*', line)
            if line.strip() and not hint:
                break
            before, delimiter = before + 1, hint[1] if hint else delimiter
    delimiter, names = _header(line, delimiter or DELIMITERS, shown)

    def rows(columns: Sequence[int]) -> Iterator[TableRow]:
        with open(path, encoding=encoding, newline="") as file:
            lines = islice(_lines(file, shown), before + 1, None)
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            number = before + 1
            while True:
                number += 1
                try:
                    fields = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    raise DataError(
                        f"{shown}, row {number}: cannot be read ({error}). Is a quotation mark open or one too many?"
                    ) from None
                _check_count(number - before - 1, shown)
                row = _row(number, fields, len(names), columns, delimiter)
                if row:
                    yield row

    return Table(names, rows, notes)


def _row(number: int, fields: Sequence[str], width: int, columns: Sequence[int], delimiter: str) -> TableRow | None:
    """None if the row is blank. One that is too short has empty cells at its end: spreadsheets leave them out."""
    if not any(field.strip() for field in fields):
        return None
    if any(field.strip() for field in fields[width:]):
        sign = {"\t": "a tab"}.get(delimiter, f"'{delimiter}'")
        return TableRow(number, (), f"{len(fields)} cells where the header has {width}: quote cells that hold {sign}")
    return TableRow(number, tuple(fields[column].strip() if column < len(fields) else "" for column in columns))


def _check_count(count: int, shown: str) -> None:
    if count > MAX_ROWS:
        raise DataError(f"{shown}: more than {MAX_ROWS:,} rows. Give a part of it, or folders of pictures.")


def _encoding(path: Path, shown: str) -> str:
    """The encoding in which the whole file can be read.

    Raises:
        DataError: if it holds zero characters, which no text does.
    """
    with open(path, "rb") as file:
        start = file.read(len(BOM_UTF8))
    if start.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        candidates = ["utf-16"]
    elif start == BOM_UTF8:
        candidates = ["utf-8-sig"]
    else:
        candidates = ["utf-8", "latin-1"]
    for encoding in candidates:
        decoder = getincrementaldecoder(encoding)()
        try:
            with open(path, "rb") as file:
                while block := file.read(BLOCK_BYTES):
                    if "\0" in decoder.decode(block):
                        raise DataError(
                            f"{shown}: not a table in text (it holds zero characters). Save it as CSV in UTF-8."
                        )
                decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            continue
        return encoding
    raise DataError(f"{shown}: its first bytes promise {candidates[0]}, but not all of it is. Save it as CSV in UTF-8.")


def _lines(file: TextIO, shown: str) -> Iterator[str]:
    """Lines with their ends. Not `for line in file`, which would hold a line of a gigabyte in memory."""
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE and not line.endswith(("\n", "\r")):
            raise DataError(f"{shown}, line {number}: more than {MAX_LINE:,} characters. Is it a CSV?")
        yield line


def _header(line: str, delimiters: str, shown: str) -> tuple[str, tuple[str, ...]]:
    """The delimiter and the names of the columns, from the line that holds them."""
    best = ("", ())
    for delimiter in delimiters:
        try:
            names = next(csv.reader([line], delimiter=delimiter, strict=True), [])
        except csv.Error:
            continue
        if len(names) > len(best[1]):
            best = delimiter, tuple(name.strip() for name in names)
    if not best[1] or not any(best[1]):
        raise DataError(f"{shown}: no row that names the columns. Begin with a row such as: path,label")
    return best


def _open_parquet(path: Path, shown: str) -> Table:
    try:
        import pyarrow
        from pyarrow import parquet, types
    except ImportError:
        raise DataError(
            f"{shown}: Parquet files are read with pyarrow, which is not installed. "
            "Run: pip install 'tltool[parquet]', or save the table as CSV."
        ) from None

    def refused(error: Exception) -> DataError:
        return DataError(f"{shown}: not a readable Parquet file ({_first_line(error)}). Write it again, or give a CSV.")

    def is_text(kind: pyarrow.DataType) -> bool:
        if types.is_list(kind) or types.is_large_list(kind) or types.is_dictionary(kind):
            return is_text(kind.value_type)
        tests = (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_boolean)
        return any(test(kind) for test in (*tests, types.is_null))

    try:
        with parquet.ParquetFile(path) as file:
            schema, count = file.schema_arrow, file.metadata.num_rows
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise refused(error) from None
    _check_count(count, shown)

    def rows(columns: Sequence[int]) -> Iterator[TableRow]:
        names = [schema.names[column] for column in columns]
        for column in columns:
            if not is_text(schema.field(column).type):
                raise DataError(
                    f"{shown}: column '{schema.names[column]}' holds {schema.field(column).type}, not text or numbers. "
                    "Pictures inside a table are not read: write them to files, and their paths to the table."
                )
        number = 0
        try:
            # As a dictionary, a long text that is repeated in every row is in memory once, as it is in the file.
            plain = [name for name in set(names) if not types.is_nested(schema.field(name).type)]
            with parquet.ParquetFile(path, read_dictionary=plain) as file:
                for batch in file.iter_batches(PARQUET_BATCH, columns=sorted(set(names))):
                    values = [_texts(batch.column(name)) for name in names]
                    for cells in zip(*values, strict=True):
                        number += 1
                        _check_count(number, shown)
                        if any(cells):
                            yield TableRow(number, cells)
        except (pyarrow.ArrowException, OSError, ValueError, LookupError, NotImplementedError) as error:
            raise refused(error) from None

    return Table(tuple(schema.names), rows)


def _texts(values: "pyarrow.Array") -> list[str]:
    """The values of a column as cells; several in one, as a list, are separated by bars."""
    if hasattr(values, "dictionary"):
        indices = values.indices.to_pylist()
        known = {i: _text(values.dictionary[i].as_py()) for i in set(indices) - {None}}
        return ["" if i is None else known[i] for i in indices]
    return [_text(value) for value in values.to_pylist()]


def _text(value: object) -> str:
    if isinstance(value, list):
        return "|".join(_text(each) for each in value)
    # A missing number is NaN where pandas wrote the table.
    return "" if value is None or value != value else str(value).strip()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
