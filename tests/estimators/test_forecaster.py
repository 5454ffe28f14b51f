"""The forecaster: it says what `fit_series` says, knows no future, and takes series in every form."""

import json
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid

import heldout as ho
from heldout import Forecast, LSTMForecaster
from heldout.check import InputError
from heldout.config import DataOptions
from heldout.data.layout import read_series
from heldout.estimators.backtest import split_last
from heldout.recipe import Recipe
from heldout.training.checkpoint import ModelFileError, load_tensors, save_tensors
from heldout.training.fit import fit_series

TINY = {"lookback": 8, "hidden_size": 3, "max_epochs": 2, "random_state": 0}


def wave(n=160, seed=0):
    noise = np.random.default_rng(seed).normal(size=n)
    return np.sin(np.arange(n) / 3) + 0.2 * noise + 3


def dates(n=160):
    return pl.Series("day", pd.date_range("2021-03-01", periods=n).to_numpy())


def panel(lengths=(90, 70, 80)):
    """Three daily series of unequal length that end on different days."""
    parts = [
        pl.DataFrame({"day": dates(n), "shop": name, "sales": wave(n, seed=n) + 10 * k})
        for k, (name, n) in enumerate(zip("abc", lengths, strict=True))
    ]
    return pl.concat(parts)


@pytest.fixture(scope="module")
def fitted():
    return LSTMForecaster(3, **TINY).fit(wave())


# --- what it is


def test_every_hyper_parameter_comes_from_where_it_is_declared_and_is_documented():
    ours = LSTMForecaster().get_params()
    recipe = {item.name: item.default for item in Recipe.describe()}
    table = {item.name: item.default for item in DataOptions.describe()}
    own = {"horizon": 1, "n_seeds": 1, "validation_fraction": 0.2, "level": 0.9, "random_state": None}
    assert recipe.keys() - ours.keys() == {"label_smoothing"}
    for name, value in ours.items():
        assert value == (own | table | recipe)[name] if name != "horizon" else value == 1
        assert f"\n{name} : " in LSTMForecaster.__doc__
    assert ours.keys() - recipe.keys() - table.keys() == own.keys() - {"horizon"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("units", "here it is hidden_size"),
        ("epochs", "here it is max_epochs"),
        ("dropout", "here it is input_dropout, recurrent_dropout"),
        ("input_chunk_length", "here it is lookback"),
        ("output_chunk_length", "here it is horizon"),
        ("seed", "here it is random_state"),
        ("horizn", "did you mean 'horizon'"),
        ("label_smoothing", "is for classes"),
    ],
)
def test_another_librarys_name_raises_an_error_that_gives_ours(name, said):
    with pytest.raises(InputError, match=said):
        LSTMForecaster(**{name: 3})
    with pytest.raises(InputError, match=said):
        LSTMForecaster().set_params(**{name: 3})


def test_horizon_and_lookback_need_no_name_and_nothing_else_is_taken_without_one():
    model = LSTMForecaster(5, 60, hidden_size=4)
    assert (model.horizon, model.lookback, model.hidden_size) == (5, 60, 4)
    with pytest.raises(TypeError):
        LSTMForecaster(5, 60, "auto")
    with pytest.raises(TypeError):
        LSTMForecaster(5, horizon=5)


def test_clone_grid_repr_and_pickle_work(fitted):
    for params in ParameterGrid({"hidden_size": [2, 3], "level": [None, 0.8]}):
        again = clone(fitted).set_params(**params)
        assert again.get_params() == {**fitted.get_params(), **params}
        assert not hasattr(again, "model_")
    assert eval(repr(fitted), {"LSTMForecaster": LSTMForecaster}).get_params() == fitted.get_params()
    loaded = pickle.loads(pickle.dumps(fitted))  # noqa: S301 - made a moment ago
    assert loaded.predict().table.equals(fitted.predict().table)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"horizon": 0}, "horizon must be in"),
        ({"lookback": 0}, "lookback must be in"),
        ({"validation_fraction": 1.0}, "validation_fraction must be in"),
        ({"n_seeds": 0}, "n_seeds must be in"),
        ({"level": 1.0}, "level must be in"),
        ({"missing": "drop"}, "missing must be one of"),
        ({"loss": "cross_entropy"}, "for classes"),
        ({"lookback": 200}, "shorten lookback or horizon"),
        ({"time": "when"}, "y must have the column 'when'"),
    ],
)
def test_a_bad_value_is_named_at_fit(options, said):
    with pytest.raises(InputError, match=said):
        LSTMForecaster(**{**TINY, **options}).fit(wave())


