"""Intervals: what conformal calibration promises, what it must not read, and what Monte Carlo dropout draws."""

import copy
from dataclasses import replace
from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.data.layout import read_series
from heldout.data.splits import split_series
from heldout.recipe import Recipe
from heldout.training.checkpoint import ModelFileError, dump_tensors, parse_tensors
from heldout.training.fit import SeriesModel, fit_series
from heldout.training.intervals import Conformal, check_masks, count_apart, window_spread
from heldout.training.settle import settle
from tests.conftest import make_series

LOOKBACK = 14
NONE = dict.fromkeys(
    (
        "input_dropout",
        "recurrent_dropout",
        "output_dropout",
        "weight_dropout",
        "dense_dropout",
        "zoneout",
        "weight_decay",
    ),
    0.0,
)


def parts_of(data):
    fold = split_series(data, LOOKBACK, n_folds=0)[-1]
    return [getattr(fold, part).rows(data, LOOKBACK) for part in ("train", "valid", "test")]


def fit(data, seed=0, **options):
    recipe = Recipe(**{"lookback": LOOKBACK, "hidden_size": 4, "max_epochs": 1, **options})
    return fit_series(data, *parts_of(data)[:2], recipe, seed=seed)[0]


@pytest.fixture(scope="module")
def data():
    return make_series(650, horizon=3)


@pytest.fixture(scope="module")
def model(data):
    """Two seeds, calibrated on the validation rows."""
    return fit(data).joined([fit(data, seed=1)]).calibrated(data, parts_of(data)[1])


@pytest.fixture(scope="module")
def quantile_model(data):
    return fit(data, loss="quantile", quantiles=(0.1, 0.4, 0.9))


def calibrate(data, rows, errors, level):
    """A `Conformal` of given errors, forecasts of 0 and an even spread."""
    zero = np.zeros_like(errors)
    return Conformal.fit(
        data, rows, truth=errors, ends=(zero, zero), spread=np.ones(errors.shape[::2]), level=level
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 80), st.floats(0.05, 0.99), st.integers(0, 10**6))
def test_one_step_ahead_the_reach_is_the_textbooks_order_statistic(n, level, seed):
    line, rows = make_series(100, horizon=1), np.arange(10, 10 + n)
    errors = np.random.default_rng(seed).normal(size=(n, 1, 1))
    found = calibrate(line, rows, errors, level)
    rank = ceil(level * (n + 1) - 1e-9)
    assert found.n_calibration == n
    if rank > n:
        assert found.reach == ()
        assert not found.promised
        assert "no finite interval" in found.note
    else:
        assert found.reach == ((sorted(abs(errors.ravel()))[rank - 1],),)


@pytest.mark.parametrize("n", [30, 60])
def test_over_calibrations_on_independent_errors_coverage_is_right_and_rarely_misses_twice_as_much(n):
    line, rng = make_series(80, horizon=1), np.random.default_rng(0)
    covered = []
    for _ in range(200):
        errors = rng.standard_t(3, size=(n, 1, 1))
        found = calibrate(line, np.arange(10, 10 + n), errors, 0.9)
        assert found.promised
        covered.append((abs(rng.standard_t(3, size=500)) <= found.reach[0][0]).mean())
    assert 0.89 <= np.mean(covered) <= 0.9 + 1 / (n + 1) + 0.01
    assert np.mean(np.array(covered) < 0.8) <= 0.08


def test_overlapping_horizons_count_once_and_too_few_promise_nothing():
    line = make_series(500, horizon=12)
    errors = np.random.default_rng(0).normal(size=(400, 12, 1))
    for n, promised in ((29 * 12, False), (29 * 12 + 1, True)):
        found = calibrate(line, np.arange(20, 20 + n), errors[:n], 0.9)
        assert (found.n_calibration, found.promised) == (ceil(n / 12), promised)
        assert np.shape(found.reach) == (12, 1)  # given all the same, as it is finite
        assert ("cannot be promised: 29 horizons fit" in found.note) == (not promised)
        assert ("30 are needed" in found.note) == (not promised)
    assert "66 are needed" in calibrate(line, np.arange(20, 368), errors[:348], 0.95).note
    assert not calibrate(line, np.arange(20, 128), errors[:108], 0.3).promised  # nine, at whatever level


