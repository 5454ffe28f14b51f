"""What arms gain over one control: paired, at once, in tiers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from heldout.check import InputError
from heldout.studies.gains import judge_gains, shares_saved, smallest_gain, tiers, widened
from heldout.studies.resampled import nadeau_bengio


def losses(rng, n_arms, n_folds, *, noise=0.02, effect=0.0):
    """Folds that differ in level four times; what an arm saves is a share, with noise."""
    level = np.exp(rng.uniform(0, np.log(4), n_folds))
    control = level * (1 + noise * rng.normal(size=n_folds))
    arms = level * (1 + noise * rng.normal(size=(n_arms, n_folds))) * (1 - effect)
    return arms, control


def test_the_control_under_another_name_does_not_help():
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(20):
        gains = judge_gains(shares_saved(*losses(rng, 8, 5)), delta=0.01)
        wrong += any(gain.verdict in ("HELPS", "HELPS MATERIALLY") for gain in gains)
    assert wrong <= 2  # of 20: 2.5 % is meant, the other half would harm


def test_a_gain_that_matters_is_found_whatever_the_level_of_the_folds():
    rng = np.random.default_rng(1)
    arms, control = losses(rng, 6, 8, noise=0.005, effect=0.1)
    assert {gain.verdict for gain in judge_gains(shares_saved(arms, control), delta=0.01)} == {
        "HELPS MATERIALLY"
    }


def test_an_arm_that_is_the_control_has_no_material_effect():
    (gain, _) = judge_gains(np.stack([np.zeros(5), np.linspace(-0.1, 0.2, 5)]), delta=0.01)
    assert (gain.verdict, gain.won, gain.interval.mean) == ("NO MATERIAL EFFECT", 0, 0)


@given(st.integers(1, 6), st.integers(2, 8), st.floats(0.5, 100), st.integers(0, 2**32 - 1))
def test_gains_do_not_depend_on_the_unit_of_the_loss(n_arms, n_folds, unit, seed):
    arms, control = losses(np.random.default_rng(seed), n_arms, n_folds)
    assert shares_saved(unit * arms, unit * control) == pytest.approx(shares_saved(arms, control))


def test_of_folds_that_share_samples_the_interval_is_that_of_nadeau_and_bengio():
    table = np.array([[0.02, 0.03, 0.01, 0.05, 0.02]])
    (gain,) = judge_gains(table, delta=0.01, overlap=0.25)
    expected = nadeau_bengio(table[0], 100, 25)
    assert (gain.interval.low, gain.interval.high) == pytest.approx((expected.low, expected.high))
    assert widened(table, 0.0) == pytest.approx(table)


def test_a_share_that_is_saved_is_at_most_all():
    (gain,) = judge_gains(np.array([[0.9, 0.5, 0.7]]), delta=0.01)
    assert gain.interval.high == 1.0


def test_a_control_that_loses_nothing_is_refused():
    with pytest.raises(InputError, match="above 0 in every fold, got 0"):
        shares_saved(np.ones((1, 2)), np.array([1.0, 0.0]))


def test_arms_alike_share_the_first_tier_and_too_few_moments_tell_nothing():
    rng = np.random.default_rng(0)
    table = rng.exponential(size=200) + [[0.0], [0.0], [1.0]] + 0.01 * rng.normal(size=(3, 200))
    assert tiers(table).tolist() == [1, 1, 2]
    assert tiers(table[:, :50]).tolist() == [1, 1, 1]
    assert tiers(np.ones((3, 2))).tolist() == [1, 1, 1]


def test_the_smallest_gain_is_seen_in_four_of_five_cases():
    n_arms, n_folds, rng = 10, 6, np.random.default_rng(0)
    effect = smallest_gain(n_arms, n_folds)
    means = effect + rng.normal(size=(20_000, n_folds))
    t = means.mean(axis=1) / means.std(axis=1, ddof=1) * np.sqrt(n_folds)
    seen = (t > stats.t.ppf(1 - 0.05 / (2 * n_arms), n_folds - 1)).mean()
    assert 0.7 < seen < 0.9
    with pytest.raises(InputError, match="2 folds at least"):
        smallest_gain(3, 1)
