"""A study: a plan (a list of fits) run on an engine, remembered by a ledger, and read as a table.

`cross_validate` is the first: walk-forward folds times seeds, the baselines on the same rows, and the final fold whose
test is sealed.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from heldout.check import InputError
from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.data.splits import FINAL, Fold
from heldout.data.transforms import last_known, seen_rows
from heldout.recipe import Recipe
from heldout.studies.engine import Engine
from heldout.studies.ledger import Finished, Ledger
from heldout.studies.plan import Job, fit_options, plan, run_plan, scores_of, special
from heldout.studies.scale import Scale, by_moment
from heldout.training.checkpoint import dump_tensors
from heldout.training.fit import SeriesModel, fit_series
from heldout.training.history import History
from heldout.training.lags import Baseline, LagWindows, thin
from heldout.training.settle import settle_scale
from heldout.training.shared import versions
from heldout.training.shuffled import constant_loss

MOST_JUDGED = 10_000
"""Samples of a walk-forward test, or of training, on which a loss is measured at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """What all fits of a study of series share.

    Attributes
    ----------
    data : SeriesData
        The series.
    scale : Scale
        On which all are judged.
    lookback : int
        Rows in the windows of baselines, and before the first origin. Recipes may look back less, and have the same origins.
    checkpoints : Path
        Folder for unfinished fits.
    shared : Path or None, default None
        Folder in which fits leave what others need alike (`heldout.training.shared`); changes no result.
    keep_models : bool, default True
        Keep the fitted models; hundreds of them would fill the disk.
    """

    data: SeriesData
    scale: Scale
    lookback: int
    checkpoints: Path
    shared: Path | None = None
    keep_models: bool = True

    def windows(self) -> LagWindows:
        """Give the windows that baselines see: targets on the scoring scale, past covariates as they are, gaps filled."""
        columns = [last_known(self.data, name, before=0.0) for name in self.data.past]
        targets = self.scale.targets(self.data)
        covariates = np.column_stack(columns) if columns else None
        return LagWindows(targets, self.lookback, self.data.steps, covariates)

    def key(self, job: Job) -> str:
        """Give `job_key`."""
        return job_key(self, job)

    def run(self, job: Job, report: Callable[[dict[str, Any]], None]) -> Finished:
        """Give `run_job`."""
        return run_job(self, job, report)


