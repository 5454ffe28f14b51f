"""Temperature scaling: probabilities that mean what they say."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from heldout.data.series import FloatArray, IntArray

# Standard deviation of the prior on the logarithm: the samples that chose the epoch are mostly few and not quite fresh.
_PRIOR = 0.25


def fit_temperature(logits: FloatArray, codes: IntArray, weight: FloatArray) -> float:
    """Give the number that logits are divided by for the least cross-entropy on samples that did not train.

    A normal prior on its logarithm, of mean 0 and standard deviation 1/4, holds it near 1 where samples are few: six
    that are all right prove no certainty.

    Parameters
    ----------
    logits : array of shape (n, n_classes)
        Of validation samples.
    codes : array of shape (n,), int64
        Their classes.
    weight : array of shape (n,)
        How much each counts, against the others: n samples are the evidence of n.

    Returns
    -------
    float
        Between exp(-4) and exp(4).

    References
    ----------
    Guo et al. 2017, arXiv 1706.04599; the prior is ours.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(size=(4000, 3))
    >>> codes = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    >>> round(fit_temperature(5 * logits, codes, np.ones(4000)), 1)
    4.9
    """
    weight = weight / weight.mean()
    rows = np.arange(len(codes))

    def loss(log_temperature: float) -> float:
        said = log_softmax(logits / np.exp(log_temperature), axis=1)[rows, codes]
        return 0.5 * (log_temperature / _PRIOR) ** 2 - float(weight @ said)

    return float(np.exp(minimize_scalar(loss, bounds=(-4.0, 4.0), method="bounded").x))
