"""Paired comparisons on independent samples: repeated splits, the bootstrap over samples or groups, and McNemar's test.

Independent samples are texts, or rows without an order. Losses along time are none: see `heldout.studies.compare`.
"""

from math import inf, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as _mcnemar

from heldout.check import InputError, check_number
from heldout.data.series import FloatArray
from heldout.studies.compare import FEWEST_SERIES, Interval
from heldout.studies.interval import student, undecided

_FEW_DISCORDANT = 25  # below, the exact binomial test; from here on chi-square with Edwards' correction
_AT_ONCE = 2_000_000  # numbers that the bootstrap holds in memory
_MOST_BCA = 5000


def nadeau_bengio(differences: ArrayLike, n_train: int, n_test: int, *, level: float = 0.95) -> Interval:
    """Mean difference over repeated splits of the same independent samples, with an interval that knows they overlap.

    ``mean +- t(J - 1) * sqrt((1 / J + n_test / n_train) * var)`` over the J splits: their training sets share samples, so
    the plain t interval is far too narrow, and narrower with every split that is added.

    Parameters
    ----------
    differences : array of shape (J,)
        Mean loss difference on the test part of each random split; all folds of all repetitions of a k-fold.
    n_train, n_test : int
        Samples in the two parts of a split, at least 1; for k folds their ratio is k - 1.
    level : float, default 0.95
        Confidence, in (0, 1).

    Returns
    -------
    Interval
        With ``df = J - 1``; ``enough`` is False with a single split.

    Raises
    ------
    InputError
        If a value is missing or an argument is out of range.

    Notes
    -----
    Not for series: there a split at random, and a k-fold, train on the future.

    References
    ----------
    Nadeau and Bengio 2003, Inference for the generalization error, Machine Learning 52, section 3.2.2. The factor is a
    rule of thumb: no unbiased estimate of this variance exists (Bengio and Grandvalet 2004, JMLR 5).

    Examples
    --------
    >>> found = nadeau_bengio([0.2, 0.1, 0.3, 0.2, 0.2], n_train=400, n_test=100)
    >>> round(found.low, 3), round(found.high, 3)
    (0.068, 0.332)
    """
    values = finite_vector("differences", differences)
    check_number("n_train", n_train, 1, inf, open_high=True)
    check_number("n_test", n_test, 1, inf, open_high=True)
    check_number("level", level, 0, 1, open_low=True, open_high=True)
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return undecided(mean, level=level)
    se = sqrt((1 / count + n_test / n_train) * float(values.var(ddof=1)))
    return student(mean, se, count - 1, level=level)