# --- what it says


def test_it_says_what_fit_series_and_the_model_say_by_hand():
    y, options = wave(), {k: v for k, v in TINY.items() if k != "random_state"}
    model = LSTMForecaster(3, **TINY, n_seeds=2).fit(y)
    data = read_series(pl.DataFrame({"y": y}), target="y", horizon=3)
    train, valid = split_last(data, 8, 0.2)
    assert (data.time[train] + 3).max() <= data.time[valid].min()
    assert len(valid) == pytest.approx(0.2 * 150, abs=3)
    state = np.random.RandomState(0).randint(2**31)
    seeds = np.random.default_rng(state).integers(2**31, size=2)
    fits = [fit_series(data, train, valid, Recipe(**options), seed=int(seed)) for seed in seeds]
    by_hand = fits[0][0].joined([fits[1][0]]).calibrated(data, valid, 0.9).columns(data, np.array([159]))
    said = model.predict().table
    for name, value in by_hand.items():
        np.testing.assert_array_equal(said[name].to_numpy(), value.ravel())
    assert list(model.histories_) == [history for _, history in fits]
    assert model.history_ == fits[0][1]
    assert model.best_epoch_ == fits[0][1].best_epoch
    assert model.n_parameters_ == fits[0][0].n_parameters
    assert model.prepare_ is model.model_.prepare
    assert (model.n_features_in_, model.feature_names_in_.tolist()) == (1, ["y"])


def test_the_first_of_several_seeds_is_the_only_seed_and_no_global_state_changes():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is what must stay
    one, two, other, new = (
        LSTMForecaster(2, **{**TINY, "random_state": state}, n_seeds=n).fit(wave())
        for state, n in ((4, 1), (4, 2), (5, 1), (None, 1))
    )
    assert one.histories_[0] == two.histories_[0]
    assert one.history_ != other.history_
    assert one.history_ != new.history_
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002 - the global state is what must stay


def test_quantiles_rise_and_the_forecast_is_the_median():
    model = LSTMForecaster(2, **TINY, loss="quantile", quantiles=(0.1, 0.5, 0.9)).fit(wave())
    table = model.backtest(wave(), start=0.9).table
    assert (table["q0.1"] <= table["q0.5"]).all()
    assert (table["q0.5"] <= table["q0.9"]).all()
    assert table["forecast"].equals(table["q0.5"])


def test_intervals_hold_the_forecast_and_none_are_given_without_a_level(fitted):
    table = fitted.predict().table
    assert ((table["low"] < table["forecast"]) & (table["forecast"] < table["high"])).all()
    assert any("coverage" in note for note in fitted.notes_)
    plain = LSTMForecaster(3, **TINY, level=None).fit(wave())
    assert plain.predict().table.equals(table.drop("low", "high"))
    assert plain.predict().level is None


def test_only_the_last_step_is_said_if_asked():
    model = LSTMForecaster(4, **TINY, last_step_only=True).fit(wave())
    assert model.predict().table["step"].to_list() == [4]
    assert model.predict().table["time"].to_list() == [163]


# --- forms of y


