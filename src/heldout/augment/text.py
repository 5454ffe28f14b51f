"""New texts from old ones with the same label: EDA, AEDA, neighbours by vectors, dropped tokens; and what keeps them honest.

A text is a list of words. An operation gives a new list, changes nothing it is given, and draws from the generator passed
in: the same seed gives the same text. A lexicon is any mapping from a word to its substitutes: `read_synonyms`,
`nearest_words`, a dict. Protected words (`is_protected`)
are neither replaced, moved, dropped nor brought in.
"""

import copy
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from heldout.augment.synonyms import STOP_WORDS, is_protected
from heldout.check import InputError, check_number

Lexicon = Mapping[str, Sequence[str]]
IsProtected = Callable[[str], bool]
_Floats = NDArray[np.float64]

MARKS = (".", ";", "?", ":", "!", ",")
"""What AEDA inserts."""


def _substitutes(word: str, lexicon: Lexicon, protected: IsProtected) -> list[list[str]]:
    """What may stand for a word, each as a list of words."""
    if protected(word) or word.lower() in STOP_WORDS:
        return []
    found = (choice.split() for choice in lexicon.get(word) or lexicon.get(word.lower()) or ())
    return [choice for choice in found if choice and choice != [word] and not any(map(protected, choice))]


def synonym_replacement(
    words: Sequence[str],
    lexicon: Lexicon,
    n: int,
    rng: np.random.Generator,
    *,
    protected: IsProtected = is_protected,
) -> list[str]:
    """The text with up to ``n`` words replaced, each at all its places, by substitutes drawn at random.

    Parameters
    ----------
    words : sequence of str
        A text.
    lexicon : mapping from str to sequence of str
        Substitutes; one that holds spaces becomes several words.
    n : int
        Words to replace. Words of `STOP_WORDS` and those without substitutes are passed over.
    rng : numpy.random.Generator
        Where the chance comes from.
    protected : callable, default `is_protected`
        Which words must stay.

    References
    ----------
    Wei & Zou 2019, "EDA", arXiv 1901.11196, section 2 (SR). With `nearest_words` for the lexicon it is the embedding
    swap of Morris et al. 2020, arXiv 2005.05909.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> synonym_replacement(["not", "a", "good", "film"], {"film": ["motion picture"]}, 2, rng)
    ['not', 'a', 'good', 'motion', 'picture']
    """
    distinct = list(dict.fromkeys(words))
    replaced: dict[str, list[str]] = {}
    for place in rng.permutation(len(distinct)).tolist():
        if len(replaced) >= n:
            break
        choices = _substitutes(distinct[place], lexicon, protected)
        if choices:
            replaced[distinct[place]] = choices[int(rng.integers(len(choices)))]
    return [new for word in words for new in replaced.get(word, (word,))]


def random_insertion(
    words: Sequence[str],
    lexicon: Lexicon,
    n: int,
    rng: np.random.Generator,
    *,
    protected: IsProtected = is_protected,
) -> list[str]:
    """The text with ``n`` times a substitute of one of its words put in somewhere, but never right behind a protected word.

    Parameters
    ----------
    words, lexicon, n, rng, protected
        As in `synonym_replacement`. ``n`` counts insertions; a text without substitutes stays as it is.

    References
    ----------
    Wei & Zou 2019, arXiv 1901.11196, section 2 (RI). The authors' code takes the first synonym and never inserts at the
    end; this draws any synonym and any place, as the paper says.

    Examples
    --------
    >>> random_insertion(["not", "film"], {"film": ["movie"]}, 1, np.random.default_rng(0))
    ['not', 'film', 'movie']
    """
    result = list(words)
    for _ in range(n):
        drawn = (words[place] for place in rng.permutation(len(words)).tolist())
        choices = next((found for word in drawn if (found := _substitutes(word, lexicon, protected))), None)
        if choices is None:
            break
        choice = choices[int(rng.integers(len(choices)))]
        places = [0, *(place for place, word in enumerate(result, 1) if not protected(word))]
        place = places[int(rng.integers(len(places)))]
        result[place:place] = choice
    return result


