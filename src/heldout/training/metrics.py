"""Measures of forecast error, as pure functions of arrays; one file, one definition each.

Truth and forecast have the shape (samples, ...), for forecasts (n, steps, targets). Measures "per sample" average over
all axes but the first and give shape (n,), so that models can be compared sample by sample.
"""

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heldout.check import InputError, check_number

FloatArray = NDArray[np.float64]


def squared_error(truth: ArrayLike, forecast: ArrayLike) -> FloatArray:
    """Squared error per sample, ``mean (f - y)^2``.

    Parameters
    ----------
    truth, forecast : array of shape (n, ...)
        Same shape, same unit.

    Returns
    -------
    array of shape (n,)
        In squared units of the truth.

    Raises
    ------
    InputError
        If shapes differ.

    Examples
    --------
    >>> squared_error([[1.0, 2.0], [3.0, 4.0]], [[1.0, 4.0], [3.0, 3.0]])
    array([2. , 0.5])
    """
    y, f = _same_shape(truth, forecast)
    return _per_sample((f - y) ** 2)


def absolute_error(truth: ArrayLike, forecast: ArrayLike) -> FloatArray:
    """Absolute error per sample, ``mean |f - y|``.

    Parameters
    ----------
    truth, forecast : array of shape (n, ...)
        Same shape, same unit.

    Returns
    -------
    array of shape (n,)
        In the unit of the truth.

    Raises
    ------
    InputError
        If shapes differ.

    Examples
    --------
    >>> absolute_error([[1.0, 2.0], [3.0, 4.0]], [[1.0, 4.0], [3.0, 3.0]])
    array([1. , 0.5])
    """
    y, f = _same_shape(truth, forecast)
    return _per_sample(np.abs(f - y))


def pinball(truth: ArrayLike, forecast: ArrayLike, quantile: float) -> FloatArray:
    """Pinball (quantile) loss per sample, ``mean max(q (y - f), (q - 1) (y - f))``.

    Lowest in expectation where the forecast is the q-quantile; at q = .5 half the absolute error.

    Parameters
    ----------
    truth, forecast : array of shape (n, ...)
        Same shape, same unit; the forecast is of the given quantile.
    quantile : float
        q, in (0, 1).

    Returns
    -------
    array of shape (n,)
        In the unit of the truth.

    Raises
    ------
    InputError
        If shapes differ or ``quantile`` is out of range.

    References
    ----------
    Koenker and Bassett 1978, Regression quantiles, Econometrica 46(1).

    Examples
    --------
    >>> pinball([10.0, 10.0], [8.0, 12.0], 0.9)
    array([1.8, 0.2])
    """
    check_number("quantile", quantile, 0, 1, open_low=True, open_high=True)
    y, f = _same_shape(truth, forecast)
    return _per_sample(np.maximum(quantile * (y - f), (quantile - 1) * (y - f)))


def rmse(truth: ArrayLike, forecast: ArrayLike) -> float:
    """Root mean squared error over everything, ``sqrt(mean (f - y)^2)``.

    Parameters
    ----------
    truth, forecast : array of shape (n, ...)
        Same shape, same unit.

    Returns
    -------
    float
        In the unit of the truth.

    Raises
    ------
    InputError
        If shapes differ.

    Examples
    --------
    >>> rmse([0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, -1.0])
    1.0
    """
    return sqrt(float(squared_error(truth, forecast).mean()))


def smape(truth: ArrayLike, forecast: ArrayLike) -> FloatArray:
    """Symmetric mean absolute percentage error per sample as in the M4 competition, ``mean 200 |f - y| / (|f| + |y|)``.

    A term is 0 where truth and forecast are both 0.

    Parameters
    ----------
    truth, forecast : array of shape (n, ...)
        Same shape, same unit, original scale: the measure changes with any shift of zero.

    Returns
    -------
    array of shape (n,)
        Percent, from 0 to 200.

    Raises
    ------
    InputError
        If shapes differ.

    References
    ----------
    Makridakis, Spiliotis and Assimakopoulos 2020, The M4 competition, International Journal of Forecasting 36(1).

    Examples
    --------
    >>> smape([1.0, 0.0], [3.0, 0.0])
    array([100.,   0.])
    """
    y, f = _same_shape(truth, forecast)
    size = np.abs(f) + np.abs(y)
    return _per_sample(200 * np.abs(f - y) / np.where(size > 0, size, 1.0))


