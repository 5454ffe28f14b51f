"""Files and data frames, read into one kind of table, with a note of everything that was inferred."""

import csv
import gzip
import io
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from heldout.check import InputError, did_you_mean

MISSING_MARKERS = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "#N/A", "-", "?", ".")

_SAMPLE_BYTES = 1 << 16
_CHUNK_BYTES = 1 << 24
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}([-/.]\d{1,4})?([T ].*)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


@dataclass(frozen=True, eq=False)
class Table:
    """A table in memory, and where it came from.

    Parameters
    ----------
    frame : narwhals DataFrame
        The columns.
    notes : tuple of str
        What was inferred while reading, one sentence each.
    first_line : int, optional
        The line of the file that holds the first row; None for data frames and Parquet files.
    """

    frame: nw.DataFrame[Any]
    notes: tuple[str, ...] = ()
    first_line: int | None = None

    def place(self, row: int) -> str:
        """Say where row number ``row``, counted from 0, is found: ``"line 3"`` of a text file, else ``"row 1"``."""
        return f"row {row}" if self.first_line is None else f"line {row + self.first_line}"


def read_table(source: object, *, encoding: str = "utf-8") -> tuple[nw.DataFrame[Any], list[str]]:
    """Give the table in a file or data frame, and notes of what was inferred.

    Parameters
    ----------
    source : path or data frame
        A CSV, TSV or Parquet file, also with ``.gz``; or a pandas, polars (lazy too) or pyarrow table.
    encoding : str, default "utf-8"
        How a text file is encoded.

    Returns
    -------
    frame : narwhals DataFrame
        The columns, their types inferred from every row. A column of numbers and missing markers (``NA``, ``-``, ...)
        is numeric; a column with any other text stays text.
    notes : list of str
        What was inferred, one sentence each.

    Raises
    ------
    InputError
        If the file is missing, empty, damaged, not in ``encoding``, or its lines have different numbers of fields; if
        column names repeat; if ``source`` is neither a path nor a data frame.

    Examples
    --------
    >>> frame, notes = read_table(pl.DataFrame({"close": [1.0, 2.0]}))
    >>> frame.shape, notes
    ((2, 1), [])
    """
    table = open_table(source, encoding=encoding)
    return table.frame, list(table.notes)


