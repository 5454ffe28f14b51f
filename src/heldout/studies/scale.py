"""`Scale`: on what forecasts are compared."""

from dataclasses import dataclass

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
    """

    transforms: tuple[str, ...]
    units: tuple[float, ...]
    metric: str = "mse"

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
        return what + where + (", in training standard deviations" if len(self.units) > 1 else "")

    def targets(self, data: SeriesData) -> FloatArray:
        """Give the targets of all rows on this scale but for its units, gaps filled forward, (n_rows, K)."""
        columns = [last_known(data, name) for name in data.targets]
        for name, transform, column in zip(data.targets, self.transforms, columns, strict=True):
            if is_log(transform):
                check_positive(column, name)
        columns = [np.log(x) if is_log(t) else x for x, t in zip(columns, self.transforms, strict=True)]
        return np.column_stack(columns)

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
