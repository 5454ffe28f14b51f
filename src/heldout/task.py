"""`Task`: everything about a run that is decided before its first fit."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from heldout.check import InputError
from heldout.config import Config, DataOptions
from heldout.data.layout import read_series
from heldout.data.series import SeriesData
from heldout.data.sources import test_beside
from heldout.data.splits import FINAL, MANY_SERIES, Fold, Split, split_series
from heldout.data.transforms import is_differenced
from heldout.recipe import Recipe
from heldout.result import HELDOUT
from heldout.studies.optimism import hold_out_inside
from heldout.studies.plan import Job, plan
from heldout.studies.study import MOST_JUDGED
from heldout.training.baselines import Boosting, standard_baselines
from heldout.training.fit import fit_series
from heldout.training.lags import Baseline
from heldout.training.ridge import MAX_ROWS
from heldout.training.season import find_season
from heldout.training.settle import choose_segment, settle, settle_scale, settle_transform


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What is fitted where.

    Attributes
    ----------
    config : Config
        As the user gave it.
    data : SeriesData
        The series.
    recipe : Recipe
        With everything decided, on the first fold's training rows where rows decide.
    folds : Split
        Walk-forward folds and the final one.
    season : int or None
        Rows in a season.
    rivals : mapping of str to Recipe or Baseline
        Compared on the sealed test alone.
    notes : tuple of str
        What was inferred and decided.
    test_file : str
        ``config.data.test``, with the path in it where a file was found.
    """

    config: Config
    data: SeriesData
    recipe: Recipe
    folds: Split
    season: int | None
    rivals: Mapping[str, Recipe | Baseline]
    notes: tuple[str, ...]
    test_file: str

    @classmethod
    def make(
        cls, source: object, config: Config, rivals: Mapping[str, Recipe | Baseline], *, test: object = None
    ) -> "Task":
        """Read the table and decide.

        Raises
        ------
        InputError
            If the table or the configuration breaks a rule.
        """
        data = read(source, config.data, test=test)
        return cls.of(data, config, rivals, test_file=_test_file(source, config.data.test, data, test))

    @classmethod
    def of(
        cls,
        data: SeriesData,
        config: Config,
        rivals: Mapping[str, Recipe | Baseline] | None = None,
        *,
        test_file: str = "none",
    ) -> "Task":
        """Decide on series that were read already.

        Raises
        ------
        InputError
            If the configuration breaks a rule.
        """
        recipe = settle(config.recipe, data)
        assert recipe.lookback is not None
        folds = split(data, recipe, config)
        first = folds[0].train.rows(data, recipe.lookback)
        recipe, reasons = settle_transform(recipe, data, first)
        recipe, scaling = settle_scale(recipe, data, first)
        season, season_note = _season(data, recipe, folds[0], config)
        recipe, window = _fit_window(data, recipe, season, config)
        if window:
            folds = split(data, recipe, config)
        return cls(
            config=config,
            data=data,
            recipe=recipe,
            folds=folds,
            season=season,
            rivals={name: _aligned(model, recipe, data) for name, model in (rivals or {}).items()},
            notes=(
                *data.notes,
                *_describe(data, recipe, folds),
                *(f"transform of {why}" for why in reasons),
                *([scaling] if scaling else []),
                season_note,
                *([window] if window else []),
            ),
            test_file=test_file,
        )

    @property
    def data_options(self) -> DataOptions:
        """What the table was found to hold, for reading others of its kind."""
        asked = self.config.data
        found = replace(asked, horizon=self.data.horizon, target=self.data.targets, test=self.test_file)
        # No other layout goes without a target.
        return found if asked.target else replace(found, layout="wide")

    @cached_property
    def candidates(self) -> dict[str, Recipe | Baseline]:
        """The baselines, and the recipe."""
        recipe = self.recipe
        assert recipe.lookback is not None
        baselines = standard_baselines(
            self.season, lookback=recipe.lookback, n_targets=len(self.data.targets)
        )
        found: dict[str, Recipe | Baseline] = {baseline.name: baseline for baseline in baselines}
        if is_differenced(recipe.transform):
            del found["mean"]  # of a level that wanders; the mean change is drift's
        return found | {HELDOUT: recipe}

    @cached_property
    def inside(self) -> Fold | None:
        """The final fold with blocks of its training period held out, to tell optimism and drift apart."""
        assert self.recipe.lookback is not None
        return hold_out_inside(self.folds[-1], self.data, self.recipe.lookback)

    def jobs(self) -> list[Job]:
        """All fits that are compared."""
        study = self.config.study
        seeds = range(study.first_seed, study.first_seed + study.n_seeds)
        return plan(self.rivals, self.folds[-1:], seeds[:1]) + plan(self.candidates, self.folds, seeds)

    def inside_jobs(self) -> list[Job]:
        """The one fit that `inside` is for, if the training period is long enough."""
        if self.inside is None:
            return []
        return plan({"in-period": self.recipe}, [self.inside], [self.config.study.first_seed])


