"""Files and data frames, read into one kind of table, with a note of everything that was inferred."""

import gzip
import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import narwhals as nw
import polars as pl

from heldout.check import InputError, did_you_mean
from heldout.data.delimited import read_delimited
from heldout.data.numerals import MISSING_MARKERS as MISSING_MARKERS
from heldout.data.numerals import parse_numbers as parse_numbers


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
        A CSV, TSV, JSON lines or Parquet file, also gzip, told apart by content; or a pandas, polars (lazy too) or pyarrow table.
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


def open_table(source: object, *, encoding: str = "utf-8", columns: Sequence[str] = ()) -> Table:
    """Give what `read_table` gives, together with the line of the file each row stands on.

    Parameters
    ----------
    source : path or data frame
        As in `read_table`.
    encoding : str, default "utf-8"
        How a text file is encoded.
    columns : sequence of str
        Columns that will be asked for: ``"column_2"``, where no column is called so, says that the file has no header line.

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
    data = file_bytes(path)
    if data[:4] == b"PAR1":
        return _from_parquet(path, data)
    if data[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise InputError(
            f"a table must be CSV, TSV, JSON lines or Parquet, but {path} is an archive or an Excel file; save it as CSV"
        )
    data = as_utf8(path, data, encoding)
    if data.lstrip()[:1] == b"{":
        return _from_json(path, data)
    frame, notes, first_line = read_delimited(path, data, columns)
    return Table(nw.from_native(frame, eager_only=True), tuple(notes), first_line)


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


def file_bytes(path: Path) -> bytes:
    """Give the content of a file, unpacked if it is gzip, or raise `InputError`.

    Parameters
    ----------
    path : Path
        The file.
    """
    if path.is_dir():
        raise InputError(
            f"a table must be a file, but {path} is a folder; give one file (heldout fit alone reads folders, of Parquet)"
        )
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


def as_utf8(path: Path, data: bytes, encoding: str) -> bytes:
    r"""Give text as UTF-8, or raise `InputError` with the first byte that is wrong.

    Parameters
    ----------
    path : Path
        The file, for the error.
    data : bytes
        Its content.
    encoding : str
        How it is encoded.

    Examples
    --------
    >>> as_utf8(Path("a.csv"), b"\xe9t\xe9", "latin-1").decode()
    'été'
    """
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


def _from_json(path: Path, data: bytes) -> Table:
    """JSON lines: an object each, its keys being columns; one that a line lacks is missing there."""
    rows, lines = [], data.decode().split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            wrong = "" if isinstance(row, dict) else f"is {type(row).__name__}"
        except (ValueError, RecursionError) as error:
            wrong = f"is none ({_first_line(error)})"
        if wrong:
            raise InputError(
                f"every line of {path} must be one JSON object, but line {number} {wrong}; write one row per line, or save it as CSV"
            )
        rows.append(row)
    try:
        frame = pl.DataFrame(rows, infer_schema_length=None)
        nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
        for name in nested:  # Polars drops plain values beside nested ones in silence
            if len({type(row[name]) for row in rows if row.get(name) is not None}) > 1:
                raise ValueError(f"key {name!r}")
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"each key must have values of one kind in all lines of {path}, but they do not fit ({_first_line(error)}); make them alike"
        ) from error
    gaps = any(not line.strip() for line in lines[: len(rows)])
    table = _from_frame(frame)
    return Table(table.frame, ("each line is read as a JSON object",), None if gaps else 1)


def _from_parquet(path: Path, data: bytes) -> Table:
    try:
        frame = pl.read_parquet(io.BytesIO(data))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(
            f"{path} must be a whole Parquet file, but it is damaged ({_first_line(error)}); get it again"
        ) from error
    return _from_frame(frame)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
