from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal, stats

from heldout.check import InputError
from heldout.studies.forecasts import diebold_mariano


def slow(difference, horizon):
    """Newey and West by hand, the factor of Harvey, Leybourne and Newbold, and t."""
    n = len(difference)
    lags = max(horizon - 1, int(np.ceil(n ** (1 / 3))))
    centred = difference - difference.mean()
    variance = centred @ centred / n
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * (centred[lag:] @ centred[:-lag]) / n
    factor = sqrt((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n)
    return sqrt(variance / n) / factor


@pytest.mark.parametrize(("n", "horizon"), [(60, 1), (200, 5), (200, 24)])
def test_it_is_the_statistic_of_the_papers(n, horizon):
    rng = np.random.default_rng(0)
    a, b = rng.exponential(size=n), 1.2 * rng.exponential(size=n)
    found = diebold_mariano(a, b, horizon=horizon, level=0.9)
    se = slow(a - b, horizon)
    assert (found.mean, found.se) == pytest.approx(((a - b).mean(), se))
    assert found.high - found.mean == pytest.approx(stats.t.ppf(0.95, n - 1) * se)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(found.mean) / se, n - 1))


@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e6), st.integers(1, 10))
@settings(deadline=None, max_examples=30)
def test_it_has_no_unit_and_two_sides(seed, factor, horizon):
    a, b = np.random.default_rng(seed).exponential(size=(2, 80))
    found, back = (
        diebold_mariano(a, b, horizon=horizon),
        diebold_mariano(factor * b, factor * a, horizon=horizon),
    )
    assert back.low == pytest.approx(-factor * found.high, rel=1e-6, abs=1e-9 * factor)
    assert back.p_value == pytest.approx(found.p_value)


def test_its_size_fails_under_memory_as_the_docs_say():
    rng = np.random.default_rng(1)
    found = {}
    for rho in (0.0, 0.9):
        draws = signal.lfilter([1], [1, -rho], rng.normal(size=(200, 350)), axis=-1)[:, 100:]
        found[rho] = np.mean([diebold_mariano(x, np.zeros(250)).p_value < 0.05 for x in draws])
    assert found[0.0] < 0.074 + 3 * 0.0185
    assert found[0.9] > 0.2


def test_equal_losses_do_not_differ_and_a_constant_difference_is_certain():
    losses = np.random.default_rng(2).exponential(size=50)
    assert diebold_mariano(losses, losses).p_value == 1
    assert diebold_mariano(np.ones(50), np.zeros(50)).p_value == 0


def test_too_few_moments_decide_nothing_and_what_is_wrong_is_said():
    assert not diebold_mariano(np.arange(9.0), np.zeros(9)).enough
    with pytest.raises(InputError, match="need the same moments, got 10 and 11"):
        diebold_mariano(np.zeros(10), np.zeros(11))
    with pytest.raises(InputError, match=r"horizon must be in \[1, 10\], got 11"):
        diebold_mariano(np.arange(20.0), np.zeros(20), horizon=11)
