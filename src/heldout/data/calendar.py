"""The calendar that a series lives on: the length of one step, the place of each row, the times that follow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
WEEK = 7 * DAY

_UNITS = (("week", WEEK), ("day", DAY), ("hour", HOUR), ("minute", 60 * SECOND), ("second", SECOND))
_ROUND_STEPS = (
    *(k * SECOND for k in (1, 2, 5, 10, 15, 20, 30)),
    *(k * 60 * SECOND for k in (1, 2, 3, 5, 10, 15, 20, 30, 45)),
    *(k * HOUR for k in (1, 2, 3, 4, 6, 8, 12)),
    *(DAY, WEEK, 2 * WEEK),
)


@dataclass(frozen=True)
class Frequency:
    """What one step of the calendar is.

    Parameters
    ----------
    name : str, default "row"
        ``"hour"``, ``"day"``, ``"business day"``, ``"week"``, ``"month"``, ``"quarter"``, ``"year"``, a number of
        them such as ``"15 minutes"``, or ``"row"`` where the table has no time column.
    unit : {"row", "microsecond", "business day", "month"}, default "row"
        What `step` counts.
    step : int, default 1
        Units in one step: 3 months make a quarter, 3 600 000 000 microseconds an hour.
    season : int, default 1
        Steps after which the series usually repeats: 24 for hours, 7 for days, 12 for months; 1 for none.
    month_end : bool, default False
        The stamps of a monthly (quarterly, yearly) series are the last days of their months.

    Examples
    --------
    >>> Frequency("quarter", unit="month", step=3, season=4).season
    4
    """

    name: str = "row"
    unit: Literal["row", "microsecond", "business day", "month"] = "row"
    step: int = 1
    season: int = 1
    month_end: bool = False


def infer_frequency(time: IntArray) -> Frequency:
    """Give the step that most rows are apart, missing rows and holidays notwithstanding.

    Parameters
    ----------
    time : array of shape (n_rows,), int64
        Microseconds since 1970-01-01 (UTC), ascending within each series; several series may follow one another.

    Returns
    -------
    Frequency
        ``"row"`` where no two rows differ in time.

    Examples
    --------
    >>> days = np.arange("1999-01", "1999-03", dtype="datetime64[D]")
    >>> infer_frequency(days.astype("datetime64[us]").astype(np.int64)).name
    'day'
    >>> infer_frequency(days[np.is_busday(days)].astype("datetime64[us]").astype(np.int64)).name
    'business day'
    """
    gaps = np.diff(time)
    gaps = gaps[gaps > 0]
    if not len(gaps):
        return Frequency()
    typical = int(np.partition(gaps, (len(gaps) - 1) // 2)[(len(gaps) - 1) // 2])
    near = [step for step in _ROUND_STEPS if abs(step - typical) <= 0.02 * step]
    step = near[0] if near else typical
    if step == DAY and _only_business_days(time):
        return Frequency("business day", unit="business day", season=5)
    if step >= 27 * DAY:
        return _monthly(time) or _fixed(step)
    return _fixed(step)


def positions(time: IntArray, frequency: Frequency) -> IntArray:
    """Give the place of each row on the calendar: one more than the row before where no row is missing.

    Parameters
    ----------
    time : array of shape (n_rows,), int64
        Microseconds since 1970-01-01 (UTC) of one series, ascending.
    frequency : Frequency
        The step of the calendar.

    Returns
    -------
    array of shape (n_rows,), int64
        Steps since 1970-01-01. Times that stray by less than half a step take the nearest place, counted from the
        first row.

    Examples
    --------
    >>> days = np.array(["1999-01-29", "1999-02-01", "1999-02-03"], dtype="datetime64[us]").astype(np.int64)
    >>> np.diff(positions(days, Frequency("business day", unit="business day", season=5)))
    array([1, 2])
    """
    if not len(time):
        return np.zeros(0, np.int64)
    if frequency.unit == "business day":
        return np.busday_count("1970-01-01", _stamps(time).astype("datetime64[D]")).astype(np.int64)
    index = _month_index(time) if frequency.unit == "month" else time
    step = frequency.step
    return index[0] // step + (index - index[0] + step // 2) // step


def times_after(last_time: int, n: int, frequency: Frequency) -> IntArray:
    """Give the times of the next ``n`` steps of the calendar.

    Parameters
    ----------
    last_time : int
        The last time there is, in microseconds since 1970-01-01 (UTC).
    n : int
        How many steps.
    frequency : Frequency
        The step of the calendar.

    Returns
    -------
    array of shape (n,), int64
        Microseconds since 1970-01-01 (UTC). Business days skip weekends and keep holidays, which no calendar here knows.

    Examples
    --------
    >>> friday = np.datetime64("1999-01-29", "us").astype(np.int64)
    >>> times_after(friday, 2, Frequency("business day", unit="business day", season=5)).astype("datetime64[us]").astype("M8[D]")
    array(['1999-02-01', '1999-02-02'], dtype='datetime64[D]')
    """
    ahead = np.arange(1, n + 1, dtype=np.int64)
    if frequency.unit in ("row", "microsecond"):
        return last_time + ahead * frequency.step
    last = np.array([last_time], np.int64)
    day = _stamps(last).astype("datetime64[D]")
    if frequency.unit == "business day":
        next_days: NDArray[Any] = np.busday_offset(day, ahead, roll="backward")
    else:
        month = _stamps(last).astype("datetime64[M]") + ahead * frequency.step
        last_day = (month + 1).astype("datetime64[D]") - np.timedelta64(1, "D")
        same_day = month.astype("datetime64[D]") + (
            day - _stamps(last).astype("datetime64[M]").astype("datetime64[D]")
        )
        next_days = last_day if frequency.month_end else np.minimum(same_day, last_day)
    return _microseconds(next_days) + last_time % DAY


def calendar_features(time: IntArray, frequency: Frequency) -> tuple[FloatArray, tuple[str, ...]]:
    """Give the hour of the day, the day of the week and the day of the year as points on a circle.

    They are known for any time, so they may be read for the horizon too.

    Parameters
    ----------
    time : array of shape (n_rows,), int64
        Microseconds since 1970-01-01 (UTC).
    frequency : Frequency
        The step of the calendar; a cycle that cannot vary at it is left out.

    Returns
    -------
    features : array of shape (n_rows, k), float64
        Sine and cosine of each cycle, in [-1, 1].
    names : tuple of str
        Their names.

    Examples
    --------
    >>> march = np.array([np.datetime64("1999-03-01", "us").astype(np.int64)])
    >>> features, names = calendar_features(march, Frequency("month", unit="month", season=12))
    >>> names
    ('day of year (sin)', 'day of year (cos)')
    """
    columns, names = [], []
    for name, turn in _cycles(frequency).items():
        angle = 2 * np.pi * turn(time)
        columns += [np.sin(angle), np.cos(angle)]
        names += [f"{name} (sin)", f"{name} (cos)"]
    features = np.stack(columns, axis=1) if columns else np.zeros((len(time), 0))
    return features, tuple(names)


def _cycles(frequency: Frequency) -> dict[str, Callable[[IntArray], FloatArray]]:
    if frequency.unit == "row":
        return {}
    step = {"business day": DAY, "month": 30 * DAY * frequency.step}.get(frequency.unit, frequency.step)
    cycles: dict[str, Callable[[IntArray], FloatArray]] = {}
    if step % DAY:
        cycles["hour of day"] = lambda time: (time % DAY) / DAY
    if frequency.unit != "month" and step % WEEK:
        cycles["day of week"] = lambda time: (time // DAY + 3) % 7 / 7
    if step < 360 * DAY:
        cycles["day of year"] = _share_of_year
    return cycles


def _share_of_year(time: IntArray) -> FloatArray:
    year = _stamps(time).astype("datetime64[Y]")
    start = _microseconds(year)
    return (time - start) // DAY * DAY / (_microseconds(year + 1) - start)


def _stamps(time: IntArray) -> NDArray[np.datetime64]:
    return time.astype("datetime64[us]")


def _microseconds(stamps: NDArray[Any]) -> IntArray:
    return stamps.astype("datetime64[us]").astype(np.int64)


def _month_index(time: IntArray) -> IntArray:
    return _stamps(time).astype("datetime64[M]").astype(np.int64)


def _only_business_days(time: IntArray) -> bool:
    day = time // DAY
    return int(day.max() - day.min()) >= 7 and not bool(((day + 3) % 7 >= 5).any())


def _monthly(time: IntArray) -> Frequency | None:
    """Months, or nothing where the day of the month wanders, as it does in a series of every 28 days."""
    days = _stamps(time).astype("datetime64[D]")
    month = _month_index(time)
    day_of_month = (days - days.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64)
    to_end = ((month + 1).astype("datetime64[M]").astype("datetime64[D]") - days).astype(np.int64) - 1
    steps = np.diff(month)[np.diff(time) > 0]
    step = int(np.partition(steps, (len(steps) - 1) // 2)[(len(steps) - 1) // 2])
    spread = int(np.ptp(day_of_month))
    month_end = spread > 0 and bool(to_end.max() <= 3)
    if step < 1 or not (month_end or spread <= 5):
        return None
    count, word = (step // 12, "year") if step % 12 == 0 else (step, "month")
    name = "quarter" if step == 3 else word if count == 1 else f"{count} {word}s"
    season = 12 // step if step < 12 and 12 % step == 0 else 1
    return Frequency(name, unit="month", step=step, season=season, month_end=month_end)


def _fixed(step: int) -> Frequency:
    length = next((size for _, size in _UNITS if step % size == 0), None)
    if length is None:
        return Frequency(f"{step / SECOND:g} seconds", unit="microsecond", step=step)
    count, word = step // length, next(word for word, size in _UNITS if size == length)
    # the cycle that a person would look for: the year for weeks, the week for days, else the day (the hour for seconds)
    cycle = {"week": 52 * WEEK, "day": WEEK, "second": HOUR}.get(word, DAY)
    season = cycle // step if step < cycle and cycle % step == 0 else 1
    return Frequency(word if count == 1 else f"{count} {word}s", unit="microsecond", step=step, season=season)
