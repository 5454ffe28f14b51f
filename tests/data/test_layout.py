from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.data.columns import STEPS_COLUMN
from heldout.data.layout import read_series

DATA = Path(__file__).parents[2] / "../shared/data"
MANY = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
ARRAYS = ("values", "time", "position", "offsets", "static")


def days(n, start=date(1999, 1, 1)):
    return [start + timedelta(days=k) for k in range(n)]


def shops(n=60, *, seed=0):
    """Two series of different length, with a covariate known ahead and two static columns."""
    rng = np.random.default_rng(seed)
    parts = []
    for shop, length, size in (("b", n, "large"), ("a", n - 7, "small")):
        parts.append(
            pl.DataFrame(
                {
                    "day": days(length),
                    "shop": [shop] * length,
                    "size": [size] * length,
                    "area": [float(len(size))] * length,
                    "sales": rng.normal(size=length),
                    "price": rng.normal(size=length),
                    "visits": rng.integers(0, 99, length),
                }
            )
        )
    return pl.concat(parts)


SHOP_PARTS = {"target": "sales", "id": "shop", "future": ["price"], "static": ["size", "area"]}


def assert_same(one, other):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.fingerprint == other.fingerprint
    assert one.frequency == other.frequency


def test_each_column_plays_its_part():
    frame = shops()
    series = read_series(frame, **SHOP_PARTS, horizon=3)
    assert series.columns == ("sales", "visits", "price")
    assert (series.targets, series.past, series.future) == (("sales",), ("visits",), ("price",))
    assert series.ids == ("a", "b")
    np.testing.assert_array_equal(series.offsets, [0, 53, 113])
    for k, shop in enumerate(series.ids):
        rows = slice(series.offsets[k], series.offsets[k + 1])
        part = frame.filter(pl.col("shop") == shop)
        np.testing.assert_array_equal(series.values[rows], part.select("sales", "visits", "price").to_numpy())
        np.testing.assert_array_equal(series.time[rows].astype("datetime64[us]"), part["day"].to_numpy())
    assert series.static_names == ("size=large", "size=small", "area")
    np.testing.assert_array_equal(series.static, [[0, 1, 5], [1, 0, 5]])
    assert series.values.dtype == np.float64
    assert series.values.flags.c_contiguous
    assert series.frequency.name == "day"


@MANY
@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_the_rows_does_not_matter(seed):
    frame = shops(20, seed=seed)
    shuffled = frame[np.random.default_rng(seed).permutation(len(frame))]
    series = read_series(shuffled, **SHOP_PARTS)
    assert_same(series, read_series(frame, **SHOP_PARTS))
    assert any("sorted" in note for note in series.notes)


@MANY
@given(seed=st.integers(0, 2**32 - 1), gaps=st.booleans())
def test_every_kind_of_table_gives_the_same_series(tmp_path, seed, gaps):
    frame = shops(15, seed=seed).with_columns(pl.col("day").cast(pl.Datetime("us")))
    if gaps:
        frame = frame.with_columns(pl.when(pl.col("visits") > 50).then(pl.col("price")).alias("price"))
    frame.write_csv(tmp_path / "a.csv")
    frame.write_parquet(tmp_path / "a.parquet")
    first = read_series(frame, **SHOP_PARTS, missing="fill", calendar=True)
    plain = frame.to_dict(as_series=False)
    for source in (
        frame.lazy(),
        pd.DataFrame(plain),
        pa.table(plain),
        tmp_path / "a.csv",
        tmp_path / "a.parquet",
    ):
        assert_same(read_series(source, **SHOP_PARTS, missing="fill", calendar=True), first)
    indexed = pd.DataFrame(plain).set_index("day")
    assert_same(read_series(indexed, **SHOP_PARTS, missing="fill", calendar=True), first)


@MANY
@given(values=st.lists(st.floats(-1e38, 1e38), min_size=2, max_size=30).filter(lambda x: len(set(x)) > 1))
def test_a_csv_file_keeps_every_value_exactly(tmp_path, values):
    path = tmp_path / "a.csv"
    path.write_text(
        "day,x\n"
        + "".join(f"{day},{value!r}\n" for day, value in zip(days(len(values)), values, strict=True))
    )
    np.testing.assert_array_equal(read_series(path, target="x").values[:, 0], values)


