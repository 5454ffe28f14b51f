"""Split-conformal intervals: how far forecasts were off on rows that did not train, and how often that reaches.

Axes: n samples, S steps ahead, K targets.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Self

import numpy as np
from scipy.special import betaincinv

from heldout.check import InputError, check_number
from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.recipe import Recipe

_RATES = (
    "input_dropout",
    "recurrent_dropout",
    "output_dropout",
    "weight_dropout",
    "zoneout",
    "dense_dropout",
)
_BLOCK = 4096
_LEAST = 0.1  # a flat window counts as one with this share of the usual spread
_ROUNDING = 1e-9
_FEWEST = 10  # errors without which nothing is promised, whatever the level
_MOST = 10**7  # errors that a promise may need


@dataclass(frozen=True, kw_only=True)
class Conformal:
    """What widens forecasts to intervals of a given coverage. Make one with `Conformal.fit`.

    The interval of a sample reaches ``reach * sqrt(spread * usual)`` beyond the forecast, or beyond its outer
    quantiles: ``spread`` is how much the targets changed lately, ``usual`` how much they do in that series.

    Attributes
    ----------
    level : float
        Intended coverage of each step and target, in (0, 1).
    n_calibration : int
        Errors that overlap in no row: the horizons that fit one after the other in the calibration rows.
    promised : bool
        Whether that is enough for the coverage to be promised, if later errors are like those of the calibration rows.
    note : str
        The same as a sentence, with the reason.
    reach : tuple of tuple of float
        Per step and target; empty where no finite interval has the coverage.
    ids : tuple of str
        The series of the calibration rows.
    usual : tuple of tuple of float
        Mean spread per series and target.

    References
    ----------
    Vovk, Gammerman & Shafer (2005), Algorithmic Learning in a Random World; Lei, G'Sell, Rinaldo, Tibshirani &
    Wasserman (2018), JASA 113, section 5.2 for errors in units of a local spread; Romano, Patterson & Candès (2019),
    NeurIPS, for quantiles; Vovk (2012), ACML, for the distribution of the coverage. Here the spread is not learned, and its square root is taken: a window tells it roughly.
    """

    level: float
    n_calibration: int
    promised: bool
    note: str
    reach: tuple[tuple[float, ...], ...]
    ids: tuple[str, ...]
    usual: tuple[tuple[float, ...], ...]

    @classmethod
    def fit(
        cls,
        data: SeriesData,
        rows: IntArray,
        *,
        truth: FloatArray,
        ends: tuple[FloatArray, FloatArray],
        spread: FloatArray,
        level: float,
    ) -> Self:
        """Learn the reach from samples that did not train the model.

        Parameters
        ----------
        data : SeriesData
            The series.
        rows : array of shape (n,), int64
            Origins, at least one.
        truth : array of shape (n, S, K)
            What happened, on the scoring scale.
        ends : pair of arrays of shape (n, S, K)
            The forecast twice, or the lower and the upper quantile forecast.
        spread : array of shape (n, K)
            As `window_spread` gives it.
        level : float
            Intended coverage, in (0, 1).

        Returns
        -------
        Conformal

        Raises
        ------
        InputError
            If ``level`` is out of range.

        Notes
        -----
        Of n errors the k-th smallest is the reach, ``k = ceil(level (1 + 1 / m) n)``, where m of them overlap in no
        row. With m = n this is the textbook's ``ceil(level (n + 1))``. Over calibrations the coverage that comes of it is
        distributed as Beta(level (m + 1), (1 - level) (m + 1)). Nothing is promised where more than one in 20 would
        leave out twice the share that was meant, which is below 30 at 90 %; k is then ``ceil(level (n + 1))``, and
        where that is more than n there is no interval.
        """
        check_number("level", level, 0, 1, open_low=True, open_high=True)
        own = data.series_of_row[rows]
        series = np.unique(own)
        usual = np.stack([spread[own == number].mean(axis=0) for number in series])
        usual = np.where(usual > 0, usual, 1.0)
        unit = _unit(spread, usual[np.searchsorted(series, own)])
        errors = np.maximum(ends[0] - truth, truth - ends[1]) / unit[:, None]
        m, n = count_apart(data, rows), len(rows)
        need = bisect_left(range(1, _MOST), True, key=lambda count: _is_enough(count, level)) + 1
        k = ceil(level * (1 + 1 / (m if m >= need else n)) * n - _ROUNDING)
        reach = np.sort(errors, axis=0)[k - 1].tolist() if k <= n else []
        return cls(
            level=level,
            n_calibration=m,
            promised=m >= need,
            note=_note(level, m, need, given=bool(reach)),
            reach=tuple(map(tuple, reach)),
            ids=tuple(str(data.ids[number]) for number in series),
            usual=tuple(map(tuple, usual.tolist())),
        )

    def widen(
        self, low: FloatArray, high: FloatArray, spread: FloatArray, ids: Sequence[str]
    ) -> tuple[FloatArray, FloatArray]:
        """Give the ends of the intervals.

        Parameters
        ----------
        low, high : array of shape (n, S, K)
            The forecast twice, or the lower and the upper quantile forecast.
        spread : array of shape (n, K)
            As `window_spread` gives it.
        ids : sequence of str, of length n
            The series of each sample; one that was not calibrated on has its present spread for its usual one.

        Returns
        -------
        low, high : array of shape (n, S, K)
        """
        known = dict(zip(self.ids, self.usual, strict=True))
        usual = np.array([known.get(name, own) for name, own in zip(ids, spread, strict=True)])
        reach = np.array(self.reach) * _unit(spread, usual.reshape(spread.shape))[:, None]
        return low - reach, high + reach

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as JSON-able values; `from_dict` takes them back exactly."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], *, n_steps: int, n_targets: int) -> Self:
        """Make the `Conformal` that `to_dict` described.

        Raises
        ------
        InputError
            If the numbers do not fit the model.
        """
        found = cls(
            level=float(values["level"]),
            n_calibration=int(values["n_calibration"]),
            promised=bool(values["promised"]),
            note=str(values["note"]),
            reach=_table(values["reach"]),
            ids=tuple(map(str, values["ids"])),
            usual=_table(values["usual"]),
        )
        shapes = [np.shape(found.reach), np.shape(found.usual)]
        if shapes[0] not in ((0,), (n_steps, n_targets)) or shapes[1] != (len(found.ids), n_targets):
            raise InputError(
                f"the interval of the model has numbers of shape {shapes[0]} and {shapes[1]}, not of "
                f"{n_steps} steps and {n_targets} targets: the file is damaged"
            )
        return found


def check_masks(recipe: Recipe) -> None:
    """Raise `InputError` if a resolved recipe has no random mask, so that Monte Carlo dropout would draw equal forecasts.

    Parameters
    ----------
    recipe : Recipe
        With its rates set (`Recipe.resolved`).

    Raises
    ------
    InputError
        If all rates are 0.
    """
    if not any(getattr(recipe, name) for name in _RATES):
        raise InputError(
            f"mc_dropout needs a rate above 0, and {', '.join(_RATES)} are all 0: set one, or leave mc_dropout at 0"
        )


def window_spread(values: FloatArray, rows: IntArray, *, lookback: int, horizon: int) -> FloatArray:
    """Root mean square of the changes over a horizon's rows inside each window: how restless the targets are just now.

    Parameters
    ----------
    values : array of shape (n_rows, K)
        The targets on the scoring scale, gaps filled; no row after an origin is read for it.
    rows : array of shape (n,), int64
        Origins.
    lookback : int
        Rows in a window.
    horizon : int
        Rows of a change, or half a window if that is less.

    Returns
    -------
    array of shape (n, K)
        At least 0; 1 where a window of one row shows no change at all.

    Examples
    --------
    >>> window_spread(np.array([[0.0], [1.0], [0.0], [2.0]]), np.array([3]), lookback=4, horizon=1)
    array([[1.41421356]])
    """
    step = min(horizon, lookback // 2)
    if step == 0:
        return np.ones((len(rows), values.shape[1]))
    found = []
    for part in np.array_split(rows, max(1, ceil(len(rows) / _BLOCK))):
        window = values[part[:, None] + np.arange(1 - lookback, 1)]
        found.append(np.sqrt(((window[:, step:] - window[:, :-step]) ** 2).mean(axis=1)))
    return np.concatenate(found)


def count_apart(data: SeriesData, rows: IntArray) -> int:
    """Count the samples whose label spans follow each other without a common row; those of one time count once.

    Parameters
    ----------
    data : SeriesData
        The series.
    rows : array of shape (n,), int64
        Origins, ``horizon`` rows known after each.

    Returns
    -------
    int

    Notes
    -----
    Errors of overlapping label spans are alike, and so are those of different series at one time.
    """
    begins, place = np.unique(data.time[rows], return_inverse=True)
    ends = begins.copy()
    np.maximum.at(ends, place, data.time[rows + data.horizon])
    count = at = 0
    while at < len(begins):
        count += 1
        at = int(np.searchsorted(begins, ends[at]))
    return count


def _unit(spread: FloatArray, usual: FloatArray) -> FloatArray:
    return np.sqrt(np.maximum(spread, _LEAST * usual) * usual)


def _is_enough(m: int, level: float) -> bool:
    """Whether 19 of 20 calibrations on m errors, ten at least, leave out at most twice the share that is meant."""
    if m < _FEWEST:
        return False  # where half may be left out, twice of it says nothing
    finite = level * (1 + 1 / m) <= 1 + _ROUNDING
    return finite and _coverage(m, level, 0.05) >= level - (1 - level)


def _coverage(m: int, level: float, share: float) -> float:
    """The coverage that this share of calibrations on m errors stays below."""
    return float(betaincinv(level * (m + 1), (1 - level) * (m + 1), share))


def _note(level: float, m: int, need: int, *, given: bool) -> str:
    fits = "horizon fits" if m == 1 else "horizons fit"
    rows = f"{m} {fits} one after the other in the calibration rows"
    if m < need:
        rest = "" if given else ", and no finite interval has it"
        return f"{100 * level:g} % coverage cannot be promised: {rows}, and {need} are needed{rest}"
    low, high = (_coverage(m, level, share) for share in (0.05, 0.95))
    return (
        f"{rows}: where later errors are like those, coverage is {100 * level:g} % on average over calibrations and "
        f"{100 * low:.0f} to {100 * high:.0f} % in nine of ten"
    )


def _table(values: Any) -> tuple[tuple[float, ...], ...]:
    table = tuple(tuple(map(float, row)) for row in values)
    if not all(np.isfinite(row).all() for row in table):
        raise InputError("the interval of the model holds a number that is not finite: the file is damaged")
    return table
