"""Texts as numbers of words in files, mapped into memory: batches are cut from them without any of it being held."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heldout.data.cache_files import MANIFEST, Sink, open_or_make
from heldout.data.mapped import map_file, release
from heldout.data.parquet import Progress
from heldout.data.series import FloatArray, IntArray
from heldout.data.text import UNK, Tokens, Vocabulary
from heldout.data.text_cache import TextCache
from heldout.data.token_batches import TokenSource
from heldout.data.windows import Batch, Source

FILES = ("ids.bin", "offsets.bin", "labels.bin")
_FORMAT = 1


def write_tokens(
    folder: Path, cache: TextCache, vocabulary: Vocabulary, max_length: int | None, progress: Progress
) -> None:
    """Write the numbers of the words of all texts where they are not there yet, whole: what `open_tokens` opens.

    Parameters
    ----------
    folder : Path
        Where to.
    cache : TextCache
        The texts.
    vocabulary : Vocabulary
        Numbers words.
    max_length : int or None
        Words of a text that are kept, from its start.
    progress : callable
        See `heldout.data.text_cache.open_text_cache`; the stages are "numbering words" and "checking".
    """
    words = hashlib.sha256(vocabulary.to_json().encode()).hexdigest()
    made_of = {
        "version": [_FORMAT, version("heldout")],
        "source": cache.fingerprint,
        "options": {"vocabulary": words, "max_length": max_length},
    }

    def make(new: Path) -> dict[str, Any]:
        end, counts = 0, np.zeros(3, np.int64)
        with ExitStack() as stack:
            sinks = {name: stack.enter_context(Sink(new / name)) for name in FILES}
            sinks["offsets.bin"].write(np.zeros(1, np.int64))
            for first, stop in cache.blocks():
                tokens = vocabulary.encode(cache.texts(first, stop), max_length=max_length)
                sinks["ids.bin"].write(tokens.ids.astype(np.int32))
                sinks["offsets.bin"].write(end + tokens.offsets[1:])
                sinks["labels.bin"].write(np.asarray(cache.labels[first:stop]))
                end += len(tokens.ids)
                counts += (tokens.n_before, tokens.n_texts_cut, tokens.n_empty)
                cache.release()
                progress({"stage": "numbering words", "done": stop, "of": len(cache)})
            files = {name: sink.finish() for name, sink in sinks.items()}
        return {"files": files, "counts": counts.tolist()}

    open_or_make(folder, FILES, made_of, make, lambda _: None, progress)


@dataclass(frozen=True, eq=False)
class MappedTokens(TokenSource):
    """`TokenSource` whose texts lie in files.

    Parameters
    ----------
    class_weight : array of shape (Q,), float32, or None
        How much each text of a class counts; ``weight`` is None.
    key : int or None
        Of an epoch: in it rare words are made unknown, each by a number that follows from the key and its place.
    """

    class_weight: FloatArray | None = None
    key: int | None = None

    def gather(self, rows: Tensor, *, labelled: bool = True) -> Batch:
        """Give the texts with these numbers, padded to the longest of them; memory does not grow with what was read."""
        batch = super().gather(rows, labelled=labelled)
        if self.key is not None:
            starts = torch.from_numpy(np.asarray(self.tokens.offsets[rows.numpy()]))
            places = starts[:, None] + torch.arange(batch.x.shape[1])
            batch = batch._replace(x=torch.from_numpy(self._replaced(batch.x.numpy(), places.numpy())))
        if self.class_weight is not None:
            batch = batch._replace(weight=torch.from_numpy(self.class_weight[self.labels[rows.numpy()]]))
        release((self.tokens.ids, self.tokens.offsets, self.labels))
        return batch

    def epoch(self, rows: Tensor, rng: np.random.Generator) -> tuple[Source, Tensor]:
        """Give the texts with rare words made unknown at random, afresh for every epoch."""
        return (replace(self, key=int(rng.integers(2**63))) if self.rare else self), rows

    def _replaced(self, ids: IntArray, places: IntArray) -> IntArray:
        """As `heldout.data.token_batches.replace_rare`, without numbers for all that is not in the batch."""
        rates = self.rare / (self.rare + np.maximum(np.array(self.counts, float), 1))
        rates[: UNK + 1] = 0.0
        assert self.key is not None
        return np.where(_uniform(places, self.key) < rates[ids], UNK, ids)


def _uniform(places: IntArray, key: int) -> FloatArray:
    """A number in [0, 1) for each place: SplitMix64 (Steele, Lea & Flood 2014) of a stream that the key begins."""
    with np.errstate(over="ignore"):
        z = np.uint64(key) + places.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return np.asarray((z >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def open_tokens(
    folder: Path, counts: Sequence[int] = (), rare: float = 0.0, class_weight: FloatArray | None = None
) -> MappedTokens:
    """Map what `write_tokens` has written.

    Parameters
    ----------
    folder : Path
        Where it lies.
    counts, rare
        As in `TokenSource`.
    class_weight : array of shape (Q,), float32, optional
        As in `MappedTokens`.
    """
    body = json.loads((folder / MANIFEST).read_bytes())["body"]
    ids, offsets, labels = (
        map_file(folder / name, dtype)
        for name, dtype in zip(FILES, (np.int32, np.int64, np.int64), strict=True)
    )
    tokens = Tokens(ids, offsets, *body["counts"])
    return MappedTokens(tokens, labels, counts=counts, rare=rare, class_weight=class_weight)
