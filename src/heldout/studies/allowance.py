"""`Allowance`: what a budget leaves for further brackets of trials, by what the fits so far took."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from math import inf

from heldout.base_recipe import BaseRecipe
from heldout.studies.cost import Budget, Costs, usual_epochs, work_of
from heldout.studies.rungs import bracket_sizes

BRACKET = 9
"""Trials that are proposed at once: three rungs of thirds end in one."""


def rung_work(
    recipe: BaseRecipe, rung: int, epochs: Sequence[int], *, n_samples: int, n_inputs: int
) -> float:
    """Guess how much work a fit is from one rung to the next; early stopping ends the usual fit before the last.

    Parameters
    ----------
    recipe : BaseRecipe
        Settled.
    rung : int
        From 0.
    epochs : sequence of int
        `heldout.studies.rungs.rung_epochs`.
    n_samples, n_inputs : int
        As in `heldout.studies.cost.work_of`.
    """
    usual = usual_epochs(recipe)
    before, until = (0, *epochs)[rung : rung + 2]
    share = max(min(until, usual) - min(before, usual), 1)
    return work_of(recipe, n_samples, n_inputs, epochs=share)


@dataclass(kw_only=True)
class Allowance:
    """What is left of a budget.

    Only fits that are done count, as the ledger holds them, so that a resumed run decides the same.

    Attributes
    ----------
    limit : Budget
        All that may be spent.
    workers : int
        Fits at once: seconds of fits count by this part.
    n_folds : int
        Fits of a trial at a rung.
    rungs : sequence of float
        Work of one fit at each rung (`heldout.studies.cost.work_of`).
    kept_fits, kept_work : int, float
        Kept back for the judgement.
    costs : Costs
        What the fits so far took.
    fits, seconds : int, float
        Spent: fits, and seconds of one worker.
    """

    limit: Budget
    workers: int
    n_folds: int
    rungs: Sequence[float]
    kept_fits: int
    kept_work: float
    costs: Costs = field(default_factory=Costs)
    fits: int = 0
    seconds: float = 0.0

    def spend(self, work: float, seconds: float) -> None:
        """Count a fit that is done."""
        self.costs.add(work, seconds)
        self.fits += 1
        self.seconds += seconds

    def fits_of(self, n: int, *, start: bool) -> int:
        """Give the fits of a bracket, at most; ``start`` as in `bracket_sizes`."""
        return self.n_folds * sum(bracket_sizes(n, len(self.rungs), start=start))

    def seconds_of(self, n: int, *, start: bool, rung: int = 0) -> float:
        """Give the seconds, of one worker, that the rungs of a bracket take from one on, with n trials there."""
        sizes = bracket_sizes(n, len(self.rungs) - rung, start=start)
        works = zip(sizes, self.rungs[rung:], strict=True)
        return self.n_folds * sum(size * self.costs.estimate(work) for size, work in works)

    def largest(self, n: int, *, start: bool = False) -> int:
        """Give how many trials of n the next bracket may have; 0 for none, with the start 2 at least."""
        fits = inf if self.limit.fits is None else self.limit.fits - self.fits - self.kept_fits
        sizes = (
            size
            for size in range(n, 0, -1)
            if self.fits_of(size, start=start) <= fits
            and self.seconds_of(size, start=start) <= self._seconds_left()
        )
        return max(next(sizes, 0), 2 * start)

    def room(self, rung: int, wanted: int) -> int:
        """Give how many trials may go on to a rung: those that there is time for, one at least."""
        left = self._seconds_left()
        return next(
            (n for n in range(wanted, 1, -1) if self.seconds_of(n, start=False, rung=rung) <= left), 1
        )

    def ahead(self, n_trials: int | None, *, start: bool) -> tuple[int, int, float]:
        """Give what will be done at most: trials, fits and seconds, with what is kept for the judgement.

        Parameters
        ----------
        n_trials : int or None
            Wanted yet; None for as many as there is room for.
        start : bool
            Whether the start is among them.
        """
        then, trials = copy(self), 0
        while n := then.largest(_next(n_trials, trials), start=start and not trials):
            first = start and not trials
            then.seconds += then.seconds_of(n, start=first)
            then.fits += then.fits_of(n, start=first)
            trials += n
            if then.limit == Budget() and n_trials is None:
                break
        seconds = (then.seconds - self.seconds + self.costs.estimate(self.kept_work)) / self.workers
        return trials, then.fits - self.fits + self.kept_fits, seconds

    def _seconds_left(self) -> float:
        if self.limit.seconds is None:
            return inf
        return self.limit.seconds * self.workers - self.seconds - self.costs.estimate(self.kept_work)


def _next(n_trials: int | None, made: int) -> int:
    return BRACKET if n_trials is None else min(BRACKET, n_trials - made)
