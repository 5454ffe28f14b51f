"""A plan: a list of fits, run on an engine and remembered by a ledger, whatever they are fits of."""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from heldout.base_recipe import BaseRecipe
from heldout.data.splits import FINAL
from heldout.studies.engine import Engine, InlineEngine, LocalEngine
from heldout.studies.ledger import Finished, Ledger
from heldout.training.checkpoint import Checkpoint
from heldout.training.history import History
from heldout.training.loop import NonFiniteError
from heldout.training.shared import Shared


@dataclass(frozen=True, kw_only=True)
class Job:
    """One fit of a plan.

    Attributes
    ----------
    candidate : str
        What is compared: "heldout", "ridge", ...
    fold : Fold or TextFold
        Where it trains, stops and is judged.
    model : recipe or baseline
        What is fitted; a recipe is settled.
    seed : int
        Its number among the fits that differ in nothing else; 0 for baselines. See `random_seed`.
    until : int or None, default None
        A rung: trained to this epoch only, its checkpoint left in place. A later job that differs in nothing else goes on
        from there, to the bits of a fit that was never interrupted; where the checkpoint is lost it starts again, to the
        same bits. Jobs that differ in nothing else belong into plans that are run one after the other.
    shuffled : int or None, default None
        Seed of labels that belong to other samples (`heldout.training.shuffled`).
    """

    candidate: str
    fold: Any
    model: Any
    seed: int = 0
    until: int | None = None
    shuffled: int | None = None

    @property
    def name(self) -> str:
        """What a person calls it."""
        if not isinstance(self.model, BaseRecipe):
            return f"{self.candidate}, {self.fold.name}"
        rung = "" if self.until is None else f", to epoch {self.until}"
        labels = "" if self.shuffled is None else f", labels shuffled {self.shuffled}"
        return f"{self.candidate}, {self.fold.name}, seed {self.seed}{labels}{rung}"

    @property
    def random_seed(self) -> int:
        """What decides the starting weights, orders and masks: ``seed`` in the final fold, in every other one a number of its own.

        All candidates of a fold share it. Were it one number for all folds, a lucky start would be lucky in each of them, and
        an interval over folds, which takes them for independent draws, would be too short by that.
        """
        where = self.fold.name.split(",")[
            0
        ]  # of a fold cut short, or with blocks held out, that of the whole
        if where == FINAL:
            return self.seed
        return int.from_bytes(hashlib.sha256(where.encode()).digest()[:4]) + self.seed


class StudyContext(Protocol):
    """What all fits of a study share, and how one of them is done."""

    @property
    def checkpoints(self) -> Path:
        """Folder for unfinished fits."""
        ...

    @property
    def shared(self) -> Path | None:
        """Folder for what fits need alike; None if each computes it for itself."""
        ...

    def key(self, job: Job) -> str:
        """Give the SHA-256 of all that the result of a fit depends on."""
        ...

    def run(self, job: Job, report: Callable[[dict[str, Any]], None]) -> Finished:
        """Fit and score one job of a plan."""
        ...


def checkpoint_of(context: StudyContext, job: Job) -> Checkpoint:
    """Give the place of an unfinished fit: one for all its rungs.

    Parameters
    ----------
    context : StudyContext
        The study.
    job : Job
        The fit, or a rung of it.
    """
    return Checkpoint(context.checkpoints / f"{context.key(replace(job, until=None))}.safetensors")


def fit_options(context: StudyContext, job: Job) -> dict[str, Any]:
    """Give what `fit_series` and `fit_text` alike take from a job.

    Parameters
    ----------
    context : StudyContext
        The study.
    job : Job
        A fit of a recipe.
    """
    places = {"checkpoint": checkpoint_of(context, job), "shared": Shared(context.shared)}
    return {"seed": job.random_seed, "until": job.until, **places}


def special(job: Job) -> dict[str, int]:
    """Give what the key of a rung, or of a fit to shuffled labels, holds besides that of the usual fit."""
    return {
        name: value for name, value in (("until", job.until), ("shuffled", job.shuffled)) if value is not None
    }


def scores_of(history: History) -> dict[str, Any]:
    """Give what the history of a fit adds to its scores.

    Parameters
    ----------
    history : History
        Of one fit.

    Returns
    -------
    dict
        ``best_epoch``; ``valid_loss`` and ``train_loss`` of the weights that were kept, in evaluation mode and the units of
        the loss that is minimised; ``stopped``, whether the fit has ended or a later rung would train it on.
    """
    kept = history.epochs[history.best_epoch]
    losses = {name: kept[name] for name in ("valid_loss", "train_loss")}
    return {"best_epoch": history.best_epoch, **losses, "stopped": history.stopped}


