"""The linear part of a reader of sequences: ridge regression, its penalty chosen by leaving out each sample once."""

from typing import NamedTuple

import numpy as np

from heldout.data.series import FloatArray

PENALTIES = tuple(float(penalty) for penalty in np.logspace(3, -6, 19))
"""Penalties tried, on squared coefficients against the mean squared error, the strongest first (it wins ties)."""


class LinearPart(NamedTuple):
    """A ridge regression from whole sequences to targets.

    Attributes
    ----------
    coefficients : array of shape (p, S)
        On scaled sequences, flattened: steps run slower than features.
    intercept : array of shape (S,)
        What is said of zeros.
    penalty : float
        The chosen one of `PENALTIES`.
    """

    coefficients: FloatArray
    intercept: FloatArray
    penalty: float

    def predict(self, x: FloatArray) -> FloatArray:
        """Give (n, S) from scaled sequences (n, T, F)."""
        return x.reshape(len(x), -1) @ self.coefficients + self.intercept


def fit_linear(x: FloatArray, y: FloatArray, weight: FloatArray) -> tuple[LinearPart, FloatArray]:
    """Fit a ridge regression, and give what is left of each sample by the one that was fitted without it.

    Residuals of samples that took part in a fit are too small, and where there are more numbers than samples nearly
    zero: whatever is to learn what ridge misses must be shown the others.

    Parameters
    ----------
    x : array of shape (n, T, F)
        Scaled sequences.
    y : array of shape (n, S)
        Scaled targets.
    weight : array of shape (n,)
        Positive; how much each sample counts.

    Returns
    -------
    part : LinearPart
        The penalty is the one of least weighted squared error over the samples left out.
    left : array of shape (n, S)
        ``y`` minus the prediction without the sample, at that penalty.

    References
    ----------
    Allen 1974, Technometrics 16(1): the left-out residual is the residual over one minus the leverage.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(50, 3, 1))
    >>> part, left = fit_linear(x, 2 * x[:, 1] + 1, np.ones(50))
    >>> part.coefficients.round(3).ravel() + 0.0, part.intercept.round(3), bool(abs(left).max() < 1e-3)
    (array([0., 2., 0.]), array([1.]), True)
    """
    flat = x.reshape(len(x), -1)
    share = weight / weight.sum()
    x_mean, y_mean = share @ flat, share @ y
    root = np.sqrt(share)[:, None]
    z, target = root * (flat - x_mean), root * (y - y_mean)
    # Whichever of the two Gram matrices is smaller gives the same components (n, r) with z z' = components components'.
    wide = z.shape[1] > z.shape[0]
    values, vectors = np.linalg.eigh(z @ z.T if wide else z.T @ z)
    values = values.clip(0)
    components = vectors * np.sqrt(values) if wide else z @ vectors
    cross = components.T @ target
    best, chosen, left = np.inf, PENALTIES[0], target
    for penalty in PENALTIES:
        fitted = components @ (cross / (values + penalty)[:, None])
        leverage = share + (components**2 / (values + penalty)).sum(axis=1)
        residual = (target - fitted) / np.maximum(1 - leverage, 1e-9)[:, None]
        if (residual**2).sum() < best:
            best, chosen, left = float((residual**2).sum()), penalty, residual
    if wide:
        coefficients = z.T @ (vectors @ ((vectors.T @ target) / (values + chosen)[:, None]))
    else:
        coefficients = vectors @ (cross / (values + chosen)[:, None])
    return LinearPart(coefficients, y_mean - x_mean @ coefficients, chosen), left / root
