"""The season of a series: found by the autocorrelation of the training rows, and taken out of a forecast of one series."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, sqrt

import numpy as np
from scipy import fft, signal, stats

from heldout.check import InputError, check_number
from heldout.data.series import FloatArray, IntArray


@dataclass(frozen=True)
class Season:
    """What `find_season` found.

    Parameters
    ----------
    rows : int or None
        Rows in a season; None where none was found.
    note : str
        One sentence that says what was found, for reports.
    """

    rows: int | None
    note: str


def find_season(values: FloatArray, candidates: Sequence[int], *, offsets: IntArray | None = None) -> Season:
    """Find the candidate season that stands out of the training rows, if one does.

    A centred mean of m rows takes away level and trend, which leaves of a random walk no autocorrelation at lag m.
    What is left must have an autocorrelation r_m there that is

    - a peak: not below r at m - w and m + w, w a quarter season, as it would be on the slope of a longer wave;
    - above a one-sided 1 % bound, shared by all candidates: ``z * max(bartlett, robust)``, with Bartlett's standard
      error under dependence up to lag m - 1, ``sqrt((1 + 2 sum_{j<m} r_j^2) / n)``, and the one that stands volatility
      clusters, ``sqrt(sum x_t^2 x_{t-m}^2) / sum x_t^2``.

    Of the seasons that pass, the shortest within one standard error of the strongest is taken, so that 24 hours are
    not taken for 48.

    Parameters
    ----------
    values : array of shape (n_rows,) or (n_rows, n_targets)
        Training rows only. Several columns are standardised and share one autocorrelation.
    candidates : sequence of int
        Seasons in rows, at least 2, for instance 24 and 168 for hours.
    offsets : array of shape (n_series + 1,), optional
        Where series begin in ``values``, if it holds several one after the other.

    Returns
    -------
    Season
        ``rows`` is None where no candidate passes; a candidate needs 3 seasons of rows. At most the last 200 000 rows are read.

    Raises
    ------
    InputError
        If a candidate is below 2 or a value is missing.

    Examples
    --------
    >>> t = np.arange(400)
    >>> wave = np.sin(2 * np.pi * t / 12) + np.random.default_rng(0).normal(size=400)
    >>> find_season(wave, [7, 12]).rows
    12
    """
    table = np.asarray(values, dtype=np.float64)
    table = table.reshape(len(table), -1 if table.size else 1)
    for candidate in candidates:
        check_number("season candidate", candidate, 2, inf)
    if not np.isfinite(table).all():
        raise InputError("find_season needs values without gaps, got missing ones; fill them forward first")
    bounds = np.array([0, len(table)]) if offsets is None else offsets
    first = max(0, len(table) - 200_000)
    series = [table[max(a, first) : b] for a, b in pairwise(bounds) if b > first]
    limit = float(stats.norm.isf(0.01 / max(1, len(candidates))))
    strengths = {m: _season_strength(series, m, limit) for m in sorted(set(candidates))}
    passed = {m: r for m, (r, error) in strengths.items() if r > 0}
    if not passed:
        tried = ", ".join(str(m) for m in candidates)
        return Season(
            None, f"no season: none of {tried or 'no candidates'} rows stands out of the training rows"
        )
    strongest = max(passed, key=lambda m: passed[m])
    best = next(m for m, r in passed.items() if r >= passed[strongest] - strengths[strongest][1])
    return Season(
        best, f"season of {best} rows: autocorrelation {passed[best]:.2f} in the training rows, trend removed"
    )


def _season_strength(series: Sequence[FloatArray], season: int, limit: float) -> tuple[float, float]:
    """Autocorrelation at the season once the trend is out, 0 where it does not stand out, and its standard error."""
    quarter = max(1, season // 4)
    kernel = np.ones(season) if season % 2 else np.concatenate([[0.5], np.ones(season - 1), [0.5]])
    half, lags = season // 2, season + quarter + 1
    products, squares, fourth, n = np.zeros(lags), 0.0, 0.0, 0
    for rows in series:
        if len(rows) < 3 * season:
            continue
        level = rows - rows.mean(axis=0)
        x = level[half : len(level) - half] - signal.oaconvolve(
            level, kernel[:, None] / season, mode="valid", axes=0
        )
        moves = x.std(axis=0) > 1e-10 * level.std(axis=0)
        x = x[:, moves] / x[:, moves].std(axis=0)
        spectrum = np.abs(fft.rfft(x, fft.next_fast_len(len(x) + lags, real=True), axis=0)) ** 2
        products += fft.irfft(spectrum.sum(axis=1), fft.next_fast_len(len(x) + lags, real=True))[:lags]
        squares += float((x**2).sum())
        fourth += float((x[season:] ** 2 * x[:-season] ** 2).sum())
        n += x.size
    if n == 0:
        return 0.0, 0.0
    r = products / squares
    error = max(sqrt((1 + 2 * float((r[1:season] ** 2).sum())) / n), sqrt(fourth) / squares)
    peak = r[season] >= max(r[season - quarter], r[season + quarter])
    return (float(r[season]) if peak and r[season] > limit * error else 0.0), error


def naive2(values: FloatArray, season: int, horizon: int) -> FloatArray:
    """Forecast a series by its last value after seasonal adjustment: Naive2, the reference of the M4 competition.

    The series is seasonal if its autocorrelation at the season lies outside the 90 % limits under dependence up to the
    lag before, ``1.645 sqrt((1 + 2 sum_{j<m} r_j^2) / n)``, and it holds three seasons. It is then divided by the factors
    of a classical multiplicative decomposition (centred mean of one season; mean ratio at each place in the season,
    scaled to mean 1), and the forecast is multiplied by them.

    Parameters
    ----------
    values : array of shape (n_rows,)
        One series up to its origin, without gaps.
    season : int
        Rows in a season; 1 gives the last value.
    horizon : int
        Steps ahead.

    Returns
    -------
    array of shape (horizon,)

    References
    ----------
    Makridakis, Spiliotis and Assimakopoulos 2020, The M4 competition, International Journal of Forecasting 36(1);
    their R code, `SeasonalityTest` and `Benchmarks`.

    Examples
    --------
    >>> wave = np.tile([1.0, 2.0, 3.0], 10)
    >>> naive2(wave, 3, 4)
    array([1., 2., 3., 1.])
    """
    y = np.asarray(values, dtype=np.float64)
    factors = _season_factors(y, season) if _is_seasonal(y, season) else np.ones(season)
    ahead = np.arange(len(y), len(y) + horizon) % season
    return np.asarray(y[-1] / factors[(len(y) - 1) % season] * factors[ahead])


def _is_seasonal(y: FloatArray, season: int) -> bool:
    if season < 2 or len(y) < 3 * season:
        return False
    x = y - y.mean()
    square = float(x @ x)
    if square == 0:
        return False
    r = np.array([x[lag:] @ x[:-lag] for lag in range(1, season + 1)]) / square
    limit = 1.645 * sqrt((1 + 2 * float((r[:-1] ** 2).sum())) / len(y))
    return bool(abs(r[-1]) > limit)


def _season_factors(y: FloatArray, season: int) -> FloatArray:
    """Factor of each place in the season, counted from the first row; 1 where they cannot be told."""
    kernel = np.ones(season) if season % 2 else np.concatenate([[0.5], np.ones(season - 1), [0.5]])
    trend = np.convolve(y, kernel / season, mode="valid")
    half = season // 2
    place = np.arange(half, half + len(trend)) % season
    if not (trend != 0).all():
        return np.ones(season)
    figure = np.bincount(place, y[half : half + len(trend)] / trend, season) / np.bincount(
        place, minlength=season
    )
    factors = np.asarray(figure / figure.mean())
    return factors if (factors > 0).all() else np.ones(season)
