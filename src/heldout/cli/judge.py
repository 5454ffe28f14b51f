"""The command that says whether a recipe overfits: judge."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli.command import GATE_FAILED
from heldout.cli.fits import HERE, Fits, where_fits_run
from heldout.cli.options import Budget, Json, Out
from heldout.cli.search import known, run_search, show_search
from heldout.cli.table import over_table

if TYPE_CHECKING:
    from heldout.config import Config, TextConfig


@over_table
@where_fits_run
def judge(
    source: str,
    settings: "Config | TextConfig",
    delta: Annotated[
        float,
        typer.Option("--delta", help="The smallest harm that matters, as a share of the loss."),
    ] = 0.01,
    selected_from: Annotated[
        Path | None,
        typer.Option(
            "--selected-from",
            help="Run directory of the `heldout tune` that chose the recipe: is the choice supported?",
        ),
    ] = None,
    budget: Budget = None,
    out: Out = None,
    fits: Fits = HERE,
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
    from heldout.verdict_result import Verdict

    options = {"delta": delta, "budget": budget, "selected_from": selected_from and str(selected_from)}
    result = known("judge", Verdict, source, settings, options, out)
    if result is None:
        from heldout.judging import judge as search

        result = run_search(partial(search, source, settings, out=out), fits=fits, **options)
    show_search(result, as_json=as_json, strong=lambda row: row[0] == "as given")
    if fail_if_overfit and result.verdict in ("OVERFIT", "LEAK-SUSPECT"):
        raise typer.Exit(GATE_FAILED)
