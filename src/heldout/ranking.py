"""`rank_remedies`: what helps against overfitting here, and by how much, once it is measured on rows that chose nothing.

read -> control and remedies, tuned alike, on the inner folds -> gains, tiers -> a factorial finds the stack -> the outer folds, once
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from heldout.answers import asked, find_answer
from heldout.base_recipe import BaseRecipe
from heldout.check import FitError, check_choice, check_number
from heldout.config import Config, TextConfig
from heldout.data.series import FloatArray
from heldout.efforts import settle_effort
from heldout.listener import Listener, Silent
from heldout.remedies_result import RemediesResult, sentence_of, smallest_said
from heldout.runs import Run, environment
from heldout.search import Search
from heldout.studies.arms import Measured, arm_name, fit_arms, measure_arm, on_folds
from heldout.studies.capacity import by_seed
from heldout.studies.cost import TYPICAL_BASELINE, Budget, Costs, parse_budget, work_of
from heldout.studies.engine import Engine, InlineEngine, workers_of
from heldout.studies.factorial import two_level_runs
from heldout.studies.gains import shares_saved, smallest_gain
from heldout.studies.ledger import Finished, Ledger
from heldout.studies.mean_forecast import mean_of_seeds
from heldout.studies.plan import Job, end_study, kept
from heldout.studies.plan import plan as plan_of
from heldout.studies.remedies import CONTROLS, ENSEMBLE, LEFT_WITHOUT, MORE_DATA, NO_RECIPE, joined, stackable
from heldout.studies.remedy_arms import RemedyArms
from heldout.studies.remedy_effort import Effort, efforts
from heldout.studies.remedy_rows import (
    confirmed_rows,
    control_row,
    described,
    gain_of,
    remedy_rows,
    stack_row,
)
from heldout.studies.sizes import Grid, learning_rates

CONTROL = "control"
_PILOT = 3  # folds on which the first fits show what could be seen


def rank_remedies(  # noqa: PLR0913 - the one entry point
    source: object,
    config: Config | TextConfig,
    *,
    remedies: Sequence[str] | None = None,
    control: str = "bare",
    delta: float = 0.01,
    out: str | Path | None = None,
    engine: Engine | None = None,
    listener: Listener | None = None,
    budget: str | int | None = None,
    test: object = None,
    command: str | None = None,
) -> RemediesResult:
    """Find out which remedies against overfitting help here, by how much, and what the best of them are worth together.

    A control without any of them, and each remedy alone, are fitted on the same folds with the same seeds, for equally many
    steps, each at the learning rate that suits it. What each gains comes with intervals that hold for all at once. A
    fractional factorial of the most promising finds those that help together. The best of all is then measured once more
    beside the control on later folds that chose nothing: that number counts. The sealed test is never touched. Stop it at
    any time and call it again with the same arguments: what was finished is not repeated.

    Parameters
    ----------
    source : path or data frame
        A table, as for `heldout.fit`.
    config : Config or TextConfig
        Columns, splits, and the recipe: its size, window and epochs.
    remedies : sequence of str, optional
        Only these, of `heldout.studies.remedies.NAMES`; by default all.
    control : {"bare", "recipe"}, default "bare"
        "bare" is the recipe with nothing against overfitting, trained for ``max_epochs``; "recipe" is the recipe as it is:
        remedies that it has are passed over.
    delta : float, default 0.01
        The smallest gain that matters, as a share of the control's loss, in (0, 1).
    out : path, optional
        The run directory; by default a numbered one under ``runs``. It also gets ``chosen.toml``, which `heldout.fit` takes.
    engine : Engine, optional
        By default processes on this machine. The result does not depend on it.
    listener : Listener, optional
        Told what goes on.
    budget : str or int, optional
        "10min", "50 fits", or both. Where the whole does not fit in, learning rates are left out first, then seeds, then the
        size of the factorial, then the least promising remedies; what was is said.
    test : path or data frame, optional
        Rows that stay sealed.
    command : str, optional
        What a person typed to get here; recorded for the report. By default the call of this function.

    Returns
    -------
    RemediesResult

    Raises
    ------
    InputError
        If the table, the configuration or an option breaks a rule, there is no such remedy, or the budget is too small.
    FitError
        If the control cannot be fitted.

    References
    ----------
    Cawley and Talbot 2010, JMLR 11, for measuring a choice on rows that did not make it. See `heldout.studies.multiple`,
    `heldout.studies.factorial` and `heldout.studies.equivalence` for the statistics.
    """
    check_choice("control", control, CONTROLS)
    check_number("delta", delta, 0, 1, open_low=True, open_high=True)
    limit = Budget() if budget is None else parse_budget(budget)
    names = None if remedies is None else list(dict.fromkeys(remedies))
    options = asked(config.recipe, remedies=names, control=control, delta=delta, budget=budget)
    known = find_answer("remedies", source, config, options, out=out, test=test)
    if known is not None:
        return RemediesResult(*known)
    listener = listener or Silent()
    search = Search.make(source, config, test=test)
    with search.open("remedies", options, out=out) as run:
        with Ledger(run.ledger_path) as ledger, kept(engine) as held:
            arms = RemedyArms(
                config.recipe,
                control,
                names,
                settle=search.variant,
                n_train=search.n_train(search.inner[0]),
                n_seeds=len(search.seeds()),
            )
            study = _Study(search.within(run.path), arms, delta, ledger, held, listener)
            for text in study.notes:
                listener.note(text)
            scores = study.scores(study.effort(limit, run)) | {
                "run": str(run.path),
                "options": options,
                "command": command or run.call("rank_remedies", source, config, test),
                "environment": environment(),
            }
        scores["sentence"] = sentence_of(scores)
        values = scores["choice"]["options"]
        run.save_choice(config.with_values({f"recipe.{name}": values[name] for name in values}), scores)
        end_study(study.search.context)
    return RemediesResult(run.path, run.scores())


class _Study:
    """The fits of one run, and what came out."""

    def __init__(
        self,
        search: Search,
        arms: RemedyArms,
        delta: float,
        ledger: Ledger,
        engine: Engine,
        listener: Listener,
    ) -> None:
        self.search, self.arms, self.delta = search, arms, delta
        self.engine, self.listener, self.workers = engine, listener, workers_of(engine)
        self.done: dict[str, Job] = {}
        self.less = [search.recent(fold, LEFT_WITHOUT) for fold in search.inner]
        self.overlap = 0.0 if search.forward else 1 / (len(search.inner) - 1)
        self.seeds = search.seeds()
        self.n_train = {
            fold.name: search.n_train(fold) for fold in (*search.inner, *search.outer, *self.less)
        }
        of = "nothing against overfitting" if arms.kind == "bare" else "the recipe as it is"
        self.notes = [
            *search.notes,
            f"the control is {of}; {len(arms.options)} {'remedy applies' if len(arms.options) == 1 else 'remedies apply'}",
        ]

        def run(jobs: Sequence[Job]) -> list[Finished]:
            found = search.run(jobs, ledger, engine=self.engine, listener=listener)
            self.done.update((job.name, job) for job in jobs)
            return found

        self.grid = Grid(
            variant=arms.variant,
            folds=search.inner,
            seeds=self.seeds,
            rates=learning_rates(arms.control.lr),
            run=run,
            metric=search.metric,
            name=arm_name,
        )

    def with_effort(self, effort: Effort) -> Grid:
        """The grid that an effort leaves."""
        return replace(self.grid, seeds=self.seeds[: effort.n_seeds], rates=self.grid.rates[: effort.n_rates])

    def of(self, grid: Grid, name: str) -> Grid:
        """The grid of an arm: what more data brought is seen where there are less."""
        return on_folds(grid, self.less, grid.seeds) if name == MORE_DATA else grid

    def effort(self, limit: Budget, run: Run) -> Effort:
        """The most that fits into a budget."""
        return settle_effort(
            {effort: self.ahead(effort) for effort in efforts(len(self.seeds), list(self.arms.options))},
            limit,
            run,
            work=self.work,
            measure=self.measured,
            workers=self.workers,
            listener=self.listener,
            way_out="name fewer remedies, or a smaller network",
        )

    def ahead(self, effort: Effort) -> list[Job]:
        """At most what is to be fitted: stacks cost about what the control does."""
        grid = self.with_effort(effort)
        fitted = [name for name in effort.names if name != ENSEMBLE]
        jobs = [job for name in (CONTROL, *fitted) for job in self.of(grid, name).plan([{"arm": name}])]
        runs = two_level_runs(max(1, min(effort.n_factors, len(fitted))))
        plain = grid.plan([{"arm": CONTROL}])
        for number in range(1 + int((runs.sum(axis=1) > 1).sum())):
            jobs += [replace(job, candidate=f"stack {number}, {job.candidate}") for job in plain]
        judges = grid.jobs({"arm": CONTROL}, grid.rates[:1], self.search.outer, self.seeds[: effort.n_judges])
        for role in ("", "best single, ", "stack, "):
            jobs += [replace(job, candidate=f"{role}{job.candidate}") for job in judges]
        return jobs + self.baselines(effort)

    def baselines(self, effort: Effort) -> list[Job]:
        """Judged beside the choice."""
        return plan_of(self.search.baselines, self.search.outer, self.seeds[: effort.n_judges])

    def expect(self, ahead: Sequence[Job]) -> None:
        """Tell the listener of all fits, done and planned."""
        self.listener.begin([*self.done.values(), *(job for job in ahead if job.name not in self.done)])

    def work(self, job: Job) -> float:
        """How much work a fit is."""
        if not isinstance(job.model, BaseRecipe):
            return TYPICAL_BASELINE
        return work_of(job.model, self.n_train[job.fold.name], self.search.n_inputs)

    def pilot(self) -> list[list[Job]]:
        """The first fits, which are in every plan: of a remedy and of the control, on the first folds."""
        fitted = [name for name in self.arms.options if name not in NO_RECIPE]
        # Where training is short, stopping it early changes nothing, and no spread could be seen.
        first = next((name for name in fitted if name != "early stopping"), (fitted or [CONTROL])[0])
        return [
            self.grid.jobs({"arm": name}, self.grid.rates[:1], self.grid.folds[:_PILOT], self.seeds[:1])
            for name in (first, CONTROL)
        ]

    def measured(self) -> Costs:
        """What two of the first fits took; the one before them waits for torch to load and is not counted."""
        costs, (first, control) = Costs(), self.pilot()
        engine, self.engine = self.engine, InlineEngine()
        jobs = [first[0], control[0], first[1]]
        for job, fit in list(zip(jobs, self.grid.fit(jobs), strict=True))[1:]:
            costs.add(self.work(job), fit.seconds)
        self.engine = engine
        return costs

    def find_power(self, effort: Effort) -> dict[str, Any]:
        """What could be seen, said before the rest is fitted: by the spread of the gain in the first fits."""
        times = smallest_gain(len(effort.names), len(self.search.inner), overlap=self.overlap)
        jobs = [job for jobs in self.pilot() for job in jobs]
        scores = [fit.scores.get(self.search.metric) for fit in self.grid.fit(jobs)]
        losses = np.array(scores, dtype=np.float64).reshape(2, -1)
        smallest = None
        if np.isfinite(losses).all() and len(losses[0]) > 1:
            smallest = times * float(shares_saved(losses[:1], losses[1]).std(ddof=1)) or None
        said = (
            f"{len(self.search.inner)} folds and {len(effort.names)} remedies at once: a gain is shown in 4 of 5 cases if it is "
            f"{times:.1f} times its spread between folds"
        )
        if smallest is not None:
            said += f"; by the first fits that is {smallest_said(smallest)}"
        return {"spreads": times, "smallest": smallest, "said": said}

    def measure(self, grid: Grid, name: str) -> Measured | str:
        """What the fits of an arm gave, or why they failed."""
        moments = self.search.moment_losses
        if name == ENSEMBLE:
            together = partial(mean_of_seeds, self.search.context)
            found = measure_arm(grid, CONTROL, moments, together=together)
            return found if isinstance(found, str) else replace(found, name=name)
        return measure_arm(self.of(grid, name), name, moments)

    def scores(self, effort: Effort) -> dict[str, Any]:
        """Fit, compare, combine, confirm."""
        grid, power = self.with_effort(effort), self.find_power(effort)
        self.listener.note(power["said"])
        self.expect(self.ahead(effort))
        fit_arms(grid, [CONTROL, *(name for name in effort.names if name not in NO_RECIPE)])
        if MORE_DATA in effort.names:
            fit_arms(self.of(grid, MORE_DATA), [MORE_DATA])
        found = {name: self.measure(grid, name) for name in (CONTROL, *effort.names)}
        control = self.whole(found.pop(CONTROL))
        arms = [arm for arm in found.values() if isinstance(arm, Measured)]
        failed = {name: arm for name, arm in found.items() if isinstance(arm, str)}
        if not arms:
            raise FitError(f"no remedy could be fitted: {next(iter(failed.values()))}")
        rows = remedy_rows(control, arms, delta=self.delta, overlap=self.overlap)
        stack = self.stack(grid, control, [row["name"] for row in rows if row["gain"] > 0], effort)
        single = next(
            (row["name"] for row in rows if row["gain"] > 0 and row["name"] not in NO_RECIPE), CONTROL
        )
        named = {"control": CONTROL, "single": single}
        if stack is not None and stack["name"] is not None:
            named["stack"] = stack["name"]
        return {
            "kind": "remedies",
            "modality": self.search.modality,
            "metric": self.search.metric,
            "control": control_row(control, arms) | {"kind": self.arms.kind},
            "delta": self.delta,
            "rows": rows,
            "others": [{"name": name, "why": why} for name, why in (self.arms.others | failed).items()],
            "stack": stack,
            **self.confirm(grid, named, control, effort),
            "power": power,
            "n_folds": len(self.search.inner),
            "n_seeds": effort.n_seeds,
            "rates": list(grid.rates),
            "fits": len(grid.held),
            "seconds": sum(fit.seconds for fit in grid.held.values()),
            "left_out": list(effort.left_out),
            "notes": list(self.notes),
        }

    def whole(self, found: Measured | str) -> Measured:
        """What was found; an error where it failed."""
        if isinstance(found, str):
            raise FitError(f"there is nothing to hold remedies against: {found}")
        return found

    def stack(
        self, grid: Grid, control: Measured, promising: Sequence[str], effort: Effort
    ) -> dict[str, Any] | None:
        """The remedies that help together: a factorial of the most promising; None where there are not two."""
        names = stackable(promising, self.arms.options, effort.n_factors)
        if len(names) < 2:
            return None
        runs = two_level_runs(len(names))
        cells = [joined(name for name, on in zip(names, run, strict=True) if on) for run in runs]
        fit_arms(grid, cells)
        found = [self.measure(grid, cell) for cell in cells]
        good = [cell for cell in found if isinstance(cell, Measured)]
        if len(good) < len(found):
            why = next(cell for cell in found if isinstance(cell, str))
            return {"n_runs": len(runs), "factors": [], "name": None, "why": why}
        row = stack_row(names, runs, good, control, overlap=self.overlap)
        name = joined(factor["name"] for factor in row["factors"] if factor["kept"])
        fit_arms(grid, [name])
        whole = self.measure(grid, name)
        if isinstance(whole, str):
            return {**row, "name": None, "why": whole}
        return {
            **row,
            "name": name,
            "gain": gain_of(whole, control, overlap=self.overlap),
            **described(whole),
        }

    def confirm(
        self, grid: Grid, named: Mapping[str, str], control: Measured, effort: Effort
    ) -> dict[str, Any]:
        """The folds that chose nothing, once; and the choice, which the inner folds have made."""
        names, outer = list(dict.fromkeys(named.values())), self.search.outer
        inside = {
            name: gain_of(self.whole(self.measure(grid, name)), control, overlap=self.overlap)
            for name in names
        }
        rates = {name: grid.rate({"arm": name}) for name in names}
        seeds = self.seeds[: effort.n_judges]
        jobs = [job for name in names for job in grid.jobs({"arm": name}, [rates[name]], outer, seeds)]
        jobs += self.baselines(effort)
        self.expect(jobs)
        of: dict[str, list[Finished]] = {}
        for job, fit in zip(jobs, grid.fit(jobs), strict=True):
            if "failed" in fit.scores:
                raise FitError(f"{fit.name} cannot be judged: {fit.scores['failed']}")
            of.setdefault(job.candidate, []).append(fit)
        losses = {name: self.by_seed(of[f"{name}, lr {rates[name]:g}"]) for name in names}
        rows = confirmed_rows(named, losses, rates, blocks=self.search.blocks)
        best = max(names, key=lambda name: inside[name]["mean"] or 0.0)
        counts = {"n_folds": len(outer), "n_seeds": len(seeds), "n_moments": losses[CONTROL].shape[1]}
        return {
            "choice": {"name": best, "options": {**self.arms.values(best), "lr": rates[best]}},
            "selected": inside[best],
            "confirmed": next(row["saved"] for row in rows if row["name"] == best),
            "outer": {"rows": rows, **counts},
            "baselines": [
                {"name": name, "loss": float(self.by_seed(of[name]).mean())} for name in self.search.baselines
            ],
        }

    def by_seed(self, fits: Sequence[Finished]) -> FloatArray:
        """Losses of the outer folds' moments, per seed."""
        return by_seed(fits, len(self.search.outer), self.search.moment_losses)
