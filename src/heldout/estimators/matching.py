"""Rows of tables matched by series and time."""

from typing import Any

import numpy as np
import polars as pl

from heldout.check import InputError
from heldout.data.series import IntArray


def running_numbers(series: IntArray) -> IntArray:
    """Give the number of each row in its series, from 0.

    Parameters
    ----------
    series : array of shape (n,), int64
        The number of each row's series.

    Examples
    --------
    >>> running_numbers(np.array([1, 0, 1, 1]))
    array([0, 0, 1, 2])
    """
    order = np.argsort(series, kind="stable")
    ordered = series[order]
    starts = np.searchsorted(ordered, ordered)
    running = np.empty(len(series), np.int64)
    running[order] = np.arange(len(series)) - starts
    return running


def find_rows(series: Any, time: IntArray, among: Any, at: IntArray) -> IntArray:
    """Give, for each series and time, the row of another table that has them; -1 where none has.

    Parameters
    ----------
    series, time : array of shape (n,)
        What to look for.
    among, at : array of shape (m,)
        Series and time of the other table's rows.

    Examples
    --------
    >>> find_rows(np.array([0, 0]), np.array([5, 6]), np.array([1, 0]), np.array([5, 5]))
    array([ 1, -1])
    """
    other = pl.DataFrame({"series": among, "time": at})
    found = pl.DataFrame({"series": series, "time": time}).with_row_index("row")
    other = other.with_row_index("place").unique(["series", "time"], keep="first")
    found = found.join(other, on=["series", "time"], how="left").sort("row")
    return found["place"].cast(pl.Int64).fill_null(-1).to_numpy()


def rows_before(series: IntArray, fitted: IntArray, horizon: int, ids: tuple[str, ...]) -> IntArray:
    """Give how many rows ahead of each series, which have no times, are about rows of the fit.

    Parameters
    ----------
    series : array of shape (n,), int64
        The number of each row's series.
    fitted : array of shape (n_series,), int64
        Rows of the fit.
    horizon : int
        Rows that a forecast needs.
    ids : tuple of str
        Names.

    Raises
    ------
    InputError
        If a series has neither ``horizon`` rows, nor those of the fit and as many behind.

    Examples
    --------
    >>> rows_before(np.repeat([0, 1], [3, 43]), np.array([50, 40]), 3, ("a", "b"))
    array([ 0, 40])
    """
    given = np.bincount(series, minlength=len(ids))
    wrong = (given > 0) & (given != horizon) & (given < fitted + horizon)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"future without times must have the {horizon} rows to forecast, or the {fitted[row]} rows of the fit and {horizon} or "
            f"more behind them, but has {given[row]} of series {ids[row]!r}"
        )
    return np.where(given == horizon, 0, fitted)


def one_each(name: str, values: list[Any], series: IntArray, ids: tuple[str, ...]) -> list[Any]:
    """Give the one value that each series has in a static column.

    Raises
    ------
    InputError
        If a series has two.
    """
    each: list[Any] = [None] * len(ids)
    for number, value in zip(series, values, strict=True):
        if each[number] is not None and each[number] != value:
            raise InputError(
                f"static column {name!r} must be the same within a series, but is {each[number]!r} and {value!r} in series "
                f"{ids[number]!r}: give it as exog"
            )
        each[number] = value
    return each
