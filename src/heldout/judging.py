"""`judge`: is it overfit? A procedure against those of its family that follow the training rows less, on rows that chose nothing.

read -> audit -> protocol, hashed -> fits on all folds -> verdict, flags, evidence
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from heldout.answers import asked, find_answer
from heldout.auditing import Splits, audit, with_features
from heldout.base_recipe import BaseRecipe
from heldout.check import FitError, InputError, check_number
from heldout.config import Config, TextConfig
from heldout.data.audit.finding import Finding
from heldout.data.audit.overlap import read_splits
from heldout.data.series import IntArray
from heldout.efforts import settle_effort
from heldout.files import write_atomically
from heldout.judged import CONTROL, LINEAR, Judged, withheld
from heldout.listener import Listener, Silent
from heldout.runs import Run, environment
from heldout.search import Search
from heldout.studies.cost import TYPICAL_BASELINE, Budget, Costs, parse_budget, work_of
from heldout.studies.engine import Engine, InlineEngine, workers_of
from heldout.studies.evidence import SHARES
from heldout.studies.family import less_fitted
from heldout.studies.knobs import audit_knobs
from heldout.studies.ledger import Finished, Ledger
from heldout.studies.plan import Job, end_study, kept
from heldout.studies.plan import plan as plan_of
from heldout.studies.verdict import Folds
from heldout.verdict_result import Verdict, sentence_of

_CURVE_FOLDS = 3  # the last ones: where the past is longest
_DRAWS = 19  # of shuffled labels: the least with which a p value can be .05


def judge(  # noqa: PLR0913 - the one entry point
    source: object,
    config: Config | TextConfig,
    *,
    delta: float = 0.01,
    selected_from: str | Path | None = None,
    out: str | Path | None = None,
    engine: Engine | None = None,
    listener: Listener | None = None,
    budget: str | int | None = None,
    test: object = None,
    features: Callable[[Any], Any] | None = None,
    splits: Splits | None = None,
    command: str | None = None,
) -> Verdict:
    """Find out whether a recipe overfits, by what it costs on rows that nobody has looked at, with error bars.

    The recipe is fitted beside recipes of the same family that follow the training rows less (stopped early, half the
    units, regularised four times as much, all of these), on the same folds with the same seeds. For each fold the
    validation rows seen until then choose one of them; its test rows then say what the choice saves. Overfit is what
    is shown to lose more than ``delta`` to it. The sealed test is never touched. Stop it at any time and call it again with
    the same arguments: what was finished is not repeated.

    Parameters
    ----------
    source : path or data frame
        A table, as for `heldout.fit`.
    config : Config or TextConfig
        Columns, splits, and the recipe that is judged.
    delta : float, default 0.01
        The smallest harm that matters, as a share of the loss, in (0, 1).
    selected_from : path, optional
        Run directory of the ``heldout tune`` that chose the recipe: whether its trials support the choice is said too.
    out : path, optional
        The run directory; by default a numbered one under ``runs``.
    engine : Engine, optional
        By default processes on this machine. The result does not depend on it.
    listener : Listener, optional
        Told what goes on.
    budget : str or int, optional
        "10min", "50 fits", or both. Where the whole does not fit in, shuffled labels are left out first, then the learning
        curve, then seeds, then members of the family; what was is said.
    test : path or data frame, optional
        Rows that stay sealed.
    features : callable, optional
        What makes the columns, as for `heldout.audit`: tried for leaks, and the table that it gives is judged.
    splits : iterable of pairs of arrays, optional
        The split by which the recipe has been scored so far, as for `heldout.audit`: looked at for leaks. The verdict is on
        heldout's own folds.
    command : str, optional
        What a person typed to get here; recorded for the report. By default the call of this function.

    Returns
    -------
    Verdict

    Raises
    ------
    InputError
        If the table, the configuration or an option breaks a rule, a regulariser of the recipe does nothing, or the budget
        is too small.

    References
    ----------
    Mitchell 1997, Machine Learning, section 3.7: a procedure overfits if another one of the same kind fits the training rows
    less and new rows better. See `heldout.studies.verdict.find_verdict`.
    """
    check_number("delta", delta, 0, 1, open_low=True, open_high=True)
    limit = Budget() if budget is None else parse_budget(budget)
    chooser = None if selected_from is None else str(selected_from)
    options = asked(config.recipe, delta=delta, budget=budget, selected_from=chooser)
    made: list[Finding] = []
    if features is not None:
        source, made = with_features(source, config, features)
        options["features"] = [finding.to_dict() for finding in made]
    if splits is not None:
        splits = read_splits(splits)
        options["splits"] = _digest(splits)
    known = find_answer("judge", source, config, options, out=out, test=test)
    if known is not None:
        return Verdict(*known)
    listener = listener or Silent()
    search, better = Search.make(source, config, test=test), None
    selection = None if selected_from is None else _selection(selected_from, config, search.fingerprint)
    audited = audit(source, config, test=test, splits=splits)
    audited = replace(audited, findings=(*made, *audited.findings))
    with search.open("judge", options, out=out) as run:
        if audited.leaks:
            scores = withheld(search, delta)
        else:
            with Ledger(run.ledger_path) as ledger, kept(engine) as held:
                study = _Study(search.within(run.path), delta, ledger, held, listener)
                for text in study.notes:
                    listener.note(text)
                protocol = study.write_protocol(run)
                scores = study.scores(study.effort(limit, run), selection) | {"protocol": protocol}
                better = study.better(config, scores)
        scores |= {
            "audit": [finding.to_dict() for finding in audited.findings],
            "run": str(run.path),
            "options": options,
            "command": command or run.call("judge", source, config, test),
            "environment": environment(),
        }
        scores["sentence"] = sentence_of(scores)
        run.save_choice(better, scores)
        end_study(search.within(run.path).context)
    return Verdict(run.path, run.scores())


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is done: seeds, members of the family, draws of shuffled labels, points of the learning curve."""

    n_seeds: int
    members: tuple[str, ...]
    n_draws: int
    curve: bool
    left_out: tuple[str, ...] = ()


