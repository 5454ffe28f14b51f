from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference

from heldout.check import InputError
from heldout.studies.compare import fold_t
from heldout.studies.resampled import mcnemar, nadeau_bengio, paired_bootstrap


def test_nadeau_bengio_is_the_t_interval_widened_for_what_the_splits_share():
    values = np.random.default_rng(0).normal(size=20)
    found, plain = nadeau_bengio(values, 900, 100), fold_t(values)
    factor = sqrt(1 + 20 / 9)
    assert (found.mean, found.df) == (plain.mean, 19)
    assert found.se == pytest.approx(plain.se * factor)
    assert found.high - found.mean == pytest.approx((plain.high - plain.mean) * factor)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(found.mean) / found.se, 19))


def test_ten_times_ten_folds_find_too_much_without_the_correction_and_not_with_it():
    rng = np.random.default_rng(1)
    plain, corrected = [], []
    for _ in range(200):
        losses = rng.normal(size=100)  # of 100 samples; a split shows the mean of its test part
        order = rng.permuted(np.tile(np.arange(100), (10, 1)), axis=1)
        means = losses[order].reshape(100, 10).mean(axis=1) + 0.05 * rng.normal(size=100)
        plain.append(fold_t(means).p_value < 0.05)
        corrected.append(nadeau_bengio(means, 90, 10).p_value < 0.05)
    assert np.mean(plain) > 0.3
    assert np.mean(corrected) < 0.05


def test_one_split_decides_nothing():
    found = nadeau_bengio([0.3], 90, 10)
    assert (found.enough, found.low, found.high, found.p_value) == (False, -inf, inf, 1.0)


def test_the_bootstrap_agrees_with_t_for_many_normal_samples():
    values = 0.1 + np.random.default_rng(2).normal(size=800)
    found, plain = paired_bootstrap(values), fold_t(values)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.01)
    assert (found.se, found.p_value) == pytest.approx((plain.se, plain.p_value), rel=0.15)


def test_the_bootstrap_of_groups_is_that_of_their_sums():
    rng = np.random.default_rng(3)
    groups = rng.integers(0, 60, size=500)
    values = 0.2 + rng.normal(size=60)[groups] + rng.normal(size=500)
    found = paired_bootstrap(values, groups)
    members = [values[groups == group] for group in np.unique(groups)]
    draws = [
        np.concatenate([members[n] for n in rng.integers(0, len(members), len(members))]).mean()
        for _ in range(2000)
    ]
    assert found.mean == pytest.approx(values.mean())
    assert found.se == pytest.approx(np.std(draws), rel=0.1)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.06)
    assert found.df == len(members) - 1


def test_the_bootstrap_covers_where_texts_of_a_group_are_alike_and_would_not_without_groups():
    rng = np.random.default_rng(4)
    author = np.repeat(np.arange(40), 5)
    held, alone = [], []
    for _ in range(100):
        values = rng.normal(size=40)[author] + 0.5 * rng.normal(size=200)
        found = paired_bootstrap(values, author, n_resamples=299)
        plain = paired_bootstrap(values, n_resamples=299)
        held.append(found.low <= 0 <= found.high)
        alone.append(plain.low <= 0 <= plain.high)
    assert np.mean(held) > 0.88  # .95 less three Monte Carlo standard errors
    assert np.mean(alone) < 0.8


@pytest.mark.parametrize("n", [300, 6000])  # with the bias correction, and above its size
def test_the_bootstrap_is_the_same_every_time(n):
    values = np.random.default_rng(5).normal(size=n)
    found = paired_bootstrap(values, n_resamples=999)
    assert found == paired_bootstrap(values, n_resamples=999)
    assert found.low < found.mean < found.high
    assert found != paired_bootstrap(values, n_resamples=999, seed=1)


def test_too_few_samples_or_equal_ones_are_no_trouble():
    assert not paired_bootstrap(np.arange(19.0)).enough
    assert not paired_bootstrap(np.arange(300.0), np.arange(300) % 5).enough
    for value, p_value in ((0.0, 1.0), (0.5, 0.0)):
        same = paired_bootstrap(np.full(50, value))
        assert (same.low, same.high, same.p_value) == (value, value, p_value)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 40), st.integers(1, 40))
@settings(deadline=None)
def test_mcnemar_is_that_of_the_table_of_counts(only_a, only_b, both, neither):
    a = np.repeat([True, False, True, False], [only_a, only_b, both, neither])
    b = np.repeat([False, True, True, False], [only_a, only_b, both, neither])
    found, differ = mcnemar(a, b), only_a + only_b
    assert found == mcnemar(b, a)
    if differ == 0:
        assert found == 1
    elif differ < 25:
        assert found == pytest.approx(stats.binomtest(only_a, differ).pvalue)
    else:
        assert found == pytest.approx(stats.chi2.sf((abs(only_a - only_b) - 1) ** 2 / differ, 1))
        assert found == reference([[both, only_a], [only_b, neither]], exact=False).pvalue


def test_what_is_wrong_is_said():
    with pytest.raises(InputError, match="differences must be finite, got 1 missing"):
        nadeau_bengio([1.0, np.nan], 9, 1)
    with pytest.raises(InputError, match=r"n_train must be in \[1, inf\), got 0"):
        nadeau_bengio([1.0, 2.0], 0, 1)
    with pytest.raises(InputError, match="one axis and at least one value"):
        paired_bootstrap([])
    with pytest.raises(InputError, match="groups must be one name for each of 30 samples"):
        paired_bootstrap(np.arange(30.0), np.arange(29))
    with pytest.raises(InputError, match="true or false"):
        mcnemar([0, 1], [1, 1])
    with pytest.raises(InputError, match="the same samples"):
        mcnemar([True, False], [True])
