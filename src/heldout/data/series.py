"""`SeriesData`: one or many time series in one block of memory, and the windows that can be cut from it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from heldout.check import InputError, did_you_mean
from heldout.data.calendar import Frequency

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class SeriesData:
    """One or many time series, sorted by series and then by time, and what is asked of them.

    A *sample* is a row number, its **origin**: the forecast made there may read the rows up to and including the
    origin and says what the ``horizon`` rows after it hold. A window of ``lookback`` rows is gathered by index when
    it is needed, so memory grows with the series and never with series x lookback.

    Parameters
    ----------
    values : array of shape (n_rows, n_columns), float64
        All columns of all series; NaN where a value is missing.
    columns : sequence of str
        The name of each column of ``values``.
    targets : sequence of str
        The columns to forecast.
    past : sequence of str
        Covariates known up to the origin only.
    future : sequence of str
        Covariates known for the horizon too (calendar, prices set in advance).
    time : array of shape (n_rows,), int64
        Microseconds since 1970-01-01 (UTC), or the row number where the table has no time column.
    position : array of shape (n_rows,), int64
        Place on the calendar of `frequency`: one more than the row before where nothing is missing.
    offsets : array of shape (n_series + 1,), int64
        Series s holds the rows ``offsets[s]`` to ``offsets[s + 1] - 1``.
    ids : sequence of str
        The name of each series.
    frequency : Frequency
        What one step of the calendar is.
    static : array of shape (n_series, n_static), float64
        Numbers that do not change within a series.
    static_names : sequence of str
        Their names.
    horizon : int, default 1
        Rows ahead to forecast.
    last_step_only : bool, default False
        Forecast (and score) the last step of the horizon alone.
    max_gap : int, default 10
        A window may not cross a hole of more than this many steps of the calendar.
    test_start : int, optional
        Time of the first row of a test table that was given apart: origins from which all rows ahead are its are sealed.
    notes : sequence of str
        What was inferred from the table, one sentence each.
    """

    values: FloatArray
    columns: tuple[str, ...]
    targets: tuple[str, ...]
    time: IntArray
    position: IntArray
    offsets: IntArray
    ids: tuple[str, ...]
    frequency: Frequency
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    static_names: tuple[str, ...] = ()
    horizon: int = 1
    last_step_only: bool = False
    max_gap: int = 10
    test_start: int | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = set(self.columns)
        for name in (*self.targets, *self.past, *self.future):
            if name not in known:
                raise InputError(f"there is no column {name!r}{did_you_mean(name, self.columns)}")
        if not self.targets:
            raise InputError("at least one target column is needed")
        if self.horizon < 1:
            raise InputError(f"horizon must be at least 1, got {self.horizon}")

    @property
    def n_rows(self) -> int:
        """Rows over all series."""
        return len(self.values)

    @property
    def steps(self) -> IntArray:
        """The steps ahead that are forecast, 1 to ``horizon``, or the last alone."""
        first = self.horizon if self.last_step_only else 1
        return np.arange(first, self.horizon + 1, dtype=np.int64)

    def indices(self, names: Sequence[str]) -> IntArray:
        """Column numbers of ``names``."""
        return np.array([self.columns.index(name) for name in names], dtype=np.int64)

    @cached_property
    def segment_offsets(self) -> IntArray:
        """Boundaries of the runs of rows that a window may lie in: series, cut again at every hole beyond ``max_gap``."""
        holes = np.flatnonzero(np.diff(self.position) > self.max_gap) + 1
        return np.union1d(self.offsets, holes).astype(np.int64)

    def origins(self, lookback: int, *, labelled: bool = True) -> IntArray:
        """Every row that can be a sample's origin.

        Parameters
        ----------
        lookback : int
            Rows that the window must hold, the origin included.
        labelled : bool, default True
            Only origins whose ``horizon`` following rows are in the data, whose targets there are not missing, and that
        have a known target at or before them.

        Returns
        -------
        array of shape (n_samples,), int64
            Row numbers, ascending.
        """
        ahead = self.horizon if labelled else 0
        bounds = self.segment_offsets
        runs = [np.arange(a + lookback - 1, b - ahead) for a, b in pairwise(bounds)]
        rows = np.concatenate(runs) if runs else np.zeros(0, np.int64)
        if not labelled:
            return rows
        missing = np.asarray(np.isnan(self.values[:, self.indices(self.targets)]).any(axis=1))
        if missing.any():
            hole = np.zeros(len(rows), bool)
            for step in self.steps:
                hole |= missing[rows + step]
            known = np.maximum.accumulate(np.where(missing, -1, np.arange(self.n_rows)))
            rows = rows[~hole & (known[rows] >= self.offsets[self.series_of_row[rows]])]
        return rows

    def check_origins(self, rows: IntArray, lookback: int) -> None:
        """Raise `InputError` if a window that ends at one of these rows would begin before its series does."""
        short = rows - lookback + 1 < self.offsets[self.series_of_row[rows]]
        if short.any():
            row = int(rows[short][0])
            raise InputError(
                f"a window of {lookback} rows that ends at row {row} begins before its series: use origins({lookback})"
            )

    @cached_property
    def series_of_row(self) -> IntArray:
        """The number of the series each row belongs to."""
        return np.repeat(np.arange(len(self.ids)), np.diff(self.offsets))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over everything that a fit reads: the same for equal data, another for any change."""
        digest = hashlib.sha256()
        for item in fields(self):
            if item.name == "notes":
                continue
            value = getattr(self, item.name)
            if isinstance(value, np.ndarray):
                digest.update(f"{item.name}{value.shape}{value.dtype}".encode())
                digest.update(np.ascontiguousarray(value).data)
            else:
                digest.update(f"{item.name}={value!r}".encode())
        return digest.hexdigest()
