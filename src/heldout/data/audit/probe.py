"""What a plain ridge regression says of the columns: is it too good, and does its skill hang on the newest row alone.

Fitted to rows that train and scored on rows that say when to stop: the sealed rows are never forecast here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, t
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from heldout.data.audit.finding import Finding, failed, not_run, passed
from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.data.transforms import last_known

CHECK = "too good to be true"
_LAGS = 10
_MOST = 20_000
_LEAST = 100  # rows that judge
_BLOCKS = 8
RIGHT, TOLD = 0.6, 0.05
"""Share of directions right, and of the variance of daily changes told, that no honest forecast of a price reaches."""
_PRICES = ("price", "close", "bid", "ask")
_EARLIER = ("open", "high", "low", "vwap", "volume")
"""What is settled before the close: the close of the same row tells the next one honestly."""


@dataclass(frozen=True, eq=False)
class Probe:
    """Errors of three ridge regressions for the first step ahead, on rows that none was fitted to.

    Attributes
    ----------
    change : array of shape (n,)
        What the target did, from the origin to the next row; of a target that is a change itself, its next value.
    own, full, late : arrays of shape (n,)
        What was forecast from the target's own past; with covariates; with covariates one row older.
    """

    change: FloatArray
    own: FloatArray
    full: FloatArray
    late: FloatArray


def probe(data: SeriesData, train: IntArray, valid: IntArray, target: str) -> Probe | None:
    """Fit the three regressions for a target; None where there are too few rows.

    Parameters
    ----------
    data : SeriesData
        The series.
    train, valid : arrays of int64
        Origins to fit and to score.
    target : str
        Which.
    """
    y = last_known(data, target)
    columns = np.stack([last_known(data, name) for name in (*data.past, *data.future)] or [0 * y], axis=1)
    n_past = len(data.past)
    rows = [part[part >= _LAGS + 1] for part in (train[-_MOST:], valid[:_MOST])]
    rows = [part[data.series_of_row[part - _LAGS - 1] == data.series_of_row[part]] for part in rows]
    rows = [part[np.isfinite(y[part + 1])] for part in rows]
    if len(rows[0]) < 3 * (_LAGS + 2 * columns.shape[1]) or len(rows[1]) < _LEAST:
        return None

    def inputs(part: IntArray, delay: int, *, own: bool = False) -> FloatArray:
        lags = [y[part], *(y[part - k] - y[part] for k in range(1, _LAGS + 1))]
        if own:
            return np.stack(lags, axis=1)
        now, before = columns[part - delay], columns[part - delay - 1]
        now[:, n_past:] = columns[part + 1 - delay, n_past:]
        return np.hstack([np.stack(lags, axis=1), now, now - before])

    level = float(np.corrcoef(y[rows[0]], y[rows[0] + 1])[0, 1] > 0.5) if np.ptp(y[rows[0]]) > 0 else 1.0
    change = [y[part + 1] - level * y[part] for part in rows]
    said = []
    for options in ({"delay": 0, "own": True}, {"delay": 0}, {"delay": 1}):
        known, asked = (inputs(part, **options) for part in rows)  # type: ignore[arg-type]
        scale = StandardScaler().fit(known)
        model = Ridge(alpha=1.0).fit(scale.transform(known), change[0])
        said.append(np.asarray(model.predict(scale.transform(asked)), np.float64))
    return Probe(change[1], *said)


def check_delay(found: Probe | None, *, has_covariates: bool) -> Finding:
    """Find covariates whose help is gone when they are read one row older.

    Parameters
    ----------
    found : Probe or None
        See `probe`.
    has_covariates : bool
        Whether there are any.

    Notes
    -----
    A hint only: a column that acts within one step, or news that is traded at once, collapses as honestly as a time stamp that is one row early.
    """
    check = "covariates one row older"
    if found is None or not has_covariates:
        why = "There are no covariates." if not has_covariates else "There are too few rows to judge by."
        return not_run(check, why, kind="hint")
    own, full, late = ((found.change - forecast) ** 2 for forecast in (found.own, found.full, found.late))
    gain, left = 1 - full.mean() / own.mean(), 1 - late.mean() / own.mean()
    figures = {"gain": float(gain), "gain_one_row_older": float(left)}
    if gain < 0.2 or left > 0.1 * gain or _lower(own - full, 0.95) <= 0:
        return passed(
            check,
            f"Covariates save a ridge regression {100 * gain:.0f} % of its error, one row older {100 * left:.0f} %.",
            kind="hint",
            figures=figures,
        )
    return failed(
        check,
        f"Covariates save a ridge regression {100 * gain:.0f} % of its error and, read one row older, {100 * left:.0f} %: either they act within one "
        "step, or their time stamps are a row early. Check when each value is really known.",
        kind="hint",
        figures=figures,
    )


def is_price(data: SeriesData, target: str, found: Probe) -> bool:
    """Whether a target looks like a market price, or its return.

    Its steps are business days, and its name says so or its own past tells next to nothing of what it does next.

    Parameters
    ----------
    data : SeriesData
        The series.
    target : str
        Which.
    found : Probe
        Of this target.
    """
    words = target.lower().replace("_", " ").replace(".", " ").split()
    told = 1 - ((found.change - found.own) ** 2).mean() / max((found.change**2).mean(), 1e-300)
    named, earlier = (any(word in names for word in words) for names in (_PRICES, _EARLIER))
    return data.frequency.unit == "business day" and not earlier and (named or bool(told < 0.02))


def check_too_good(data: SeriesData, found: Sequence[Probe | None]) -> Finding:
    """Find a forecast of a price that is too good to be true: what `too_good` says of the ridge regression with all columns.

    Parameters
    ----------
    data : SeriesData
        The series.
    found : sequence of Probe or None
        Of each target, see `probe`.
    """
    prices = [
        one
        for name, one in zip(data.targets, found, strict=True)
        if one is not None and is_price(data, name, one)
    ]
    if not prices:
        why = "there are too few rows to judge by" if None in found else "no target looks like a market price"
        return not_run(CHECK, f"What is too good to be true is known of prices alone, and {why}.")
    said = [too_good(one.change, one.full, who="a ridge regression") for one in prices]
    return next((finding for finding in said if finding.failed), said[0])


def too_good(change: FloatArray, forecast: FloatArray, *, who: str = "the model") -> Finding:
    """Find forecasts of a price that are too good to be true.

    It fails where the direction is right in more than 60 % of the moves, or more than 5 % of the variance of the changes is told, beyond
    doubt: the lower end of a 99.9 % interval (Clopper-Pearson; of 8 blocks by t) is above. This is a rule of thumb for liquid
    markets at one step ahead; nothing else should be held to it.

    Parameters
    ----------
    change, forecast : arrays of shape (n,)
        What happened, and what was said of it.
    who : str, default "the model"
        Whose forecasts they are.

    Examples
    --------
    >>> change = np.random.default_rng(0).normal(size=500)
    >>> too_good(change, 0.5 * change).status, too_good(change, 0 * change).status
    ('FAIL', 'PASS')
    """
    moved = (change != 0) & (forecast != 0)
    n, right = int(moved.sum()), int((np.sign(change) == np.sign(forecast))[moved].sum())
    low = float(beta.ppf(0.001, right, n - right + 1)) if right else 0.0
    told = (change**2 - (change - forecast) ** 2) / max(float((change**2).mean()), 1e-300)
    figures = {"directions_right": right / max(n, 1), "variance_told": float(told.mean())}
    text = f"{who} has {100 * right / max(n, 1):.0f} % of {n:,} directions right and tells {100 * told.mean():.1f} % of the variance of the changes"
    if low <= RIGHT and _lower(told, 0.999) <= TOLD:
        return passed(CHECK, f"Nothing is too good for a price: {text}.", figures=figures)
    return failed(
        CHECK,
        f"This is too good for a price: {text}. Look for a column that knows the next row (rule of thumb: {100 * RIGHT:.0f} % and {100 * TOLD:.0f} %).",
        figures=figures,
    )


def _lower(values: FloatArray, level: float) -> float:
    """Lower end of a one-sided interval of a mean, by the means of blocks."""
    blocks = np.array([block.mean() for block in np.array_split(values, _BLOCKS)])
    return float(blocks.mean() - t.ppf(level, _BLOCKS - 1) * blocks.std(ddof=1) / np.sqrt(_BLOCKS))
