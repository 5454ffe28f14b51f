"""`audit`: is there a leak in this table, its split or its preparation, before any score is believed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from heldout.audit_result import AuditResult, sentence_of
from heldout.check import InputError
from heldout.config import Config, DataOptions, TextConfig
from heldout.data.audit.finding import Finding
from heldout.data.audit.overlap import Parts, own_parts
from heldout.data.audit.series import audit_series
from heldout.data.audit.tables import check_tables
from heldout.data.audit.truncation import check_features, check_history
from heldout.data.series import IntArray, SeriesData
from heldout.data.tables import open_table
from heldout.data.times import read_times
from heldout.listener import Listener, Silent
from heldout.task import Task, read
from heldout.training.settle import settle, settle_scale, settle_transform

if TYPE_CHECKING:
    from heldout.text_task import TextTask

Splits = Iterable[Sequence[IntArray]]


def audit(
    source: object,
    config: Config | TextConfig,
    *,
    test: object = None,
    quick: bool = False,
    features: Callable[[Any], Any] | None = None,
    splits: Splits | None = None,
    listener: Listener | None = None,
) -> AuditResult:
    """Look for leaks in a table, in the way it is cut, and in what is learned from it; and for faults of the table.

    No model is scored on the sealed test.

    Parameters
    ----------
    source : path or data frame
        A table, as for `heldout.fit`; missing values and repeated times are reported rather than refused.
    config : Config or TextConfig
        As for `heldout.fit`.
    test : path or data frame, optional
        Rows that follow those of ``source``: the sealed test.
    quick : bool, default False
        Only what takes less than a second on 10 000 rows; `heldout.fit` does this by itself.
    features : callable, optional
        What makes the columns: takes a frame (polars for a path, else of the kind of ``source``) and gives one with as many
        rows. It is tried on cut-off frames (`heldout.data.audit.truncation.check_features`); if what it gives has the target, that is audited.
    splits : iterable of pairs of arrays, optional
        A split made elsewhere, audited instead of heldout's: pairs of row numbers that train and that judge, as a splitter of
        scikit-learn gives them: of texts, or of the last rows of the windows of a series (rows sorted by series and time).
    listener : Listener, optional
        Told what was inferred from the table.

    Returns
    -------
    AuditResult

    Raises
    ------
    InputError
        If the table or the configuration breaks a rule.

    Examples
    --------
    >>> import polars as pl
    >>> y = np.random.default_rng(0).normal(size=300).cumsum()
    >>> table = pl.DataFrame({"y": y, "tomorrow": np.append(y[1:], y[-1])})
    >>> [finding.check for finding in audit(table, Config().with_values({"target": "y"})).leaks]
    ['look-ahead in columns']
    """
    listener = listener or Silent()
    findings: list[Finding] = []
    if features is not None:
        source, findings = with_features(source, config, features)
    if isinstance(config, TextConfig):
        return _audit_texts(source, config, test=test, quick=quick, splits=splits, listener=listener)
    config = replace(config, data=_lenient(config.data))
    task = Task.make(source, config, {}, test=test)
    for note in task.notes:
        listener.note(note)
    findings += _of_series(task, splits, quick=quick)
    return _result(source, findings, "series", task.data.n_rows, task.notes, quick=quick)


def audit_files(
    train: object, test: object, config: Config | TextConfig, *, listener: Listener | None = None
) -> AuditResult:
    """Look for leaks between a training table and a test table that were made elsewhere, and for faults of both.

    Parameters
    ----------
    train, test : path or data frame
        Two tables with the same columns.
    config : Config or TextConfig
        What the columns are.
    listener : Listener, optional
        Told what was inferred from the tables.

    Returns
    -------
    AuditResult
        Of the two as they are: what heldout would repair, such as texts that stand in both, is a leak here.

    Raises
    ------
    InputError
        If a table or the configuration breaks a rule.
    """
    if isinstance(config, TextConfig):
        told = _audit_texts(
            train, config, test=test, quick=False, splits="tables", listener=listener or Silent()
        )
        return replace(told, about=told.about | {"source": _named(train, test)})
    options = replace(_lenient(config.data), test="none")
    first = read(train, options)
    second = read(test, replace(options, horizon=first.horizon))
    found = check_tables(first, second)
    together = not found.failed
    rest = audit(
        train,
        replace(config, data=options),
        test=test if together else None,
        listener=listener,
    )
    where = "" if together else " (of the training table alone)"
    findings = [replace(finding, check=f"{finding.check}{where}") for finding in rest.findings]
    rows = first.n_rows + second.n_rows
    return replace(
        rest, findings=(found, *findings), about=rest.about | {"source": _named(train, test), "rows": rows}
    )


def with_features(
    source: object, config: Config | TextConfig, features: Callable[[Any], Any]
) -> tuple[object, list[Finding]]:
    """Give a table with the columns that a function makes of it, and what cutting rows off shows of the function.

    Parameters
    ----------
    source, config, features
        As for `audit`.

    Returns
    -------
    table : path or data frame
        What the function gave if that has the target, else ``source``.
    findings : list of Finding

    Raises
    ------
    InputError
        If these are texts, the table cannot be read, or the function is none or gives no table.
    """
    if isinstance(config, TextConfig):
        raise InputError("features are of series: leave the argument out for texts")
    if not callable(features):
        raise InputError(
            f"features must be a function that takes and gives a frame, got {type(features).__name__}"
        )
    if isinstance(source, str | Path):
        frame: Any = open_table(source, encoding=config.data.encoding).frame.to_native()
    else:
        frame = source
    order, ends = _order(frame, config.data)
    if order is not None:
        frame = frame.iloc[order] if hasattr(frame, "iloc") else frame[order.tolist()]
    given = features(frame.copy() if hasattr(frame, "iloc") else frame)
    if not hasattr(given, "columns"):
        raise InputError(f"features must give a frame, got {type(given).__name__}: end it with return")
    rng = np.random.default_rng(0)
    findings = [check_features(frame, features, rng=rng, ends=ends), check_history(frame, features, ends)]
    return (given if set(config.data.target) <= set(given.columns) else source), findings


def quick_audit(task: Task, *, listener: Listener | None = None) -> list[Finding]:
    """Give what the quick checks find in a series that is read and cut.

    Parameters
    ----------
    task : Task
        Of a fit.
    listener : Listener, optional
        Told in a sentence if there is a leak or a fault.
    """
    return _told(_of_series(task, None, quick=True), listener)


def quick_text_audit(task: "TextTask", *, listener: Listener | None = None) -> list[Finding]:
    """Give what the quick checks find in texts that are read and cut.

    Parameters
    ----------
    task : TextTask
        Of a fit.
    listener : Listener, optional
        Told in a sentence if there is a leak or a fault.
    """
    from heldout.data.audit.texts import audit_texts  # noqa: PLC0415 - needs the extra `text`

    rng = np.random.default_rng(0)
    return _told(audit_texts(task.data, task.recipe, task.split.folds, quick=True, rng=rng), listener)


def _told(findings: list[Finding], listener: Listener | None) -> list[Finding]:
    if listener is not None and any(finding.failed and finding.kind != "hint" for finding in findings):
        listener.note(f"audit: {sentence_of(tuple(findings))} heldout audit shows where")
    return findings


def _lenient(options: DataOptions) -> DataOptions:
    """What would be refused is read and reported."""
    return replace(
        options, missing="fill", duplicates="last" if options.duplicates == "error" else options.duplicates
    )


def _of_series(task: Task, splits: Splits | None, *, quick: bool) -> list[Finding]:
    data, asked = task.data, task.config.recipe
    assert task.recipe.lookback is not None
    first = task.folds[0].train.rows(data, task.recipe.lookback)

    def transform(other: SeriesData) -> object:
        return settle_transform(settle(asked, other), other, first)

    def scale(other: SeriesData) -> object:
        return settle_scale(settle(asked, other), other, first)

    return audit_series(
        data,
        task.recipe,
        task.folds,
        parts=None if splits is None else own_parts(splits, data.n_rows),
        choices=(transform, scale),
        quick=quick,
        rng=np.random.default_rng(0),
    )


def _order(frame: Any, options: DataOptions) -> tuple[IntArray | None, IntArray | None]:
    """The order of time, and the last row of each time in it; None and None where no column holds times."""
    table = open_table(frame)
    names = [options.time] if options.time else table.frame.columns
    for name in names:
        times = read_times(table.frame[name], table.place, asked=options.time is not None)
        if times is not None:
            order = np.argsort(times.values, kind="stable")
            later = np.diff(times.values[order]) > 0
            return order, np.flatnonzero(np.append(later, True))
    return None, None


def _audit_texts(
    source: object,
    config: TextConfig,
    *,
    test: object,
    quick: bool,
    splits: Splits | str | None,
    listener: Listener,
) -> AuditResult:
    from heldout.data.audit.texts import audit_texts, check_unnamed_groups  # noqa: PLC0415 - extra `text`
    from heldout.text_task import TextTask  # noqa: PLC0415 - needs the extra `text`

    task = TextTask.make(source, config, {}, test=test)
    data = task.data
    for note in task.notes:
        listener.note(note)
    parts = None
    if isinstance(splits, str):
        rows = np.arange(len(data))
        parts = [Parts(name="the test table", train=rows[: data.n_train], test=rows[data.n_train :])]
    elif splits is not None:
        parts = own_parts(splits, len(data))
    rng = np.random.default_rng(0)
    findings = audit_texts(data, task.recipe, task.split.folds, parts=parts, quick=quick, rng=rng)
    if not quick and data.labels is not None:
        options = config.data
        named = [options.text, options.target, options.group, options.time]
        table = open_table(source, encoding=options.encoding, columns=[name for name in named if name])
        others = {name: table.frame[name].to_list() for name in table.frame.columns if name not in named}
        findings.append(check_unnamed_groups(others, data.labels[: data.n_train]))
    return _result(source, findings, "text", len(data), task.notes, quick=quick)


def _named(*sources: object) -> str:
    return " and ".join(str(one) if isinstance(one, str | Path) else type(one).__name__ for one in sources)


def _result(
    source: object, findings: list[Finding], kind: str, n_rows: int, notes: Sequence[str], *, quick: bool
) -> AuditResult:
    about = {"source": _named(source), "kind": kind, "rows": n_rows, "quick": quick, "notes": list(notes)}
    return AuditResult(findings=tuple(findings), about=about)
