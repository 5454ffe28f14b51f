"""Successive halving: many trials are trained for a few epochs, the better third goes on, and of these again the better third.

All fits of a rung are done before it is decided who goes on, so the result is the same however many run at once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil, nan
from typing import Any

import numpy as np

from heldout.base_recipe import BaseRecipe
from heldout.check import FitError
from heldout.data.series import FloatArray
from heldout.studies.compare import fold_t
from heldout.studies.ledger import Finished
from heldout.studies.plan import Job
from heldout.studies.racing import hopeless

ETA = 3
"""One trial in so many goes on from a rung, and trains for so many times the epochs."""
RACED_AFTER = 3
"""Folds after which trials that are clearly worse than the best one get no more."""

RUNNING, COMPLETE, STOPPED, RACED_OUT, FAILED = "running", "complete", "stopped", "raced out", "failed"


def rung_epochs(max_epochs: int) -> tuple[int, ...]:
    """Give the epochs at which it is decided which trials go on, and the last one.

    Parameters
    ----------
    max_epochs : int
        Of the recipe.

    Returns
    -------
    tuple of int
        A ninth of them, a third, all; rounded up, each once.

    References
    ----------
    Jamieson and Talwalkar 2016, Non-stochastic best arm identification and hyperparameter optimization, AISTATS (arXiv
    1502.07943): successive halving, here by thirds.

    Examples
    --------
    >>> rung_epochs(40), rung_epochs(2)
    ((5, 14, 40), (1, 2))
    """
    return tuple(sorted({ceil(max_epochs / ETA**2), ceil(max_epochs / ETA), max_epochs}))


@dataclass(kw_only=True, eq=False)
class Trial:
    """One proposal: a recipe, and what it scored so far.

    Attributes
    ----------
    number : int
        In the order of the proposals; 0 is the start, the recipe as it is.
    values : dict
        The options that are tuned.
    recipe : BaseRecipe or None
        Settled; None where the values do not go together.
    state : str
        "running", "complete", "stopped" at a rung, "raced out" within one, or "failed".
    why : str
        Of the last three.
    losses : list of array of shape (n_folds,)
        Per rung that it reached; not a number for folds that it was spared.
    ended : set of int
        Folds on which early stopping ended its fit.
    first, last : dict of int to array
        Losses of the moments of a fold, at its first rung and at its last.
    loss : float
        Mean over folds at its last rung, comparable with that of other trials there.
    """

    number: int
    values: dict[str, Any]
    recipe: BaseRecipe | None
    state: str = RUNNING
    why: str = ""
    losses: list[FloatArray] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)
    first: dict[int, FloatArray] = field(default_factory=dict)
    last: dict[int, FloatArray] = field(default_factory=dict)
    loss: float = nan

    @property
    def name(self) -> str:
        """What its fits are called."""
        return f"trial {self.number}" if self.number else "start"

    @property
    def rung(self) -> int:
        """The last one it reached, from 0; -1 before its first fit."""
        return len(self.losses) - 1

    def at(self, rung: int) -> FloatArray:
        """Give its losses at a rung, or at its last one where it ended before."""
        return self.losses[min(rung, self.rung)]

    def enter(self, rung: int, n_folds: int) -> None:
        """Begin a rung: fits that have ended keep their losses."""
        while self.rung < rung:
            before = self.losses[-1] if self.losses else np.full(n_folds, nan)
            self.losses.append(np.where(np.isin(np.arange(n_folds), list(self.ended)), before, nan))

    def take(self, place: int, finished: Finished, loss: float | None, moments: FloatArray | None) -> None:
        """Take a fit on one fold; one without a loss is a failure."""
        if loss is None or moments is None or not np.isfinite(loss):
            self.state = FAILED
            self.why = str(finished.scores.get("failed", f"{finished.name}: its loss is not finite"))
            return
        self.losses[-1][place] = loss
        self.first.setdefault(place, moments)
        self.last[place] = moments
        if finished.scores.get("stopped", True):
            self.ended.add(place)

    def copy_from(self, other: "Trial") -> None:
        """Take what another trial with the same recipe found."""
        self.state, self.loss, self.losses = other.state, other.loss, [row.copy() for row in other.losses]
        self.why = f"the same as {other.name}" + (f": {other.why}" if other.why else "")

    def against(self, start: "Trial") -> float | None:
        """Give the standard error of the difference of its loss from the start's at the same rung; None if there is none."""
        if self.state == FAILED or not self.losses:
            return None
        differences = self.losses[-1] - start.at(self.rung)
        differences = differences[np.isfinite(differences)]
        found = fold_t(differences) if len(differences) else None
        return found.se if found is not None and found.enough else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """Where trials are trained and compared.

    Attributes
    ----------
    folds : sequence of folds
        Each trial is fitted on all.
    seed : int
        The one seed of all fits.
    epochs : tuple of int
        `rung_epochs`.
    fit : callable
        Does fits, given as jobs, and gives what they found in the same order; one that failed has no loss.
    metric : str
        Name of the loss in a fit's scores.
    moments : callable
        Gives the losses of a fit, one per moment.
    forget : callable
        Told of a fit, as a job, that will not go on.
    """

    folds: Sequence[Any]
    seed: int
    epochs: tuple[int, ...]
    fit: Callable[[list[Job]], list[Finished]]
    metric: str
    moments: Callable[[Finished], FloatArray]
    forget: Callable[[Job], None]

    def job(self, trial: Trial, place: int, rung: int) -> Job:
        """Give the fit of a trial on a fold, to the end of a rung."""
        until = None if rung == len(self.epochs) - 1 else self.epochs[rung]
        return Job(
            candidate=trial.name, fold=self.folds[place], model=trial.recipe, seed=self.seed, until=until
        )

    def train(self, trials: Sequence[Trial], rung: int, start: Trial, *, spare: int = 0) -> None:
        """Train trials to the end of a rung; those that are clearly worse after three folds get no more of them.

        Parameters
        ----------
        trials : sequence of Trial
            Running.
        rung : int
            From 0.
        start : Trial
            The one that they are held against.
        spare : int, default 0
            So many, the best, are not stopped within the rung: as many as will go on.

        Raises
        ------
        FitError
            If the start cannot be fitted.
        """
        n_folds = len(self.folds)
        for trial in trials:
            trial.enter(rung, n_folds)
        self._fit(trials, range(min(RACED_AFTER, n_folds)), rung)
        if n_folds > RACED_AFTER:
            self._race(trials, rung, start, spare)
            self._fit(trials, range(RACED_AFTER, n_folds), rung)
        if start.state == FAILED:
            raise FitError(
                f"the recipe as it is cannot be fitted, so there is nothing to hold trials against: {start.why}"
            )
        self._settle(trials, rung, start)

    def drop(self, trial: Trial, state: str, why: str) -> None:
        """End a trial before its time, with what its unfinished fits have left."""
        trial.state, trial.why = state, why
        for place in range(len(self.folds)):
            if place not in trial.ended:
                self.forget(self.job(trial, place, len(self.epochs) - 1))

    def _fit(self, trials: Sequence[Trial], places: Iterable[int], rung: int) -> None:
        todo = [
            (trial, place)
            for place in places
            for trial in trials
            if trial.state == RUNNING and np.isnan(trial.losses[rung][place])
        ]
        done = self.fit([self.job(trial, place, rung) for trial, place in todo])
        for (trial, place), finished in zip(todo, done, strict=True):
            if trial.state != FAILED:
                loss = finished.scores.get(self.metric)
                trial.take(place, finished, loss, None if loss is None else self.moments(finished))
                if trial.state == FAILED:
                    self.drop(trial, FAILED, trial.why)

    def _race(self, trials: Sequence[Trial], rung: int, start: Trial, spare: int) -> None:
        racing = [trial for trial in trials if trial.state == RUNNING and trial is not start]
        if start.state == FAILED or not racing:
            return
        rows = np.array([trial.at(rung)[:RACED_AFTER] for trial in (start, *racing)])
        out = hopeless(rows, least=RACED_AFTER)[1:]
        out[np.argsort(rows[1:].mean(axis=1), kind="stable")[:spare]] = False
        why = f"after {RACED_AFTER} folds clearly worse than the best, at epoch {self.epochs[rung]}"
        for trial, hopeless_now in zip(racing, out, strict=True):
            if hopeless_now and not self.has_ended(trial):
                self.drop(trial, RACED_OUT, why)

    def _settle(self, trials: Sequence[Trial], rung: int, start: Trial) -> None:
        """Give every trial its loss; one without all folds that of the best and its mean difference from it."""
        whole = [trial for trial in (start, *trials) if trial.state == RUNNING or trial is start]
        best = min((trial.at(rung) for trial in whole), key=np.mean)
        for trial in trials:
            if trial.state == RUNNING:
                trial.loss = float(trial.losses[rung].mean())
            elif trial.state == RACED_OUT and trial.rung == rung:
                trial.loss = float(best.mean() + np.nanmean(trial.losses[rung] - best))

    def has_ended(self, trial: Trial) -> bool:
        """Whether early stopping has ended all fits of a trial."""
        return len(trial.ended) == len(self.folds)


