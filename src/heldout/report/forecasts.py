"""What the forecasts look like: the sealed test as curves, errors and intervals, and the series of a panel one by one."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from heldout.check import InputError
from heldout.plots.errors import errors_by_step, errors_over_time, residuals
from heldout.plots.forecasts import forecast_chart
from heldout.plots.intervals import coverage_chart
from heldout.plots.scores import series_chart
from heldout.plots.values import plural
from heldout.report.blocks import (
    Block,
    Folded,
    Section,
    Table,
    Text,
    draw,
    number,
    percent,
    share,
)
from heldout.report.evidence import Evidence
from heldout.report.losses import scored_units, with_losses

_MOST_TARGETS = 3  # drawn one by one
_EXTREMES = 2  # series of a panel drawn at either end
_LISTED = 10  # series of a panel in the table at either end
_METHODS = {"conformal": "Conformal", "mc_dropout": "Monte Carlo dropout", "quantile": "Quantile loss"}
_UNITS = "Widths are in the target's own units, with several targets or series in those of the scores."


@dataclass(frozen=True, kw_only=True)
class Band:
    """The columns that hold an interval, and its level."""

    low: str
    high: str
    level: float | None


def forecasts(evidence: Evidence) -> Section:
    """What the forecasts look like."""
    table = evidence.predictions
    if table is None or table.is_empty():
        blocks: list[Block] = [
            Text(text="The run holds no predictions.parquet, so there is nothing to draw.", kind="note")
        ]
        return Section(title="What do the forecasts look like?", anchor="forecasts", blocks=blocks)
    panel = "series" in table.columns
    blocks = [*(_panel(evidence, table) if panel else _curves(evidence, table)), *_errors(evidence, table)]
    blocks += intervals(evidence.scores)
    return Section(title="What do the forecasts look like?", anchor="forecasts", blocks=blocks)


def _curves(evidence: Evidence, table: pl.DataFrame) -> list[Block]:
    """One figure per target."""
    targets = table["target"].unique(maintain_order=True).to_list()
    blocks: list[Block] = [Text(text=_how_drawn(table))]
    blocks += [
        _forecast(table.filter(target=name), f"{name}: truth and forecast of the sealed test", evidence)
        for name in targets[:_MOST_TARGETS]
    ]
    if left := targets[_MOST_TARGETS:]:
        blocks.append(Text(text=f"Not drawn: {', '.join(left)}.", kind="note"))
    return blocks


def _how_drawn(table: pl.DataFrame) -> str:
    steps, slider = (
        table["step"].unique().sort().to_list(),
        "The slider below a figure chooses the stretch that is seen; with a mouse, drag to enlarge one and double-click to see all again.",
    )
    if table["origin"].n_unique() == 1:
        return "There is one forecast only, from the last row before the seal."
    if len(steps) == 1:
        return f"Each point was forecast {plural(steps[0], 'step')} before. {slider}"
    return (
        f"Forecasts of steps {steps[0]} to {steps[-1]} overlap; drawn are those that follow each other, "
        f"every {plural(steps[-1], 'step')} a new one. {slider}"
    )


def paths(table: pl.DataFrame) -> pl.DataFrame:
    """Keep the forecasts that follow each other without overlap: the first origin, the first at or after its last step, and so on.

    Parameters
    ----------
    table : polars.DataFrame
        Lines of one series and target.

    Returns
    -------
    polars.DataFrame
        In order of time; all lines where there is a single step.
    """
    if table["step"].n_unique() > 1:
        spans = table.group_by("origin").agg(pl.col("time").max().alias("end")).sort("origin")
        kept, until = [], None
        for origin, end in spans.iter_rows():
            if until is None or origin >= until:
                kept.append(origin)
                until = end
        table = table.filter(pl.col("origin").is_in(kept))
    return table.sort("time")


def _forecast(table: pl.DataFrame, title: str, evidence: Evidence) -> Block:
    shown, found = paths(table), band(table.columns, evidence.scores)
    spread: dict[str, Any] = {}
    if found is not None:
        spread = {
            "low": shown[found.low].to_list(),
            "high": shown[found.high].to_list(),
            "level": found.level,
        }
    columns = (shown[name].to_list() for name in ("time", "truth", "forecast"))
    return draw(forecast_chart, *columns, title=title, **spread)


def band(columns: list[str], scores: dict[str, Any]) -> Band | None:
    """Find the interval to draw: conformal before Monte Carlo dropout before the outer quantiles."""
    levels = {entry["method"]: entry["level"] for entry in scores.get("intervals") or []}
    if {"low", "high"} <= set(columns):
        return Band(low="low", high="high", level=levels.get("conformal"))
    if {"mc_low", "mc_high"} <= set(columns):
        return Band(low="mc_low", high="mc_high", level=levels.get("mc_dropout"))
    quantiles = sorted((float(name[1:]), name) for name in columns if _is_quantile(name))
    if len(quantiles) < 2:
        return None
    (least, low), (most, high) = quantiles[0], quantiles[-1]
    return Band(low=low, high=high, level=most - least)


def _name(entry: dict[str, Any]) -> str:
    return _METHODS.get(entry["method"], str(entry["method"]))


def _coverage(entry: dict[str, Any]) -> str:
    return share(entry["coverage"], entry.get("coverage_low"), entry.get("coverage_high"))


def _is_quantile(name: str) -> bool:
    return name.startswith("q0.") and name[3:].replace("e-", "").isdigit()


def _panel(evidence: Evidence, table: pl.DataFrame) -> list[Block]:
    """The best and the worst series."""
    found = per_series(evidence, table)
    ranked = sorted((row for row in found if row["skill"] is not None), key=lambda row: -row["skill"])
    if not ranked:
        return [Text(text="No series has a skill that can be given.", kind="note")]
    above = sum(row["skill"] > 0 for row in ranked)
    blocks: list[Block] = [
        Text(
            text=f"One model over {plural(len(found), 'series').removesuffix('s') if len(found) == 1 else f'{len(found):,} series'}: "
            f"it loses less than the last value in {above:,} of them, from {percent(ranked[-1]['skill'])} to {percent(ranked[0]['skill'])}."
        ),
        draw(series_chart, found),
        Folded(summary="Best and worst series", blocks=[_series_table(ranked)]),
        Text(text=_how_drawn(table)),
    ]
    chosen = [("best", row) for row in ranked[:_EXTREMES]]
    chosen += [("worst", row) for row in reversed(ranked[_EXTREMES:][-_EXTREMES:])]
    for what, row in chosen:
        lines = table.filter(pl.col("series") == row["series"])
        name = lines["target"][0]
        title = f"Series {row['series']}, among the {what} ({percent(row['skill'])}): {name}"
        blocks.append(_forecast(lines.filter(target=name), title, evidence))
    return blocks


def per_series(evidence: Evidence, table: pl.DataFrame) -> list[dict[str, Any]]:
    """Give the loss and skill of each series, as recorded or from the predictions."""
    if recorded := evidence.scores.get("series"):
        return list(recorded)
    if evidence.scale is None:
        return []
    lost = with_losses(table, scored_units(table, evidence.scale, evidence.targets), evidence.scale.metric)
    found = lost.group_by("series", maintain_order=True).agg(
        pl.len().alias("n"), pl.col("loss").mean(), pl.col("naive_loss").mean().alias("naive")
    )
    return [
        row | {"skill": 1 - row["loss"] / row["naive"] if row["naive"] > 0 else None}
        for row in found.iter_rows(named=True)
    ]


def _series_table(ranked: list[dict[str, Any]]) -> Table:
    shown = ranked if len(ranked) <= 2 * _LISTED else [*ranked[:_LISTED], *ranked[-_LISTED:]]
    left = len(ranked) - len(shown)
    return Table(
        caption="Series by skill, best first" + (f"; {left:,} in between are left out" if left else ""),
        header=["Series", "Samples", "Loss", "Loss of the last value", "Skill"],
        rows=[
            [
                str(row["series"]),
                f"{row['n']:,}",
                number(row["loss"]),
                number(row["naive"]),
                percent(row["skill"]),
            ]
            for row in shown
        ],
    )


def _errors(evidence: Evidence, table: pl.DataFrame) -> list[Block]:
    """Errors over time, by step, and their distribution, on the scale of the scores."""
    scale = evidence.scale
    if scale is None:
        return [Text(text="Errors: the run does not say on what scale it was scored.", kind="note")]
    try:
        units = scored_units(table, scale, evidence.targets)
    except InputError as error:
        return [Text(text=f"Errors: {error}.", kind="note")]
    lost = with_losses(table, units, scale.metric).filter(pl.col("error").is_finite())
    over_time = lost.group_by("time").agg(pl.col("error", "naive_error").abs().mean()).sort("time")
    moments, own, naive = (over_time[name].to_list() for name in ("time", "error", "naive_error"))
    by_step = lost.group_by("step").agg(pl.col("loss", "naive_loss").mean()).sort("step")
    blocks: list[Block] = []
    if lost["origin"].n_unique() > 1:
        blocks.append(draw(errors_over_time, moments, own, naive_error=naive))
    if len(by_step) > 1:
        columns = (by_step[name].to_list() for name in ("step", "loss", "naive_loss"))
        blocks.append(draw(errors_by_step, *columns))
    blocks.append(draw(residuals, lost["error"].to_list()))
    return blocks


def intervals(scores: dict[str, Any]) -> list[Block]:
    """How often the truth lay within its interval, how wide that was, and what was promised."""
    found = scores.get("intervals")
    if found is None:
        return [Text(text="Intervals: this run recorded none.", kind="note")]
    blocks: list[Block] = []
    if found:
        rows = [
            [
                _name(entry),
                percent(entry["level"], sign=False),
                _coverage(entry),
                number(entry["width"]),
                number(entry.get("pinball")),
                "yes" if entry.get("promised") else "no",
            ]
            for entry in found
        ]
        blocks += [
            draw(coverage_chart, found),
            Table(
                caption="Intervals on the sealed test: how often they held the truth, and how wide they were",
                header=[
                    "Method",
                    "Level",
                    "Coverage",
                    "Mean width",
                    "Pinball loss",
                    "Promised",
                ],
                rows=rows,
            ),
            Text(
                text=" ".join(
                    [_UNITS, *(f"{_name(entry)}: {entry['note']}." for entry in found if entry.get("note"))]
                ),
                kind="note",
            ),
        ]
    if quantiles := scores.get("quantiles"):
        blocks.append(
            Table(
                caption="Quantiles on the sealed test: the share of truths below a level should be that level",
                header=["Level", "Truths below", "Pinball loss"],
                rows=[
                    [percent(q["level"], sign=False), percent(q["below"], sign=False), number(q["pinball"])]
                    for q in quantiles
                ],
            )
        )
    return blocks
