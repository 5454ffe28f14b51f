"""The command that looks for leaks: audit."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli.command import GATE_FAILED, say
from heldout.cli.options import LEAST_WIDTH, Json
from heldout.cli.table import over_table

if TYPE_CHECKING:
    from heldout.audit_result import AuditResult
    from heldout.config import Config, TextConfig


@over_table
def audit(
    source: str,
    settings: "Config | TextConfig",
    second: Annotated[
        str | None,
        typer.Argument(help="A test table made elsewhere, held against the first.", show_default=False),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only what takes a second, as before every fit.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write what was found as an HTML file, too.")
    ] = None,
    fail_if_leak: Annotated[
        bool, typer.Option("--fail-if-leak", help="Exit with 3 if a check for leaks fails.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Look for leaks and faults: in a table, in its split, in what is learned from it, or between two tables.

    No model is scored on the sealed test.
    """
    from heldout.auditing import audit as look
    from heldout.auditing import audit_files
    from heldout.check import InputError

    if out is not None:
        from heldout.report.page import check_page

        check_page(out)
    if second is None:
        result = look(source, settings, quick=quick)
    elif quick or settings.data.test not in (None, "auto"):
        raise InputError("two tables are held against each other in full: leave --quick and --test out")
    else:
        result = audit_files(source, second, settings)
    if out is not None:
        from heldout.report.audit import write_audit

        typer.echo(f"report {write_audit(result, out)}", err=True)
    _show(result, as_json=as_json)
    if fail_if_leak and not result.ok:
        raise typer.Exit(GATE_FAILED)


def _show(result: "AuditResult", *, as_json: bool) -> None:
    """Print the table of the checks, the rows of what failed and the sentence, or one JSON object."""
    if as_json:
        typer.echo(json.dumps(result.to_dict()))
        return
    from heldout.report.blocks import Table
    from heldout.report.terminal import print_table

    for caption, header, rows in result.tables():
        strong = tuple(place for place, row in enumerate(rows) if row[0] in ("LEAK", "fault"))
        print_table(
            Table(caption=caption, header=header, rows=rows, words=(1, 2), strong=strong),
            least_width=LEAST_WIDTH,
        )
    for finding in result.findings:
        if finding.failed and finding.rows:
            more = finding.n_rows - len(finding.rows[:5])
            shown = "; ".join(finding.rows[:5]) + (f"; and {more:,} more" if more > 0 else "")
            say(f"{finding.check}: {shown}", err=False)
    say(result.sentence, err=False)