def mase_scale(train: ArrayLike, season: int = 1) -> FloatArray:
    """Mean absolute change over one season on the training rows, ``mean |y_t - y_{t-m}|``: the unit of `mase`.

    Parameters
    ----------
    train : array of shape (n_rows,) or (n_rows, n_targets)
        Training rows of one series, in time order; rows to be forecast must not be among them.
    season : int, default 1
        m, the season in rows; 1 compares with the last value.

    Returns
    -------
    array of shape () or (n_targets,)
        Above 0.

    Raises
    ------
    InputError
        If there are not more than ``season`` rows, a value is missing, or nothing changes over a season.

    Examples
    --------
    >>> float(mase_scale([1.0, 2.0, 4.0]))
    1.5
    """
    y = np.asarray(train, dtype=np.float64)
    check_number("season", season, 1, np.inf)
    if len(y) <= season:
        raise InputError(
            f"the scale of mase needs more training rows than one season, got {len(y)} rows and season {season}"
        )
    scale = np.abs(y[season:] - y[:-season]).mean(axis=0)
    if not (scale > 0).all():
        raise InputError(
            f"the training rows must change over {season} rows for mase, got a mean change of {scale}; use absolute_error"
        )
    return np.asarray(scale)


def mase(truth: ArrayLike, forecast: ArrayLike, scale: ArrayLike) -> FloatArray:
    """Mean absolute scaled error per sample, ``mean |f - y| / scale``.

    Below 1 is better than the seasonal naive forecast, one season ahead, was on the training rows.

    Parameters
    ----------
    truth, forecast : array of shape (n, ...)
        Same shape, same unit.
    scale : float or array
        From `mase_scale`, on training rows only; of any shape that broadcasts to the truth: (n_targets,) for
        forecasts of one panel, (n, 1, 1) where each sample is a series of its own.

    Returns
    -------
    array of shape (n,)
        No unit.

    Raises
    ------
    InputError
        If shapes differ.

    References
    ----------
    Hyndman and Koehler 2006, Another look at measures of forecast accuracy, International Journal of Forecasting 22(4).

    Examples
    --------
    >>> mase([5.0, 6.0], [5.0, 9.0], mase_scale([1.0, 2.0, 4.0]))
    array([0., 2.])
    """
    y, f = _same_shape(truth, forecast)
    return _per_sample(np.abs(f - y) / np.asarray(scale, dtype=np.float64))


def owa(
    smapes: ArrayLike, mases: ArrayLike, reference_smapes: ArrayLike, reference_mases: ArrayLike
) -> float:
    """Overall weighted average of the M4 competition, the mean of the two ratios of mean sMAPE and mean MASE.

    Parameters
    ----------
    smapes, mases : array of shape (n,)
        The model's `smape` and `mase` of each series.
    reference_smapes, reference_mases : array of shape (n,)
        Those of the reference; M4 takes Naive2, the last value after seasonal adjustment.

    Returns
    -------
    float
        Below 1 is better than the reference.

    References
    ----------
    Makridakis, Spiliotis and Assimakopoulos 2020, The M4 competition, International Journal of Forecasting 36(1).

    Examples
    --------
    >>> owa([10.0, 20.0], [1.0, 2.0], [20.0, 40.0], [2.0, 2.0])
    0.625
    """
    ratios = [_mean(smapes) / _mean(reference_smapes), _mean(mases) / _mean(reference_mases)]
    return sum(ratios) / 2


def _mean(values: ArrayLike) -> float:
    return float(np.asarray(values, dtype=np.float64).mean())


def _same_shape(truth: ArrayLike, forecast: ArrayLike) -> tuple[FloatArray, FloatArray]:
    y, f = np.asarray(truth, dtype=np.float64), np.asarray(forecast, dtype=np.float64)
    if y.shape != f.shape or y.ndim == 0 or y.size == 0:
        raise InputError(
            f"truth and forecast need one shape, (samples, ...), not empty, got {y.shape} and {f.shape}"
        )
    return y, f


def _per_sample(errors: FloatArray) -> FloatArray:
    return errors.reshape(len(errors), -1).mean(axis=1)
