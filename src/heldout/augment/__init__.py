"""More training examples from those at hand: fresh draws inside a fit, from its training rows only.

Here is what a fit draws for an epoch of texts; the operations are in `heldout.augment.text`, the words they take in
`heldout.augment.synonyms`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from heldout.augment.synonyms import is_protected
from heldout.augment.text import (
    Guard,
    IsProtected,
    Lexicon,
    insert_punctuation,
    random_deletion,
    random_insertion,
    random_swap,
    synonym_replacement,
    token_dropout,
)
from heldout.check import InputError, check_number


@dataclass(frozen=True, eq=False)
class TextEpoch:
    """What one epoch trains on.

    Attributes
    ----------
    texts : list of list of str
        Each text as it is, followed by its variants.
    source : array of shape (n_texts,), int64
        The place of the text that each comes from: its label is that text's.
    original : array of shape (n_texts,), bool
        Which are as they were.
    counts : dict from str to int
        Variants "drawn", and of these dropped because they were "unchanged", "held out" or their "label lost".
    """

    texts: list[list[str]]
    source: NDArray[np.int64]
    original: NDArray[np.bool_]
    counts: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class TextAugmentation:
    """Which variants of a text are drawn, and how many; each is made in one of the ways switched on, in equal shares.

    Of alpha and the number l of words follow ``max(1, int(alpha * l))`` changes, as in the code of EDA; 0 switches the
    way off. The stronger, the less the network can learn by heart, and the more labels become wrong: .05 to .1 is usual.

    Parameters
    ----------
    alpha_sr, alpha_ri, alpha_rs : float, default 0
        Share of words replaced by synonyms, inserted, swapped, in [0, 1].
    p_rd : float, default 0
        Probability of deleting a word, in [0, 1); texts of fewer than four words are left out.
    alpha_nn : float, default 0
        Share of words replaced by neighbours in vectors, in [0, 1].
    alpha_aeda : float, default 1/3
        Largest share of words that get a mark before them, in [0, 1].
    p_unk : float, default 0
        Probability of making a word unknown, in [0, 1).
    n_aug : int, default 2
        Variants of a text in an epoch, from 1 to 100.
    min_original : float, default 0.3
        Least share of an epoch's texts that are as they were, in [0, 1): there are fewer variants where it asks for it.
    translated : bool, default False
        Whether a text's translation there and back is a variant of it; `epoch` is given it.
    protected : tuple of str, default ()
        Words to leave alone besides those of `is_protected`, such as names; case does not count.

    References
    ----------
    Wei & Zou 2019, arXiv 1901.11196; Karimi et al. 2021, arXiv 2108.13230.

    Examples
    --------
    >>> TextAugmentation().variants(["a", "good", "film"], np.random.default_rng(0))
    [['a', 'good', '.', 'film'], ['!', 'a', 'good', 'film']]
    """

    alpha_sr: float = 0.0
    alpha_ri: float = 0.0
    alpha_rs: float = 0.0
    p_rd: float = 0.0
    alpha_nn: float = 0.0
    alpha_aeda: float = 1 / 3
    p_unk: float = 0.0
    n_aug: int = 2
    min_original: float = 0.3
    translated: bool = False
    protected: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rates = {field.name: getattr(self, field.name) for field in fields(self)[:7]}
        for name, rate in {**rates, "min_original": self.min_original}.items():
            check_number(name, rate, 0, 1, open_high=not name.startswith("alpha"))
        check_number("n_aug", self.n_aug, 1, 100)
        if isinstance(self.protected, str):
            raise InputError(
                f"protected must be a tuple of words, got {self.protected!r}; write ({self.protected!r},)"
            )
        if self.n_aug != int(self.n_aug) or not (any(rates.values()) or self.translated):
            raise InputError(
                f"n_aug must be a whole number and one of {', '.join(rates)} above 0, got n_aug={self.n_aug} and {rates}"
            )

    @classmethod
    def eda(cls, n_texts: int) -> Self:
        """EDA as its authors advise for a number of training texts (Table 3), all four ways alike.

        The floor of originals stays: of the paper's 16 variants an epoch shows two or three, each time others. With
        ``dataclasses.replace(options, min_original=0)`` it shows all 16, as the paper trains.

        Parameters
        ----------
        n_texts : int
            Training texts.
        """
        alpha = 0.05 if n_texts <= 2000 else 0.1
        n_aug = 16 if n_texts <= 500 else 8 if n_texts <= 2000 else 4
        return cls(alpha_sr=alpha, alpha_ri=alpha, alpha_rs=alpha, p_rd=alpha, alpha_aeda=0, n_aug=n_aug)

    def variants(
        self,
        words: Sequence[str],
        rng: np.random.Generator,
        *,
        n: int | None = None,
        synonyms: Lexicon | None = None,
        neighbours: Lexicon | None = None,
        translation: Sequence[str] = (),
    ) -> list[list[str]]:
        """Variants of one text, without those that came out unchanged.

        Parameters
        ----------
        words : sequence of str
            A text; an empty one has no variants.
        rng : numpy.random.Generator
            Where the chance comes from.
        n : int, optional
            Draw so many instead of ``n_aug``.
        synonyms, neighbours : mapping from str to sequence of str, optional
            For ``alpha_sr`` and ``alpha_ri``, and for ``alpha_nn``.
        translation : sequence of str, default ()
            The text, translated there and back; one of the ways if there is any.

        Raises
        ------
        InputError
            If a mapping that an option needs is not given.
        """
        n = self.n_aug if n is None else n
        ways = self._ways(list(words), rng, synonyms, neighbours)
        if len(translation):
            ways.append(lambda: list(translation))
        if not words or not ways:
            return []
        # The code of EDA: int(n / 4) + 1 in each of the four ways, shuffled, n kept.
        order = rng.permutation((n // len(ways) + 1) * len(ways))[:n] % len(ways)
        drawn = [ways[way]() for way in order.tolist()]
        return [text for text in drawn if text != list(words)]

    def _ways(
        self, words: list[str], rng: np.random.Generator, synonyms: Lexicon | None, neighbours: Lexicon | None
    ) -> list[Callable[[], list[str]]]:
        """The operations switched on, ready for one text."""
        if (self.alpha_sr or self.alpha_ri) and synonyms is None:
            raise InputError(
                "alpha_sr and alpha_ri above 0 need synonyms, got none; give those of read_synonyms(), or use alpha_aeda or alpha_nn"
            )
        if self.alpha_nn and neighbours is None:
            raise InputError(
                "alpha_nn above 0 needs neighbours, got none; give those of nearest_words(), or use alpha_aeda"
            )
        names = {name.lower() for name in self.protected}
        safe: IsProtected = (
            (lambda word: is_protected(word) or word.lower() in names) if names else is_protected
        )
        n_sr, n_ri, n_rs, n_nn = (
            max(1, int(alpha * len(words)))
            for alpha in (self.alpha_sr, self.alpha_ri, self.alpha_rs, self.alpha_nn)
        )
        known, near = synonyms or {}, neighbours or {}
        ways: list[tuple[float, Callable[[], list[str]]]] = [
            (self.alpha_sr, lambda: synonym_replacement(words, known, n_sr, rng, protected=safe)),
            (self.alpha_ri, lambda: random_insertion(words, known, n_ri, rng, protected=safe)),
            (self.alpha_rs, lambda: random_swap(words, n_rs, rng, protected=safe)),
            (self.p_rd * (len(words) >= 4), lambda: random_deletion(words, self.p_rd, rng, protected=safe)),
            (self.alpha_nn, lambda: synonym_replacement(words, near, n_nn, rng, protected=safe)),
            (self.alpha_aeda, lambda: insert_punctuation(words, rng, alpha=self.alpha_aeda)),
            (self.p_unk, lambda: token_dropout(words, self.p_unk, rng, protected=safe)),
        ]
        return [way for rate, way in ways if rate]

    def epoch(
        self,
        texts: Sequence[Sequence[str]],
        rng: np.random.Generator,
        *,
        guard: Guard | None = None,
        synonyms: Lexicon | None = None,
        neighbours: Lexicon | None = None,
        translations: Sequence[Sequence[str]] | None = None,
    ) -> TextEpoch:
        """A fresh draw for one epoch: every text as it is, and the variants that the guard lets pass.

        Parameters
        ----------
        texts : sequence of sequence of str
            The training texts of this fit.
        rng, synonyms, neighbours
            As in `variants`.
        guard : Guard, optional
            Made of the same texts.
        translations : sequence of sequence of str, optional
            Each text, translated there and back; an empty one is none.
        """
        n = len(texts)
        room = n * (1 - self.min_original) / max(self.min_original, 1e-9)
        each, more = divmod(min(n * int(self.n_aug), int(room + 1e-6)), max(n, 1))
        wanted = np.full(n, each)
        wanted[rng.permutation(n)[:more]] += 1
        drawn = [
            self.variants(text, rng, n=k, synonyms=synonyms, neighbours=neighbours, translation=translation)
            for text, k, translation in zip(texts, wanted.tolist(), translations or [()] * n, strict=True)
        ]
        flat = [variant for of_text in drawn for variant in of_text]
        source = np.repeat(np.arange(n), [len(of_text) for of_text in drawn])
        reasons = guard.reasons(flat, source) if guard else [""] * len(flat)
        counts = {"drawn": int(wanted.sum()), "unchanged": int(wanted.sum()) - len(flat)}
        counts |= {reason: reasons.count(reason) for reason in ("held out", "label lost")}
        kept = np.array([not reason for reason in reasons], dtype=bool)
        source = np.concatenate([np.arange(n), source[kept]])
        order = np.argsort(source, kind="stable")  # each text, then its variants
        both = [list(text) for text in texts] + [text for text, keep in zip(flat, kept, strict=True) if keep]
        return TextEpoch([both[i] for i in order], source[order], order < n, counts)
