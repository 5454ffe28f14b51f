"""`reduce_capacity`: smaller until it stops overfitting. A walk down from a large network, and an honest word on where it ends.

read -> a start -> stages: layers, units, word vectors (fits on the inner folds, a choice each) -> the outer folds, once
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from heldout.answers import asked, find_answer
from heldout.base_recipe import BaseRecipe
from heldout.capacity_result import CapacityResult, sentence_of
from heldout.check import FitError, InputError, check_choice
from heldout.config import Config, TextConfig
from heldout.efforts import settle_effort
from heldout.listener import Listener, Silent
from heldout.runs import Run, environment
from heldout.search import Search
from heldout.studies.capacity import by_seed, optimism, outer_rows, rows_of
from heldout.studies.cost import TYPICAL_BASELINE, Budget, Costs, parse_budget, work_of
from heldout.studies.engine import Engine, InlineEngine, workers_of
from heldout.studies.ledger import Finished, Ledger
from heldout.studies.plan import Job, end_study, kept
from heldout.studies.plan import plan as plan_of
from heldout.studies.selection import RULES, choose
from heldout.studies.sizes import Grid, Size, Tried, label, large_start, learning_rates
from heldout.studies.walk import PLANS, Effort, efforts, stage_sizes, stages


def reduce_capacity(  # noqa: PLR0913 - the one entry point
    source: object,
    config: Config | TextConfig,
    *,
    plan: str = "walk",
    rule: str = "1-SE",
    out: str | Path | None = None,
    engine: Engine | None = None,
    listener: Listener | None = None,
    budget: str | int | None = None,
    test: object = None,
    command: str | None = None,
) -> CapacityResult:
    """Make the network smaller as long as that costs nothing, and find out, honestly, what that was worth.

    From a large start it tries fewer layers, then fewer units, then, of texts, shorter word vectors. Every size is fitted
    on the same folds with the same seeds and at the same three learning rates, and sizes that a paired test shows to be
    worse are given up early. After each of these stages the rule chooses a size to go on from. The last choice, the start
    and the best size are then fitted and scored on later folds that chose nothing. The sealed test is never touched.
    Stop it at any time and call it again with the same arguments: what was finished is not repeated.

    Parameters
    ----------
    source : path or data frame
        A table, as for `heldout.fit`.
    config : Config or TextConfig
        Columns, splits, recipe. The start is the recipe's ``num_layers`` and ``hidden_size`` where one of them is not the
        default, else `heldout.studies.sizes.large_start`. Everything but the size and the learning rate stays as it is.
    plan : {"walk", "depth"}, default "walk"
        "depth" compares 1, 2 and 3 layers whose LSTMs have equally many weights as the start's.
    rule : {"1-SE", "best", "simplest"}, default "1-SE"
        See `heldout.studies.selection.choose`.
    out : path, optional
        The run directory; by default a numbered one under ``runs``. It also gets ``chosen.toml``, which `heldout.fit` takes.
    engine : Engine, optional
        By default processes on this machine. The result does not depend on it.
    listener : Listener, optional
        Told what goes on.
    budget : str or int, optional
        "10min", "50 fits", or both. Where the whole does not fit in, further seeds are left out, then a learning rate,
        then every other size; what was is said.
    test : path or data frame, optional
        Rows that stay sealed.
    command : str, optional
        What a person typed to get here; recorded for the report. By default the call of this function.

    Returns
    -------
    CapacityResult

    Raises
    ------
    InputError
        If the table, the configuration or an option breaks a rule, or the budget is too small.

    References
    ----------
    Breiman, Friedman, Olshen and Stone 1984 for the rule of one standard error; Varma and Simon 2006, BMC Bioinformatics 7,
    for judging a choice on folds that did not make it.
    """
    check_choice("plan", plan, PLANS)
    check_choice("rule", rule, RULES)
    limit = Budget() if budget is None else parse_budget(budget)
    options = asked(config.recipe, plan=plan, rule=rule, budget=budget)
    known = find_answer("reduce", source, config, options, out=out, test=test)
    if known is not None:
        return CapacityResult(*known)
    listener = listener or Silent()
    search = Search.make(source, config, test=test)
    with search.open("reduce", options, out=out) as run:
        with Ledger(run.ledger_path) as ledger, kept(engine) as held:
            study = _Study(search.within(run.path), plan, rule, ledger, held, listener)
            for text in study.notes:
                listener.note(text)
            scores = study.scores(study.effort(limit, run)) | {
                "run": str(run.path),
                "options": options,
                "command": command or run.call("reduce_capacity", source, config, test),
                "environment": environment(),
            }
        scores["sentence"] = sentence_of(scores)
        choice = CapacityResult(run.path, scores).choice
        run.save_choice(config.with_values({f"recipe.{name}": choice[name] for name in choice}), scores)
        end_study(study.search.context)
    return CapacityResult(run.path, run.scores())


class _Study:
    """The sizes of one run: what there is to fit, and what came out."""

    def __init__(
        self, search: Search, plan: str, rule: str, ledger: Ledger, engine: Engine, listener: Listener
    ) -> None:
        self.search, self.plan, self.rule = search, plan, rule
        self.listener, self.workers = listener, workers_of(engine)
        self.done: dict[str, Job] = {}
        self.start, said = _start(search)
        self.notes = (*search.notes, said)
        self.seeds = search.seeds()
        self.n_train = {fold.name: search.n_train(fold) for fold in (*search.inner, *search.outer)}
        self.names = stages(plan, self.start)
        if not self.names:
            raise InputError(
                f"there is nothing smaller than {label(self.start)}: start larger, as with hidden_size=32"
            )

        def run(jobs: Sequence[Job]) -> list[Finished]:
            found = search.run(jobs, ledger, engine=self.engine, listener=listener)
            self.done.update((job.name, job) for job in jobs)
            return found

        self.engine = engine
        self.grid = Grid(
            variant=search.variant,
            folds=search.inner,
            seeds=self.seeds,
            rates=learning_rates(search.recipe.lr),
            run=run,
            metric=search.metric,
        )

    def with_effort(self, effort: Effort) -> Grid:
        """The grid that an effort leaves; what was fitted is shared."""
        rates = self.grid.rates[: effort.n_rates]
        return replace(self.grid, seeds=self.seeds[: effort.n_seeds], rates=rates)

    def sizes(self, stage: str, size: Size, *, thin: bool = False) -> list[Size]:
        """The sizes of a stage that begins at one."""
        both = self.search.recipe.bidirectional
        return stage_sizes(stage, size, n_inputs=_reads(self.search), bidirectional=both, thin=thin)

    def ahead(self, effort: Effort, names: Sequence[str], size: Size) -> list[Job]:
        """At most what is left to fit: as if every stage chose where it began, and the start and the best were others."""
        grid = self.with_effort(effort)
        sizes = [found for name in names for found in self.sizes(name, size, thin=effort.thin)]
        jobs = {job.name: job for job in grid.plan(sizes)}
        return [*jobs.values(), *self.judged([size, size, size], grid.rates[:1] * 3, effort)]

    def judged(self, sizes: Sequence[Size], rates: Sequence[float], effort: Effort) -> list[Job]:
        """The fits that judge, and the baselines beside them."""
        seeds = self.seeds[: effort.n_judges]
        jobs = [
            job
            for size, rate in zip(sizes, rates, strict=True)
            for job in self.grid.jobs(size, [rate], self.search.outer, seeds)
        ]
        return jobs + plan_of(self.search.baselines, self.search.outer, seeds)

    def expect(self, ahead: Sequence[Job]) -> None:
        """Tell the listener of all fits, done and planned."""
        self.listener.begin([*self.done.values(), *(job for job in ahead if job.name not in self.done)])

    def work(self, job: Job) -> float:
        """How much work a fit is."""
        if not isinstance(job.model, BaseRecipe):
            return TYPICAL_BASELINE
        return work_of(job.model, self.n_train[job.fold.name], self.search.n_inputs)

    def effort(self, limit: Budget, run: Run) -> Effort:
        """The most that fits into a budget."""
        plans = {effort: self.ahead(effort, self.names, self.start) for effort in efforts(len(self.seeds))}
        return settle_effort(
            plans,
            limit,
            run,
            work=self.work,
            measure=self.measured,
            workers=self.workers,
            listener=self.listener,
            way_out="start smaller with hidden_size",
        )

    def measured(self) -> Costs:
        """What two fits took that are in every plan: the largest, and one that is smaller.

        They are done here, after another small one: the first fit of a process waits for torch to load.
        """
        sizes, costs = self.sizes(self.names[0], self.start), Costs()
        places = ((sizes[-1], 0), (sizes[0], 0), (sizes[-1], 1))
        rate, seed = self.grid.rates[:1], self.seeds[:1]
        jobs = [self.grid.jobs(size, rate, [self.search.inner[n]], seed)[0] for size, n in places]
        engine, self.engine = self.engine, InlineEngine()
        for job, fit in list(zip(jobs, self.grid.fit(jobs), strict=True))[1:]:
            costs.add(self.work(job), fit.seconds)
        self.engine = engine
        return costs

    def scores(self, effort: Effort) -> dict[str, Any]:
        """Walk, choose, judge."""
        grid, size = self.with_effort(effort), self.start
        found: list[dict[str, Any]] = []
        tried: dict[str, Tried] = {}
        for place, name in enumerate(self.names):
            self.expect(self.ahead(effort, self.names[place:], size))
            compared = grid.compare(self.sizes(name, size, thin=effort.thin))
            weights = [one.values["num_layers"] if name == "depth" else one.n_parameters for one in compared]
            choice = choose([one.losses for one in compared], weights, rule=self.rule)
            tried |= {label(one.values): one for one in compared}
            found.append({"name": name, "rows": rows_of(compared, choice)})
            size = compared[choice.chosen].values
        whole = [one for one in tried.values() if np.isfinite(one.losses).all()]
        best = min(whole, key=lambda one: (float(one.losses.mean()), one.n_parameters))
        named = {"choice": tried[label(size)], "start": tried[label(self.start)], "best": best}
        judged = self._judge(named, effort)
        fits = [*grid.held.values()]
        return {
            "kind": "capacity",
            "modality": self.search.modality,
            "metric": self.search.metric,
            "rule": self.rule,
            "plan": self.plan,
            "stages": found,
            **{name: one.values for name, one in named.items()},
            **judged,
            "fits": len(fits),
            "seconds": sum(fit.seconds for fit in fits),
            "left_out": list(effort.left_out),
            "notes": list(self.notes),
        }

    def _judge(self, named: Mapping[str, Tried], effort: Effort) -> dict[str, Any]:
        """The outer folds: each size once, whatever it is there for."""
        found = {label(one.values): one for one in named.values()}
        jobs = self.judged([one.values for one in found.values()], [one.lr for one in found.values()], effort)
        self.expect(jobs)
        fits = dict(zip((job.name for job in jobs), self.grid.fit(jobs), strict=True))
        for name, fit in fits.items():
            if "failed" in fit.scores:
                raise FitError(f"{name} cannot be judged: {fit.scores['failed']}")
        n_folds, moments = len(self.search.outer), self.search.moment_losses
        losses = {
            name: by_seed(
                [fits[job.name] for job in jobs if job.candidate == f"{name}, lr {one.lr:g}"],
                n_folds,
                moments,
            )
            for name, one in found.items()
        }
        own, start = (losses[label(named[role].values)] for role in ("choice", "start"))
        inside = named["choice"].losses, named["start"].losses
        baselines = {
            name: by_seed([fits[job.name] for job in jobs if job.candidate == name], n_folds, moments)
            for name in self.search.baselines
        }
        blocks = self.search.blocks
        counts = {"n_folds": n_folds, "n_seeds": len(own), "n_moments": own.shape[1]}
        return {
            "outer": {"rows": outer_rows(named, losses, blocks=blocks), **counts},
            "optimism": optimism(*inside, own, start, blocks=blocks),
            "baselines": [{"name": name, "loss": float(x.mean())} for name, x in baselines.items()],
        }


def _start(search: Search) -> tuple[Size, str]:
    """The size that the user set, else one by the data; and a sentence."""
    recipe, default = search.recipe, type(search.recipe)()
    size: Size = {"num_layers": recipe.num_layers, "hidden_size": recipe.hidden_size}
    why = "as given"
    if (recipe.num_layers, recipe.hidden_size) == (default.num_layers, default.hidden_size):
        labels = search.n_train(search.inner[0]) * search.n_labels
        layers, units = large_start(
            labels, _reads(search), least=default.hidden_size, bidirectional=recipe.bidirectional
        )
        size = {"num_layers": layers, "hidden_size": units}
        why = f"by the {labels:,} numbers that the first fold learns from"
    if search.modality == "text":
        size["embedding_size"] = search.n_inputs
    return size, f"the start is {label(size)} (layers x units), {why}"


def _reads(search: Search) -> int | None:
    """Numbers that the first layer reads at a step, as `large_start` takes it."""
    return None if (getattr(search.recipe, "segment", 1) or 1) > 1 else search.n_inputs
