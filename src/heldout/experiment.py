"""The main job: a table in, a regularised LSTM and numbers that can be trusted out.

read -> split (sealed test, walk-forward folds) -> fit everything on every fold -> score -> run directory
"""

from collections.abc import Mapping
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from heldout.check import InputError, check_choice
from heldout.config import Config, DataOptions
from heldout.data.layout import read_series
from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.data.splits import Fold, split_series
from heldout.data.transforms import is_differenced
from heldout.forecast import long_table
from heldout.recipe import Recipe
from heldout.result import HELDOUT, NAIVE, Result, Row
from heldout.runs import Run, environment
from heldout.seal import take_look
from heldout.studies.compare import Interval, block_t, fold_skill, skill
from heldout.studies.engine import Engine, LocalEngine
from heldout.studies.ledger import Finished, Ledger
from heldout.studies.scale import by_moment
from heldout.studies.study import Context, Job, make_context, plan, run_plan
from heldout.training.baselines import standard_baselines
from heldout.training.checkpoint import parse_tensors
from heldout.training.fit import SeriesModel, settle, settle_transform
from heldout.training.lags import Baseline
from heldout.training.season import find_season


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
        table = _Table(jobs, results, context, folds)
        model = _final_model(table)
        found = model.prepare.describe()
        for text in found:
            listener.note(text)
        result = table.result(run, list(candidates), notes + found, model, looks)
        scores = result.to_dict() | {
            "losses": table.fold_losses(),
            "environment": environment(),
        }
        resolved = replace(config, data=replace(config.data, horizon=data.horizon), recipe=recipe)
        run.save(resolved, model, scores, predictions(data, folds[-1], table, model))
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


class _Table:
    """The finished fits of a comparison, by candidate, fold and seed."""

    def __init__(
        self, jobs: list[Job], results: list[Finished], context: Context, folds: tuple[Fold, ...]
    ) -> None:
        keys = [(job.candidate, job.fold.name, job.seed) for job in jobs]
        self.results, self.context, self.folds = dict(zip(keys, results, strict=True)), context, folds
        self.rows = folds[-1].test.rows(context.data, context.lookback)
        self.truth = context.scale.targets(context.data)[self.rows[:, None] + context.data.steps]

    def of(self, candidate: str, fold: Fold) -> list[Finished]:
        """One per seed."""
        return [
            result
            for (name, where, _), result in self.results.items()
            if (name, where) == (candidate, fold.name)
        ]

    def mean_forecast(self, candidate: str, array: str = "forecast") -> FloatArray:
        """The mean over seeds of what a candidate says of the sealed rows."""
        found = [result.arrays[array] for result in self.of(candidate, self.folds[-1])]
        return np.asarray(np.mean(found, axis=0, dtype=np.float64))

    def test_losses(self, forecast: FloatArray) -> FloatArray:
        """Loss of each moment of the sealed test, in order of time."""
        return by_moment(self.context.scale.losses(forecast, self.truth), self.context.data, self.rows)

    def fold_losses(self) -> dict[str, list[list[float]]]:
        """Mean loss per candidate, walk-forward fold and seed."""
        metric = self.context.scale.metric
        names = dict.fromkeys(name for name, _, _ in self.results)
        return {
            name: [[r.scores[metric] for r in self.of(name, fold)] for fold in self.folds[:-1]]
            for name in names
        }

    def skill(self, candidate: str, reference: str) -> Interval:
        """Skill of the mean of a candidate's seeds against a reference, the noise of time and of seeds in its interval.

        The interval is that of the seeds one by one (`heldout.studies.compare.skill`), moved to the mean's skill.
        """
        against = self.test_losses(self.mean_forecast(reference))
        if against.mean() == 0:  # nothing can be a share of it
            return Interval(mean=nan, low=-inf, high=inf, se=inf, df=0, level=0.95, p_value=1, enough=False)
        together = skill(self.test_losses(self.mean_forecast(candidate)), against)
        found = self.of(candidate, self.folds[-1])
        if len(found) == 1:
            return together
        apart = skill(np.stack([self.test_losses(result.arrays["forecast"]) for result in found]), against)
        shift = together.mean - apart.mean
        low, high = apart.low + shift, min(apart.high + shift, 1.0)
        return replace(
            apart, mean=together.mean, low=low, high=high, p_value=max(apart.p_value, together.p_value)
        )

    def result(
        self, run: Run, baselines: list[str], notes: list[str], model: SeriesModel, looks: int
    ) -> Result:
        """Put the numbers together."""
        folds = {
            name: np.array([np.mean(x) for x in losses if x]) for name, losses in self.fold_losses().items()
        }
        rows = []
        for name, by_fold in folds.items():
            losses = self.test_losses(self.mean_forecast(name))
            span = block_t(losses)
            rows.append(
                Row(
                    name=name,
                    value=float(losses.mean()),
                    low=span.low,
                    high=span.high,
                    skill_vs_naive=self.skill(name, NAIVE),
                    heldout_skill=self.skill(HELDOUT, name),
                    folds=float(by_fold.mean()) if len(by_fold) else None,
                )
            )
        rows.sort(key=lambda row: row.value)
        others = [row for row in rows if row.name in baselines and row.name != HELDOUT]
        seeds = self.of(HELDOUT, self.folds[-1])
        return Result(
            path=run.path,
            metric=self.context.scale.name,
            rows=rows,
            test_rows=len(self.truth),
            best_baseline=min(others, key=lambda row: row.value if row.folds is None else row.folds).name,
            n_folds=len(self.folds) - 1,
            n_seeds=len(seeds),
            added_nothing=model.recipe.shortcut != "none" and not any(s.scores["best_epoch"] for s in seeds),
            fold_skill=fold_skill(folds[HELDOUT], folds[NAIVE]) if len(self.folds) > 2 else None,
            extra_inputs=(*self.context.data.future, *self.context.data.static_names),
            looks=looks,
            notes=notes,
            model=model,
        )


def predictions(data: SeriesData, final: Fold, table: _Table, model: SeriesModel) -> pl.DataFrame:
    """Give truth and forecasts of the sealed test, in the targets' own units, a row per series, origin, step and target."""
    rows = final.test.rows(data, model.lookback)
    found = table.of(HELDOUT, final)
    mean = table.mean_forecast(HELDOUT)
    columns = {"truth": model.prepare.to_original(table.truth), "forecast": model.prepare.to_original(mean)}
    columns["last_value"] = np.repeat(_at_origin(data, table.context, rows, model), len(data.steps), axis=1)
    if "quantiles" in found[0].arrays:
        every = model.prepare.to_original(table.mean_forecast(HELDOUT, "quantiles"))
        columns |= {f"q{level:g}": every[..., n] for n, level in enumerate(model.recipe.quantiles)}
    return long_table(data, rows, columns)


def _at_origin(data: SeriesData, context: Context, rows: IntArray, model: SeriesModel) -> FloatArray:
    return model.prepare.to_original(context.scale.targets(data)[rows][:, None])


def _final_model(table: _Table) -> SeriesModel:
    """The seeds of the final fold, joined."""
    models = []
    for result in table.of(HELDOUT, table.folds[-1]):
        assert result.model is not None
        models.append(SeriesModel.from_file_parts(*parse_tensors(result.model)))
    return models[0].joined(models[1:])


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
