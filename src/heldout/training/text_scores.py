"""What probabilities of classes are worth: log loss, right answers, and whether they mean what they say.

Axes: n texts, Q classes. The class said is the likeliest, of equal ones the first.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import accuracy_score, f1_score, recall_score

from heldout.check import InputError, check_number
from heldout.data.series import FloatArray, IntArray

LEAST_LOG_PROBABILITY = float(np.log(1e-15))
"""Below it log probabilities count as it, in nats: one text, however wrong and sure, costs at most 34.5."""


def text_log_loss(log_proba: ArrayLike, labels: ArrayLike) -> FloatArray:
    """Log loss per text, minus the log probability of its class, in nats, at most 34.5.

    Parameters
    ----------
    log_proba : array of shape (n, Q)
        Log probabilities; rows sum to 1 in probability.
    labels : array of shape (n,), int
        Numbers of the classes, from 0.

    Returns
    -------
    array of shape (n,)
        At least 0.

    Raises
    ------
    InputError
        If shapes or labels do not fit, a value is missing, or a row does not sum to 1.

    Examples
    --------
    >>> text_log_loss(np.log([[0.5, 0.5], [0.9, 0.1]]), [0, 1]).round(3)
    array([0.693, 2.303])
    """
    log_proba, labels = _checked(log_proba, labels)
    said = log_proba[np.arange(len(labels)), labels]
    return np.asarray(-said.clip(LEAST_LOG_PROBABILITY, 0.0))


def calibration_bins(
    log_proba: ArrayLike, labels: ArrayLike, *, n_bins: int = 15
) -> tuple[float, list[dict[str, Any]]]:
    """Expected calibration error, and the bins of equal width that it is the weighted mean distance of.

    Parameters
    ----------
    log_proba, labels : arrays of shape (n, Q) and (n,)
        As in `text_log_loss`.
    n_bins : int, default 15
        Bins of the probability of the class said, each open on the left and closed on the right.

    Returns
    -------
    error : float
        ``sum_b n_b / n |accuracy_b - confidence_b|``, in [0, 1]. Of few texts it is above 0 even where all is right.
    bins : list of dict
        ``confidence`` (mean probability of the class said), ``accuracy`` and ``n`` of each bin that is not empty.

    References
    ----------
    Guo et al. 2017, arXiv:1706.04599, equations 2, 3 and 5.

    Examples
    --------
    >>> calibration_bins(np.log([[0.75, 0.25], [0.75, 0.25]]), [0, 1])
    (0.25, [{'confidence': 0.75, 'accuracy': 0.5, 'n': 2}])
    """
    check_number("n_bins", n_bins, 1, np.inf, open_high=True)
    log_proba, labels = _checked(log_proba, labels)
    confidence = np.exp(log_proba.max(axis=1)).clip(0.0, 1.0)
    right = log_proba.argmax(axis=1) == labels
    place = np.ceil(confidence * n_bins).astype(np.int64)
    bins = [
        {
            "confidence": float(confidence[inside].mean()),
            "accuracy": float(right[inside].mean()),
            "n": int(inside.sum()),
        }
        for inside in (place == number for number in np.unique(place))
    ]
    error = sum(b["n"] / len(labels) * abs(b["accuracy"] - b["confidence"]) for b in bins)
    return float(error), bins


def text_scores(log_proba: ArrayLike, labels: ArrayLike) -> dict[str, Any]:
    """All scores of the probabilities of some texts; JSON can hold them, the order of the texts does not count.

    Parameters
    ----------
    log_proba, labels : arrays of shape (n, Q) and (n,)
        As in `text_log_loss`.

    Returns
    -------
    dict
        ``log_loss``: mean, in nats. ``accuracy``. ``macro_f1``: mean F1 of the classes that a text has or is said to
        have; one that is said but never there counts 0, one that is neither does not count. ``balanced_accuracy``:
        mean recall of the classes that a text has. ``ece`` and ``bins``: see `calibration_bins`. ``confusion``: Q lists
        of Q, how many texts of the i-th class were said to be of the j-th.

    Raises
    ------
    InputError
        As in `text_log_loss`.

    Examples
    --------
    >>> scores = text_scores(np.log([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.6, 0.3, 0.1]]), [0, 1, 1])
    >>> scores["confusion"], round(scores["macro_f1"], 3), scores["balanced_accuracy"]
    ([[1, 0, 0], [1, 1, 0], [0, 0, 0]], 0.667, 0.75)
    """
    log_proba, labels = _checked(log_proba, labels)
    said, n_classes = log_proba.argmax(axis=1), log_proba.shape[1]
    ece, bins = calibration_bins(log_proba, labels)
    return {
        "log_loss": float(text_log_loss(log_proba, labels).mean()),
        "accuracy": float(accuracy_score(labels, said)),
        "macro_f1": float(f1_score(labels, said, average="macro", zero_division=0)),
        # scikit-learn's balanced_accuracy_score is this, and warns of classes that are said but never there.
        "balanced_accuracy": float(
            recall_score(labels, said, labels=np.unique(labels), average="macro", zero_division=0)
        ),
        "ece": ece,
        "bins": bins,
        # Not scikit-learn's confusion_matrix, which warns where there is one class.
        "confusion": np.bincount(labels * n_classes + said, minlength=n_classes**2)
        .reshape(n_classes, n_classes)
        .tolist(),
    }


def _checked(log_proba: ArrayLike, labels: ArrayLike) -> tuple[FloatArray, IntArray]:
    said, numbers = np.asarray(log_proba, np.float64), np.asarray(labels)
    if said.ndim != 2 or not said.size or numbers.shape != said.shape[:1]:
        raise InputError(
            f"log probabilities (texts, classes) need one label per text, at least one, got shapes {said.shape} and {numbers.shape}"
        )
    if numbers.dtype.kind not in "iu" or numbers.min() < 0 or numbers.max() >= said.shape[1]:
        raise InputError(
            f"labels must be whole numbers from 0 to {said.shape[1] - 1}, got {numbers.dtype} from {numbers.min()} to {numbers.max()}"
        )
    off = ~(np.abs(np.exp(said.clip(max=1.0)).sum(axis=1) - 1) < 1e-4)
    if off.any():
        row = int(np.flatnonzero(off)[0])
        raise InputError(
            f"probabilities of a text must sum to 1, but the exponentials of row {row} sum to {np.exp(said[row]).sum():g}; "
            "take the logarithm of probabilities, or log_softmax of logits"
        )
    return said, numbers.astype(np.int64)
