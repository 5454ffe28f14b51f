"""What the model of a run says of a table: forecasts of what follows, or labels of its texts."""

import io
from pathlib import Path
from typing import Any

import polars as pl

from heldout.check import InputError
from heldout.data.ahead import check_long_enough, long_table, with_rows_ahead
from heldout.data.calendar import Frequency
from heldout.data.layout import read_series
from heldout.files import write_atomically
from heldout.runs import Run
from heldout.training.fit import SeriesModel


def predict(run: str | Path, source: object) -> tuple[pl.DataFrame, list[str]]:
    """Forecast what follows each series in a table, or give the label of each text, with the model of a run.

    Parameters
    ----------
    run : path
        Run directory.
    source : path or data frame
        Of series, a table with the columns of training; only the last ``lookback`` rows of each are needed. Where the
        model takes covariates known ahead, the rows to forecast stand at the end, their targets empty. Of texts, a table
        with their column.

    Returns
    -------
    table : polars.DataFrame
        ``series`` (with several), ``time``, ``step``, ``target``, ``forecast``; ``low`` and ``high``
        where the model has intervals; ``q...`` of a quantile model. Of texts ``row``, counted from 0, ``label`` and ``p_<class>``.
    notes : list of str
        What was inferred from the table; of texts also what was cut or unknown.

    Raises
    ------
    InputError
        If a column is missing, or a series is too short.
    """
    model, metadata = Run(run).model()
    if not isinstance(model, SeriesModel):
        from heldout.text_predict import predict_texts  # noqa: PLC0415 - needs the extra `text`

        return predict_texts(model, metadata["settings"], source)
    return _forecast(model, metadata, source)


def _forecast(model: SeriesModel, metadata: dict[str, Any], source: object) -> tuple[pl.DataFrame, list[str]]:
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
