"""What a network says of samples, and its loss on each, in evaluation mode."""

import torch
from torch import Tensor

from heldout.base_recipe import BaseRecipe
from heldout.data.runs import Runs
from heldout.data.windows import Batch, Source
from heldout.nn.networks import Network
from heldout.nn.text import TextNetwork
from heldout.training.lags import thin
from heldout.training.losses import sample_losses

AnyNetwork = Network | TextNetwork
_EVAL_BATCH = 1024


@torch.no_grad()
def evaluate(network: AnyNetwork, source: Source, rows: Tensor, recipe: BaseRecipe) -> Tensor:
    """Loss of each sample in evaluation mode, times its weight where there is one: no dropout, no penalty, no smoothing.

    Parameters
    ----------
    network, source, rows, recipe
        As in `train`.

    Returns
    -------
    Tensor of shape (n_samples,)
    """
    network.eval()
    losses = torch.empty(len(rows))
    for places in source.batches(rows, _EVAL_BATCH):
        batch = source.gather(rows[places])
        output = network(batch.x, future=batch.future, static=batch.static, lengths=batch.lengths)
        losses[places] = _weighted(sample_losses(scaled(output.forecast, batch), batch.y, recipe), batch)
    return losses


@torch.no_grad()
def forecast(
    network: AnyNetwork, source: Source, rows: Tensor, *, masks: torch.Generator | None = None
) -> Tensor:
    """What the network says, in evaluation mode, with the window's normalisation undone.

    Parameters
    ----------
    network, source, rows
        As in `train`; labels are not read.
    masks : torch.Generator, optional
        Keeps the random masks of the LSTM and the head on, as in training, and draws them.

    Returns
    -------
    Tensor of shape (n_samples, S, K, Q), float64
    """
    network.eval()
    network.training = network.lstm.training = masks is not None
    parts, order = [], []
    for places in source.batches(rows, _EVAL_BATCH):
        batch = source.gather(rows[places], labelled=False)
        output = network(
            batch.x, future=batch.future, static=batch.static, lengths=batch.lengths, generator=masks
        )
        out = scaled(output.forecast, batch).double()
        parts.append(out + batch.offset[..., None] if batch.offset is not None else out)
        order.append(places)
    network.eval()
    return torch.cat(parts)[torch.cat(order).argsort()]


def scaled(out: Tensor, batch: Batch) -> Tensor:
    """Give the output of a network in the units of its labels: times the scale of its windows, where they have one."""
    return out * batch.scale[..., None] if batch.scale is not None else out


def _weighted(losses: Tensor, batch: Batch) -> Tensor:
    return losses if batch.weight is None else losses * batch.weight


def spread(rows: Tensor | Runs, most: int) -> Tensor:
    """Give at most ``most`` of the rows, one from each of as many equal stretches."""
    if isinstance(rows, Tensor) and len(rows) <= most:
        return rows
    return rows[torch.from_numpy(thin(len(rows), most))]
