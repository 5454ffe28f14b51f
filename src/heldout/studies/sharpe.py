"""Sharpe ratios and the chance that they are above another, or above what the best of many useless strategies would reach."""

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from heldout.check import InputError, check_number
from heldout.studies.lucky import expected_gain
from heldout.studies.resampled import finite_vector

_FEWEST = 20  # of fewer returns skew and tails cannot be told


def probabilistic_sharpe(returns: ArrayLike, benchmark: float = 0.0) -> float:
    """Give the probability that the true Sharpe ratio is above a benchmark, allowing for skew and heavy tails.

    ``Phi((SR - benchmark) * sqrt(n - 1) / sqrt(1 - g3 * SR + (g4 - 1) / 4 * SR^2))`` with g3 the skew and g4 the kurtosis (3
    for the normal distribution).

    Parameters
    ----------
    returns : array of shape (n,)
        Excess returns per period, 20 or more.
    benchmark : float, default 0
        A Sharpe ratio per period, not annualised.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    InputError
        If there are too few returns, one is missing, or they do not vary.

    Notes
    -----
    Returns are taken as independent of each other: where they follow a trend the ratio is surer than it should be.

    References
    ----------
    Bailey and López de Prado 2012, The Sharpe ratio efficient frontier, Journal of Risk 15(2).

    Examples
    --------
    >>> returns = 0.001 + 0.01 * np.random.default_rng(0).normal(size=500)
    >>> round(probabilistic_sharpe(returns), 3)
    0.945
    """
    values = finite_vector("returns", returns)
    if len(values) < _FEWEST:
        raise InputError(
            f"returns must be {_FEWEST} or more, got {len(values)}: of fewer their tails cannot be told"
        )
    check_number("benchmark", benchmark, -1e9, 1e9)
    spread = float(values.std(ddof=1))
    if spread <= 1e-12 * float(np.abs(values).max()):
        raise InputError("returns must vary, got the same value throughout")
    ratio = float(values.mean()) / spread
    skew, kurtosis = float(stats.skew(values)), float(stats.kurtosis(values, fisher=False))
    # above 0, because the kurtosis is never below 1 + skew^2
    variance = 1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2
    if variance <= 0:
        return float(ratio > benchmark)
    return float(stats.norm.cdf((ratio - benchmark) * sqrt(len(values) - 1) / sqrt(variance)))


def deflated_sharpe(returns: ArrayLike, *, n: float, sd: float) -> float:
    """Give the probability that the true Sharpe ratio of the best of n trials is above what luck alone would give.

    `probabilistic_sharpe` with the expected best of n useless trials as the benchmark.

    Parameters
    ----------
    returns : array of shape (n_periods,)
        Excess returns per period of the trial that was chosen.
    n : float
        Independent trials it was chosen from, at least 1 (`heldout.studies.lucky.effective_trials`); all that were looked
        at count.
    sd : float
        Standard deviation of the Sharpe ratios of the trials, per period.

    Returns
    -------
    float
        In [0, 1]; below .95 the choice is not shown to be more than luck.

    Raises
    ------
    InputError
        As `probabilistic_sharpe`, or if ``n`` or ``sd`` is out of range.

    Notes
    -----
    The expected best is exact for normal draws (`heldout.studies.lucky.expected_gain`), where the paper approximates it: for
    100 trials 2.508 instead of 2.530 standard deviations.

    References
    ----------
    Bailey and López de Prado 2014, The deflated Sharpe ratio, Journal of Portfolio Management 40(5).

    Examples
    --------
    >>> returns = 0.001 + 0.01 * np.random.default_rng(0).normal(size=500)
    >>> round(deflated_sharpe(returns, n=20, sd=0.05), 3)
    0.318
    """
    return probabilistic_sharpe(returns, expected_gain(n, sd))