def forms():
    y, day = wave(), dates()
    index = pd.DatetimeIndex(day.to_numpy())
    return {
        "polars": pl.DataFrame({"day": day, "y": y}),
        "lazy": pl.LazyFrame({"day": day, "y": y}),
        "shuffled": pl.DataFrame({"day": day, "y": y}).sample(fraction=1, shuffle=True, seed=0),
        "pandas": pd.DataFrame({"day": day.to_numpy(), "y": y}),
        "index": pd.DataFrame({"y": y}, index=index),
        "named index": pd.DataFrame({"y": y}, index=index.rename("when")),
        "periods": pd.DataFrame({"y": y}, index=index.to_period("D")),
        "series": pd.Series(y, index=index, name="y"),
        "nameless series": pd.Series(y, index=index),
        "arrow": pl.DataFrame({"day": day, "y": y}).to_arrow(),
        "text": pl.DataFrame({"day": day.dt.strftime("%Y-%m-%d"), "y": y}),
    }


@pytest.mark.parametrize("form", forms())
def test_every_form_of_a_dated_series_is_the_same_series_and_its_calendar_goes_on(form, fitted):
    model = LSTMForecaster(3, **TINY).fit(forms()[form])
    said = model.predict()
    np.testing.assert_array_equal(said.values, fitted.predict().values)
    assert said.table["time"].to_list() == pd.date_range("2021-08-08", periods=3).to_list()
    assert said.table["target"].unique().to_list() == ["y"]
    by_index = any("index of the data frame" in note for note in model.notes_)
    assert by_index == (form in ("index", "named index", "periods", "series", "nameless series"))


@pytest.mark.parametrize(
    ("freq", "following"),
    [
        ("ME", ["2034-07-31", "2034-08-31", "2034-09-30"]),
        ("MS", ["2034-07-01", "2034-08-01", "2034-09-01"]),
        ("B", ["2021-10-11", "2021-10-12", "2021-10-13"]),
        ("15min", ["2021-03-02 16:00", "2021-03-02 16:15", "2021-03-02 16:30"]),
    ],
)
def test_the_calendar_goes_on(freq, following):
    frame = pd.DataFrame({"day": pd.date_range("2021-03-01", periods=160, freq=freq), "y": wave()})
    said = LSTMForecaster(3, **TINY).fit(frame).predict()
    assert said.to_pandas()["time"].tolist() == list(pd.to_datetime(following))


def test_rows_without_times_are_counted_from_the_fits_first():
    for y in (wave(), wave().tolist(), pd.Series(wave()), pl.Series(wave()), pd.DataFrame({"row": wave()})):
        said = LSTMForecaster(2, **TINY).fit(y).predict()
        assert said.table["origin"].to_list() == [159, 159]
        assert said.table["time"].to_list() == [160, 161]


def test_several_targets_come_as_columns_each_in_its_own_units():
    Y = np.column_stack([wave(seed=1), 1000 + 100 * wave(seed=2)])
    said = LSTMForecaster(2, **TINY).fit(Y).predict()
    assert said.targets == ["y1", "y2"]
    assert said.values.shape == (1, 2, 2)
    assert said.values[0, :, 0].max() < 100 < said.values[0, :, 1].min()
    named = LSTMForecaster(2, **TINY).fit(pl.DataFrame({"a": Y[:, 0], "b": Y[:, 1]}))
    np.testing.assert_array_equal(named.predict().values, said.values)
    turned = named.predict(pl.DataFrame({"b": Y[:, 1], "a": Y[:, 0]}))
    np.testing.assert_array_equal(turned.values, said.values)


def test_a_second_fit_forgets_the_first():
    first = LSTMForecaster(2, **TINY).fit(pl.DataFrame({"day": dates(), "load": wave()}))
    again = first.fit(wave(120), future=wave(125, seed=2)).predict()
    assert again.targets == ["y"]
    assert again.table["time"].to_list() == [120, 121]


def test_what_is_no_series_is_refused():
    for wrong in (np.zeros((3, 3, 3)), np.zeros(0), "abc def", object(), {"a": 3}, ["x", "y"]):
        with pytest.raises(InputError):
            LSTMForecaster(**TINY).fit(wrong)
    with pytest.raises(InputError, match="must hold numbers, but holds text"):
        LSTMForecaster(**TINY).fit(panel())
    with pytest.raises(InputError, match="must have a column of numbers beside time and id"):
        LSTMForecaster(**TINY, time="day").fit(panel().select("day"))


