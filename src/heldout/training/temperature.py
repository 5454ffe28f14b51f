"""Temperature scaling, and the weights of two models: probabilities that mean what they say."""

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax

from heldout.data.series import FloatArray, IntArray

# Standard deviation of the prior on the logarithm: the samples that chose the epoch are mostly few and not quite fresh.
_PRIOR = 0.25
# Weights of a network and of a linear model before any text is seen: chosen on texts that no benchmark scores (docs/decisions.md).
_SHARES, _SPREAD = (0.25, 0.75), 0.05


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


def fit_mixture(
    logits: FloatArray, others: FloatArray, codes: IntArray, weight: FloatArray
) -> tuple[float, float]:
    """Give the share of one model in a mixture with another, and the temperature of the mixture.

    ``(share * logits + (1 - share) * others) / temperature`` has the least cross-entropy on samples that trained
    neither, under normal priors on both weights, of means 1/4 and 3/4 and standard deviation 1/20: a network beside a
    linear model, of which the latter is the surer on few samples.

    Parameters
    ----------
    logits, others : arrays of shape (n, n_classes)
        Of validation samples.
    codes, weight : arrays of shape (n,)
        As in `fit_temperature`; where all weights are 0 the priors alone decide.

    Returns
    -------
    share : float
        In [0, 1].
    temperature : float
        Above 0.

    References
    ----------
    Hinton 2002, Training products of experts, Neural Computation 14(8); Wolpert 1992, Stacked generalization, Neural
    Networks 5(2). The priors are ours.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> good, noise = rng.normal(size=(2, 4000, 3))
    >>> codes = (good + rng.gumbel(size=good.shape)).argmax(1)
    >>> share, temperature = fit_mixture(good, noise, codes, np.ones(4000))
    >>> round(share, 1), round(temperature, 1)
    (0.9, 1.1)
    """
    weight = weight / max(weight.mean(), 1e-12)
    both, rows = np.stack([logits, others]), np.arange(len(codes))
    truth = np.zeros(logits.shape)
    truth[rows, codes] = 1.0

    def loss(shares: FloatArray) -> tuple[float, FloatArray]:
        said = log_softmax(np.tensordot(shares, both, 1), axis=1)
        off = (shares - np.array(_SHARES)) / _SPREAD
        slope = np.einsum("n,knq,nq->k", weight, both, np.exp(said) - truth) + off / _SPREAD
        return 0.5 * float(off @ off) - float(weight @ said[rows, codes]), slope

    found = minimize(loss, np.array(_SHARES), jac=True, bounds=[(0, None), (0, None)], method="L-BFGS-B").x
    total = max(float(found.sum()), 1e-3)
    return float(found[0]) / total, 1 / total