def count_slowly(data, rows):
    spans = sorted((data.time[row], data.time[row + data.horizon]) for row in rows)
    count, end = 0, None
    for begin in sorted({begin for begin, _ in spans}):
        if end is None or begin >= end:
            count, end = count + 1, max(stop for other, stop in spans if other == begin)
    return count


@pytest.mark.parametrize("year", [1750, 2020])
@pytest.mark.parametrize("n_series", [1, 3])
def test_apart_means_no_common_row_in_any_century(year, n_series):
    made = make_series(200, n_series, horizon=5)
    shift = (np.datetime64(f"{year}-01-01", "us") - np.datetime64("2020-01-01", "us")).astype(int)
    made = replace(made, time=made.time + shift)
    rows = np.random.default_rng(0).choice(made.origins(LOOKBACK), 60, replace=False)
    assert count_apart(made, rows) == count_slowly(made, rows)
    assert count_apart(made, made.origins(LOOKBACK)) == ceil((200 - LOOKBACK + 1 - 5) / 5)


def test_the_spread_is_that_of_the_window_and_reads_nothing_else():
    rng = np.random.default_rng(0)
    values, rows = rng.normal(size=(80, 2)), np.array([30, 55])
    slow = [
        [np.sqrt(np.mean([(values[t, k] - values[t - 4, k]) ** 2 for t in range(r - 15, r + 1)])) for k in (0, 1)]
        for r in rows
    ]  # fmt: skip
    found = window_spread(values, rows, lookback=20, horizon=4)
    np.testing.assert_allclose(found, slow)
    changed = values.copy()
    changed[:11] = changed[31:36] = changed[56:] = 1e9
    np.testing.assert_array_equal(found, window_spread(changed, rows, lookback=20, horizon=4))
    assert window_spread(values, rows, lookback=1, horizon=4).tolist() == [[1, 1], [1, 1]]


def test_columns_are_the_forecast_and_an_interval_around_it_in_own_units(data, model):
    rows = parts_of(data)[2]
    found = model.columns(data, rows)
    assert found.keys() == {"forecast", "low", "high"}
    np.testing.assert_array_equal(found["forecast"], model.point(model.predict(data, rows)))
    np.testing.assert_allclose(found["forecast"] - found["low"], found["high"] - found["forecast"])
    assert (found["low"] < found["forecast"]).all()
    assert fit(data, max_epochs=0).columns(data, rows).keys() == {"forecast"}


def test_the_calibration_rows_themselves_are_covered_as_often_as_the_rank_says(data, model):
    rows = parts_of(data)[1]
    found, truth = model.columns(data, rows), data.values[rows[:, None] + data.steps, :1]
    inside = ((truth >= found["low"]) & (truth <= found["high"])).sum(axis=(0,))
    m, n = model.conformal.n_calibration, len(rows)
    assert model.conformal.promised
    assert (inside == ceil(0.9 * (1 + 1 / m) * n)).all()


def test_a_logarithm_has_intervals_above_zero_that_are_symmetric_in_ratio():
    made = make_series(400, horizon=2)
    made = replace(made, values=np.exp(made.values))
    calibrated = fit(made, transform="log", max_epochs=0).calibrated(made, parts_of(made)[1], 0.8)
    found = calibrated.columns(made, parts_of(made)[2])
    assert (found["low"] > 0).all()
    np.testing.assert_allclose(found["forecast"] ** 2, found["low"] * found["high"])


def test_in_a_panel_a_series_a_thousand_times_larger_has_intervals_a_thousand_times_wider():
    made = make_series(300, 2)
    wave = made.values[:293]
    made = replace(made, values=np.concatenate([made.values[:300], 1000 * wave]))
    calibrated = fit(made, scale_by="series", max_epochs=0).calibrated(made, parts_of(made)[1])
    rows = np.arange(230, 260)
    own, other = (calibrated.columns(made, where) for where in (rows, rows + 300))
    np.testing.assert_allclose(
        1000 * (own["high"] - own["low"]), other["high"] - other["low"], rtol=0.05
    )  # the shorter one has other calibration rows


