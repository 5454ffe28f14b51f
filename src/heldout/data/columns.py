"""Single columns of a table: brought into the rows of the series, read as numbers, and checked for what spoils a fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from heldout.check import InputError
from heldout.data.calendar import FloatArray, IntArray
from heldout.data.tables import Table, parse_numbers
from heldout.data.times import spoken

BoolArray = NDArray[np.bool_]

STEPS_COLUMN = "steps since previous row"

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_FLOAT32_DIGITS = 2**24


@dataclass(frozen=True, eq=False)
class Rows:
    """The way from the rows of the table to the rows of the series.

    Parameters
    ----------
    order : array of int64, optional
        The table's row numbers in the order of the series; None where they are in that order.
    starts : array of int64, optional
        The first of each group of rows to average, as places in ``order``; None where none are.

    Examples
    --------
    >>> rows = Rows(np.array([2, 0, 1]), np.array([0, 1]))
    >>> rows.gather(np.array([3.0, 5.0, 1.0])), rows.table_row(1)
    (array([1., 4.]), 0)
    """

    order: IntArray | None
    starts: IntArray | None

    def gather(self, values: FloatArray) -> FloatArray:
        """Give a column of the table in the rows of the series, each group's mean of what is not missing."""
        values = values if self.order is None else values[self.order]
        if self.starts is None:
            return values
        known = ~np.isnan(values)
        counts = np.add.reduceat(known.astype(np.int64), self.starts)
        totals = np.add.reduceat(np.where(known, values, 0.0), self.starts)
        return np.divide(totals, counts, out=np.full(len(counts), np.nan), where=counts > 0)

    def pick(self, values: NDArray[Any]) -> NDArray[Any]:
        """Give a column of the table in the rows of the series, the first value of each group."""
        values = values if self.order is None else values[self.order]
        return values if self.starts is None else values[self.starts]

    def table_row(self, row: int) -> int:
        """Give the row of the table, the first of its group, that a row of the series was made from."""
        row = row if self.starts is None else int(self.starts[row])
        return row if self.order is None else int(self.order[row])


@dataclass(frozen=True, eq=False)
class Clock:
    """The rows of the series in order, with their times.

    Parameters
    ----------
    rows : Rows
        Where they come from.
    time : array of shape (n_rows,), int64
        Microseconds since 1970-01-01 (UTC), or step numbers.
    offsets : array of shape (n_series + 1,), int64
        Series s holds the rows ``offsets[s]`` to ``offsets[s + 1] - 1``.
    ids : tuple of str
        The name of each series.
    timed : bool
        ``time`` holds times, not step numbers.
    """

    rows: Rows
    time: IntArray
    offsets: IntArray
    ids: tuple[str, ...]
    timed: bool

    @property
    def longest(self) -> int:
        """Rows of the longest series."""
        return int(np.diff(self.offsets).max())

    def few(self, least: int) -> list[str]:
        """Warn if no series has this many rows."""
        few = f"the longest series has {self.longest} rows; below {least}, trust the baselines rather than a network"
        return [few] if self.longest < least else []

    def when(self, row: int) -> str:
        """Say the time of a row, and its series where there are several."""
        series = int(np.searchsorted(self.offsets, row, side="right")) - 1
        which = f" of series {self.ids[series]!r}" if len(self.ids) > 1 else ""
        return f"{spoken(int(self.time[row]))}{which}" if self.timed else f"step {self.time[row]}{which}"

    def inside(self) -> BoolArray:
        """Say of each row but the first whether the row before belongs to the same series."""
        inside = np.ones(max(len(self.time) - 1, 0), bool)
        inside[self.offsets[1:-1] - 1] = False
        return inside


