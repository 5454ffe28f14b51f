from datetime import UTC, date, datetime, timedelta

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.data.calendar import (
    Frequency,
    calendar_features,
    infer_frequency,
    positions,
    times_after,
)
from heldout.data.times import read_times

PANDAS_NAMES = {
    "second": ("s", 3600),
    "minute": ("min", 1440),
    "15 minutes": ("15min", 96),
    "hour": ("h", 24),
    "6 hours": ("6h", 4),
    "day": ("D", 7),
    "business day": ("B", 5),
    "week": ("W-WED", 52),
    "2 weeks": ("14D", 26),
    "4 weeks": ("28D", 13),
    "month": ("MS", 12),
    "quarter": ("QS-FEB", 4),
    "6 months": ("6MS", 2),
    "year": ("YS", 1),
    "0.02 seconds": ("20ms", 1),
}
MONTH_ENDS = {"month": "ME", "quarter": "QE", "year": "YE"}


def microseconds(stamps):
    return np.asarray(stamps).astype("datetime64[us]").astype(np.int64)


def date_range(name, n, start="1999-01-04"):
    return microseconds(pd.date_range(start, periods=n, freq=PANDAS_NAMES[name][0]))


@pytest.mark.parametrize("name", PANDAS_NAMES)
def test_each_frequency_is_found_and_continued_as_pandas_does(name):
    time = date_range(name, 80)
    frequency = infer_frequency(time[:40])
    assert (frequency.name, frequency.season) == (name, PANDAS_NAMES[name][1])
    np.testing.assert_array_equal(times_after(time[39], 40, frequency), time[40:])
    assert set(np.diff(positions(time, frequency))) == {1}


@pytest.mark.parametrize(("name", "code"), MONTH_ENDS.items())
def test_stamps_at_month_ends_stay_at_month_ends(name, code):
    time = microseconds(pd.date_range("1999-01-04", periods=80, freq=code))
    frequency = infer_frequency(time[:40])
    assert frequency.name == name
    np.testing.assert_array_equal(times_after(time[39], 40, frequency), time[40:])
    assert set(np.diff(positions(time, frequency))) == {1}


@pytest.mark.parametrize("code", ["BME", "BMS"])
def test_months_stamped_on_their_first_or_last_business_day_are_months(code):
    time = microseconds(pd.date_range("1999-01-04", periods=80, freq=code))
    frequency = infer_frequency(time)
    assert frequency.name == "month"
    assert set(np.diff(positions(time, frequency))) == {1}


@settings(deadline=None, max_examples=150)
@given(data=st.data(), name=st.sampled_from(sorted(PANDAS_NAMES)))
def test_positions_count_the_missing_rows_and_go_on_after_the_last(data, name):
    start = data.draw(st.dates(min_value=date(1900, 1, 1), max_value=date(2100, 1, 1)))
    time = date_range(name, 60, start=start.isoformat())
    gone = data.draw(st.sets(st.integers(1, 58), max_size=15))
    kept = np.array([k for k in range(60) if k not in gone])
    frequency = infer_frequency(time)
    place = positions(time[kept], frequency)
    np.testing.assert_array_equal(place - place[0], kept)
    n = data.draw(st.integers(1, 30))
    following = positions(np.concatenate([time, times_after(time[-1], n, frequency)]), frequency)
    np.testing.assert_array_equal(np.diff(following), 1)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(["minute", "hour", "day", "week"]))
