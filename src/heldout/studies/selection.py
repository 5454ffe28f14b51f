"""Which candidate to take, by its losses on folds and by its size: the best, or the smallest that is about as good."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heldout.check import InputError, check_choice
from heldout.data.series import FloatArray
from heldout.studies.compare import Interval, fold_t

RULES = ("best", "1-SE", "simplest")
"""Ways to choose, from the one that follows the losses alone to the one that asks for the most evidence against a small model."""

_LEVEL = 0.05  # a candidate is significantly worse below this p value


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a rule chose, and what it went by.

    Attributes
    ----------
    rule : {"best", "1-SE", "simplest"}
        How it was chosen.
    best : int
        Number of the candidate with the lowest mean loss, among those with a loss on every fold.
    chosen : int
        Number of the candidate to take.
    means : tuple of float
        Mean loss of each candidate over the folds that it has; not a number where it has none.
    differences : tuple of Interval
        Loss of each candidate less that of the best, paired over the folds that it has; positive is worse.
    """

    rule: str
    best: int
    chosen: int
    means: tuple[float, ...]
    differences: tuple[Interval, ...]

    @property
    def se(self) -> tuple[float, ...]:
        """Standard error of each difference, 0 for the best, infinite for a candidate with fewer than 2 folds."""
        return tuple(difference.se for difference in self.differences)


def choose(losses: ArrayLike, sizes: ArrayLike, *, rule: str = "1-SE") -> Choice:
    """Choose among candidates that were scored on the same folds.

    - ``best``: the lowest mean loss.
    - ``1-SE``: the fewest parameters among those whose mean loss is above the best one's by no more than one standard
      error of that difference.
    - ``simplest``: the fewest parameters among those that are not significantly worse than the best (one-sided paired
      t-test over folds, p > .05 after Holm's correction for the number of candidates). It goes to smaller models than
      ``1-SE`` and, with few folds, far down: the tests then find little.

    Equal sizes are told apart by the lower mean loss, and then by the order.

    Parameters
    ----------
    losses : array of shape (n_candidates, n_folds)
        Mean test loss of each fold, averaged over the seeds first. Not a number where a candidate was stopped early: it is
        compared on the folds that it has and never chosen.
    sizes : array of shape (n_candidates,)
        Parameters of each candidate.
    rule : {"best", "1-SE", "simplest"}, default "1-SE"
        How to choose.

    Returns
    -------
    Choice

    Raises
    ------
    InputError
        If shapes do not fit, no candidate has all folds, or a rule other than ``best`` gets a single fold.

    Notes
    -----
    The standard error is that of the paired difference, not of the best candidate's loss as in CART: how hard a fold is
    changes all candidates' losses alike and says nothing on which is better.

    References
    ----------
    Breiman, Friedman, Olshen and Stone 1984, Classification and Regression Trees, section 3.4.3 (the rule of one standard
    error); Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.

    Examples
    --------
    >>> losses = [[0.90, 0.80, 1.00], [0.91, 0.79, 1.01], [1.20, 1.00, 1.40]]
    >>> found = choose(losses, sizes=[5000, 900, 100])
    >>> found.best, found.chosen, round(found.differences[1].mean, 4), round(found.se[1], 4)
    (0, 1, 0.0033, 0.0067)
    >>> choose(losses, [5000, 900, 100], rule="best").chosen
    0
    """
    check_choice("rule", rule, RULES)
    table, parameters = check_losses(losses, at_least=1), np.asarray(sizes, dtype=np.float64)
    if parameters.shape != table.shape[:1] or not np.isfinite(parameters).all():
        raise InputError(
            f"sizes must be one number of parameters for each of {len(table)} candidates, got shape {parameters.shape}"
        )
    if table.shape[1] < 2 and rule != "best":
        raise InputError(f"rule={rule!r} needs 2 folds or more to see any noise, got 1: take rule='best'")
    whole = np.asarray(np.isfinite(table).all(axis=1))
    if not whole.any():
        raise InputError("one candidate at least must have a loss on every fold, got none: raise the budget")
    means = np.array([row[np.isfinite(row)].mean() if np.isfinite(row).any() else np.nan for row in table])
    best = _first(np.where(whole, means, np.inf), parameters)
    differences = against(table, best)
    good = whole & _good_enough(differences, whole, best, rule)
    return Choice(
        rule=rule,
        best=best,
        chosen=_first(np.where(good, parameters, np.inf), means),
        means=tuple(float(x) for x in means),
        differences=differences,
    )


def against(losses: FloatArray, best: int) -> tuple[Interval, ...]:
    """Give each candidate's loss less that of one of them, paired over the folds that both have.

    Parameters
    ----------
    losses : array of shape (n_candidates, n_folds)
        Not a number where a fold is missing.
    best : int
        Number of the candidate that all are compared with.

    Returns
    -------
    tuple of Interval
        `heldout.studies.compare.fold_t`; without a mean where there is no common fold.
    """
    paired = [row[np.isfinite(row)] for row in losses - losses[best]]
    nothing = Interval(
        mean=np.nan, low=-np.inf, high=np.inf, se=np.inf, df=0, level=0.95, p_value=1, enough=False
    )
    return tuple(fold_t(row) if len(row) else nothing for row in paired)


def worse(differences: tuple[Interval, ...]) -> FloatArray:
    """Give the p value of "no worse" of each difference, one-sided and corrected by Holm for how many there are.

    Parameters
    ----------
    differences : tuple of Interval
        Positive means are worse.

    Returns
    -------
    array of shape (n,)

    Notes
    -----
    As ``statsmodels.stats.multitest.multipletests(method="holm")``, which collects garbage at each call: 30 ms and more.

    Examples
    --------
    >>> worse((fold_t([0.2, 0.1, 0.3, 0.2]), fold_t([-0.2, -0.1, -0.3, -0.2]))).round(4)
    array([0.0163, 0.9919])
    """
    one_sided = np.array([d.p_value / 2 if d.mean > 0 else 1 - d.p_value / 2 for d in differences])
    order = one_sided.argsort(kind="stable")
    steps = np.maximum.accumulate(one_sided[order] * np.arange(len(order), 0, -1))
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(steps, 1.0)
    return corrected


def check_losses(losses: ArrayLike, *, at_least: int) -> FloatArray:
    """Give the losses of candidates on folds as a table, or say what is wrong with them.

    Parameters
    ----------
    losses : array of shape (n_candidates, n_folds)
        Not a number where a candidate was stopped.
    at_least : int
        Candidates that there must be.

    Raises
    ------
    InputError
        If it is no such table.
    """
    table = np.asarray(losses, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] < at_least or table.shape[1] < 1:
        raise InputError(
            f"losses must be a table of {at_least} or more candidates x folds, got shape {table.shape}"
        )
    return np.where(np.isfinite(table), table, np.nan)


def _good_enough(
    differences: tuple[Interval, ...], whole: NDArray[np.bool_], best: int, rule: str
) -> NDArray[np.bool_]:
    good = np.zeros(len(differences), dtype=bool)
    good[best] = True
    others = np.flatnonzero(whole & ~good)
    if rule == "1-SE":
        good[others] = [differences[n].mean <= differences[n].se for n in others]
    elif rule == "simplest":
        good[others] = worse(tuple(differences[n] for n in others)) > _LEVEL
    return good


def _first(values: FloatArray, then: FloatArray) -> int:
    """The number of the lowest value, of equal ones that with the lower second value, and then the first."""
    return int(np.lexsort((then, values))[0])
