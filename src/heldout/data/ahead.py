"""Beyond the end of the series: the rows that a forecast is about, and the long table that holds forecasts."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from heldout.check import InputError
from heldout.data.calendar import calendar_features, positions, times_after
from heldout.data.columns import STEPS_COLUMN
from heldout.data.prepare import Prepare
from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.data.times import spoken

_NO_IDS = ("series",)  # what a table without ids is read as


def with_rows_ahead(data: SeriesData, prepare: Prepare) -> tuple[SeriesData, IntArray]:
    """Add, behind each series, the rows that its forecast is about, and give the origin of that forecast.

    Rows whose targets are missing at the end of a series are taken as such rows; where there are fewer than the
    horizon, rows are added at the next times of the calendar, with their calendar features.

    Rows that are there must be one step of the calendar apart, from the origin on; less than half a step of straying is
    none. Business days, and series whose steps were uneven in training, may skip up to ``max_gap`` steps, since no
    calendar here knows holidays.

    Parameters
    ----------
    data : SeriesData
        As read.
    prepare : Prepare
        Of the model: it says whether steps were uneven in training.

    Returns
    -------
    data : SeriesData
        With ``horizon`` rows after each origin.
    origins : array of shape (n_series,), int64

    Raises
    ------
    InputError
        If a series has no known target, a row to forecast is not at the next time of the calendar, or a covariate known
        ahead is missing there.
    """
    known = np.asarray(~np.isnan(data.values[:, data.indices(data.targets)]).any(axis=1))
    values: list[FloatArray] = []
    times: list[IntArray] = []
    origins: list[int] = []
    sizes: list[int] = []
    for name, start, stop in zip(data.ids, data.offsets[:-1], data.offsets[1:], strict=True):
        seen = np.flatnonzero(known[start:stop])
        if not len(seen):
            raise InputError(f"series {name!r} has no row with a known target: give its past")
        origin = int(start + seen[-1])
        lacking = max(0, data.horizon - (stop - 1 - origin))
        ahead = times_after(int(data.time[stop - 1]), lacking, data.frequency)
        origins.append(sum(sizes) + origin - start)
        sizes.append(stop - start + lacking)
        values += [data.values[start:stop], _empty_rows(data, ahead)]
        times += [data.time[start:stop], ahead]
    time = np.concatenate(times)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    longer = replace(
        data,
        values=np.concatenate(values),
        time=time,
        position=_positions(data, time, offsets),
        offsets=offsets,
    )
    rows = np.array(origins, dtype=np.int64)
    _check_times_ahead(longer, rows, prepare)
    _check_known_ahead(longer, rows)
    return longer, rows


def long_table(data: SeriesData, rows: IntArray, columns: dict[str, FloatArray]) -> pl.DataFrame:
    """Give a table with a row per origin, step and target.

    Parameters
    ----------
    data : SeriesData
        The series, the rows ahead included.
    rows : array of shape (n,), int64
        Origins.
    columns : dict of str to array of shape (n, S, K)
        What is told.

    Returns
    -------
    polars.DataFrame
        ``series`` (if they have names), ``origin``, ``time``, ``step``, ``target``, and the columns.
    """
    n, steps, targets = len(rows), len(data.steps), len(data.targets)
    table: dict[str, Any] = name_series(data, rows, steps * targets)
    table |= {
        "origin": _stamps(np.repeat(data.time[rows], steps * targets), data),
        "time": _stamps(np.repeat(data.time[rows[:, None] + data.steps], targets), data),
        "step": np.tile(np.repeat(data.steps, targets), n),
        "target": np.tile(np.array(data.targets, dtype=object), n * steps),
    }
    return pl.DataFrame(table | {name: value.reshape(-1) for name, value in columns.items()})


def name_series(data: SeriesData, rows: IntArray, times: int) -> dict[str, Any]:
    """Give the column ``series`` of a long table, or no column where the one series has no name.

    Parameters
    ----------
    data : SeriesData
        The series.
    rows : array of shape (n,), int64
        Rows of it.
    times : int
        How often each row comes.
    """
    if tuple(data.ids) == _NO_IDS:
        return {}
    return {"series": np.repeat(np.array(data.ids, dtype=object)[data.series_of_row[rows]], times)}


def check_long_enough(data: SeriesData, rows: IntArray, need: int) -> None:
    """Raise `InputError` unless as many rows of the past, without a hole, end at each origin.

    Parameters
    ----------
    data : SeriesData
        The series.
    rows : array of shape (n_series,), int64
        The origin in each series.
    need : int
        Rows.
    """
    starts = data.segment_offsets
    for name, row in zip(data.ids, rows, strict=True):
        have = int(row + 1 - starts[np.searchsorted(starts, row, side="right") - 1])
        if have < need:
            raise InputError(
                f"a forecast needs {need} rows of the past at steps of one {data.frequency.name}, without a hole; series {name!r} has {have} up to its last known target: "
                "give more of it"
            )


def _empty_rows(data: SeriesData, time: IntArray) -> FloatArray:
    rows = np.full((len(time), len(data.columns)), np.nan)
    features, names = calendar_features(time, data.frequency)
    for number, name in enumerate(names):
        if name in data.future:
            rows[:, data.columns.index(name)] = features[:, number]
    return rows


def _positions(data: SeriesData, time: IntArray, offsets: IntArray) -> IntArray:
    return np.concatenate([positions(time[a:b], data.frequency) for a, b in pairwise(offsets)])


def _check_times_ahead(data: SeriesData, rows: IntArray, prepare: Prepare) -> None:
    fewest, most = 1.0, 1
    if STEPS_COLUMN in prepare.columns:
        fewest, most = prepare.minima[prepare.columns.index(STEPS_COLUMN)], data.max_gap
    elif data.frequency.unit == "business day":
        most = data.max_gap
    window = rows[:, None] + np.arange(data.horizon + 1)
    if data.frequency.unit in ("row", "microsecond"):
        steps = np.diff(data.time[window]) / data.frequency.step
    else:
        steps = np.diff(data.position[window])
    wrong = (steps <= fewest - 0.5) | (steps >= most + 0.5)
    if wrong.any():
        series, step = np.unravel_index(int(wrong.argmax()), wrong.shape)
        here, found = (int(data.time[window[series, step + k]]) for k in (0, 1))
        expected = int(times_after(here, 1, data.frequency)[0])
        here_, found_, expected_ = (
            str(time) if data.frequency.name == "row" else spoken(time) for time in (here, found, expected)
        )
        also = f" or at most {most} steps after it" if most > 1 else ""
        raise InputError(
            f"rows to forecast must go on along the calendar: after {here_} the next is {expected_}{also}, but series "
            f"{data.ids[series]!r} has {found_}; correct its time, or add the rows between"
        )


def _check_known_ahead(data: SeriesData, rows: IntArray) -> None:
    for name in data.future:
        column = data.values[:, data.columns.index(name)]
        for series, row in zip(data.ids, rows, strict=True):
            missing = np.isnan(column[row + 1 : row + 1 + data.horizon])
            if missing.any():
                raise InputError(
                    f"covariate {name!r} must be known {data.horizon} rows ahead, series {series!r} lacks row {int(missing.argmax()) + 1} "
                    "of them: add these rows to the table with an empty target"
                )


def _stamps(time: IntArray, data: SeriesData) -> pl.Series:
    return pl.Series(time) if data.frequency.name == "row" else pl.Series(time).cast(pl.Datetime("us"))
