"""`Batch` and `Windows`: samples gathered by index from one contiguous block, never copied out beforehand."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

# Smallest width of a standardised window, in training standard deviations: a flat window must not blow up its noise.
_MIN_WIDTH = 0.05


class Batch(NamedTuple):
    """What the network is given, and what it is asked.

    Attributes
    ----------
    x : Tensor of shape (B, T, F)
        Prepared inputs; the first K columns of a series are its targets.
    y : Tensor of shape (B, S, K) float, or (B,) int64 class numbers
        What is to be forecast; for series relative to ``offset``.
    offset : Tensor of shape (B, 1, K), float64, or None
        Added to a forecast to give the prepared level.
    scale : Tensor of shape (B, 1, K) or None
        The network's output is multiplied by it first.
    future : Tensor of shape (B, S, C) or None
        Covariates known for the steps ahead.
    static : Tensor of shape (B, P) or None
        Numbers that belong to the series.
    lengths : Tensor of shape (B,), int64, or None
        Steps that hold data where they differ; the rest is padding at the end.
    weight : Tensor of shape (B,) or None
        How much each sample counts in the mean of the losses; about 1 on average.
    """

    x: Tensor
    y: Tensor
    offset: Tensor | None = None
    scale: Tensor | None = None
    future: Tensor | None = None
    static: Tensor | None = None
    lengths: Tensor | None = None
    weight: Tensor | None = None

    def part(self, samples: slice) -> "Batch":
        """Give some of the samples."""
        fields: dict[str, Any] = {
            name: None if value is None else value[samples] for name, value in self._asdict().items()
        }
        return self._replace(**fields)


class Source(ABC):
    """Anything that batches can be gathered from: series windows, arrays, text."""

    @abstractmethod
    def gather(self, rows: Tensor, *, labelled: bool = True) -> Batch:
        """Give the samples with these numbers; without labels, ``y`` is empty."""

    def batches(self, rows: Tensor, size: int, rng: np.random.Generator | None = None) -> list[Tensor]:  # noqa: ARG002 - for sources that sort
        """Cut samples into batches; gives places in ``rows``.

        Parameters
        ----------
        rows : Tensor of shape (n,), int64
            Samples, in the order that was drawn.
        size : int
            Samples in a batch, at most.
        rng : numpy Generator, optional
            For sources that put alike samples together: draws the order of the batches. None outside of training.
        """
        return list(torch.arange(len(rows)).split(size))

    def epoch(self, rows: Tensor, rng: np.random.Generator) -> tuple["Source", Tensor]:  # noqa: ARG002 - for sources that draw
        """Give what one epoch trains on, drawn afresh: a source and its rows; by default the samples as they are."""
        return self, rows


@dataclass(frozen=True, eq=False)
class Windows(Source):
    """Prepared series, ready to be cut.

    Parameters
    ----------
    inputs : Tensor of shape (n_rows, F), float32
        All inputs after preparation; targets first.
    level : Tensor of shape (n_rows, K), float64
        The targets as they are forecast and scored, centred and scaled; NaN where missing.
    lookback : int
        Rows in a window.
    steps : Tensor of shape (S,), int64
        The steps ahead.
    window_norm : {"none", "last", "standard"}
        Normalisation of each window.
    differenced : Tensor of shape (K,), bool
        Targets whose input column holds differences; their forecast is the change since the origin.
    future : Tensor of shape (n_rows, C) or None
        Covariates known ahead.
    static : Tensor of shape (n_series, P) or None
        Static covariates; ``offsets`` maps rows to them.
    offsets : Tensor of shape (n_series + 1,), int64, or None
        Series s holds the rows ``offsets[s]`` to ``offsets[s + 1] - 1``.
    labels_of : Tensor of shape (n_rows,), int64, or None
        The origin whose labels each row is given (`heldout.training.shuffled`); None gives each its own.
    """

    inputs: Tensor
    level: Tensor
    lookback: int
    steps: Tensor
    window_norm: str
    differenced: Tensor
    future: Tensor | None = None
    static: Tensor | None = None
    offsets: Tensor | None = None
    labels_of: Tensor | None = None

    @cached_property
    def _cut(self) -> Tensor:
        """Every window, by the row that it begins with: a view, in which neighbours overlap."""
        n_rows, n_inputs = self.inputs.shape
        step, one = self.inputs.stride()
        return self.inputs.as_strided(
            (n_rows - self.lookback + 1, self.lookback, n_inputs), (step, step, one)
        )

    def gather(self, rows: Tensor, *, labelled: bool = True) -> Batch:
        """Cut the windows that end at these rows.

        Parameters
        ----------
        rows : Tensor of shape (B,), int64
            Origins; each needs ``lookback - 1`` rows of its series before it.
        labelled : bool, default True
            Also give ``y``; needs the rows ahead.

        Returns
        -------
        Batch
        """
        batch = self._gather(rows, labelled=labelled)
        if self.labels_of is None or not labelled:
            return batch
        return batch._replace(y=self._gather(self.labels_of[rows], labelled=True).y)

    def _gather(self, rows: Tensor, *, labelled: bool) -> Batch:
        n_targets = self.level.shape[1]
        x = self._cut[rows + (1 - self.lookback)]  # (B, T, F)
        own = x[:, :, :n_targets]
        level = torch.where(self.differenced, self.level[rows], own[:, -1].double())[:, None]  # (B, 1, K)
        offset = torch.where(self.differenced, level, 0.0)
        scale = None
        if self.window_norm == "last":
            offset = level
            x = torch.cat([own - torch.where(self.differenced, 0.0, own[:, -1:]), x[:, :, n_targets:]], dim=2)
        elif self.window_norm == "standard":
            centre, scale = own.mean(1, keepdim=True), own.std(1, keepdim=True).clamp_min(_MIN_WIDTH)
            offset = torch.where(self.differenced, level, centre.double())
            x = torch.cat([(own - centre) / scale, x[:, :, n_targets:]], dim=2)
        ahead = rows[:, None] + self.steps
        y = (self.level[ahead] - offset).float() if labelled else torch.empty(0)
        future = self.future[ahead] if self.future is not None else None
        static = None
        if self.static is not None and self.offsets is not None:
            static = self.static[torch.searchsorted(self.offsets, rows, right=True) - 1]
        return Batch(x=x, y=y, offset=offset, scale=scale, future=future, static=static)
