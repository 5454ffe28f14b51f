"""`TokenSource`: texts as numbers, gathered into batches of about one length."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from heldout.check import check_number
from heldout.data.series import FloatArray, IntArray
from heldout.data.text import PAD, UNK, Tokens
from heldout.data.windows import Batch, Source

_POOL = 50  # batches of which the texts are sorted by length together
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
        Alpha of `replace_rare`, drawn for every epoch.

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


def replace_rare(
    ids: IntArray, counts: Sequence[int], rng: np.random.Generator, *, alpha: float = 0.25
) -> IntArray:
    """Give the numbers of words with rare ones replaced by the unknown word at random, so that it is trained.

    A word that the training texts hold n times is replaced with probability alpha / (alpha + n).

    Parameters
    ----------
    ids : array of int64, any shape
        Numbers of words of training texts; not changed. Padding stays.
    counts : sequence of int
        `heldout.data.text.Vocabulary.counts`.
    rng : numpy Generator
        Draws.
    alpha : float, default 0.25
        0 replaces nothing; raising it makes overfitting to rare words less likely.

    References
    ----------
    Kiperwasser & Goldberg 2016, arXiv:1603.04351, section 4 (word dropout).

    Examples
    --------
    >>> replace_rare(np.array([2, 3, 0]), [0, 0, 1, 10**9], np.random.default_rng(0), alpha=1e6)
    array([1, 3, 0])
    """
    check_number("alpha", alpha, 0, np.inf, open_high=True)
    rates = alpha / (alpha + np.maximum(np.array(counts, float), 1))
    rates[[PAD, UNK]] = 0.0
    return np.where(rng.random(ids.shape) < rates[ids], UNK, ids)


def batches(lengths: IntArray, batch_size: int, rng: np.random.Generator | None = None) -> list[IntArray]:
    """Give batches of texts of about the same length, each text once.

    Parameters
    ----------
    lengths : array of shape (n,) of int
        Words of each text.
    batch_size : int
        Texts in a batch, at least 1; the rest makes a smaller one.
    rng : numpy Generator, optional
        Draws which of about equally long texts go together, and the order of the batches. None for a fixed order, the
        longest texts first: for predictions.

    Returns
    -------
    list of arrays of int64
        Numbers of texts.

    Examples
    --------
    >>> batches(np.array([9, 2, 8, 3, 1]), 2)
    [array([0, 2]), array([3, 1]), array([4])]
    """
    check_number("batch_size", batch_size, 1, np.inf, open_high=True)
    lengths = np.asarray(lengths)
    order = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    pool = len(lengths) if rng is None else batch_size * _POOL
    made = []
    for start in range(0, len(order), max(pool, 1)):
        rows = order[start : start + pool]
        rows = rows[np.argsort(-lengths[rows], kind="stable")]
        made += [rows[k : k + batch_size] for k in range(0, len(rows), batch_size)]
    return made if rng is None else [made[k] for k in rng.permutation(len(made))]
