"""The main job: a table in, a regularised LSTM and numbers that can be trusted out.

read -> split (sealed test, walk-forward folds) -> fit everything on every fold -> score -> run directory
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from heldout.check import InputError, check_choice
from heldout.config import Config, DataOptions
from heldout.data.layout import read_series
from heldout.data.series import SeriesData
from heldout.data.splits import Fold, split_series
from heldout.data.transforms import is_differenced
from heldout.recipe import Recipe
from heldout.result import HELDOUT, Result
from heldout.runs import Run, environment
from heldout.scoring import Fits
from heldout.seal import take_look
from heldout.studies.engine import Engine, LocalEngine
from heldout.studies.ledger import Finished, Ledger
from heldout.studies.study import Job, make_context, plan, run_plan
from heldout.training.baselines import standard_baselines
from heldout.training.lags import Baseline
from heldout.training.season import find_season
from heldout.training.settle import settle, settle_transform


class Listener(Protocol):
    """Who is told what goes on; `heldout.progress.Display` shows it."""

    def note(self, text: str) -> None:
        """One sentence about the data or a decision."""
        ...

    def begin(self, jobs: list[Job]) -> None:
        """The fits that are planned."""
        ...

    def epoch(self, job: Job, event: dict[str, Any]) -> None:
        """An epoch of a running fit."""
        ...

    def finished(self, job: Job, result: Finished, was_there: bool) -> None:  # noqa: FBT001 - a callback
        """A fit that is done, now or in an earlier run of the same command."""
        ...


class Silent:
    """A listener that says nothing."""

    def note(self, text: str) -> None:
        """Ignore a sentence."""

    def begin(self, jobs: list[Job]) -> None:
        """Ignore the plan."""

    def epoch(self, job: Job, event: dict[str, Any]) -> None:
        """Ignore an epoch."""

    def finished(self, job: Job, result: Finished, was_there: bool) -> None:  # noqa: FBT001 - the listener's signature
        """Ignore a result."""


def fit(
    source: object,
    config: Config,
    *,
    out: str | Path | None = None,
    engine: Engine | None = None,
    listener: Listener | None = None,
    rivals: Mapping[str, Recipe | Baseline] | None = None,
    gate: str | None = None,
) -> Result:
    """Fit a regularised LSTM to the series in a table and find out, honestly, what it is worth.

    The last part of the time span is sealed. Before it, the recipe and the baselines are fitted and judged on
    walk-forward folds; then all are fitted on everything before the seal, and the sealed rows are scored, once.
    Stop it at any time and call it again with the same arguments: what was finished is not repeated.

    Parameters
    ----------
    source : path or data frame
        A table in long form, see `heldout.data.layout.read_series`.
    config : Config
        Columns, splits, recipe. ``config.data.target`` is needed.
    out : path, optional
        The run directory; by default a numbered one under ``runs``.
    engine : Engine, optional
        By default processes on this machine.
    listener : Listener, optional
        Told what goes on.
    rivals : mapping of str to Recipe or Baseline, optional
        More candidates, compared on the sealed test alone, recipes with the first seed and the main one's lookback.
    gate : str, optional
        A candidate that the caller will hold the result against; refused before any fit if there will be none so named.

    Returns
    -------
    Result

    Raises
    ------
    InputError
        If the table or the configuration breaks a rule.
    """
    listener = listener or Silent()
    data = read(source, config.data)
    recipe, folds, reasons = _settle(data, config)
    season, season_note = _season(data, recipe, folds[0], config)
    notes = [
        *data.notes,
        *_describe(data, recipe, folds),
        *(f"transform of {why}" for why in reasons),
        season_note,
    ]
    for text in notes:
        listener.note(text)
    candidates = _candidates(data, recipe, season)
    rivals = {name: _aligned(model, recipe, data) for name, model in (rivals or {}).items()}
    if gate is not None:
        check_choice("--fail-if-worse-than", gate, [*candidates, *rivals])
    seeds = range(config.study.first_seed, config.study.first_seed + config.study.n_seeds)
    jobs = plan(rivals, folds[-1:], seeds[:1]) + plan(candidates, folds, seeds)
    with Run.open(config, data.fingerprint, out=out) as run, Ledger(run.ledger_path) as ledger:
        context = make_context(data, recipe, folds[0], run.path / "checkpoints", metric=config.study.metric)
        context.scale.targets(data)  # a target that cannot be scored is refused here, before the look
        looks = take_look(run, ledger, data, folds[-1].test.rows(data, context.lookback))
        listener.begin(jobs)
        results = run_plan(
            context,
            jobs,
            ledger,
            engine=engine or LocalEngine(),
            on_progress=listener.epoch,
            on_finished=listener.finished,
        )
        table = Fits(jobs, results, context, folds)
        model = table.final_model()
        found = model.prepare.describe()
        for text in found:
            listener.note(text)
        result = table.result(run, list(candidates), notes + found, model, looks)
        scores = result.to_dict() | {
            "losses": table.fold_losses(),
            "environment": environment(),
        }
        resolved = replace(config, data=replace(config.data, horizon=data.horizon), recipe=recipe)
        run.save(resolved, model, scores, table.predictions(model))
    return result


def read(source: object, options: DataOptions) -> SeriesData:
    """Read a table as the options say (`heldout.data.layout.read_series`)."""
    if not options.target:
        raise InputError("no target column is given: name what is to be forecast, e.g. --target close")
    return read_series(source, **vars(options))


def split(data: SeriesData, recipe: Recipe, config: Config) -> tuple[Fold, ...]:
    """Cut the series as the study's options say (`heldout.data.splits.split_series`)."""
    assert recipe.lookback is not None
    study = config.study
    return split_series(
        data,
        recipe.lookback,
        test_size=study.test_size,
        n_folds=study.n_folds,
        first_train=study.first_train,
        valid_size=study.valid_size,
    )


