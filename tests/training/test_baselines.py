import csv
import gzip
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from heldout.check import InputError
from heldout.training import baselines, lags
from heldout.training.baselines import Boosting, Drift, LastValue, Seasonal, TrainMean, standard_baselines
from heldout.training.lags import LagWindows, thin
from heldout.training.metrics import absolute_error, squared_error
from heldout.training.ridge import Har, Ridge

DATA = Path(__file__).parents[2] / "../shared/data"
SMALL_TREES = Boosting(season=7, max_pairs=800, max_trees=30)
HAR = Ridge(name="har", features=Har(0))


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


def every_baseline():
    return [*standard_baselines(7, lookback=24, n_targets=2)[:-1], HAR, SMALL_TREES]


def test_windows_and_labels_equal_slices():
    windows = example(covariates=2)
    rows = np.array([23, 100, 40])
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(windows.past(rows)[i], windows.values[row - 23 : row + 1])
        np.testing.assert_array_equal(
            windows.past_covariates(rows)[i], windows.covariates[row - 23 : row + 1]
        )
        np.testing.assert_array_equal(windows.ahead(rows)[i], windows.values[row + np.array([1, 2, 5])])
        np.testing.assert_array_equal(
            windows.past(rows, slice(1, 2))[i, :, 0], windows.values[row - 23 : row + 1, 1]
        )
    assert windows.n_columns == 4
    assert example().past_covariates(rows).shape == (3, 24, 0)


def test_naive_mean_drift_and_seasonal_equal_loops():
    windows = example()
    train, valid, test = split(windows)
    y, m = windows.values, 4
    found = {
        b.name: b.fit(windows, train, valid).predict(windows, test)
        for b in (LastValue(), TrainMean(), Drift(), Seasonal(m))
    }
    for k in range(2):
        x, d = [], []
        for row in train:
            for step in windows.steps:
                x.append(step)
                d.append(y[row + step, k] - y[row, k])
        slope = np.linalg.lstsq(np.array(x, float)[:, None], np.array(d))[0][0]
        for i, row in enumerate(test):
            for j, step in enumerate(windows.steps):
                ago = row + step
                while ago > row:
                    ago -= m
                assert found["naive"][i, j, k] == y[row, k]
                assert found["seasonal"][i, j, k] == y[ago, k]
                assert found["mean"][i, j, k] == pytest.approx(np.mean([y[r + step, k] for r in train]))
                assert found["drift"][i, j, k] == pytest.approx(y[row, k] + step * slope)


@pytest.mark.parametrize("baseline", every_baseline(), ids=lambda b: b.name)
def test_small_blocks_give_the_same_forecast_as_one(baseline, monkeypatch):
    windows = example(covariates=1)
    train, valid, test = split(windows)
    whole = baseline.fit(windows, train, valid).predict(windows, test)
    monkeypatch.setattr(lags, "BLOCK_ROWS", 17)
    np.testing.assert_allclose(baseline.fit(windows, train, valid).predict(windows, test), whole, rtol=1e-9)


@pytest.mark.parametrize("baseline", every_baseline(), ids=lambda b: b.name)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=3, deadline=None)
def test_rows_after_the_last_label_change_no_forecast(baseline, seed):
    windows = example(covariates=2)
    train, valid, _ = split(windows)
    end = int(valid[-1] + windows.steps[-1]) + 1
    rng = np.random.default_rng(seed)
    values, covariates = windows.values.copy(), windows.covariates.copy()
    values[end:] = 1e6 * rng.normal(size=values[end:].shape)
    covariates[end:] = 1e6 * rng.normal(size=covariates[end:].shape)
    poisoned = LagWindows(values, windows.lookback, windows.steps, covariates)
    assert (windows.values[end:] != values[end:]).all()
    before, after = baseline.fit(windows, train, valid), baseline.fit(poisoned, train, valid)
    np.testing.assert_array_equal(before.predict(windows, valid), after.predict(windows, valid))
    known = np.arange(end - 20, end)  # their labels are poisoned, their windows are not
    known = known[known + windows.steps[-1] < len(values)]
    np.testing.assert_array_equal(before.predict(windows, known), before.predict(poisoned, known))


@pytest.mark.parametrize(
    "baseline", [b for b in every_baseline() if b.name != "boosting"], ids=lambda b: b.name
)
def test_validation_rows_choose_but_are_not_fitted(baseline):
    windows = example(covariates=1)
    train, valid, test = split(windows)
    if isinstance(baseline, Ridge):
        baseline = replace(baseline, penalties=(0.1,))
    fits = [baseline.fit(windows, train, rows) for rows in (valid, valid[:-3], valid[3:])]
    if isinstance(baseline, Ridge):  # the same choice must mean the same coefficients
        pairs = [
            (a, b) for one, two in combinations(fits, 2) for a, b in zip(one.parts, two.parts, strict=True)
        ]
        alike = [(a[1], b[1]) for a, b in pairs if a[0] == b[0]]
        assert alike
        for a, b in alike:
            assert a.valid_loss != b.valid_loss
            np.testing.assert_array_equal(a.coefficients, b.coefficients)
    else:
        for fit in fits[1:]:
            np.testing.assert_array_equal(fit.predict(windows, test), fits[0].predict(windows, test))


@given(count=st.integers(0, 5000), most=st.integers(1, 300))
@settings(deadline=None)
def test_thinned_numbers_are_few_distinct_and_one_from_each_stretch(count, most):
    found = thin(count, most)
    assert len(found) == min(count, most)
    if count > most:
        edges = np.arange(most + 1) * count // most
        assert (edges[:-1] <= found).all()
        assert (found < edges[1:]).all()