def test_another_series_is_forecast_with_the_same_columns_only(fitted):
    other = wave(40, seed=9)
    by_hand = fitted.model_.columns(
        read_series(pl.DataFrame({"y": other}), target="y", horizon=3), np.array([39])
    )
    np.testing.assert_array_equal(fitted.predict(other).values, by_hand["forecast"])
    with pytest.raises(InputError, match="a forecast needs 8 rows of the past"):
        fitted.predict(other[:5])
    with pytest.raises(InputError, match="y must have the columns of the fit, y, got y1, y2"):
        fitted.predict(np.ones((40, 2)))
    with pytest.raises(InputError, match="exog must have the columns of the fit, which had none, got exog"):
        fitted.predict(other, exog=other)
    with pytest.raises(InputError, match="exog goes with y"):
        fitted.predict(exog=other)


# --- panels


def test_series_of_a_panel_are_forecast_from_their_own_ends_in_any_order_of_rows():
    frame = panel()
    model = LSTMForecaster(2, **TINY, id="shop").fit(frame)
    said = model.predict()
    assert said.series == ["a", "b", "c"]
    ends = said.table.group_by("series", maintain_order=True).agg(pl.col("origin").first())["origin"]
    assert ends.to_list() == [dates(n)[-1] for n in (90, 70, 80)]
    mixed = LSTMForecaster(2, **TINY, id="shop").fit(frame.sample(fraction=1, shuffle=True, seed=1))
    assert mixed.predict().table.equals(said.table)
    alone = model.predict(frame.filter(pl.col("shop") == "b"))
    np.testing.assert_allclose(alone.values[0], said.values[1], rtol=1e-6)
    counted = LSTMForecaster(2, **TINY, id="shop").fit(frame.drop("day")).predict()
    assert counted.table["time"].to_list() == [90, 91, 70, 71, 80, 81]


def test_static_columns_reach_the_model_and_must_not_change():
    frame = panel().with_columns(size=pl.col("shop").replace_strict({"a": 1.0, "b": 5.0, "c": 9.0}))
    frame = frame.with_columns(kind=pl.when(pl.col("shop") == "b").then(pl.lit("x")).otherwise(pl.lit("y")))
    model = LSTMForecaster(2, **TINY, id="shop", static=("size", "kind")).fit(frame)
    assert model.model_.task["static"] == ["size", "kind=x", "kind=y"]
    assert model.feature_names_in_.tolist() == ["sales"]
    grown = frame.with_columns(size=pl.col("size") + 4)
    assert not np.array_equal(model.predict(grown).values, model.predict().values)
    with pytest.raises(InputError, match="static column 'day' must be the same within a series"):
        LSTMForecaster(2, **TINY, id="shop", static="day").fit(panel().with_columns(time="day"))


# --- missing values


def test_missing_values_are_refused_or_filled_and_a_forecast_begins_at_the_last_known_row():
    y = wave()
    y[[30, 31, 100]] = np.nan
    with pytest.raises(InputError, match="column 'y' must have no missing value, but is empty in row 30"):
        LSTMForecaster(2, **TINY).fit(y)
    model = LSTMForecaster(2, **TINY, missing="fill").fit(y)
    assert np.isfinite(model.predict().values).all()
    assert np.isfinite(model.backtest(y, start=0.1).table["truth"].to_numpy()).all()
    open_end = np.append(y, [np.nan, np.nan])
    np.testing.assert_array_equal(model.predict(open_end).values, model.predict(y).values)
    assert model.predict(open_end).table["time"].to_list() == [160, 161]
    with pytest.raises(InputError, match="float32"):
        LSTMForecaster(2, **TINY).fit(np.append(y[32:99], np.inf))


# --- covariates