def _test_file(source: object, asked: str, data: SeriesData, test: object) -> str:
    """What seals the same rows again, also where another file comes to lie beside the table."""
    if isinstance(test, str | Path):
        return str(test)
    found = asked == "auto" and test is None and data.test_start is not None
    return str(test_beside(source)) if found else asked


def read(source: object, options: DataOptions, *, test: object = None) -> SeriesData:
    """Read a table, and a test table, as the options say (`heldout.data.layout.read_series`)."""
    return read_series(source, **(vars(options) | ({} if test is None else {"test": test})))


def split(data: SeriesData, recipe: Recipe, config: Config) -> Split:
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


def _fit_window(
    data: SeriesData, recipe: Recipe, season: int | None, config: Config
) -> tuple[Recipe, str | None]:
    """The window of a panel that has no calendar: whole seasons, twice as many where that helps a ridge regression.

    Both are fitted to the first fold's training rows, as the recipe's shortcut would be, and judged on its validation rows.
    """
    assert recipe.lookback is not None
    open_ = config.recipe.lookback is None and recipe.shortcut == "ridge" and data.frequency.name == "row"
    if not open_ or season is None or len(data.ids) < MANY_SERIES:
        return recipe, None
    whole = -(-recipe.lookback // season) * season
    if 2 * whole > np.quantile(np.diff(data.offsets), 0.1) / 2:
        return recipe, None
    choices = [
        replace(recipe, lookback=rows, segment=config.recipe.segment or choose_segment(rows))
        for rows in (whole, 2 * whole)
    ]
    try:
        first = split(data, choices[-1], config)[0]
    except InputError:  # too few rows for the longer one
        return recipe, None
    train, valid = (span.rows(data, 2 * whole) for span in (first.train, first.valid))
    short, long = (
        fit_series(data, train, valid, replace(choice, max_epochs=0))[1].epochs[0]["valid_loss"]
        for choice in choices
    )
    chosen = choices[long < 0.99 * short]
    where = "before the sealed test" if first.name == FINAL else "in the first fold"
    return chosen, (
        f"windows of {chosen.lookback} rows: {where} ridge regression has a validation loss of {short:.4g} with {whole} rows "
        f"and of {long:.4g} with {2 * whole}"
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
        f"final split: {counts['train']} windows train, {counts['valid']} say when to stop, {counts['test']} {'is' if counts['test'] == 1 else 'are'} sealed; "
        f"{len(folds) - 1} walk-forward fold{'s' * (len(folds) != 2)} before",
        *_thinned(counts["train"], recipe),
    ]


def _thinned(n_train: int, recipe: Recipe) -> list[str]:
    """What is not read in full where there is very much of it."""
    if n_train <= recipe.epoch_samples:
        return []
    ridge = f"; ridge reads {MAX_ROWS}" if n_train > MAX_ROWS else ""
    pairs = f"boosting at most {Boosting().max_pairs} triples of window, step and target"
    return [
        f"an epoch trains on {recipe.epoch_samples} of the {n_train} windows, drawn anew{ridge}; {pairs}; a fold is judged on at most {MOST_JUDGED}"
    ]