def test_the_table_given_is_left_as_it_was():
    for frame in (shops(), shops().to_pandas()):
        before = frame.clone() if isinstance(frame, pl.DataFrame) else frame.copy()
        series = read_series(frame[::-1], **SHOP_PARTS)
        series.values[:] = 0
        assert frame.equals(before)


def test_without_a_time_column_rows_keep_their_order():
    series = read_series(pl.DataFrame({"x": [3.0, 1, 2]}), target="x")
    np.testing.assert_array_equal(series.values[:, 0], [3, 1, 2])
    np.testing.assert_array_equal(series.time, [0, 1, 2])
    np.testing.assert_array_equal(series.position, [0, 1, 2])
    assert (series.frequency.name, series.horizon) == ("row", 1)
    two = read_series(pl.DataFrame({"s": [2, 1, 2, 1], "x": [3.0, 1, 2, 5]}), target="x", id="s")
    np.testing.assert_array_equal(two.values[:, 0], [1, 5, 3, 2])
    np.testing.assert_array_equal(two.time, [0, 1, 0, 1])


def test_step_numbers_are_a_time_if_asked_for():
    frame = pl.DataFrame({"step": [3, 1, 2, 9], "x": [3.0, 1, 2, 5]})
    series = read_series(frame, target="x", time="step")
    np.testing.assert_array_equal(series.values[:, 0], [1, 2, 3, 5])
    np.testing.assert_array_equal(np.diff(series.position), [1, 1, 6])


HORIZONS = {"h": 24, "D": 7, "B": 5, "W": 4, "MS": 12, "QS": 4, "YS": 1, "15min": 96, "6h": 4}


@pytest.mark.parametrize("code", HORIZONS)
def test_the_horizon_follows_the_frequency_and_is_said(code):
    stamps = pd.date_range("1999-01-04", periods=960, freq=code)
    series = read_series(pd.DataFrame({"t": stamps, "x": np.arange(960.0)}), target="x")
    assert series.horizon == HORIZONS[code]
    assert any("the horizon is" in note for note in series.notes)
    few = pd.DataFrame({"t": stamps[:50], "x": np.arange(50.0)})
    assert read_series(few, target="x").horizon == min(5, HORIZONS[code])
    assert read_series(few, target="x", horizon=2, last_step_only=True).steps == [2]


def holed():
    stamps = [*days(30), *days(30, date(1999, 2, 20))]
    return pl.DataFrame({"day": stamps, "x": np.arange(60.0), STEPS_COLUMN: np.arange(60.0)[::-1]})


def test_uneven_steps_are_noted_and_given_to_the_model():
    series = read_series(holed(), target="x", past=[])
    assert series.past == (STEPS_COLUMN + "_",)
    steps = series.values[:, 1]
    assert steps[30] == 21
    assert set(np.delete(steps, 30)) == {1}
    note = next(note for note in series.notes if "uneven" in note)
    assert "1 steps are uneven" in note
    assert "21 steps after 1999-01-30" in note
    np.testing.assert_array_equal(series.segment_offsets, [0, 30, 60])
    np.testing.assert_array_equal(
        read_series(holed(), target="x", past=[], max_gap=21).segment_offsets, [0, 60]
    )


def test_the_steps_can_be_asked_for_where_they_are_even():
    frame = pl.DataFrame({"day": days(60), "x": np.arange(60.0)})
    assert read_series(frame, target="x").past == ()
    series = read_series(frame, target="x", past=[STEPS_COLUMN])
    assert series.past == (STEPS_COLUMN,)
    assert set(series.values[:, 1]) == {1}


def test_holes_between_series_are_no_holes():
    frame = pl.DataFrame(
        {"day": days(30) + days(30, date(1999, 5, 1)), "s": ["a"] * 30 + ["b"] * 30, "x": np.arange(60.0)}
    )
    assert read_series(frame, target="x", id="s").columns == ("x",)


def test_repeated_times_are_averaged_or_the_last_is_kept_on_request():
    frame = pl.DataFrame({"day": [*days(3), *days(2)], "x": [1.0, 2, 4, 5, 4], "y": [1.0, None, 3, None, 6]})
    mean = read_series(frame, target="x", duplicates="mean", missing="fill")
    np.testing.assert_array_equal(mean.values, [[3, 1], [3, 6], [4, 3]])
    np.testing.assert_array_equal(
        read_series(frame, target="x", past=[], duplicates="last").values[:, 0], [5, 4, 4]
    )
    assert any("2 rows repeat" in note for note in mean.notes)


