"""`Runs`: sorted row numbers that mostly follow each other, kept as the stretches in which they do."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from heldout.data.series import IntArray

_LISTED = 10_000_000  # samples that are listed to draw some of them


def draw_epoch(n: int, size: int, rng: np.random.Generator) -> IntArray:
    """Give the places of the samples that one epoch trains on, each once, in an order that is drawn.

    Parameters
    ----------
    n : int
        All samples. Of more than ten million one is drawn from each of equal stretches: to draw any of them would list all.
    size : int
        How many of them, if there are as many.
    rng : numpy Generator
        Draws.

    Examples
    --------
    >>> draw_epoch(3, 10, np.random.default_rng(0))
    array([2, 0, 1])
    """
    size = min(n, size)
    if n <= _LISTED:
        return rng.choice(n, size, replace=False)
    edges = np.arange(size + 1) * n // size
    # The first begins anywhere, and the last goes on at 0: else samples of the longer ones were drawn less often.
    chosen = (rng.integers(edges[:-1], edges[1:]) + rng.integers(n)) % n
    rng.shuffle(chosen)
    return chosen


@dataclass(frozen=True, eq=False)
class Runs:
    """Row numbers, in order, in as much memory as there are gaps between them: the origins of a panel of 10^10 rows.

    Parameters
    ----------
    starts : array of shape (n_runs,), int64
        The first row of each run.
    counts : array of shape (n_runs,), int64
        Rows in it, at least 1.

    Examples
    --------
    >>> runs = Runs.of([np.array([5, 6, 7, 20, 21])])
    >>> len(runs), runs.starts, runs[torch.tensor([0, 3, -1])]
    (5, array([ 5, 20]), tensor([ 5, 20, 21]))
    """

    starts: IntArray
    counts: IntArray

    @classmethod
    def of(cls, parts: Iterable[IntArray]) -> Self:
        """Join ascending row numbers, given in parts that follow each other."""
        starts: list[IntArray] = [np.zeros(0, np.int64)]
        counts: list[IntArray] = [np.zeros(0, np.int64)]
        for rows in parts:
            begins = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
            starts.append(rows[begins])
            counts.append(np.diff(begins, append=len(rows)))
        return cls(np.concatenate(starts), np.concatenate(counts))

    @cached_property
    def _before(self) -> IntArray:
        """Rows before each run, and all."""
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)

    def __len__(self) -> int:
        return int(self._before[-1])

    def __getitem__(self, places: Tensor) -> Tensor:
        """Give the rows at these places of the order; negative ones count from the end."""
        wanted = places.numpy() % max(len(self), 1)
        run = np.searchsorted(self._before, wanted, side="right") - 1
        return torch.from_numpy(self.starts[run] + wanted - self._before[run])