def test_stamps_that_stray_a_little_keep_their_places(seed, name):
    time = date_range(name, 200)
    step = time[1] - time[0]
    stray = np.random.default_rng(seed).integers(-step // 100, step // 100, 200)
    frequency = infer_frequency(time + stray)
    assert frequency.name == name
    np.testing.assert_array_equal(np.diff(positions(time + stray, frequency)), 1)


def test_holidays_and_dropped_rows_do_not_change_the_frequency():
    rng = np.random.default_rng(0)
    for name in PANDAS_NAMES:
        time = date_range(name, 400)
        kept = np.sort(rng.choice(400, 360, replace=False))
        assert infer_frequency(time[kept]) == infer_frequency(time)


def test_several_series_one_after_another_have_one_frequency():
    for name in ("hour", "business day", "month"):
        time = date_range(name, 50)
        assert infer_frequency(np.tile(time, 5)).name == name


def test_without_two_different_times_there_is_only_the_row():
    assert infer_frequency(np.zeros(0, np.int64)) == Frequency()
    assert infer_frequency(np.array([5, 5])) == Frequency()
    assert positions(np.zeros(0, np.int64), Frequency()).shape == (0,)
    np.testing.assert_array_equal(times_after(7, 2, Frequency()), [8, 9])


def test_positions_of_series_that_share_a_calendar_can_be_compared():
    for name in ("hour", "business day", "week", "month", "quarter"):
        time = date_range(name, 60)
        frequency = infer_frequency(time)
        np.testing.assert_array_equal(positions(time, frequency)[20:], positions(time[20:], frequency))


@pytest.mark.parametrize("name", PANDAS_NAMES)
def test_calendar_features_are_on_the_circle_and_each_varies(name):
    time = date_range(name, 4000 if "minute" in name or "second" in name else 400)
    frequency = infer_frequency(time)
    features, names = calendar_features(time, frequency)
    assert features.shape == (len(time), len(names))
    np.testing.assert_allclose(features[:, 0::2] ** 2 + features[:, 1::2] ** 2, 1.0)
    cycles = {label.split(" (")[0] for label in names}
    assert ("hour of day" in cycles) == (frequency.unit == "microsecond" and frequency.step < 86_400_000_000)
    assert ("day of week" in cycles) == (
        name not in ("week", "2 weeks", "4 weeks", "month", "quarter", "6 months", "year")
    )
    assert ("day of year" in cycles) == (name != "year")


def test_calendar_features_agree_with_the_clock():
    moment = datetime(1999, 7, 7, 18, tzinfo=UTC)  # a Wednesday
    features, names = calendar_features(
        np.array([int(moment.timestamp()) * 1_000_000]), Frequency("hour", "microsecond", 3_600_000_000, 24)
    )
    angle = dict(
        zip(
            names[::2],
            np.arctan2(features[0, ::2], features[0, 1::2]) % (2 * np.pi) / (2 * np.pi),
            strict=True,
        )
    )
    assert angle["hour of day (sin)"] == pytest.approx(18 / 24)
    assert angle["day of week (sin)"] == pytest.approx(2 / 7)
    assert angle["day of year (sin)"] == pytest.approx(187 / 365)
    assert calendar_features(np.arange(3), Frequency())[0].shape == (3, 0)


def stamps(values, name="date", **options):
    column = values if isinstance(values, pl.Series) else pl.Series(name, values)
    return read_times(nw.from_native(column, series_only=True), "row {}".format, **options)


MOMENT = datetime(1999, 1, 4, 15, 30)
FORMS = [
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y/%m/%d %H:%M",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%m/%d/%Y %I:%M %p",
    "%m/%d/%y %I:%M:%S %p",
    "%d-%b-%Y %H:%M",
    "%d %B %Y %H:%M",
    "%b %d, %Y %H:%M",
    "%Y%m%d %H:%M",
]


@pytest.mark.parametrize("form", FORMS)
def test_times_are_read_however_they_are_written(form):
    moments = [MOMENT + timedelta(hours=7 * k) for k in range(90)]
    np.testing.assert_array_equal(
        stamps([moment.strftime(form) for moment in moments]).values, microseconds(moments)
    )


@pytest.mark.parametrize("form", ["%Y-%m", "%Y/%m", "%b %Y", "%B-%Y", "%YQ%q", "%Y-Q%q"])
def test_months_and_quarters_are_read(form):
    months = [date(1999 + k // 4, 3 * (k % 4) + 1, 1) for k in range(12)]
    text = [month.strftime(form.replace("%q", str(month.month // 3 + 1))) for month in months]
    np.testing.assert_array_equal(stamps(text).values, microseconds(months))


def test_the_order_of_day_and_month_is_decided_over_the_whole_column():
    days = [date(1999, 1, 1) + timedelta(days=k) for k in range(40)]
    for form, said in (("%m/%d/%Y", "month first"), ("%d/%m/%Y", "day first")):
        times = stamps([day.strftime(form) for day in days])
        np.testing.assert_array_equal(times.values, microseconds(days))
        assert said in times.notes[0]
        assert "possible" not in times.notes[0]


@pytest.mark.parametrize("form", ["%m/%d/%Y", "%d/%m/%Y"])
def test_dates_that_allow_both_orders_take_the_even_one_and_say_so(form):
    months = [date(1999 + k // 12, k % 12 + 1, 1) for k in range(30)]
    times = stamps([month.strftime(form) for month in months])
    np.testing.assert_array_equal(times.values, microseconds(months))
    assert "the other order is possible too" in times.notes[0]


def test_zoned_times_are_converted_to_utc():
    text = ["2016-10-30T02:30:00+02:00", "2016-10-30T02:30:00+01:00", "2016-10-30T03:30:00+01:00"]
    times = stamps(text)
    np.testing.assert_array_equal(np.diff(times.values), 3_600_000_000)
    assert times.values[0] == microseconds(["2016-10-30T00:30"])[0]
    assert "UTC" in times.notes[0]
    zoned = pd.Series(pd.date_range("2016-10-30", periods=4, freq="h", tz="Europe/Berlin"), name="date")
    np.testing.assert_array_equal(
        np.diff(read_times(nw.from_native(zoned, series_only=True), str).values), 3_600_000_000
    )
    assert (
        stamps(["2016-07-01 00:30Z", "2016-07-01 01:30 UTC"]).values[0]
        == microseconds(["2016-07-01T00:30"])[0]
    )


def test_midnights_in_a_zone_are_dates():
    zoned = pd.Series(pd.date_range("2020-03-02", periods=30, freq="B", tz="Asia/Tokyo"), name="date")
    times = read_times(nw.from_native(zoned, series_only=True), str)
    assert infer_frequency(times.values).name == "business day"
    assert "dates" in times.notes[0]
    np.testing.assert_array_equal(stamps([str(moment) for moment in zoned]).values, times.values)


@pytest.mark.parametrize(
    ("name", "values", "first"),
    [
        ("year", [1999, 2000], "1999-01-01"),
        ("Date", [19990104, 19990105], "1999-01-04"),
        ("timestamp", [915408000, 915408060], "1999-01-04"),
        ("unix_time", [915408000000, 915408060000], "1999-01-04"),
        ("time", [915408000000000, 915408060000000], "1999-01-04"),
        ("time", [915408000000000000, 915408060000000000], "1999-01-04"),
    ],
)
def test_whole_numbers_are_times_where_the_name_says_so(name, values, first):
    assert stamps(values, name, asked=False).values[0] == microseconds([first])[0]
    assert stamps(values, "sales", asked=False) is None
    assert stamps(values, "sales").counted


def test_what_is_no_time_is_not_taken_for_one():
    for values in (["a", "b"], ["1", "2"], [1.5, 2.5], [True, False], ["12-10", "3-4"], [None, None]):
        assert stamps(values, asked=False) is None
        with pytest.raises(InputError, match=r"'date' must hold dates or times.*row 0"):
            stamps(values)


BAD_TIMES = {
    "stray text": (
        ["1999-01-04"] * 20 + ["soon"],
        "'date' must hold times written like '1999-01-04', but holds 'soon' in row 20",
    ),
    "no such day": (["1999-02-28", "1999-02-29"], "'1999-02-29' in row 1"),
    "empty": (["1999-01-04", None], "'date' is empty in row 1"),
    "mixed zones": (["1999-01-04 00:00", "1999-01-04 01:00Z"], "row 1 has a zone and row 0 has none"),
    "both orders": (["13/01/1999", "01/14/1999", "15/01/1999"], "'01/14/1999' in row 1"),
    "empty date": ([date(1999, 1, 4), None], "'date' is empty in row 1"),
}


@pytest.mark.parametrize("kind", BAD_TIMES)
def test_a_bad_time_is_named_with_its_row(kind):
    values, message = BAD_TIMES[kind]
    with pytest.raises(InputError, match=message):
        stamps(values)


def test_python_objects_are_read_as_times_and_mixed_zones_refused():
    naive, aware = datetime(1999, 1, 4), datetime(1999, 1, 5, 1, tzinfo=UTC)
    objects = nw.from_native(pd.Series([naive, aware], dtype=object, name="date"), series_only=True)
    with pytest.raises(InputError, match="row 1 has a zone and row 0 has none"):
        read_times(objects, "row {}".format)
    dates = nw.from_native(
        pd.Series([date(1999, 1, 4), date(1999, 1, 5)], dtype=object, name="date"), series_only=True
    )
    np.testing.assert_array_equal(read_times(dates, str).values, microseconds(["1999-01-04", "1999-01-05"]))