def efforts(n_seeds: int, members: Sequence[str]) -> list[Effort]:
    """Give what can be done, from everything to the least.

    Examples
    --------
    >>> [(one.n_seeds, one.n_draws, one.curve, len(one.members)) for one in efforts(3, ["a", "b", "c"])]
    [(3, 19, True, 3), (3, 5, True, 3), (3, 5, False, 3), (2, 5, False, 3), (2, 0, False, 3), (1, 0, False, 3), (1, 0, False, 1)]
    """
    found = [Effort(n_seeds=n_seeds, members=tuple(members), n_draws=_DRAWS, curve=True)]

    def less(said: str, **changes: Any) -> None:
        kept_said = tuple(one for one in found[-1].left_out if not said.startswith(one.split(":")[0]))
        found.append(replace(found[-1], left_out=(*kept_said, said), **changes))

    few = 5
    less(f"shuffled labels: {few} draws instead of {_DRAWS}, too few for a p value of .05", n_draws=few)
    less("the learning curve", curve=False)
    if n_seeds > 2:
        less(f"seeds: 2 instead of {n_seeds}", n_seeds=2)
    less("shuffled labels: all draws", n_draws=0)
    if n_seeds > 1:
        less(f"seeds: 1 instead of {n_seeds}, so the noise of training is not seen", n_seeds=1)
    if len(members) > 1:
        less("members of the family: all but the last", members=tuple(members[-1:]))
    return found


def _digest(splits: Sequence[Sequence[IntArray]]) -> str:
    """What tells one split from another."""
    return hashlib.sha256(repr([[rows.tolist() for rows in pair] for pair in splits]).encode()).hexdigest()