def test_later_rows_change_no_calibration_and_no_interval(data, model):
    _, valid, test = parts_of(data)
    rows = test[:5]
    later = np.arange(data.n_rows) > rows.max()
    other = replace(data, values=np.where(later[:, None], 1e3, data.values))
    for name, values in model.columns(data, rows).items():
        np.testing.assert_array_equal(values, model.columns(other, rows)[name])
    assert valid.max() + data.horizon <= rows.max()
    assert model.calibrated(other, valid).conformal == model.conformal


def test_a_saved_model_gives_the_same_columns_and_one_of_an_older_version_none(data, model):
    rows = parts_of(data)[2]
    tensors, metadata = parse_tensors(dump_tensors(*model.to_file_parts()))
    again = SeriesModel.from_file_parts(tensors, metadata)
    assert again.conformal == model.conformal
    for name, values in model.columns(data, rows).items():
        np.testing.assert_array_equal(values, again.columns(data, rows)[name])
    del metadata["conformal"]
    assert SeriesModel.from_file_parts(tensors, metadata).conformal is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("reach", [[1.0]]), ("reach", [[float("nan")]] * 3), ("usual", []), ("ids", 3), ("level", "high")],
)
def test_a_file_that_lies_about_its_interval_is_refused(model, name, value):
    tensors, metadata = model.to_file_parts()
    lie = copy.deepcopy(metadata)
    lie["conformal"][name] = value
    with pytest.raises(ModelFileError):
        SeriesModel.from_file_parts(tensors, lie)


def test_joining_forgets_the_calibration_of_one_member(model):
    assert model.conformal is not None
    assert model.joined([]).conformal is None


def test_calibration_needs_rows_and_a_level(data, model):
    with pytest.raises(InputError, match="needs calibration rows"):
        model.calibrated(data, np.array([], dtype=np.int64))
    with pytest.raises(InputError, match="level must be in"):
        model.calibrated(data, parts_of(data)[1], 1.0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_quantiles_never_cross_whatever_the_weights(seed):
    made = make_series(120, horizon=2)
    for network in (networks := fit_wild(made, seed)).networks:
        assert network.head.weight.abs().sum() > 0
    rows = made.origins(LOOKBACK)
    raw = [networks.columns(made, rows)[f"q{level:g}"] for level in networks.recipe.quantiles]
    assert (np.diff(raw, axis=0) >= 0).all()
    forecast = networks.columns(made, rows)["forecast"]
    assert ((forecast >= raw[0]) & (forecast <= raw[-1])).all()


def fit_wild(data, seed):
    """Two networks of random weights, whose quantiles cross."""
    found = fit_cached(data)
    generator = torch.Generator().manual_seed(seed)
    networks = [copy.deepcopy(found.networks[0]) for _ in range(2)]
    with torch.no_grad():
        for network in networks:
            for weight in network.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator))
    return replace(found, networks=tuple(networks))


def fit_cached(data, memory={}):  # noqa: B006 - one fit for all examples
    if not memory:
        memory["model"] = fit(data, max_epochs=0, loss="quantile", quantiles=(0.1, 0.3, 0.5, 0.7, 0.9))
    return memory["model"]


def test_conformal_quantiles_cover_and_stay_around_the_forecast(data, quantile_model):
    rows = parts_of(data)[1]
    truth = data.values[rows[:, None] + data.steps, :1]
    for wide in (1.0, 100.0):  # quantiles far too wide are drawn in
        networks = copy.deepcopy(quantile_model.networks)
        with torch.no_grad():
            bias = networks[0].head.bias.view(3, 1, 3)
            bias += wide * torch.tensor([-1.0, 0.0, 1.0]) * (wide > 1)
        found = replace(quantile_model, networks=networks).calibrated(data, rows, 0.8).columns(data, rows)
        inside = (truth >= found["low"]) & (truth <= found["high"])
        assert (inside.mean(axis=0) >= 0.8).all()
        assert (found["low"] <= found["forecast"]).all()
        assert (found["high"] >= found["forecast"]).all()
    assert np.mean(found["high"] - found["low"]) < np.mean(found["q0.9"] - found["q0.1"]) / 5


