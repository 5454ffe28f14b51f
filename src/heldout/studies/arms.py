"""Arms of a comparison: recipes that differ in a few options, tuned alike, and what their fits gave fold by fold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from heldout.data.series import FloatArray
from heldout.studies.ledger import Finished
from heldout.studies.plan import Job
from heldout.studies.sizes import Grid

Moments = Callable[[Finished], FloatArray]
"""Gives the losses of a fit, one per moment."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """What the fits of one arm gave.

    Attributes
    ----------
    name : str
        Of the arm.
    lr : float
        The rate of those tried that has the smallest mean validation loss with the first seed.
    losses : array of shape (n_folds,)
        Mean test loss per fold.
    moments : array of shape (n,)
        Test losses of all folds' moments, one fold after the other, mean over seeds.
    train_loss, valid_loss : float
        Of the weights that were kept, in evaluation mode and the units of what is minimised; means over folds and seeds.
    seconds : float
        Of a fit, mean.
    """

    name: str
    lr: float
    losses: FloatArray
    moments: FloatArray
    train_loss: float
    valid_loss: float
    seconds: float


def fit_arms(grid: Grid, names: Sequence[str]) -> None:
    """Fit arms on all folds: with the first seed at every rate, then with the other seeds at the rate that suits each.

    Parameters
    ----------
    grid : Grid
        Whose values are ``{"arm": name}``.
    names : sequence of str
        The arms.
    """
    grid.fit(
        job for name in names for job in grid.jobs({"arm": name}, grid.rates, grid.folds, grid.seeds[:1])
    )
    grid.fit(job for name in names for job in own_jobs(grid, name))


def own_jobs(grid: Grid, name: str) -> list[Job]:
    """Give the fits of an arm at the rate that suits it, fold after fold, in each the seeds."""
    return grid.jobs({"arm": name}, [grid.rate({"arm": name})], grid.folds, grid.seeds)


def measure_arm(
    grid: Grid,
    name: str,
    moments: Moments,
    *,
    together: Callable[[Sequence[Finished]], Finished] | None = None,
) -> Measured | str:
    """Give what the fits of an arm gave; or, where one of them failed, why.

    Parameters
    ----------
    grid : Grid
        After `fit_arms`.
    name : str
        The arm.
    moments : callable
        Gives the losses of a fit.
    together : callable, optional
        Makes one fit of those of all seeds (`heldout.studies.mean_forecast.mean_of_seeds`); by default the losses of the
        seeds are averaged, not what they forecast.
    """
    fits = grid.fit(own_jobs(grid, name))
    failed = [f"{fit.name}: {fit.scores['failed']}" for fit in fits if "failed" in fit.scores]
    if failed:
        return failed[0]
    n_seeds = len(grid.seeds)
    by_fold = [fits[start : start + n_seeds] for start in range(0, len(fits), n_seeds)]
    if together is None:
        losses = [np.mean([moments(fit) for fit in own], axis=0) for own in by_fold]
    else:
        losses = [moments(together(own)) for own in by_fold]
    if not all(np.isfinite(own).all() for own in losses):
        return f"{name}: its loss is not finite"
    return Measured(
        name=name,
        lr=grid.rate({"arm": name}),
        losses=np.array([own.mean() for own in losses]),
        moments=np.concatenate(losses),
        train_loss=_mean(fits, "train_loss"),
        valid_loss=_mean(fits, "valid_loss"),
        seconds=float(np.mean([fit.seconds for fit in fits])) * (1 if together is None else n_seeds),
    )


def _mean(fits: Sequence[Finished], score: str) -> float:
    return float(np.mean(np.array([fit.scores[score] for fit in fits], dtype=np.float64)))


def on_folds(grid: Grid, folds: Sequence[Any], seeds: Sequence[int]) -> Grid:
    """Give the grid on other folds or with other seeds; recipes and fits are shared."""
    return replace(grid, folds=folds, seeds=seeds)


def arm_name(values: Mapping[str, Any]) -> str:
    """Give the name of an arm from the values of its grid."""
    return str(values["arm"])
