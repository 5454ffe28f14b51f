from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal, stats

from heldout.check import InputError
from heldout.studies.compare import Interval, block_t, fold_skill, fold_t, skill, two_way


def ar1(rng, rho, shape):
    noise = rng.normal(size=(*shape[:-1], shape[-1] + 100))
    return signal.lfilter([1], [1, -rho], noise, axis=-1)[..., 100:]


def ends(found: Interval) -> tuple[float, float]:
    return found.low, found.high


def test_block_t_is_the_t_interval_of_the_block_means():
    values = np.random.default_rng(0).normal(size=800)
    means = values.reshape(8, 100).mean(axis=1)
    expected = stats.ttest_1samp(means, 0)
    found = block_t(values, level=0.9)
    assert found.mean == pytest.approx(values.mean())
    assert found.se == pytest.approx(means.std(ddof=1) / sqrt(8))
    assert found.p_value == pytest.approx(expected.pvalue)
    assert ends(found) == pytest.approx(tuple(expected.confidence_interval(0.9)))
    assert (found.df, found.level, found.enough) == (7, 0.9, True)


def test_fold_t_is_the_t_interval_of_the_folds():
    folds = [0.3, 0.1, 0.4, 0.2, -0.1]
    expected = stats.ttest_1samp(folds, 0)
    found = fold_t(folds)
    assert ends(found) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.p_value == pytest.approx(expected.pvalue)


def test_two_way_follows_the_formula_of_welch_and_satterthwaite():
    rng = np.random.default_rng(1)
    table = 0.1 + rng.normal(size=400) + 0.05 * rng.normal(size=(5, 1)) + 0.2 * rng.normal(size=(5, 400))
    means = [table.mean(axis=0)[k * 50 : (k + 1) * 50].mean() for k in range(8)]
    v1, v2 = np.var(means, ddof=1) / 8, np.var(table.mean(axis=1), ddof=1) / 5
    df = (v1 + v2) ** 2 / (v1**2 / 7 + v2**2 / 4)
    half = stats.t.ppf(0.975, df) * sqrt(v1 + v2)
    found = two_way(table)
    assert (found.se, found.df) == pytest.approx((sqrt(v1 + v2), df))
    assert ends(found) == pytest.approx((table.mean() - half, table.mean() + half))


def test_two_way_with_one_seed_or_equal_seeds_is_block_t():
    values = np.random.default_rng(2).normal(size=300)
    assert two_way(values[None]) == block_t(values)
    equal = two_way(np.stack([values] * 4))
    assert (equal.se, equal.df, equal.p_value) == pytest.approx(
        (block_t(values).se, 7, block_t(values).p_value)
    )


@pytest.mark.parametrize(("rho", "n_draws"), [(0.0, 500), (0.5, 2000)])
def test_block_t_keeps_its_level_and_its_coverage_under_serial_dependence(rho, n_draws):
    rng = np.random.default_rng(3)
    found = [block_t(values + 0.3) for values in ar1(rng, rho, (n_draws, 500))]
    missed = np.mean([not (interval.low <= 0.3 <= interval.high) for interval in found])
    assert (
        0.043 - 3 * 0.005 <= missed <= 0.062 + 3 * 0.005
    )  # SCIENCE's range, three Monte Carlo standard errors
    assert np.mean([interval.enough for interval in found]) > 0.99


@pytest.mark.parametrize("noise_of_seeds", [0.0, 0.2])
def test_two_way_keeps_its_level_whichever_noise_dominates(noise_of_seeds):
    rng = np.random.default_rng(4)
    rejected = []
    for time in ar1(rng, 0.5, (500, 1, 400)):
        table = time + noise_of_seeds * rng.normal(size=(5, 1)) + 0.3 * rng.normal(size=(5, 400))
        rejected.append(two_way(table).p_value < 0.05)
    assert 0.015 < np.mean(rejected) < 0.061 + 3 * 0.0107


def test_a_test_over_seeds_alone_would_not_keep_its_level():
    rng = np.random.default_rng(5)
    rejected = []
    for time in ar1(rng, 0.5, (400, 1, 200)):
        means = (time + 0.3 * rng.normal(size=(5, 200))).mean(axis=1)
        rejected.append(stats.ttest_1samp(means, 0).pvalue < 0.05)
    assert np.mean(rejected) > 0.2


def test_longer_memory_gives_fewer_blocks_and_too_little_data_gives_no_verdict():
    rng = np.random.default_rng(6)
    blocks = {rho: np.mean([block_t(x).df + 1 for x in ar1(rng, rho, (50, 300))]) for rho in (0.0, 0.5, 0.9)}
    assert blocks[0.0] > blocks[0.5] > blocks[0.9]
    for found in (block_t(np.cumsum(rng.normal(size=200))), block_t(rng.normal(size=19)), fold_t([1.0])):
        assert (found.enough, *ends(found), found.se, found.p_value) == (False, -inf, inf, inf, 1.0)


def test_averaging_down_long_series_keeps_the_blocks_honest():
    values = ar1(np.random.default_rng(7), 0.999, (20_000,))
    assert block_t(values, blocks=200).df + 1 < 20  # 20 000 / (5 x about 1000)
    assert block_t(ar1(np.random.default_rng(7), 0.5, (60_000,))).df == 7


