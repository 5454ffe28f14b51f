r"""Texts cut into words, numbered, and padded into batches.

A vocabulary is learned from training texts only. Axes: B texts of a batch, T words of its longest text.
"""

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, Self

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor

from heldout.check import InputError, check_number
from heldout.data.columns import listed
from heldout.data.series import IntArray
from heldout.plots.values import plural

PAD, UNK = 0, 1
"""The numbers of what fills a batch up, and of every word that is not in the vocabulary."""
SPECIAL = ("[PAD]", "[UNK]")

# A word: the parts of don't and it's as word vectors have them (do n't, it 's); a number; letters; a run of one mark.
WORD = r"n't\b|'(?:s|re|ve|ll|d|m)\b|\d+(?:[.,:]\d+)*(?!\w)|\w+?(?=n't\b)|\w+|([^\w\s])\1*"

_PIECE = 1_000_000  # characters that are cut into words at once: bounds the memory that a huge text takes
_MOST_KNOWN = 300_000  # parts of texts whose words are remembered


@dataclass(frozen=True, eq=False)
class Tokens:
    """Texts as numbers of words, one after the other in one array.

    Parameters
    ----------
    ids, offsets : arrays of shape (n_tokens,) and (n_texts + 1,), int64
        Text k is ``ids[offsets[k]:offsets[k + 1]]``, numbers of words from 1; at least one word.
    n_before, n_texts_cut, n_empty : int
        Words before texts were cut; texts that were cut; texts without any word, which are one unknown word here.
    """

    ids: IntArray
    offsets: IntArray
    n_before: int
    n_texts_cut: int
    n_empty: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> IntArray:
        """Words of each text, at least 1."""
        return np.diff(self.offsets)

    def lengths_of(self, rows: IntArray) -> IntArray:
        """Words of some texts, whose numbers are ``rows``."""
        return np.asarray(self.offsets[rows + 1] - self.offsets[rows])

    @property
    def share_of_texts_cut(self) -> float:
        """Texts that were cut, among all."""
        return self.n_texts_cut / max(len(self), 1)

    @property
    def share_of_words_cut(self) -> float:
        """Words that were cut off, among all."""
        return 1 - (len(self.ids) - self.n_empty) / self.n_before if self.n_before else 0.0

    @property
    def share_unknown(self) -> float:
        """Unknown words among those that are read; what stands for a text without words is none."""
        n_unknown = int((self.ids == UNK).sum()) - self.n_empty
        return n_unknown / max(len(self.ids) - self.n_empty, 1)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was cut or is empty, one sentence each."""
        notes = []
        if self.n_texts_cut:
            are, were = ("is", "was") if self.n_texts_cut == 1 else ("are", "were")
            notes.append(
                f"{self.n_texts_cut:,} of {plural(len(self), 'text')} ({self.share_of_texts_cut:.1%}) {are} longer than "
                f"{plural(int(self.lengths.max()), 'word')} and {were} cut there: {self.share_of_words_cut:.1%} of all words"
            )
        if self.n_empty:
            have, are = ("has", "is") if self.n_empty == 1 else ("have", "are")
            notes.append(
                f"{self.n_empty:,} of {plural(len(self), 'text')} {have} no words and {are} read as one unknown word"
            )
        return tuple(notes)

    def padded(self, rows: Sequence[int] | IntArray) -> tuple[Tensor, Tensor]:
        """Give some texts as one batch, filled up at the end with 0.

        Parameters
        ----------
        rows : array of shape (B,) of int
            Numbers of the texts.

        Returns
        -------
        ids, lengths : Tensors of shape (B, T) and (B,), int64
            T is the length of the longest of them.
        """
        rows = np.asarray(rows, np.int64)
        starts, lengths = np.asarray(self.offsets[rows]), self.lengths_of(rows)
        steps = np.arange(lengths.max(initial=0))
        inside = steps < lengths[:, None]
        batch = np.full(inside.shape, PAD, np.int64)
        batch[inside] = self.ids[(starts[:, None] + steps)[inside]]
        return torch.from_numpy(batch), torch.from_numpy(lengths)


@dataclass(frozen=True)
class Vocabulary:
    """The words that a network knows, and how often the training texts hold them.

    Parameters
    ----------
    words : tuple of str
        Each at its number; the first two are ``[PAD]`` and ``[UNK]``, the others in the order of falling counts.
    counts : tuple of int
        Of each word in the training texts; that of ``[UNK]`` counts all words left out.
    lower : bool
        Whether capitals are read as small letters.

    Examples
    --------
    >>> vocabulary = Vocabulary.learn(["Good film!", "Not a good film."], min_count=2)
    >>> vocabulary.words
    ('[PAD]', '[UNK]', 'film', 'good')
    >>> vocabulary.encode(["A good film", ""]).padded([0, 1])
    (tensor([[1, 3, 2],
            [1, 0, 0]]), tensor([3, 1]))
    """

    words: tuple[str, ...]
    counts: tuple[int, ...]
    lower: bool = True

    @classmethod
    def learn(
        cls, texts: Sequence[str], *, lower: bool = True, min_count: int = 2, max_size: int = 30_000
    ) -> Self:
        """Give the vocabulary of texts; give it training texts only.

        Parameters
        ----------
        texts : sequence of str
            No other text is ever read.
        lower : bool, default True
            Read capitals as small letters.
        min_count : int, default 2
            Leave out words that occur less often; at least 1, where `heldout.data.token_batches.replace_rare` alone trains what stands for
            unknown words. Raising it makes overfitting less likely.
        max_size : int, default 30_000
            Words at most, the two special ones among them, at least 3; the most frequent are kept.

        Raises
        ------
        InputError
            If no word is left, or a text is no str.
        """
        texts = check_texts(texts)
        counts = count_words(texts, lower=lower)
        how = {"n_texts": len(texts), "min_count": min_count, "max_size": max_size}
        return cls.of_counts(counts.items(), lower=lower, **how)

    @classmethod
    def of_counts(
        cls, counts: Iterable[tuple[str, int]], *, n_texts: int, lower: bool, min_count: int, max_size: int
    ) -> Self:
        """Give the vocabulary of words that were counted, of equally frequent ones those that come first in the alphabet.

        Parameters
        ----------
        counts : iterable of (str, int)
            Each word once.
        n_texts : int
            How many texts they were counted in, for the error.
        lower, min_count, max_size
            As in `learn`.
        """
        check_number("min_count", min_count, 1, np.inf, open_high=True)
        check_number("max_size", max_size, 3, np.inf, open_high=True)
        n_words, most = 0, max_size - len(SPECIAL)
        kept: list[tuple[int, _Last]] = []  # a heap, of which the first would go
        for word, count in counts:
            n_words += count
            if count >= min_count:
                (heapq.heappush if len(kept) < most else heapq.heappushpop)(kept, (count, _Last(word)))
        if not kept:
            raise InputError(
                f"the training texts must hold a word {min_count} times or more, but {plural(n_texts, 'text')} {'has' if n_texts == 1 else 'have'} none; "
                "lower min_count"
            )
        found = [(last.word, count) for count, last in sorted(kept, reverse=True)]
        words, numbers = zip(*found, strict=True)
        return cls((*SPECIAL, *words), (0, n_words - sum(numbers), *numbers), lower)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """What cuts and numbers, as Hugging Face has it: ``tokenizer.to_str()`` is JSON that other programs read."""
        return _tokenizer(self.words, lower=self.lower)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each word."""
        return {word: number for number, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def extended(self, words: Iterable[str]) -> Self:
        """Give the vocabulary with more words at its end, of which the training texts hold none; known ones are left out."""
        new = [word for word in dict.fromkeys(words) if word not in self.numbers]
        return type(self)((*self.words, *new), (*self.counts, *[0] * len(new)), self.lower)

    def split(self, text: str) -> list[str]:
        """Give the words of a text as they are looked up, unknown ones too."""
        return _split(self.tokenizer, text)

    def encode(self, texts: Sequence[str], *, max_length: int | None = 256) -> Tokens:
        """Give the numbers of the words of texts.

        Parameters
        ----------
        texts : sequence of str
            One without words becomes one unknown word.
        max_length : int or None, default 256
            Words to keep from the start of each text, at least 1; None keeps all. What is cut is counted.

        Raises
        ------
        InputError
            If a text is no str.
        """
        check_number("max_length", 1 if max_length is None else max_length, 1, np.inf, open_high=True)
        found, n_before, n_cut, n_empty = [], 0, 0, 0
        for ids in self._numbered(check_texts(texts)):
            n_before += len(ids)
            n_cut += max_length is not None and len(ids) > max_length
            n_empty += not len(ids)
            found.append(ids[:max_length] if len(ids) else np.array([UNK]))
        offsets = np.cumsum([0, *map(len, found)], dtype=np.int64)
        joined = np.concatenate([np.empty(0, np.int64), *found])
        return Tokens(joined, offsets, n_before, n_cut, n_empty)

    def _numbered(self, texts: list[str]) -> Iterator[IntArray]:
        known: dict[str, list[int]] = {}  # what stands between two spaces is cut and looked up once
        for text in texts:
            parts = _parts(text)
            for part in parts:
                if part not in known:
                    known[part] = [self.numbers.get(word, UNK) for word in self.split(part)]
            yield np.array([number for part in parts for number in known[part]], np.int64)
            if len(known) > _MOST_KNOWN:
                known.clear()

    def to_json(self) -> str:
        """Give the vocabulary as JSON, which `from_json` reads."""
        return json.dumps({"words": self.words, "counts": self.counts, "lower": self.lower})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Give the vocabulary that `to_json` wrote.

        Parameters
        ----------
        text : str
            JSON.

        Raises
        ------
        InputError
            If it is anything else.

        Examples
        --------
        >>> vocabulary = Vocabulary(("[PAD]", "[UNK]", "film"), (0, 3, 2))
        >>> Vocabulary.from_json(vocabulary.to_json()) == vocabulary
        True
        """
        try:
            held = json.loads(text)
            words, counts, lower = held["words"], held["counts"], held["lower"]
            fits = (
                tuple(words[:2]) == SPECIAL
                and len(set(words)) == len(words) == len(counts)
                and all(isinstance(word, str) for word in words)
                and all(type(count) is int and count >= 0 for count in counts)
                and isinstance(lower, bool)
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"a vocabulary must be JSON as to_json writes it, got {text[:40]!r}") from error
        if not fits:
            raise InputError(
                f"a vocabulary's JSON must begin with the words {listed(SPECIAL)} and have one count for each different "
                f"word, got {len(words)} words and {len(counts)} counts; write it again with to_json"
            )
        return cls(tuple(words), tuple(counts), lower)


def _tokenizer(words: Sequence[str], *, lower: bool) -> Tokenizer:
    """A Hugging Face tokenizer of whole words, numbered in this order.

    The special words are no special tokens of it: written out in a text, ``[PAD]`` is a bracket, a word and a bracket.
    """
    numbers = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token=SPECIAL[UNK]))
    steps: list[Any] = [normalizers.NFKC(), normalizers.Replace("’", "'")]
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Lowercase()] if lower else steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), "removed", invert=True)
    return tokenizer


def count_words(texts: Iterable[str], *, lower: bool) -> Counter[str]:
    """Give how often texts hold each word.

    Parameters
    ----------
    texts : iterable of str
        The texts.
    lower : bool
        Read capitals as small letters.

    Examples
    --------
    >>> count_words(["Good, good film!"], lower=True)
    Counter({'good': 2, ',': 1, 'film': 1, '!': 1})
    """
    tokenizer, counts = _tokenizer(SPECIAL, lower=lower), Counter[str]()
    for part, n in Counter(chain.from_iterable(map(_parts, texts))).items():
        for word in _split(tokenizer, part):
            counts[word] += n
    return counts


def _split(tokenizer: Tokenizer, text: str) -> list[str]:
    normal = tokenizer.normalizer.normalize_str(text)
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)]


def _parts(text: str) -> list[str]:
    """What stands between spaces: no word reaches over one, nor depends on what is beyond."""
    if len(text) <= _PIECE:
        return text.split(" ")
    pieces = (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))
    return [part for piece in pieces for part in piece.split(" ")]


class _Last:
    """A word that is smaller than those before it in the alphabet."""

    __slots__ = ("word",)

    def __init__(self, word: str) -> None:
        self.word = word

    def __lt__(self, other: "_Last") -> bool:
        return self.word > other.word


def check_texts(texts: object) -> list[str]:
    """Give texts as a list, or raise `InputError` if they are no list of str that Unicode can write.

    Parameters
    ----------
    texts : sequence of str
        What the user gave.
    """
    if isinstance(texts, str | bytes | Mapping) or not hasattr(texts, "__iter__"):
        raise InputError(f"texts must be a list of str, got {type(texts).__name__}; put one text in a list")
    found = list(texts)
    for number, text in enumerate(found):
        if not isinstance(text, str):
            kind = type(text).__name__
            raise InputError(
                f"texts must be str, but text {number} is {kind}: {text!r:.40}; leave it out or write str(...)"
            )
        try:
            text.isascii() or text.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"texts must be Unicode, but character {error.start} of text {number} is half a pair ({text[error.start]!a}); "
                "decode the file again, perhaps with encoding='latin-1'"
            ) from error
    return found
