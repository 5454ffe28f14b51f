"""Fits of linear models to all texts but a part, for every part: which C to take, and what is said of texts held out.

Axes: n texts, p features, Q classes.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

import numpy as np
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from heldout.check import InputError, check_number
from heldout.data.series import FloatArray, IntArray
from heldout.data.text import check_texts

INVERSE_PENALTIES = tuple(float(c) for c in np.logspace(-1, 3, 9))
"""Values of C tried, the search begins at the middle one; the larger, the weaker the penalty on squared coefficients."""

N_FOLDS = 5
_JUDGES = 2000  # held-out texts that choose C: more of them would choose the same


class HeldFold(Protocol):
    """A part of the texts held out of fits that differ in C only."""

    held: IntArray

    def scores(self, inverse_penalty: float) -> FloatArray:
        """Give (n_held, Q) for the texts held out, from a fit to all others."""


class Logistic:
    """Logistic regression on sparse features of the classes that occur; refits begin at the last coefficients.

    Parameters
    ----------
    n_classes : int
        Q.
    """

    def __init__(self, n_classes: int) -> None:
        self.n_classes = n_classes
        # Newton steps take a tenth of the time of L-BFGS where there are many terms and some classes.
        self._model = LogisticRegression(solver="newton-cg", tol=1e-6, max_iter=100, warm_start=True)

    def fit(self, features: Any, labels: IntArray, weight: FloatArray, inverse_penalty: float) -> Self:
        """Learn coefficients (p, Q), intercept (Q,), and which classes (K,) occur."""
        self.classes, counts = np.unique(labels, return_counts=True)
        self.n_texts = int(counts.sum())
        self.coefficients = np.zeros((features.shape[1], self.n_classes))
        self.intercept = np.zeros(self.n_classes)
        if len(self.classes) > 1:
            self._model.C = inverse_penalty
            with warnings.catch_warnings():  # a step short of the tolerance is no fault of the user's
                warnings.simplefilter("ignore", ConvergenceWarning)
                warnings.filterwarnings("ignore", message="(?i).*line search")
                self._model.fit(features, labels, sample_weight=weight)
            # Two classes share one column, which is the difference of theirs.
            last = self.classes[-len(self._model.coef_) :]
            self.coefficients[:, last], self.intercept[last] = self._model.coef_.T, self._model.intercept_
        return self

    def log_proba(self, features: Any) -> FloatArray:
        """Give (n, Q)."""
        scores = np.asarray(features @ self.coefficients) + self.intercept
        return with_absent_classes(scores, self.classes, self.n_texts)


def with_absent_classes(scores: FloatArray, classes: IntArray, n_texts: int) -> FloatArray:
    """Give log probabilities in which each class that no training text had has the probability 1 / (n + Q).

    Parameters
    ----------
    scores : array of shape (n, Q)
        Logits; those of absent classes are not read.
    classes : array of shape (K,), int64
        The classes that occur.
    n_texts : int
        Training texts.

    Returns
    -------
    array of shape (n, Q)
        Rows sum to 1 in probability.

    Examples
    --------
    >>> np.exp(with_absent_classes(np.zeros((1, 3)), np.array([0, 2]), 7))
    array([[0.45, 0.1 , 0.45]])
    """
    n_classes = scores.shape[1]
    share = 1 / (n_texts + n_classes)
    found = np.full(scores.shape, np.log(share))
    left = np.log1p(-share * (n_classes - len(classes)))
    found[:, classes] = log_softmax(scores[:, classes], axis=1) + left
    return found


def deal_folds(units: Sequence[int] | IntArray, *, seed: int) -> list[IntArray]:
    """Give the rows of up to five parts; no unit is in two of them, and labels are never read.

    Parameters
    ----------
    units : array of shape (n,), int64
        Texts with one number stay together.
    seed : int
        Deals.

    Returns
    -------
    list of arrays of int64
        Rows in rising order; one part only if there is one unit.

    Examples
    --------
    >>> deal_folds([0, 1, 0], seed=0)
    [array([0, 2]), array([1])]
    """
    names, unit = np.unique(np.asarray(units, np.int64), return_inverse=True)
    place = np.random.default_rng(seed).permutation(len(names)) % N_FOLDS
    return [np.flatnonzero(place[unit] == fold) for fold in range(min(N_FOLDS, len(names)))]


def cross_fit(
    folds: Sequence[HeldFold],
    measure: Callable[[FloatArray, IntArray], float],
    n_classes: int,
    inverse_penalties: Sequence[float] = INVERSE_PENALTIES,
) -> tuple[float, FloatArray]:
    """Give the C that does best on texts held out, and what fits with it say of every text while it is held out.

    From the middle of the values the search goes to the side that improves, until it improves no more.

    Parameters
    ----------
    folds : sequence of HeldFold
        Each text in one; the first, as many as hold 2000 texts, choose C.
    measure : callable
        ``measure(scores, rows)`` gives the loss of the scores of these rows.
    n_classes : int
        Q.
    inverse_penalties : sequence of float
        Rising.

    Returns
    -------
    inverse_penalty : float
        One of those given.
    scores : array of shape (n, Q)
        In the order of the rows.
    """
    enough = int(np.searchsorted(np.cumsum([len(fold.held) for fold in folds]), _JUDGES)) + 1
    judges = folds[:enough]
    rows = np.concatenate([fold.held for fold in judges])

    def attempt(place: int) -> tuple[float, list[FloatArray]]:
        said = [fold.scores(inverse_penalties[place]) for fold in judges]
        return measure(np.concatenate(said), rows), said

    place = len(inverse_penalties) // 2
    loss, said = attempt(place)
    for step in (1, -1):
        start = place
        while 0 <= place + step < len(inverse_penalties):
            new_loss, new_said = attempt(place + step)
            if not new_loss < loss:
                break
            place, loss, said = place + step, new_loss, new_said
        if place != start:
            break
    chosen = inverse_penalties[place]
    scores = np.empty((sum(len(fold.held) for fold in folds), n_classes))
    scores[np.concatenate([fold.held for fold in folds])] = np.concatenate(
        [*said, *(fold.scores(chosen) for fold in folds[enough:])]
    )
    return chosen, scores


def check_labelled(
    texts: Sequence[str], labels: IntArray, weight: FloatArray | None, n_classes: int
) -> tuple[list[str], IntArray, FloatArray]:
    """Give texts, labels and weights (None: all 1) as a list and arrays, or raise `InputError` if they do not fit.

    Parameters
    ----------
    texts, labels, weight, n_classes
        As in `fit_text_linear`.
    """
    texts, labels = check_texts(texts), np.asarray(labels)
    weight = np.ones(len(texts)) if weight is None else np.asarray(weight, np.float64)
    check_number("n_classes", n_classes, 1, np.inf)
    if not texts or labels.shape != (len(texts),) or weight.shape != (len(texts),):
        raise InputError(
            f"texts, labels and weights must be as many, at least one, got {len(texts)} texts, labels of shape {labels.shape} "
            f"and weights of shape {weight.shape}"
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= n_classes:
        raise InputError(
            f"labels must be whole numbers from 0 to {n_classes - 1}, got {labels.dtype} from {labels.min()} to {labels.max()}"
        )
    if not (np.isfinite(weight) & (weight > 0)).all():
        bad = int(np.flatnonzero(~(np.isfinite(weight) & (weight > 0)))[0])
        raise InputError(f"weights must be finite and above 0, but that of text {bad} is {weight[bad]}")
    return texts, labels.astype(np.int64), weight


def log_loss_of(labels: IntArray, weight: FloatArray) -> Callable[[FloatArray, IntArray], float]:
    """Give a function of log probabilities (k, Q) and rows (k,): their weighted mean log loss, in nats.

    Parameters
    ----------
    labels, weight : arrays of shape (n,)
        Of all rows.
    """

    def loss(log_proba: FloatArray, rows: IntArray) -> float:
        return -float(np.average(log_proba[np.arange(len(rows)), labels[rows]], weights=weight[rows]))

    return loss
