"""Losses: what is minimised in training and what early stopping looks at, per sample."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, huber_loss

from heldout.base_recipe import BaseRecipe
from heldout.recipe import Recipe


def sample_losses(forecast: Tensor, y: Tensor, recipe: BaseRecipe, *, smoothing: float = 0.0) -> Tensor:
    """Loss of each sample, the mean over its steps and targets.

    Parameters
    ----------
    forecast : Tensor of shape (B, S, K, Q)
        What the network says, in the units of ``y``. For classes the Q numbers are logits.
    y : Tensor of shape (B, S, K) float, or (B,) int64
        The truth.
    recipe : BaseRecipe
        ``loss``, ``huber_delta``, ``quantiles``.
    smoothing : float, default 0
        Label smoothing; only the loss that is minimised has it, a reported one never.

    Returns
    -------
    Tensor of shape (B,)
        Squared, absolute, Huber or pinball error (Koenker & Bassett 1978), or cross-entropy in nats.

    Examples
    --------
    >>> sample_losses(torch.zeros(1, 2, 1, 1), torch.tensor([[[1.0], [3.0]]]), Recipe())
    tensor([5.])
    """
    if recipe.loss == "cross_entropy":
        return cross_entropy(forecast[:, 0, 0], y, reduction="none", label_smoothing=smoothing)
    assert isinstance(recipe, Recipe)
    error = y[..., None] - forecast  # (B, S, K, Q)
    if recipe.loss == "squared":
        loss = error.square()
    elif recipe.loss == "absolute":
        loss = error.abs()
    elif recipe.loss == "huber":
        loss = huber_loss(
            forecast, y[..., None].expand_as(forecast), reduction="none", delta=recipe.huber_delta
        )
    else:
        level = torch.tensor(recipe.quantiles, dtype=error.dtype, device=error.device)
        loss = torch.maximum(level * error, (level - 1) * error)
    return loss.flatten(1).mean(1)


def n_outputs(recipe: Recipe, n_classes: int = 1) -> int:
    """Numbers that the network gives per target and step: quantiles, classes, or one."""
    return {"quantile": len(recipe.quantiles), "cross_entropy": n_classes}.get(recipe.loss, 1)
