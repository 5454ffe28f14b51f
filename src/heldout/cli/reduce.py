"""The command that makes a network smaller: reduce."""

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
def reduce(
    source: str,
    settings: "Config | TextConfig",
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
    budget: Budget = None,
    out: Out = None,
    fits: Fits = HERE,
    as_json: Json = False,
) -> None:
    """Make the network smaller as long as that costs nothing: sizes compared on folds, the choice judged on later ones.

    Everything but the size and the learning rate stays as in `heldout fit`. The sealed test is not touched.

    Stop it with Ctrl-C at any time; the same command goes on where it was.
    """
    from heldout.capacity_result import CapacityResult

    options = {"plan": plan, "rule": rule, "budget": budget}
    result = known("reduce", CapacityResult, source, settings, options, out)
    if result is None:
        from heldout.reduce import reduce_capacity

        find = partial(reduce_capacity, source, settings, out=out)
        result = run_search(find, fits=fits, **options)
    show_search(result, as_json=as_json, strong=lambda row: "chosen" in row[-1] or row[0] == "choice")
