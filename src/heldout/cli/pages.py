"""Commands over finished runs: a page of one, several side by side."""

import json
from pathlib import Path
from typing import Annotated

import typer

from heldout.cli.command import say
from heldout.cli.options import LEAST_WIDTH, Json, RunFolder


def report(
    run: RunFolder,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The file; report.html in the run directory if not given."),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write the report of a run: one HTML file with everything in it."""
    from heldout.report.run_report import write_report

    path = write_report(run, output)
    typer.echo(str(path))
    if open_:
        typer.launch(path.resolve().as_uri())


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Two run directories or more; the first is what the others are held against."),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write it as an HTML file, too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Put runs side by side: scores, what differs in them, and the paired difference on the sealed rows that they share."""
    from heldout.report.compare import compare as put_side_by_side
    from heldout.report.compare_page import differences_table, scores_table, write_comparison
    from heldout.report.terminal import print_table

    found = put_side_by_side(*runs)
    if output is not None:
        typer.echo(str(write_comparison(found, output)), err=True)
    if as_json:
        typer.echo(json.dumps(found.to_dict()))
        return
    for table in (scores_table(found, "skill"), scores_table(found, "loss"), differences_table(found)):
        print_table(table, least_width=LEAST_WIDTH)
    for pair in found.pairs:
        say(pair.sentence, err=False)