def test_rows_to_forecast_may_lack_targets_and_past_covariates():
    frame = shops().with_columns(
        pl.when(pl.col("day") < date(1999, 2, 10)).then(pl.col("sales")),
        pl.when(pl.col("day") < date(1999, 2, 10)).then(pl.col("visits")),
    )
    series = read_series(frame, **SHOP_PARTS)
    missing = np.isnan(series.values[:, 0])
    assert missing.sum() == 2 * 60 - 7 - 2 * 40
    assert any(f"{missing.sum()} rows at the end" in note for note in series.notes)
    with pytest.raises(InputError, match="'sales' must have no missing value"):
        read_series(
            frame, target="sales", id="shop", past=["price"], static=["size", "area"], ignore=["visits"]
        )


def test_missing_values_are_kept_on_request_and_counted():
    frame = pl.DataFrame({"day": days(60), "x": np.arange(60.0), "y": [None, *range(59)]})
    series = read_series(frame, target="x", missing="fill")
    assert np.isnan(series.values[0, 1])
    assert np.isnan(series.values).sum() == 1
    assert "column 'y' misses 1 of 60 values, filled in by the fit" in series.notes


def test_weak_columns_are_noted_and_kept():
    frame = pl.DataFrame(
        {
            "day": days(60),
            "x": np.arange(60.0),
            "flat": [2] * 60,
            "code": [2**24 + k for k in range(60)],
            "open": [True, False] * 30,
        }
    )
    series = read_series(frame, target="x")
    assert series.past == ("flat", "code", "open")
    said = " ".join(series.notes)
    assert "column 'flat' is 2 in every row" in said
    assert "column 'code' holds whole numbers up to 16777275" in said
    assert "true/false column 'open'" in said
    np.testing.assert_array_equal(series.values[:2, 3], [1, 0])
    assert "the longest series has 20 rows" in " ".join(read_series(frame[:20], target="x").notes)


def test_numbers_written_as_text_are_read_and_noted():
    frame = pl.DataFrame({"day": days(60), "x": [str(k) for k in range(60)]})
    series = read_series(frame, target="x")
    np.testing.assert_array_equal(series.values[:, 0], np.arange(60))
    assert any("written as text" in note for note in series.notes)


def test_calendar_columns_are_known_ahead():
    series = read_series(shops(), **SHOP_PARTS, calendar=True)
    assert series.future == (
        "price",
        "day of week (sin)",
        "day of week (cos)",
        "day of year (sin)",
        "day of year (cos)",
    )
    assert np.isfinite(series.values).all()


def test_a_frequency_given_is_used():
    frame = pl.DataFrame({"day": days(60, date(1999, 1, 1)), "x": np.arange(60.0)}).filter(
        pl.col("day").dt.weekday() < 6
    )
    frequency = read_series(frame, target="x").frequency
    assert frequency.name == "business day"
    assert read_series(frame[3:6], target="x").frequency.name != "business day"
    assert read_series(frame[3:6], target="x", frequency=frequency).frequency == frequency


def test_a_target_may_stand_still_in_new_data_but_not_in_data_to_learn_from():
    frame = pl.DataFrame({"day": days(9), "x": [3.0] * 9, "y": np.arange(9.0)})
    frequency = read_series(frame, target="y").frequency
    with pytest.raises(InputError, match="a target must change, but column 'x' is 3 in every row"):
        read_series(frame, target="x")
    new = read_series(frame, target=["x", "y"], frequency=frequency)
    np.testing.assert_array_equal(new.values[:, 0], 3)
    assert not any("'x' is 3" in note for note in new.notes)


def table(**changes):
    content = {
        "day": days(60),
        "x": np.arange(60.0).tolist(),
        "y": [k % 7 + 0.5 for k in range(60)],
    } | changes
    return pl.DataFrame(content, strict=False)


def at(row, value, values=None):
    values = list(values or [k % 7 + 0.5 for k in range(60)])
    values[row] = value
    return values


