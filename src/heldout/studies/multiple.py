"""Many arms against one control: p values and intervals that stand it, the arms that beat the control, and the tier of the best.

Arms are rows, as everywhere in heldout; ``arch`` has them as columns.
"""

from dataclasses import replace
from math import ceil, sqrt

import numpy as np
from arch.bootstrap import MCS, SPA, optimal_block_length
from numpy.typing import ArrayLike

from heldout.check import InputError, check_number
from heldout.data.series import FloatArray, IntArray
from heldout.studies.compare import Interval, block_t, fold_t
from heldout.studies.resampled import finite_vector

_DRAWS, _PER_CHUNK = 20_000, 1_000_000
_MOST_ALIKE = 0.95  # arms that share nearly all noise are one arm, up to this
_MOST_MOMENTS = 2000  # longer series are averaged down: a resampled moment is then a mean of neighbours
_LEAST = 1e-12  # a spread, of the largest value, below which nothing varies


def holm(p_values: ArrayLike) -> FloatArray:
    """Give p values corrected for their number: below alpha in none of the true nulls, but for a share alpha of cases.

    Parameters
    ----------
    p_values : array of shape (n,)
        In [0, 1], of any dependence.

    Returns
    -------
    array of shape (n,)
        In the same order, at most 1.

    Raises
    ------
    InputError
        If one is missing or out of range.

    Notes
    -----
    As ``statsmodels.stats.multitest.multipletests(method="holm")``, which collects garbage at each call: 30 ms and more.

    References
    ----------
    Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    values = finite_vector("p_values", p_values)
    if values.min() < 0 or values.max() > 1:
        raise InputError(f"p_values must be in [0, 1], got {values.min():g} to {values.max():g}")
    order = values.argsort(kind="stable")
    corrected = np.empty(len(values))
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected[order] = np.minimum(steps, 1.0)
    return corrected


def simultaneous(table: ArrayLike, *, level: float = 0.95) -> list[Interval]:
    """Give the mean of each arm over folds with intervals that all hold at once in ``level`` of cases.

    ``mean +- c * sd / sqrt(K)``, where c is the level's quantile of the largest ``|t|`` of M arms without effect, simulated
    for K folds with normal noise, each arm's own standard deviation, and one correlation between arms: the mean of
    those in the table, because all arms are held against the same control. Always the same draws.

    Parameters
    ----------
    table : array of shape (n_arms, n_folds)
        Paired differences from the control per fold, each averaged over its seeds first; 2 folds or more.
    level : float, default 0.95
        Confidence that all intervals hold, in (0, 1).

    Returns
    -------
    list of Interval
        One per arm; with one arm `heldout.studies.compare.fold_t`. ``se`` and ``df`` are the arm's own; ``p_value`` is
        corrected for the number of arms.

    Raises
    ------
    InputError
        If it is no such table.

    Notes
    -----
    Share of 20 000 simulated tables in which all intervals at 95 % held, normal noise of the control and of each arm; *equal*
    noise, *unequal* (arms from a quarter of the control's to four times it), and a *loud* control (three times the
    arms'). "bonf." is Bonferroni, "dunn." Dunnett's multivariate t with correlation .5, "mv. t" the multivariate t with the
    table's mean correlation, "max t" what is used:

    ===== ==== ======= ===== ===== ===== =====
    folds arms noise   bonf. dunn. mv. t max t
    ===== ==== ======= ===== ===== ===== =====
    5     1    any     .949  .949  .949  .949
    5     4    equal   .954  .932  .935  .951
    5     4    unequal .951  .929  .933  .949
    5     4    loud    .967  .955  .940  .957
    5     12   equal   .954  .900  .905  .952
    5     12   unequal .954  .899  .907  .952
    5     12   loud    .973  .946  .924  .961
    5     20   equal   .955  .882  .889  .953
    5     20   unequal .956  .886  .896  .954
    5     20   loud    .976  .947  .919  .967
    8     1    any     .951  .951  .951  .951
    8     4    equal   .953  .940  .937  .949
    8     4    unequal .955  .942  .942  .952
    8     4    loud    .971  .963  .943  .954
    8     12   equal   .958  .926  .930  .952
    8     12   unequal .960  .929  .936  .955
    8     12   loud    .979  .966  .937  .959
    8     20   equal   .959  .912  .920  .953
    8     20   unequal .961  .916  .927  .955
    8     20   loud    .983  .966  .933  .961
    ===== ==== ======= ===== ===== ===== =====

    The multivariate t is too narrow because it has one standard deviation for all arms where each has its own; Bonferroni
    is up to a third too wide where the control is loud. With noise of heavy tails (t with 4 degrees of freedom) "max t"
    covers .95 to .97. No t interval stands fold means that are strongly skewed (exponential: one arm .92, 20 arms .87) or
    remember their neighbours (.2: .91 and .87): make folds long.

    References
    ----------
    Dunnett 1955, A multiple comparison procedure for comparing several treatments with a control, JASA 50; Hothorn, Bretz
    and Westfall 2008, Simultaneous inference in general parametric models, Biometrical Journal 50.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> control, effect = rng.normal(size=8), np.array([[0.0], [0.0], [5.0]])
    >>> found = simultaneous(effect + rng.normal(size=(3, 8)) - control)
    >>> [interval.low > 0 for interval in found]
    [False, False, True]
    """
    values = _table("table", table, columns=2)
    check_number("level", level, 0, 1, open_low=True, open_high=True)
    n_arms, n_folds = values.shape
    if n_arms == 1:
        return [fold_t(values[0], level=level)]
    largest = _largest_t(n_arms, n_folds, _mean_correlation(values))
    factor = largest[min(ceil(level * (_DRAWS + 1)), _DRAWS) - 1]
    return [_widened(row, factor, largest, level) for row in values]


def spa(control: ArrayLike, losses: ArrayLike, *, n_resamples: int = 1000, seed: int = 0) -> float:
    """Give the p value of "no arm is better than the control", for the best of many arms on the same moments.

    Parameters
    ----------
    control : array of shape (n,)
        Losses of the control, in time order, averaged over its seeds.
    losses : array of shape (n_arms, n)
        Losses of the arms at the same moments.
    n_resamples : int, default 1000
        Draws of the stationary bootstrap, at least 99.
    seed : int, default 0
        Of the draws.

    Returns
    -------
    float
        Hansen's consistent p value. 1 where the moments are under 100, or too few for their memory: nothing is told then.

    Raises
    ------
    InputError
        If shapes do not fit, a value is missing or an option is out of range.

    Notes
    -----
    Each loss series counts as given: the noise of the seed is not in it. The blocks are as long as the longest automatic
    length among the arms. Differences are divided by their own spread first, for ``arch`` (8.0) compares them as they
    are, so that one noisy arm would hide all quiet ones. Above 2000 moments neighbours are averaged.

    References
    ----------
    Hansen 2005, A test for superior predictive ability, JBES 23(4); White 2000, Econometrica 68; `arch.bootstrap.SPA`.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> control, arms = rng.exponential(size=300), rng.exponential(size=(5, 300))
    >>> spa(control, arms) > 0.05, spa(control, np.vstack([arms, 0.5 * control]))
    (True, 0.0)
    """
    check_number("n_resamples", n_resamples, 99, np.inf, open_high=True)
    gains = _gains(control, losses)
    gains, length = gains[gains.any(axis=1)], _block_length(gains)
    if length is None or len(gains) == 0:
        return 1.0
    test = SPA(np.zeros(gains.shape[1]), -gains.T, length, n_resamples, seed=seed)
    test.compute()
    return float(test.pvalues["consistent"])


def step_m(
    control: ArrayLike, losses: ArrayLike, *, size: float = 0.05, n_resamples: int = 1000, seed: int = 0
) -> IntArray:
    """Give the arms that beat the control, with a chance of at most ``size`` that any of them does not.

    Parameters
    ----------
    control : array of shape (n,)
        Losses of the control, in time order, averaged over its seeds.
    losses : array of shape (n_arms, n)
        Losses of the arms at the same moments.
    size : float, default 0.05
        Error rate of all together, in (0, 1).
    n_resamples, seed : int
        As in `spa`.

    Returns
    -------
    array of int64
        Numbers of the arms, in order. None where the moments are too few for their memory.

    Raises
    ------
    InputError
        As `spa`.

    Notes
    -----
    As in `spa`.

    References
    ----------
    Romano and Wolf 2005, Stepwise multiple testing as formalized data snooping, Econometrica 73(4); with
    `arch.bootstrap.SPA`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> control = rng.exponential(size=300)
    >>> step_m(control, [control + 0.1 * rng.normal(size=300), control - 0.1 + 0.1 * rng.normal(size=300)])
    array([1])
    """
    check_number("size", size, 0, 1, open_low=True, open_high=True)
    check_number("n_resamples", n_resamples, 99, np.inf, open_high=True)
    gains = _gains(control, losses)
    arms, length = np.flatnonzero(gains.any(axis=1)), _block_length(gains)
    if length is None or len(arms) == 0:
        return np.empty(0, dtype=np.int64)
    test = SPA(np.zeros(gains.shape[1]), -gains[arms].T, length, n_resamples, seed=seed)
    left = np.ones(len(arms), dtype=bool)
    while left.any():  # not arch's own StepM, which (8.0) fails where all arms win, not all at once
        test.subset(left)
        test.compute()
        better = test.better_models(size)
        if len(better) == 0:
            break
        left[better] = False
    return np.asarray(arms[~left])


def model_confidence_set(
    losses: ArrayLike, *, size: float = 0.10, n_resamples: int = 1000, seed: int = 0
) -> IntArray:
    """Give the arms that cannot be told from the best: the first tier.

    Parameters
    ----------
    losses : array of shape (n_arms, n)
        Losses at the same moments, in time order, averaged over seeds; 2 arms or more.
    size : float, default 0.10
        Chance that the truly best arm is missing, in (0, 1).
    n_resamples, seed : int
        As in `spa`.

    Returns
    -------
    array of int64
        Numbers of the arms, in order. All where the moments are too few for their memory.

    Raises
    ------
    InputError
        As `spa`, or if there are more arms than moments, as where the table lies on its side.

    References
    ----------
    Hansen, Lunde and Nason 2011, The model confidence set, Econometrica 79(2); `arch.bootstrap.MCS`, method R.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> common = rng.exponential(size=300)
    >>> model_confidence_set(common + [[0.0], [0.0], [0.3]] + 0.1 * rng.normal(size=(3, 300)))
    array([0, 1])
    """
    check_number("size", size, 0, 1, open_low=True, open_high=True)
    check_number("n_resamples", n_resamples, 99, np.inf, open_high=True)
    table = _table("losses", losses, columns=2, rows=2)
    if len(table) > table.shape[1]:
        raise InputError(
            f"losses must be arms x moments, got {len(table)} arms x {table.shape[1]} moments: turn it round"
        )
    table = _shortened(table)
    distinct, place = np.unique(table, axis=0, return_inverse=True)
    length = _block_length(distinct - distinct.mean(axis=0))
    if length is None or len(distinct) == 1:
        return np.arange(len(table))
    # arch divides by the spread of each pair: a difference that never varies gets a little of it
    noise = np.random.default_rng(0).normal(size=distinct.shape) * 1e-9 * float(np.ptp(distinct))
    test = MCS((distinct + noise).T, size, n_resamples, length, seed=seed)
    test.compute()
    return np.flatnonzero(np.isin(place.ravel(), np.asarray(test.included, dtype=np.int64)))


def _widened(row: FloatArray, factor: float, largest: FloatArray, level: float) -> Interval:
    own = fold_t(row, level=level)
    t = abs(own.mean) / own.se if own.se > 0 else np.inf if own.mean else 0.0
    p_value = (np.count_nonzero(largest >= t) + 1) / (len(largest) + 1)
    half = float(factor) * own.se
    return replace(own, low=own.mean - half, high=own.mean + half, p_value=float(p_value))


def _mean_correlation(table: FloatArray) -> float:
    """Mean correlation between different rows, from 0 up."""
    centred = table - table.mean(axis=1, keepdims=True)
    norms = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    unit = centred / np.where(norms > 0, norms, 1.0)
    n = len(table)
    mean = (float((unit.sum(axis=0) ** 2).sum()) - float((unit**2).sum())) / (n * (n - 1))
    return min(max(mean, 0.0), _MOST_ALIKE)


def _largest_t(n_arms: int, n_folds: int, correlation: float) -> FloatArray:
    """The largest |t| of arms without effect, in many draws, in order."""
    rng = np.random.default_rng(0)
    rows = max(1, _PER_CHUNK // (n_arms * n_folds))
    found = []
    for start in range(0, _DRAWS, rows):
        count = min(rows, _DRAWS - start)
        shared = sqrt(correlation) * rng.standard_normal((count, 1, n_folds))
        draws = shared + sqrt(1 - correlation) * rng.standard_normal((count, n_arms, n_folds))
        t = draws.mean(axis=2) / draws.std(axis=2, ddof=1) * sqrt(n_folds)
        found.append(np.abs(t).max(axis=1))
    return np.sort(np.concatenate(found))


def _gains(control: ArrayLike, losses: ArrayLike) -> FloatArray:
    """How much less each arm loses, in units of its own spread."""
    own = finite_vector("control", control)
    table = _table("losses", losses, columns=2)
    if table.shape[1] != len(own):
        raise InputError(
            f"losses must be arms x moments with the {len(own)} moments of the control, got shape {table.shape}"
        )
    gains = _shortened(own - table)
    spread = np.maximum(gains.std(axis=1, keepdims=True), _LEAST * float(np.abs(gains).max()))
    return np.asarray(gains / np.where(spread > 0, spread, 1.0))


def _shortened(table: FloatArray) -> FloatArray:
    n = table.shape[1]
    if n <= _MOST_MOMENTS:
        return table
    edges = np.arange(_MOST_MOMENTS + 1) * n // _MOST_MOMENTS
    return np.asarray(np.add.reduceat(table, edges[:-1], axis=1) / np.diff(edges))


def _block_length(table: FloatArray) -> int | None:
    """Longest automatic block length of the rows; None where a row is too short for its memory, as in `block_t`."""
    lengths = [1]
    for row in table:
        if not block_t(row).enough:
            return None
        if np.ptp(row) > _LEAST * np.abs(row).max():
            with np.errstate(all="ignore"):
                length = float(optimal_block_length(row / np.abs(row).max())["stationary"].iloc[0])
            lengths.append(ceil(length) if np.isfinite(length) else 1)
    return max(lengths)


def _table(name: str, values: ArrayLike, *, columns: int, rows: int = 1) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] < rows or array.shape[1] < columns:
        raise InputError(
            f"{name} must be a table of {rows} or more arms x {columns} or more columns, got shape {array.shape}"
        )
    if bad := int((~np.isfinite(array)).sum()):
        raise InputError(f"{name} must be finite, got {bad} missing or infinite values")
    return array
