"""What sizes gave, as rows of a result: on the folds that chose, and on those that judge the choice."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite, sqrt
from typing import Any

import numpy as np
from scipy import stats

from heldout.data.series import FloatArray
from heldout.studies.compare import Interval, fold_skill, skill, two_way
from heldout.studies.ledger import Finished
from heldout.studies.selection import Choice
from heldout.studies.sizes import Tried, label


def describe(one: Tried) -> dict[str, Any]:
    """Give what a size is: values, label, parameters, learning rate.

    Parameters
    ----------
    one : Tried
        The size.
    """
    return {
        "values": one.values,
        "label": label(one.values),
        "n_parameters": round(one.n_parameters),
        "lr": one.lr,
    }


def rows_of(tried: Sequence[Tried], choice: Choice) -> list[dict[str, Any]]:
    """Give the rows of a stage.

    Parameters
    ----------
    tried : sequence of Tried
        Its sizes.
    choice : Choice
        What the rule made of them.

    Returns
    -------
    list of dict
        None where a number is not finite.
    """
    return [
        describe(one)
        | {
            "per_sample": one.per_sample,
            "train_loss": finite(one.train_loss),
            "valid_loss": finite(one.valid_loss),
            "loss": finite(choice.means[place]),
            "folds": int(np.isfinite(one.losses).sum()),
            "seeds": one.n_seeds,
            "stopped": one.stopped,
            "best": place == choice.best,
            "chosen": place == choice.chosen,
        }
        | _difference(choice.differences[place])
        for place, one in enumerate(tried)
    ]


def _difference(found: Interval) -> dict[str, float | None]:
    said = interval(found)
    return {"difference": said["mean"], "se": said["se"], "low": said["low"], "high": said["high"]}


def interval(found: Interval) -> dict[str, float | None]:
    """Give mean, ends and standard error; None where one is not finite."""
    return {name: finite(getattr(found, name)) for name in ("mean", "low", "high", "se")}


def finite(value: float) -> float | None:
    """Give a number as JSON has it: None where it is not finite."""
    return float(value) if isfinite(value) else None


def by_seed(fits: Sequence[Finished], n_folds: int, moments: Callable[[Finished], FloatArray]) -> FloatArray:
    """Give the losses of all moments of several folds, one fold after the other, per seed.

    Parameters
    ----------
    fits : sequence of Finished
        Of one recipe: fold after fold, in each the seeds.
    n_folds : int
        Folds.
    moments : callable
        Gives the losses of one fit.

    Returns
    -------
    array of shape (n_seeds, n_moments)
    """
    n_seeds = len(fits) // n_folds
    each = [moments(fit) for fit in fits]
    return np.stack([np.concatenate(each[seed::n_seeds]) for seed in range(n_seeds)])


def optimism(
    inner_choice: FloatArray,
    inner_start: FloatArray,
    outer_choice: FloatArray,
    outer_start: FloatArray,
    *,
    blocks: float,
    level: float = 0.95,
) -> dict[str, float | None]:
    """Give what the choice gains over the start where it was chosen, what it gains elsewhere, and the difference.

    Parameters
    ----------
    inner_choice, inner_start : arrays of shape (n_folds,)
        Losses on the folds that chose; NaN where a size was stopped.
    outer_choice, outer_start : arrays of shape (n_seeds, n)
        Losses on the folds that judge, per moment.
    blocks : float
        As in `heldout.studies.compare.two_way`.
    level : float, default 0.95
        Confidence, in (0, 1).

    Returns
    -------
    dict
        ``inside``, ``outside`` and ``value``, their difference, as shares of the start's loss, and its interval, ``low`` and
        ``high``, by Welch's t: None where the folds are too few. All 0 where the choice is the start.

    Examples
    --------
    >>> same = optimism([1.0, 2.0], [1.0, 2.0], [[1.0]], [[1.0]], blocks=8)
    >>> same["value"], same["high"]
    (0.0, 0.0)
    """
    inner_choice, inner_start = np.asarray(inner_choice), np.asarray(inner_start)
    both = np.isfinite(inner_choice) & np.isfinite(inner_start)
    if np.array_equal(outer_choice, outer_start) and np.array_equal(inner_choice[both], inner_start[both]):
        return dict.fromkeys(("inside", "outside", "value", "low", "high"), 0.0)
    if inner_start[both].mean() <= 0 or np.mean(outer_start) <= 0:
        return dict.fromkeys(("inside", "outside", "value", "low", "high"))
    inside = fold_skill(inner_choice[both], inner_start[both])
    outside = skill(outer_choice, outer_start, blocks=blocks)
    value, half = inside.mean - outside.mean, float("inf")
    variances = np.array([inside.se, outside.se]) ** 2
    if inside.enough and outside.enough and variances.sum() > 0:
        df = variances.sum() ** 2 / (variances**2 / np.array([inside.df, outside.df])).sum()
        half = float(stats.t.ppf((1 + level) / 2, df)) * sqrt(variances.sum())
    return {
        "inside": finite(inside.mean),
        "outside": finite(outside.mean),
        "value": finite(value),
        "low": finite(value - half),
        "high": finite(value + half),
    }


def outer_rows(
    named: Mapping[str, Tried], losses: Mapping[str, FloatArray], *, blocks: float
) -> list[dict[str, Any]]:
    """Give the rows of the folds that judge.

    Parameters
    ----------
    named : mapping of str to Tried
        Sizes by what they are there for, "choice" the first; one that is there twice has one row.
    losses : mapping of str to array of shape (n_seeds, n)
        Losses per moment, by the label of the size.
    blocks : float
        As in `heldout.studies.compare.two_way`.

    Returns
    -------
    list of dict
        ``difference`` is the loss less the choice's, paired; None for the choice.
    """
    first = label(named["choice"].values)
    rows: dict[str, dict[str, Any]] = {}
    for role, one in named.items():
        name = label(one.values)
        if name in rows:
            continue
        found = interval(two_way(losses[name], blocks=blocks))
        against = None if name == first else interval(two_way(losses[name] - losses[first], blocks=blocks))
        ends = {"loss": found["mean"], "low": found["low"], "high": found["high"]}
        rows[name] = {"name": role} | describe(one) | ends | {"difference": against}
    return list(rows.values())
