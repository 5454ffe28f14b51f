"""Optimisers of a network: one for its dense weights, one for word vectors, of which a batch touches few."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from heldout.base_recipe import BaseRecipe
from heldout.nn.penalties import weight_groups
from heldout.text_recipe import TextRecipe


def make_optimizers(network: nn.Module, recipe: BaseRecipe) -> list[torch.optim.Optimizer]:
    """Give the optimiser that a recipe asks for, and one for sparse word vectors where there are any.

    Word vectors get Adam's steps in the rows that a batch touches, and none elsewhere (``torch.optim.SparseAdam``), with
    their own learning rate; of "sgd" they get plain steps.

    Parameters
    ----------
    network : nn.Module
        What is trained.
    recipe : BaseRecipe
        Which, and how fast.

    Returns
    -------
    list of Optimizer
        A group's ``lr_factor`` is what the schedule's learning rate is multiplied by, and its ``lr`` that of the start.
    """
    weights = weight_groups(network)
    sparse = {id(p) for p in sparse_parameters(network)}
    groups: list[dict[str, Any]] = [
        {
            "params": [p for p in weights.penalised.values() if p.requires_grad],
            "weight_decay": recipe.weight_decay,
        },
        {
            "params": [p for p in weights.spared.values() if p.requires_grad and id(p) not in sparse],
            "weight_decay": 0.0,
        },
    ]
    made: list[torch.optim.Optimizer] = []
    if recipe.optimizer == "sgd":
        made.append(torch.optim.SGD(groups, lr=recipe.lr))
    else:
        kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
        made.append(kind(groups, lr=recipe.lr, fused=True))
    rows = [p for p in weights.spared.values() if p.requires_grad and id(p) in sparse]
    if rows:
        own = recipe.embedding_lr if isinstance(recipe, TextRecipe) else None
        factor = 1.0 if own is None else own / recipe.lr
        group = {"params": rows, "lr": recipe.lr * factor, "lr_factor": factor}
        of_rows = torch.optim.SGD if recipe.optimizer == "sgd" else torch.optim.SparseAdam
        made.append(of_rows([group], lr=recipe.lr))
    return made


def sparse_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Give those whose gradients hold some rows each.

    Parameters
    ----------
    network : nn.Module
        With embeddings.
    """
    return [
        parameter
        for module in network.modules()
        if isinstance(module, nn.Embedding) and module.sparse
        for parameter in module.parameters()
        if parameter.requires_grad
    ]


def clip_gradients(parameters: Iterable[nn.Parameter], most: float) -> Tensor:
    """Scale all gradients, sparse ones too, so that their norm together is at most ``most``.

    Parameters
    ----------
    parameters : iterable of nn.Parameter
        Those without a gradient are left out.
    most : float
        Infinity only measures.

    Returns
    -------
    Tensor of shape ()
        The norm before.

    Examples
    --------
    >>> weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> weight.square().sum().backward()
    >>> clip_gradients([weight], 1.0), weight.grad
    (tensor(10.), tensor([0.6000, 0.8000]))
    """
    values = []
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            values.append(parameter.grad.values())
        else:
            values.append(parameter.grad)
    norm = torch.nn.utils.get_total_norm(values)
    if math.isfinite(most):
        factor = (most / (norm + 1e-6)).clamp(max=1.0)
        for value in values:
            value.mul_(factor)
    return norm


def optimizer_tensors(optimizer: torch.optim.Optimizer, start: str) -> dict[str, Tensor]:
    """Give all that changes in an optimiser as tensors whose names begin with ``start``."""
    return {
        f"{start}{number}.{name}": torch.as_tensor(value)
        for number, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], start: str) -> None:
    """Put back what `optimizer_tensors` gave."""
    state = optimizer.state_dict()
    for name, value in tensors.items():
        if name.startswith(start):
            number, _, key = name.removeprefix(start).partition(".")
            counted = (
                isinstance(optimizer, torch.optim.SparseAdam) and key == "step"
            )  # a number there, no tensor
            state["state"].setdefault(int(number), {})[key] = int(value) if counted else value
    optimizer.load_state_dict(state)
