"""The sealed test, line by line: what each forecast lost, on the scale that the run was scored on."""

import numpy as np
import polars as pl

from heldout.check import InputError
from heldout.data.transforms import is_log
from heldout.studies.scale import Scale

_LEAST = 1e-15  # a probability


def scored_units(table: pl.DataFrame, scale: Scale, targets: list[str]) -> pl.DataFrame:
    """Give what the errors of each target (and series, where each has its own scale) are divided by.

    Parameters
    ----------
    table : polars.DataFrame
        ``predictions.parquet``, whole.
    scale : Scale
        That of the run.
    targets : list of str
        In the scale's order.

    Returns
    -------
    polars.DataFrame
        ``target``, ``unit``, ``log`` (whether errors are of logarithms); with ``series``, a line per series.

    Raises
    ------
    InputError
        If each series has its own scale and not all of them have sealed rows, so that scales cannot be told apart.
    """
    logs = [is_log(transform) for transform in scale.transforms]
    if not scale.widths:
        return pl.DataFrame({"target": targets, "unit": [float(x) for x in scale.units], "log": logs})
    ids = table["series"].unique(maintain_order=True).to_list()  # in the order of the series, as rows are
    if len(ids) != len(scale.widths):
        raise InputError(
            f"errors cannot be given: each series has its own scale, of which there are {len(scale.widths)}, and not as many have sealed rows: {len(ids)}"
        )
    lines = [
        (name, target, width, log)
        for name, widths in zip(ids, scale.widths, strict=True)
        for target, width, log in zip(targets, widths, logs, strict=True)
    ]
    return pl.DataFrame(lines, schema=["series", "target", "unit", "log"], orient="row")


def with_losses(table: pl.DataFrame, units: pl.DataFrame, metric: str) -> pl.DataFrame:
    """Add what each line lost.

    Parameters
    ----------
    table : polars.DataFrame
        ``predictions.parquet``, or lines of it.
    units : polars.DataFrame
        From `scored_units`.
    metric : {"mse", "mae"}
        Squared or absolute error.

    Returns
    -------
    polars.DataFrame
        With ``error`` (forecast less truth, on the scale) and ``loss``; and ``naive_error`` and ``naive_loss`` of the last
        value. A line whose forecast has no logarithm, where one is taken, has no loss (NaN).
    """
    keys = [name for name in ("series", "target") if name in units.columns]
    truth, forecast, last = (
        pl.when(pl.col("log")).then(pl.col(name).log()).otherwise(pl.col(name)) / pl.col("unit")
        for name in ("truth", "forecast", "last_value")
    )
    found = table.join(units, on=keys, how="left", maintain_order="left").with_columns(
        error=forecast - truth, naive_error=last - truth
    )
    errors = {"loss": pl.col("error"), "naive_loss": pl.col("naive_error")}
    found = found.with_columns(
        **{name: error**2 if metric == "mse" else error.abs() for name, error in errors.items()}
    )
    return found.drop("unit", "log")


def by_moment(table: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Average columns over everything that was forecast from one moment, in order of time; of one moment only, by series.

    The series of one moment are no independent evidence over time (`heldout.studies.compare`); where there is a single
    moment, what is said is said of that moment.

    Parameters
    ----------
    table : polars.DataFrame
        With a column ``origin``.
    *columns : str
        What is averaged.
    """
    one = table["origin"].n_unique() == 1 and "series" in table.columns
    key = "series" if one else "origin"
    return table.group_by(key).agg(pl.col(*columns).mean()).sort(key)


def text_lines(one: pl.DataFrame | None, two: pl.DataFrame | None) -> pl.DataFrame:
    """Give the log loss of two runs on each sealed text that both have.

    Parameters
    ----------
    one, two : polars.DataFrame or None
        ``predictions.parquet`` of runs of texts: ``row``, ``text_sha256``, ``label`` and ``p_<class>``.

    Returns
    -------
    polars.DataFrame
        ``origin`` (the row), ``loss`` and ``loss_other``.

    Raises
    ------
    InputError
        If a table is missing, or classes, rows or labels do not match.
    """
    if one is None or two is None:
        raise InputError("one of them holds no predictions.parquet")
    classes = [name for name in one.columns if name.startswith("p_")]
    if set(classes) != {name for name in two.columns if name.startswith("p_")}:
        raise InputError("their classes are not the same")
    same = ["row", "text_sha256"]
    matched = one.select(*same, "label", loss=_log_loss(one, classes)).join(
        two.select(*same, label_other="label", loss_other=_log_loss(two, classes)), on=same, how="inner"
    )
    if matched.is_empty():
        raise InputError("no sealed text is in both")
    if differ := int((matched["label"] != matched["label_other"]).sum()):
        raise InputError(
            f"the label differs in {differ:,} of the {len(matched):,} sealed texts that both have, so the data are not the same"
        )
    return matched.select(pl.col("row").alias("origin"), "loss", "loss_other")


def _log_loss(table: pl.DataFrame, classes: list[str]) -> pl.Series:
    """Of the true class, whose probability is held above 0."""
    said = table.select(classes).to_numpy()
    place = {name.removeprefix("p_"): number for number, name in enumerate(classes)}
    true = [place[label] for label in table["label"].cast(pl.String)]
    return pl.Series(-np.log(np.maximum(said[np.arange(len(said)), true], _LEAST)))
