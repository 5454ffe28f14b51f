"""What several arms gain over one control, fold by fold: intervals that hold at once, tiers, and what could be seen at all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from scipy import stats

from heldout.check import InputError
from heldout.data.series import FloatArray, IntArray
from heldout.studies.compare import Interval
from heldout.studies.equivalence import class_of, probability_above
from heldout.studies.multiple import model_confidence_set, simultaneous


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What one arm gains over the control.

    Attributes
    ----------
    interval : Interval
        Of the share of the control's loss that it saves, mean over folds; those of all arms hold at once. A share is at most 1.
    probability : float
        That the true gain is above delta, looked at alone (`heldout.studies.equivalence.probability_above`).
    won : int
        Folds in which its loss is below the control's.
    verdict : str
        One of `heldout.studies.equivalence.CLASSES`.
    """

    interval: Interval
    probability: float
    won: int
    verdict: str


def shares_saved(losses: FloatArray, control: FloatArray) -> FloatArray:
    """Give the share of the control's loss that each arm saves in each fold, ``1 - loss / loss of the control``.

    Parameters
    ----------
    losses : array of shape (n_arms, n_folds)
        Mean losses.
    control : array of shape (n_folds,) or (n_arms, n_folds)
        The control's on the same folds, or, for each arm, those of a control of its own.

    Returns
    -------
    array of shape (n_arms, n_folds)
        Positive is better. Each fold counts alike: were differences averaged instead, one loud fold would hide what the
        others agree on.

    Raises
    ------
    InputError
        If the control loses nothing in a fold.

    Examples
    --------
    >>> shares_saved(np.array([[0.9, 1.0]]), np.array([1.0, 2.0])).tolist()
    [[0.09999999999999998, 0.5]]
    """
    own = np.asarray(control, dtype=np.float64)
    if own.min() <= 0:
        raise InputError(
            f"a gain is a share of the control's loss, which must be above 0 in every fold, got {own.min():g}"
        )
    return 1 - np.asarray(losses, dtype=np.float64) / own


def widened(table: FloatArray, overlap: float) -> FloatArray:
    """Give numbers per fold with the spread that independent folds would show.

    Parameters
    ----------
    table : array of shape (..., n_folds)
        One number per fold.
    overlap : float
        0 for folds that follow each other in time. For a cross-validation, whose training sets share samples, test samples
        over training samples of a fold: deviations from the mean grow by ``sqrt(1 + n_folds * overlap)``.

    References
    ----------
    Nadeau and Bengio 2003, Inference for the generalization error, Machine Learning 52.

    Examples
    --------
    >>> widened(np.array([1.0, 3.0]), 1.5).tolist()
    [0.0, 4.0]
    """
    mean = table.mean(axis=-1, keepdims=True)
    return np.asarray(mean + sqrt(1 + table.shape[-1] * overlap) * (table - mean))


def judge_gains(table: FloatArray, *, delta: float, overlap: float = 0.0, level: float = 0.95) -> list[Gain]:
    """Judge what arms gain over a control that they share.

    Parameters
    ----------
    table : array of shape (n_arms, n_folds)
        From `shares_saved`; 2 folds or more.
    delta : float
        The smallest gain that matters, as a share of the loss, at least 0.
    overlap : float, default 0
        As in `widened`.
    level : float, default 0.95
        Confidence that all intervals hold at once.

    Returns
    -------
    list of Gain
        See `heldout.studies.multiple.simultaneous`.

    Examples
    --------
    >>> table = np.array([[0.05, 0.06, 0.055, 0.05, 0.06], [0.001, -0.001, 0.0, 0.002, -0.001]])
    >>> [gain.verdict for gain in judge_gains(table, delta=0.01)]
    ['HELPS MATERIALLY', 'NO MATERIAL EFFECT']
    """
    intervals = simultaneous(widened(table, overlap), level=level)
    return [
        Gain(
            interval=replace(interval, high=min(interval.high, 1.0) if interval.enough else interval.high),
            probability=probability_above(interval, delta),
            won=int((row > 0).sum()),
            verdict=class_of(interval, delta),
        )
        for row, interval in zip(table, intervals, strict=True)
    ]


def tiers(losses: FloatArray, *, size: float = 0.10) -> IntArray:
    """Give the tier of each arm: 1 for those that cannot be told from the best, 2 for those that of the rest cannot, 3 below.

    Parameters
    ----------
    losses : array of shape (n_arms, n)
        Losses at the same moments in time order, averaged over seeds.
    size : float, default 0.10
        Chance that the truly best arm is not in the first tier, in (0, 1).

    Returns
    -------
    array of shape (n_arms,), int64
        All 1 where the moments are too few to tell arms apart: under 100, or fewer than arms.

    References
    ----------
    Hansen, Lunde and Nason 2011, as in `heldout.studies.multiple.model_confidence_set`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> common = rng.exponential(size=300)
    >>> tiers(common + [[0.0], [0.0], [0.3], [0.9]] + 0.1 * rng.normal(size=(4, 300))).tolist()
    [1, 1, 2, 3]
    """
    found = np.ones(len(losses), dtype=np.int64)
    left = np.arange(len(losses))
    for tier in (1, 2):
        if len(left) < 2 or len(left) > losses.shape[1]:
            break
        inside = model_confidence_set(losses[left], size=size)
        left = np.delete(left, inside)
        found[left] = tier + 1
    return found


def smallest_gain(n_arms: int, n_folds: int, *, overlap: float = 0.0, level: float = 0.95) -> float:
    """Give the smallest true gain that is shown to be one in 4 of 5 cases, in units of a gain's spread between folds.

    Parameters
    ----------
    n_arms : int
        Arms that are held against the control at once.
    n_folds : int
        2 or more.
    overlap : float, default 0
        As in `widened`.
    level : float, default 0.95
        Of the intervals.

    Returns
    -------
    float
        ``(t(1 - (1 - level) / 2 M) + t(.80)) / sqrt(K)``, t with K - 1 degrees of freedom. By Bonferroni, which is about as
        wide as `heldout.studies.multiple.simultaneous`.

    Examples
    --------
    >>> [round(smallest_gain(12, folds), 1) for folds in (3, 5, 8)]
    [9.5, 3.1, 1.8]
    """
    if n_folds < 2 or n_arms < 1:
        raise InputError(f"a gain needs 1 arm and 2 folds at least, got {n_arms} and {n_folds}")
    t = stats.t(n_folds - 1)
    bound = float(t.ppf(1 - (1 - level) / (2 * n_arms)) + t.ppf(0.80))
    return bound * sqrt((1 + n_folds * overlap) / n_folds)


def keep_stack(effects: Sequence[Interval]) -> list[bool]:
    """Give which factors a stack keeps: those whose effect is positive by more than its standard error.

    Parameters
    ----------
    effects : sequence of Interval
        From `heldout.studies.factorial.main_effects`.

    Examples
    --------
    >>> from heldout.studies.compare import fold_t
    >>> keep_stack([fold_t([0.02, 0.03, 0.02]), fold_t([0.02, -0.03, 0.02]), fold_t([-0.1, -0.1, -0.1])])
    [True, False, False]
    """
    return [bool(effect.mean > (1 + 1e-9) * effect.se) for effect in effects]  # not by the last digit
