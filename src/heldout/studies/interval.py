"""`Interval`: an estimate and how sure it is; the t interval of one whose standard error is known."""

from dataclasses import dataclass
from math import inf

from scipy import stats


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate, its confidence interval, and the test of "it is zero" that goes with it.

    Parameters
    ----------
    mean : float
        The estimate.
    low, high : float
        Ends of the two-sided interval; minus and plus infinity where the data do not allow one. For a one-sided
        bound at 95 % take the end of the interval at level .90.
    se : float
        Standard error; infinite where the data do not allow one.
    df : float
        Degrees of freedom of the t distribution; 0 where the data do not allow an interval.
    level : float
        Confidence, in (0, 1).
    p_value : float
        Two-sided, of "the true value is 0"; below ``1 - level`` just where the interval leaves out 0.
    enough : bool
        False where the data do not allow an interval; then nothing is decided by it.
    """

    mean: float
    low: float
    high: float
    se: float
    df: float
    level: float
    p_value: float
    enough: bool = True


def student(mean: float, se: float, df: float, *, level: float = 0.95) -> Interval:
    """Give the t interval of an estimate.

    Parameters
    ----------
    mean : float
        The estimate.
    se : float
        Its standard error, at least 0.
    df : float
        Degrees of freedom of the standard error, above 0.
    level : float, default 0.95
        Confidence, in (0, 1).

    Returns
    -------
    Interval
        ``mean +- t(df) * se``, with the two-sided p value of "it is 0".

    Examples
    --------
    >>> found = student(0.2, 0.05, 7)
    >>> round(found.low, 3), round(found.high, 3), round(found.p_value, 4)
    (0.082, 0.318, 0.0052)
    """
    half = float(stats.t.ppf((1 + level) / 2, df)) * se
    p = 2 * float(stats.t.sf(abs(mean) / se, df)) if se > 0 else float(mean == 0)
    return Interval(mean=mean, low=mean - half, high=mean + half, se=se, df=float(df), level=level, p_value=p)


def undecided(mean: float, *, level: float = 0.95) -> Interval:
    """Give the infinite interval of an estimate by which nothing is decided.

    Parameters
    ----------
    mean : float
        The estimate.
    level : float, default 0.95
        Confidence, in (0, 1).

    Returns
    -------
    Interval
        With ``enough`` False and a p value of 1.

    Examples
    --------
    >>> undecided(0.2).low
    -inf
    """
    return Interval(mean=mean, low=-inf, high=inf, se=inf, df=0.0, level=level, p_value=1.0, enough=False)
