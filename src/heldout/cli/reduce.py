"""The command that makes a network smaller: reduce."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heldout.check import visible
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
    from heldout.capacity_result import CapacityResult
    from heldout.config import Config, TextConfig


def reduce(
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
    plan: Annotated[
        str,
        typer.Option(
            "--plan",
            help="walk: fewer layers, then units, then shorter word vectors; depth: 1, 2 and 3 layers at equal weights.",
        ),
    ] = "walk",
    rule: Annotated[
        str,
        typer.Option(
            "--rule",
            help="1-SE: the smallest within one standard error of the best; simplest: not shown to be worse; or best.",
        ),
    ] = "1-SE",
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget", help="Do what fits in it: 10min, 2h, '50 fits' or both (default: everything)."
        ),
    ] = None,
    out: Out = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Make the network smaller as long as that costs nothing: sizes compared on folds, the choice judged on later ones.

    Everything but the size and the learning rate stays as in `heldout fit`. The sealed test is not touched.

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
    options = {"plan": plan, "rule": rule, "budget": budget}
    result = _known(source, settings, options, out)
    if result is None:
        result = _find(source, settings, options, out, workers)
    _show(result, as_json=as_json)


def _known(
    source: str, settings: "Config | TextConfig", options: Mapping[str, Any], out: Path | None
) -> "CapacityResult | None":
    """The answer of an earlier run of the same, without loading what would find it."""
    from heldout.answers import asked, find_answer
    from heldout.capacity_result import CapacityResult

    known = find_answer("reduce", source, settings, asked(settings.recipe, **options), out=out)
    return None if known is None else CapacityResult(*known)


def _find(
    source: str,
    settings: "Config | TextConfig",
    options: Mapping[str, Any],
    out: Path | None,
    workers: int | None,
) -> "CapacityResult":
    import loky

    from heldout.progress import Display
    from heldout.reduce import reduce_capacity
    from heldout.report.run_report import write_report
    from heldout.studies.engine import LocalEngine

    command = shlex.join(["heldout", *sys.argv[1:]])
    with Display(workers or loky.cpu_count()) as display:
        result = reduce_capacity(
            source,
            settings,
            out=out,
            engine=LocalEngine(workers),
            listener=display,
            command=command,
            **options,
        )
    write_report(result.path)
    return result


def _show(result: "CapacityResult", *, as_json: bool) -> None:
    """Print tables and sentences, or one JSON object."""
    if as_json:
        typer.echo(json.dumps(result.to_dict()))
        return
    for caption, header, rows in result.tables():
        strong = [place for place, row in enumerate(rows) if "chosen" in row[-1] or row[0] == "choice"]
        _print_grid(caption, header, rows, strong)
    say(result.sentence, err=False)
    found = result.found
    for text in found["left_out"]:
        say(f"left out to keep within the budget: {text}", err=False)
    typer.echo(f"{found['fits']} fits; run directory {result.path}")
    typer.echo(f"next: heldout fit ... --config {result.path / 'chosen.toml'}")
    page = result.path / "report.html"
    if page.exists():
        typer.echo(f"report {page}")


def _print_grid(
    title: str, header: Sequence[str], lines: Sequence[Sequence[str]], strong: Sequence[int]
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    grid = Table(title=escape(title), title_justify="left", title_style="", box=SIMPLE_HEAD)
    for place, name in enumerate(header):
        grid.add_column(name, justify="right" if place > 0 and name else "left", no_wrap=True)
    for place, line in enumerate(lines):
        grid.add_row(*(escape(visible(cell)) for cell in line), style="bold" if place in strong else "")
    console = Console(highlight=False)
    shown, console.width = console.width, 3 * LEAST_WIDTH
    console.width = max(shown, console.measure(grid).maximum)
    console.print(grid)
