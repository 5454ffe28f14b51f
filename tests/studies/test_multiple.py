import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal, stats
from statsmodels.stats.multitest import multipletests

from heldout.check import InputError
from heldout.studies.compare import fold_t
from heldout.studies.multiple import holm, model_confidence_set, simultaneous, spa, step_m


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(deadline=None, max_examples=5)  # statsmodels collects garbage at each call
def test_holm_is_that_of_statsmodels(p_values):
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def tables(rng, n, *, n_arms, n_folds, sd=1.0, control=1.0):
    """Differences of arms without effect from a control that they share."""
    return control * rng.normal(size=(n, 1, n_folds)) + sd * rng.normal(size=(n, n_arms, n_folds))


@pytest.mark.parametrize("n_folds", [5, 8])
@pytest.mark.parametrize("n_arms", [4, 12, 20])
@pytest.mark.parametrize("noise", ["equal", "unequal", "loud"])
def test_all_intervals_hold_at_once_in_95_percent_of_tables(n_folds, n_arms, noise):
    rng = np.random.default_rng(0)
    sd = np.geomspace(0.25, 4, n_arms)[:, None] if noise == "unequal" else 1.0
    draws = tables(rng, 4000, n_arms=n_arms, n_folds=n_folds, sd=sd, control=3.0 if noise == "loud" else 1.0)
    largest = np.abs(stats.ttest_1samp(draws, 0, axis=2).statistic).max(axis=1)
    some = np.linspace(0, len(draws) - 1, 2).astype(int)  # the critical value hardly differs between tables
    factors = [(found.high - found.mean) / found.se for n in some for found in simultaneous(draws[n])[:1]]
    held = np.mean([np.mean(largest <= factor) for factor in factors])
    assert 0.93 < held < 0.975


def test_every_arm_has_its_own_spread_and_one_factor():
    table = (
        tables(np.random.default_rng(1), 1, n_arms=6, n_folds=8, sd=np.geomspace(0.1, 9, 6)[:, None])[0] + 0.4
    )
    found, alone = simultaneous(table, level=0.9), [fold_t(row, level=0.9) for row in table]
    factors = [(one.high - one.mean) / one.se for one in found]
    assert factors == pytest.approx([factors[0]] * 6)
    assert factors[0] > (alone[0].high - alone[0].mean) / alone[0].se
    for one, plain in zip(found, alone, strict=True):
        assert (one.mean, one.se, one.df, one.level) == (plain.mean, plain.se, 7, 0.9)
        assert one.mean - one.low == pytest.approx(one.high - one.mean)
        assert one.p_value >= plain.p_value * 0.9


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(2, 8), st.floats(0.5, 0.99))
@settings(deadline=None, max_examples=25)
def test_a_p_value_is_below_one_less_the_level_just_where_the_interval_leaves_out_zero(
    seed, n_arms, n_folds, level
):
    table = (
        2 * np.random.default_rng(seed).normal(size=(n_arms, 1))
        + tables(np.random.default_rng(seed), 1, n_arms=n_arms, n_folds=n_folds)[0]
    )
    for found in simultaneous(table, level=level):
        assert (found.p_value < 1 - level + 1e-12) == (found.low > 0 or found.high < 0)


def test_one_arm_is_the_t_interval_and_arms_that_are_alike_are_hardly_more():
    row = np.random.default_rng(2).normal(size=8)
    assert simultaneous([row]) == [fold_t(row)]
    alike, apart = simultaneous([row] * 10), simultaneous(np.random.default_rng(3).normal(size=(10, 8)))
    factor, other = ((found[0].high - found[0].mean) / found[0].se for found in (alike, apart))
    assert stats.t.ppf(0.975, 7) < factor < 3.3 < other


def test_arms_that_never_differ_have_an_interval_of_one_point():
    found = simultaneous([[0.0] * 5, [0.2] * 5, [0.1, -0.1, 0.2, 0.0, 0.1]])
    assert (found[0].low, found[0].high, found[0].p_value) == (0, 0, 1)
    assert found[1].p_value < 0.001


def losses(rng, shape, memory=0.0):
    draws = rng.normal(size=(*shape[:-1], shape[-1] + 100))
    return signal.lfilter([1], [1, -memory], draws, axis=-1)[..., 100:]


