"""`Scale`: on what forecasts are compared."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.data.transforms import check_positive, is_log, last_known
from heldout.training.metrics import absolute_error, squared_error

METRICS = {"mse": squared_error, "mae": absolute_error}


@dataclass(frozen=True, kw_only=True, eq=False)
class Scale:
    """How forecasts are compared: on the targets or their logarithms, each in units of its own.

    Attributes
    ----------
    transforms : tuple of str
        One per target; those with a logarithm are scored as logarithms.
    units : tuple of float
        Divisor per target: 1 for one target, the training standard deviation where there are several.
    metric : {"mse", "mae"}
        Squared or absolute error.
    centers, widths : tuple of tuple of float
        Per series and target, what is subtracted and then divided by; empty where series are compared as they are.
    """

    transforms: tuple[str, ...]
    units: tuple[float, ...]
    metric: str = "mse"
    centers: tuple[tuple[float, ...], ...] = ()
    widths: tuple[tuple[float, ...], ...] = ()

    @property
    def name(self) -> str:
        """What a number on this scale is."""
        logs = sum(is_log(name) for name in self.transforms)
        what = "mean squared error" if self.metric == "mse" else "mean absolute error"
        where = (
            ""
            if not logs
            else " of the logarithm"
            if logs == len(self.transforms)
            else " (logarithms where so transformed)"
        )
        if self.widths:
            return what + where + ", in training standard deviations of each series"
        return what + where + (", in training standard deviations" if len(self.units) > 1 else "")

    def targets(self, data: SeriesData) -> FloatArray:
        """Give the targets of all rows on this scale but for its units, gaps filled forward, (n_rows, K)."""
        columns = [last_known(data, name) for name in data.targets]
        for name, transform, column in zip(data.targets, self.transforms, columns, strict=True):
            if is_log(transform):
                check_positive(column, name)
        columns = [np.log(x) if is_log(t) else x for x, t in zip(columns, self.transforms, strict=True)]
        return self.of_model(np.column_stack(columns)[:, None], data, np.arange(data.n_rows))[:, 0]

    def of_model(self, forecast: FloatArray, data: SeriesData, rows: IntArray) -> FloatArray:
        """Bring what a `SeriesModel` says of some origins, (n, S, K) or (n, S, K, Q), to this scale."""
        if not self.widths:
            return forecast
        center, width = self._of_series(data, rows, forecast.ndim)
        return (forecast - center) / width

    def to_original(self, scored: FloatArray, data: SeriesData, rows: IntArray) -> FloatArray:
        """Turn numbers on this scale, (n, S, K) or (n, S, K, Q), into the targets' own units."""
        if self.widths:
            center, width = self._of_series(data, rows, scored.ndim)
            scored = scored * width + center
        result = scored.copy()
        for k, name in enumerate(self.transforms):
            if is_log(name):
                result[:, :, k] = np.exp(scored[:, :, k])
        return result

    def per_series(self, data: SeriesData, rows: IntArray) -> Self:
        """Give a copy that centres each series by its mean, and divides by its standard deviation, in some rows.

        Parameters
        ----------
        data : SeriesData
            The series.
        rows : array of int64
            Training rows; a series with none of them, or that does not vary in them, is taken with those of all.
        """
        values = self.targets(data)[rows]
        of_row, n = data.series_of_row[rows], len(data.ids)
        counts = np.bincount(of_row, minlength=n)[:, None]
        sums = np.stack([np.bincount(of_row, column, n) for column in values.T], axis=1)
        center = np.where(counts > 0, sums / np.maximum(counts, 1), values.mean(axis=0))
        squares = [np.bincount(of_row, column, n) for column in (values - center[of_row]).T ** 2]
        width = np.sqrt(np.stack(squares, axis=1) / np.maximum(counts, 1))
        spread = values.std(axis=0)
        width = np.where(width > 1e-12 * np.abs(center), width, np.where(spread > 0, spread, 1.0))
        tables = [tuple(map(tuple, table.tolist())) for table in (center, width)]
        return replace(self, units=(1.0,) * len(self.units), centers=tables[0], widths=tables[1])

    def _of_series(self, data: SeriesData, rows: IntArray, ndim: int) -> tuple[FloatArray, FloatArray]:
        shape = (len(rows), 1, len(self.transforms)) + (1,) * (ndim - 3)
        series = data.series_of_row[rows]
        return np.array(self.centers)[series].reshape(shape), np.array(self.widths)[series].reshape(shape)

    def losses(self, forecast: FloatArray, truth: FloatArray) -> FloatArray:
        """Loss of each sample, (n,), from forecasts and truth of shape (n, S, K)."""
        units = np.array(self.units)
        return METRICS[self.metric](forecast / units, truth / units)


def by_moment(losses: FloatArray, data: SeriesData, rows: IntArray) -> FloatArray:
    """Give one loss per moment, in order of time: in a panel, the mean over the series whose origin falls into it.

    Parameters
    ----------
    losses : array of shape (n,)
        One per sample.
    data : SeriesData
        The series.
    rows : array of shape (n,), int64
        Origins. Times within one step of a fixed calendar are the same moment.

    Returns
    -------
    array of shape (n_moments,)
    """
    frequency = data.frequency
    moment = data.time[rows] // frequency.step if frequency.unit == "microsecond" else data.time[rows]
    _, place = np.unique(moment, return_inverse=True)
    return np.bincount(place, losses) / np.bincount(place)