def test_exog_is_matched_by_time_where_it_has_times_and_stands_in_order_where_not():
    y, x = wave(), wave(seed=5)
    target, cause = pl.DataFrame({"day": dates(), "y": y}), pl.DataFrame({"day": dates(), "x": x})
    said = LSTMForecaster(2, **TINY).fit(target, cause).predict()
    for exog in (
        cause.sample(fraction=1, shuffle=True, seed=2),
        cause.drop("day"),
        x,
        pl.concat(
            [
                pl.DataFrame({"day": [dates()[0] - pd.Timedelta(days=3)], "x": [9.0]}, schema=cause.schema),
                cause,
            ]
        ),
    ):
        model = LSTMForecaster(2, **TINY).fit(target, exog)
        np.testing.assert_array_equal(model.predict().values, said.values)
        assert model.n_features_in_ == 2
    indexed = pd.DataFrame({"x": x}, index=pd.DatetimeIndex(dates().to_numpy())).sample(
        frac=1, random_state=0
    )
    np.testing.assert_array_equal(
        LSTMForecaster(2, **TINY).fit(target, indexed).predict().values, said.values
    )
    assert not np.array_equal(LSTMForecaster(2, **TINY).fit(target).predict().values, said.values)


def test_exog_that_cannot_be_matched_is_refused():
    target = pl.DataFrame({"day": dates(), "y": wave()})
    cause = pl.DataFrame({"day": dates(), "x": wave()})
    model = LSTMForecaster(2, **TINY)
    for exog, said in (
        (cause[:-1], "exog must have a row for each row of y, but has none for 2021-08-07"),
        (
            wave(159),
            "exog must have a row for each of the 160 rows of y, got 159; or give it the column 'day'",
        ),
        (wave(161), "exog is known up to the present only, but has 1 rows after the end of y"),
        (pl.concat([cause, cause[:1]]), "exog must have each time of a series once"),
        (cause.rename({"x": "y"}), "a column may come once, in y, exog or future, but 'y' comes 2 times"),
    ):
        with pytest.raises(InputError, match=said):
            model.fit(target, exog)
    shops = LSTMForecaster(2, **TINY, id="shop")
    with pytest.raises(InputError, match="got 241; or give it the column 'shop' and 'day'"):
        shops.fit(panel(), wave(241))


def test_covariates_known_ahead_are_read_in_the_rows_that_are_forecast():
    y, known = wave(), wave(164, seed=7)
    model = LSTMForecaster(3, **TINY).fit(y, future=known)
    said = model.predict()
    for future in (known[160:163], known[:163], known):  # those of the fit may come first
        np.testing.assert_array_equal(model.predict(future=future).values, said.values)
    np.testing.assert_array_equal(model.predict(y, future=known).values, said.values)
    other = known.copy()
    other[160:] += 5
    assert not np.array_equal(model.predict(future=other[160:163]).values, said.values)
    other[:152] = 0  # before the window
    np.testing.assert_array_equal(
        model.predict(y, future=other).values, model.predict(future=other[160:163]).values
    )
    bare = LSTMForecaster(3, **TINY).fit(y, future=known[:160])
    np.testing.assert_array_equal(bare.predict(future=known[160:163]).values, said.values)
    with pytest.raises(InputError, match="covariate 'future' must be known 3 rows ahead"):
        bare.predict()
    for wrong in (known[160:162], known[160:], known[1:163]):
        with pytest.raises(InputError, match=f"the 3 rows .* the 160 rows .* has {len(wrong)} of series"):
            bare.predict(future=wrong)
    with pytest.raises(InputError, match="future must have the columns of the fit, future, got"):
        bare.predict(future=np.ones((3, 2)))


def test_rows_ahead_without_times_get_those_of_the_calendar_and_stand_beside_exog():
    y, known = pl.DataFrame({"day": dates(), "y": wave()}), wave(164, seed=7)
    timed = pl.DataFrame({"day": dates(164), "future": known})
    said = LSTMForecaster(3, **TINY).fit(y, wave(seed=1), timed).predict()
    model = LSTMForecaster(3, **TINY).fit(y, wave(seed=1), known)
    assert model.predict().table.equals(said.table)
    assert said.table["time"].to_list() == dates(163)[160:].to_list()
    for future in (known[160:163], known, timed[160:], timed):
        assert model.predict(future=future).table.equals(said.table)


