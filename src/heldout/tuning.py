"""`tune`: the options of a recipe by Optuna, in brackets of successive halving, and an honest word on what that was worth.

read -> a space -> brackets of trials (fits on the inner folds, a third goes on at each rung) -> the outer folds, once
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from heldout.answers import asked, find_answer
from heldout.base_recipe import BaseRecipe
from heldout.check import InputError, check_number
from heldout.config import Config, TextConfig
from heldout.listener import Listener, Silent
from heldout.plots.values import plural
from heldout.runs import environment
from heldout.search import Search
from heldout.studies.allowance import BRACKET, Allowance, rung_work
from heldout.studies.capacity import by_seed, optimism
from heldout.studies.cost import (
    TYPICAL_BASELINE,
    Budget,
    BudgetError,
    duration,
    parse_budget,
    sentence,
    work_of,
)
from heldout.studies.engine import Engine, workers_of
from heldout.studies.ledger import Finished, Ledger
from heldout.studies.plan import Job, checkpoint_of, end_study, kept, plan
from heldout.studies.proposals import Proposals
from heldout.studies.rungs import COMPLETE, FAILED, Bench, Trial, climb, rung_epochs
from heldout.studies.space import Space, default_space
from heldout.studies.worth import gain, judged_rows, luck, overfitting, support, trial_row
from heldout.tune_result import EXPORT, TuneResult, sentence_of

TRIALS = 27
"""Trials where neither their number nor a budget is given: three brackets."""


def tune(  # noqa: PLR0913 - the one entry point
    source: object,
    config: Config | TextConfig,
    *,
    space: Space | Mapping[str, Any] | str | Path | None = None,
    n_trials: int | None = None,
    budget: str | int | None = None,
    out: str | Path | None = None,
    engine: Engine | None = None,
    listener: Listener | None = None,
    test: object = None,
    command: str | None = None,
) -> TuneResult:
    """Look for better options of the recipe, and find out, honestly, what they are worth.

    The first trial is the recipe as it is, the start. Optuna proposes the others, in brackets of nine. All of a bracket
    train for a ninth of the epochs on the inner folds, the best third goes on to a third of the epochs, and of these again
    the best third to the end; a fit goes on where its rung ended, and trials that a paired test shows to be worse get no
    more folds. The best trial and the start are then fitted with all seeds, and scored on later folds that chose nothing.
    The sealed test is never touched. Stop it at any time and call it again with the same arguments: what was finished is
    not repeated.

    Parameters
    ----------
    source : path or data frame
        A table, as for `heldout.fit`.
    config : Config or TextConfig
        Columns, splits, recipe. The first of its seeds is that of the trials' fits and of the proposals.
    space : Space, mapping or path, optional
        What is tuned and from where to where; a path is a TOML file with a part ``[space]``. By default
        `heldout.studies.space.default_space`.
    n_trials : int, optional
        Trials, the start among them, 2 at least; by default 27, with a budget as many as fit in it.
    budget : str or int, optional
        "10min", "50 fits", or both. The judgement at the end is kept back from it; what was left out is said. With a time
        the number of trials depends on how fast the machine is; else the result depends neither on it nor on the engine.
    out : path, optional
        The run directory; by default a numbered one under ``runs``. It also gets ``chosen.toml``, which `heldout.fit` takes,
        and ``optuna.sqlite``, which Optuna and its dashboard open.
    engine : Engine, optional
        By default processes on this machine.
    listener : Listener, optional
        Told what goes on.
    test : path or data frame, optional
        Rows that stay sealed.
    command : str, optional
        What a person typed to get here; recorded for the report. By default the call of this function.

    Returns
    -------
    TuneResult

    Raises
    ------
    InputError
        If the table, the configuration or an option breaks a rule, the budget is too small, or Optuna is missing.
    FitError
        If the recipe as it is cannot be fitted.

    References
    ----------
    Cawley and Talbot 2010, On over-fitting in model selection and subsequent selection bias in performance evaluation,
    JMLR 11, for judging a choice on folds that did not make it; methods as named in `heldout.studies.rungs`,
    `heldout.studies.proposals` and `heldout.studies.lucky`.
    """
    if n_trials is not None:
        check_number("n_trials", n_trials, 2, float("inf"), open_high=True)
    limit = Budget() if budget is None else parse_budget(budget)
    wanted = TRIALS if n_trials is None and budget is None else n_trials
    given = _read_space(space)
    sampler = Proposals.settings(config.study.first_seed)
    options = asked(
        config.recipe,
        budget=budget,
        space=None if given is None else given.to_dict(),
        n_trials=wanted,
        sampler=sampler,
        bracket=BRACKET,
    )
    known = find_answer("tune", source, config, options, out=out, test=test)
    if known is not None:
        return TuneResult(*known)
    search = Search.make(source, config, test=test)
    found = given or default_space(search.recipe)
    found.check(search.variant)
    with search.open("tune", options, out=out) as run:
        with Ledger(run.ledger_path) as ledger, kept(engine) as held:
            study = _Study(search.within(run.path), found, ledger, held, listener or Silent(), limit=limit)
            scores = study.scores(wanted) | {
                "options": options,
                "run": str(run.path),
                "command": command or run.call("tune", source, config, test),
                "environment": environment(),
            }
        scores["sentence"] = sentence_of(scores)
        study.proposals.export(run.path / EXPORT)
        run.save_choice(study.chosen(config), scores)
        end_study(study.search.context)
    return TuneResult(run.path, run.scores())


class _Study:
    """The trials of one run: who is next, and what came out."""

    def __init__(
        self,
        search: Search,
        space: Space,
        ledger: Ledger,
        engine: Engine,
        listener: Listener,
        *,
        limit: Budget,
    ) -> None:
        self.search, self.space, self.ledger = search, space, ledger
        self.engine, self.listener = engine, listener
        self.epochs = rung_epochs(search.recipe.max_epochs)
        self.seeds = search.seeds()
        self.bench = Bench(
            folds=search.inner,
            seed=self.seeds[0],
            epochs=self.epochs,
            fit=self._fit,
            metric=search.metric,
            moments=search.moment_losses,
            forget=lambda job: checkpoint_of(search.context, job).clear(),
        )
        values = space.of(search.recipe)
        self.start = Trial(number=0, values=values, recipe=search.recipe)
        self.trials = [self.start]
        self.known: dict[BaseRecipe, Trial] = {search.recipe: self.start}
        self.proposals = Proposals(space, seed=self.seeds[0])
        self.proposals.begin(values)
        self.notes = [*search.notes]
        if not space.holds(values):
            outside = [name for name, entry in space.items() if not entry.holds(values[name])]
            self.notes.append(
                f"the recipe lies outside the space in {', '.join(outside)}: it is still what trials are held against"
            )
        self.left_out: list[str] = []
        self.done: dict[str, Job] = {}
        judged = self._judged([self.start, self.start])
        self.allowance = Allowance(
            limit=limit,
            workers=workers_of(self.engine),
            n_folds=len(search.inner),
            rungs=[self._rung_work(search.recipe, rung) for rung in range(len(self.epochs))],
            kept_fits=len(judged),
            kept_work=sum(self._work(job) for job in judged),
        )

    def _fit(self, jobs: list[Job], *, keep_failed: bool = True) -> list[Finished]:
        self.done.update((job.name, job) for job in jobs)
        if jobs:
            self.listener.begin(list(self.done.values()))
        found = self.search.run(
            jobs, self.ledger, engine=self.engine, listener=self.listener, keep_failed=keep_failed
        )
        for job, fit in zip(jobs, found, strict=True):
            self.allowance.spend(self._work(job), fit.seconds)
        return found

    def _work(self, job: Job) -> float:
        if not isinstance(job.model, BaseRecipe):
            return TYPICAL_BASELINE
        if any(job.fold is fold for fold in self.search.outer):
            return work_of(job.model, self.search.n_train(job.fold), self._n_inputs)
        last = len(self.epochs) - 1
        return self._rung_work(job.model, last if job.until is None else self.epochs.index(job.until))

    def _rung_work(self, recipe: BaseRecipe, rung: int) -> float:
        return rung_work(recipe, rung, self.epochs, n_samples=self._n_train, n_inputs=self._n_inputs)

    @cached_property
    def _n_inputs(self) -> int:
        return self.search.n_inputs

    @cached_property
    def _n_train(self) -> int:
        """Of a usual fold."""
        return ceil(np.mean([self.search.n_train(fold) for fold in self.search.inner]))

    def scores(self, wanted: int | None) -> dict[str, Any]:
        """Try, choose, judge."""
        self._refuse_too_little()
        for text in self.notes:
            self.listener.note(text)
        if self.allowance.limit.seconds is not None:
            self.bench.train([self.start], 0, self.start)  # to know what a fit takes
            self._refuse_too_short()
        self._announce(wanted)
        for n in self._brackets(wanted):
            self._bracket(n)
            self._announce(None if wanted is None else wanted - len(self.trials))
        judged = self._judge()
        return {
            "kind": "tune",
            "modality": self.search.modality,
            "metric": self.search.metric,
            "space": self.space.to_dict(),
            "trials": [trial_row(trial, self.start, self.epochs) for trial in self.trials],
            "start": self.start.values,
            "choice": self.choice.values,
            "chosen": self.choice.number,
            "n_trials": len(self.trials),
            "n_fits": self.allowance.fits,
            "rungs": list(self.epochs),
            **judged,
            "budget": asdict(self.allowance.limit),
            "left_out": self.left_out,
            "fits": self.allowance.fits,
            "seconds": self.allowance.seconds,
            "notes": self.notes,
        }

    def _refuse_too_little(self) -> None:
        limit, kept = self.allowance.limit.fits, self.allowance.kept_fits
        least = self.allowance.fits_of(2, start=True) + kept
        if limit is not None and limit < least:
            raise BudgetError(
                f"a budget of {self.allowance.limit} is too small: the recipe and one other trial, and the judgement of {kept} fits, take {least}; raise it, or lower n_folds or n_seeds"
            )

    def _refuse_too_short(self) -> None:
        limit, (_, _, seconds) = self.allowance.limit, self.allowance.ahead(2, start=True)
        if limit.seconds is not None and seconds > limit.seconds:
            raise BudgetError(
                f"a budget of {limit} is too small: the recipe, one other trial and their judgement take about {duration(seconds)}; raise it, or lower n_folds or n_seeds"
            )

    def _announce(self, wanted: int | None) -> None:
        """Say what is ahead, at most."""
        first = len(self.trials) == 1
        trials, fits, seconds = self.allowance.ahead(wanted, start=first)
        if not trials:
            return
        said = sentence(fits, seconds, self.allowance.workers, guess=not self.allowance.costs.known)
        self.listener.note(f"{plural(trials, 'trial' if first else 'more trial')}: at most {said}")

    def _brackets(self, wanted: int | None) -> Iterator[int]:
        """How many trials, the start among them, come next; ends where none do."""
        allowed = self.allowance
        n = BRACKET if wanted is None else min(BRACKET, wanted)
        yield allowed.largest(n, start=True)
        while wanted is None or len(self.trials) < wanted:
            n = BRACKET if wanted is None else min(BRACKET, wanted - len(self.trials))
            if not (n := allowed.largest(n)):
                left = "more trials" if wanted is None else f"{wanted - len(self.trials)} of {wanted} trials"
                self.left_out.append(f"{left}, for which the budget of {allowed.limit} has no room")
                return
            before = len(self.known)
            yield n
            if len(self.known) == before:
                self.left_out.append("more trials: the space holds hardly any others")
                return

    def _bracket(self, n: int) -> None:
        """Ask, train, tell."""
        is_first = len(self.trials) == 1
        new = [self.start] if is_first else []
        copies: dict[int, Trial] = {}
        for values in self.proposals.ask(n - is_first):
            trial = self._proposed(values)
            self.trials.append(trial)
            if trial.recipe is None:
                continue
            if trial.recipe in self.known:
                copies[trial.number] = self.known[trial.recipe]
            else:
                self.known[trial.recipe] = trial
                new.append(trial)
        room = self._room if self.allowance.limit.seconds is not None else None
        climb(new, self.bench, start=self.start, room=room)
        for number, other in copies.items():
            self.trials[number].copy_from(other)
        self.proposals.tell(self.trials[0 if is_first else -n :], self.epochs)

    def _proposed(self, values: dict[str, Any]) -> Trial:
        """The next trial; values that do not go together make a failed one."""
        number = len(self.trials)
        try:
            return Trial(number=number, values=values, recipe=self.search.variant(values))
        except InputError as error:
            return Trial(number=number, values=values, recipe=None, state=FAILED, why=str(error))

    def _room(self, rung: int, wanted: int) -> int:
        found = self.allowance.room(rung, wanted)
        if found < wanted:
            self.left_out.append(
                f"{wanted - found} of {wanted} trials that would have gone on from epoch {self.epochs[rung - 1]}, "
                f"for which the budget of {self.allowance.limit} has no room"
            )
        return found

    @cached_property
    def complete(self) -> list[Trial]:
        """Trained to the end, each recipe once; the best first, the earlier of equals."""
        found = {trial.recipe: trial for trial in reversed(self.trials) if trial.state == COMPLETE}
        return sorted(found.values(), key=lambda trial: (trial.loss, trial.number))

    @property
    def choice(self) -> Trial:
        """The best of these."""
        return self.complete[0]

    def chosen(self, config: Config | TextConfig) -> Config | TextConfig:
        """The configuration with the values of the choice."""
        if self.choice is self.start:
            return config
        return config.with_values({f"recipe.{name}": value for name, value in self.choice.values.items()})

    def _judged(self, trials: Sequence[Trial]) -> list[Job]:
        """The fits that judge, and the baselines beside them."""
        found = [
            Job(candidate=trial.name, fold=fold, model=trial.recipe, seed=seed)
            for trial in trials
            for fold in self.search.outer
            for seed in self.seeds
        ]
        return found + plan(self.search.baselines, self.search.outer, self.seeds)

    def _judge(self) -> dict[str, Any]:
        """The outer folds: the choice and the start, once."""
        jobs = self._judged(list(dict.fromkeys([self.choice, self.start])))
        fits = self._fit(jobs, keep_failed=False)
        of: dict[str, list[Finished]] = {}
        for job, fit in zip(jobs, fits, strict=True):
            of.setdefault(job.candidate, []).append(fit)
        n_folds = len(self.search.outer)
        losses = {name: by_seed(found, n_folds, self.search.moment_losses) for name, found in of.items()}
        sizes = {name: found[0].scores.get("n_parameters") for name, found in of.items()}
        inner = self.choice.losses[-1], self.start.losses[-1]
        outer = losses[self.choice.name], losses[self.start.name]
        blocks = self.search.blocks
        counts = {"n_folds": n_folds, "n_seeds": len(outer[0]), "n_moments": outer[0].shape[1]}
        flattered = optimism(*inner, *outer, blocks=blocks)
        return {
            "inside": gain(*inner),
            "outside": gain(*outer, blocks=blocks),
            "optimism": {name: flattered[name] for name in ("value", "low", "high")},
            "lucky": luck(self.trials, self.complete, self.choice),
            "pbo": overfitting(self.complete),
            "spa": support(self.complete, self.start),
            "outer": {"rows": judged_rows(self.choice, self.start, losses, sizes, blocks=blocks), **counts},
            "baselines": [
                {"name": name, "loss": float(losses[name].mean())} for name in self.search.baselines
            ],
        }


def _read_space(space: Space | Mapping[str, Any] | str | Path | None) -> Space | None:
    if space is None or isinstance(space, Space):
        return space
    return Space.read(space) if isinstance(space, str | Path) else Space(space)
