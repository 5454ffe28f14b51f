from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.preprocessing import StandardScaler

from heldout.check import InputError
from heldout.training import lags, ridge
from heldout.training.lags import LagWindows
from heldout.training.metrics import squared_error
from heldout.training.ridge import Har, Ridge, RidgeForecast, _Linear, fit_ridge


def example(n=300, K=2, lookback=24, steps=(1, 2, 5), covariates=0, seed=0):
    rng = np.random.default_rng(seed)
    values = (
        signal.lfilter([1], [1, -0.8], rng.normal(size=(n, K)), axis=0) + 3 + 0.01 * np.arange(n)[:, None]
    )
    more = rng.normal(size=(n, covariates)) if covariates else None
    return LagWindows(values, lookback, np.array(steps), more)


def split(windows, train=0.6, valid=0.8):
    """Origins for training, validation and test, labels apart."""
    n, ahead = len(windows.values), int(windows.steps[-1])
    a, b = int(train * n), int(valid * n)
    return (
        np.arange(windows.lookback - 1, a - ahead),
        np.arange(a, b - ahead),
        np.arange(b, n - ahead),
    )


def mse(windows, forecast, rows):
    return squared_error(windows.ahead(rows), forecast.predict(windows, rows)).mean()


def slow_inputs(form, windows, row, k):
    """The features of one window, column by column."""
    parts = []
    columns = [k] if not form.features.covariates else range(windows.values.shape[1])
    for column in columns:
        lags = [windows.values[row - ago, column] for ago in range(windows.lookback - 1, -1, -1)]
        parts += [x - lags[-1] for x in lags] if form.from_last else lags
    if form.features.covariates and windows.covariates is not None:
        for column in windows.covariates.T:
            lags = [column[row - ago] for ago in range(windows.lookback - 1, -1, -1)]
            parts += [x - lags[-1] for x in lags[:-1]] + lags[-1:] if form.from_last else lags
    return parts


@pytest.mark.parametrize("covariates", [0, 2])
def test_every_form_equals_scikit_learn_on_materialised_windows(covariates):
    windows = example(covariates=covariates, lookback=6)
    train, valid, test = split(windows)
    rows = [train, valid]
    for inputs in ("_fit_lags", "_fit_all"):
        for from_last in (True, False):
            parts = getattr(Ridge(), inputs)(windows, rows, from_last=from_last)
            found = RidgeForecast(tuple(parts)).predict(windows, test)
            for k, (form, fit) in enumerate(parts):
                assert form.features.covariates == (inputs == "_fit_all")
                assert form.from_last == from_last
                X, X_valid, X_test = (
                    np.array([slow_inputs(form, windows, row, k) for row in part])
                    for part in (train, valid, test)
                )
                base = [windows.values[part, k][:, None] * from_last for part in (train, valid, test)]
                scaler = StandardScaler().fit(X)
                model = SklearnRidge(alpha=fit.penalty * len(train), solver="svd")
                model.fit(scaler.transform(X), windows.ahead(train)[:, :, k] - base[0])
                expected = model.predict(scaler.transform(X_test)) + base[2]
                np.testing.assert_allclose(found[:, :, k], expected, rtol=1e-7)
                errors = windows.ahead(valid)[:, :, k] - base[1] - model.predict(scaler.transform(X_valid))
                assert fit.valid_loss == pytest.approx((errors**2).mean())


def leading(n=600, seed=5):
    """A target that follows its covariate by 4 rows."""
    rng = np.random.default_rng(seed)
    leader = signal.lfilter([1], [1, -0.5], rng.normal(size=(n, 2)), axis=0)
    values = np.roll(leader[:, :1], 4, axis=0) + 0.1 * rng.normal(size=(n, 1))
    return LagWindows(values, 8, np.array([1, 2, 3]), leader)


def test_a_covariate_that_leads_the_target_is_read_and_beats_the_own_lags():
    windows = leading()
    train, valid, test = split(windows)
    wide = Ridge().fit(windows, train, valid)
    alone = replace(windows, covariates=None)
    narrow = Ridge().fit(alone, train, valid)
    assert wide.parts[0][0].features.covariates
    assert mse(windows, wide, test) < 0.1 * mse(alone, narrow, test)
    assert mse(windows, wide, test) < 1.3 * 0.1**2


