"""Mistakes that are easily made are refused in one sentence, and near misses are hinted at."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import heldout as ho
from heldout import LSTMClassifier, LSTMForecaster, LSTMRegressor
from heldout.check import InputError
from heldout.data.calendar import Frequency
from heldout.data.layout import read_series
from heldout.studies.engine import InlineEngine

TINY = {"lookback": 8, "hidden_size": 3, "max_epochs": 1, "random_state": 0}
QUICK = {"hidden_size": 4, "max_epochs": 1, "random_state": 0}


def wave(n=120, seed=0):
    noise = np.random.default_rng(seed).normal(size=n)
    return np.sin(np.arange(n) / 3) + 0.2 * noise + 3


def dated(values, freq="h", start="2024-01-01", name="y"):
    return pd.Series(values, index=pd.date_range(start, periods=len(values), freq=freq), name=name)


def known(times):
    return pd.Series(np.zeros(len(times)), index=times, name="price")


@pytest.fixture(scope="module")
def hourly():
    return LSTMForecaster(3, **TINY).fit(dated(wave()), future=dated(wave(), name="price"))


# --- the times of rows ahead


@settings(max_examples=40, deadline=None)
@given(minutes=st.lists(st.integers(1, 200), min_size=3, max_size=5))
def test_rows_ahead_are_taken_if_and_only_if_each_is_one_step_after_the_one_before(hourly, minutes):
    end = pd.Timestamp("2024-01-05 23:00")
    times = end + pd.to_timedelta(np.cumsum(minutes), unit="min")
    if all(abs(gap - 60) < 30 for gap in minutes[:3]):
        assert hourly.predict(future=known(times)).table["time"].to_list() == times[:3].to_list()
        return
    wrong = next(n for n, gap in enumerate(minutes[:3]) if abs(gap - 60) >= 30)
    with pytest.raises(InputError) as refused:
        hourly.predict(future=known(times))
    before = times[wrong - 1] if wrong else end
    for time in (before, before + pd.Timedelta("1h"), times[wrong]):
        assert str(time).removesuffix(":00").removesuffix(" 00:00") in str(refused.value)
    assert "\n" not in str(refused.value)


def test_rows_of_another_year_are_refused_at_a_loaded_forecaster_too(hourly, tmp_path):
    hourly.save(tmp_path / "model")
    for model in (hourly, ho.load(tmp_path / "model")):
        with pytest.raises(InputError, match=r"the next is 2024-01-06, but .* has 2025-01-01"):
            model.predict(future=known(pd.date_range("2025-01-01", periods=3, freq="h")))
        right = known(pd.date_range("2024-01-06", periods=3, freq="h"))
        assert model.predict(future=right).table["step"].to_list() == [1, 2, 3]


@pytest.mark.parametrize("max_gap", [3, 10])
def test_rows_ahead_may_skip_what_the_rows_of_training_skip(max_gap):
    y = dated(wave()).drop(pd.date_range("2024-01-02 05:00", periods=2, freq="h"))
    price = dated(np.zeros(120), name="price")
    model = LSTMForecaster(3, **TINY, max_gap=max_gap).fit(y, future=price.reindex(y.index))
    for gap in range(1, 15):
        first = y.index[-1] + pd.Timedelta(hours=gap)
        future = known(pd.date_range(first, periods=3, freq="h"))
        if gap <= max_gap:
            assert model.predict(future=future).table["time"][0] == first
        else:
            with pytest.raises(InputError, match=f"or at most {max_gap} steps after it"):
                model.predict(future=future)
    short = known(y.index[-1] + pd.to_timedelta([30, 60, 90], unit="min"))
    with pytest.raises(InputError, match="go on along the calendar"):
        model.predict(future=short)


def test_business_days_may_skip_holidays_and_months_go_on_at_their_ends():
    y = dated(wave(), "B", "2021-03-01")
    model = LSTMForecaster(2, **TINY).fit(y, future=known(y.index))
    days = pd.bdate_range(y.index[-1], periods=4)
    assert model.predict(future=known(days[2:])).table["time"].to_list() == days[2:].to_list()
    with pytest.raises(InputError, match="go on along the calendar"):
        model.predict(future=known(days[2:] + pd.Timedelta("30D")))
    y = dated(wave(), "ME", "2010-01-31")
    model = LSTMForecaster(2, **TINY).fit(y, future=known(y.index))
    ends = pd.date_range(y.index[-1], periods=4, freq="ME")
    assert model.predict(future=known(ends[1:])).table["time"].to_list() == ends[1:3].to_list()
    with pytest.raises(InputError, match="go on along the calendar"):
        model.predict(future=known(ends[2:]))


def test_a_run_refuses_rows_at_other_times_and_takes_those_of_the_calendar(tmp_path):
    n = 300
    times = pl.Series("time", pd.date_range("2024-01-01", periods=n + 3, freq="h").to_numpy())
    table = pl.DataFrame({"time": times, "y": np.append(wave(n), [np.nan] * 3), "p": wave(n + 3)})
    table = table.with_columns(y=pl.col("y").fill_nan(None))
    options = {"target": "y", "future": ["p"], "horizon": 3, "lookback": 8, "hidden_size": 3, "max_epochs": 1}
    config = ho.Config().with_values({**options, "n_folds": 0, "n_seeds": 1})
    ho.fit(table[:n], config, out=tmp_path / "run", engine=InlineEngine())
    assert "series" not in pl.read_parquet(tmp_path / "run" / "predictions.parquet").columns
    said, _ = ho.predict(tmp_path / "run", table)
    assert said["time"].to_list() == times[n:].to_list()
    wrong = pl.concat([table[:n], table[n:].with_columns(pl.col("time").dt.offset_by("1y"))])
    with pytest.raises(InputError, match=r"the next is 2024-01-13 12:00:00, but .* has 2025-01-13 12:00:00"):
        ho.predict(tmp_path / "run", wrong)


# --- times on one side only, and rows ahead without times


def test_times_are_needed_exactly_where_the_fit_had_them(hourly):
    plain = LSTMForecaster(3, **TINY).fit(wave())
    for ask in (hourly.predict, hourly.backtest):
        with pytest.raises(InputError, match=r"the fit had times, in column .*, and y has none"):
            ask(wave(), future=wave(123))
    for ask in (plain.predict, plain.backtest):
        with pytest.raises(InputError, match="the fit had no times, and y has them in column"):
            ask(dated(wave()))


@pytest.mark.parametrize("timed", [True, False])
def test_of_an_array_with_the_rows_of_the_fit_those_behind_are_the_future(timed, tmp_path):
    y, price = (dated(wave()) if timed else wave()), wave(130, seed=1)
    model = LSTMForecaster(3, **TINY).fit(y, future=price[:120])
    model.save(tmp_path / "model")
    ho.load(tmp_path / "model").save(tmp_path / "again")
    said = model.predict(future=price[120:123]).table
    for each in (model, ho.load(tmp_path / "model"), ho.load(tmp_path / "again")):
        for n in (123, 130):
            assert each.predict(future=price[:n]).table.equals(said)
        for n in (1, 2, 4, 50, 120, 122):
            with pytest.raises(InputError, match=f"the 120 rows of the fit .* but has {n} of series"):
                each.predict(future=price[:n])


def test_each_series_of_a_panel_may_bring_its_own_rows_of_the_fit():
    frame = pl.DataFrame({"shop": ["a"] * 90 + ["b"] * 70, "y": wave(160)})
    price = pl.DataFrame({"shop": ["a"] * 92 + ["b"] * 72, "price": wave(164, seed=2)})
    model = LSTMForecaster(2, **TINY, id="shop").fit(frame, future=price)
    said = model.predict().table
    whole, ahead = price[:92], price[162:]
    assert model.predict(future=pl.concat([whole, ahead])).table.equals(said)
    with pytest.raises(InputError, match=r"the 70 rows of the fit .* but has 71 of series 'b'"):
        model.predict(future=pl.concat([whole, price[93:]]))


# --- one series of a panel


def test_one_series_of_a_panel_keeps_its_name_and_a_series_without_one_gets_none():
    frame = pl.DataFrame({"shop": ["a"] * 90 + ["b"] * 80, "y": wave(170)})
    model = LSTMForecaster(2, **TINY, id="shop").fit(frame)
    alone = frame.filter(pl.col("shop") == "b")
    said = model.predict(alone)
    assert said.series == ["b"]
    assert said.history["series"].unique().to_list() == ["b"]
    assert said.table.drop("forecast", "low", "high").equals(
        model.predict().table.filter(pl.col("series") == "b").drop("forecast", "low", "high")
    )
    assert model.backtest(alone, start=0.5).series == ["b"]
    assert LSTMForecaster(2, **TINY, id="shop").fit(alone).predict().series == ["b"]
    assert "series" not in LSTMForecaster(2, **TINY).fit(wave()).predict().columns


# --- numbers, weights, names, shapes


@pytest.mark.parametrize("factor", [1e17, 1e19, -1e25, 1e30])
def test_whole_numbers_beyond_those_of_64_bits_are_targets_and_no_times(factor):
    model = LSTMForecaster(2, **TINY).fit(np.round(wave() * 100) * factor)
    assert model.feature_names_in_.tolist() == ["y"]
    assert np.isfinite(model.predict().values).all()
    with pytest.raises(InputError, match="'when' must hold dates or times"):
        read_series(pl.DataFrame({"when": np.arange(1, 61) * 1e19, "y": wave(60)}), target="y", time="when")


def test_the_largest_step_numbers_are_read():
    top = np.arange(2**63 - 60, 2**63, dtype=np.uint64)
    data = read_series(
        pl.DataFrame({"when": top, "y": wave(60)}), target="y", time="when", frequency=Frequency()
    )
    assert data.time[-1] == 2**63 - 1


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        ({"up": -1.0}, "class_weight of 'up' must be in"),
        ({"up": 0}, "class_weight of 'up' must be in"),
        ({"up": float("nan")}, "class_weight of 'up' must be in"),
        ({"up": np.inf}, "class_weight of 'up' must be in"),
        ({"up": "2"}, "class_weight of 'up' must be in"),
        ({7: 2.0}, "must name classes of y, 'down', 'up', got 7"),
        ([1.0, 2.0], r"must be a dict .* got \[1.0, 2.0\]"),
        (np.ones(2), "must be a dict"),
        ("balancd", r"got 'balancd' \(did you mean 'balanced'\?\)"),
    ],
)
def test_a_class_weight_that_is_none_is_named(weight, said):
    X = np.random.default_rng(0).normal(size=(40, 5))
    with pytest.raises(InputError, match=said):
        LSTMClassifier(**QUICK, class_weight=weight).fit(X, np.where(X[:, 0] > 0, "up", "down"))


def test_a_class_weight_may_leave_classes_at_one_and_be_a_numpy_number():
    X = np.random.default_rng(0).normal(size=(40, 5))
    y = np.where(X[:, 0] > 0, 1, 0)
    said = [
        LSTMClassifier(**QUICK, class_weight=weight).fit(X, y).predict_proba(X)
        for weight in ({1: np.float32(2)}, {0: 1, 1: 2})
    ]
    np.testing.assert_array_equal(*said)


def test_names_of_columns_are_forgotten_by_a_fit_without_any():
    X = np.random.default_rng(0).normal(size=(40, 5, 2))
    frame = pd.DataFrame(X[:, :, 0], columns=list("abcde"))
    for other in (X, list(X), X[:, :, 0]):
        model = LSTMRegressor(**QUICK).fit(frame, X[:, 0, 0])
        assert model.feature_names_in_.tolist() == list("abcde")
        assert not hasattr(model.fit(other, X[:, 0, 0]), "feature_names_in_")


@pytest.mark.parametrize("kind", [LSTMRegressor, LSTMClassifier, LSTMForecaster])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("validation_split", "here it is validation_fraction"),
        ("n_seed", "did you mean 'n_seeds'"),
        ("randomstate", "did you mean 'random_state'"),
        ("hiden_size", "did you mean 'hidden_size'"),
        ("qqqqqq", "'qqqqqq'$"),
    ],
)
def test_every_name_of_a_class_is_searched_for_near_misses(kind, name, said):
    for make in (kind, kind().set_params):
        with pytest.raises(InputError, match=f"unknown hyper-parameter .*{said}"):
            make(**{name: 1})


def test_names_that_only_one_class_has_are_hinted_at_there_alone():
    for kind in (LSTMRegressor, LSTMClassifier):
        with pytest.raises(InputError, match="did you mean 'shuffle'"):
            kind(shufle=True)
        with pytest.raises(InputError, match=r"unknown hyper-parameter 'fh'$"):
            kind(fh=3)
    with pytest.raises(InputError, match="did you mean 'class_weight'"):
        LSTMClassifier(clas_weight="balanced")
    with pytest.raises(InputError, match="here it is horizon"):
        LSTMForecaster(fh=3)


@pytest.mark.parametrize("shape", [(40, 2, 3, 2), (40, 0, 2), (40, 5, 0), (0, 5, 2)])
def test_an_array_of_another_form_is_named_with_its_shape(shape):
    with pytest.raises(
        InputError, match=r"X must be \(n, T, F\), or \(n, T\) with one feature.* got shape \("
    ):
        LSTMRegressor(**QUICK).fit(np.zeros(shape), np.zeros(shape[0]))


def test_a_table_at_a_model_of_several_features_is_said_to_be_one_feature():
    X = np.random.default_rng(0).normal(size=(40, 5, 2))
    model = LSTMRegressor(**QUICK).fit(X, X[:, 0, 0])
    with pytest.raises(InputError, match=r"5 steps of 2 features, got \(5, 1\) \(a table is one feature"):
        model.predict(X[:, :, 0])
    one = LSTMRegressor(**QUICK).fit(X[:, :, :1], X[:, 0, 0])
    np.testing.assert_array_equal(one.predict(X[:, :, 0]), one.predict(X[:, :, :1]))


def test_auto_is_no_shortcut_for_classes():
    X = np.random.default_rng(0).normal(size=(40, 5))
    with pytest.raises(InputError, match="shortcut='auto' is for numbers, classes take 'none' or 'linear'"):
        LSTMClassifier(**QUICK, shortcut="auto").fit(X, X[:, 0] > 0)


def test_the_numbers_of_a_backtest_may_be_numpys():
    model, longer = LSTMForecaster(3, **TINY).fit(wave()), wave(160)
    longer[:120] = wave()
    told = model.backtest(longer, stride=np.int64(7))
    assert told.table.equals(model.backtest(longer, stride=7).table)
    other = LSTMForecaster(3, **TINY).backtest(wave(), start=0.9, refit=np.int32(20))
    assert len(other.table) > 0


def test_the_target_in_the_hint_can_be_pasted_into_a_shell():
    table = pl.DataFrame({"Month": ["2020-01", "2020-02"], "#Passengers, all": [1.0, 2.0]})
    with pytest.raises(InputError, match="--target '#Passengers, all';"):
        read_series(table)
