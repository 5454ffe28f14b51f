"""A wide table, one series per row, turned into one value per row."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import narwhals as nw
import numpy as np
import polars as pl

from heldout.check import InputError
from heldout.data.columns import read_levels, read_numbers
from heldout.data.series import IntArray
from heldout.data.tables import Table
from heldout.data.times import read_times

SERIES, VALUE, TIME = "series", "value", "time"
"""The columns of the table that `unpivot` gives; the last only where the header holds times."""

_FEWEST_VALUES = 10  # columns of numbers that a table must have to be taken for wide without being told
_COUNTED = re.compile(r"(.*\D|)(\d+)")
_YEAR = re.compile(r"(?<!\d)(1[6-9]|20)\d\d(?!\d)")


@dataclass(frozen=True, eq=False, kw_only=True)
class Cells(Table):
    """A table made of the cells of another one.

    Parameters
    ----------
    origin : Table
        The wide table.
    row, column : array of shape (n_rows,), int64
        Where each row's value stands in ``origin``.
    """

    origin: Table
    row: IntArray
    column: IntArray

    def place(self, row: int) -> str:
        """Say in which line and column of the wide table a row's value stands."""
        name = self.origin.frame.columns[self.column[row]]
        return f"{self.origin.place(int(self.row[row]))}, column {name!r}"


def is_wide(table: Table) -> bool:
    """Whether a table looks as if each row were a series: ids first, then ten or more columns of numbers, counted or timed.

    Parameters
    ----------
    table : Table
        Any table.

    Returns
    -------
    bool
        True if the first column holds unique texts, not all with a year in them, and the names of the others are times,
        or one word with consecutive numbers behind it (V2, V3, ...), or such numbers.

    Examples
    --------
    >>> from heldout.data.tables import open_table
    >>> values = {f"V{k}": [1.0, 2.0] for k in range(2, 14)}
    >>> is_wide(open_table(pl.DataFrame({"V1": ["a", "b"], **values})))
    True
    >>> is_wide(open_table(pl.DataFrame({"V1": ["2020-01-01", "2020-01-02"], **values})))
    False
    """
    first, *rest = table.frame.columns
    ids = table.frame[first]
    if len(rest) < _FEWEST_VALUES or ids.dtype not in (nw.String, nw.Categorical, nw.Enum):
        return False
    if ids.is_null().any() or ids.is_duplicated().any():
        return False
    if not all(table.frame[name].dtype.is_numeric() or table.frame[name].is_null().all() for name in rest):
        return False
    # Weeks and quarters ("2020-W05") are no times that are read, and no ids either.
    if read_times(ids, table.place, asked=False) is not None or all(map(_YEAR.search, ids.to_list())):
        return False
    return _are_counted(rest) or _are_times(table, rest)


def _are_counted(names: Sequence[str]) -> bool:
    found = [_COUNTED.fullmatch(name) for name in names]
    parts = [(match[1], int(match[2])) for match in found if match]
    return parts == [(parts[0][0], parts[0][1] + k) for k in range(len(names))] if parts else False


def _are_times(table: Table, names: Sequence[str]) -> bool:
    header = nw.from_native(pl.Series(TIME, names), series_only=True)
    return read_times(header, table.place, asked=False) is not None


def series_first(table: Table, name: str | None, left_out: Sequence[str]) -> Table:
    """Give a wide table with its column of ids in front, and without some of the others.

    Parameters
    ----------
    table : Table
        One series per row.
    name : str or None
        The column of ids; the first one if None, or if there is none of that name.
    left_out : sequence of str
        Columns that hold no values of the series; the table may lack them.

    Examples
    --------
    >>> from heldout.data.tables import open_table
    >>> table = open_table(pl.DataFrame({"region": ["N"], "shop": ["a"], "V1": [1.0]}))
    >>> series_first(table, "shop", ["region"]).frame.columns
    ['shop', 'V1']
    """
    columns = table.frame.columns
    free = [column for column in columns if column not in left_out]
    first = name if name in columns else (free or columns)[0]
    return replace(table, frame=table.frame.select(first, *(column for column in free if column != first)))


def unpivot(table: Table) -> Cells:
    """Give a wide table as one value per row, with the columns ``series`` and ``value``, and ``time`` if the header has times.

    Empty cells before a series' first value and after its last are left out; those between stay, missing.

    Parameters
    ----------
    table : Table
        The first column names the series, all others hold their values in order of time.

    Returns
    -------
    Cells
        With a note that says what was understood.

    Raises
    ------
    InputError
        If an id is missing or occurs twice, a cell is no number, or a row has no value.

    Examples
    --------
    >>> from heldout.data.tables import open_table
    >>> cells = unpivot(open_table(pl.DataFrame({"id": ["a", "b"], "1": [1.0, 5.0], "2": [2.0, None]})))
    >>> cells.frame["series"].to_list(), cells.frame["value"].to_list(), cells.place(2)
    (['a', 'a', 'b'], [1.0, 2.0, 5.0], "row 1, column '1'")
    """
    first, *rest = table.frame.columns
    if not rest:
        raise InputError(
            f"a wide table needs ids and then values, but has column {first!r} alone; give layout='long'"
        )
    codes, levels = read_levels(table, first)
    if len(levels) < len(codes):
        again = int(np.flatnonzero(np.bincount(codes) > 1)[0])
        a, b, *_ = (table.place(int(row)) for row in np.flatnonzero(codes == again))
        raise InputError(
            f"in a wide table each row is a series with an id of its own, but {levels[again]!r} in column {first!r} stands in "
            f"{a} and {b}; correct the ids, or name columns for a table with one row per time"
        )
    notes: list[str] = []
    values = np.column_stack([read_numbers(table, name, notes) for name in rest])
    known = ~np.isnan(values)
    if not known.any(axis=1).all():
        empty = int((~known.any(axis=1)).argmax())
        raise InputError(
            f"every series must have a value, but {levels[codes[empty]]!r} in {table.place(empty)} has none; remove it"
        )
    inside = np.logical_or.accumulate(known, axis=1)
    inside &= np.logical_or.accumulate(known[:, ::-1], axis=1)[:, ::-1]
    row, column = np.nonzero(inside)
    columns = {SERIES: np.array(levels, dtype=object)[codes[row]], VALUE: values[inside]}
    timed = _are_times(table, rest)
    if timed:
        columns[TIME] = np.array(rest, dtype=object)[column]
    counts = inside.sum(axis=1)
    notes.append(_understood(first, counts, timed=timed))
    frame = nw.from_native(pl.DataFrame(columns), eager_only=True)
    return Cells(
        frame=frame, notes=(*table.notes, *notes), origin=table, row=row, column=column.astype(np.int64) + 1
    )


def _understood(first: str, counts: IntArray, *, timed: bool) -> str:
    few, many = int(counts.min()), int(counts.max())
    how_many = f"{few} to {many}" if few < many else str(few)
    times = "the header holds the times" if timed else "no times, so rows are counted from the end"
    return (
        f"one series per row: {len(counts)} series of {how_many} values, named by column {first!r}; {times}"
    )