def test_without_rates_monte_carlo_dropout_is_the_forecast(data):
    model, rows = fit(data, **NONE), parts_of(data)[2]
    samples = model.predict_samples(data, rows, 3)
    assert samples.shape == (3, len(rows), 3, 1)
    for sample in samples:
        np.testing.assert_allclose(sample, model.point(model.predict(data, rows)), atol=1e-6)


@pytest.mark.parametrize(
    "name",
    ["input_dropout", "recurrent_dropout", "output_dropout", "weight_dropout", "dense_dropout", "zoneout"],
)
def test_every_rate_spreads_the_samples_and_more_of_it_spreads_them_more(data, name):
    rows, spreads = parts_of(data)[2][:20], []
    base = fit_wild(data, 0)
    for rate in (0.05, 0.6):
        recipe = replace(base.recipe, **{**NONE, name: rate})
        file = replace(base, recipe=recipe).to_file_parts()
        model = SeriesModel.from_file_parts(*file)
        spreads.append(model.predict_samples(data, rows, 12)[::2].std(axis=0).mean())
    assert 0 < spreads[0] < spreads[1]


def test_samples_are_a_function_of_the_seed_and_leave_the_model_as_it_was(data, model):
    rows = parts_of(data)[2]
    before = model.predict(data, rows)
    first = model.predict_samples(data, rows, 4, seed=3)
    torch.manual_seed(99)  # no global state is read
    np.testing.assert_array_equal(first, model.predict_samples(data, rows, 4, seed=3))
    assert (first != model.predict_samples(data, rows, 4, seed=4)).any()
    assert not any(part.training for network in model.networks for part in network.modules())
    np.testing.assert_array_equal(before, model.predict(data, rows))


def test_each_seeds_network_draws_its_share_of_the_samples(data):
    models = [fit(data, seed=seed, **NONE) for seed in (0, 1)]
    rows = parts_of(data)[2]
    samples = models[0].joined(models[1:]).predict_samples(data, rows, 4)
    for number, sample in enumerate(samples):
        own = models[number % 2]
        np.testing.assert_allclose(sample, own.point(own.predict(data, rows)), atol=1e-6)


def test_monte_carlo_dropout_without_a_mask_is_refused():
    made = make_series(100)
    check_masks(settle(Recipe(), made))
    with pytest.raises(InputError, match="mc_dropout needs a rate above 0"):
        check_masks(settle(Recipe(regularization=0), made))


def test_twelve_years_of_months_cannot_promise_coverage_a_year_ahead(shared):
    made = read_series(
        shared / "timeseries" / "AirPassengers.csv", target="#Passengers", time="Month", horizon=12
    )
    found = fit(made, max_epochs=0).calibrated(made, parts_of(made)[1]).conformal
    assert not found.promised
    assert "cannot be promised" in found.note


@pytest.mark.slow
def test_a_day_ahead_on_etth1_a_90_percent_interval_covers_87_to_93(shared):
    made = read_series(shared / "timeseries" / "ETTh1.csv.gz", target="OT", horizon=24)
    recipe = settle(Recipe(), made)
    train, valid, test = (
        getattr(split_series(made, recipe.lookback, n_folds=0)[-1], part).rows(made, recipe.lookback)
        for part in ("train", "valid", "test")
    )
    model = fit_series(made, train, valid, recipe)[0].calibrated(made, valid)
    assert model.conformal.promised
    found = model.columns(made, test)
    truth = made.values[test[:, None] + made.steps][..., made.indices(["OT"])]
    assert 0.87 <= ((truth >= found["low"]) & (truth <= found["high"])).mean() <= 0.93