TWICE = [day for day in days(30) for _ in range(2)]
BAD_TABLES = {
    "no such column": (table(), {"target": "X1"}, r"target must name a column .* 'X1'"),
    "near name": (table(close=[1.0] * 60), {"target": "clsoe"}, r"did you mean 'close'\?"),
    "two parts": (table(), {"past": ["x"]}, "'x' is named in target and past; keep one"),
    "twice in one part": (table(), {"past": ["y", "y"]}, "'y' is named in past and past"),
    "no target": (
        table(),
        {"target": []},
        "no target column is given: name what is to be forecast, e.g. --target y",
    ),
    "bad horizon": (table(), {"horizon": 0}, "horizon must be in"),
    "bad gap": (table(), {"max_gap": 0}, "max_gap must be in"),
    "bad choice": (table(), {"missing": "drop"}, "missing must be one of 'error', 'fill', got 'drop'"),
    "text column": (
        table(town=["Oslo", "Bonn"] * 30),
        {},
        r"'town' must hold numbers, but holds text \('Oslo' in row 0\).*ignore='town'",
    ),
    "constant text": (table(town=["Oslo"] * 60), {}, r"'town' .*'Oslo' in row 0.*ignore='town'"),
    "stray text": (
        table(y=at(17, "high", map(str, range(60)))),
        {},
        r"'y' must hold numbers, but holds 'high' in row 17.*ignore='y'",
    ),
    "text target": (table(x=["up", "down"] * 30), {}, "'x' must hold numbers, but holds text"),
    "second date": (
        table(other=days(60)),
        {},
        r"'other' must hold numbers, but holds Date.*ignore='other'",
    ),
    "missing": (
        table(y=at(5, None)),
        {},
        r"'y' must have no missing value, but is empty in row 5 \(1999-01-06\).*missing=fill",
    ),
    "not a number": (table(y=at(5, float("nan"))), {}, r"'y' .*is empty in row 5"),
    "all missing": (table(y=[None] * 60), {}, r"'y' .*every row is empty.*ignore='y'"),
    "all missing, filled": (table(y=[None] * 60), {"missing": "fill"}, r"'y' .*every row is empty"),
    "infinite": (table(y=at(7, float("inf"))), {}, r"'y' .*float32.*is inf in row 7 \(1999-01-08\).*rescale"),
    "infinite, filled": (table(y=at(7, float("-inf"))), {"missing": "fill"}, r"'y' .*is -inf in row 7"),
    "too large": (table(y=at(7, 1e39)), {}, r"'y' .*float32.*is 1e\+39 in row 7"),
    "constant target": (table(x=[4.0] * 60), {}, "'x' is 4 in every row; name another target"),
    "repeated time": (
        table(day=[*days(59), days(59)[-1]]),
        {},
        r"1999-02-28 in column 'day' stands in row 58 and row 59 \(1 such rows\).*duplicates='mean'",
    ),
    "several series": (table(day=TWICE, shop=["a", "b"] * 30), {}, "perhaps id='shop'"),
    "static changes": (
        table(size=at(9, 2.0, [1.0] * 60)),
        {"static": ["size"]},
        r"'size' must be the same .* row 9 \(1999-01-10\)",
    ),
    "static text changes": (
        table(size=at(9, "b", ["a"] * 60)),
        {"static": ["size"]},
        "'size' must be the same .* row 9",
    ),
    "static missing": (
        table(size=at(9, None, ["a"] * 60)),
        {"static": ["size"]},
        "'size' must have a value .* row 9",
    ),
    "static not a number": (
        table(size=at(9, None, [1.0] * 60)),
        {"static": ["size"]},
        "'size' must hold a number .* row 9",
    ),
    "id missing": (table(shop=at(9, None, ["a"] * 60)), {"id": "shop"}, "'shop' must have a value .* row 9"),
    "time missing": (table(day=at(9, None, days(60))), {}, "'day' is empty in row 9"),
    "time is no time": (
        table(),
        {"time": "y", "past": [], "ignore": ["day"]},
        "time column 'y' must hold dates or times",
    ),
    "empty series": (
        table(x=[None] * 30 + list(range(30)), s=["a"] * 30 + ["b"] * 30),
        {"id": "s", "future": ["y"]},
        "series 'a' has none",
    ),
}


@pytest.mark.parametrize("kind", BAD_TABLES)
def test_a_bad_table_is_refused_with_column_row_and_way_out(kind):
    frame, options, message = BAD_TABLES[kind]
    with pytest.raises(InputError, match=message):
        read_series(frame, **{"target": "x", **options})