def paired_bootstrap(
    differences: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    n_resamples: int = 9999,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Mean difference over independent samples with a bootstrap interval (BCa), whole groups drawn at a time.

    Parameters
    ----------
    differences : array of shape (n,)
        Paired differences of one trained model each, per text, of log losses or of hits.
    groups : array of shape (n,), optional
        Samples of one group are alike (an author, near duplicates) and are drawn together. Without it each is its own.
    n_resamples : int, default 9999
        Draws, at least 99.
    level : float, default 0.95
        Confidence, in (0, 1).
    seed : int, default 0
        Of the draws; the same seed gives the same interval.

    Returns
    -------
    Interval
        ``se`` is the spread of the draws and ``df`` the number of groups less 1. ``p_value`` is that of the t statistic
        ``mean / se``, which near the border may differ from the interval. ``enough`` is False under 20 groups.

    Raises
    ------
    InputError
        If a value is missing, shapes differ or an option is out of range.

    Notes
    -----
    It speaks of these trained models, not of training them again. Simulated at 95 %, against the t interval over texts:
    log losses of a network and of an overconfident one, 200 texts: .93 (t .92), 50 texts: .91 (.90); hits, which are
    -1, 0 or 1, 50 texts: .92 (.94), 20 texts: .75. It is no better than t, so `heldout.studies.design.compare` takes
    that. Above 5000 groups the bias correction no longer moves the ends, and plain percentiles save its cost.

    References
    ----------
    Efron 1987, Better bootstrap confidence intervals, JASA 82; `scipy.stats.bootstrap`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> author = np.repeat(np.arange(50), 8)
    >>> differences = 0.1 + rng.normal(size=50)[author] + rng.normal(size=400)
    >>> alone, together = paired_bootstrap(differences), paired_bootstrap(differences, author)
    >>> alone.high - alone.low < together.high - together.low
    True
    """
    values = finite_vector("differences", differences)
    check_number("n_resamples", n_resamples, 99, inf, open_high=True)
    check_number("level", level, 0, 1, open_low=True, open_high=True)
    sums, sizes = group_sums(values, groups)
    mean, count = float(values.mean()), len(sums)
    if count < FEWEST_SERIES:
        return undecided(mean, level=level)
    if (
        np.ptp(sums / sizes) <= 1e-12 * np.abs(values).max()
    ):  # nothing varies: the correction would divide by zero
        return student(mean, 0.0, count - 1, level=level)
    found = stats.bootstrap(
        (sums, sizes),
        lambda s, n, axis: s.sum(axis=axis) / n.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=n_resamples,
        batch=max(1, _AT_ONCE // count),
        confidence_level=level,
        method="BCa" if count <= _MOST_BCA else "percentile",
        random_state=np.random.default_rng(seed),
    )
    low, high = (float(end) for end in found.confidence_interval)
    se = float(found.standard_error)
    p_value = student(mean, se, count - 1).p_value
    return Interval(mean=mean, low=low, high=high, se=se, df=count - 1.0, level=level, p_value=p_value)


def mcnemar(right_a: ArrayLike, right_b: ArrayLike) -> float:
    """Give the p value of "both classifiers are right equally often", from the texts on which just one is right.

    Parameters
    ----------
    right_a, right_b : arrays of shape (n,), bool
        Whether each was right, on the same independent samples.

    Returns
    -------
    float
        Two-sided: the exact binomial test below 25 samples on which they differ, else chi-square with a correction for
        counts. 1 where they differ nowhere.

    Raises
    ------
    InputError
        If shapes differ or the values are not true or false.

    Notes
    -----
    It compares two trained models, not two ways to train: another seed is another test.

    References
    ----------
    McNemar 1947, Psychometrika 12; Edwards 1948 for the correction; `statsmodels.stats.contingency_tables.mcnemar`.

    Examples
    --------
    >>> a = np.repeat([True, True, False, False], [60, 12, 3, 25])
    >>> b = np.repeat([True, False, True, False], [60, 12, 3, 25])
    >>> round(mcnemar(a, b), 4)
    0.0352
    """
    a, b = np.asarray(right_a), np.asarray(right_b)
    if a.ndim != 1 or a.shape != b.shape or {a.dtype, b.dtype} != {np.dtype(bool)}:
        raise InputError(
            f"right_a and right_b must say of the same samples true or false, got {a.dtype} {a.shape} and {b.dtype} {b.shape}"
        )
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    if only_a + only_b == 0:
        return 1.0
    exact = only_a + only_b < _FEW_DISCORDANT
    return float(_mcnemar([[0, only_a], [only_b, 0]], exact=exact, correction=True).pvalue)


def group_sums(values: FloatArray, groups: ArrayLike | None) -> tuple[FloatArray, FloatArray]:
    """Give the sum and the size of each group.

    Parameters
    ----------
    values : array of shape (..., n)
        Samples on the last axis.
    groups : array of shape (n,), optional
        Names of groups; without it each sample is its own.

    Returns
    -------
    sums : array of shape (..., n_groups)
    sizes : array of shape (n_groups,)

    Raises
    ------
    InputError
        If there is not one group per sample.

    Examples
    --------
    >>> group_sums(np.array([1.0, 2.0, 4.0]), ["a", "b", "a"])
    (array([5., 2.]), array([2., 1.]))
    """
    n = values.shape[-1]
    if groups is None:
        return values, np.ones(n)
    names = np.asarray(groups)
    if names.shape != (n,):
        raise InputError(f"groups must be one name for each of {n} samples, got shape {names.shape}")
    _, place = np.unique(names, return_inverse=True)
    rows = values.reshape(-1, n)
    sums = np.stack([np.bincount(place, row) for row in rows])
    return sums.reshape(*values.shape[:-1], -1).astype(np.float64), np.bincount(place).astype(np.float64)


def finite_vector(name: str, values: ArrayLike) -> FloatArray:
    """Give values as an array of one axis, or say what is wrong with them.

    Parameters
    ----------
    name : str
        What the user calls them.
    values : array of shape (n,)
        One value or more.

    Raises
    ------
    InputError
        If they have another shape, there is none, or one is missing or infinite.

    Examples
    --------
    >>> finite_vector("differences", [0.1, float("nan")])
    Traceback (most recent call last):
        ...
    heldout.check.InputError: differences must be finite, got 1 missing or infinite values; drop them in pairs
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0:
        raise InputError(f"{name} must have one axis and at least one value, got shape {array.shape}")
    if bad := int((~np.isfinite(array)).sum()):
        raise InputError(f"{name} must be finite, got {bad} missing or infinite values; drop them in pairs")
    return array
