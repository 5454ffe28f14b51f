"""Forecasts from a run directory, for the steps after the end of a table."""

import io
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from heldout.check import InputError
from heldout.data.calendar import Frequency, calendar_features, positions, times_after
from heldout.data.layout import read_series
from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.runs import Run, write_atomically


def predict(run: str | Path, source: object) -> tuple[pl.DataFrame, list[str]]:
    """Forecast what follows each series in a table with the model of a run.

    Parameters
    ----------
    run : path
        Run directory.
    source : path or data frame
        A table with the columns of training; only the last ``lookback`` rows of each series are needed. Where the
        model takes covariates known ahead, the rows to forecast stand at the end, their targets empty.

    Returns
    -------
    table : polars.DataFrame
        ``series`` (with several), ``time``, ``step``, ``target``, ``forecast`` and, of a quantile model, ``q...``.
    notes : list of str
        What was inferred from the table.

    Raises
    ------
    InputError
        If a column is missing, or a series is too short.
    """
    model, metadata = Run(run).model()
    settings, task = metadata["settings"], metadata["task"]
    asked = {
        name: settings[name]
        for name in (
            "time",
            "id",
            "future",
            "static",
            "ignore",
            "calendar",
            "missing",
            "duplicates",
            "max_gap",
            "encoding",
        )
    }
    try:
        data = read_series(
            source,
            target=task["targets"],
            past=task["past"],
            horizon=task["horizon"],
            last_step_only=task["last_step_only"],
            frequency=Frequency(**task["frequency"]),
            **asked,
        )
    except InputError as error:
        reads = ", ".join([*task["targets"], *task["past"], *settings["future"], *settings["static"]])
        raise InputError(f"{error} (the run reads the columns {reads})") from error
    data, rows = with_rows_ahead(data)
    _check_long_enough(data, rows, model.rows_needed)
    scored = model.predict(data, rows)
    columns = {"forecast": model.prepare.to_original(model.point(scored))}
    if model.recipe.loss == "quantile":
        original = model.prepare.to_original(scored)
        columns |= {f"q{level:g}": original[..., n] for n, level in enumerate(model.recipe.quantiles)}
    notes = [*data.notes, *model.prepare.out_of_bounds(data, rows, model.lookback)]
    return long_table(data, rows, columns), notes


def with_rows_ahead(data: SeriesData) -> tuple[SeriesData, IntArray]:
    """Add, behind each series, the rows that its forecast is about, and give the origin of that forecast.

    Rows whose targets are missing at the end of a series are taken as such rows; where there are fewer than the
    horizon, rows are added at the next times of the calendar, with their calendar features.

    Parameters
    ----------
    data : SeriesData
        As read.

    Returns
    -------
    data : SeriesData
        With ``horizon`` rows after each origin.
    origins : array of shape (n_series,), int64

    Raises
    ------
    InputError
        If a series has no known target, or a covariate known ahead is missing in a row to forecast.
    """
    known = np.asarray(~np.isnan(data.values[:, data.indices(data.targets)]).any(axis=1))
    values: list[FloatArray] = []
    times: list[IntArray] = []
    origins: list[int] = []
    sizes: list[int] = []
    for name, start, stop in zip(data.ids, data.offsets[:-1], data.offsets[1:], strict=True):
        seen = np.flatnonzero(known[start:stop])
        if not len(seen):
            raise InputError(f"series {name!r} has no row with a known target: give its past")
        origin = int(start + seen[-1])
        lacking = max(0, data.horizon - (stop - 1 - origin))
        ahead = times_after(int(data.time[stop - 1]), lacking, data.frequency)
        origins.append(sum(sizes) + origin - start)
        sizes.append(stop - start + lacking)
        values += [data.values[start:stop], _empty_rows(data, ahead)]
        times += [data.time[start:stop], ahead]
    time = np.concatenate(times)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    longer = replace(
        data,
        values=np.concatenate(values),
        time=time,
        position=_positions(data, time, offsets),
        offsets=offsets,
    )
    rows = np.array(origins, dtype=np.int64)
    _check_known_ahead(longer, rows)
    return longer, rows


def long_table(data: SeriesData, rows: IntArray, columns: dict[str, FloatArray]) -> pl.DataFrame:
    """Give a table with a row per origin, step and target.

    Parameters
    ----------
    data : SeriesData
        The series, the rows ahead included.
    rows : array of shape (n,), int64
        Origins.
    columns : dict of str to array of shape (n, S, K)
        What is told.

    Returns
    -------
    polars.DataFrame
        ``series`` (if there are several), ``origin``, ``time``, ``step``, ``target``, and the columns.
    """
    n, steps, targets = len(rows), len(data.steps), len(data.targets)
    series = np.array(data.ids, dtype=object)[data.series_of_row[rows]]
    table: dict[str, Any] = {"series": np.repeat(series, steps * targets)} if len(data.ids) > 1 else {}
    table |= {
        "origin": _stamps(np.repeat(data.time[rows], steps * targets), data),
        "time": _stamps(np.repeat(data.time[rows[:, None] + data.steps], targets), data),
        "step": np.tile(np.repeat(data.steps, targets), n),
        "target": np.tile(np.array(data.targets, dtype=object), n * steps),
    }
    return pl.DataFrame(table | {name: value.reshape(-1) for name, value in columns.items()})


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write a table as ``.csv`` or ``.parquet``, whole or not at all.

    Raises
    ------
    InputError
        If the ending is another one, or the file cannot be written.
    """
    content = io.BytesIO()
    if path.suffix == ".csv":
        table.write_csv(content)
    elif path.suffix == ".parquet":
        table.write_parquet(content)
    else:
        raise InputError(f"the output must end in .csv or .parquet, got {path}")
    write_atomically(path, content.getvalue())


def _empty_rows(data: SeriesData, time: IntArray) -> FloatArray:
    rows = np.full((len(time), len(data.columns)), np.nan)
    features, names = calendar_features(time, data.frequency)
    for number, name in enumerate(names):
        if name in data.future:
            rows[:, data.columns.index(name)] = features[:, number]
    return rows


def _positions(data: SeriesData, time: IntArray, offsets: IntArray) -> IntArray:
    return np.concatenate([positions(time[a:b], data.frequency) for a, b in pairwise(offsets)])


def _check_known_ahead(data: SeriesData, rows: IntArray) -> None:
    for name in data.future:
        column = data.values[:, data.columns.index(name)]
        for series, row in zip(data.ids, rows, strict=True):
            missing = np.isnan(column[row + 1 : row + 1 + data.horizon])
            if missing.any():
                raise InputError(
                    f"covariate {name!r} must be known {data.horizon} rows ahead, series {series!r} lacks row {int(missing.argmax()) + 1} "
                    "of them: add these rows to the table with an empty target"
                )


def _check_long_enough(data: SeriesData, rows: IntArray, need: int) -> None:
    starts = data.segment_offsets
    for name, row in zip(data.ids, rows, strict=True):
        have = int(row + 1 - starts[np.searchsorted(starts, row, side="right") - 1])
        if have < need:
            raise InputError(
                f"a forecast needs {need} rows of the past at steps of one {data.frequency.name}, without a hole; series {name!r} has {have} up to its last known target: "
                "give more of it"
            )


def _stamps(time: IntArray, data: SeriesData) -> pl.Series:
    return pl.Series(time) if data.frequency.name == "row" else pl.Series(time).cast(pl.Datetime("us"))
