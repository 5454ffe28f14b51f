"""The readers of texts that a network must beat: the shares of the classes, and two linear models.

Each has a ``name`` and ``fit(texts, labels, n_classes, seed=...)``; what is fitted gives ``log_proba(texts)``. Fit them
to training and validation rows together: they choose what they must by cross-validation, and need no rows to stop on.
Axes: n texts, p terms, Q classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.special import log_softmax
from sklearn.feature_extraction.text import CountVectorizer

from heldout.check import check_number
from heldout.data.series import FloatArray, IntArray
from heldout.data.text import check_texts
from heldout.training.temperature import fit_temperature
from heldout.training.text_folds import (
    Logistic,
    check_labelled,
    cross_fit,
    deal_folds,
    log_loss_of,
    with_absent_classes,
)
from heldout.training.text_linear import MAX_TERMS, TextLinear, fit_text_linear, same_words, word_pairs

NB_INVERSE_PENALTIES = tuple(float(c) for c in np.logspace(-3, 1, 9))
"""Values of C that NB-SVM tries; its features are not scaled to length 1, so they are smaller than those of TF-IDF."""


class TextReader(Protocol):
    """A fitted reader of texts."""

    def log_proba(self, texts: Sequence[str]) -> FloatArray:
        """Give the log probability of every class, (n, Q)."""


class TextBaseline(Protocol):
    """A reader of texts to be fitted."""

    @property
    def name(self) -> str:
        """What reports call it."""

    def fit(self, texts: Sequence[str], labels: IntArray, n_classes: int, *, seed: int) -> TextReader:
        """Learn from texts with labels, and from nothing else."""


@dataclass(frozen=True)
class Majority:
    """The share of each class among the training texts, one text added to each class.

    Parameters
    ----------
    name : str, default "majority"
        What reports call it.

    Examples
    --------
    >>> reader = Majority().fit(["a", "b", "c"], np.array([0, 1, 1]), 2, seed=0)
    >>> np.exp(reader.log_proba(["d"]))
    array([[0.4, 0.6]])
    """

    name: str = "majority"

    def fit(self, texts: Sequence[str], labels: IntArray, n_classes: int, *, seed: int) -> TextReader:  # noqa: ARG002 - the interface of all baselines
        """Count the classes."""
        _, labels, _ = check_labelled(texts, labels, None, n_classes)
        return _Shares(np.log((np.bincount(labels, minlength=n_classes) + 1) / (len(labels) + n_classes)))


@dataclass(frozen=True, eq=False)
class _Shares:
    log_shares: FloatArray

    def log_proba(self, texts: Sequence[str]) -> FloatArray:
        return np.tile(self.log_shares, (len(check_texts(texts)), 1))


@dataclass(frozen=True)
class TfidfLogistic:
    """TF-IDF and logistic regression, the linear reader that can stand beside a network: see `fit_text_linear`.

    Parameters
    ----------
    name : str, default "tfidf"
        What reports call it.

    Examples
    --------
    >>> texts = ["a good film", "good fun", "a bad film", "bad and long"] * 2
    >>> reader = TfidfLogistic().fit(texts, np.array([1, 1, 0, 0] * 2), 2, seed=0)
    >>> reader.log_proba(["good", "so bad"]).argmax(1)
    array([1, 0])
    """

    name: str = "tfidf"

    def fit(self, texts: Sequence[str], labels: IntArray, n_classes: int, *, seed: int) -> TextReader:
        """Choose C by cross-validated log loss, then fit to all texts."""
        linear, _ = fit_text_linear(texts, labels, np.ones(len(labels)), n_classes, seed=seed)
        return _Linear(linear)


@dataclass(frozen=True, eq=False)
class _Linear:
    linear: TextLinear

    def log_proba(self, texts: Sequence[str]) -> FloatArray:
        return self.linear.logits(texts)


@dataclass(frozen=True)
class NBSVM:
    """Naive Bayes features under a linear classifier: words and pairs, present or not, times their log-count ratio.

    For classes 1 and 0 with sums of present terms p and q (1 added to each), r = log((p / |p|) / (q / |q|)). A logistic
    regression on the features times r gives w; the model takes ``(1 - beta) mean|w| + beta w``, between naive Bayes and
    w. More than two classes are each set against the others. C is the one of least cross-validated log loss, after
    scaling by one temperature, which the interpolation makes necessary.

    Parameters
    ----------
    name : str, default "nbsvm"
        What reports call it.
    beta : float, default 0.25
        In [0, 1]; 1 does not interpolate. Lowering it makes overfitting less likely.

    References
    ----------
    Wang and Manning 2012, Baselines and Bigrams, ACL P12-2018, section 2.3. There the classifier is an SVM, which
    gives no probabilities; the intercept is multiplied by beta with w, for without it unequal classes drown the rest
    (accuracy 70.9 for 77.1, on five sets of 500 texts).

    Examples
    --------
    >>> texts = ["a good film", "good fun", "a bad film", "bad and long"] * 2
    >>> reader = NBSVM().fit(texts, np.array([1, 1, 0, 0] * 2), 2, seed=0)
    >>> reader.log_proba(["good", "so bad"]).argmax(1)
    array([1, 0])
    """

    name: str = "nbsvm"
    beta: float = 0.25

    def fit(self, texts: Sequence[str], labels: IntArray, n_classes: int, *, seed: int) -> TextReader:
        """Choose C and a temperature on texts held out, then fit to all texts."""
        check_number("beta", self.beta, 0, 1)
        texts, labels, weight = check_labelled(texts, labels, None, n_classes)
        counter = CountVectorizer(analyzer=word_pairs, binary=True, max_features=MAX_TERMS, dtype=np.float64)
        present = counter.fit_transform(texts)
        rows = deal_folds(same_words(texts), seed=seed)
        log_loss = log_loss_of(labels, weight)

        def measure(scores: FloatArray, rows: IntArray) -> float:
            temperature = fit_temperature(scores, labels[rows], weight[rows])
            return log_loss(log_softmax(scores / temperature, axis=1), rows)

        chosen, temperature = NB_INVERSE_PENALTIES[len(NB_INVERSE_PENALTIES) // 2], 1.0
        if len(rows) > 1:
            folds = [_NBFold(present, labels, held, _LogCountRatio(n_classes, self.beta)) for held in rows]
            chosen, scores = cross_fit(folds, measure, n_classes, NB_INVERSE_PENALTIES)
            temperature = fit_temperature(scores, labels, weight)
        model = _LogCountRatio(n_classes, self.beta).fit(present, labels, chosen)
        return _NBReader(counter, model, temperature)


class _LogCountRatio:
    """NB-SVM at one C; a refit begins where the last one ended."""

    def __init__(self, n_classes: int, beta: float) -> None:
        self.n_classes, self.beta = n_classes, beta
        self._models = [Logistic(2) for _ in range(n_classes)]

    def fit(self, present: Any, labels: IntArray, inverse_penalty: float) -> "_LogCountRatio":
        self.classes, self.n_texts = np.unique(labels), len(labels)
        self.coefficients = np.zeros((present.shape[1], self.n_classes))
        self.intercept = np.zeros(self.n_classes)
        weight = np.ones(len(labels))
        # Of two classes the second against the first says all.
        against = self.classes[1:] if len(self.classes) == 2 else self.classes
        for one in against if len(self.classes) > 1 else ():
            own = labels == one
            ratio = _log_ratio(present, own)
            model = self._models[one].fit(
                present.multiply(ratio).tocsr(), own.astype(np.int64), weight, inverse_penalty
            )
            w = model.coefficients[:, 1]
            mixed = (1 - self.beta) * np.abs(w).mean() + self.beta * w
            self.coefficients[:, one], self.intercept[one] = ratio * mixed, self.beta * model.intercept[1]
        return self

    def log_proba(self, present: Any) -> FloatArray:
        scores = np.asarray(present @ self.coefficients) + self.intercept
        return with_absent_classes(scores, self.classes, self.n_texts)


def _log_ratio(present: Any, own: Any) -> FloatArray:
    p, q = (1 + np.asarray(present[rows].sum(axis=0)).ravel() for rows in (own, ~own))
    return np.asarray(np.log((p / p.sum()) / (q / q.sum())))


class _NBFold:
    def __init__(self, present: Any, labels: IntArray, held: IntArray, model: _LogCountRatio) -> None:
        train = np.setdiff1d(np.arange(len(labels)), held)
        seen = np.flatnonzero(present[train].getnnz(axis=0))  # others would count through mean|w|
        self.held, self._model = held, model
        self._train = present[train][:, seen], labels[train]
        self._features = present[held][:, seen]

    def scores(self, inverse_penalty: float) -> FloatArray:
        return self._model.fit(*self._train, inverse_penalty).log_proba(self._features)


@dataclass(frozen=True, eq=False)
class _NBReader:
    counter: Any
    model: _LogCountRatio
    temperature: float

    def log_proba(self, texts: Sequence[str]) -> FloatArray:
        texts = check_texts(texts)
        if not texts:
            return np.empty((0, self.model.n_classes))
        said = self.model.log_proba(self.counter.transform(texts))
        return np.asarray(log_softmax(said / self.temperature, axis=1))


def standard_text_baselines() -> list[TextBaseline]:
    """Give the baselines of a text fit: majority, TF-IDF + logistic regression, NB-SVM.

    Examples
    --------
    >>> [baseline.name for baseline in standard_text_baselines()]
    ['majority', 'tfidf', 'nbsvm']
    """
    return [Majority(), TfidfLogistic(), NBSVM()]
