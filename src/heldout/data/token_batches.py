"""`TokenSource`: texts as numbers, gathered into batches of about one length."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from heldout.data.series import FloatArray, IntArray
from heldout.data.text import Tokens, batches, replace_rare
from heldout.data.windows import Batch, Source

_EVAL_WORDS = 65_536  # words, padding among them, that are read at once outside of training


@dataclass(frozen=True, eq=False)
class TokenSource(Source):
    """Texts with their classes; a source of batches for `heldout.training.loop.train`.

    Parameters
    ----------
    tokens : Tokens
        The texts.
    labels : array of shape (n,), int64
        Their classes.
    linear : array of shape (n, Q), float32, or None
        Logits of a linear model of each text.
    weight : array of shape (n,), float32, or None
        How much each text counts; about 1 on average.
    counts : sequence of int
        How often the training texts hold each word of the vocabulary.
    rare : float, default 0
        Alpha of `heldout.data.text.replace_rare`, drawn for every epoch.

    Examples
    --------
    >>> tokens = Tokens(np.array([2, 3, 4, 2]), np.array([0, 3, 4]), 4, 0, 0)
    >>> batch = TokenSource(tokens, np.array([1, 0])).gather(torch.tensor([1, 0]))
    >>> batch.x, batch.lengths, batch.y
    (tensor([[2, 0, 0],
            [2, 3, 4]]), tensor([1, 3]), tensor([0, 1]))
    """

    tokens: Tokens
    labels: IntArray
    linear: FloatArray | None = None
    weight: FloatArray | None = None
    counts: Sequence[int] = ()
    rare: float = 0.0

    def __len__(self) -> int:
        return len(self.tokens)

    def gather(self, rows: Tensor, *, labelled: bool = True) -> Batch:
        """Give the texts with these numbers, padded to the longest of them."""
        chosen = rows.numpy()
        words, lengths = self.tokens.padded(chosen)
        return Batch(
            x=words,
            y=torch.from_numpy(self.labels[chosen]) if labelled else torch.empty(0),
            lengths=lengths,
            static=None if self.linear is None else torch.from_numpy(self.linear[chosen]).float(),
            weight=None if self.weight is None else torch.from_numpy(self.weight[chosen]).float(),
        )

    def batches(self, rows: Tensor, size: int, rng: np.random.Generator | None = None) -> list[Tensor]:
        """Put texts of about the same length together; outside of training with a bound on the words of a batch."""
        lengths = self.tokens.lengths_of(rows.numpy())
        if rng is None:
            size = max(1, min(size, _EVAL_WORDS // int(lengths.max(initial=1))))
        return [torch.from_numpy(part) for part in batches(lengths, size, rng)]

    def epoch(self, rows: Tensor, rng: np.random.Generator) -> tuple[Source, Tensor]:
        """Give the texts with rare words made unknown at random, afresh for every epoch."""
        if not self.rare:
            return self, rows
        ids = replace_rare(self.tokens.ids, self.counts, rng, alpha=self.rare)
        return replace(self, tokens=replace(self.tokens, ids=ids)), rows
