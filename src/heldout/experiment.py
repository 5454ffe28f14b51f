"""The main job: a table in, a regularised LSTM and numbers that can be trusted out.

read -> split (sealed test, walk-forward folds) -> fit everything on every fold -> score -> run directory
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heldout.auditing import quick_audit
from heldout.check import InputError, check_choice
from heldout.config import Config, TextConfig
from heldout.large import fit_large, is_large
from heldout.listener import Listener, Silent
from heldout.recipe import Recipe
from heldout.result import Result
from heldout.runs import Run, environment
from heldout.scoring import Fits
from heldout.seal import take_look
from heldout.studies.engine import Engine, LocalEngine
from heldout.studies.ledger import Finished, Ledger
from heldout.studies.optimism import optimism_and_drift
from heldout.studies.plan import run_plan
from heldout.studies.study import Context, make_context
from heldout.summary import describe_data
from heldout.task import Task
from heldout.training.intervals import check_masks
from heldout.training.lags import Baseline

if TYPE_CHECKING:
    from heldout.text_result import TextResult


def fit(  # noqa: PLR0913 - the one entry point
    source: object,
    config: Config | TextConfig,
    *,
    out: str | Path | None = None,
    engine: Engine | None = None,
    listener: Listener | None = None,
    rivals: Mapping[str, Recipe | Baseline] | None = None,
    gate: str | None = None,
    test: object = None,
    command: str | None = None,
    together: bool = False,
) -> "Result | TextResult":
    """Fit a regularised LSTM to the series, or the texts, in a table and find out, honestly, what it is worth.

    The last part of the time span is sealed. Before it, the recipe and the baselines are fitted and judged on
    walk-forward folds; then all are fitted on everything before the seal, and the sealed rows are scored, once.
    Stop it at any time and call it again with the same arguments: what was finished is not repeated.
    Parquet that is larger than memory, or a folder of it, is fitted from files: see `heldout.large.fit_large`.
    With a `TextConfig` the table holds texts: see `heldout.text_experiment.fit_texts`.

    Parameters
    ----------
    source : path or data frame
        A table, see `heldout.data.layout.read_series` and `heldout.data.text_table.read_texts`.
    config : Config or TextConfig
        Columns, splits, recipe. Of series ``config.data.target`` is needed unless the table holds one series per row.
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
    test : path or data frame, optional
        Rows that follow those of ``source``: the sealed test, instead of ``config.data.test``.

    command : str, optional
        What a person typed to get here; recorded for the report. By default the call of this function.
    together : bool, default False
        All workers of the engine train each model together, from files, also where the table would fit into memory.

    Returns
    -------
    Result or TextResult

    Raises
    ------
    InputError
        If the table or the configuration breaks a rule.
    """
    how: dict[str, Any] = {"out": out, "engine": engine, "listener": listener, "rivals": rivals, "gate": gate}
    how |= {"test": test, "command": command}
    if isinstance(config, TextConfig):
        return _fit_texts(source, config, large=together or is_large(source, texts=True), **how)
    if together or is_large(source):
        return fit_large(_path(source), config, **_but_for_files(how))
    return _fit_series(source, config, **how)


def _fit_series(  # noqa: PLR0913 - the arguments of `fit`
    source: object,
    config: Config,
    *,
    out: str | Path | None,
    engine: Engine | None,
    listener: Listener | None,
    rivals: Mapping[str, Recipe | Baseline] | None,
    gate: str | None,
    test: object,
    command: str | None,
) -> Result:
    listener = listener or Silent()
    task = Task.make(source, config, rivals or {}, test=test)
    data, folds = task.data, task.folds
    for text in task.notes:
        listener.note(text)
    audited = quick_audit(task, listener=listener)
    if gate is not None:
        check_choice("--fail-if-worse-than", gate, [*task.candidates, *task.rivals])
    if config.study.mc_dropout:
        check_masks(task.recipe)
    with Run.open(config, data.fingerprint, out=out) as run, Ledger(run.ledger_path) as ledger:
        context = make_context(
            data, task.recipe, folds[0], run.path / "checkpoints", metric=config.study.metric
        )
        context.scale.targets(data)  # a target that cannot be scored is refused here, before the look
        looks = take_look(run, ledger, data, folds[-1].test.rows(data, context.lookback))
        jobs, inside = task.jobs(), task.inside_jobs()
        listener.begin(jobs + inside)
        results = run_plan(
            context,
            jobs + inside,
            ledger,
            engine=engine or LocalEngine(),
            on_progress=listener.epoch,
            on_finished=listener.finished,
        )
        fits = Fits(jobs, results[: len(jobs)], context, folds, config.study)
        model = fits.final_model()
        found = model.prepare.describe()
        for text in found:
            listener.note(text)
        columns = fits.columns(model)
        result = fits.result(
            run, list(task.candidates), [*task.notes, *found], model, columns, looks=looks, season=task.season
        )
        scores = result.to_dict() | {
            "losses": fits.fold_losses(),
            "overfit": _overfit(task, context, results[len(jobs) :]),
            "data": describe_data(data, model.prepare),
            "series": fits.by_series(),
            "splits": folds.parts,
            "audit": [finding.to_dict() for finding in audited],
            "command": command or run.call("fit", source, config, test),
            "environment": environment(),
        }
        resolved = replace(config, data=task.data_options, recipe=task.recipe)
        run.save(resolved, model, scores, fits.predictions(columns))
    return result


def _fit_texts(source: object, config: TextConfig, *, large: bool, **how: Any) -> "TextResult":
    try:
        from heldout.large_texts import fit_large_texts  # noqa: PLC0415 - needs the extra `text`
        from heldout.text_experiment import fit_texts  # noqa: PLC0415 - needs the extra `text`
    except ModuleNotFoundError as error:
        if error.name not in ("tokenizers", "datasketch"):
            raise
        raise InputError(f"texts need the package {error.name}: pip install 'heldout[text]'") from error
    if large:
        return fit_large_texts(_path(source), config, **_but_for_files(how))
    return fit_texts(source, config, **how)


def _path(source: object) -> str | Path:
    if not isinstance(source, str | Path):
        raise InputError(
            "workers that train together read Parquet files: give the path of one, or of a folder of them"
        )
    return source


def _but_for_files(how: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `fit` that are taken where the data lie in files."""
    for name in ("rivals", "test"):
        if how[name]:
            raise InputError(f"{name} cannot be given with data larger than memory: leave it out")
    return {name: value for name, value in how.items() if name not in ("rivals", "test")}


def _overfit(task: Task, context: Context, inside: list[Finished]) -> dict[str, Any]:
    if task.inside is None:
        return {"why_not": "the training period is too short to hold blocks of it out"}
    return optimism_and_drift(context, task.inside, inside[0])