def random_swap(
    words: Sequence[str], n: int, rng: np.random.Generator, *, protected: IsProtected = is_protected
) -> list[str]:
    """The text after ``n`` swaps of two places drawn at random.

    Parameters
    ----------
    words, n, rng, protected
        As in `synonym_replacement`. Places of protected words take no part.

    References
    ----------
    Wei & Zou 2019, arXiv 1901.11196, section 2 (RS). The authors' code gives a swap up after four draws of the same
    place; here the two always differ.

    Examples
    --------
    >>> random_swap(["a", "not", "b"], 1, np.random.default_rng(0))
    ['b', 'not', 'a']
    """
    result = list(words)
    places = [place for place, word in enumerate(words) if not protected(word)]
    for _ in range(n if len(places) > 1 else 0):
        first = int(rng.integers(len(places)))
        second = (first + 1 + int(rng.integers(len(places) - 1))) % len(places)
        a, b = places[first], places[second]
        result[a], result[b] = result[b], result[a]
    return result


def random_deletion(
    words: Sequence[str], p: float, rng: np.random.Generator, *, protected: IsProtected = is_protected
) -> list[str]:
    """The text without those words that chance, ``p`` for each, takes out; one word is always left.

    Parameters
    ----------
    words, rng, protected
        As in `synonym_replacement`.
    p : float
        Probability of dropping, in [0, 1).

    References
    ----------
    Wei & Zou 2019, arXiv 1901.11196, section 2 (RD).

    Examples
    --------
    >>> random_deletion(["a", "not", "b"], 0.9, np.random.default_rng(0))
    ['not']
    """
    draws = rng.random(len(words)).tolist()
    kept = [word for word, draw in zip(words, draws, strict=True) if draw >= p or protected(word)]
    return kept or [words[int(rng.integers(len(words)))] for _ in words[:1]]


def insert_punctuation(words: Sequence[str], rng: np.random.Generator, *, alpha: float = 1 / 3) -> list[str]:
    """The text with a mark of `MARKS` before each of q words, q drawn from 1 to ``alpha`` of their number (at least 1).

    Parameters
    ----------
    words, rng
        As in `synonym_replacement`. All words stay, in their order.
    alpha : float, default 1/3
        Largest share of the words that get a mark, in [0, 1].

    References
    ----------
    Karimi et al. 2021, "AEDA", arXiv 2108.13230: q between 1 and l/3, which this follows; the authors' code draws up to
    int(.3 l + 1).

    Examples
    --------
    >>> insert_punctuation(["a", "good", "film"], np.random.default_rng(0))
    ['a', 'good', ';', 'film']
    """
    if not words:
        return []
    q = int(rng.integers(1, max(1, int(alpha * len(words))) + 1))
    places = set(rng.permutation(len(words))[:q].tolist())
    marks = iter(rng.integers(len(MARKS), size=q).tolist())
    result = []
    for place, word in enumerate(words):
        if place in places:
            result.append(MARKS[next(marks)])
        result.append(word)
    return result


def token_dropout(
    words: Sequence[str],
    p: float,
    rng: np.random.Generator,
    *,
    unknown: str = "[UNK]",
    protected: IsProtected = is_protected,
) -> list[str]:
    """The text with each word made unknown with probability ``p``; one word is always left.

    Parameters
    ----------
    words, p, rng, protected
        As in `random_deletion`.
    unknown : str, default "[UNK]"
        What the vocabulary has for words that it does not know.

    Examples
    --------
    >>> token_dropout(["a", "not", "b"], 0.9, np.random.default_rng(0))
    ['[UNK]', 'not', '[UNK]']
    """
    draws = rng.random(len(words)).tolist()
    dropped = [draw < p and not protected(word) for word, draw in zip(words, draws, strict=True)]
    if words and all(dropped):
        dropped[int(rng.integers(len(words)))] = False
    return [unknown if drop else word for word, drop in zip(words, dropped, strict=True)]