def test_covariates_known_ahead_of_a_panel_are_matched_by_series_and_time():
    frame = panel()
    full = pl.concat(
        [
            pl.DataFrame({"day": dates(n + 4), "shop": name, "price": wave(n + 4, seed=3 * n)})
            for name, n in zip("abc", (90, 70, 80), strict=True)
        ]
    ).sample(fraction=1, shuffle=True, seed=0)
    model = LSTMForecaster(2, **TINY, id="shop").fit(frame, future=full)
    said = model.predict()
    known = frame.select("day", "shop").join(full, on=["day", "shop"])
    ahead = full.join(frame, on=["day", "shop"], how="anti")
    other = LSTMForecaster(2, **TINY, id="shop").fit(frame, future=known)
    for future in (ahead, full):
        assert other.predict(future=future).table.equals(said.table)
    with pytest.raises(InputError, match="future must say whose its rows are: give it the column 'shop'"):
        other.predict(future=ahead.drop("shop"))


def test_the_calendar_is_known_ahead_without_being_given():
    frame = pl.DataFrame({"day": dates(), "y": wave()})
    model = LSTMForecaster(3, **TINY, calendar=True).fit(frame)
    assert "day of week (sin)" in model.model_.task["future"]
    assert np.isfinite(model.predict().values).all()
    assert model.feature_names_in_.tolist() == ["y"]


# --- backtests


@pytest.mark.parametrize("refit", [True, 3])
def test_a_backtest_with_refits_is_refitting_by_hand(refit):
    y, x = wave(90), wave(90, seed=1)
    model = LSTMForecaster(2, **TINY, transform="auto")
    told = model.backtest(y, x, start=0.8, stride=2, refit=refit).table
    origins = told["origin"].unique(maintain_order=True).to_list()
    assert origins == list(range(origins[0], 88, 2))
    every = 1 if refit is True else refit
    for place, origin in enumerate(origins):
        known = origins[place - place % every] + 1
        by_hand = clone(model).fit(y[:known], x[:known])
        said = by_hand.predict(y[: origin + 1], x[: origin + 1]).table
        own = told.filter(pl.col("origin") == origin)
        np.testing.assert_allclose(
            own.select("forecast", "low", "high"), said.select("forecast", "low", "high"), rtol=1e-6
        )
        np.testing.assert_array_equal(own["truth"], y[origin + 1 : origin + 3])
        np.testing.assert_array_equal(own["last_value"], y[[origin, origin]])
    assert not hasattr(model, "model_")


@pytest.mark.parametrize("refit", [False, True, 4])
@settings(max_examples=3, deadline=None)
@given(cut=st.integers(70, 85), factor=st.sampled_from([0.5, 1e-3, 1e4]))
def test_what_happens_later_changes_no_forecast_before_it_to_the_bit(refit, cut, factor):
    y, x = wave(90), wave(90, seed=1)
    other_y, other_x = y.copy(), x.copy()
    other_y[cut:] *= factor
    other_x[cut:] *= factor
    model = LSTMForecaster(2, **{**TINY, "max_epochs": 1})
    if refit is False:
        model.fit(y[:60], x[:60])
    a, b = (
        model.backtest(*data, start=0.7 if refit else None, refit=refit, stride=4).table.filter(
            pl.col("origin") < cut
        )
        for data in ((y, x), (other_y, other_x))
    )
    said = [name for name in a.columns if name != "truth"]
    assert len(a)
    assert a.select(said).equals(b.select(said))


