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
    return _uniform(shape, like, generator).lt_(rate).to(like.device, like.dtype)


def keep(rate: float, shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw a tensor that is 0 with probability ``rate`` and 1 / (1 - rate) otherwise, so that its mean is 1.

    Parameters
    ----------
    rate : float in [0, 1)
        The probability of dropping.
    shape, like, generator
        As in `draw`.

    Returns
    -------
    Tensor of the given shape

    Examples
    --------
    >>> keep(0.5, (4,), torch.zeros(1), torch.Generator().manual_seed(0))
    tensor([0., 2., 0., 0.])
    """
    return _uniform(shape, like, generator).ge_(rate).to(like.device, like.dtype).div_(1 - rate)


def drop(x: Tensor, rate: float, shape: Sequence[int], generator: torch.Generator | None) -> Tensor:
    """Multiply by a mask from `keep`, so that the mean is kept.

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
    return x * keep(rate, shape, x, generator) if rate else x


def _uniform(shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    if generator is None:  # not passed on: torch.compile takes no generator, None neither, where shapes vary
        return torch.rand(shape, device=like.device, dtype=torch.float32)
    return torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float32)
