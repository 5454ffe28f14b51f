"""Find the season of a series: the candidate whose autocorrelation stands out of the training rows, or none."""

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
    table = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
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