def test_without_refits_only_rows_after_the_fit_are_told_unless_asked_otherwise(fitted):
    longer = np.append(wave(), wave(30, seed=3))
    told = fitted.backtest(longer)
    assert told.table["origin"].unique().sort().to_list() == list(range(159, 187))
    assert not any("flatter" in note for note in told.notes)
    with pytest.raises(
        InputError, match=r"a backtest needs an origin .* none of them after the rows of the fit"
    ):
        fitted.backtest(wave())
    seen = fitted.backtest(longer, start=0.5)
    assert "moments lie in the rows of the fit: their errors flatter it" in seen.notes[-1]
    other = fitted.backtest(wave(40, seed=8), start=0)
    assert other.table["origin"][0] == 7
    assert not any("flatter" in note for note in other.notes)
    frame = pl.DataFrame({"day": dates(190), "y": longer})
    dated = LSTMForecaster(3, **TINY).fit(frame[:160])
    for rows in (frame, frame[140:]):
        np.testing.assert_array_equal(dated.backtest(rows).values, told.values)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start": 1.0}, "start must be in"),
        ({"stride": 0}, "stride must be a whole number"),
        ({"refit": -1}, "refit must be a whole number"),
        ({"refit": 0.5}, "refit must be a whole number of 1 or more, True or False"),
        ({"refit": 0}, "refit must be a whole number"),
        (
            {"refit": True, "start": 0.05},
            r"a fit needs windows .* \(this is the refit at row \d+, which start may put later\)",
        ),
    ],
)
def test_a_backtest_names_what_is_wrong(fitted, options, said):
    with pytest.raises(InputError, match=said):
        fitted.backtest(wave(), **options)


def test_a_panel_is_told_at_the_same_moments_in_all_its_series():
    model = LSTMForecaster(2, **TINY, id="shop")
    told = model.backtest(panel(), start=0.6, stride=5, refit=2)
    by_series = told.table.group_by("series").agg(pl.col("origin").unique().sort())
    longest = by_series.filter(pl.col("series") == "a")["origin"][0].to_list()
    for origins in by_series["origin"]:
        assert origins.to_list() == longest[: len(origins)]
    truth = panel().rename({"shop": "series", "day": "time", "sales": "real"})
    joined = told.table.join(
        truth.with_columns(pl.col("time").cast(pl.Datetime("us"))), on=["series", "time"]
    )
    assert len(joined) == len(told.table)
    np.testing.assert_array_equal(joined["truth"], joined["real"])


def test_scores_are_those_of_numpy():
    y = wave(200)
    told = LSTMForecaster(3, **TINY).fit(y[:150]).backtest(y)
    table, scores = told.table, told.scores().to_dicts()[0]
    error = (table["forecast"] - table["truth"]).to_numpy()
    naive = (table["last_value"] - table["truth"]).to_numpy()
    held = (table["low"] <= table["truth"]) & (table["truth"] <= table["high"])
    assert scores == pytest.approx(
        {
            "target": "y",
            "n_origins": 48,
            "mse": (error**2).mean(),
            "mae": np.abs(error).mean(),
            "skill": 1 - (error**2).mean() / (naive**2).mean(),
            "coverage": held.mean(),
            "width": (table["high"] - table["low"]).mean(),
        }
    )
    by_step = told.scores("step")
    np.testing.assert_allclose(by_step["mse"], (error.reshape(-1, 3) ** 2).mean(axis=0))
    with pytest.raises(InputError, match="by must be one of 'origin', 'time', 'step'"):
        told.scores("series")
    flat = Forecast(table.with_columns(last_value=pl.col("truth"))).scores()
    assert flat["skill"].to_list() == [None]


# --- what is shown


