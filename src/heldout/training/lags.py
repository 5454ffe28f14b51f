"""`LagWindows`, the windows and labels that baselines read, and what a baseline is.

Windows are gathered block by block and never all at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Protocol

import numpy as np

from heldout.check import InputError, check_number
from heldout.data.series import FloatArray, IntArray

BLOCK_ROWS = 8192
BLOCK_NUMBERS = 4_000_000  # at most so many float64 in one gathered block, 32 MB


@dataclass(frozen=True, eq=False)
class LagWindows:
    """Windows of targets and covariates, and the targets' labels, gathered by row number when they are asked for.

    A row number is an origin: its window ends there (the origin included), its labels are ``steps`` rows later. Rows
    of many series may stand one after the other: nothing here knows the borders, so the caller gives only origins
    whose window and labels lie in one series.

    Parameters
    ----------
    values : array of shape (n_rows, n_targets), float64
        The target columns, on the scale that is scored, without missing values (fill forward first).
    lookback : int
        Rows in a window, at least 1.
    steps : array of shape (n_steps,), int64
        The steps ahead that are forecast, ascending, for instance 1 to the horizon.
    covariates : array of shape (n_rows, n_covariates), optional
        Further columns, known up to the origin, without missing values.

    Raises
    ------
    InputError
        If a value is missing or a shape is wrong.

    Examples
    --------
    >>> windows = LagWindows(np.arange(10.0)[:, None], 3, np.array([1, 2]))
    >>> windows.past(np.array([4]))[0, :, 0], windows.ahead(np.array([4]))[0, :, 0]
    (array([2., 3., 4.]), array([5., 6.]))
    """

    values: FloatArray
    lookback: int
    steps: IntArray
    covariates: FloatArray | None = None

    def __post_init__(self) -> None:
        check_number("lookback", self.lookback, 1, inf)
        if len(self.steps) == 0 or self.steps[0] < 1 or (np.diff(self.steps) <= 0).any():
            raise InputError(f"steps must ascend from 1 or later, got {self.steps}")
        for name, table in (("values", self.values), ("covariates", self.covariates)):
            if table is None:
                continue
            if table.ndim != 2 or len(table) != len(self.values):
                raise InputError(
                    f"{name} must be a table with a row for each of {len(self.values)}, got {table.shape}"
                )
            if not np.isfinite(table).all():
                row = int(np.flatnonzero(~np.isfinite(table).all(axis=1))[0])
                raise InputError(
                    f"{name} must be finite, row {row} is not; fill missing values forward first"
                )

    @property
    def n_columns(self) -> int:
        """Targets and covariates."""
        return self.values.shape[1] + (0 if self.covariates is None else self.covariates.shape[1])

    def past(self, rows: IntArray, columns: slice = slice(None)) -> FloatArray:
        """Windows of the targets that end at ``rows``.

        Parameters
        ----------
        rows : array of shape (n,)
            Origins.
        columns : slice, default all
            The targets wanted.

        Returns
        -------
        array of shape (n, lookback, n_targets)
            Oldest first.

        Raises
        ------
        InputError
            If a window starts before the first row.
        """
        return self._windows(self.values[:, columns], rows)

    def past_covariates(self, rows: IntArray, columns: slice = slice(None)) -> FloatArray:
        """Windows of the covariates that end at ``rows``.

        Parameters
        ----------
        rows : array of shape (n,)
            Origins.
        columns : slice, default all
            The covariates wanted.

        Returns
        -------
        array of shape (n, lookback, n_covariates)
            Oldest first; of width 0 where there are no covariates.

        Raises
        ------
        InputError
            If a window starts before the first row.
        """
        table = self.values[:, :0] if self.covariates is None else self.covariates[:, columns]
        return self._windows(table, rows)

    def ahead(self, rows: IntArray, columns: slice = slice(None)) -> FloatArray:
        """Labels of ``rows``: the values ``steps`` rows later.

        Parameters
        ----------
        rows : array of shape (n,)
            Origins.
        columns : slice, default all
            The targets wanted.

        Returns
        -------
        array of shape (n, n_steps, n_targets)
            In the order of ``steps``.

        Raises
        ------
        InputError
            If a label lies behind the last row.
        """
        check_rows(rows, 0, len(self.values) - 1 - int(self.steps[-1]))
        return self.values[:, columns][rows[:, None] + self.steps]

    def _windows(self, table: FloatArray, rows: IntArray) -> FloatArray:
        check_rows(rows, self.lookback - 1, len(self.values) - 1)
        return table[rows[:, None] + np.arange(1 - self.lookback, 1)]


class Forecast(Protocol):
    """What a fitted baseline can do."""

    def predict(self, windows: LagWindows, rows: IntArray) -> FloatArray:
        """Forecast at each origin, shape (n, n_steps, n_targets); reads the windows of ``rows`` only."""
        ...


class Baseline(Protocol):
    """A model to beat, before fitting.

    Its ``repr`` says all that its forecast depends on, alike in every process: a study knows a finished fit by it.
    """

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def fit(self, windows: LagWindows, train_rows: IntArray, valid_rows: IntArray) -> Forecast:
        """Learn from the training rows, choose on the validation rows, read nothing after their labels."""
        ...


def row_blocks(rows: IntArray, width: int) -> Iterator[IntArray]:
    """Cut origins into blocks of at most `BLOCK_ROWS`, and of at most `BLOCK_NUMBERS` numbers gathered at once.

    Parameters
    ----------
    rows : array of shape (n,)
        Origins.
    width : int
        Numbers gathered for one row.

    Yields
    ------
    array of int64
        The next rows.
    """
    size = min(BLOCK_ROWS, max(1, BLOCK_NUMBERS // width))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def thin(count: int, most: int) -> IntArray:
    """Choose at most ``most`` of the numbers 0 to ``count - 1``, evenly spread.

    One is drawn from each of ``most`` stretches, equal to within one, the same in every call: a fixed stride could meet
    a single hour of the day only.

    Parameters
    ----------
    count : int
        How many there are.
    most : int
        How many are wanted at most.

    Returns
    -------
    array of int64
        Ascending; all of them where they are no more than ``most``.

    Examples
    --------
    >>> thin(3, 5), len(thin(1000, 5))
    (array([0, 1, 2]), 5)
    """
    if count <= most:
        return np.arange(count)
    edges = np.arange(most + 1) * count // most
    return edges[:-1] + (np.random.default_rng(0).random(most) * np.diff(edges)).astype(np.int64)


def check_rows(rows: IntArray, low: int, high: int) -> None:
    """Raise `InputError` unless all origins lie in rows ``low`` to ``high``.

    Parameters
    ----------
    rows : array of shape (n,)
        Origins.
    low, high : int
        The first and the last row allowed.

    Raises
    ------
    InputError
        If a row lies outside.
    """
    if len(rows) and (rows.min() < low or rows.max() > high):
        raise InputError(
            f"origins must lie in rows {low} to {high} for their window and labels to exist, got {rows.min()} to {rows.max()}"
        )


def check_fit_rows(windows: LagWindows, *groups: IntArray) -> None:
    """Raise `InputError` unless each group has origins, and the window and labels of each exist.

    Parameters
    ----------
    windows : LagWindows
        What they are origins of.
    *groups : array of shape (n,)
        Origins to fit or to choose on.

    Raises
    ------
    InputError
        If a group is empty or a row lies outside.
    """
    for rows in groups:
        if len(rows) == 0:
            raise InputError("a baseline needs at least one training row and one validation row, got none")
        check_rows(rows, windows.lookback - 1, len(windows.values) - 1 - int(windows.steps[-1]))