def test_useless_arms_beat_the_control_by_luck_in_about_5_percent_of_cases():
    rng = np.random.default_rng(4)
    beaten, missed = [], []
    for _ in range(40):
        table = losses(rng, (6, 300), memory=0.4)
        beaten.append(len(step_m(table[0], table[1:], n_resamples=99)) > 0)
        missed.append(0 not in model_confidence_set(table, n_resamples=99))
    assert np.mean(beaten) < 0.08 + 3 * 0.034
    assert np.mean(missed) < 0.10 + 3 * 0.047


def test_a_better_arm_is_found_beside_a_noisy_one():
    rng = np.random.default_rng(5)
    control = rng.normal(size=400)
    quiet, noisy = control - 0.05 + 0.2 * rng.normal(size=400), control + 20 * rng.normal(size=400)
    worse = control + 0.1 + 0.2 * rng.normal(size=400)
    arms = [noisy, quiet, worse]
    assert step_m(control, arms).tolist() == [1]
    assert spa(control, arms) < 0.01
    assert spa(control, [noisy, worse]) > 0.1
    assert model_confidence_set([control, quiet, worse]).tolist() == [1]


def test_all_arms_can_win_one_after_the_other():
    rng = np.random.default_rng(6)
    control = rng.normal(size=300)
    gains = np.array([[0.3], [0.05], [0.02]])
    assert step_m(control, control - gains + 0.1 * rng.normal(size=(3, 300))).tolist() == [0, 1, 2]


def test_arms_that_are_the_control_or_differ_by_a_constant_are_no_trouble():
    rng = np.random.default_rng(7)
    control = rng.normal(size=200)
    assert spa(control, [control, control]) == 1
    assert spa(control, [control, control + 0.1 + 0.1 * rng.normal(size=200)]) > 0.3
    assert step_m(control, [control, control - 0.5]).tolist() == [1]
    assert step_m(np.zeros(200), [np.zeros(200), np.full(200, -0.5)]).tolist() == [1]
    assert model_confidence_set([control] * 3).tolist() == [0, 1, 2]
    assert model_confidence_set([control, control - 0.5, control, control + 0.5]).tolist() == [1]
    constants = np.repeat([[0.0], [1.0], [2.0], [0.0]], 150, axis=1)
    assert model_confidence_set(constants).tolist() == [0, 3]


def test_too_few_moments_for_their_memory_tell_nothing_apart():
    rng = np.random.default_rng(8)
    for table in (rng.normal(size=(4, 60)), np.cumsum(rng.normal(size=(4, 250)), axis=1)):
        table[1] -= 0.3
        assert spa(table[0], table[1:]) == 1
        assert step_m(table[0], table[1:]).tolist() == []
        assert model_confidence_set(table).tolist() == [0, 1, 2, 3]


def test_long_series_are_averaged_down_and_say_the_same():
    rng = np.random.default_rng(9)
    table = np.array([[0.0], [0.0], [0.1]]) + rng.normal(size=(3, 10_000))
    assert model_confidence_set(table).tolist() == [0, 1]
    assert step_m(table[2], table[:2]).tolist() == [0, 1]


def test_the_draws_are_always_the_same():
    table = losses(np.random.default_rng(10), (5, 200))
    assert simultaneous(table[:, :8]) == simultaneous(table[:, :8])
    assert spa(table[0], table[1:]) == spa(table[0], table[1:])
    assert any(spa(table[0], table[1:], seed=seed) != spa(table[0], table[1:]) for seed in (1, 2, 3))


def test_what_is_wrong_is_said():
    with pytest.raises(InputError, match=r"p_values must be in \[0, 1\]"):
        holm([0.1, 1.2])
    with pytest.raises(InputError, match="1 or more arms x 2 or more columns"):
        simultaneous([[1.0], [2.0]])
    with pytest.raises(InputError, match="finite, got 1 missing"):
        simultaneous([[1.0, np.nan]])
    with pytest.raises(InputError, match="turn it round"):
        model_confidence_set(np.zeros((200, 5)))
    with pytest.raises(InputError, match="the 200 moments of the control"):
        spa(np.zeros(200), np.zeros((200, 5)))
    with pytest.raises(InputError, match=r"size must be in \(0, 1\)"):
        step_m(np.zeros(200), np.zeros((5, 200)), size=0)