def open_table(source: object, *, encoding: str = "utf-8") -> Table:
    """Give what `read_table` gives, together with the line of the file each row stands on.

    Parameters
    ----------
    source : path or data frame
        As in `read_table`.
    encoding : str, default "utf-8"
        How a text file is encoded.

    Returns
    -------
    Table
        With at least one row and one column.

    Raises
    ------
    InputError
        As in `read_table`.

    Examples
    --------
    >>> open_table(pl.DataFrame({"close": [1.0, 2.0]})).place(1)
    'row 1'
    """
    if not isinstance(source, str | Path):
        return _from_frame(source)
    path = Path(source)
    data = _file_bytes(path)
    if data[:4] == b"PAR1":
        return _from_parquet(path, data)
    if data[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise InputError(
            f"a table must be CSV, TSV or Parquet, but {path} is an archive or an Excel file; save it as CSV"
        )
    return _from_text(path, _as_utf8(path, data, encoding))


def parse_numbers(text: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Give the numbers that a column of text holds, and which of its values are neither a number nor missing.

    Parameters
    ----------
    text : polars Series of str
        The column.

    Returns
    -------
    numbers : polars Series of float
        Null where there is no number.
    wrong : polars Series of bool
        True where the text is neither a number nor one of `MISSING_MARKERS`.

    Examples
    --------
    >>> numbers, wrong = parse_numbers(pl.Series(["1.5", "NA", "high"]))
    >>> numbers.to_list(), wrong.to_list()
    ([1.5, None, None], [False, False, True])
    """
    stripped = text.str.strip_chars()
    numbers = stripped.cast(pl.Float64, strict=False).fill_nan(None)
    missing = stripped.is_null() | stripped.is_in(MISSING_MARKERS)
    return numbers, numbers.is_null() & ~missing


def _from_frame(source: object) -> Table:
    try:
        native: Any = nw.from_native(source)
        frame: nw.DataFrame[Any] = native.collect() if isinstance(native, nw.LazyFrame) else native
        names = list(frame.columns)
    except nw.exceptions.DuplicateError as error:
        raise InputError("column names must be unique; rename the columns that share a name") from error
    except TypeError as error:
        raise InputError(
            f"a table must be a path or a pandas, polars or pyarrow data frame, got {type(source).__name__}"
        ) from error
    frame, notes = _index_as_column(frame)
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise InputError(
            f"column names must be text, got {wrong[0]!r}; rename the columns, for example with str()"
        )
    if not frame.columns or not len(frame):
        raise InputError(
            f"a table must have rows and columns, got {len(frame)} rows and {len(frame.columns)} columns"
        )
    return Table(frame, notes)


def _index_as_column(frame: nw.DataFrame[Any]) -> tuple[nw.DataFrame[Any], tuple[str, ...]]:
    """Keep a pandas index that carries data (it has a name, or holds times) as the first columns."""
    index = nw.maybe_get_index(frame)
    if index is None:
        return frame, ()
    named = index.nlevels > 1 or index.names[0] is not None
    periods = str(index.dtype).startswith("period")
    if not (named or periods or str(index.dtype).startswith("datetime")):
        return frame, ()
    default = [f"index_{k}" for k in range(index.nlevels)] if index.nlevels > 1 else ["time"]
    names = [str(name) if name is not None else free for name, free in zip(index.names, default, strict=True)]
    taken = [name for name in names if name in frame.columns]
    if taken:
        raise InputError(
            f"column names must be unique, but the index is named {taken[0]!r} like a column; rename one of them"
        )
    native = frame.to_native().to_timestamp() if periods else frame.to_native()
    kept = nw.from_native(native.reset_index(names=names), eager_only=True)
    return kept, (f"the index of the data frame was read as column {', '.join(map(repr, names))}",)


def _file_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise InputError(f"a table must be a file, but {path} is a folder; name a file in it")
    if not path.exists():
        if not path.parent.is_dir():
            raise InputError(f"there is no file {path}, nor a folder {path.parent}")
        near = did_you_mean(path.name, [item.name for item in path.parent.iterdir()])
        raise InputError(f"there is no file {path}{near}")
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b" or path.suffix == ".gz":
            data = gzip.decompress(data)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"{path} must be a whole gzip file, but it is damaged ({error}); get it again"
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    return data


def _as_utf8(path: Path, data: bytes, encoding: str) -> bytes:
    try:
        if encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig"):
            if not data.isascii():
                data.decode()
            data = data.removeprefix(b"\xef\xbb\xbf")
        else:
            data = data.decode(encoding).encode()
    except LookupError as error:
        raise InputError(
            f"encoding must be one that Python knows, such as 'utf-8' or 'latin-1', got {encoding!r}"
        ) from error
    except UnicodeDecodeError as error:
        hint = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
        found = f"byte {error.start} is {data[error.start]:#04x}"
        raise InputError(
            f"{path} must be {encoding} text, but {found}; give the encoding, perhaps encoding={hint!r}"
        ) from error
    if b"\0" in data:
        raise InputError(
            f"{path} must be text, but byte {data.index(bytes(1))} is zero; perhaps encoding='utf-16', or it is no table"
        )
    return data


def _from_parquet(path: Path, data: bytes) -> Table:
    try:
        frame = pl.read_parquet(io.BytesIO(data))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(
            f"{path} must be a whole Parquet file, but it is damaged ({_first_line(error)}); get it again"
        ) from error
    return _from_frame(frame)


def _from_text(path: Path, data: bytes) -> Table:
    if not data or data.isspace():
        raise InputError(f"a table must have rows, but {path} is empty")
    blank = len(data) - len(data.lstrip(b"\r\n"))
    first_line = data[:blank].count(b"\n") + 1
    if blank or data.endswith((b"\n\n", b"\n\r\n")):  # no copy of a large file that needs none
        data = data.strip(b"\r\n")
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    try:
        separator, sample = _sniff(data)
    except csv.Error as error:
        raise InputError(f"{path} cannot be read as a table: {error}; look for stray line ends") from error
    decimal_comma = separator != "," and _has_decimal_comma(sample)
    as_usual = separator == "," or len(sample[0]) == 1
    notes = [] if as_usual else [f"fields are separated by {_spoken(separator)}"]
    if decimal_comma:
        notes.append("a comma is the decimal sign")
    in_order = _check_lines(path, data, separator, first_line)
    names, has_header, header_notes = _header(path, sample[0], decimal_comma=decimal_comma)
    try:
        frame = pl.read_csv(
            io.BytesIO(data),
            separator=separator,
            has_header=has_header,
            new_columns=names,
            infer_schema_length=None,
            decimal_comma=decimal_comma,
        )
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"{path} cannot be read as a table: {_first_line(error)}; look for stray quotation marks"
        ) from error
    if not len(frame):
        raise InputError(f"a table must have rows, but {path} holds a header only")
    frame, marker_notes = _numbers_from_text(frame, decimal_comma=decimal_comma)
    first_row = first_line + has_header if in_order else None
    return Table(nw.from_native(frame, eager_only=True), (*notes, *header_notes, *marker_notes), first_row)


def _sniff(data: bytes) -> tuple[str, list[list[str]]]:
    """Give the separator that cuts every line at the head of the file into equally many fields, and those lines."""
    text = data[:_SAMPLE_BYTES].decode(errors="ignore")
    cut = len(data) > _SAMPLE_BYTES
    rows = {}
    for separator in "\t;|,":
        lines = list(csv.reader(io.StringIO(text), delimiter=separator))
        rows[separator] = (lines[:-1] if cut and len(lines) > 1 else lines)[:100]
    even = [s for s in rows if len(rows[s][0]) > 1 and len({len(line) for line in rows[s]}) == 1]
    best = even[0] if even else max(",;\t|", key=lambda s: len(rows[s][0]))
    return best, rows[best]


def _spoken(separator: str) -> str:
    return {"\t": "tabs", ";": "semicolons", "|": "vertical bars"}[separator]


def _has_decimal_comma(sample: list[list[str]]) -> bool:
    fields = [field.strip() for line in sample for field in line]
    points = any("." in field and _NUMBER.fullmatch(field) for field in fields)
    return not points and any(_DECIMAL_COMMA.fullmatch(field) for field in fields)


def _header(path: Path, first: list[str], *, decimal_comma: bool) -> tuple[list[str], bool, list[str]]:
    fields = [field.strip() for field in first]
    plain = [field.replace(",", ".") if decimal_comma else field for field in fields]
    numbers = [bool(_NUMBER.fullmatch(field)) for field in plain]
    values = [
        number or field in MISSING_MARKERS or bool(_DATE.fullmatch(field))
        for number, field in zip(numbers, plain, strict=True)
    ]
    if any(numbers) and all(values):
        names = [f"column_{k + 1}" for k in range(len(fields))]
        note = f"the first row holds numbers, so the columns are named column_1 to column_{len(fields)}"
        return names, False, [note]
    names = [field or f"column_{k + 1}" for k, field in enumerate(fields)]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise InputError(
            f"column names must be unique, but {path} has {names.count(repeated[0])} columns named {repeated[0]!r}; rename them"
        )
    unnamed = [k + 1 for k, field in enumerate(fields) if not field]
    notes = [f"column {k} has no name and is called column_{k}" for k in unnamed]
    spaced = [name for name, written in zip(fields, first, strict=True) if name != written]
    return names, True, notes + [f"spaces around the name of column {name!r} are left out" for name in spaced]


def _check_lines(path: Path, data: bytes, separator: str, first_line: int) -> bool:
    """Raise unless each row has as many fields as the first; True if each row stands on one line."""
    widths, lines = _field_counts(path, data, separator)
    ragged = np.flatnonzero(widths != widths[0])
    if len(ragged):
        row = int(ragged[0])
        raise InputError(
            f"every line must have as many fields as the first, but line {lines[row] + first_line} of {path} has "
            f"{widths[row]} and the first has {widths[0]}; correct that line"
        )
    return bool(lines[-1] == len(lines) - 1)


def _field_counts(path: Path, data: bytes, separator: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fields in each row, and the number of line ends before it; what stands in quotation marks ends neither."""
    separators_before, lines_before = [], []
    n_separators, n_lines, quoted = 0, 0, False
    for start in range(0, len(data), _CHUNK_BYTES):
        block = np.frombuffer(data, np.uint8, min(_CHUNK_BYTES, len(data) - start), start)
        line_end, is_separator = block == ord("\n"), block == ord(separator)
        all_ends = np.flatnonzero(line_end)
        quotes = block == ord('"')
        if quoted or quotes.any():
            inside = np.logical_xor.accumulate(quotes) ^ quoted
            quoted = bool(inside[-1])
            line_end, is_separator = line_end & ~inside, is_separator & ~inside
        ends, cuts = np.flatnonzero(line_end), np.flatnonzero(is_separator)
        separators_before.append(n_separators + np.searchsorted(cuts, ends))
        lines_before.append(n_lines + 1 + np.searchsorted(all_ends, ends))
        n_separators, n_lines = n_separators + len(cuts), n_lines + len(all_ends)
    if quoted:
        raise InputError(
            f'{path} must close every quotation mark, but one is left open; look for a field with a single "'
        )
    totals = np.concatenate([[0], *separators_before, [n_separators]])
    lines = np.concatenate([[0], *lines_before]).astype(np.int64)
    n_rows = len(lines) - data.endswith(b"\n")
    return np.diff(totals)[:n_rows] + 1, lines[:n_rows]


def _numbers_from_text(frame: pl.DataFrame, *, decimal_comma: bool) -> tuple[pl.DataFrame, list[str]]:
    """Turn each text column that holds numbers and missing markers only into numbers."""
    notes = []
    for name in [name for name, kind in frame.schema.items() if kind == pl.String]:
        text = frame[name]
        if decimal_comma:
            text = text.str.replace(r"^(\s*[+-]?\d+),(\d+\s*)$", "${1}.${2}")
            frame = frame.with_columns(text)
        if parse_numbers(text.head(1000))[1].any():
            continue
        numbers, wrong = parse_numbers(text)
        if wrong.any() or numbers.null_count() == len(numbers):
            continue
        frame = frame.with_columns(numbers)
        markers = sorted(set(text.filter(numbers.is_null() & text.is_not_null()).str.strip_chars().unique()))
        if markers:
            listed = ", ".join(map(repr, markers))
            notes.append(f"in column {name!r}, {listed} was read as missing")
    return frame, notes


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