def _selection(path: str | Path, config: Config | TextConfig, fingerprint: str) -> dict[str, Any]:
    """What the trials of a search say of the choice among them."""
    run = Run(path)
    found = run.scores()
    if found.get("spa") is None:
        raise InputError(
            f"selected_from must be a finished run of heldout tune with two trials trained to the end, and {path} is none"
        )
    if run.fingerprint != fingerprint:
        raise InputError(
            f"selected_from must be a search on the same table and columns, and {path} is one on others"
        )
    chosen = type(config).read(run.path / "chosen.toml")
    if chosen.recipe != config.recipe:
        raise InputError(
            f"selected_from must be the search that chose the recipe which is judged, and {path} chose another: judge "
            f"{run.path / 'chosen.toml'} (--config)"
        )
    return {"spa": found["spa"], "pbo": (found["pbo"] or {}).get("value"), "trials": found["n_trials"]}


class _Study:
    """The fits behind one verdict."""

    def __init__(
        self, search: Search, delta: float, ledger: Ledger, engine: Engine, listener: Listener
    ) -> None:
        self.search, self.delta, self.ledger = search, delta, ledger
        self.engine, self.listener, self.workers = engine, listener, workers_of(engine)
        self.folds = (*search.inner, *search.outer) if search.modality == "series" else search.inner
        self.seeds = search.seeds()
        self.members = less_fitted(search.config.recipe)
        self.recipes = {CONTROL: search.variant({})}
        self.recipes |= {name: search.variant(changes) for name, changes in self.members.items()}
        if search.modality == "series":
            self.recipes[LINEAR] = search.variant(
                {"max_epochs": 0, "start_from_epoch": 0, "shortcut": "ridge"}
            )
        self.n_train = {fold.name: search.n_train(fold) for fold in self.folds}
        self.held: dict[str, Finished] = {}
        overlap = 0.0 if search.forward else 1 / (len(self.folds) - 1)
        self.design = Folds(forward=search.forward, overlap=overlap)
        self.knobs = audit_knobs(self.recipes[CONTROL], search.weights)
        self.notes = (*search.notes[:-1], self._said())

    def _said(self) -> str:
        return f"{len(self.folds)} folds judge; the sealed test is not touched"

    def write_protocol(self, run: Run) -> str:
        """Write down what will be compared, and how, before any fold is scored; gives the SHA-256 of it."""
        plan = {
            "procedure": self.recipes[CONTROL].to_dict(),
            "family": self.members,
            "folds": [fold.name for fold in self.folds],
            "seeds": list(self.seeds),
            "delta": self.delta,
            "level": "one-sided 95 %",
            "chosen_by": "validation rows of the folds so far"
            if self.design.forward
            else "the fold's own validation rows",
            "interval": self.design.method,
        }
        text = json.dumps(plan, indent=2, sort_keys=True).encode()
        write_atomically(run.path / "protocol.json", text + b"\n")
        return hashlib.sha256(text).hexdigest()

    def effort(self, limit: Budget, run: Run) -> Effort:
        """The most that fits into a budget."""
        return settle_effort(
            {effort: self.jobs(effort) for effort in efforts(len(self.seeds), list(self.members))},
            limit,
            run,
            work=self.work,
            measure=self.measured,
            workers=self.workers,
            listener=self.listener,
            way_out="judge a smaller network",
        )

    def jobs(self, effort: Effort) -> list[Job]:
        """All fits."""
        seeds = self.seeds[: effort.n_seeds]
        names = (CONTROL, *effort.members)
        found = plan_of({name: self.recipes[name] for name in names}, self.folds, seeds)
        found += plan_of(self.search.baselines, self.folds, seeds)
        if LINEAR in self.recipes:
            found += plan_of({LINEAR: self.recipes[LINEAR]}, self.folds, self.seeds[:1])
        found += self.inside() + self.shuffled(effort)
        return found + (self.curve() if effort.curve else [])

    def inside(self) -> list[Job]:
        """Fits that keep blocks of their own period out, one for each fold that has room for them."""
        blocked = [found for fold in self.folds if (found := self.search.with_blocks(fold)) is not None]
        return plan_of({"in-period": self.recipes[CONTROL]}, blocked, self.seeds[:1])

    def shuffled(self, effort: Effort) -> list[Job]:
        """Fits to shuffled labels, on the fold with the most to learn from."""
        (real,) = plan_of({CONTROL: self.recipes[CONTROL]}, self.folds[-1:], self.seeds[:1])
        return [replace(real, shuffled=draw) for draw in range(effort.n_draws)]

    def curve(self) -> list[Job]:
        """Fits to the most recent part of the training rows, on the last folds."""
        folds = [
            self.search.recent(fold, share) for fold in self.folds[-_CURVE_FOLDS:] for share in SHARES[:-1]
        ]
        return plan_of({CONTROL: self.recipes[CONTROL]}, folds, self.seeds[:1])

    def work(self, job: Job) -> float:
        """How much work a fit is."""
        if not isinstance(job.model, BaseRecipe):
            return TYPICAL_BASELINE
        n = self.n_train.get(job.fold.name) or self.search.n_train(job.fold)
        return work_of(job.model, n, self.search.n_inputs)

    def measured(self) -> Costs:
        """What two fits took; the first, of the smallest, waits for torch to load and is not counted."""
        costs, last = Costs(), [*self.members][-1:] or [CONTROL]
        jobs = [
            *plan_of({name: self.recipes[name] for name in last}, self.folds[:2], self.seeds[:1]),
            *plan_of({CONTROL: self.recipes[CONTROL]}, self.folds[:1], self.seeds[:1]),
        ]
        engine, self.engine = self.engine, InlineEngine()
        for job, fit in list(zip(jobs, self.fit(jobs), strict=True))[1:]:
            costs.add(self.work(job), fit.seconds)
        self.engine = engine
        return costs

    def fit(self, jobs: Sequence[Job]) -> list[Finished]:
        """Do the fits that were not done, and give all."""
        left = [job for job in jobs if job.name not in self.held]
        done = self.search.run(left, self.ledger, engine=self.engine, listener=self.listener)
        self.held.update((job.name, fit) for job, fit in zip(left, done, strict=True))
        return [self.held[job.name] for job in jobs]

    def better(self, config: Config | TextConfig, scores: dict[str, Any]) -> Config | TextConfig | None:
        """What to fit instead, where the recipe overfits: the member that most folds' validation rows choose."""
        if scores["verdict"] != "OVERFIT":
            return None
        name = max(scores["members"], key=lambda one: int(one["chosen"]))["name"]
        return config.with_values({f"recipe.{key}": value for key, value in self.members[name].items()})

    def scores(self, effort: Effort, selection: dict[str, Any] | None) -> dict[str, Any]:
        """Fit, compare, say."""
        jobs = self.jobs(effort)
        self.listener.begin(jobs)
        for job, fit in zip(jobs, self.fit(jobs), strict=True):
            if "failed" in fit.scores:
                raise FitError(f"{job.name} cannot be judged: {fit.scores['failed']}")
        judged = Judged(
            search=self.search,
            folds=self.folds,
            design=self.design,
            seeds=self.seeds[: effort.n_seeds],
            recipes=self.recipes,
            fits={job.name: self.held[job.name] for job in jobs},
            inside=self.inside(),
            shuffled=self.shuffled(effort),
            curve=self.curve() if effort.curve else [],
        )
        return judged.scores(self.delta, selection) | {
            "knobs": self.knobs,
            "fits": len(self.held),
            "seconds": sum(fit.seconds for fit in self.held.values()),
            "left_out": list(effort.left_out),
            "notes": list(self.notes),
        }
