"""The rows of a table in the order of series and time, and which column plays which part."""

from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np

from heldout.check import InputError
from heldout.data.calendar import Frequency, positions
from heldout.data.columns import BoolArray, Clock, Rows, read_levels
from heldout.data.series import IntArray
from heldout.data.sources import Source
from heldout.data.tables import Table
from heldout.data.times import Times, spoken


@dataclass(frozen=True)
class Roles:
    """Which column of a table plays which part.

    Parameters
    ----------
    targets, past, future, static : tuple of str
        Columns to forecast, and covariates known up to the present, known ahead, and constant within a series.
    time : str or None
        The column of times.
    times : Times or None
        What it holds.
    id : str or None
        The column that tells several series apart.
    """

    targets: tuple[str, ...]
    past: tuple[str, ...]
    future: tuple[str, ...]
    static: tuple[str, ...]
    time: str | None
    times: Times | None
    id: str | None


def arrange(source: Source, roles: Roles, duplicates: str, notes: list[str]) -> Clock:
    """Sort by series and time, and settle repeated times.

    Parameters
    ----------
    source : Source
        The table; without times, the series of one that was wide or has a test table are lined up at the end of training.
    roles : Roles
        The parts of its columns.
    duplicates : {"error", "mean", "last"}
        What a repeated time of a series does.
    notes : list of str
        What was done is added here.

    Returns
    -------
    Clock

    Raises
    ------
    InputError
        If a time occurs twice in a series and ``duplicates`` is "error", or in training and test rows.
    """
    table = source.table
    codes, ids = (
        (np.zeros(len(table.frame), np.int64), ("series",))
        if roles.id is None
        else read_levels(table, roles.id)
    )
    times = roles.times
    n_rows = len(codes)
    time = np.arange(n_rows, dtype=np.int64) if times is None else times.values
    order = None
    if not _ascending(codes, time).all():
        order = np.lexsort((time, codes))
        codes, time = codes[order], time[order]
        if not source.wide:
            notes.append(
                "the rows were sorted by time" if len(ids) == 1 else "the rows were sorted by series and time"
            )
    again = np.concatenate([[False], (np.diff(codes) == 0) & (np.diff(time) == 0)])
    rows = Rows(order, None)
    if again.any():
        timed = times is not None and not times.counted
        is_test = rows.pick(np.arange(n_rows)) >= source.n_train
        in_both = again & np.concatenate([[False], np.diff(is_test)])
        if duplicates == "error" or in_both.any():
            own = again & ~in_both
            wrong = own if duplicates == "error" and own.any() else in_both
            when = spoken(int(time[wrong][0])) if timed else str(time[wrong][0])
            _refuse_repeats(table, roles, rows, wrong, when, in_both=wrong is in_both)
        notes.append(
            f"{again.sum()} rows repeat a time of their series; {'their mean' if duplicates == 'mean' else 'the last'} was taken"
        )
        rows = _without_repeats(order, again, duplicates)
        codes, time = codes[~again], time[~again]
    offsets = np.searchsorted(codes, np.arange(len(ids) + 1)).astype(np.int64)
    if times is None:
        time = np.arange(len(codes)) - offsets[codes]
        if source.wide or source.has_test:
            n_train = np.bincount(codes[rows.pick(np.arange(n_rows)) < source.n_train], minlength=len(ids))
            time += (n_train.max() - n_train)[codes]
    return Clock(rows, time.astype(np.int64), offsets, ids, timed=times is not None and not times.counted)


def _ascending(codes: IntArray, time: IntArray) -> BoolArray:
    ahead = np.diff(codes)
    return (ahead > 0) | ((ahead == 0) & (np.diff(time) >= 0))


def _without_repeats(order: IntArray | None, again: BoolArray, duplicates: str) -> Rows:
    if duplicates == "mean":
        return Rows(order, np.flatnonzero(~again))
    last = np.flatnonzero(~np.concatenate([again[1:], [False]]))
    return Rows(last if order is None else order[last], None)


def _refuse_repeats(
    table: Table, roles: Roles, rows: Rows, again: BoolArray, when: str, *, in_both: bool
) -> None:
    row = int(again.argmax())
    first, second = table.place(rows.table_row(row - 1)), table.place(rows.table_row(row))
    found = f"{when} in column {roles.time!r} stands in {first} and {second}"
    if roles.id is None and again.mean() > 0.1 and roles.time is not None:
        free = [name for name in table.frame.columns if name not in (*roles.targets, roles.time)]
        likely = [name for name in free if _tells_apart(table.frame, roles.time, name)]
        if likely:
            raise InputError(
                f"one series must have each time once, but {found}; name the column that tells the series apart, perhaps id={likely[0]!r}"
            )
    if in_both:
        raise InputError(
            f"the test rows must follow all training rows and a series must have each time once, but {found} "
            f"({int(again.sum())} such rows); remove them from one of the two"
        )
    raise InputError(
        f"a series must have each time once, but {found} ({int(again.sum())} such rows); remove them, name the column that "
        f"tells several series apart with id=, or give duplicates='mean' or 'last'"
    )


def _tells_apart(frame: nw.DataFrame[Any], time: str, name: str) -> bool:
    kind = frame[name].dtype
    labels = kind.is_integer() or kind in (nw.String, nw.Categorical, nw.Enum, nw.Boolean)
    return labels and not bool(frame.select(time, name).is_duplicated().any())


def place_rows(clock: Clock, frequency: Frequency) -> IntArray:
    """Give each row's place on the calendar of its series (`heldout.data.calendar.positions`)."""
    place = np.empty(len(clock.time), np.int64)
    for start, stop in zip(clock.offsets[:-1], clock.offsets[1:], strict=True):
        place[start:stop] = positions(clock.time[start:stop], frequency)
    return place
