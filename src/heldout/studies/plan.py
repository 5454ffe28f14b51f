"""A plan: a list of fits, run on an engine and remembered by a ledger, whatever they are fits of."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from heldout.base_recipe import BaseRecipe
from heldout.studies.engine import Engine, InlineEngine
from heldout.studies.ledger import Finished, Ledger
from heldout.training.checkpoint import Checkpoint


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
        0 for baselines.
    """

    candidate: str
    fold: Any
    model: Any
    seed: int = 0

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"{self.candidate}, {self.fold.name}" + (
            f", seed {self.seed}" if isinstance(self.model, BaseRecipe) else ""
        )


class StudyContext(Protocol):
    """What all fits of a study share, and how one of them is done."""

    @property
    def checkpoints(self) -> Path:
        """Folder for unfinished fits."""
        ...

    def key(self, job: Job) -> str:
        """Give the SHA-256 of all that the result of a fit depends on."""
        ...

    def run(self, job: Job, report: Callable[[dict[str, Any]], None]) -> Finished:
        """Fit and score one job of a plan."""
        ...


def run_plan(
    context: StudyContext,
    jobs: Sequence[Job],
    ledger: Ledger,
    *,
    engine: Engine | None = None,
    on_progress: Callable[[Job, dict[str, Any]], None] | None = None,
    on_finished: Callable[[Job, Finished, bool], None] | None = None,
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

    for number, result in (engine or InlineEngine()).run(_run, todo, context, progress):
        job, key = left[number]
        ledger.add(key, result)
        Checkpoint(context.checkpoints / f"{key}.safetensors").clear()
        result = ledger.get(key) or result  # noqa: PLW2901 - just what a resumed run will read
        done[key] = result
        if on_finished:
            on_finished(job, result, False)
    return [done[key] for key in keys]


def _run(context: StudyContext, job: Job, report: Callable[[dict[str, Any]], None]) -> Finished:
    return context.run(job, report)


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