def test_thinning_meets_every_hour_of_the_day():
    assert set(thin(24 * 1000, 1000) % 24) == set(range(24))


@pytest.mark.parametrize("baseline", every_baseline(), ids=lambda b: b.name)
def test_a_baseline_is_its_repr(baseline):
    assert eval(repr(baseline)) == baseline


def logistic_map(n):
    x = np.empty(n)
    x[0] = 0.3
    for i in range(1, n):
        x[i] = 3.9 * x[i - 1] * (1 - x[i - 1])
    return x[:, None]


def test_boosting_beats_naive_and_ridge_on_a_nonlinear_map():
    windows = LagWindows(logistic_map(1500), 6, np.array([1, 2]))
    train, valid, test = split(windows)
    trees = mse(windows, Boosting(max_trees=100).fit(windows, train, valid), test)
    for other in (LastValue(), TrainMean(), Ridge()):
        assert trees < 0.3 * mse(windows, other.fit(windows, train, valid), test)


def test_boosting_does_little_harm_on_a_random_walk():
    windows = LagWindows(np.random.default_rng(4).normal(size=(1500, 1)).cumsum(axis=0), 20, np.arange(1, 4))
    train, valid, test = split(windows)
    naive = mse(windows, LastValue().fit(windows, train, valid), test)
    assert mse(windows, Boosting().fit(windows, train, valid), test) < 1.05 * naive


def test_boosting_reads_few_pairs_from_all_over_the_training_rows():
    windows = example(n=5000, lookback=100)
    rows = np.arange(99, 4900)
    reader = baselines._PairReader(baselines._choose_lags(100, 24, 64), 24)
    X, y = reader.labelled(windows, rows, 1000)
    assert X.shape == (1000, 64 + 3)
    assert len(y) == 1000
    assert {1, 24, 48, 62, 72, 96} <= set(reader.lags)
    assert set(X[:, 64]) == {1, 2, 5}
    assert set(X[:, 65]) == {0, 1}


@settings(deadline=None)
@given(
    lookback=st.integers(1, 400),
    season=st.one_of(st.none(), st.integers(2, 400)),
    most=st.sampled_from([4, 16, 64]),
)
def test_chosen_lags_are_few_distinct_and_in_the_window(lookback, season, most):
    lags = baselines._choose_lags(lookback, season, most)
    assert len(lags) <= most
    assert len(lags) == 0 or (lags[0] == 1 and lags[-1] < lookback)
    assert (np.diff(lags) > 0).all()


def test_the_seasonal_naive_is_left_out_without_a_season_in_the_window():
    names = [[b.name for b in standard_baselines(season, lookback=48)] for season in (24, None, 168)]
    assert "seasonal" in names[0]
    assert "seasonal" not in names[1] + names[2]
    assert "ridge shared" in [b.name for b in standard_baselines(lookback=48, n_targets=2)]


def test_etth1_rows_agree_with_the_published_table():
    """Last value and same hour yesterday, ETTh1, 7 columns, 24 steps: MSE 1.222 and .424, MAE .671 and .389."""
    file = DATA / "timeseries/ETTh1.csv.gz"
    if not file.exists():
        pytest.skip("needs ../shared/data/timeseries/ETTh1.csv.gz")
    with gzip.open(file, "rt") as lines:
        table = np.array([[float(v) for v in row[1:]] for row in list(csv.reader(lines))[1:14401]])
    values = (table - table[:8640].mean(axis=0)) / table[:8640].std(axis=0)
    windows = LagWindows(values, 96, np.arange(1, 25))
    train, valid, test = np.arange(95, 8616), np.arange(8639, 11496), np.arange(11519, 14376)
    figures = []
    for baseline in (LastValue(), Seasonal(24)):
        forecast = baseline.fit(windows, train, valid).predict(windows, test)
        truth = windows.ahead(test)
        figures.append((squared_error(truth, forecast).mean(), absolute_error(truth, forecast).mean()))
    np.testing.assert_allclose(figures, [(1.222, 0.671), (0.424, 0.389)], atol=1e-3)
    shared = mse(windows, Ridge(shared=True).fit(windows, train, valid), test)
    assert shared < 0.33 < figures[1][0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: LagWindows(np.array([[1.0], [np.nan]]), 1, np.array([1])),
            "values must be finite, row 1 is not",
        ),
        (lambda: LagWindows(np.zeros(5), 1, np.array([1])), "values must be a table"),
        (lambda: LagWindows(np.zeros((5, 1)), 0, np.array([1])), "lookback must be in"),
        (lambda: LagWindows(np.zeros((5, 1)), 1, np.array([0, 1])), "steps must ascend from 1"),
        (
            lambda: LagWindows(np.zeros((5, 1)), 1, np.array([1]), np.zeros((4, 1))),
            "covariates must be a table",
        ),
        (lambda: example(covariates=1).past_covariates(np.array([300])), "rows 23 to 299"),
        (lambda: example().past(np.array([22])), "rows 23 to 299"),
        (lambda: example().ahead(np.array([295])), "rows 0 to 294"),
        (lambda: Ridge().fit(example(), np.arange(30, 50), np.array([], int)), "at least one training row"),
        (
            lambda: Seasonal(30).fit(example(), np.arange(30, 50), np.arange(60, 70)),
            "must fit the window, got 30 rows",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
