"""The command that looks for better options: tune."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli.command import say
from heldout.cli.options import (
    LEAST_WIDTH,
    ConfigFile,
    Future,
    Group,
    Horizon,
    Id,
    Ignore,
    Json,
    Out,
    Season,
    Set,
    Source,
    Static,
    Target,
    Test,
    Text,
    Time,
    Workers,
    configure,
)

if TYPE_CHECKING:
    from heldout.tune_result import TuneResult


def tune(
    source: Source,
    target: Target = None,
    text: Text = None,
    time: Time = None,
    group: Group = None,
    id: Id = None,  # noqa: A002 - the option's name
    future: Future = None,
    static: Static = None,
    ignore: Ignore = None,
    horizon: Horizon = None,
    test: Test = None,
    season: Season = None,
    config: ConfigFile = None,
    set_: Set = None,
    space: Annotated[
        Path | None,
        typer.Option(
            "--space",
            help="TOML file whose part [space] says what is tuned (default: the dial, rates, sizes).",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials", help="Recipes to try, yours among them (default: 27, or what the budget allows)."
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", help="Do what fits in it: 10min, 2h, '50 fits' or both."),
    ] = None,
    out: Out = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Look for better options of the recipe: trials compared on folds, the best one judged on later ones.

    The sealed test is not touched. The run directory gets chosen.toml for heldout fit --config, and optuna.sqlite.

    Stop it with Ctrl-C at any time; the same command goes on where it was.
    """
    named = {
        "target": target,
        "text": text,
        "time": time,
        "group": group,
        "id": id,
        "future": future,
        "static": static,
        "ignore": ignore,
        "horizon": horizon,
        "test": test,
        "season": season,
    }
    settings = configure(config, named, set_)
    import loky

    from heldout.progress import Display
    from heldout.report.run_report import write_report
    from heldout.studies.engine import LocalEngine
    from heldout.tuning import tune as search

    with Display(workers or loky.cpu_count()) as display:
        result = search(
            source,
            settings,
            space=space,
            n_trials=trials,
            budget=budget,
            out=out,
            engine=LocalEngine(workers),
            listener=display,
            command=shlex.join(["heldout", *sys.argv[1:]]),
        )
    _show(result, as_json=as_json)
    typer.echo(f"report {write_report(result.path)}", err=as_json)


def _show(result: "TuneResult", *, as_json: bool) -> None:
    """Print tables and sentences, or one JSON object."""
    if as_json:
        typer.echo(json.dumps(result.to_dict()))
        return
    from heldout.report.blocks import Table
    from heldout.report.terminal import print_table

    for caption, header, rows in result.tables():
        strong = tuple(place for place, row in enumerate(rows) if row[0].startswith("choice"))
        table = Table(caption=caption, header=header, rows=rows, words=(len(header) - 1,), strong=strong)
        print_table(table, least_width=LEAST_WIDTH)
    say(result.sentence, err=False)
    found = result.found
    for text in found["left_out"]:
        say(f"left out to keep within the budget: {text}", err=False)
    typer.echo(
        f"{found['fits']} fits; run directory {result.path}; next: heldout fit ... --config {result.path / 'chosen.toml'}"
    )
