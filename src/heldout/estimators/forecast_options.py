"""The hyper-parameters of a forecaster: a recipe's, a table's and a few of its own, each declared once."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from heldout.config import DataOptions
from heldout.estimators.base import plain_number
from heldout.options import Description, Options, option
from heldout.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class ForecastOptions(Options):
    """What a forecaster decides beside its recipe and the columns: steps ahead, who says when to stop, networks, intervals."""

    horizon: int = option(1, "Steps ahead to forecast.", low=1)
    n_seeds: int = option(1, "Networks, from as many seeds, whose forecasts are averaged.", low=1, high=1000)
    validation_fraction: float = option(
        0.2,
        "Share of the time, its last part, that says when to stop and how wide intervals are; two horizons if that is more.",
        low=0,
        high=1,
        open_low=True,
        open_high=True,
    )
    level: float | None = option(
        0.9,
        "Share of truths that the interval should hold; None gives no interval.",
        low=0,
        high=1,
        open_low=True,
        open_high=True,
    )


READ_AGAIN = ("calendar", "missing", "duplicates", "max_gap")
_READING = ("time", "id", "static", "ignore", *READ_AGAIN, "last_step_only")  # fmt: skip


def forecaster_arguments() -> list[Description]:
    """Give the arguments of a forecaster, each from where it is declared."""
    own = {item.name: item for item in ForecastOptions.describe()}
    recipe = {item.name: item for item in Recipe.describe() if item.name != "label_smoothing"}
    return [
        own.pop("horizon"),
        recipe.pop("lookback"),
        *recipe.values(),
        *own.values(),
        *(item for item in DataOptions.describe() if item.name in _READING),
        Description(
            "random_state", "int, RandomState or None", None, "Decides starting weights, orders and masks."
        ),
    ]


def plain(params: dict[str, Any]) -> dict[str, Any]:
    """Give hyper-parameters as JSON has them; a ``random_state`` that is no number becomes None."""
    found = {}
    for name, value in params.items():
        value = plain_number(value)  # noqa: PLW2901 - checks know Python's numbers only
        if name in ("static", "ignore") and isinstance(value, str):
            value = (value,)  # noqa: PLW2901 - one column may be written without brackets
        found[name] = list(value) if isinstance(value, tuple | np.ndarray) else value
    if not isinstance(found["random_state"], int):
        found["random_state"] = None
    return found


def read_options(params: dict[str, Any]) -> tuple[Recipe, ForecastOptions, DataOptions]:
    """Check hyper-parameters and give them by where they belong.

    Parameters
    ----------
    params : dict
        From `plain`.

    Raises
    ------
    InputError
        If a value is not allowed.
    """

    def part(kind: type[Options]) -> Any:
        names = [item.name for item in fields(kind)]
        return kind.from_dict({name: params[name] for name in names if name in params})

    own = part(ForecastOptions)
    return part(Recipe), own, part(DataOptions)
