from math import e, exp, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from heldout.check import InputError
from heldout.studies.lucky import expected_gain
from heldout.studies.sharpe import deflated_sharpe, probabilistic_sharpe


def two_valued(n, sharpe):
    """Returns with skew -3 and kurtosis 10, which two values have, one of them in 8.4 % of cases."""
    values = np.where(np.arange(n) < round(0.0839748 * n), 0.0, 1.0)
    return (values - values.mean()) / values.std(ddof=1) + sharpe


def test_the_example_of_the_paper():
    """Bailey and López de Prado 2014: 5 years of days, 2.5 a year, 100 trials with a variance of 1/2 a year: DSR .900."""
    returns = two_valued(1250, 2.5 / sqrt(250))
    assert (stats.skew(returns), stats.kurtosis(returns, fisher=False)) == pytest.approx((-3, 10), abs=0.02)
    sd = sqrt(0.5 / 250)
    assert deflated_sharpe(returns, n=100, sd=sd) == pytest.approx(0.9004, abs=0.006)
    assert deflated_sharpe(returns, n=46, sd=sd) == pytest.approx(0.9505, abs=0.004)
    normal = (1 - 0.5772) * stats.norm.ppf(1 - 1 / 100) + 0.5772 * stats.norm.ppf(1 - 1 / (100 * e))
    assert probabilistic_sharpe(returns, sd * normal) == pytest.approx(0.9004, abs=0.001)


@given(st.integers(0, 2**32 - 1), st.floats(-0.3, 0.3), st.floats(-6, 6))
@settings(deadline=None, max_examples=40)
def test_it_follows_the_formula_and_has_no_unit(seed, benchmark, log_unit):
    returns = 0.1 + np.random.default_rng(seed).standard_t(6, size=200)
    sharpe = returns.mean() / returns.std(ddof=1)
    skew, kurtosis = stats.skew(returns), stats.kurtosis(returns) + 3
    z = (sharpe - benchmark) * sqrt(199) / sqrt(1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2)
    assert probabilistic_sharpe(returns, benchmark) == pytest.approx(stats.norm.cdf(z))
    assert probabilistic_sharpe(exp(log_unit) * returns, benchmark) == pytest.approx(stats.norm.cdf(z))


def test_one_trial_is_not_deflated_and_more_trials_are_deflated_more():
    returns = 0.1 + np.random.default_rng(0).normal(size=300)
    found = [deflated_sharpe(returns, n=n, sd=0.05) for n in (1, 2, 10, 100)]
    assert found[0] == probabilistic_sharpe(returns)
    assert found == sorted(found, reverse=True)
    assert found[2] == probabilistic_sharpe(returns, expected_gain(10, 0.05))


def test_the_best_of_useless_strategies_is_rarely_shown_to_be_more_than_luck():
    rng = np.random.default_rng(1)
    plain, deflated = [], []
    for returns in rng.normal(size=(100, 20, 250)):
        ratios = returns.mean(axis=1) / returns.std(axis=1, ddof=1)
        best = returns[ratios.argmax()]
        plain.append(probabilistic_sharpe(best) > 0.95)
        deflated.append(deflated_sharpe(best, n=20, sd=float(ratios.std(ddof=1))) > 0.95)
    assert np.mean(plain) > 0.5  # 1 - .95^20 = .64
    assert np.mean(deflated) < 0.07


def test_what_is_wrong_is_said():
    with pytest.raises(InputError, match="20 or more, got 19"):
        probabilistic_sharpe(np.arange(19.0))
    with pytest.raises(InputError, match="must vary"):
        probabilistic_sharpe(np.full(30, 0.1))
    with pytest.raises(InputError, match=r"n must be in \[1, inf\)"):
        deflated_sharpe(np.arange(30.0), n=0, sd=0.1)