def listed(names: Sequence[str]) -> str:
    """Give the first eight names in one line, with dots where there are more.

    Parameters
    ----------
    names : sequence of str
        The names.

    Examples
    --------
    >>> listed("abc"), listed("abcdefghij")
    ('a, b, c', 'a, b, c, d, e, f, g, h, ...')
    """
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def read_levels(table: Table, name: str) -> tuple[IntArray, tuple[str, ...]]:
    """Give each row the number of its value among the distinct ones, sorted as text, and these.

    Parameters
    ----------
    table : Table
        The table.
    name : str
        The column: of labels of any type.

    Returns
    -------
    codes : array of shape (n_table_rows,), int64
        In the order of the table.
    levels : tuple of str
        The distinct values.

    Raises
    ------
    InputError
        If a value is missing.

    Examples
    --------
    >>> from heldout.data.tables import open_table
    >>> read_levels(open_table(pl.DataFrame({"shop": ["b", "a", "b"]})), "shop")
    (array([1, 0, 1]), ('a', 'b'))
    """
    column = table.frame[name]
    if column.dtype == nw.Categorical or column.dtype == nw.Enum:
        column = column.cast(nw.String)
    missing = column.is_null().to_numpy() | (column.is_nan().to_numpy() if column.dtype.is_float() else False)
    if missing.any():
        raise InputError(
            f"column {name!r} must have a value in every row, but is empty in {table.place(int(missing.argmax()))}; fill it in"
        )
    if column.dtype.is_float() and (column % 1 == 0).all():
        column = column.cast(nw.Int64)
    if column.dtype == nw.Object:
        values = [str(value) for value in column.to_list()]
        column = nw.from_native(pl.Series(name, values), series_only=True)
    levels = sorted(column.unique().to_list(), key=str)
    codes = column.replace_strict(levels, list(range(len(levels))), return_dtype=nw.Int64)
    return codes.to_numpy().astype(np.int64), tuple(map(str, levels))


def read_numbers(table: Table, name: str, notes: list[str]) -> FloatArray:
    """Give a column as float64, or say which value is no number.

    Parameters
    ----------
    table : Table
        The table.
    name : str
        The column: of numbers, of true and false, or of numbers written as text.
    notes : list of str
        What was inferred is added here.

    Returns
    -------
    array of shape (n_table_rows,), float64
        In the order of the table; NaN where a value is missing.

    Raises
    ------
    InputError
        If a value is neither a number nor missing.

    Examples
    --------
    >>> from heldout.data.tables import open_table
    >>> read_numbers(open_table(pl.DataFrame({"close": ["1.5", "NA"]})), "close", [])
    array([1.5, nan])
    """
    column = table.frame[name]
    kind = column.dtype
    if kind == nw.Boolean:
        notes.append(f"the true/false column {name!r} was read as 1 and 0")
    if kind.is_numeric() or kind == nw.Boolean:
        return column.cast(nw.Float64).to_numpy().astype(np.float64, copy=False)
    if column.is_null().all():
        return np.full(len(column), np.nan)
    if kind in (nw.String, nw.Categorical, nw.Enum, nw.Object):
        return _numbers_in_text(table, name, notes)
    raise InputError(
        f"column {name!r} must hold numbers, but holds {kind}; name it in time, or leave it out with ignore={name!r}"
    )


def _numbers_in_text(table: Table, name: str, notes: list[str]) -> FloatArray:
    values = table.frame[name].to_list()
    text = pl.Series(
        [None if value is None or value != value else str(value) for value in values], dtype=pl.String
    )
    numbers, wrong = parse_numbers(text)
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        found = f"{values[row]!r} in {table.place(row)}"
        if wrong.sum() < 0.5 * len(text):
            raise InputError(
                f"column {name!r} must hold numbers, but holds {found}; correct it, or leave the column out with ignore={name!r}"
            )
        raise InputError(
            f"column {name!r} must hold numbers, but holds text ({found}); name it in static or id, or leave it out with ignore={name!r}"
        )
    notes.append(f"column {name!r} holds numbers written as text and was read as numbers")
    return numbers.cast(pl.Float64).fill_null(np.nan).to_numpy()