def test_rows_of_a_file_are_named_by_their_lines(tmp_path):
    lines = [f"{day},{k},{k % 7}" for k, day in enumerate(days(60))]
    rng = np.random.default_rng(0)
    for bad, message in (
        ("1999-01-20,19,", "is empty in line {}"),
        ("1999-01-20,19,abc", "holds 'abc' in line {}"),
        ("1999-01-20,19,1e40", "is 1e\\+40 in line {}"),
    ):
        changed = [bad if k == 19 else line for k, line in enumerate(lines)]
        order = rng.permutation(60)
        (tmp_path / "a.csv").write_text("day,x,y\n" + "\n".join(changed[k] for k in order))
        line = int(np.flatnonzero(order == 19)[0]) + 2
        with pytest.raises(InputError, match=message.format(line) + r"\b"):
            read_series(tmp_path / "a.csv", target="x")


def test_mixed_objects_of_pandas_are_refused_with_the_first_row():
    frame = pd.DataFrame(
        {"day": pd.date_range("1999-01-04", periods=4), "x": pd.Series([1, 2.5, "high", None], dtype=object)}
    )
    with pytest.raises(InputError, match="'x' must hold numbers, but holds 'high' in row 2"):
        read_series(frame, target="x")
    stamps = pd.Series([datetime(1999, 1, 4), pd.Timestamp("1999-01-05", tz="UTC")], dtype=object)
    with pytest.raises(InputError, match="row 1 has a zone and row 0 has none"):
        read_series(pd.DataFrame({"t": stamps, "x": [1.0, 2.0]}), target="x")


def real(name):
    if not (DATA / name).exists():
        pytest.skip(f"needs {name} from shared/data")
    return DATA / name


def test_ett_is_hourly():
    series = read_series(real("timeseries/ETTh1.csv.gz"), target="OT")
    assert series.values.shape == (17420, 7)
    assert series.columns[0] == "OT"
    assert len(series.past) == 6
    assert (series.frequency.name, series.horizon) == ("hour", 24)
    assert set(np.diff(series.position)) == {1}
    assert str(series.time[-1].astype("datetime64[us]").astype("datetime64[h]")) == "2018-06-26T19"
    assert series.values[0, 0] == 30.5310001373291


def test_stocks_are_on_business_days():
    series = read_series(real("finance/sp500_20stocks_1990_2022.csv.gz"), target="AAPL")
    assert (series.n_rows, series.frequency.name, series.horizon) == (8313, "business day", 5)
    assert series.past[-1] == STEPS_COLUMN
    assert len(series.segment_offsets) == 2


def test_passengers_are_monthly():
    series = read_series(real("timeseries/AirPassengers.csv"), target="#Passengers")
    assert (series.n_rows, series.frequency.name, series.horizon, series.columns) == (
        144,
        "month",
        12,
        ("#Passengers",),
    )


def test_temperatures_lack_two_days_and_have_the_month_first():
    series = read_series(real("timeseries/temps.csv"), target="Daily minimum temperatures")
    assert (series.n_rows, series.frequency.name) == (3650, "day")
    assert series.position[-1] - series.position[0] == 3651
    said = " ".join(series.notes)
    assert "month first" in said
    assert "2 steps are uneven" in said


def test_flu_counts_with_holes_name_the_column():
    path = real("timeseries/ILINet.csv.gz")
    with pytest.raises(
        InputError, match=r"'AGE 25-49' must have no missing value, but is empty in line 2 \(1997-10-12\)"
    ):
        read_series(path, target="ILITOTAL")
    assert read_series(path, target="ILITOTAL", missing="fill").frequency.name == "week"


def test_exchange_rates_have_neither_header_nor_time():
    series = read_series(real("finance/exchange_rate.txt.gz"), target=[f"column_{k + 1}" for k in range(8)])
    assert series.values.shape == (7588, 8)
    assert series.frequency.name == "row"
    assert series.values[0, 0] == 0.7855


def test_shiller_prices_are_monthly_since_1871():
    series = read_series(real("finance/sp500_monthly_shiller.csv.gz"), target="SP500")
    assert (series.n_rows, series.frequency.name) == (1866, "month")
    assert set(np.diff(series.position)) == {1}
