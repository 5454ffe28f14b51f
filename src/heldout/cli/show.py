"""A result on the screen: the table of the sealed test and what it means."""

import json
from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import typer

from heldout.cli.command import GATE_FAILED, say
from heldout.cli.options import LEAST_WIDTH

if TYPE_CHECKING:
    from heldout.result import Result
    from heldout.text_result import TextResult

Found = dict[str, Any]  # `to_dict()` of a result
_SERIES = ("", "loss", "95 % interval", "skill vs naive", "heldout against it", "loss on folds")
_TEXTS = (
    "",
    "log loss",
    "95 % interval",
    "accuracy",
    "macro-F1",
    "ECE",
    "skill vs majority",
    "heldout against it",
)


def show(result: "Result | TextResult", *, as_json: bool) -> None:
    """Print a result: a table and sentences, or one JSON object.

    Parameters
    ----------
    result : Result or TextResult
        What a fit gave.
    as_json : bool
        Print JSON.
    """
    found = result.to_dict()
    if as_json:
        typer.echo(json.dumps(found))
        return
    of_texts = found.get("kind") == "text"
    lines = [_text_line(row) if of_texts else _series_line(row) for row in found["rows"]]
    what = "sealed text" if of_texts else "sealed test row"
    rows = f"{found['test_rows']} {what}{'s' * (found['test_rows'] != 1)}"
    _print_grid(f"{found['metric']}, {rows}", _TEXTS if of_texts else _SERIES, lines)
    if found.get("accuracy"):
        _print_accuracy(found["accuracy"])
    say(found["sentence"], err=False)
    if found.get("intervals"):
        from heldout.studies.coverage import describe_interval

        for entry in found["intervals"]:
            say(describe_interval(entry), err=False)
    folds, seeds = found["n_folds"], found["n_seeds"]
    of_seeds = f"mean of {seeds} seeds" if seeds > 1 else "1 seed"
    looks = found["looks_at_test"]
    typer.echo(
        f"{folds} fold{'s' * (folds != 1)}; {of_seeds}; look {looks} at this test; run directory {result.path}"
    )


def write_page(result: "Result | TextResult", *, as_json: bool) -> None:
    """Write the report of a result and say where it is.

    Parameters
    ----------
    result : Result or TextResult
        What a fit gave.
    as_json : bool
        Say it on the error stream.
    """
    from heldout.report.run_report import write_report

    typer.echo(f"report {write_report(result.path)}", err=as_json)


def hold_against(result: "Result | TextResult", name: str | None) -> None:
    """Exit with `GATE_FAILED` if heldout's loss on the sealed test is above that of a candidate.

    Parameters
    ----------
    result : Result or TextResult
        What a fit gave.
    name : str or None
        The candidate; None asks for nothing.
    """
    if name is None:
        return
    own, other = result.row("heldout").value, result.row(name).value
    if own > other:
        typer.echo(f"gate: heldout's loss {own:.4g} is above that of {name}, {other:.4g}", err=True)
        raise typer.Exit(GATE_FAILED)


def _series_line(row: Found) -> list[str]:
    return [
        row["name"],
        f"{row['value']:.4g}",
        _range(row["low"], row["high"], ".3g"),
        "-" if row["name"] == "naive" else _percent(row["skill_vs_naive"]),
        _against(row),
        "-" if row["folds"] is None else f"{row['folds']:.4g}",
    ]


def _text_line(row: Found) -> list[str]:
    return [
        row["name"],
        f"{row['value']:.4g}",
        _range(row["low"], row["high"], ".3g"),
        f"{100 * row['accuracy']:.1f} %",
        f"{row['macro_f1']:.3f}",
        f"{row['ece']:.3f}",
        "-" if row["name"] == "majority" else _percent(row["skill_vs_naive"]),
        _against(row),
    ]


def _against(row: Found) -> str:
    """Skill of heldout against a candidate."""
    skill = row["heldout_skill"]
    if row["name"] == "heldout" or skill is None or skill["mean"] is None:
        return "-"
    low, high = (None if skill[end] is None else 100 * skill[end] for end in ("low", "high"))
    return f"{_percent(skill['mean'])} [{_range(low, high, '+.1f')}]"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:+.1f} %"


def _range(low: float | None, high: float | None, form: str) -> str:
    known = low is not None and high is not None and isfinite(low) and isfinite(high)
    return f"{low:{form}} .. {high:{form}}" if known else "too few blocks"


def _print_grid(title: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from heldout.report.terminal import print_grid

    grid = Table(title=title, title_justify="left", title_style="", box=SIMPLE_HEAD)
    for place, name in enumerate(header):
        grid.add_column(name, justify="right" if place else "left", no_wrap=True)
    for line in lines:
        grid.add_row(*map(escape, line), style="bold" if line[0] == "heldout" else "")
    print_grid(grid, least_width=LEAST_WIDTH)


def _print_accuracy(accuracy: Found) -> None:
    from heldout.report.blocks import Table
    from heldout.report.terminal import print_table

    found, names = accuracy["rows"], ("smape", "mase", "owa")
    rows = [[row["name"], *("-" if row[n] is None else f"{row[n]:.3f}" for n in names)] for row in found]
    own = [row["name"] for row in found].index("heldout")
    header = ["", "sMAPE %", "MASE", "OWA"]
    table = Table(caption="on the test table", header=header, rows=rows, strong=(own,))
    print_table(table, least_width=LEAST_WIDTH)
    typer.echo(f"{accuracy['definition']}\n")
