"""A linear reader of texts: TF-IDF of words, pairs and beginnings of words, and a logistic regression on it.

A network is trained on top of what it says of texts that it was not fitted to, so the two never share an over-sure
sight of the training texts. Axes: n texts, p terms, Q classes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from torch import Tensor

from heldout.check import InputError, check_number
from heldout.data.series import FloatArray, IntArray
from heldout.data.text import SPECIAL, WORD, Vocabulary, check_texts
from heldout.training.checkpoint import ModelFileError
from heldout.training.shared import Parts, Shared, key_of
from heldout.training.text_folds import (
    INVERSE_PENALTIES,
    Logistic,
    check_labelled,
    cross_fit,
    deal_folds,
    log_loss_of,
    with_absent_classes,
)

MAX_TERMS = 300_000
"""Terms kept, the most frequent: bounds memory on large corpora."""

_BEGINNINGS = range(3, 7)  # letters
_NO_WORDS = "[UNK]"  # what a text without words is read as; no word has brackets
_WORD = re.compile(WORD, re.ASCII)
_TOKENIZER = Vocabulary(SPECIAL, (0, 0)).tokenizer  # cuts without a vocabulary


def cut_words(text: str) -> list[str]:
    """Give the words of a text as the vocabulary of a network cuts them, in small letters.

    Parameters
    ----------
    text : str
        Any; without words it is one unknown word.

    Examples
    --------
    >>> cut_words("I don't!!")
    ['i', 'do', "n't", '!!']
    """
    if text.isascii():  # four times as fast, and the same
        return [found[0] for found in _WORD.finditer(text.lower())] or [_NO_WORDS]
    plain = _TOKENIZER.normalizer.normalize_str(text)
    return [word for word, _ in _TOKENIZER.pre_tokenizer.pre_tokenize_str(plain)] or [_NO_WORDS]


def word_pairs(text: str) -> list[str]:
    """Give the words of a text and its pairs of neighbouring words.

    Parameters
    ----------
    text : str
        Any.

    Examples
    --------
    >>> word_pairs("Good film")
    ['good', 'film', 'good film']
    """
    words = cut_words(text)
    return [*words, *map(" ".join, pairwise(words))]


def linear_terms(text: str) -> list[str]:
    """Give the words of a text, its pairs of words, and the beginnings of words (3 to 6 letters, ``*`` behind).

    Beginnings join forms of one word without knowing its language, and say something of words never seen.

    Parameters
    ----------
    text : str
        Any.

    Examples
    --------
    >>> linear_terms("was boring")
    ['was', 'boring', 'was boring', 'was*', 'bor*', 'bori*', 'borin*', 'boring*']
    """
    terms = word_pairs(text)
    # Pairs have a space; marks have no beginnings.
    words = [term for term in terms if term[0].isalnum() and " " not in term]
    return [*terms, *(word[:k] + "*" for word in words for k in _BEGINNINGS if len(word) >= k)]


def same_words(texts: Sequence[str]) -> IntArray:
    """Give texts of the same words the same number.

    Parameters
    ----------
    texts : sequence of str
        The texts.

    Examples
    --------
    >>> same_words(["a b", "c", "A  b"])
    array([0, 1, 0])
    """
    found: dict[str, int] = {}
    return np.array([found.setdefault(" ".join(cut_words(text)), len(found)) for text in texts], np.int64)


@dataclass(frozen=True, eq=False)
class TextLinear:
    """A fitted linear reader of texts.

    Attributes
    ----------
    terms : tuple of str
        p terms, see `linear_terms`.
    idf : array of shape (p,)
        Weight of each term.
    coefficients, intercept : arrays of shape (p, Q) and (Q,)
        Of the classes that occur; 0 elsewhere.
    classes : array of shape (K,), int64
        The classes that the training texts had, rising.
    n_texts : int
        Training texts.
    inverse_penalty : float
        The chosen one of `INVERSE_PENALTIES`.
    """

    terms: tuple[str, ...]
    idf: FloatArray
    coefficients: FloatArray
    intercept: FloatArray
    classes: IntArray
    n_texts: int
    inverse_penalty: float

    @property
    def n_parameters(self) -> int:
        """Numbers learned by the logistic regression."""
        return self.coefficients.size + self.intercept.size

    @cached_property
    def _counter(self) -> Any:
        return CountVectorizer(analyzer=linear_terms, vocabulary=self.terms, dtype=np.float64)

    @cached_property
    def _tfidf(self) -> Any:
        tfidf = TfidfTransformer(sublinear_tf=True)
        tfidf.idf_ = self.idf
        return tfidf

    def logits(self, texts: Sequence[str]) -> FloatArray:
        """Give the log probability of every class, (n, Q); a text of terms never seen gets those of the intercept.

        Parameters
        ----------
        texts : sequence of str
            Any but the training texts: of those it is too sure, and `fit_text_linear` gives what to take.

        Raises
        ------
        InputError
            If a text is no str.
        """
        texts = check_texts(texts)
        if not texts:
            return np.empty((0, len(self.intercept)))
        features = self._tfidf.transform(self._counter.transform(texts))
        scores = np.asarray(features @ self.coefficients) + self.intercept
        return with_absent_classes(scores, self.classes, self.n_texts)

    def to_file_parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Give what a model file holds: named tensors and JSON metadata."""
        terms = np.frombuffer("\n".join(self.terms).encode(), np.uint8).copy()
        arrays = {
            "terms": terms,
            "idf": self.idf,
            "coefficients": self.coefficients,
            "intercept": self.intercept,
        }
        metadata = {
            "classes": self.classes.tolist(),
            "n_texts": self.n_texts,
            "inverse_penalty": self.inverse_penalty,
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}, metadata

    @classmethod
    def from_file_parts(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Self:
        """Build what `to_file_parts` described.

        Parameters
        ----------
        tensors, metadata : dict
            From a file; others' entries are not read.

        Raises
        ------
        ModelFileError
            If the parts do not fit.
        """
        try:
            arrays = {name: tensors[name].numpy() for name in ("idf", "coefficients", "intercept")}
            terms = tuple(tensors["terms"].numpy().tobytes().decode().split("\n"))
            classes = np.array(metadata["classes"])
            check_number("n_texts", metadata["n_texts"], 1, np.inf)
            check_number("inverse_penalty", metadata["inverse_penalty"], 0, np.inf, open_low=True)
            _check_parts(terms, classes, **arrays)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise ModelFileError(
                f"the model file does not describe a linear reader of texts: {error}"
            ) from error
        return cls(
            terms,
            classes=classes,
            n_texts=metadata["n_texts"],
            inverse_penalty=float(metadata["inverse_penalty"]),
            **arrays,
        )


def _check_parts(
    terms: tuple[str, ...],
    classes: IntArray,
    idf: FloatArray,
    coefficients: FloatArray,
    intercept: FloatArray,
) -> None:
    n_terms, n_classes = len(terms), len(intercept)
    if len(set(terms)) != n_terms or idf.shape != (n_terms,) or coefficients.shape != (n_terms, n_classes):
        raise InputError(
            f"{n_terms} terms, each once, do not fit weights of shape {idf.shape} and {coefficients.shape}"
        )
    if not all(a.dtype == np.float64 and np.isfinite(a).all() for a in (idf, coefficients, intercept)):
        raise InputError("its numbers must be finite and of double precision")
    known = classes.dtype == np.int64 and classes.ndim == 1 and len(classes) > 0
    if not (known and classes.min() >= 0 and classes.max() < n_classes and (np.diff(classes) > 0).all()):
        raise InputError(f"classes {classes.tolist()} are no rising numbers below {n_classes}")


class _TfidfFold:
    """TF-IDF and logistic regression, learned on all rows but those held."""

    def __init__(
        self, counts: Any, labels: IntArray, weight: FloatArray, held: IntArray, n_classes: int
    ) -> None:
        train = np.setdiff1d(np.arange(len(labels)), held)
        self.held = held
        seen = np.flatnonzero(counts[train].getnnz(axis=0))  # a term of held texts only is no term
        tfidf = TfidfTransformer(sublinear_tf=True)
        self._train = tfidf.fit_transform(counts[train][:, seen]), labels[train], weight[train]
        self._features = tfidf.transform(counts[held][:, seen])
        self._model = Logistic(n_classes)

    def scores(self, inverse_penalty: float) -> FloatArray:
        return self._model.fit(*self._train, inverse_penalty).log_proba(self._features)


def fit_text_linear(
    texts: Sequence[str],
    labels: IntArray,
    weight: FloatArray,
    n_classes: int,
    *,
    seed: int,
    units: IntArray | None = None,
) -> tuple[TextLinear, FloatArray]:
    """Fit the linear reader, and give what it says of each text when it is fitted without it.

    What is to learn on top of it must be shown the latter: of texts it was fitted to it is too sure, and a changed
    copy of a training text takes the logits of its original. Only C is chosen on all labels at once.

    Parameters
    ----------
    texts : sequence of n str
        Training texts; no other is ever read.
    labels : array of shape (n,), int64
        Numbers of classes from 0; a class may be absent.
    weight : array of shape (n,)
        Positive; how much each text counts.
    n_classes : int
        Q.
    seed : int
        Deals the folds.
    units : array of shape (n,), int64, optional
        Texts with one number stay in one fold; None takes texts of the same words.

    Returns
    -------
    linear : TextLinear
        Fitted to all texts, with the C of least weighted log loss over texts held out.
    logits : array of shape (n, Q)
        Log probabilities of each text from a fit without its fold, of other terms and other weights too; all classes
        alike where all texts are one.

    Raises
    ------
    InputError
        If a text is no str, there is none, or labels and weights do not fit.

    References
    ----------
    Lin et al. 2023, Linear Classifier: An Often-Forgotten Baseline for Text Classification, arXiv:2306.07111;
    beginnings of words are ours.

    Examples
    --------
    >>> texts = ["a good film", "good fun", "a bad film", "bad and long"] * 2
    >>> linear, logits = fit_text_linear(texts, np.array([1, 1, 0, 0] * 2), np.ones(8), 2, seed=0)
    >>> linear.logits(["good", "so bad"]).argmax(1), logits.shape
    (array([1, 0]), (8, 2))
    """
    texts, labels, weight = check_labelled(texts, labels, weight, n_classes)
    counter = CountVectorizer(analyzer=linear_terms, max_features=MAX_TERMS, dtype=np.float64)
    counts = counter.fit_transform(texts)
    rows = deal_folds(same_words(texts) if units is None else units, seed=seed)
    chosen = INVERSE_PENALTIES[len(INVERSE_PENALTIES) // 2]
    logits = np.full((len(texts), n_classes), -np.log(n_classes))
    if len(rows) > 1:
        folds = [_TfidfFold(counts, labels, weight, held, n_classes) for held in rows]
        chosen, logits = cross_fit(folds, log_loss_of(labels, weight), n_classes)
    tfidf = TfidfTransformer(sublinear_tf=True)
    model = Logistic(n_classes).fit(tfidf.fit_transform(counts), labels, weight, chosen)
    terms = tuple(counter.get_feature_names_out().tolist())
    linear = TextLinear(
        terms, tfidf.idf_, model.coefficients, model.intercept, model.classes, len(texts), chosen
    )
    return linear, logits


def share_text_linear(
    shared: Shared,
    texts: Sequence[str],
    labels: IntArray,
    weight: FloatArray,
    n_classes: int,
    *,
    units: IntArray | None = None,
) -> tuple[TextLinear, FloatArray]:
    """Give `fit_text_linear` with seed 0, from what other fits have left where the arguments are the same.

    Parameters
    ----------
    shared : Shared
        Holds them.
    texts, labels, weight, n_classes, units
        As for `fit_text_linear`.
    """

    def make() -> Parts:
        linear, logits = fit_text_linear(texts, labels, weight, n_classes, seed=0, units=units)
        tensors, metadata = linear.to_file_parts()
        return {name: value.numpy() for name, value in tensors.items()} | {"logits": logits}, metadata

    of = [labels, weight, n_classes, units]
    arrays, metadata = shared.get(key_of("text linear", list(texts), *of), make)
    tensors = {name: torch.from_numpy(value) for name, value in arrays.items() if name != "logits"}
    return TextLinear.from_file_parts(tensors, metadata), arrays["logits"]
