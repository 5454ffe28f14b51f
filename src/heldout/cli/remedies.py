"""The command that says what helps against overfitting: remedies."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli.fits import HERE, Fits, where_fits_run
from heldout.cli.options import Budget, Json, Out
from heldout.cli.search import known, run_search, show_search
from heldout.cli.table import over_table

if TYPE_CHECKING:
    from heldout.config import Config, TextConfig


@over_table
@where_fits_run
def remedies(
    source: str,
    settings: "Config | TextConfig",
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Try this remedy; give it again for several (default: all that apply)."),
    ] = None,
    control: Annotated[
        str,
        typer.Option(
            "--control",
            help="What remedies are held against: bare, with nothing against overfitting, or recipe, as it is.",
        ),
    ] = "bare",
    delta: Annotated[
        float, typer.Option("--delta", help="The smallest gain that matters, as a share of the loss.")
    ] = 0.01,
    budget: Budget = None,
    out: Out = None,
    fits: Fits = HERE,
    as_json: Json = False,
) -> None:
    """Say which remedies against overfitting help here, alone and together, by how much, and how sure that is.

    Each is held against a control on the same folds, tuned alike; the best is measured once more on later folds that
    chose nothing. The sealed test is not touched.

    Stop it with Ctrl-C at any time; the same command goes on where it was.
    """
    from heldout.remedies_result import RemediesResult

    options = {"remedies": only or None, "control": control, "delta": delta, "budget": budget}
    result = known("remedies", RemediesResult, source, settings, options, out)
    if result is None:
        from heldout.ranking import rank_remedies

        result = run_search(partial(rank_remedies, source, settings, out=out), fits=fits, **options)
    strong = {result.found["choice"]["name"], *result.found["choice"]["name"].split(" + ")}
    others = tuple(f"not tried: {one['name']}: {one['why']}" for one in result.found["others"])
    show_search(result, as_json=as_json, strong=lambda row: bool(strong & set(row[:2])), more=others)
