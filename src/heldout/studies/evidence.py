"""Evidence beside a verdict: what a fit makes of shuffled labels, and what more data would be worth."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from heldout.data.series import FloatArray

_DRAWS = 400
_STEEPEST = 2.0
SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Of the training rows, the most recent ones: the learning curve."""


def memorisation(real_train: float, shuffled_train: Sequence[float], constant: float) -> float | None:
    """Give how much of the fit to the training rows needs no signal.

    ``M = (L0 - L_shuffled) / (L0 - L_real)``: L0 the loss of the best constant, the others those of the same recipe on its
    training rows, with shuffled labels (their mean) and with the true ones.

    Parameters
    ----------
    real_train : float
        Training loss with the true labels.
    shuffled_train : sequence of float
        Training losses with shuffled labels, one for each draw.
    constant : float
        L0.

    Returns
    -------
    float or None
        About 1: all of the training fit could come from noise. About 0: none of it. None where the recipe follows the true
        labels no better than a constant does, so that there is nothing to explain.

    References
    ----------
    Zhang, Bengio, Hardt, Recht and Vinyals 2017, Understanding deep learning requires rethinking generalization, ICLR.

    Examples
    --------
    >>> memorisation(0.2, [0.6, 0.6], 1.0)
    0.5
    """
    explained = constant - real_train
    if explained <= 1e-3 * abs(constant):
        return None
    return float((constant - np.mean(shuffled_train)) / explained)


def signal_p_value(real: float, shuffled: Sequence[float]) -> float:
    """Give the p value of "there is nothing to learn", from losses on new rows after training on shuffled labels.

    ``(1 + number of shuffled losses at or below the real one) / (1 + number of draws)``

    Parameters
    ----------
    real : float
        Loss on new rows after training on the true labels.
    shuffled : sequence of float
        The same after training on shuffled ones.

    References
    ----------
    Ojala and Garriga 2010, Permutation tests for studying classifier performance, JMLR 11.

    Examples
    --------
    >>> signal_p_value(0.5, [1.0] * 19)
    0.05
    """
    return (1 + int((np.asarray(shuffled) <= real).sum())) / (1 + len(shuffled))


def learning_curve(n: ArrayLike, losses: ArrayLike, *, seed: int = 0) -> dict[str, Any]:
    """Fit ``a + b n^-c`` to losses on new rows after training on more and more of them.

    Parameters
    ----------
    n : array of shape (n_sizes,)
        Training samples, rising.
    losses : array of shape (n_folds, n_sizes)
        Loss of each fold at each size.
    seed : int, default 0
        Of the bootstrap over folds.

    Returns
    -------
    dict
        ``n`` and ``loss`` (mean over folds) of the points; ``fitted``, the curve there; ``twice``: by which share the loss
        would fall with twice the data (mean, low, high at 95 %, over bootstrap draws of the folds; no ends with under 3
        folds, None where the curve cannot be fitted). Nothing is said beyond twice the data.

    Notes
    -----
    The curve is held to ``0 <= c <= 2`` and ``a >= 0``: the loss of more data of the same kind does not rise. Where the
    losses do rise with n, the past is of another kind, and the curve is flat.

    References
    ----------
    Hestness et al. 2017, arXiv:1712.00409, for the form of the curve.

    Examples
    --------
    >>> n = np.array([200, 400, 600, 800, 1000])
    >>> found = learning_curve(n, np.stack([1 + 20 / n, 1.1 + 20 / n, 0.9 + 20 / n]))
    >>> round(found["twice"]["mean"], 4), found["twice"]["low"] <= found["twice"]["mean"]
    (0.0098, True)
    """
    n, losses = np.asarray(n, float), np.atleast_2d(np.asarray(losses, float))
    mean = losses.mean(axis=0)
    found = _power_law(n, mean)
    twice: dict[str, float | None] = {"mean": _fall(found, n), "low": None, "high": None}
    if len(losses) > 2:
        rng = np.random.default_rng([13, seed])
        drawn = losses[rng.integers(len(losses), size=(_DRAWS, len(losses)))].mean(axis=1)
        falls = np.array([_fall(_power_law(n, one), n) for one in drawn])
        twice |= dict(zip(("low", "high"), np.quantile(falls, [0.025, 0.975]).tolist(), strict=True))
    return {
        "n": n.tolist(),
        "loss": mean.tolist(),
        "fitted": (found[0] + found[1] * (n / n[0]) ** -found[2]).tolist(),
        "twice": twice,
    }


def _power_law(n: FloatArray, loss: FloatArray) -> tuple[float, float, float]:
    """a, b and c of ``a + b (n / n_0)^-c``: for each c the non-negative least squares in a and b, the best c by a search."""

    def solve(c: float) -> tuple[FloatArray, float]:
        powers = np.column_stack([np.ones_like(n), (n / n[0]) ** -c])
        weights, rest = optimize.nnls(powers, loss)
        return weights, float(rest)

    grid = np.linspace(0.05, _STEEPEST, 40)
    c = float(min(grid, key=lambda each: solve(each)[1]))
    (a, b), _ = solve(c)
    return float(a), float(b), c


def _fall(curve: tuple[float, float, float], n: FloatArray) -> float:
    """By which share the curve falls from the largest size to twice it."""
    a, b, c = curve
    here, twice = a + b * (np.array([1.0, 2.0]) * n[-1] / n[0]) ** -c
    return float(1 - twice / here) if here > 0 else 0.0
