"""The command that says whether a recipe overfits: judge."""

import json
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli.command import GATE_FAILED, say
from heldout.cli.options import LEAST_WIDTH, Json, Out, Workers, display_of, engine_of
from heldout.cli.table import over_table

if TYPE_CHECKING:
    from heldout.config import Config, TextConfig
    from heldout.verdict_result import Verdict


@over_table
def judge(
    source: str,
    settings: "Config | TextConfig",
    delta: Annotated[
        float,
        typer.Option("--delta", help="The smallest harm that matters, as a share of the loss."),
    ] = 0.01,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget", help="Do what fits in it: 10min, 2h, '50 fits' or both (default: everything)."
        ),
    ] = None,
    out: Out = None,
    workers: Workers = None,
    fail_if_overfit: Annotated[
        bool, typer.Option("--fail-if-overfit", help="Exit with 3 if the verdict is OVERFIT or LEAK-SUSPECT.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say whether the recipe overfits: OVERFIT, NO HARMFUL OVERFIT, INCONCLUSIVE or LEAK-SUSPECT, with error bars.

    It is held against recipes that follow the training rows less, on folds that chose nothing. The sealed test is not
    touched.

    Stop it with Ctrl-C at any time; the same command goes on where it was.
    """
    from heldout.judging import judge as find
    from heldout.report.run_report import write_report

    with display_of(workers) as display:
        result = find(
            source,
            settings,
            delta=delta,
            budget=budget,
            out=out,
            engine=engine_of(workers),
            listener=display,
            command=shlex.join(["heldout", *sys.argv[1:]]),
        )
    _show(result, as_json=as_json)
    typer.echo(f"report {write_report(result.path)}", err=as_json)
    if fail_if_overfit and result.verdict in ("OVERFIT", "LEAK-SUSPECT"):
        raise typer.Exit(GATE_FAILED)


def _show(result: "Verdict", *, as_json: bool) -> None:
    """Print the verdict, its evidence and a sentence, or one JSON object."""
    if as_json:
        typer.echo(json.dumps(result.to_dict()))
        return
    from heldout.report.blocks import Table
    from heldout.report.terminal import print_table

    say(result.verdict, err=False)
    for caption, header, rows in result.tables():
        print_table(
            Table(caption=caption, header=header, rows=rows, words=(len(header) - 1,)),
            least_width=LEAST_WIDTH,
        )
    say(result.sentence, err=False)
    found = result.found
    for text in found["left_out"]:
        say(f"left out to keep within the budget: {text}", err=False)
    typer.echo(f"{found['fits']} fits; run directory {result.path}")
    chosen = result.path / "chosen.toml"
    if chosen.exists():
        typer.echo(f"next: heldout fit ... --config {chosen}")
