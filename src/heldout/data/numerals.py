"""Numbers that a file holds as text, and what it writes where there is none."""

import re

import polars as pl

MISSING_MARKERS = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "#N/A", "-", "?", ".")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


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


def numbers_from_text(frame: pl.DataFrame, *, decimal_comma: bool) -> tuple[pl.DataFrame, list[str]]:
    """Turn each text column that holds numbers and missing markers only into numbers.

    Parameters
    ----------
    frame : polars DataFrame
        As read.
    decimal_comma : bool
        Whether a comma is the decimal sign.

    Returns
    -------
    frame : polars DataFrame
        The same columns.
    notes : list of str
        Which markers were read as missing.

    Examples
    --------
    >>> numbers_from_text(pl.DataFrame({"x": ["1.5", "-"]}), decimal_comma=False)[1]
    ["in column 'x', '-' was read as missing"]
    """
    notes = []
    for name in [name for name, kind in frame.schema.items() if kind == pl.String]:
        text = frame[name]
        if decimal_comma:
            text = text.str.replace(r"^(\s*[+-]?\d+),(\d+\s*)$", "${1}.${2}")
            head = parse_numbers(text.head(1000))[1]
            if 2 * head.sum() > len(head):  # a column of texts, which stay as they are
                continue
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
