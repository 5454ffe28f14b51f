"""Delimited text cut into columns: separator, quoting, decimal sign and header are found out, and said."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from heldout.check import InputError
from heldout.data.numerals import MISSING_MARKERS, NUMBER, numbers_from_text

_SAMPLE_BYTES = 1 << 16
_CHUNK_BYTES = 1 << 24
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}([-/.]\d{1,4})?([T ].*)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
# A field between tabs that holds a quotation mark, but not as CSV has it: one at each end, those inside doubled.
_STRAY_QUOTE = re.compile(rb'(?<![^\t\n])(?!"(?:[^"\t\r\n]|"")*"(?=[\t\r\n]|\Z))[^\t\n"]*"')
_LABELLED = ("column_1", "column_2")


def read_delimited(
    path: Path, data: bytes, columns: Sequence[str] = ()
) -> tuple[pl.DataFrame, list[str], int | None]:
    r"""Give the table in delimited text, notes of what was inferred, and the line that holds its first row.

    Fields are cut at tabs, semicolons, vertical bars or commas, by the rules of CSV. Between tabs a quotation mark may also
    be a character like any other: it is where one of them does not enclose a field of its line.

    Parameters
    ----------
    path : Path
        The file, for errors.
    data : bytes
        Its content as UTF-8.
    columns : sequence of str
        Columns that will be asked for. One such as ``"column_2"``, where no column is called so, says that the first row is data
        and no header; if no separator cuts the file, its lines are then a label, a blank and a text each.

    Returns
    -------
    frame : polars DataFrame
        With at least one row.
    notes : list of str
        One sentence each.
    first_line : int or None
        None if some row has more lines than one.

    Raises
    ------
    InputError
        If there are no rows, a line has another number of fields, or a name or quotation mark is wrong.

    Examples
    --------
    >>> frame, notes, _ = read_delimited(Path("sms.txt"), b'ham\tI said "no\nspam\tWin!\n', ["column_1", "column_2"])
    >>> frame["column_2"].to_list()
    ['I said "no', 'Win!']
    >>> notes[0]
    'fields are separated by tabs'
    """
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
    if separator is None and _LABELLED[1] in columns:
        return _labelled(path, data, first_line)
    labelled = separator is None and _looks_labelled(sample[_LITERAL_TAB])
    separator = separator or max(",;\t|", key=lambda s: len(sample[s][0]))
    stray = _stray_quote(data) if separator == "\t" else None
    rows = sample[separator if stray is None else _LITERAL_TAB]
    notes = [] if separator == "," or len(rows[0]) == 1 else [f"fields are separated by {_spoken(separator)}"]
    if stray is not None:
        notes.append(
            f"quotation marks are read as characters of the text, since those in line {stray + first_line} enclose no whole field"
        )
    in_order = _check_lines(path, data, separator, first_line, quoted=stray is None, labelled=labelled)
    frame, has_header, found = _cut(path, data, separator, rows, columns, quoted=stray is None)
    return frame, notes + found, first_line + has_header if in_order else None


def _cut(
    path: Path, data: bytes, separator: str, sample: list[list[str]], columns: Sequence[str], *, quoted: bool
) -> tuple[pl.DataFrame, bool, list[str]]:
    """The columns of a text whose lines are found to be even, and whether its first line names them."""
    decimal_comma = separator != "," and _has_decimal_comma(sample)
    names, has_header, header_notes = _header(path, sample[0], columns, decimal_comma=decimal_comma)
    try:
        frame = pl.read_csv(
            io.BytesIO(data),
            separator=separator,
            quote_char='"' if quoted else None,
            has_header=has_header,
            new_columns=names,
            infer_schema_length=None,
            decimal_comma=decimal_comma,
        )
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"{path} cannot be read as a table: {_first_line(error)}; look for stray quotation marks: inside a field they must be "
            "doubled, or the fields separated by tabs"
        ) from error
    if not len(frame):
        raise InputError(f"a table must have rows, but {path} holds a header only")
    frame, marker_notes = numbers_from_text(frame, decimal_comma=decimal_comma)
    comma = ["a comma is the decimal sign"] if decimal_comma else []
    return frame, has_header, [*comma, *header_notes, *marker_notes]


def _labelled(path: Path, data: bytes, first_line: int) -> tuple[pl.DataFrame, list[str], int]:
    """Lines of a label, one blank and a text."""
    pairs = [line.rstrip("\r").partition(" ") for line in data.decode().removesuffix("\n").split("\n")]
    wrong = next((number for number, (label, blank, _) in enumerate(pairs) if not (label and blank)), None)
    if wrong is not None:
        raise InputError(
            f"every line must be a label, one blank and a text, as {path} has no other separator, but line {wrong + first_line} "
            f"is {''.join(pairs[wrong])!r:.50}; correct it"
        )
    frame = pl.DataFrame(
        {name: [pair[place] for pair in pairs] for name, place in zip(_LABELLED, (0, 2), strict=True)}
    )
    frame, notes = numbers_from_text(frame, decimal_comma=False)
    said = f"each line is read as a label ({_LABELLED[0]}), one blank and a text ({_LABELLED[1]})"
    return frame, [said, *notes], first_line


_LITERAL_TAB = "\t, quotation marks being text"


def _sniff(data: bytes) -> tuple[str | None, dict[str, list[list[str]]]]:
    """Give the separator that cuts every line at the head of the file into equally many fields, and the lines as each cuts them."""
    text = data[:_SAMPLE_BYTES].decode(errors="ignore")
    cut = len(data) > _SAMPLE_BYTES
    rows = {}
    for separator in ("\t", ";", "|", ",", _LITERAL_TAB):
        lines = (
            [line.rstrip("\r").split("\t") for line in text.removesuffix("\n").split("\n")]
            if separator == _LITERAL_TAB
            else list(csv.reader(io.StringIO(text), delimiter=separator))
        )
        rows[separator] = (lines[:-1] if cut and len(lines) > 1 else lines)[:100]
    even = [s for s in rows if len(rows[s][0]) > 1 and len({len(line) for line in rows[s]}) == 1]
    if cut and even and len(rows[even[0]]) == 1:  # one line that is longer than the sample says too little
        even = [s for s in even if _is_even(_field_counts(data, s[0], quoted=s != _LITERAL_TAB))]
    best = next(iter(even), None)
    return best and best[0], rows


def _stray_quote(data: bytes) -> int | None:
    """The number, from 0, of a line whose quotation marks are characters of the text, if it has any and tabs cut all lines alike."""
    found = _STRAY_QUOTE.search(data) if b'"' in data else None
    if found is None:
        return None
    even = _is_even(_field_counts(data, "\t", quoted=False))
    return data.count(b"\n", 0, found.start()) if even else None


def _is_even(counts: tuple[NDArray[np.int64], NDArray[np.int64]] | None) -> bool:
    return counts is not None and bool((counts[0] == counts[0][0]).all())


def _spoken(separator: str) -> str:
    return {"\t": "tabs", ";": "semicolons", "|": "vertical bars", ",": "commas"}[separator]


def _has_decimal_comma(sample: list[list[str]]) -> bool:
    fields = [field.strip() for line in sample for field in line]
    points = any("." in field and NUMBER.fullmatch(field) for field in fields)
    return not points and any(_DECIMAL_COMMA.fullmatch(field) for field in fields)


def _header(
    path: Path, first: list[str], columns: Sequence[str], *, decimal_comma: bool
) -> tuple[list[str], bool, list[str]]:
    fields = [field.strip() for field in first]
    by_number = [f"column_{k + 1}" for k in range(len(fields))]
    plain = [field.replace(",", ".") if decimal_comma else field for field in fields]
    numbers = [bool(NUMBER.fullmatch(field)) for field in plain]
    values = [
        number or field in MISSING_MARKERS or bool(_DATE.fullmatch(field))
        for number, field in zip(numbers, plain, strict=True)
    ]
    if any(numbers) and all(values):
        note = f"the first row holds numbers, so the columns are named column_1 to column_{len(fields)}"
        return by_number, False, [note]
    names = [field or f"column_{k + 1}" for k, field in enumerate(fields)]
    asked = next((name for name in columns if name in by_number and name not in names), None)
    if asked is not None:
        note = f"no column is called {asked!r}, so the first row is read as data and the columns are numbered"
        return by_number, False, [note]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise InputError(
            f"column names must be unique, but {path} has {names.count(repeated[0])} columns named {repeated[0]!r}; rename them"
        )
    unnamed = [k + 1 for k, field in enumerate(fields) if not field]
    notes = [f"column {k} has no name and is called column_{k}" for k in unnamed]
    spaced = [name for name, written in zip(fields, first, strict=True) if name != written]
    return names, True, notes + [f"spaces around the name of column {name!r} are left out" for name in spaced]


def _check_lines(
    path: Path, data: bytes, separator: str, first_line: int, *, quoted: bool, labelled: bool
) -> bool:
    """Raise unless each row has as many fields as the first; True if each row stands on one line."""
    way_out = f"; if each line is a label, a blank and a text, name the columns {' and '.join(_LABELLED)}"
    counts = _field_counts(data, separator, quoted=quoted)
    if counts is None:
        raise InputError(
            f'{path} must close every quotation mark, but one is left open; look for a field with a single ": inside a field it must be '
            f"doubled, or the fields separated by tabs{way_out * labelled}"
        )
    widths, lines = counts
    ragged = np.flatnonzero(widths != widths[0])
    if len(ragged):
        row = int(ragged[0])
        enclose = f", or put quotation marks around a field that holds {_spoken(separator)}"
        raise InputError(
            f"every line must have as many fields as the first, but line {lines[row] + first_line} of {path} has "
            f"{widths[row]} and the first has {widths[0]}; correct that line{way_out if labelled else enclose}"
        )
    return bool(lines[-1] == len(lines) - 1)


def _looks_labelled(sample: list[list[str]]) -> bool:
    """Whether all lines hold a blank, and few different words before it."""
    pairs = ["\t".join(fields).partition(" ") for fields in sample]
    return all(label and blank for label, blank, _ in pairs) and 4 * len({pair[0] for pair in pairs}) <= len(
        pairs
    )


def _field_counts(
    data: bytes, separator: str, *, quoted: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Fields in each row, and the number of line ends before it; what stands in quotation marks ends neither, None if one is open."""
    separators_before, lines_before = [], []
    n_separators, n_lines, is_open = 0, 0, False
    for start in range(0, len(data), _CHUNK_BYTES):
        block = np.frombuffer(data, np.uint8, min(_CHUNK_BYTES, len(data) - start), start)
        line_end, is_separator = block == ord("\n"), block == ord(separator)
        all_ends = np.flatnonzero(line_end)
        quotes = block == ord('"')
        if quoted and (is_open or quotes.any()):
            inside = np.logical_xor.accumulate(quotes) ^ is_open
            is_open = bool(inside[-1])
            line_end, is_separator = line_end & ~inside, is_separator & ~inside
        ends, cuts = np.flatnonzero(line_end), np.flatnonzero(is_separator)
        separators_before.append(n_separators + np.searchsorted(cuts, ends))
        lines_before.append(n_lines + 1 + np.searchsorted(all_ends, ends))
        n_separators, n_lines = n_separators + len(cuts), n_lines + len(all_ends)
    if is_open:
        return None
    totals = np.concatenate([[0], *separators_before, [n_separators]])
    lines = np.concatenate([[0], *lines_before]).astype(np.int64)
    n_rows = len(lines) - data.endswith(b"\n")
    return np.diff(totals)[:n_rows] + 1, lines[:n_rows]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