def run_plan(
    context: StudyContext,
    jobs: Sequence[Job],
    ledger: Ledger,
    *,
    engine: Engine | None = None,
    on_progress: Callable[[Job, dict[str, Any]], None] | None = None,
    on_finished: Callable[[Job, Finished, bool], None] | None = None,
    keep_failed: bool = False,
) -> list[Finished]:
    """Run the fits of a plan that the ledger does not hold yet.

    Parameters
    ----------
    context : StudyContext
        What the fits share.
    jobs : sequence of Job
        The plan.
    ledger : Ledger
        Finished fits are taken from here and written here, each once.
    engine : Engine, optional
        By default all run in this process.
    on_progress : callable, optional
        Told (job, dict) of epochs.
    on_finished : callable, optional
        Told (job, result, whether it was there already) of every fit.
    keep_failed : bool, default False
        A fit that meets a number that is not finite (`heldout.training.loop.NonFiniteError`) is remembered as one whose
        ``scores`` are ``failed``, the reason, and ``stopped`` alone; by default it ends the plan.

    Returns
    -------
    list of Finished
        In the order of the plan.
    """
    keys = [context.key(job) for job in jobs]
    done: dict[str, Finished] = {}
    for job, key in zip(jobs, keys, strict=True):
        found = ledger.get(key)
        if found is not None:
            done[key] = found
            if on_finished:
                on_finished(job, found, True)
    left = [(job, key) for job, key in zip(jobs, keys, strict=True) if key not in done]
    context.checkpoints.mkdir(parents=True, exist_ok=True)
    todo = [job for job, _ in left]
    started: set[int] = set()

    def progress(number: int, event: dict[str, Any]) -> None:
        if number not in started:
            started.add(number)
            ledger.record(left[number][1], "started", left[number][0].name)
        if on_progress:
            on_progress(left[number][0], event)

    task = _run_or_fail if keep_failed else _run
    for number, result in (engine or InlineEngine()).run(task, todo, context, progress):
        job, key = left[number]
        ledger.add(key, result)
        if job.until is None or result.scores.get("stopped", True):
            checkpoint_of(context, job).clear()
        result = ledger.get(key) or result  # noqa: PLW2901 - just what a resumed run will read
        done[key] = result
        if on_finished:
            on_finished(job, result, False)
    return [done[key] for key in keys]


@contextmanager
def kept(engine: Engine | None) -> Iterator[Engine]:
    """Keep the workers of an engine from one plan to the next, where it has workers: they take seconds to start.

    Parameters
    ----------
    engine : Engine or None
        None takes processes on this machine.

    Yields
    ------
    Engine
        For `run_plan`, with the same context object each time.
    """
    with (engine or LocalEngine()).kept() as held:
        yield held


def end_study(context: StudyContext) -> None:
    """Remove what only fits to come would need: checkpoints of rungs that nobody went on from, and what fits share.

    Parameters
    ----------
    context : StudyContext
        Of a study whose result is written. Damaged checkpoints that were moved aside go too.
    """
    shutil.rmtree(context.checkpoints, ignore_errors=True)
    Shared(context.shared).clear()


def _run(context: StudyContext, job: Job, report: Callable[[dict[str, Any]], None]) -> Finished:
    return context.run(job, report)


def _run_or_fail(context: StudyContext, job: Job, report: Callable[[dict[str, Any]], None]) -> Finished:
    try:
        return context.run(job, report)
    except NonFiniteError as error:
        return Finished(name=job.name, spec={}, scores={"failed": str(error), "stopped": True})


def plan(candidates: Mapping[str, Any], folds: Iterable[Any], seeds: Sequence[int]) -> list[Job]:
    """List the fits of a comparison: per fold, each candidate; recipes once per seed.

    Parameters
    ----------
    candidates : mapping of str to recipe or baseline
        What is compared, by name.
    folds : iterable of folds
        Where.
    seeds : sequence of int
        For recipes.

    Returns
    -------
    list of Job
    """
    return [
        Job(candidate=name, fold=fold, model=model, seed=seed)
        for fold in folds
        for name, model in candidates.items()
        for seed in (seeds if isinstance(model, BaseRecipe) else (0,))
    ]
