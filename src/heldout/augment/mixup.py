"""Mixup: samples of a batch blended with one another, sequences of any kind: series, or embedded texts."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor

from heldout.check import InputError

# Samples that each sample is compared with at most for a partner, so that memory grows with the batch, not its square.
_MOST_PARTNERS = 256


class Mix(NamedTuple):
    """Which samples of a batch are mixed, and how.

    Attributes
    ----------
    partner : Tensor of shape (B,), int64
        The place in the batch of the sample that is mixed into each; its own where it stays as it is.
    share : Tensor of shape (B,)
        How much of the mixture is the sample itself, in [0.5, 1].
    """

    partner: Tensor
    share: Tensor

    def blend(self, values: Tensor) -> Tensor:
        """The same mixture of other numbers of the samples: covariates known ahead, static ones, weights.

        Parameters
        ----------
        values : Tensor of shape (B, ...), float
            A row of them per sample.

        Examples
        --------
        >>> Mix(torch.tensor([1, 0]), torch.tensor([0.75, 1.0])).blend(torch.tensor([0.0, 4.0]))
        tensor([1., 4.])
        """
        share = self.share.view(-1, *[1] * (values.ndim - 1)).to(values.dtype)
        return share * values + (1 - share) * values[self.partner]


class Augmented(NamedTuple):
    """A batch to train on.

    Attributes
    ----------
    x : Tensor of shape (B, T, F)
        Inputs.
    y : Tensor of shape (B, S, K) float, or (B,) int64
        Numbers are mixed already where there is a ``mix``; class numbers are as they were, and `losses` mixes.
    mix : Mix or None
        What was mixed; also `Mix.blend` what else belongs to the samples.
    """

    x: Tensor
    y: Tensor
    mix: Mix | None = None

    def part(self, samples: slice) -> "Augmented":
        """Give some of the samples; where class numbers are mixed there is no part.

        Raises
        ------
        InputError
            If there is a mixture of class numbers.
        """
        if self.mix is not None and not self.y.is_floating_point():
            raise InputError("mixup of classes needs one worker: set mixup=0, or train it alone")
        return Augmented(self.x[samples], self.y[samples])

    def losses(self, loss_of: Callable[[Tensor], Tensor], weight: Tensor | None = None) -> Tensor:
        """The loss of each sample.

        Of mixed classes it is ``share * loss(y) + (1 - share) * loss(y[partner])``: cross-entropy with the mixed
        probabilities.

        Parameters
        ----------
        loss_of : callable
            From ``y`` to the loss of each sample, (B,).
        weight : Tensor of shape (B,), optional
            How much each sample counts, before mixing.

        Returns
        -------
        Tensor of shape (B,)

        Examples
        --------
        >>> mixed = Augmented(torch.zeros(2, 5, 1), torch.tensor([0, 3]), Mix(torch.tensor([1, 1]), torch.tensor([0.5, 1.0])))
        >>> mixed.losses(lambda y: y.float())
        tensor([1.5000, 3.0000])
        """
        own = loss_of(self.y)
        if self.mix is None:
            return own if weight is None else own * weight
        if self.y.is_floating_point():
            return own if weight is None else own * self.mix.blend(weight)
        partner, share = self.mix
        other = loss_of(self.y[partner])
        if weight is not None:
            own, other = own * weight, other * weight[partner]
        return share * own + (1 - share) * other


def mixup(
    x: Tensor,
    y: Tensor,
    alpha: float,
    *,
    generator: torch.Generator,
    lengths: Tensor | None = None,
    scale: Tensor | None = None,
    bandwidth: float = 0.5,
) -> Augmented:
    """The batch with each sample mixed with another.

    Classes are mixed with any sample. Numbers are mixed with a sample of similar ``y``, drawn with probability
    proportional to ``exp(-d^2 / (2 bandwidth^2))``, d being the root mean square difference of the two ``y`` in
    standard deviations of the batch; a sample that nobody is near stays as it is. ``y`` is mixed as it is given, relative
    to each window's offset where it has one: the mixture is then relative to the mixture of the offsets.

    Parameters
    ----------
    x : Tensor of shape (B, T, F)
        Scaled inputs, or embedded words.
    y : Tensor of shape (B, S, K) float, or (B,) int64
        Numbers, or classes.
    alpha : float
        The share is drawn from Beta(alpha, alpha), for each sample; .2 is usual for classes, 2 for numbers.
    generator : torch.Generator
        Where the chance comes from.
    lengths : Tensor of shape (B,), int64, optional
        Steps that hold data. A mixture is as long as the sample itself, and is the sample alone where its partner has ended.
    scale : Tensor of shape (B, 1, K), optional
        Width of each window where windows are standardised and ``y`` is not: ``y / scale`` is then compared and mixed.
    bandwidth : float, default 0.5
        Of the kernel, for numbers; large values mix any with any.

    Returns
    -------
    Augmented

    References
    ----------
    Zhang et al. 2017, arXiv 1710.09412; Yao et al. 2022 (C-Mixup), arXiv 2210.05775. Unlike there, the larger share is
    the sample's own, which gives the same mixtures, and partners are sought in the batch, among 256 of it at most.

    Examples
    --------
    >>> y = torch.tensor([0.0, 1.0, 9.0, 10.0]).view(4, 1, 1)
    >>> mixed = mixup(y.expand(4, 5, 1), y, 2.0, generator=torch.Generator().manual_seed(0), bandwidth=0.3)
    >>> bool((mixed.x[:, :1] == mixed.y).all()), bool(((mixed.y < 5) == (y < 5)).all())
    (True, True)
    """
    drawn = torch.rand(len(x), generator=generator, device=generator.device, dtype=torch.float64).cpu()
    share = torch.from_numpy(np.asarray(betaincinv(alpha, alpha, drawn.numpy()))).to(x)
    share = share.maximum(1 - share)
    if not y.is_floating_point():
        partner = torch.randperm(len(x), generator=generator, device=generator.device).to(x.device)
        mix = Mix(partner, share)
    else:
        units = y if scale is None else y / scale
        mix = Mix(_similar(units.flatten(1), bandwidth, generator), share)
        y = mix.blend(units) if scale is None else mix.blend(units) * scale
    mixed = mix.blend(x)
    if lengths is not None:
        both = torch.arange(x.shape[1], device=x.device) < lengths.minimum(lengths[mix.partner])[:, None]
        mixed = torch.where(both[:, :, None], mixed, x)
    return Augmented(mixed, y, mix)


def _similar(y: Tensor, bandwidth: float, generator: torch.Generator) -> Tensor:
    """Draw for each row of ``y`` (B, D) itself or another one, by closeness."""
    device, own = generator.device, torch.arange(len(y), device=y.device)[:, None]
    others = torch.randperm(len(y), generator=generator, device=device)[:_MOST_PARTNERS].to(y.device)
    spread = y.var(0, correction=0).sum().clamp_min(torch.finfo(y.dtype).tiny)
    logits = torch.cdist(y, y[others]).square() / (-2 * bandwidth**2 * spread)
    logits = torch.cat([torch.zeros_like(logits[:, :1]), logits.masked_fill(others == own, -torch.inf)], 1)
    drawn = torch.multinomial(logits.softmax(1).to(device), 1, generator=generator).to(y.device)
    return torch.cat([own, others.expand(len(y), -1)], 1).gather(1, drawn)[:, 0]
