"""Random masks: what the dropouts of the layer are made of."""

from collections.abc import Sequence

import torch
from torch import Tensor


def draw(rate: float, shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw a tensor that is 1 with probability ``rate`` and 0 otherwise.

    Parameters
    ----------
    rate : float in [0, 1)
        The probability.
    shape : sequence of int
        The shape of the result.
    like : Tensor
        Gives the type and the device of the result; the draw itself depends on neither if ``generator`` is given.
    generator : torch.Generator or None
        The source of randomness, on any device; torch's default one for None.

    Returns
    -------
    Tensor of the given shape

    Examples
    --------
    >>> draw(0.25, (1000,), torch.zeros(1), torch.Generator().manual_seed(0)).mean()
    tensor(0.2510)
    """
    device = like.device if generator is None else generator.device
    hit = torch.rand(shape, generator=generator, device=device, dtype=torch.float32) < rate
    return hit.to(like.device, like.dtype)


def drop(x: Tensor, rate: float, shape: Sequence[int], generator: torch.Generator | None) -> Tensor:
    """Multiply by a mask that is 0 with probability ``rate`` and 1 / (1 - rate) otherwise, so that the mean is kept.

    Parameters
    ----------
    x : Tensor
        What to drop from; returned as it is if ``rate`` is 0.
    rate : float in [0, 1)
        The probability of dropping.
    shape : sequence of int
        The shape of the mask, broadcast to ``x``: dimensions left out share one draw.
    generator : torch.Generator or None
        The source of randomness; torch's default one for None.

    Returns
    -------
    Tensor of the shape of ``x``

    Examples
    --------
    >>> drop(torch.ones(2, 4), 0.5, (4,), torch.Generator().manual_seed(0))
    tensor([[0., 2., 0., 0.],
            [0., 2., 0., 0.]])
    """
    return x * ((1 - draw(rate, shape, x, generator)) / (1 - rate)) if rate else x
