"""Random masks: what the dropouts of the layer are made of."""

from collections.abc import Sequence

import torch
from torch import Tensor


class PartGenerator(torch.Generator):
    """Draws masks for a whole batch and gives those of the samples that this process has of it.

    So a batch that is divided among processes is dropped from as it is in one.

    Attributes
    ----------
    part : tuple of int
        ``(start, stop, of)``: the samples of this process, and how many there are in the batch.

    Examples
    --------
    >>> whole = keep(0.5, (4, 2), torch.zeros(1), torch.Generator().manual_seed(0))
    >>> generator = PartGenerator()
    >>> generator.part = 1, 3, 4
    >>> bool((keep(0.5, (2, 2), torch.zeros(1), generator.manual_seed(0)) == whole[1:3]).all())
    True
    """

    part: tuple[int, int, int] = (0, 1, 1)


def draw(
    rate: float,
    shape: Sequence[int],
    like: Tensor,
    generator: torch.Generator | None,
    *,
    batch: int | None = 0,
) -> Tensor:
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
    batch : int or None, default 0
        The dimension of ``shape`` that runs over the samples; None where they share the draw.

    Returns
    -------
    Tensor of the given shape

    Examples
    --------
    >>> draw(0.25, (1000,), torch.zeros(1), torch.Generator().manual_seed(0)).mean()
    tensor(0.2510)
    """
    return _uniform(shape, like, generator, batch).lt_(rate).to(like.device, like.dtype)


def keep(
    rate: float,
    shape: Sequence[int],
    like: Tensor,
    generator: torch.Generator | None,
    *,
    batch: int | None = 0,
) -> Tensor:
    """Draw a tensor that is 0 with probability ``rate`` and 1 / (1 - rate) otherwise, so that its mean is 1.

    Parameters
    ----------
    rate : float in [0, 1)
        The probability of dropping.
    shape, like, generator, batch
        As in `draw`.

    Returns
    -------
    Tensor of the given shape

    Examples
    --------
    >>> keep(0.5, (4,), torch.zeros(1), torch.Generator().manual_seed(0))
    tensor([0., 2., 0., 0.])
    """
    return _uniform(shape, like, generator, batch).ge_(rate).to(like.device, like.dtype).div_(1 - rate)


def drop(
    x: Tensor,
    rate: float,
    shape: Sequence[int],
    generator: torch.Generator | None,
    *,
    batch: int | None = 0,
) -> Tensor:
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
    batch : int or None, default 0
        As in `draw`.

    Returns
    -------
    Tensor of the shape of ``x``

    Examples
    --------
    >>> drop(torch.ones(2, 4), 0.5, (4,), torch.Generator().manual_seed(0))
    tensor([[0., 2., 0., 0.],
            [0., 2., 0., 0.]])
    """
    return x * keep(rate, shape, x, generator, batch=batch) if rate else x


def _uniform(
    shape: Sequence[int], like: Tensor, generator: torch.Generator | None, batch: int | None
) -> Tensor:
    if generator is None:  # not passed on: torch.compile takes no generator, None neither, where shapes vary
        return torch.rand(shape, device=like.device, dtype=torch.float32)
    if batch is not None and isinstance(generator, PartGenerator):
        start, stop, of = generator.part
        times = shape[batch] // (stop - start)  # a sample may have a row for each of its columns
        whole = [*shape[:batch], of * times, *shape[batch + 1 :]]
        drawn = torch.rand(whole, generator=generator, device=generator.device, dtype=torch.float32)
        return drawn.narrow(batch, start * times, shape[batch]).contiguous()
    return torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float32)
