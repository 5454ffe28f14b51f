"""`Part`: y, exog or future as the user gave it, read into numbers, times and ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from heldout.check import InputError
from heldout.data.columns import read_levels, read_numbers
from heldout.data.series import FloatArray, IntArray
from heldout.data.tables import Table, open_table
from heldout.data.times import Times, read_times


@dataclass(frozen=True, eq=False)
class Part:
    """One of y, exog and future: its numbers, and whose they are as far as it says.

    Attributes
    ----------
    what : str
        ``"y"``, ``"exog"`` or ``"future"``.
    names : tuple of str
        Columns of ``values``.
    values : array of shape (n_rows, n_columns)
        NaN where missing.
    time : array of shape (n_rows,), int64, or None
        Microseconds since 1970, or step numbers; None where the table has no times.
    time_name : str or None
        Their column.
    timed : bool
        ``time`` holds times.
    ids : array of str or None
        The series of each row.
    static : dict of str to list
        A value for each row.
    notes : tuple of str
        What was inferred.
    """

    what: str
    names: tuple[str, ...]
    values: FloatArray
    time: IntArray | None = None
    time_name: str | None = None
    timed: bool = False
    ids: Any = None
    static: dict[str, list[Any]] | None = None
    notes: tuple[str, ...] = ()


def read_part(
    source: object,
    what: str,
    *,
    time: str | None = None,
    id: str | None = None,  # noqa: A002 - the word that users have for it
    static: Sequence[str] = (),
    ignore: Sequence[str] = (),
    names: Sequence[str] = (),
) -> Part:
    """Read y, exog or future.

    Parameters
    ----------
    source : array, series, data frame or path
        Numbers, of shape (n,) or (n, K), or a table that may also have times, ids and static columns.
    what : {"y", "exog", "future"}
        Names the columns of an array, and the errors.
    time : str, optional
        The column of times. By default the first of y that holds dates, and of others the first of dates or datetimes.
    id : str, optional
        The column of ids.
    static, ignore : sequence of str
        Columns that do not change within a series, and columns to leave out.
    names : sequence of str
        What the columns of an array are called, if there are as many.

    Returns
    -------
    Part

    Raises
    ------
    InputError
        If it is nothing of these, or a column is missing or holds no numbers.
    """
    table = _open(source, what, names)
    notes = list(table.notes)
    columns = list(table.frame.columns)
    if what == "y":
        for name in (*([id] if id else []), *([time] if time else []), *static, *ignore):
            if name not in columns:
                raise InputError(f"y must have the column {name!r} that the forecaster names, got {columns}")
    elif time not in columns:
        time = next((n for n in columns if table.frame[n].dtype in (nw.Date, nw.Datetime)), None)
    ids = None
    if id is not None and id in columns:
        codes, levels = read_levels(table, id)
        ids = np.array(levels, dtype=object)[codes]
    free = [name for name in columns if name not in (id, time, *static, *ignore)]
    times = read_times(table.frame[time], table.place) if time is not None else None
    if times is None and what == "y":
        time, times = _find_times(table, free)
    numbers = tuple(name for name in free if name != time)
    if not numbers:
        raise InputError(f"{what} must have a column of numbers beside time and id, got {columns}")
    return Part(
        what,
        numbers,
        np.stack([read_numbers(table, name, notes) for name in numbers], axis=1),
        times.values if times else None,
        time if times else None,
        times is not None and not times.counted,
        ids,
        {
            name: [_plain(value) for value in table.frame[name].to_list()]
            for name in static
            if name in columns
        },
        (*notes, *(times.notes if times else ())),
    )


def _find_times(table: Table, names: Sequence[str]) -> tuple[str | None, Times | None]:
    for name in names:
        times = read_times(table.frame[name], table.place, asked=False)
        if times is not None:
            return name, times
    return None, None


def _plain(value: Any) -> float | str | None:
    """What a static column holds, as JSON can hold it."""
    if value is None or isinstance(value, str):
        return value
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _open(source: object, what: str, names: Sequence[str]) -> Table:
    if isinstance(source, str | Path):
        return open_table(source)
    native = nw.from_native(source, pass_through=True, allow_series=True)
    if isinstance(native, nw.Series):
        named = isinstance(native.name, str) and native.name != ""
        name = native.name if named else _array_names(what, 1, names)[0]
        return open_table(native.alias(name).to_frame().to_native())
    if isinstance(native, nw.DataFrame | nw.LazyFrame):
        return open_table(source)
    try:
        values = np.asarray(source, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{what} must be an array of numbers, a series or a data frame, got {type(source).__name__}"
        ) from error
    if values.ndim not in (1, 2) or not values.size:
        raise InputError(
            f"{what} must have shape (n,) or (n, K) with a row at least, got an array of shape {values.shape}"
        )
    values = values.reshape(len(values), -1)
    names = _array_names(what, values.shape[1], names)
    return open_table(pl.DataFrame({name: values[:, k] for k, name in enumerate(names)}))


def _array_names(what: str, count: int, names: Sequence[str]) -> Sequence[str]:
    if len(names) == count:
        return names
    return [what] if count == 1 else [f"{what}{number}" for number in range(1, count + 1)]
