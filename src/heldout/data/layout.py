"""A table read as time series: which column plays which part, and in which order its rows stand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from heldout.check import InputError, check_choice, check_number, did_you_mean
from heldout.data.arrange import Roles, arrange, place_rows
from heldout.data.calendar import Frequency, calendar_features, infer_frequency
from heldout.data.columns import (
    STEPS_COLUMN,
    BoolArray,
    Clock,
    ColumnCheck,
    listed,
    read_numbers,
    read_static,
)
from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.data.sources import Source, check_unseen, first_test_time, open_source
from heldout.data.tables import Table
from heldout.data.times import Times, read_times

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
    target: str | Sequence[str] = (),
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
    layout: Literal["auto", "long", "wide"] = "auto",
    test: object = None,
) -> SeriesData:
    """Give the series in a table, sorted, checked, with a note of everything that was inferred.

    Parameters
    ----------
    source : path or data frame
        What `heldout.data.tables.read_table` reads: in long form, one row for each series and time; or in wide form,
        one series per row.
    target : str or sequence of str, default ()
        The column or columns to forecast. A wide table has one, called "value".
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
    layout : {"auto", "long", "wide"}, default "auto"
        The form. "auto" is long where a target, time or covariate is named, and wide where none is, the first column (or
        ``id``) holds unique ids as text and all others, but ``static`` and ``ignore``, numbers under a header of times or
        of a counter (V2, V3, ...). Series of a wide table, whose header holds no times, are lined up at their ends.
    test : path or data frame, optional
        Rows that follow, in the same form: the sealed test (`heldout.data.splits.split_series`). Where no horizon is given
        and it holds at most 96 rows of each series, these are the horizon; of a single series with times, at most the usual. "auto" takes the file beside ``source``
        with ``test`` for ``train`` in its name, if there is one.

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
    _check_options(missing=missing, duplicates=duplicates, layout=layout, max_gap=max_gap, horizon=horizon)
    named = any((target, time, past, future))
    static, ignore = _names(static), _names(ignore)
    opened = open_source(
        source, test=test, layout=layout, named=named, id=id, static=static, ignore=ignore, encoding=encoding
    )
    table, notes = opened.table, list(opened.table.notes)
    asked = {"target": target, "time": time, "id": id, "past": past, "future": future, "static": static}
    roles = _roles(opened, notes, ignore=ignore, **asked)
    clock = arrange(opened, roles, duplicates, notes)
    test_start = first_test_time(opened, clock, notes)
    learns = frequency is None
    frequency = frequency or (infer_frequency(clock.time) if clock.timed else Frequency())
    place = place_rows(clock, frequency)
    notes.append(f"the step is {'' if frequency.name[0].isdigit() else 'one '}{frequency.name}")
    made = _made_columns(
        table, clock, roles, place, frequency, calendar=calendar, max_gap=max_gap, notes=notes
    )
    future_names = (*roles.future, *made.future)
    past_names = (*(name for name in roles.past if name != STEPS_COLUMN), *made.past)
    columns = (*roles.targets, *past_names, *future_names)
    values = _gather_values(table, columns, clock, made, notes)
    targets = values[:, : len(roles.targets)]
    check_unseen(targets, clock, test_start if roles.times is None else None)
    open_rows = _rows_to_forecast(targets, clock, notes, known_ahead=bool(future_names))
    may = {"may_stay": not learns, "may_miss": missing == "fill"}
    for name, column in zip(columns, values.T, strict=True):
        check = ColumnCheck(name, table, clock, is_target=name in roles.targets, **may)
        notes += check.notes(column, open_rows & (name not in future_names))
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
        horizon=horizon or _default_horizon(frequency, clock, test_start, notes),
        last_step_only=last_step_only,
        max_gap=int(max_gap),
        test_start=test_start,
        notes=tuple(notes),
    )


def _check_options(*, max_gap: int, horizon: int | None, **words: str) -> None:
    choices = {
        "missing": ("error", "fill"),
        "duplicates": ("error", "mean", "last"),
        "layout": ("auto", "long", "wide"),
    }
    for name, word in words.items():
        check_choice(name, word, choices[name])
    check_number("max_gap", max_gap, 1, 2**31)
    check_number("horizon", 1 if horizon is None else horizon, 1, 2**31)


def _names(value: str | Sequence[str] | None) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def _roles(source: Source, notes: list[str], *, ignore: Sequence[str], **asked: Any) -> Roles:
    table, columns = source.table, source.table.frame.columns
    if source.wide:
        asked["id"] = None if asked["id"] in source.taken else asked["id"]
        asked |= {part: asked[part] or name for part, name in source.parts.items()}
        ignore = [name for name in ignore if name not in source.taken]
    parts = {part: _names(names) for part, names in (*asked.items(), ("ignore", ignore))}
    if not parts["target"]:
        raise InputError(
            "target must name at least one column; a table with one series per row needs none, but layout=wide"
        )
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
    if asked["time"] is None and not source.wide:
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
    return Roles(parts["target"], past, parts["future"], parts["static"], time, times, asked["id"])


def _find_times(table: Table, asked: str | None, free: list[str]) -> tuple[str | None, Times | None]:
    if asked is not None:
        return asked, read_times(table.frame[asked], table.place)
    for name in free:
        times = read_times(table.frame[name], table.place, asked=False)
        if times is not None:
            return name, times
    return None, None


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
    roles: Roles,
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


def _default_horizon(frequency: Frequency, clock: Clock, test_start: int | None, notes: list[str]) -> int:
    usual = _HORIZONS.get(frequency.name, min(frequency.season, _LONGEST_DEFAULT_HORIZON))
    horizon = max(1, min(usual, clock.longest // 10))
    if test_start is not None:
        rows = np.add.reduceat((clock.time >= test_start).astype(np.int64), clock.offsets[:-1])
        held = int(rows[rows > 0].min())
        single = clock.timed and len(clock.ids) == 1  # its test should have more than one origin
        if held <= (horizon if single else _LONGEST_DEFAULT_HORIZON):
            notes.append(f"the horizon is {held} step{'s' * (held > 1)}, {_test_rows(rows, clock)}")
            return held
    why = "the usual one for this frequency" if horizon == usual else "a tenth of the rows"
    notes.append(f"the horizon is {horizon} step{'s' * (horizon > 1)}, {why}")
    return horizon


def _test_rows(rows: IntArray, clock: Clock) -> str:
    held = rows[rows > 0]
    few, many = int(held.min()), int(held.max())
    if few == many:
        return "what the test table holds of each series"
    shortest = clock.ids[int(np.flatnonzero(rows == few)[0])]
    return (
        f"as the shortest series in the test table, {shortest!r}, has {few} row{'s' * (few > 1)} and the longest {many}; "
        "--horizon sets another"
    )
