"""What a backtest is made of: the moments of its origins, how many of them one fit serves, and tables of forecasts."""

from collections.abc import Iterator
from numbers import Integral
from typing import Any

import numpy as np
import polars as pl

from heldout.check import InputError, check_number
from heldout.data.ahead import long_table, name_series
from heldout.data.series import IntArray, SeriesData
from heldout.data.splits import Span
from heldout.data.transforms import last_known
from heldout.training.fit import SeriesModel

_FEWEST_SHOWN = 60


def split_last(data: SeriesData, lookback: int, fraction: float) -> tuple[IntArray, IntArray]:
    """Give the origins that train, and those of the last part of the time that say when to stop.

    Parameters
    ----------
    data : SeriesData
        The series.
    lookback : int
        Rows in a window.
    fraction : float
        Share of the origin times in the last part; two horizons if that is more, half of the times at most.

    Returns
    -------
    train_rows, valid_rows : array of int64
        No label of the first lies after the first origin of the second.

    Raises
    ------
    InputError
        If a part is empty.
    """
    times = np.unique(data.time[data.origins(lookback)])
    n_valid = max(1, min(max(round(fraction * len(times)), 2 * data.horizon), len(times) // 2))
    if len(times) > 1:
        cut, end = int(times[-n_valid]), int(data.time.max())
        train = Span(start=int(times[0]), stop=cut, known_by=cut).rows(data, lookback)
        valid = Span(start=cut, stop=end + 1, known_by=end).rows(data, lookback)
        if len(train) and len(valid):
            return train, valid
    raise InputError(
        f"a fit needs windows of {lookback} rows, each with {data.horizon} rows after it, to train on and to say when to stop, "
        f"got {len(times)} in time: shorten lookback or horizon, or give more rows"
    )


def check_backtest(start: float | None, stride: int, refit: bool | int) -> None:  # noqa: FBT001 - as `backtest` has it
    """Raise `InputError` unless the options of a backtest are in range."""
    if start is not None:
        check_number("start", start, 0, 1, open_high=True)
    for name, value in (("stride", stride), ("refit", refit)):
        if not isinstance(value, Integral) or (value < 1 and value is not False):
            also = ", True or False" if name == "refit" else ""
            raise InputError(f"{name} must be a whole number of 1 or more{also}, got {value!r}")


def choose_moments(
    times: IntArray, *, start: float | None, stride: int, first: int | None, every: bool | int
) -> Iterator[IntArray]:
    """Give the times of the origins, in groups that share a fit.

    Parameters
    ----------
    times : array of int64
        Of all possible origins, ascending.
    start : float or None
        Share of them to skip; None skips those before ``first``.
    stride : int
        Take each ``stride``-th.
    first : int or None
        Time from which forecasts are about unseen rows; None skips half of the times.
    every : bool or int
        Origins in a group; False makes one of all, True one of each.

    Raises
    ------
    InputError
        If no origin is left.
    """
    share = 0.5 if start is None and first is None else start
    skipped = round(share * len(times)) if share is not None else np.searchsorted(times, first or 0)
    chosen = times[skipped::stride]
    if not len(chosen):
        raise InputError(
            f"a backtest needs an origin with known rows after it, got {len(times)} origins and none of them after the rows "
            "of the fit: give y with rows that follow these, or refit=True, or start, a share of the origins to skip"
        )
    size = len(chosen) if every is False else int(every)
    for place in range(0, len(chosen), size):
        yield chosen[place : place + size]


def forecast_table(model: SeriesModel, data: SeriesData, rows: IntArray, *, truth: bool) -> pl.DataFrame:
    """Give what a model says from some origins, as `heldout.data.ahead.long_table` does.

    Parameters
    ----------
    model : SeriesModel
        Fitted.
    data : SeriesData
        The series.
    rows : array of shape (n,), int64
        Origins.
    truth : bool
        Tell also what happened, and the last value at the origin.
    """
    columns = model.columns(data, rows)
    if truth:
        happened = data.values[:, data.indices(data.targets)][rows[:, None] + data.steps]
        here = np.stack([last_known(data, name)[rows] for name in data.targets], axis=1)
        last = np.repeat(here[:, None], len(data.steps), axis=1)
        columns = {"forecast": columns.pop("forecast"), "truth": happened, "last_value": last, **columns}
    return long_table(data, rows, columns)


def history_before(data: SeriesData, rows: IntArray, lookback: int) -> pl.DataFrame:
    """Give the last rows up to each origin, for a figure: a window, four horizons or 60 rows, whichever is most.

    Parameters
    ----------
    data : SeriesData
        The series.
    rows : array of shape (n_series,), int64
        The origin in each series.
    lookback : int
        Rows in a window.
    """
    n = max(lookback, 4 * data.horizon, _FEWEST_SHOWN)
    shown = np.concatenate(
        [np.arange(max(start, row + 1 - n), row + 1) for start, row in zip(data.offsets, rows, strict=False)]
    )
    count = len(data.targets)
    time = pl.Series(np.repeat(data.time[shown], count))
    table: dict[str, Any] = name_series(data, shown, count)
    table["time"] = time if data.frequency.name == "row" else time.cast(pl.Datetime("us"))
    table["target"] = np.tile(np.array(data.targets, dtype=object), len(shown))
    table["truth"] = data.values[shown][:, data.indices(data.targets)].reshape(-1)
    return pl.DataFrame(table)
