"""What an interval says of an effect that matters: no more than it, how probably above it, and what it would take to see it.

A gain is positive where the new way is better: loss of the control less that of the other. ``delta`` is the smallest gain
that matters, in the same unit.
"""

from math import ceil, inf, isfinite, nan

from scipy import stats

from heldout.check import check_number
from heldout.studies.compare import Interval

CLASSES = ("HELPS MATERIALLY", "HELPS", "NO MATERIAL EFFECT", "HARMS", "UNDECIDED")
"""What `class_of` says."""


def tost(interval: Interval, delta: float) -> float:
    """Give the p value of "the effect is as large as delta, one way or the other": small means that it is not.

    Two one-sided t tests; the larger p value counts. It is below .05 just where the interval at level .90 lies within
    ``(-delta, delta)``.

    Parameters
    ----------
    interval : Interval
        Any t interval; only its mean, standard error and degrees of freedom are used.
    delta : float
        The smallest effect that matters, at least 0.

    Returns
    -------
    float
        1 where the data allow no interval.

    References
    ----------
    Schuirmann 1987, A comparison of the two one-sided tests procedure and the power approach, Journal of Pharmacokinetics
    and Biopharmaceutics 15.

    Examples
    --------
    >>> from heldout.studies.compare import fold_t
    >>> close = fold_t([0.001, -0.002, 0.001, 0.000, 0.002])
    >>> round(tost(close, 0.01), 4), round(tost(close, 0.001), 2)
    (0.0001, 0.21)
    """
    _check(delta)
    if not interval.enough:
        return 1.0
    return max(1 - probability_above(interval, -delta), probability_above(interval, delta))


def class_of(interval: Interval, delta: float) -> str:
    """Put a gain into a class by its interval.

    Parameters
    ----------
    interval : Interval
        Of the gain, positive is better; simultaneous where there are several (`heldout.studies.multiple.simultaneous`).
    delta : float
        The smallest gain that matters, at least 0.

    Returns
    -------
    str
        The first that fits: ``HELPS MATERIALLY`` (all of the interval above delta), ``NO MATERIAL EFFECT`` (all of it
        between -delta and delta, on whichever side of 0), ``HELPS`` (above 0), ``HARMS`` (below 0), ``UNDECIDED``.

    Examples
    --------
    >>> from heldout.studies.compare import fold_t
    >>> class_of(fold_t([0.020, 0.022, 0.018, 0.021]), 0.01), class_of(fold_t([0.02, -0.01, 0.03, 0.01]), 0.01)
    ('HELPS MATERIALLY', 'UNDECIDED')
    """
    _check(delta)
    if interval.low > delta:
        return "HELPS MATERIALLY"
    if -delta < interval.low and interval.high < delta:
        return "NO MATERIAL EFFECT"
    if interval.low > 0:
        return "HELPS"
    return "HARMS" if interval.high < 0 else "UNDECIDED"


def probability_above(interval: Interval, delta: float) -> float:
    """Give the probability that the true effect is above delta, as the data alone have it.

    The t posterior of the effect with a flat prior: ``P(t(df) > (delta - mean) / se)``. Of one effect looked at alone: it
    does not know how many others there were.

    Parameters
    ----------
    interval : Interval
        Any t interval; its level does not matter.
    delta : float
        The bound.

    Returns
    -------
    float
        In [0, 1]; not a number where the data allow no interval.

    Examples
    --------
    >>> from heldout.studies.compare import fold_t
    >>> found = fold_t([0.02, 0.01, 0.03, 0.02, 0.02])
    >>> probability_above(found, found.mean), round(probability_above(found, 0.01), 3)
    (0.5, 0.983)
    """
    check_number("delta", delta, -inf, inf, open_low=True, open_high=True)
    if not interval.enough:
        return nan
    if interval.se == 0:
        return 0.5 if interval.mean == delta else float(interval.mean > delta)
    return float(stats.t.sf((delta - interval.mean) / interval.se, interval.df))


def detectable(interval: Interval) -> float:
    """Give the smallest true effect that a test like this one would find in 4 of 5 cases.

    ``(t(.95) + t(.80)) * se``: a one-sided test at 5 %, with a power of 80 %.

    Parameters
    ----------
    interval : Interval
        Any t interval; its mean and level do not matter.

    Returns
    -------
    float
        In the unit of the effect; infinite where the data allow no interval.

    Examples
    --------
    >>> from heldout.studies.compare import fold_t
    >>> round(detectable(fold_t([0.02, 0.01, 0.03, 0.02, 0.02])), 4)
    0.0097
    """
    if not interval.enough:
        return inf
    return float(stats.t.ppf(0.95, interval.df) + stats.t.ppf(0.80, interval.df)) * interval.se


def needed(interval: Interval, delta: float, n: int) -> int | None:
    """Give how many folds, seeds or samples would let a test like this one see an effect of delta.

    ``n * (detectable / delta)^2``, rounded up. From few it errs on the high side, because the t quantiles fall as n grows.

    Parameters
    ----------
    interval : Interval
        Of the effect.
    delta : float
        The effect to be seen, above 0.
    n : int
        What the interval rests on now, at least 1.

    Returns
    -------
    int or None
        None where the data allow no interval, so that their noise is not known.

    Examples
    --------
    >>> from heldout.studies.compare import fold_t
    >>> needed(fold_t([0.02, 0.01, 0.03, 0.02, 0.02]), 0.005, n=5)
    19
    """
    check_number("delta", delta, 0, inf, open_low=True, open_high=True)
    check_number("n", n, 1, inf, open_high=True)
    seen = detectable(interval)
    return ceil(n * (seen / delta) ** 2) if isfinite(seen) else None


def _check(delta: float) -> None:
    check_number("delta", delta, 0, inf, open_high=True)
