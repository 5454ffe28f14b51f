"""`pool`: the states over time become one vector."""

import torch
from torch import Tensor, nn


def pool(
    states: Tensor,
    lengths: Tensor | None,
    way: str,
    *,
    attention: nn.Linear | None = None,
    halves: bool = False,
) -> Tensor:
    """Give one vector per sample; steps past its length do not count.

    Parameters
    ----------
    states : Tensor of shape (B, T, D)
        Outputs of an LSTM.
    lengths : Tensor of shape (B,), int64, or None
        Steps that hold data; None for all.
    way : {"last", "mean", "max", "attention"}
        How.
    attention : nn.Linear, optional
        From D to 1: the scores whose softmax weighs the steps.
    halves : bool, default False
        Whether the second half of D read from the end, and so has read everything at its first step.

    Returns
    -------
    Tensor of shape (B, D)

    Examples
    --------
    >>> states = torch.tensor([[[1.0], [3.0], [9.0]]])
    >>> pool(states, torch.tensor([2]), "mean"), pool(states, None, "last")
    (tensor([[2.]]), tensor([[9.]]))
    """
    n, steps, width = states.shape
    if lengths is None:
        if way == "last" and not halves:
            return states[:, -1]
        lengths = torch.full((n,), steps, device=states.device)
    if way == "last":
        at = (lengths - 1).clamp_min(0)[:, None, None].expand(-1, 1, width)
        last = states.gather(1, at)[:, 0]
        return torch.cat([last[:, : width // 2], states[:, 0, width // 2 :]], dim=1) if halves else last
    valid = (torch.arange(steps, device=states.device) < lengths[:, None]).to(states.dtype)
    if way == "mean":
        return torch.bmm(valid[:, None], states)[:, 0] / lengths.clamp_min(1)[:, None]
    if way == "max":  # far below any output; adding, unlike filling, copies nothing on the way back
        return (states + 1e4 * (valid - 1)[:, :, None]).max(1).values * (lengths > 0)[:, None]
    assert attention is not None
    scores = attention(states).masked_fill(valid[:, :, None] == 0, torch.finfo(states.dtype).min)
    return (scores.softmax(1) * states).sum(1)
