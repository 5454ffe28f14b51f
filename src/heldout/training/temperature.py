"""Temperature scaling: probabilities that mean what they say."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from heldout.data.series import FloatArray, IntArray


def fit_temperature(logits: FloatArray, codes: IntArray, weight: FloatArray) -> float:
    """Give the number that logits are divided by for the least cross-entropy on samples that did not train.

    The targets are smoothed by one count per class, as Platt's: a few samples that are all right prove no certainty.

    Parameters
    ----------
    logits : array of shape (n, n_classes)
        Of validation samples.
    codes : array of shape (n,), int64
        Their classes.
    weight : array of shape (n,)
        How much each counts.

    Returns
    -------
    float
        Between exp(-4) and exp(4).

    References
    ----------
    Guo et al. 2017, arXiv 1706.04599. Platt 1999 for the targets.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(size=(4000, 3))
    >>> codes = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    >>> round(fit_temperature(5 * logits, codes, np.ones(4000)), 1)
    5.0
    """
    n, n_classes = logits.shape
    target = np.full(logits.shape, 1 / (n + n_classes))
    target[np.arange(n), codes] = (n + 1) / (n + n_classes)
    weight = weight / weight.sum()

    def loss(log_temperature: float) -> float:
        said = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(weight @ (target * said).sum(axis=1))

    return float(np.exp(minimize_scalar(loss, bounds=(-4.0, 4.0), method="bounded").x))
