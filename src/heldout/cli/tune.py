"""The command that looks for better options: tune."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli.fits import HERE, Fits, where_fits_run
from heldout.cli.options import Budget, Json, Out
from heldout.cli.search import run_search, show_search
from heldout.cli.table import over_table

if TYPE_CHECKING:
    from heldout.config import Config, TextConfig


@over_table
@where_fits_run
def tune(
    source: str,
    settings: "Config | TextConfig",
    space: Annotated[
        Path | None,
        typer.Option(
            "--space",
            help="TOML file whose part 'space' says what is tuned (default: the dial, rates, sizes).",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials", help="Recipes to try, yours among them (default: 27, or what the budget allows)."
        ),
    ] = None,
    budget: Budget = None,
    out: Out = None,
    fits: Fits = HERE,
    as_json: Json = False,
) -> None:
    """Look for better options of the recipe: trials compared on folds, the best one judged on later ones.

    The sealed test is not touched. The run directory gets chosen.toml for heldout fit --config, and optuna.sqlite.

    Stop it with Ctrl-C at any time; the same command goes on where it was.
    """
    from heldout.tuning import tune as search

    find = partial(search, source, settings, space=space, n_trials=trials, budget=budget, out=out)
    result = run_search(find, fits=fits)
    show_search(result, as_json=as_json, strong=lambda row: row[0].startswith("choice"))