def climb(
    trials: Sequence[Trial], bench: Bench, *, start: Trial, room: Callable[[int, int], int] | None = None
) -> None:
    """Take a bracket of trials up the rungs; each ends in the state that it deserves.

    Parameters
    ----------
    trials : sequence of Trial
        Running. At each rung the best third, rounded up, goes on, and the start.
    bench : Bench
        Where they are compared.
    start : Trial
        The one that they are held against, which always goes on: the first of ``trials``, or from an earlier bracket.
    room : callable, optional
        Given a rung and how many trials should go on to it, says how many may, one at least.

    Raises
    ------
    FitError
        If the start cannot be fitted.
    """
    running, last = list(trials), len(bench.epochs) - 1
    for rung in range(last + 1):
        wanted = ceil(len(trials) / ETA**rung)
        if rung:
            keep = wanted if room is None else min(wanted, room(rung, wanted))
            _promote(running, keep, rung, bench, start=start)
            running = [trial for trial in running if trial.state == RUNNING]
        bench.train(running, rung, start, spare=ceil(wanted / ETA) if rung < last else 0)
        running = [trial for trial in running if trial.state == RUNNING]
    for trial in running:
        trial.state = COMPLETE


def _promote(trials: list[Trial], keep: int, rung: int, bench: Bench, *, start: Trial) -> None:
    """End all trials but those that go on to a rung: the start and the best of the others."""
    ranked = sorted(trials, key=lambda trial: (trial is not start, trial.loss, trial.number))
    why = f"not among the best {keep} at epoch {bench.epochs[rung - 1]}"
    for trial in ranked[keep + (start in trials) :]:
        if bench.has_ended(trial):
            trial.state = COMPLETE  # early stopping has ended it: there is no more to know
        else:
            bench.drop(trial, STOPPED, why)


def bracket_sizes(n: int, n_rungs: int, *, start: bool) -> list[int]:
    """Give how many trials of a bracket train at each rung, at most.

    Parameters
    ----------
    n : int
        Trials at the first rung.
    n_rungs : int
        Rungs.
    start : bool
        Whether the start, which always goes on, is among them.

    Examples
    --------
    >>> bracket_sizes(9, 3, start=False), bracket_sizes(9, 3, start=True)
    ([9, 3, 1], [9, 4, 2])
    """
    return [min(n, ceil(n / ETA**rung) + (start and rung > 0)) for rung in range(n_rungs)]