def test_covariates_and_other_targets_are_read_up_to_the_origin_only():
    windows = leading()
    windows = replace(windows, values=np.hstack([windows.values, windows.covariates[:, 1:]]))
    train, valid, _ = split(windows)
    end = int(valid[-1] + windows.steps[-1]) + 1
    rng = np.random.default_rng(7)
    values, covariates = windows.values.copy(), windows.covariates.copy()
    values[end:], covariates[end:] = 1e6 * rng.normal(size=2), 1e6 * rng.normal(size=2)
    covariates[valid[-1] + 1 :] = 1e6  # beside labels, but after every origin
    poisoned = replace(windows, values=values, covariates=covariates)
    before, after = Ridge().fit(windows, train, valid), Ridge().fit(poisoned, train, valid)
    assert before.parts[0][0].features.covariates
    np.testing.assert_array_equal(before.predict(windows, valid), after.predict(poisoned, valid))


def test_beside_covariates_a_target_that_leads_another_is_read_too():
    windows = leading()
    both = replace(
        windows,
        values=np.hstack([windows.values, windows.covariates[:, :1]]),
        covariates=windows.covariates[:, 1:],
    )
    train, valid, test = split(both)
    found = Ridge().fit(both, train, valid)
    assert found.parts[0][0].features.covariates
    error = squared_error(both.ahead(test)[:, :, :1], found.predict(both, test)[:, :, :1]).mean()
    assert error < 1.3 * 0.1**2


def test_own_lags_are_kept_where_they_validate_better_or_the_columns_are_too_many(monkeypatch):
    rng = np.random.default_rng(6)
    values = signal.lfilter([1], [1, -0.8], rng.normal(size=(300, 1)), axis=0)
    noisy = LagWindows(values, 20, np.array([1]), rng.normal(size=(300, 40)))
    train, valid, _ = split(noisy)
    assert not Ridge().fit(noisy, train, valid).parts[0][0].features.covariates
    windows = leading()
    monkeypatch.setattr(ridge, "MAX_FEATURES", 23)
    assert not Ridge().fit(windows, *split(windows)[:2]).parts[0][0].features.covariates
    monkeypatch.setattr(ridge, "MAX_FEATURES", 24)
    assert Ridge().fit(windows, *split(windows)[:2]).parts[0][0].features.covariates


def test_a_fit_reads_no_more_rows_than_the_limit_from_all_over(monkeypatch):
    windows = leading(3000)
    train, valid, test = split(windows)
    whole = Ridge().fit(windows, train, valid)
    monkeypatch.setattr(ridge, "MAX_ROWS", 200)
    seen = []
    monkeypatch.setattr(
        LagWindows,
        "ahead",
        lambda self, rows, columns, old=LagWindows.ahead: seen.append(rows) or old(self, rows, columns),
    )
    thinned = Ridge().fit(windows, train, valid)
    monkeypatch.undo()
    assert {len(rows) for rows in seen} == {200}
    assert all(min(rows[0] - part[0] for part in (train, valid) if rows[0] >= part[0]) < 10 for rows in seen)
    assert mse(windows, thinned, test) < 1.3 * mse(windows, whole, test)


def test_shared_ridge_is_one_ridge_on_all_targets_stacked():
    windows = example(K=3)
    train, valid, test = split(windows)
    stacked = LagWindows(windows.values.T.reshape(-1, 1), windows.lookback, windows.steps)

    def stack(rows):
        return np.concatenate([rows + k * len(windows.values) for k in range(3)])

    found = Ridge(shared=True).fit(windows, train, valid).predict(windows, test)
    expected = Ridge().fit(stacked, stack(train), stack(valid)).predict(stacked, stack(test))
    np.testing.assert_allclose(
        np.concatenate([found[:, :, k] for k in range(3)]), expected[:, :, 0], rtol=1e-8
    )


def test_ridge_takes_the_penalty_and_the_form_that_validate_best():
    rng = np.random.default_rng(1)
    walk = LagWindows(rng.normal(size=(400, 1)).cumsum(axis=0), 10, np.array([1, 3]))
    noise = LagWindows(rng.normal(size=(400, 1)), 10, np.array([1, 3]))
    assert Ridge().fit(walk, *split(walk)[:2]).parts[0][0].from_last
    assert not Ridge().fit(noise, *split(noise)[:2]).parts[0][0].from_last
    for windows in (walk, noise):
        train, valid, _ = split(windows)
        chosen = Ridge().fit(windows, train, valid)
        for penalty in ridge.PENALTIES[::4]:
            alone = Ridge(penalties=(penalty,)).fit(windows, train, valid)
            assert mse(windows, chosen, valid) <= mse(windows, alone, valid) * (1 + 1e-9)