def test_a_forecast_is_drawn_and_shown_and_text_of_the_data_stays_text(fitted):
    nasty = "<img src=x onerror=alert(1)>"
    model = LSTMForecaster(3, **TINY).fit(pl.DataFrame({"day": dates(), nasty: wave()}))
    for shown in (model.predict(), model.backtest(pl.DataFrame({"day": dates(), nasty: wave()}), start=0.8)):
        assert nasty not in shown._repr_html_()
        assert "&lt;img" in shown._repr_html_()
        figure = shown.plot()
        assert len(figure.data) >= 2
        assert nasty not in figure.to_json()
    told = fitted.backtest(wave(), start=0.8)
    assert told.plot(step=2).to_dict() != told.plot().to_dict()
    with pytest.raises(InputError, match="step must be one of 1, 2, 3"):
        told.plot(step=9)
    with pytest.raises(InputError, match="target must be one of 'y'"):
        told.plot(target="z")
    with pytest.raises(InputError, match="it has no name"):
        told.plot(series="a")
    shops = LSTMForecaster(2, **TINY, id="shop").fit(panel()).predict()
    assert repr(shops) == "Forecast of 'sales': 2 steps from 3 origins of 3 series, with 90 % intervals"
    assert shops.plot(series="b").to_dict() != shops.plot().to_dict()
    assert len(shops) == len(shops.to_pandas()) == len(shops.to_polars()) == 6
    with pytest.raises(InputError, match="scores need the truth"):
        shops.scores()


# --- files


def test_a_file_brings_back_the_forecaster_to_the_bit_with_no_more_data_than_it_reads(tmp_path):
    frame = panel().with_columns(size=pl.col("shop").replace_strict({"a": 1.0, "b": 5.0, "c": 9.0}))
    frame = frame.with_columns(
        sales=pl.when(pl.int_range(pl.len()).over("shop").is_between(60, 75)).then(None).otherwise("sales")
    )
    frame = frame.filter(~pl.col("day").is_in(dates(70)[40:43].implode()))
    known = frame.select("day", "shop", price=pl.col("sales").is_null() * 1.0)
    model = LSTMForecaster(
        2,
        **TINY,
        id="shop",
        static="size",
        missing="fill",
        loss="quantile",
        n_seeds=2,
        transform="difference",
    ).fit(frame, exog=known)
    model.save(tmp_path / "model")
    again = ho.load(tmp_path / "model")
    assert again.predict().table.equals(model.predict().table)
    assert again.backtest(frame, known, start=0.7).table.equals(model.backtest(frame, known, start=0.7).table)
    assert again.get_params() == {**model.get_params(), "static": ("size",)}
    assert again.histories_ == model.histories_
    assert again.notes_ == model.notes_
    assert again.feature_names_in_.tolist() == ["sales", "price"]
    kept = load_tensors(tmp_path / "model")[0]["table.values"]
    assert 3 * 10 <= len(kept) < 100
    assert clone(again).fit(frame, exog=known).predict().table.equals(model.predict().table)


def test_a_loaded_forecaster_still_knows_which_rows_were_seen(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    again = ho.load(tmp_path / "model")
    longer = np.append(wave(), wave(30, seed=3))
    assert again.backtest(longer).table.equals(fitted.backtest(longer).table)
    with pytest.raises(InputError, match="after the rows of the fit"):
        again.backtest(wave())


def test_a_file_with_parts_that_do_not_fit_is_refused(fitted, tmp_path):
    tensors, metadata = fitted.to_file_parts()
    metadata = json.loads(json.dumps(metadata))
    faults = [
        ({**tensors, "table.time": tensors["table.time"][1:]}, metadata),
        ({**tensors, "table.series": tensors["table.series"] + 1}, metadata),
        ({name: value for name, value in tensors.items() if name != "table.values"}, metadata),
        (tensors, {**metadata, "table": {**metadata["table"], "targets": ["z"]}}),
        (tensors, {**metadata, "table": {**metadata["table"], "past": ["x"]}}),
        (tensors, {**metadata, "params": {**metadata["params"], "units": 3}}),
        (tensors, {**metadata, "table": {**metadata["table"], "static": {"kind": [{"a": 1}]}}}),
        (tensors, {**metadata, "table": {**metadata["table"], "ids": [1]}}),
        (tensors, {**metadata, "reading": {}}),
        (tensors, {**metadata, "histories": []}),
        (tensors, {**metadata, "version": 2}),
    ]
    for number, (some, other) in enumerate(faults):
        save_tensors(tmp_path / str(number), some, other)
        with pytest.raises(ModelFileError):
            ho.load(tmp_path / str(number))