def _aligned(model: Recipe | Baseline, recipe: Recipe, data: SeriesData) -> Recipe | Baseline:
    """A rival recipe sees the same windows and is scored on the same scale."""
    if not isinstance(model, Recipe):
        return model
    if model.lookback not in (None, recipe.lookback):
        raise InputError(
            f"a rival sees the same windows: leave its lookback at None, got {model.lookback}, not {recipe.lookback}"
        )
    return settle(replace(model, lookback=recipe.lookback, transform=recipe.transform), data)


def _settle(data: SeriesData, config: Config) -> tuple[Recipe, tuple[Fold, ...], tuple[str, ...]]:
    """The recipe with everything decided, on the first fold's training rows where rows decide; the folds; the reasons."""
    recipe = settle(config.recipe, data)
    assert recipe.lookback is not None
    folds = split(data, recipe, config)
    recipe, reasons = settle_transform(recipe, data, folds[0].train.rows(data, recipe.lookback))
    return recipe, folds, reasons


def _candidates(data: SeriesData, recipe: Recipe, season: int | None) -> dict[str, Recipe | Baseline]:
    """The baselines, and the recipe."""
    assert recipe.lookback is not None
    baselines = standard_baselines(season, lookback=recipe.lookback, n_targets=len(data.targets))
    found: dict[str, Recipe | Baseline] = {baseline.name: baseline for baseline in baselines}
    if is_differenced(recipe.transform):
        del found["mean"]  # of a level that wanders; the mean change is drift's
    return found | {HELDOUT: recipe}


def _season(data: SeriesData, recipe: Recipe, first: Fold, config: Config) -> tuple[int | None, str]:
    """The season given, or the one found in the first fold's training rows."""
    assert recipe.lookback is not None
    if config.study.season is not None:
        return (
            config.study.season,
            f"season of {config.study.season} rows, as given{_left_out(config.study.season, recipe)}",
        )
    seen = np.zeros(data.n_rows, bool)
    seen[first.train.rows(data, recipe.lookback)] = True
    columns = data.values[:, data.indices(data.targets)]
    complete = seen & ~np.isnan(columns).any(axis=1)
    offsets = np.concatenate([[0], np.cumsum(np.add.reduceat(complete, data.offsets[:-1]))])
    candidates = [season for season in _seasons(data) if season > 1]
    found = find_season(columns[complete], candidates, offsets=offsets)
    calendar = data.frequency.season
    if found.rows is not None or calendar == 1 or data.frequency.unit == "business day":
        return found.rows, found.note + _left_out(found.rows or 1, recipe)
    return (
        calendar,
        f"{found.note}; the seasonal baseline takes the calendar's {calendar} rows{_left_out(calendar, recipe)}",
    )


def _left_out(season: int, recipe: Recipe) -> str:
    long = recipe.lookback is not None and season > recipe.lookback
    return f"; longer than the window of {recipe.lookback}, so there is no seasonal baseline" if long else ""


def _seasons(data: SeriesData) -> list[int]:
    """Seasons to look for: the calendar's, and those of the longer cycles above it."""
    more = {"hour": [168], "day": [365], "business day": [21, 252], "row": [4, 5, 7, 12, 24, 52]}
    return [data.frequency.season, *more.get(data.frequency.name, [])]


def _describe(data: SeriesData, recipe: Recipe, folds: tuple[Fold, ...]) -> list[str]:
    assert recipe.lookback is not None
    counts = {
        part: len(getattr(folds[-1], part).rows(data, recipe.lookback)) for part in ("train", "valid", "test")
    }
    return [
        f"forecasts {', '.join(data.targets)} {data.horizon} step{'s' if data.horizon > 1 else ''} ahead from windows of {recipe.lookback} rows"
        + (f", cut into segments of {recipe.segment}" if recipe.segment != 1 else ""),
        f"final split: {counts['train']} windows train, {counts['valid']} say when to stop, {counts['test']} are sealed; "
        f"{len(folds) - 1} walk-forward folds before",
    ]