class Guard:
    """Tells which variants may be trained on.

    A variant is dropped if it is a held-out text but for case and marks; or if a model gave the original its label and
    does not give it to the variant, or gives it a probability that is lower by more than ``max_fall``.

    Parameters
    ----------
    texts : sequence of sequence of str
        The training texts.
    labels : array of shape (n_texts,), int
        The number of the class of each, from 0.
    probabilities : callable, optional
        From a list of texts to an array of shape (n_texts, n_classes); fitted on the training texts only, e.g. TF-IDF and
        logistic regression. Without it labels are not looked at.
    held : iterable of sequence of str, default ()
        Validation texts.
    max_fall : float, default 0.3
        In [0, 1].

    Raises
    ------
    InputError
        If there is not one label per text, or the model does not give one row per text with a column per class.
    """

    def __init__(
        self,
        texts: Sequence[Sequence[str]],
        labels: NDArray[np.integer],
        *,
        probabilities: Callable[[list[list[str]]], NDArray[np.floating]] | None = None,
        held: Iterable[Sequence[str]] = (),
        max_fall: float = 0.3,
    ) -> None:
        check_number("max_fall", max_fall, 0, 1)
        self._labels, self._model, self._max_fall = np.asarray(labels), probabilities, max_fall
        self._held = {_key(text) for text in held}
        if len(self._labels) != len(texts):
            raise InputError(
                f"labels must be one per text, got {len(self._labels)} for {len(texts)} texts; give both of the same rows"
            )
        self._before = self._judge([list(text) for text in texts], self._labels)

    def _judge(
        self, texts: list[list[str]], labels: NDArray[np.integer]
    ) -> tuple[_Floats, NDArray[np.bool_]]:
        """The probability of each text's label, and whether none is more probable."""
        if self._model is None or not texts:
            return np.ones(len(texts)), np.ones(len(texts), bool)
        given = np.asarray(self._model(texts), dtype=np.float64)
        if (
            given.ndim != 2
            or len(given) != len(texts)
            or not 0 <= labels.min() <= labels.max() < given.shape[1]
        ):
            raise InputError(
                f"probabilities must give one row per text and a column per class, got shape {given.shape} for {len(texts)} "
                f"texts with labels {labels.min()} to {labels.max()}; number the classes from 0"
            )
        own: _Floats = given[np.arange(len(texts)), labels]
        return own, own >= given.max(axis=1)

    def part(self, rows: NDArray[np.int64]) -> "Guard":
        """Give the guard of some of the texts, in this order."""
        part = copy.copy(self)
        part._labels = self._labels[rows]
        part._before = (self._before[0][rows], self._before[1][rows])
        return part

    def reasons(self, variants: list[list[str]], source: NDArray[np.int64]) -> list[str]:
        """Why each variant is dropped: "held out", "label lost", or an empty string where it is kept.

        Parameters
        ----------
        variants : list of list of str
            What was drawn.
        source : array of shape (n_variants,), int64
            The place of the text that each comes from.
        """
        before, was_given = self._before[0][source], self._before[1][source]
        after, is_given = self._judge(variants, self._labels[source])
        lost = (was_given & ~is_given) | (before - after > self._max_fall)
        return [
            "held out" if _key(text) in self._held else "label lost" if fell else ""
            for text, fell in zip(variants, lost.tolist(), strict=True)
        ]


def _key(words: Sequence[str]) -> str:
    """The text without what makes no difference to a reader: case, marks, width of characters."""
    text = unicodedata.normalize("NFKC", " ".join(words)).lower()
    return " ".join(re.findall(r"\w+", text)) or text
