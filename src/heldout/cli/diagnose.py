"""The command `heldout diagnose`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from heldout.cli.command import say
from heldout.cli.options import LEAST_WIDTH, Json


def diagnose(
    log: Annotated[
        Path,
        typer.Argument(
            help="A log of Keras, Lightning, skorch, Darts or TensorBoard, a run directory, or a table with columns of epochs, training and validation values.",
            show_default=False,
        ),
    ],
    epoch: Annotated[str | None, typer.Option("--epoch", help="Column that counts epochs.")] = None,
    train: Annotated[str | None, typer.Option("--train", help="Column of training values.")] = None,
    valid: Annotated[str | None, typer.Option("--valid", help="Column of validation values.")] = None,
    direction: Annotated[
        str | None, typer.Option("--direction", help="Which values are better: lower or higher.")
    ] = None,
    as_json: Json = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write it as an HTML file, too.")] = None,
) -> None:
    """Say what the training curves of any framework show, what they cannot show, and what to do next."""
    from heldout.diagnosis import RULES
    from heldout.diagnosis import diagnose as read

    found = read(log, epoch=epoch, train=train, valid=valid, direction=direction)
    if out is not None:
        from heldout.report.diagnosis import write_diagnosis

        typer.echo(str(write_diagnosis(found, out)), err=True)
    if as_json:
        typer.echo(json.dumps(found.to_dict()))
        return
    for note in found.history.notes:
        say(note)
    say(f"{found}\n", err=False)
    for table in found.tables():
        from heldout.report.diagnosis import rules_table
        from heldout.report.terminal import print_table

        print_table(rules_table(*table), least_width=LEAST_WIDTH)
        say(RULES, err=False)