@given(
    seed=st.integers(0, 999), cuts=st.lists(st.integers(0, 60), max_size=5), level=st.sampled_from([0.0, 1e6])
)
@settings(max_examples=30, deadline=None)
def test_ridge_does_not_depend_on_how_rows_are_cut_into_blocks_nor_on_the_level(seed, cuts, level):
    rng = np.random.default_rng(seed)
    X, X_valid = rng.normal(size=(60, 4)), rng.normal(size=(20, 4))
    B = rng.normal(size=(4, 2))
    Y, Y_valid = (x @ B + 0.1 * rng.normal(size=(len(x), 2)) for x in (X, X_valid))
    edges = sorted(cuts)
    blocks = zip(np.split(X + level, edges), np.split(Y, edges), strict=True)
    whole = fit_ridge([(X, Y)], [(X_valid, Y_valid)])
    cut = fit_ridge(blocks, [(X_valid + level, Y_valid)])
    assert cut.penalty == whole.penalty
    np.testing.assert_allclose(cut.coefficients, whole.coefficients, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(
        level * cut.coefficients.sum(axis=0) + cut.intercept, whole.intercept, atol=1e-3 if level else 1e-9
    )


def test_a_constant_feature_gets_no_weight():
    rng = np.random.default_rng(2)
    X = np.column_stack([rng.normal(size=50), np.full(50, 0.1)])
    found = fit_ridge([(X[:40], X[:40, :1])], [(X[40:], X[40:, :1])])
    np.testing.assert_allclose(found.coefficients[:, 0], [1, 0], atol=1e-6)
    assert found.coefficients[1, 0] == 0


def test_no_gathered_block_is_larger_than_the_limit(monkeypatch):
    sizes = []
    gather = _Linear.inputs

    def spy(self, windows, rows):
        found = gather(self, windows, rows)
        sizes.append(found.size)
        return found

    monkeypatch.setattr(_Linear, "inputs", spy)
    rng = np.random.default_rng(0)
    windows = LagWindows(rng.normal(size=(20_000, 2)), 200, np.arange(1, 4), rng.normal(size=(20_000, 1)))
    for baseline in (Ridge(), Ridge(name="har", features=Har())):
        fitted = baseline.fit(windows, np.arange(199, 15_000), np.arange(15_000, 19_000))
        fitted.predict(windows, np.arange(15_000, 19_000))
    assert sum(sizes) > 8 * max(sizes)
    assert max(sizes) <= lags.BLOCK_NUMBERS


def test_har_is_a_regression_on_day_week_and_month():
    windows = example(K=1, lookback=30, covariates=2)
    rows = np.array([50, 60])
    for har, column in ((Har(), windows.values[:, 0]), (Har(1), windows.covariates[:, 1])):
        np.testing.assert_allclose(har(windows, rows)[1], [column[61 - d : 61].mean() for d in (1, 5, 22)])
    forecast = Ridge(name="har", features=Har(1)).fit(windows, *split(windows)[:2])
    assert forecast.parts[0][1].coefficients.shape == (3, 3)


@dataclass(frozen=True)
class Flat:
    def __call__(self, windows, rows):
        return windows.past(rows)[0, :, 0]


class Nameless:
    def __call__(self, windows, rows):
        return windows.past(rows)[:, :, 0]


def test_ridge_recovers_an_autoregression():
    rng = np.random.default_rng(3)
    values = signal.lfilter([1], [1, -1.2, 0.5], rng.normal(size=(6000, 1)), axis=0)
    windows = LagWindows(values, 8, np.array([1]))
    train, valid, test = split(windows)
    assert mse(windows, Ridge().fit(windows, train, valid), test) == pytest.approx(1.0, rel=0.08)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Har()(example(lookback=10), np.array([50])), "at least 22 rows, got lookback 10"),
        (
            lambda: Har(2)(example(covariates=2), np.array([50])),
            "Har reads a covariate from 0 to 2 - 1, got 2",
        ),
        (lambda: Har(0)(example(), np.array([50])), "covariate from 0 to 0 - 1, got 0"),
        (lambda: Ridge(shared=True, features=Har()), "got features too"),
        (
            lambda: Ridge(features=lambda windows, rows: windows.past(rows)[:, :, 0]),
            "make it a frozen dataclass",
        ),
        (lambda: Ridge(features=Nameless()), "repr that is alike in every process"),
        (lambda: fit_ridge([], []), "at least one training row"),
        (
            lambda: Ridge(features=Flat()).fit(example(), np.arange(30, 50), np.arange(60, 70)),
            "features must give a table of 20 rows",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
