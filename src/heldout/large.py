"""A fit to series larger than memory: read once into files, one model that all workers train together, a sealed test.

cache -> split by time -> prepare in passes -> windows in files -> train together -> score on whole series, evenly picked
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from psutil import virtual_memory

from heldout.auditing import quick_audit
from heldout.check import InputError, check_choice
from heldout.config import Config
from heldout.data.cache import SeriesCache, open_cache
from heldout.data.mapped import open_windows, prepared_by, write_windows
from heldout.data.prepare import Prepare
from heldout.data.prepare_blocks import fit_blocks
from heldout.data.runs import Runs
from heldout.data.series import IntArray, SeriesData
from heldout.data.splits import Fold
from heldout.data.transforms import WITHOUT_LOG, choose_transforms
from heldout.large_fit import LargeFits, cache_folder
from heldout.listener import Listener, Silent
from heldout.plots.values import plural
from heldout.result import HELDOUT, Result
from heldout.runs import Run, environment
from heldout.scoring import Fits
from heldout.seal import take_look
from heldout.studies.engine import Engine, LocalEngine
from heldout.studies.ledger import Finished, Ledger
from heldout.studies.plan import Job, end_study, run_plan
from heldout.studies.study import Context, job_key, make_context, score_fit
from heldout.summary import describe_data
from heldout.task import Task
from heldout.training.fit import SeriesModel
from heldout.training.intervals import check_masks
from heldout.training.shortcut import shrink
from heldout.training.start import empty_network, start_network, task_of

SAMPLE_ROWS = 300_000
"""Rows of the series, evenly picked, on which the split is decided, baselines are fitted and everything is scored."""
_BLOCK_ROWS = 500_000


@dataclass(frozen=True, kw_only=True, eq=False)
class _Context(Context):
    """What the fits share: ``data`` is the sample, ``whole`` the fingerprint of all series."""

    whole: str

    def key(self, job: Job) -> str:
        """Give the key of a fit, of which all series are a part."""
        return hashlib.sha256(f"{self.whole} {job_key(self, job)}".encode()).hexdigest()


def is_large(source: object, *, texts: bool = False) -> bool:
    """Whether a table is fitted from files rather than memory: a folder, or Parquet whose numbers fill an eighth of the memory.

    Parameters
    ----------
    source : object
        What `heldout.experiment.fit` is given.
    texts : bool, default False
        It holds texts: then a file of a sixteenth of the memory is large, for they are compressed in it, and kept as numbers too.
    """
    if not isinstance(source, str | Path):
        return False
    path = Path(source)
    if path.is_dir():
        return True
    try:
        with path.open("rb") as file:
            if file.read(4) != b"PAR1":
                return False
        if texts:
            return path.stat().st_size > virtual_memory().total / 16
        lazy = pl.scan_parquet(path)
        cells = lazy.select(pl.len()).collect().item() * len(lazy.collect_schema())
    except (OSError, pl.exceptions.PolarsError):
        return False  # whoever reads it says what is wrong with it
    return bool(8 * cells > virtual_memory().total / 8)


def fit_large(
    source: str | Path,
    config: Config,
    *,
    out: str | Path | None = None,
    engine: Engine | None = None,
    listener: Listener | None = None,
    gate: str | None = None,
    command: str | None = None,
) -> Result:
    """Fit one model to all series in Parquet files, by all workers of an engine together (see `heldout.experiment.fit`).

    There are no walk-forward folds. The split, the choices that a recipe leaves to the data, baselines, intervals and the sealed
    test are those of a sample: whole series, evenly picked, `SAMPLE_ROWS` rows of them. The model is trained on the windows of
    all series that end before the sealed time.

    Parameters
    ----------
    source : path
        A Parquet file, or a folder of them.
    config : Config
        As for `heldout.experiment.fit`; ``n_folds`` is 0 or left out.
    out, engine, listener, gate, command
        As there. The cache of the files is kept in a folder beside the run directory, for the next run.

    Returns
    -------
    Result

    Raises
    ------
    InputError
        If the files or the configuration break a rule.
    """
    listener, engine = listener or Silent(), engine or LocalEngine()
    if config.study.n_folds:
        raise InputError(
            f"what is fitted from files is fitted once and judged on the sealed test, got n_folds={config.study.n_folds}: leave it out"
        )
    cache = _open(source, config, out, listener)
    task = _task(cache, replace(config, study=replace(config.study, n_folds=0)))
    for text in task.notes:
        listener.note(text)
    audited = quick_audit(task, listener=listener)
    if gate is not None:
        check_choice("--fail-if-worse-than", gate, list(task.candidates))
    if config.study.mc_dropout:
        check_masks(task.recipe)
    with (
        Run.open(config, cache.fingerprint, out=out) as run,
        Ledger(run.ledger_path) as ledger,
        engine.kept() as held,
    ):
        context = _context(task, cache, run)
        sealed = task.folds[-1].test.rows(task.data, context.lookback)
        looks = take_look(run, ledger, task.data, sealed)
        jobs = task.jobs()
        listener.begin(jobs)
        fits_of_all = _SeriesFits(cache, task, context, ledger, held, listener)
        fits_of_all.train([job for job in jobs if job.candidate == HELDOUT])
        said = fits_of_all.describe()
        told: dict[str, Any] = {"on_progress": listener.epoch, "on_finished": fits_of_all.finished}
        results = run_plan(context, jobs, ledger, engine=held, **told)
        fits = Fits(jobs, results, context, task.folds, task.config.study)
        model = fits.final_model()
        found = [*model.prepare.describe(), said]
        for text in found:
            listener.note(text)
        columns, notes = fits.columns(model), [*task.notes, *found]
        names = list(task.candidates)
        result = fits.result(run, names, notes, model, columns, looks=looks, season=task.season)
        result = replace(result, baselines_saw=fits_of_all.beside())
        scores = _scores(task, fits, result) | {
            "audit": [finding.to_dict() for finding in audited],
            "command": command or run.call("fit", source, config, None),
            "environment": environment(),
        }
        resolved = replace(config, data=task.data_options, recipe=task.recipe)
        run.save(resolved, model, scores, fits.predictions(columns))
        end_study(context)
    return result


def _task(cache: SeriesCache, config: Config) -> Task:
    """What is decided on the sample, but for a logarithm that series outside of it do not have."""
    sample = cache.sample(SAMPLE_ROWS)
    task = Task.of(sample, config)
    found = task.recipe.transform
    lows = {name: cache.lows[cache.columns.index(name)] for name in cache.targets}
    name = min(lows, key=lambda target: lows[target])
    if config.recipe.transform != "auto" or found not in WITHOUT_LOG or lows[name] > 0:
        return task
    other = WITHOUT_LOG[found]
    task = Task.of(sample, replace(config, recipe=replace(config.recipe, transform=other)))
    why = f"transform of {name}: {other} in place of {found}, for it is {lows[name]:g} in a series outside the sample"
    return replace(task, notes=(*task.notes, why))


def _scores(task: Task, fits: Fits, result: Result) -> dict[str, Any]:
    assert result.model is not None
    return result.to_dict() | {
        "losses": fits.fold_losses(),
        "overfit": {"why_not": "of data larger than memory one model is fitted, and no second one"},
        "data": describe_data(task.data, result.model.prepare),
        "series": fits.by_series(),
        "splits": task.folds.parts,
    }


def _open(source: str | Path, config: Config, out: str | Path | None, listener: Listener) -> SeriesCache:
    options = {name: value for name, value in vars(config.data).items() if name != "encoding"}
    folder = cache_folder(source, options, out)
    return open_cache(source, folder, **options, progress=lambda state: listener.stage(**state))


def _context(task: Task, cache: SeriesCache, run: Run) -> _Context:
    plain = make_context(
        task.data, task.recipe, task.folds[-1], run.path / "checkpoints", metric=task.config.study.metric
    )
    plain.scale.targets(task.data)  # a target that cannot be scored is refused here, before the look
    fields = {name: getattr(plain, name) for name in ("data", "scale", "lookback", "checkpoints")}
    return _Context(**fields, whole=cache.fingerprint)


def _from_the_start(fold: Fold, cache: SeriesCache) -> Fold:
    """A fold cut on some of the series, with what the others have before these begin."""
    return replace(fold, train=replace(fold.train, start=int(cache.time.min())))


class _SeriesFits(LargeFits):
    """One recipe, trained on the windows of all series."""

    context: _Context

    def __init__(
        self,
        cache: SeriesCache,
        task: Task,
        context: _Context,
        ledger: Ledger,
        engine: Engine,
        listener: Listener,
    ) -> None:
        super().__init__(context, ledger, engine, listener)
        self.cache, self.task = cache, task
        self.fold = _from_the_start(task.folds[-1], cache)
        self.folder = context.checkpoints / "windows"

    def describe(self) -> str:
        """Say what the model was trained on."""
        cache, data = self.cache, self.context.data
        ends = np.searchsorted(self.rows[0].starts, cache.offsets)
        trained = int((np.diff(ends) > 0).sum())
        of = "" if trained == len(cache.ids) else f" of {trained:,} of them"
        return (
            f"{cache.n_rows:,} rows of {len(cache.ids):,} series: the model was trained on {len(self.rows[0]):,} windows{of}, by "
            f"{plural(self.workers, 'worker')} together; {data.n_rows:,} rows of {len(data.ids):,} series, evenly picked, "
            "decided on the split, fitted the baselines and are the sealed test"
        )

    def beside(self) -> str:
        """Say what the baselines were fitted to, where it is less."""
        n_sample = len(self.fold.train_rows(self.context.data, self.context.lookback))
        if n_sample == len(self.rows[0]):
            return ""
        return (
            f"The baselines were fitted to {n_sample:,} of the {len(self.rows[0]):,} windows that train it."
        )

    def fit(self, job: Job, began: float) -> Finished:
        """Fit and score one job."""
        recipe, prepare = job.model, self._prepare()
        windows = open_windows(self.folder)
        network = start_network(self.context.data, windows, self.rows, recipe, seed=job.random_seed)
        empty = partial(empty_network, network.shape, recipe, job.random_seed)
        source = partial(open_windows, self.folder.absolute())
        history = self.together(job, recipe, network, self.rows, empty=empty, source=source)
        if recipe.shrink and recipe.shortcut == "ridge":
            shrink(network, windows, self.rows[1], recipe)
        network.eval()
        model = SeriesModel(recipe, prepare, network.shape, (network,), task_of(self.context.data))
        return score_fit(self.context, job, model, history, began=began)

    def _blocks(self, part: Callable[[SeriesData], IntArray]) -> Iterator[tuple[SeriesData, IntArray]]:
        """All series, a block at a time, each with some of its origins."""
        for first, stop in self.cache.blocks(_BLOCK_ROWS):
            data = self.cache.block(first, stop)
            self.cache.release()
            yield data, part(data)

    @cached_property
    def rows(self) -> tuple[Runs, Runs]:
        """Origins that train, and that say when to stop."""
        lookback = self.context.lookback
        train, valid, before = [], [], 0
        for data, rows in self._blocks(lambda data: self.fold.train_rows(data, lookback)):
            train.append(before + rows)
            valid.append(before + self.fold.valid.rows(data, lookback))
            before += data.n_rows
            self.listener.stage("finding windows", before, self.cache.n_rows)
        return Runs.of(train), Runs.of(valid)

    def _prepare(self) -> Prepare:
        """What is learned from the training rows, and the windows in files; both are kept until the run is done."""
        recipe, lookback = self.task.recipe, self.context.lookback
        key = f"{self.cache.fingerprint} {json.dumps([recipe.to_dict(), asdict(self.fold)], sort_keys=True)}"
        key = hashlib.sha256(key.encode()).hexdigest()
        if (found := prepared_by(self.folder, key)) is not None:
            return found
        sample = self.context.data
        transforms, _ = choose_transforms(
            sample, self.fold.train_rows(sample, lookback), lookback, recipe.transform
        )

        def training() -> Iterator[tuple[SeriesData, IntArray]]:
            seen = 0
            for data, rows in self._blocks(lambda data: self.fold.train_rows(data, lookback)):
                seen += data.n_rows
                self.listener.stage("learning scales", seen, self.cache.n_rows)
                if len(rows):
                    yield data, rows

        prepare = fit_blocks(training, lookback, recipe, transforms)
        write_windows(self.folder, prepare, self._all(), lookback, key)
        return prepare

    def _all(self) -> Iterator[SeriesData]:
        done = 0
        for first, stop in self.cache.blocks(_BLOCK_ROWS):
            yield self.cache.block(first, stop)
            self.cache.release()
            done = int(self.cache.offsets[stop])
            self.listener.stage("writing windows", done, self.cache.n_rows)
