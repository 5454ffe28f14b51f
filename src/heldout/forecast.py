"""Forecasts from a run directory, for the steps after the end of a table."""

import io
from pathlib import Path

import polars as pl

from heldout.check import InputError
from heldout.data.ahead import check_long_enough, long_table, with_rows_ahead
from heldout.data.calendar import Frequency
from heldout.data.layout import read_series
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
        ``series`` (with several), ``time``, ``step``, ``target``, ``forecast``; ``low`` and ``high``
        where the model has intervals; ``q...`` of a quantile model.
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
            layout=settings.get("layout", "auto"),
            frequency=Frequency(**task["frequency"]),
            **asked,
        )
    except InputError as error:
        reads = ", ".join([*task["targets"], *task["past"], *settings["future"], *settings["static"]])
        raise InputError(f"{error} (the run reads the columns {reads})") from error
    data, rows = with_rows_ahead(data, model.prepare)
    check_long_enough(data, rows, model.rows_needed)
    columns = model.columns(data, rows)
    notes = [*data.notes, *model.prepare.out_of_bounds(data, rows, model.lookback)]
    if model.conformal is not None:
        what = f"low and high are a {100 * model.conformal.level:g} % interval: " if "low" in columns else ""
        notes.append(f"{what}{model.conformal.note}")
    return long_table(data, rows, columns), notes


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