def job_key(context: Context, job: Job) -> str:
    """Give the SHA-256 of all that a fit's result depends on: data, rows, model, seed, scale, and what computes it.

    Parameters
    ----------
    context : Context
        The study.
    job : Job
        The fit.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return hashlib.sha256(json.dumps(_inputs(context, job), sort_keys=True).encode()).hexdigest()


def _inputs(context: Context, job: Job) -> dict[str, Any]:
    return {
        "data": context.data.fingerprint,
        "fold": asdict(job.fold),
        "candidate": job.candidate,
        "model": job.model.to_dict() if isinstance(job.model, Recipe) else repr(job.model),
        "seed": job.seed,
        "random_seed": job.random_seed,
        "lookback": context.lookback,
        "scale": asdict(context.scale),
        "versions": versions("heldout", "torch", "numpy", "scikit-learn", "statsmodels"),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        **special(job),
    }


def run_job(context: Context, job: Job, report: Callable[[dict[str, Any]], None]) -> Finished:
    """Fit and score one job of a plan.

    Parameters
    ----------
    context : Context
        The study.
    job : Job
        The fit.
    report : callable
        Told of every epoch.

    Returns
    -------
    Finished
        ``arrays``: ``origin`` (n,) row numbers, ``forecast`` (n, S, K) and, of a quantile recipe, ``quantiles``
        (n, S, K, Q), ``loss`` (n,); all over the fold's test, at most 10 000 samples of it before the final fold. Of a fold with held blocks also the origins and losses of
        these and of training samples: ``held_origin``, ``held_loss``, ``train_origin``, ``train_loss``.
    """
    began = time.perf_counter()
    parts = _parts(context, job.fold)
    if isinstance(job.model, Recipe):
        _check_lookback(context, job.model)
        how = fit_options(context, job)
        fitted, run = fit_series(
            context.data,
            parts["train"],
            parts["valid"],
            job.model,
            report=report,
            shuffled=job.shuffled,
            **how,
        )
        return score_fit(context, job, fitted, run, began=began)
    windows = context.windows()
    forecast = job.model.fit(windows, parts["train"], parts["valid"]).predict(windows, parts["test"])
    seconds = time.perf_counter() - began
    return _finished(context, job, parts, {"forecast": forecast}, windows, seconds=seconds)


def score_fit(context: Context, job: Job, fitted: SeriesModel, run: History, *, began: float) -> Finished:
    """Score a recipe that was fitted, see `run_job`.

    Parameters
    ----------
    context : Context
        The study.
    job : Job
        The fit.
    fitted : SeriesModel
        Its model.
    run : History
        How it trained.
    began : float
        When, in seconds of ``time.perf_counter``.
    """
    data, parts, recipe = context.data, _parts(context, job.fold), job.model
    windows = context.windows()
    scored = context.scale.of_model(fitted.predict(data, parts["test"]), data, parts["test"])
    arrays: dict[str, Any] = {"forecast": fitted.point(scored)}
    if recipe.loss == "quantile":
        arrays["quantiles"] = scored
    for part, rows in _inside(context, job.fold, parts["train"]).items():
        said = context.scale.of_model(fitted.point(fitted.predict(data, rows)), data, rows)
        loss = context.scale.losses(said, windows.ahead(rows))
        arrays |= {f"{part}_origin": rows, f"{part}_loss": loss}
    scores = {**scores_of(run), "n_parameters": fitted.n_parameters}
    if job.shuffled is not None:
        labels = fitted.prepare.apply(data, fitted.lookback)
        seen = torch.from_numpy(parts["train"])
        most = min(len(parts["valid"]), fitted.recipe.valid_samples)  # as of the training loss
        scores["constant_loss"] = constant_loss(labels, seen, fitted.recipe, most=most)
    model = dump_tensors(*fitted.to_file_parts()) if context.keep_models else None
    found: dict[str, Any] = {"scores": scores, "history": run.epochs, "model": model}
    return _finished(context, job, parts, arrays, windows, seconds=time.perf_counter() - began, **found)


def _finished(
    context: Context,
    job: Job,
    parts: dict[str, IntArray],
    arrays: dict[str, Any],
    windows: LagWindows,
    *,
    scores: Mapping[str, Any] | None = None,
    **more: Any,
) -> Finished:
    counts = {f"n_{name}": len(rows) for name, rows in parts.items()}
    loss = context.scale.losses(arrays["forecast"], windows.ahead(parts["test"]))
    mean = float(by_moment(loss, context.data, parts["test"]).mean())
    return Finished(
        name=job.name,
        spec=_inputs(context, job),
        scores={**counts, **(scores or {}), context.scale.metric: mean},
        arrays={"origin": parts["test"], **arrays, "loss": loss},
        **more,
    )


def _check_lookback(context: Context, recipe: Recipe) -> None:
    if recipe.lookback is None or recipe.lookback > context.lookback:
        raise InputError(
            f"a recipe of a study may look back {context.lookback} rows at most, got {recipe.lookback}: the origins are chosen for the longest window"
        )


def _parts(context: Context, fold: Fold) -> dict[str, IntArray]:
    """Origins that train, say when to stop, and judge."""
    data, lookback = context.data, context.lookback
    test = fold.test.rows(data, lookback)
    if fold.name != FINAL:
        test = test[thin(len(test), MOST_JUDGED)]
    return {"train": fold.train_rows(data, lookback), "valid": fold.valid.rows(data, lookback), "test": test}


def _inside(context: Context, fold: Fold, train: IntArray) -> dict[str, IntArray]:
    """Origins on which a fold with held blocks is judged within its training period."""
    if not fold.held:
        return {}
    held = np.concatenate([block.rows(context.data, context.lookback) for block in fold.held])
    return {"held": np.sort(held), "train": train[thin(len(train), MOST_JUDGED)]}


def cross_validate(
    data: SeriesData,
    candidates: Mapping[str, Recipe | Baseline],
    folds: Sequence[Fold],
    *,
    n_seeds: int = 1,
    ledger: Ledger | None = None,
    engine: Engine | None = None,
) -> dict[str, FloatArray]:
    """Score recipes and baselines on the same folds and seeds.

    Parameters
    ----------
    data : SeriesData
        The series.
    candidates : mapping of str to Recipe or Baseline
        Recipes are settled (`heldout.training.settle.settle`) and agree in transform; baselines come from
        `heldout.training.baselines`.
    folds : sequence of Fold
        From `heldout.data.splits.split_series`.
    n_seeds : int, default 1
        Fits of a recipe per fold.
    ledger : Ledger, optional
        Remembers; without one nothing outlives the call.
    engine : Engine, optional
        By default this process.

    Returns
    -------
    dict of str to array of shape (n_folds, n_seeds)
        Mean test loss per candidate, fold and seed; baselines have one column.
    """
    jobs = plan(candidates, folds, range(n_seeds))
    recipe, *others = [model for model in candidates.values() if isinstance(model, Recipe)]
    if any((other.lookback, other.transform) != (recipe.lookback, recipe.transform) for other in others):
        raise InputError(
            "recipes are compared on the same windows and scale: give them one lookback and one transform"
        )
    with TemporaryDirectory() as folder:
        context = make_context(data, recipe, folds[0], Path(folder))
        own = ledger or Ledger(Path(folder) / "ledger.sqlite")
        try:
            results = run_plan(context, jobs, own, engine=engine)
        finally:
            if ledger is None:
                own.close()
    losses: dict[str, list[float]] = {}
    for job, result in zip(jobs, results, strict=True):
        losses.setdefault(job.candidate, []).append(result.scores[context.scale.metric])
    return {name: np.array(values).reshape(len(folds), -1) for name, values in losses.items()}


def make_context(
    data: SeriesData, recipe: Recipe, first: Fold, checkpoints: Path, *, metric: str = "mse"
) -> Context:
    """Fix the scale of a study on the training rows of its first fold, so that every fold is scored on the same.

    Parameters
    ----------
    data : SeriesData
        The series.
    recipe : Recipe
        Settled, its transform chosen (not "auto").
    first : Fold
        The earliest fold; no later row is read.
    checkpoints : Path
        Folder for unfinished fits.
    metric : {"mse", "mae"}
        What is averaged.

    Returns
    -------
    Context
    """
    assert recipe.lookback is not None
    transforms = (recipe.transform,) * len(data.targets)
    scale = Scale(transforms=transforms, units=(1.0,) * len(transforms), metric=metric)
    recipe, _ = settle_scale(recipe, data, first.train.rows(data, recipe.lookback))
    assert recipe.lookback is not None
    if recipe.scale_by == "series":
        scale = scale.per_series(data, _known_early(data, first, recipe.lookback))
    elif len(transforms) > 1:
        rows: IntArray = first.train.rows(data, recipe.lookback)
        sd = scale.targets(data)[rows].std(axis=0)
        scale = Scale(
            transforms=transforms, units=tuple(float(x) for x in np.where(sd > 0, sd, 1.0)), metric=metric
        )
    return Context(
        data=data,
        scale=scale,
        lookback=recipe.lookback,
        checkpoints=checkpoints,
    )


def _known_early(data: SeriesData, first: Fold, lookback: int) -> IntArray:
    """Rows that the first fold trains on; of a series without any, its first window, in which no origin lies."""
    seen = seen_rows(data, first.train.rows(data, lookback), lookback)
    for start, stop in pairwise(data.offsets):
        if not seen[start:stop].any():
            seen[start : min(start + lookback, stop)] = True
    return np.flatnonzero(seen)
