"""How a fit of series starts: the sizes that its data ask for, and a network with its first weights."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from heldout.data.runs import Runs
from heldout.data.series import SeriesData
from heldout.data.windows import Windows
from heldout.nn.networks import Network, Shape
from heldout.recipe import Recipe
from heldout.training.evaluation import spread
from heldout.training.losses import n_outputs
from heldout.training.ridge import MAX_ROWS
from heldout.training.shared import Shared
from heldout.training.shortcut import start_from_ridge


def start_network(
    data: SeriesData,
    windows: Windows,
    rows: tuple[Tensor | Runs, Tensor | Runs],
    recipe: Recipe,
    *,
    seed: int,
    shared: Shared | None = None,
) -> Network:
    """Give a network with its starting weights, a ridge shortcut solved.

    Parameters
    ----------
    data : SeriesData
        What columns there are; of series that do not fit into memory, some of them.
    windows : Windows
        The prepared series.
    rows : pair of Tensor or Runs
        Origins that train, and that say when to stop.
    recipe : Recipe
        Settled.
    seed : int
        Draws the weights.
    shared : Shared, optional
        May hold the ridge solution.
    """
    assert recipe.lookback is not None
    shape = Shape(
        lookback=recipe.lookback,
        n_inputs=windows.inputs.shape[1],
        n_targets=len(data.targets),
        n_steps=len(data.steps),
        n_outputs=n_outputs(recipe),
        n_future=len(data.future),
        n_static=len(data.static_names),
    )
    network = empty_network(shape, recipe, seed)
    if network.shortcut is not None and recipe.shortcut == "ridge":
        train, valid = (part if isinstance(part, Tensor) else spread(part, MAX_ROWS) for part in rows)
        start_from_ridge(network, windows, train, valid, recipe, shared=shared)
    return network


def empty_network(shape: Shape, recipe: Recipe, seed: int) -> Network:
    """Give a network whose weights a seed draws; a ridge shortcut is to be solved, not trained."""
    with torch.random.fork_rng(devices=[]):  # building a module draws from torch's own generator first
        network = Network(shape, recipe, generator=torch.Generator().manual_seed(seed))
    if network.shortcut is not None and recipe.shortcut == "ridge":
        network.shortcut.requires_grad_(False)
    return network


def task_of(data: SeriesData) -> dict[str, Any]:
    """Give what data a model of this takes and what it says, for JSON."""
    return {
        "targets": list(data.targets),
        "past": list(data.past),
        "future": list(data.future),
        "static": list(data.static_names),
        "horizon": data.horizon,
        "last_step_only": data.last_step_only,
        "frequency": asdict(data.frequency),
    }
