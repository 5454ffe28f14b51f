from itertools import combinations
from math import e, inf, isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from heldout.check import InputError
from heldout.studies.lucky import (
    deflated,
    effective_trials,
    expected_gain,
    overfitting_probability,
    trial_noise,
)


def test_expected_gain_is_the_mean_of_the_largest_draw():
    draws = np.random.default_rng(0).normal(size=(50_000, 12))
    for n in (2, 5, 12):
        assert expected_gain(n, 3) == pytest.approx(3 * draws[:, :n].max(axis=1).mean(), abs=0.03)


def test_expected_gain_agrees_with_the_formula_of_the_deflated_sharpe_ratio():
    for n in (10, 30, 100, 1000):
        g = 0.5772156649
        said = (1 - g) * stats.norm.ppf(1 - 1 / n) + g * stats.norm.ppf(1 - 1 / (n * e))
        assert expected_gain(n) == pytest.approx(said, abs=0.04)


@settings(max_examples=40, deadline=None)
@given(st.floats(1, 1e6), st.floats(1, 1e6), st.floats(0, 10))
def test_more_trials_and_more_noise_are_luckier(n, m, sd):
    few, many = sorted((n, m))
    assert 0 <= expected_gain(few, sd) <= expected_gain(many, sd) + 1e-9
    assert expected_gain(n, 2 * sd) == pytest.approx(2 * expected_gain(n, sd))


def test_trial_noise_finds_the_noise_and_not_what_lies_between_trials_or_folds():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(40, 50)) + 5 * rng.normal(size=50) + 7 * rng.normal(size=(40, 1))
    assert trial_noise(table) == pytest.approx(1 / np.sqrt(50), rel=0.05)


def test_independent_trials_count_fully_and_copies_once():
    rng = np.random.default_rng(0)
    own = rng.normal(size=(20, 640))
    shared = 5 * rng.normal(size=640)
    assert effective_trials(own + shared) == pytest.approx(20, rel=0.1)
    assert effective_trials(np.repeat(own[:4], 10, axis=0) + shared) < 6
    assert effective_trials(np.repeat(own[:1], 10, axis=0)) == 1
    assert effective_trials(own[:2]) == pytest.approx(2, abs=0.1)


def test_noise_and_count_together_give_the_luck_of_trials_that_are_alike():
    rng = np.random.default_rng(1)
    best, said = [], []
    for _ in range(25):
        table = rng.normal(size=(30, 2)) @ rng.normal(size=(2, 64)) + 0.3 * rng.normal(size=(30, 64))
        means = table.mean(axis=1)
        best.append((means - means.mean()).max())
        said.append(expected_gain(effective_trials(table), trial_noise(table)))
    assert np.mean(said) == pytest.approx(np.mean(best), rel=0.2)


def test_deflated_takes_luck_away_and_rarely_believes_the_best_of_useless_trials():
    rng = np.random.default_rng(2)
    n, believed = 30, 0
    for _ in range(200):
        errors = rng.normal(size=n + 1)  # the last is the start
        found = deflated(errors[:n].max() - errors[n], 2**0.5, n, 1.0)
        believed += found.p_value < 0.05
    assert believed <= 18  # 5 % of 200 is 10
    found = deflated(0.5, 0.1, n=1, sd=0.3)
    assert (found.value, found.lucky) == (0.5, 0)
    assert found.p_value == pytest.approx(stats.norm.sf(5))
    assert deflated(0.5, 0.1, 1, 0.3, df=4).p_value == pytest.approx(stats.t.sf(5, 4))


def test_deflated_without_a_standard_error_is_sure_or_says_nothing():
    assert deflated(1, 0, 1, 0).p_value == 0
    assert deflated(-1, 0, 1, 0).p_value == 1
    assert deflated(0, 0, 1, 0).p_value == 0.5
    assert deflated(1, inf, 5, 1).p_value == 0.5


def pbo_slowly(losses, n_blocks):
    parts = np.array_split(np.arange(losses.shape[1]), n_blocks)
    bad, worse = [], []
    for half in combinations(range(n_blocks), n_blocks // 2):
        seen = np.concatenate([parts[k] for k in half])
        unseen = np.setdiff1d(np.arange(losses.shape[1]), seen)
        pick = losses[:, seen].mean(axis=1).argmin()
        ranks = stats.rankdata(-losses[:, unseen].mean(axis=1))
        share = ranks[pick] / (len(losses) + 1)
        bad.append(np.log(share / (1 - share)) <= 1e-12)
        worse.append(losses[pick, unseen].mean() - losses[pick, seen].mean())
    return np.mean(bad), np.mean(worse)


@pytest.mark.parametrize(("n", "moments", "n_blocks"), [(2, 64, 4), (7, 80, 8), (10, 60, 6)])
def test_overfitting_probability_is_that_of_the_paper(n, moments, n_blocks):
    losses = np.random.default_rng(n).normal(size=(n, moments - moments % n_blocks))
    found = overfitting_probability(losses, n_blocks=n_blocks)
    value, worse = pbo_slowly(losses, n_blocks)
    assert found.value == pytest.approx(value)
    assert found.degradation == pytest.approx(worse)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert (found.n_configs, found.n_blocks) == (n, n_blocks)


def test_overfitting_probability_tells_a_good_trial_from_noise():
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(12, 480))
    good = noise - np.eye(12)[0][:, None]
    assert overfitting_probability(good, n_blocks=8).high < 0.2
    found = overfitting_probability(noise, n_blocks=8)
    assert found.low < 0.5 < found.high
    assert found.degradation > 0


def test_the_spread_is_about_that_of_data_sets_alike():
    rng = np.random.default_rng(4)
    found = [overfitting_probability(rng.normal(size=(8, 128)), n_blocks=8) for _ in range(30)]
    mean = np.mean([one.value for one in found])
    assert np.mean([one.low <= mean <= one.high for one in found]) >= 0.75


def test_equal_trials_are_no_better_than_the_middle():
    found = overfitting_probability(np.ones((3, 32)), n_blocks=4)
    assert (found.value, found.low, found.high, found.degradation) == (1, 1, 1, 0)
    assert isnan(found.slope)


def test_tables_that_say_nothing_are_refused():
    with pytest.raises(InputError, match="2 or more trials"):
        overfitting_probability(np.ones((1, 40)))
    with pytest.raises(InputError, match="finite, got 1"):
        trial_noise([[1.0, np.nan], [1.0, 2.0]])
    with pytest.raises(InputError, match="even and at most half"):
        overfitting_probability(np.ones((3, 40)), n_blocks=5)
    with pytest.raises(InputError, match="even and at most half"):
        overfitting_probability(np.ones((3, 20)), n_blocks=16)
    with pytest.raises(InputError, match="n must be in"):
        expected_gain(0.5)