@given(
    seed=st.integers(0, 2**32 - 1),
    factor=st.floats(1e-6, 1e6),
    shift=st.floats(-10, 10),
    n_seeds=st.integers(1, 4),
)
@settings(deadline=None)
def test_intervals_move_with_the_unit_and_with_a_shift(seed, factor, shift, n_seeds):
    table = np.random.default_rng(seed).normal(size=(n_seeds, 100))
    found, moved = two_way(table), two_way(factor * (table + shift))
    assert moved.df == pytest.approx(found.df, rel=1e-6)
    for name in ("mean", "low", "high"):
        assert getattr(moved, name) == pytest.approx(
            factor * (getattr(found, name) + shift), rel=1e-9, abs=1e-9 * factor
        )


@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1e-6, 1e6), gain=st.floats(0.3, 3))
@settings(deadline=None)
def test_skill_has_no_unit_and_differs_from_zero_exactly_when_the_difference_does(seed, factor, gain):
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=120) ** 2
    model = gain * rng.normal(size=120) ** 2 + 0.2 * reference
    found, scaled = skill(model, reference), skill(factor * model, factor * reference)
    difference = block_t(reference - model)
    assert ends(scaled) == pytest.approx(ends(found), rel=1e-6, abs=1e-9)
    assert found.mean == pytest.approx(1 - model.mean() / reference.mean())
    if found.enough:
        assert found.low <= found.mean <= found.high
        assert found.p_value == pytest.approx(difference.p_value)
        assert (found.low > 0 or found.high < 0) == (difference.p_value < 0.05)


def test_every_end_of_the_skill_interval_is_a_ratio_that_the_test_just_rejects():
    rng = np.random.default_rng(8)
    reference, model = rng.normal(size=400) ** 2, 0.8 * rng.normal(size=400) ** 2
    found = skill(model, reference)
    for end in ends(found):
        means = (model - (1 - end) * reference).reshape(8, 50).mean(axis=1)
        assert stats.ttest_1samp(means, 0).pvalue == pytest.approx(0.05)


@pytest.mark.parametrize("wandering", [0.0, 0.5])
def test_skill_covers_the_truth_also_where_volatility_wanders(wandering):
    rng = np.random.default_rng(9)
    inside = []
    for log_volatility, errors in zip(ar1(rng, 0.9, (500, 500)), ar1(rng, 0.3, (500, 2, 500)), strict=True):
        model, other = errors * np.exp(wandering * log_volatility * sqrt(1 - 0.9**2))
        found = skill(model**2, (model + 0.5 * other) ** 2)  # true skill 1 - 1 / 1.25
        if found.enough:
            inside.append(found.low <= 0.2 <= found.high)
    assert len(inside) > 400
    assert 0.95 - 3 * 0.01 <= np.mean(inside) <= 0.995


def test_skill_sees_the_noise_of_seeds():
    rng = np.random.default_rng(10)
    reference = rng.normal(size=400) ** 2 + 1
    model = reference * (0.8 + 0.1 * rng.normal(size=(5, 1)))
    found = skill(model, reference)
    assert found.se == pytest.approx((model.mean(axis=1) / reference.mean()).std(ddof=1) / sqrt(5), rel=1e-6)
    assert found.df == pytest.approx(4, rel=0.2)


def test_a_skill_far_from_zero_has_the_degrees_of_freedom_of_its_own_noise():
    rng = np.random.default_rng(12)
    reference = rng.exponential(size=400)
    model = reference * (0.2 + 0.001 * rng.normal(size=(5, 1)))
    assert two_way(reference - model).df == pytest.approx(7, rel=0.05)  # time, which the ratio does not feel
    assert skill(model, reference).df == pytest.approx(4, rel=0.05)  # seeds


def test_fold_skill_agrees_with_the_fold_differences():
    model, reference = np.array([0.9, 0.8, 1.0, 0.7, 0.9]), np.array([1.0, 1.0, 0.9, 1.0, 1.1])
    found = fold_skill(model, reference)
    assert found.mean == pytest.approx(1 - model.sum() / reference.sum())
    assert found.p_value == pytest.approx(fold_t(reference - model).p_value)
    for end in ends(found):
        assert stats.ttest_1samp(model - (1 - end) * reference, 0).pvalue == pytest.approx(0.05)


def test_one_fold_gives_no_verdict_on_skill():
    found = fold_skill([0.5], [1.0])
    assert (found.mean, found.enough, found.p_value) == (0.5, False, 1.0)


def test_a_model_equal_to_its_reference_has_no_skill_and_no_doubt():
    losses = np.random.default_rng(11).normal(size=100) ** 2
    found = skill(losses, losses)
    assert (found.mean, found.p_value) == (0.0, 1.0)
    assert ends(found) == pytest.approx((0.0, 0.0), abs=1e-7)


def test_a_reference_loss_that_may_be_zero_gives_no_skill():
    reference = np.zeros(160)
    reference[0] = 1.0
    assert not skill(np.ones(160), reference).enough


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: block_t([1.0, np.nan] * 20), "values must be finite, got 20 missing"),
        (lambda: block_t(np.ones((2, 30))), r"one axis, got shape \(2, 30\)"),
        (lambda: block_t(np.ones(30), blocks=3), "blocks must be in"),
        (lambda: two_way(np.ones((2, 30)), level=1.0), "level must be in"),
        (lambda: two_way(np.zeros((0, 5))), "at least one value"),
        (lambda: skill(np.ones(30), np.ones(31)), r"got shapes \(30,\) and \(31,\)"),
        (lambda: skill(np.ones((2, 30)), np.ones((3, 30))), "same samples and seeds"),
        (lambda: skill(np.ones(30), np.zeros(30)), "must be above 0"),
        (lambda: fold_skill(np.ones(3), np.ones(4)), "same folds, got 3 and 4"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
