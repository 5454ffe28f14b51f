"""The times that a column holds, however they are written."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from heldout.check import InputError
from heldout.data.calendar import DAY, SECOND, IntArray

# each way to write a day or a month, and how strptime reads it; "{0}" is the sign between its parts
_DATE_FORMS = (
    (r"\d{4}([-/.])\d{1,2}\1\d{1,2}", ("%Y{0}%m{0}%d",)),
    (r"\d{1,2}([-/])\d{1,2}\1\d{4}", ("%m{0}%d{0}%Y", "%d{0}%m{0}%Y")),
    (r"\d{1,2}([-/])\d{1,2}\1\d{2}", ("%m{0}%d{0}%y", "%d{0}%m{0}%y")),
    (r"\d{1,2}(\.)\d{1,2}\.\d{4}", ("%d.%m.%Y", "%m.%d.%Y")),
    (r"\d{1,2}([- /])[A-Za-z]{3}\1\d{4}", ("%d{0}%b{0}%Y",)),
    (r"\d{1,2}([- /])[A-Za-z]{4,}\1\d{4}", ("%d{0}%B{0}%Y",)),
    (r"[A-Za-z]{3} \d{1,2}(,?) \d{4}", ("%b %d{0} %Y",)),
    (r"[A-Za-z]{4,} \d{1,2}(,?) \d{4}", ("%B %d{0} %Y",)),
    (r"\d{8}()", ("%Y%m%d",)),
    (r"\d{4}([-/.])\d{1,2}", ("%Y{0}%m",)),
    (r"[A-Za-z]{3}([- ])\d{4}", ("%b{0}%Y",)),
    (r"[A-Za-z]{4,}([- ])\d{4}", ("%B{0}%Y",)),
    (r"\d{4}([- ]?)Q[1-4]", ("%Y{0}Q%m",)),
)
_CLOCK = re.compile(r"(?P<mark>[T ]) ?\d{1,2}:\d{2}(?P<seconds>:\d{2}(\.\d+)?)?(?P<half>( ?)[AaPp][Mm])?")
_ZONED = r"^(.*\d:\d\d.*?)\s*(Z|UTC|GMT|[+-]\d{2}:?\d{2})$"
_SPEAKS_OF_TIME = re.compile(r"(^|[^a-z])(years?|date|time|datetime|timestamp|day|month|unix)([^a-z]|$)")


@dataclass(frozen=True, eq=False)
class Times:
    """The times that a column holds.

    Parameters
    ----------
    values : array of shape (n_rows,), int64
        Microseconds since 1970-01-01 (UTC), or plain step numbers.
    counted : bool, default False
        The values are step numbers, not times.
    notes : tuple of str
        How the column was read, one sentence each.
    """

    values: IntArray
    counted: bool = False
    notes: tuple[str, ...] = ()


def read_times(column: nw.Series[Any], place: Callable[[int], str], *, asked: bool = True) -> Times | None:
    """Give the times in a column of dates, datetimes, text or whole numbers.

    Parameters
    ----------
    column : narwhals Series
        The column.
    place : callable
        Says where a row is, for the error.
    asked : bool, default True
        The user named this column: raise where it holds no times. Otherwise give None.

    Returns
    -------
    Times or None
        Zoned times are converted to UTC, unless all are midnights in their zone: these are dates. A day and month that
        could be swapped are decided over the whole column. Whole numbers are years, dates such as 19990104 or the time
        since 1970 where the column's name speaks of time, and otherwise, if asked for, step numbers.

    Raises
    ------
    InputError
        If most values are times and one is not, or one is missing, or times with and without a zone are mixed.

    Examples
    --------
    >>> months = nw.from_native(pl.Series("month", ["1949-01", "1949-02"]), series_only=True)
    >>> read_times(months, "row {}".format).values.astype("datetime64[us]").astype("datetime64[M]")
    array(['1949-01', '1949-02'], dtype='datetime64[M]')
    """
    kind = column.dtype
    times: Times | None = None
    if kind == nw.Date or kind == nw.Datetime:
        times = _stamped(column, place)
    elif kind == nw.String or kind == nw.Object:
        times = _written(column, place, asked=asked)
    elif kind.is_numeric():
        times = _numbered(column, asked=asked)
    if times is None and asked:
        found = f"{column[0]!r} in {place(0)}" if len(column) else "nothing"
        raise InputError(
            f"the time column {column.name!r} must hold dates or times, but holds {found}; name another with time="
        )
    return times


def spoken(time: int) -> str:
    """Give a time as a person would write it, without the parts that are zero.

    Parameters
    ----------
    time : int
        Microseconds since 1970-01-01 (UTC).

    Examples
    --------
    >>> spoken(86_400_000_000), spoken(5_400_000_000)
    ('1970-01-02', '1970-01-01 01:30:00')
    """
    return str(np.datetime64(time, "us")).removesuffix(".000000").removesuffix("T00:00:00").replace("T", " ")


def _stamped(column: nw.Series[Any], place: Callable[[int], str]) -> Times:
    _refuse_missing(column.name, column.is_null().to_numpy(), place)
    if column.dtype == nw.Date:
        column = column.cast(nw.Datetime("us"))
    utc = column.dt.timestamp("us").to_numpy().astype(np.int64)
    if getattr(column.dtype, "time_zone", None) is None:
        return Times(utc)
    local = column.dt.replace_time_zone(None).dt.timestamp("us").to_numpy().astype(np.int64)
    return _from_zone(column.name, utc, local)


def _from_zone(name: str, utc: IntArray, local: IntArray) -> Times:
    if not (local % DAY).any():
        return Times(
            local, notes=(f"the times in {name!r} are all midnights in their zone and were read as dates",)
        )
    return Times(utc, notes=(f"the times in {name!r} were converted to UTC",))


def _refuse_missing(name: str, missing: NDArray[np.bool_], place: Callable[[int], str]) -> None:
    if missing.any():
        where = place(int(missing.argmax()))
        raise InputError(
            f"every row must have a time, but {name!r} is empty in {where}; fill it in or remove the row"
        )


def _written(column: nw.Series[Any], place: Callable[[int], str], *, asked: bool) -> Times | None:
    """Read times written as text: the first value sets the form, and a value that breaks it is named."""
    text = _plain_text(column)
    first = text.drop_nulls().head(1).to_list()
    forms = _forms(re.sub(_ZONED, r"\1", first[0])) if first else []
    if not forms:
        return None
    zones = text.str.extract(_ZONED, 2)
    bare = text if zones.null_count() == len(zones) else text.str.replace(_ZONED, "${1}")
    readings = {form: _parse(bare, form) for form in forms}
    fewest = min(reading.null_count() for reading in readings.values())
    if fewest > 0.1 * len(text) and not asked:
        return None
    good = [form for form in forms if readings[form].null_count() == fewest]
    if fewest:
        _refuse_missing(column.name, text.is_null().to_numpy(), place)
        row = int(readings[good[0]].is_null().to_numpy().argmax())
        raise InputError(
            f"the time column {column.name!r} must hold times written like {first[0]!r}, but holds {text[row]!r} in "
            f"{place(row)}; correct it"
        )
    form = good[0] if len(good) == 1 else min(good, key=lambda form: _unevenness(readings[form].to_numpy()))
    local = readings[form].to_numpy()
    notes = _note_on_order(column.name, form, forms, good)
    if zones.null_count() == len(zones):
        return Times(local, notes=notes)
    offset = _offsets(column.name, zones, place)
    zoned = _from_zone(column.name, local - offset, local)
    return Times(zoned.values, notes=notes + zoned.notes)


def _plain_text(column: nw.Series[Any]) -> pl.Series:
    native = column.to_native()
    if not isinstance(native, pl.Series):
        values = [
            value.isoformat(" ") if isinstance(value, datetime) else value for value in column.to_list()
        ]
        values = [str(value) if isinstance(value, str | date) else None for value in values]
        native = pl.Series(column.name, values, dtype=pl.String)
    text = native.cast(pl.String).str.strip_chars()
    return text.set(text == "", None)


def _forms(sample: str) -> list[str]:
    """Give the strptime forms that fit the sample; two where day and month could be swapped."""
    for pattern, forms in _DATE_FORMS:
        found = re.match(pattern, sample)
        clock = _CLOCK.fullmatch(sample[found.end() :]) if found else None
        if found and (clock or found.end() == len(sample)):
            return [form.format(found.group(1)) + (_clock_form(clock) if clock else "") for form in forms]
    return []


def _clock_form(clock: re.Match[str]) -> str:
    space = " " if clock.group(0)[1] == " " else ""
    half = clock.group(5) + "%p" if clock["half"] else ""
    return (
        clock["mark"] + space + ("%I:%M" if half else "%H:%M") + (":%S%.f" if clock["seconds"] else "") + half
    )


def _parse(text: pl.Series, form: str) -> pl.Series:
    if "Q%m" in form:
        text = text.str.replace_many(["Q1", "Q2", "Q3", "Q4"], ["Q01", "Q04", "Q07", "Q10"])
    if "%d" not in form:
        text, form = text + " 1", form + " %d"
    return text.str.to_datetime(form, strict=False, time_unit="us").dt.epoch("us")


def _unevenness(time: IntArray) -> float:
    gaps = np.diff(np.unique(time))
    return float(gaps.max() / np.median(gaps)) if len(gaps) else 1.0


def _note_on_order(name: str, form: str, forms: list[str], good: list[str]) -> tuple[str, ...]:
    if len(forms) == 1:
        return ()
    order = "month first" if form.startswith("%m") else "day first"
    doubt = ", which gives the more even steps; the other order is possible too" if len(good) > 1 else ""
    return (f"the dates in {name!r} were read {order}{doubt}",)


def _offsets(name: str, zones: pl.Series, place: Callable[[int], str]) -> IntArray:
    """Give the microseconds that each zone is ahead of UTC."""
    naive = zones.is_null().to_numpy()
    if naive.any():
        where = f"{place(int((~naive).argmax()))} has a zone and {place(int(naive.argmax()))} has none"
        raise InputError(
            f"the times in {name!r} must all have a time zone or none, but {where}; write them alike"
        )
    ahead = {}
    for zone in zones.unique():
        minutes = 0 if zone[0] not in "+-" else 60 * int(zone[1:3]) + int(zone[-2:])
        ahead[zone] = (-minutes if zone[0] == "-" else minutes) * 60 * SECOND
    return zones.replace_strict(ahead, return_dtype=pl.Int64).to_numpy()


def _numbered(column: nw.Series[Any], *, asked: bool) -> Times | None:
    if column.is_null().any() or (column.dtype.is_float() and not (column % 1 == 0).all()):
        return None
    low, high = int(column.min()), int(column.max())
    if low < -(2**63) or high >= 2**63:
        return None
    values = column.cast(nw.Int64).to_numpy()
    if _SPEAKS_OF_TIME.search(column.name.lower()):
        if low >= 1500 and high <= 2200:
            years = (values - 1970).astype("datetime64[Y]")
            return Times(
                years.astype("datetime64[us]").astype(np.int64),
                notes=(f"the numbers in {column.name!r} were read as years",),
            )
        if low >= 15_000_101 and high <= 22_001_231:
            days = _parse(pl.Series(values).cast(pl.String), "%Y%m%d")
            return (
                None
                if days.null_count()
                else Times(days.to_numpy(), notes=(f"the numbers in {column.name!r} were read as dates",))
            )
        if low >= 10**8:
            return _since_1970(column.name, values)
    return (
        Times(values, counted=True, notes=(f"the numbers in {column.name!r} were read as step numbers",))
        if asked
        else None
    )


def _since_1970(name: str, values: IntArray) -> Times:
    high = values.max()
    for unit, bound, factor in (
        ("seconds", 10**11, SECOND),
        ("milliseconds", 10**14, 1000),
        ("microseconds", 10**17, 1),
    ):
        if high < bound:
            return Times(values * factor, notes=(f"the numbers in {name!r} were read as {unit} since 1970",))
    return Times(values // 1000, notes=(f"the numbers in {name!r} were read as nanoseconds since 1970",))