@dataclass(frozen=True, eq=False)
class ColumnCheck:
    """Refuse the values of one column that would spoil a fit, and note those that weaken it.

    Parameters
    ----------
    name : str
        The column.
    table : Table
        The table, for the places that errors name.
    clock : Clock
        The rows of the series.
    is_target : bool
        The column is to be forecast.
    may_stay : bool
        A target may be the same in every row.
    may_miss : bool
        A value may be missing.
    """

    name: str
    table: Table
    clock: Clock
    is_target: bool
    may_stay: bool
    may_miss: bool

    def notes(self, values: FloatArray, open_rows: BoolArray) -> list[str]:
        """Give the notes on the column's values.

        Parameters
        ----------
        values : array of shape (n_rows,), float64
            The values in the rows of the series; NaN where one is missing.
        open_rows : array of shape (n_rows,), bool
            Where one may be missing whatever was asked for.

        Raises
        ------
        InputError
            If a value is missing, infinite or beyond float32, or a target that may not stay the same does.
        """
        missing: BoolArray = np.isnan(values)
        self._refuse(
            np.abs(values) > _FLOAT32_MAX,
            values,
            "must hold numbers that float32 can hold",
            "correct or rescale it",
        )
        if missing.all():
            raise InputError(
                f"column {self.name!r} must hold numbers, but every row is empty; leave it out with ignore={self.name!r}"
            )
        holes = missing & ~open_rows
        notes = []
        if not self.may_miss:
            self._refuse(holes, values, "must have no missing value", "fill it in, or say missing=fill")
        elif holes.any():
            notes.append(
                f"column {self.name!r} misses {int(holes.sum())} of {len(values)} values, filled in by the fit"
            )
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        if low == high:
            if self.is_target and not self.may_stay:
                raise InputError(
                    f"a target must change, but column {self.name!r} is {low:g} in every row; name another target"
                )
            if not self.is_target and self.name != STEPS_COLUMN:
                notes.append(f"column {self.name!r} is {low:g} in every row and tells the model nothing")
        elif max(-low, high) > _FLOAT32_DIGITS and not np.count_nonzero(values[~missing] % 1):
            notes.append(
                f"column {self.name!r} holds whole numbers up to {max(-low, high):.15g}; beyond 2**24, float32 loses their last digits"
            )
        return notes

    def _refuse(self, wrong: BoolArray, values: FloatArray, rule: str, way_out: str) -> None:
        if not wrong.any():
            return
        row = int(wrong.argmax())
        shown = "is empty" if np.isnan(values[row]) else f"is {values[row]:g}"
        more = f" ({int(wrong.sum())} such rows)" if wrong.sum() > 1 else ""
        where = f"{self.table.place(self.clock.rows.table_row(row))} ({self.clock.when(row)})"
        leave = "" if self.is_target else f", or leave the column out with ignore={self.name!r}"
        raise InputError(f"column {self.name!r} {rule}, but {shown} in {where}{more}; {way_out}{leave}")


def read_static(
    table: Table, names: tuple[str, ...], clock: Clock, notes: list[str]
) -> tuple[FloatArray, tuple[str, ...]]:
    """Give one row of numbers for each series.

    Parameters
    ----------
    table : Table
        The table.
    names : tuple of str
        The columns; one of labels becomes a column of 0 and 1 for each distinct label.
    clock : Clock
        The rows of the series.
    notes : list of str
        What was inferred is added here.

    Returns
    -------
    values : array of shape (n_series, n_static), float64
        The numbers, series in the order of the clock.
    names : tuple of str
        Their names.

    Raises
    ------
    InputError
        If a value is missing, no finite number in float32, or changes within a series.

    Examples
    --------
    >>> from heldout.data.tables import open_table
    >>> table = open_table(pl.DataFrame({"shop": ["a", "b", "b"], "area": [5, 7, 7]}))
    >>> clock = Clock(Rows(None, None), np.array([0, 0, 1]), np.array([0, 1, 3]), ("a", "b"), timed=False)
    >>> read_static(table, ("area",), clock, [])
    (array([[5.],
           [7.]]), ('area',))
    """
    columns: dict[str, FloatArray] = {}
    for name in names:
        kind = table.frame[name].dtype
        if kind.is_numeric():
            columns[name] = _one_per_series(table, name, read_numbers(table, name, notes), clock)
            continue
        codes, levels = read_levels(table, name)
        code = _one_per_series(table, name, codes.astype(np.float64), clock)
        columns |= {f"{name}={level}": (code == k).astype(np.float64) for k, level in enumerate(levels)}
        notes.append(f"static column {name!r} became {len(levels)} columns of 0 and 1: {listed(levels)}")
    if not columns:
        return np.zeros((len(clock.ids), 0)), ()
    return np.stack(list(columns.values()), axis=1), tuple(columns)


def _one_per_series(table: Table, name: str, values: FloatArray, clock: Clock) -> FloatArray:
    picked = clock.rows.pick(values)
    wrong = ~np.isfinite(picked) | (np.abs(picked) > _FLOAT32_MAX)
    if wrong.any():
        raise InputError(
            f"static column {name!r} must hold a number in every row, but {table.place(clock.rows.table_row(int(wrong.argmax())))} has none; fill it in"
        )
    changed = clock.inside() & (np.diff(picked) != 0)
    if changed.any():
        row = int(changed.argmax()) + 1
        where = f"{table.place(clock.rows.table_row(row))} ({clock.when(row)})"
        raise InputError(
            f"static column {name!r} must be the same within a series, but changes in {where}; name it in past instead"
        )
    return picked[clock.offsets[:-1]]
