"""A table read as time series: which column plays which part, and in which order its rows stand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import narwhals as nw
import numpy as np

from heldout.check import InputError, check_choice, check_number, did_you_mean
from heldout.data.calendar import Frequency, calendar_features, infer_frequency, positions
from heldout.data.columns import (
    STEPS_COLUMN,
    BoolArray,
    Clock,
    ColumnCheck,
    Rows,
    listed,
    read_levels,
    read_numbers,
    read_static,
)
from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.data.tables import Table, open_table
from heldout.data.times import Times, read_times, spoken

_HORIZONS = {
    "hour": 24,
    "day": 7,
    "business day": 5,
    "week": 4,
    "month": 12,
    "quarter": 4,
    "year": 1,
    "row": 1,
}
_LONGEST_DEFAULT_HORIZON = 96
_FEW_ROWS = 50


def read_series(  # noqa: PLR0913 - one keyword for each part that a column can play
    source: object,
    *,
    target: str | Sequence[str],
    time: str | None = None,
    id: str | None = None,  # noqa: A002 - the word that users have for it
    past: Sequence[str] | None = None,
    future: Sequence[str] = (),
    static: Sequence[str] = (),
    ignore: Sequence[str] = (),
    horizon: int | None = None,
    last_step_only: bool = False,
    calendar: bool = False,
    missing: Literal["error", "fill"] = "error",
    duplicates: Literal["error", "mean", "last"] = "error",
    max_gap: int = 10,
    frequency: Frequency | None = None,
    encoding: str = "utf-8",
) -> SeriesData:
    """Give the series in a table, sorted, checked, with a note of everything that was inferred.

    Parameters
    ----------
    source : path or data frame
        What `heldout.data.tables.read_table` reads, in long form: one row for each series and time.
    target : str or sequence of str
        The column or columns to forecast.
    time : str, optional
        The column of times; by default the first that holds dates, and the order of the rows where none does.
    id : str, optional
        The column that tells several series apart.
    past : sequence of str, optional
        Covariates known up to the present only; by default every column that has no other part.
        ``"steps since previous row"``, which is added by itself where the steps are uneven, can be asked for here.
    future : sequence of str, default ()
        Covariates known ahead. Rows at the end of a series without targets are then the rows to forecast.
    static : sequence of str, default ()
        Columns that never change within a series; text becomes one 0/1 column for each level.
    ignore : sequence of str, default ()
        Columns to leave out.
    horizon : int, optional
        Steps ahead to forecast, at least 1; by default the usual one for the frequency (24 hours, 7 days, 5 business
        days, 4 weeks, 12 months, 4 quarters, 1 year, 1 row, else one season of at most 96 steps).
    last_step_only : bool, default False
        Forecast the last step of the horizon alone.
    calendar : bool, default False
        Add the hour of the day, day of the week and day of the year to the future covariates.
    missing : {"error", "fill"}, default "error"
        Refuse missing values, or keep them as NaN for the fit to fill in from its training rows.
    duplicates : {"error", "mean", "last"}, default "error"
        Refuse a time that occurs twice in a series, or average these rows, or keep the last of them.
    max_gap : int, default 10
        No window crosses a hole of more than this many steps; at least 1.
    frequency : Frequency, optional
        What one step is; by default inferred. Give that of the training data with new data to forecast from, which
        may be few rows, and whose target may stand still.
    encoding : str, default "utf-8"
        How a text file is encoded.

    Returns
    -------
    SeriesData
        Series in the order of their ids, rows in the order of time.

    Raises
    ------
    InputError
        If a column is missing, has two parts or holds anything but numbers; for a value that is missing, infinite or
        beyond float32; for repeated times, a mix of zoned and zoneless times, or a target that
        never changes and no ``frequency``.

    Examples
    --------
    >>> import polars as pl
    >>> prices = pl.DataFrame({"day": ["1999-01-04", "1999-01-05", "1999-01-06"], "close": [12.3, 12.4, 12.7]})
    >>> series = read_series(prices, target="close", horizon=1)
    >>> series.n_rows, series.frequency.name
    (3, 'day')
    """
    check_choice("missing", missing, ("error", "fill"))
    check_choice("duplicates", duplicates, ("error", "mean", "last"))
    check_number("max_gap", max_gap, 1, 2**31)
    check_number("horizon", 1 if horizon is None else horizon, 1, 2**31)
    table = open_table(source, encoding=encoding)
    notes = list(table.notes)
    roles = _roles(
        table, notes, target=target, time=time, id=id, past=past, future=future, static=static, ignore=ignore
    )
    clock = _arrange(table, roles, duplicates, notes)
    learns = frequency is None
    frequency = frequency or (infer_frequency(clock.time) if clock.timed else Frequency())
    place = _positions(clock, frequency)
    notes.append(f"the step is {'' if frequency.name[0].isdigit() else 'one '}{frequency.name}")
    made = _made_columns(
        table, clock, roles, place, frequency, calendar=calendar, max_gap=max_gap, notes=notes
    )
    future_names = (*roles.future, *made.future)
    past_names = (*(name for name in roles.past if name != STEPS_COLUMN), *made.past)
    columns = (*roles.targets, *past_names, *future_names)
    values = _gather_values(table, columns, clock, made, notes)
    open_rows = _rows_to_forecast(
        values[:, : len(roles.targets)], clock, notes, known_ahead=bool(future_names)
    )
    for number, name in enumerate(columns):
        is_target = name in roles.targets
        check = ColumnCheck(
            name, table, clock, is_target=is_target, may_stay=not learns, may_miss=missing == "fill"
        )
        notes += check.notes(values[:, number], open_rows & (name not in future_names))
    static_values, static_names = read_static(table, roles.static, clock, notes)
    notes += clock.few(_FEW_ROWS)
    return SeriesData(
        values=values,
        columns=columns,
        targets=roles.targets,
        past=past_names,
        future=future_names,
        time=clock.time,
        position=place,
        offsets=clock.offsets,
        ids=clock.ids,
        frequency=frequency,
        static=static_values,
        static_names=static_names,
        horizon=horizon or _default_horizon(frequency, clock, notes),
        last_step_only=last_step_only,
        max_gap=int(max_gap),
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Roles:
    targets: tuple[str, ...]
    past: tuple[str, ...]
    future: tuple[str, ...]
    static: tuple[str, ...]
    time: str | None
    times: Times | None
    id: str | None


def _names(value: str | Sequence[str] | None) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def _roles(table: Table, notes: list[str], *, ignore: Sequence[str], **asked: Any) -> _Roles:
    columns = table.frame.columns
    parts = {part: _names(names) for part, names in (*asked.items(), ("ignore", ignore))}
    if not parts["target"]:
        raise InputError("target must name at least one column")
    part_of: dict[str, str] = {}
    for part, names in parts.items():
        for name in names:
            if name not in columns and not (name == STEPS_COLUMN and part == "past"):
                raise InputError(
                    f"{part} must name a column of the table, but there is none called {name!r}{did_you_mean(name, columns)}"
                )
            if name in part_of:
                raise InputError(
                    f"a column can have one part, but {name!r} is named in {part_of[name]} and {part}; keep one"
                )
            part_of[name] = part
    free = [name for name in columns if name not in part_of]
    time, times = _find_times(table, asked["time"], free)
    notes += times.notes if times else ()
    if asked["time"] is None:
        notes.append(
            f"the time is column {time!r}"
            if time
            else "no column holds times, so the rows are taken in their order"
        )
    past = parts["past"]
    if asked["past"] is None:
        past = tuple(name for name in free if name != time)
        if past:
            notes.append(f"known up to the present only: {listed(past)}")
    return _Roles(parts["target"], past, parts["future"], parts["static"], time, times, asked["id"])


def _find_times(table: Table, asked: str | None, free: list[str]) -> tuple[str | None, Times | None]:
    if asked is not None:
        return asked, read_times(table.frame[asked], table.place)
    for name in free:
        times = read_times(table.frame[name], table.place, asked=False)
        if times is not None:
            return name, times
    return None, None


def _arrange(table: Table, roles: _Roles, duplicates: str, notes: list[str]) -> Clock:
    """Sort by series and time, and settle repeated times."""
    codes, ids = (
        (np.zeros(len(table.frame), np.int64), ("series",))
        if roles.id is None
        else read_levels(table, roles.id)
    )
    times = roles.times
    n_rows = len(codes)
    time = np.arange(n_rows, dtype=np.int64) if times is None else times.values
    order = None
    if not _ascending(codes, time).all():
        order = np.lexsort((time, codes))
        codes, time = codes[order], time[order]
        notes.append(
            "the rows were sorted by time" if len(ids) == 1 else "the rows were sorted by series and time"
        )
    again = np.concatenate([[False], (np.diff(codes) == 0) & (np.diff(time) == 0)])
    rows = Rows(order, None)
    if again.any():
        timed = times is not None and not times.counted
        if duplicates == "error":
            _refuse_repeats(
                table, roles, rows, again, spoken(int(time[again][0])) if timed else str(time[again][0])
            )
        notes.append(
            f"{again.sum()} rows repeat a time of their series; {'their mean' if duplicates == 'mean' else 'the last'} was taken"
        )
        rows = _without_repeats(order, again, duplicates)
        codes, time = codes[~again], time[~again]
    offsets = np.searchsorted(codes, np.arange(len(ids) + 1)).astype(np.int64)
    if times is None:
        time = np.arange(len(codes)) - offsets[codes]
    return Clock(rows, time.astype(np.int64), offsets, ids, timed=times is not None and not times.counted)


def _ascending(codes: IntArray, time: IntArray) -> BoolArray:
    ahead = np.diff(codes)
    return (ahead > 0) | ((ahead == 0) & (np.diff(time) >= 0))


def _without_repeats(order: IntArray | None, again: BoolArray, duplicates: str) -> Rows:
    if duplicates == "mean":
        return Rows(order, np.flatnonzero(~again))
    last = np.flatnonzero(~np.concatenate([again[1:], [False]]))
    return Rows(last if order is None else order[last], None)


def _refuse_repeats(table: Table, roles: _Roles, rows: Rows, again: BoolArray, when: str) -> None:
    row = int(again.argmax())
    first, second = table.place(rows.table_row(row - 1)), table.place(rows.table_row(row))
    found = f"{when} in column {roles.time!r} stands in {first} and {second}"
    if roles.id is None and again.mean() > 0.1 and roles.time is not None:
        free = [name for name in table.frame.columns if name not in (*roles.targets, roles.time)]
        likely = [name for name in free if _tells_apart(table.frame, roles.time, name)]
        if likely:
            raise InputError(
                f"one series must have each time once, but {found}; name the column that tells the series apart, perhaps id={likely[0]!r}"
            )
    raise InputError(
        f"a series must have each time once, but {found} ({int(again.sum())} such rows); remove them, name the column that "
        f"tells several series apart with id=, or give duplicates='mean' or 'last'"
    )


def _tells_apart(frame: nw.DataFrame[Any], time: str, name: str) -> bool:
    kind = frame[name].dtype
    labels = kind.is_integer() or kind in (nw.String, nw.Categorical, nw.Enum, nw.Boolean)
    return labels and not bool(frame.select(time, name).is_duplicated().any())


def _positions(clock: Clock, frequency: Frequency) -> IntArray:
    place = np.empty(len(clock.time), np.int64)
    for start, stop in zip(clock.offsets[:-1], clock.offsets[1:], strict=True):
        place[start:stop] = positions(clock.time[start:stop], frequency)
    return place


@dataclass(frozen=True, eq=False)
class _Made:
    """Columns that are computed rather than read."""

    values: dict[str, FloatArray]
    past: tuple[str, ...]
    future: tuple[str, ...]


def _gather_values(
    table: Table, columns: Sequence[str], clock: Clock, made: _Made, notes: list[str]
) -> FloatArray:
    """All columns in the order of the series, those of the table and those made for it."""
    values = np.empty((len(clock.time), len(columns)))
    for number, name in enumerate(columns):
        known = made.values.get(name)
        values[:, number] = clock.rows.gather(read_numbers(table, name, notes)) if known is None else known
    return values


def _made_columns(
    table: Table,
    clock: Clock,
    roles: _Roles,
    place: IntArray,
    frequency: Frequency,
    *,
    calendar: bool,
    max_gap: int,
    notes: list[str],
) -> _Made:
    taken = set(table.frame.columns)
    values: dict[str, FloatArray] = {}
    past: tuple[str, ...] = ()
    inside = clock.inside()
    steps = np.diff(place)
    uneven = inside & (steps != 1)
    if uneven.any() or (STEPS_COLUMN in roles.past and STEPS_COLUMN not in taken):
        past = (_free_name(STEPS_COLUMN, taken),)
        values[past[0]] = np.concatenate([[1.0], np.where(inside, steps, 1)])
    if uneven.any():
        widest = int(np.where(inside, steps, 0).argmax())
        notes.append(
            f"{int(uneven.sum())} steps are uneven, the largest being {steps[widest]} steps after {clock.when(widest)}; column "
            f"{past[0]!r} tells the model, and no window crosses a hole of more than max_gap={max_gap} steps"
        )
    future: tuple[str, ...] = ()
    if calendar:
        features, names = calendar_features(clock.time, frequency)
        future = tuple(_free_name(name, taken) for name in names)
        values |= {name: features[:, k] for k, name in enumerate(future)}
    return _Made(values, past, future)


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _rows_to_forecast(targets: FloatArray, clock: Clock, notes: list[str], *, known_ahead: bool) -> BoolArray:
    """Mark the rows after the last known target of each series, if anything is known about them."""
    open_rows = np.zeros(len(targets), bool)
    if not known_ahead:
        return open_rows
    unknown: BoolArray = np.asarray(np.isnan(targets).all(axis=1))
    for series in np.flatnonzero(unknown[clock.offsets[1:] - 1]):
        start, stop = clock.offsets[series], clock.offsets[series + 1]
        known = np.flatnonzero(~unknown[start:stop])
        if not len(known):
            raise InputError(
                f"every series must have a known target, but series {clock.ids[series]!r} has none; remove it"
            )
        open_rows[start + known[-1] + 1 : stop] = True
    if open_rows.any():
        notes.append(f"{int(open_rows.sum())} rows at the end have no target: they are the rows to forecast")
    return open_rows


def _default_horizon(frequency: Frequency, clock: Clock, notes: list[str]) -> int:
    usual = _HORIZONS.get(frequency.name, min(frequency.season, _LONGEST_DEFAULT_HORIZON))
    horizon = max(1, min(usual, clock.longest // 10))
    why = "the usual one for this frequency" if horizon == usual else "a tenth of the rows"
    notes.append(f"the horizon is {horizon} step{'s' * (horizon > 1)}, {why}")
    return horizon
