"""Does a row know what comes after it? Cut the data off and look; spoil the rest and look.

The best detector of look-ahead there is: what is computed from the rows up to t must be the same whether or not later rows are there.
It asks nothing of how the computing is done.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from heldout.check import InputError
from heldout.data.audit.finding import Finding, failed, not_run, passed, places
from heldout.data.prepare import Prepare
from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.data.tables import open_table
from heldout.data.transforms import seen_rows
from heldout.recipe import Recipe

OF_FEATURES = "features with later rows cut off"
OF_HISTORY = "features with earlier rows cut off"
_CUTS = 20
_SAME = 1e-9
_POISON = 100.0
"""Times the largest value of a column: enough to move any mean, and no overflow."""


def check_features(
    frame: Any,
    features: Callable[[Any], Any],
    *,
    rng: np.random.Generator,
    ends: IntArray | None = None,
    n_cuts: int = _CUTS,
) -> Finding:
    """Find columns of a feature function that change in a row when later rows are cut off.

    ``features(frame[:t])`` must have, in its last row, what ``features(frame)`` has in the same row, to 1e-9 of the
    value or of the column's spread. It catches centred windows, back-filling, scaling over all rows, negative shifts, smoothing and decomposition of
    the whole series; not what was done before the table was written.

    Parameters
    ----------
    frame : data frame
        pandas or polars, rows in the order of time.
    features : callable
        Takes such a frame and gives one with as many rows; the same for the same rows.
    rng : numpy Generator
        Draws the cuts.
    ends : array of int64, optional
        Rows after which it may be cut; by default all: of several series, the last of each time.
    n_cuts : int, default 20
        How many, in the later three quarters of the rows; the last but one is always among them.

    Raises
    ------
    InputError
        If ``features`` gives another number of rows, or no data frame.

    References
    ----------
    The idea of ``lookahead-analysis`` of the trading bot freqtrade, made anew.

    Examples
    --------
    >>> frame = pl.DataFrame({"y": np.arange(50.0) ** 2})
    >>> centred = lambda frame: frame.with_columns(m=pl.col("y").rolling_mean(3, center=True))
    >>> found = check_features(frame, centred, rng=np.random.default_rng(0))
    >>> found.status, found.figures
    ('FAIL', {'m': 20})
    """
    n = len(frame)
    whole = _computed(features, frame, n)
    ends = np.arange(n) if ends is None else ends
    ends = ends[(ends >= n // 4) & (ends < n - 1)]
    if not len(ends):
        return not_run(OF_FEATURES, "There are too few rows to cut any off.")
    cuts = np.union1d(rng.choice(ends[:-1], min(n_cuts, len(ends)) - 1, replace=False), ends[-1:])
    changed: dict[str, list[int]] = {}
    for cut in cuts.tolist():
        part = _computed(features, _rows(frame, 0, cut + 1), cut + 1)
        for name in _changed(whole, cut, part, cut):
            changed.setdefault(name, []).append(cut)
    if not changed:
        text = (
            f"{len(whole.columns)} columns are the same at {len(cuts)} rows when all later rows are cut off."
        )
        return passed(OF_FEATURES, text)
    rows = [f"column {name!r} in row {cut}" for name, found in changed.items() for cut in found]
    names = ", ".join(repr(name) for name in list(changed)[:5])
    return failed(
        OF_FEATURES,
        f"The feature function looks ahead: {names} in a row changes when later rows are cut off. Use windows that end at the row, shift(1) and "
        "not shift(-1), fill forward, and scale by earlier rows.",
        rows,
        figures={name: len(found) for name, found in changed.items()},
    )


def check_history(frame: Any, features: Callable[[Any], Any], ends: IntArray | None = None) -> Finding:
    """Find columns of a feature function that change in the last row when the first half of the rows is cut off.

    That is no look-ahead: such a column (a running sum, an average over all rows so far) has other values in use, unless the
    whole history is given there, too.

    Parameters
    ----------
    frame, features, ends
        As in `check_features`.
    """
    n = len(frame)
    ends = np.arange(n) if ends is None else ends
    start = int(ends[np.searchsorted(ends, n // 2)]) + 1
    whole = _computed(features, frame, n)
    if start >= n:
        return not_run(OF_HISTORY, "There are too few rows to cut any off.", kind="hint")
    part = _computed(features, _rows(frame, start, n), n - start)
    changed = _changed(whole, n - 1, part, n - 1 - start)
    if not changed:
        return passed(OF_HISTORY, f"The last row is the same when the first {start:,} rows are cut off.", kind="hint")  # fmt: skip
    names = ", ".join(repr(name) for name in changed[:5])
    return failed(OF_HISTORY, f"{names} depend on rows very far back: give the same history in use.", [f"column {name!r}" for name in changed], kind="hint")  # fmt: skip


def _rows(frame: Any, start: int, stop: int) -> Any:
    return frame.iloc[start:stop].copy() if hasattr(frame, "iloc") else frame[start:stop]


def _computed(features: Callable[[Any], Any], frame: Any, n: int) -> pl.DataFrame:
    made = features(_rows(frame, 0, n))
    found = open_table(made).frame.to_polars()
    if len(found) != n:
        raise InputError(
            f"features must give as many rows as it is given, but gave {len(found)} for {n}: leave rows without a value empty"
        )
    return found


def _changed(whole: pl.DataFrame, row: int, part: pl.DataFrame, place: int) -> list[str]:
    """Columns of which the two rows differ."""
    found = []
    for name, column in zip(whole.columns, whole.iter_columns(), strict=True):
        size = float(column.std() or 0.0) if column.dtype.is_numeric() else 0.0  # type: ignore[arg-type]
        if name not in part.columns or not _equal(column[row], part[name][place], size):
            found.append(name)
    return found


def _equal(a: Any, b: Any, size: float) -> bool:
    if _missing(a) or _missing(b):
        return _missing(a) and _missing(b)
    if not (isinstance(a, int | float) and isinstance(b, int | float)):
        return bool(a == b)
    known = size if size == size else 0.0
    return a == b or bool(abs(a - b) <= _SAME * max(abs(a), abs(b), known))


def _missing(value: Any) -> bool:
    return value is None or value != value


def check_preparation(
    data: SeriesData, train: IntArray, recipe: Recipe, *, rng: np.random.Generator, n_cuts: int = 8
) -> Finding:
    """Find a row whose prepared inputs change when later rows are cut off: heldout's own preparation, held to the same rule.

    Parameters
    ----------
    data : SeriesData
        The series.
    train : array of int64
        Origins that the preparation is fitted on.
    recipe : Recipe
        Settled.
    rng : numpy Generator
        Draws the cuts.
    n_cuts : int, default 8
        How many.
    """
    check = "preparation with later rows cut off"
    assert recipe.lookback is not None
    lookback = recipe.lookback
    try:
        prepare = Prepare.fit(data, train, lookback, recipe)
        whole = prepare.apply(data, lookback)
    except InputError as error:
        return failed(check, f"A fit will stop here: {error}.", kind="fault")
    origins = data.origins(lookback)
    cuts = np.sort(rng.choice(origins, min(n_cuts, len(origins)), replace=False))
    bad = []
    for row in cuts.tolist():
        part, place = cut_after(data, row)
        made = prepare.apply(part, lookback)
        same = np.array_equal(made.inputs[place].numpy(), whole.inputs[row].numpy(), equal_nan=True)
        if not (same and np.array_equal(made.level[place].numpy(), whole.level[row].numpy(), equal_nan=True)):
            bad.append(row)
    if not bad:
        return passed(
            check, f"The prepared inputs of {len(cuts)} rows are the same when all later rows are cut off."
        )
    return failed(
        check,
        "Prepared inputs change when later rows are cut off: please report this as a bug.",
        places(data, np.array(bad)),
    )


def cut_after(data: SeriesData, row: int) -> tuple[SeriesData, int]:
    """Give the series without what is later than a row, and the place of that row in them.

    Parameters
    ----------
    data : SeriesData
        The series.
    row : int
        The last to keep; of other series, those not later.
    """
    kept = data.time <= data.time[row]
    counts = np.add.reduceat(kept.astype(np.int64), data.offsets[:-1])
    there = counts > 0
    part = replace(
        data,
        values=data.values[kept],
        time=data.time[kept],
        position=data.position[kept],
        offsets=np.concatenate([[0], np.cumsum(counts[there])]),
        ids=tuple(name for name, is_in in zip(data.ids, there, strict=True) if is_in),
        static=data.static[there] if data.static_names else data.static,
        test_start=None,
    )
    return part, int(kept[:row].sum())


def check_seen(
    data: SeriesData,
    trains: Sequence[IntArray],
    recipe: Recipe,
    choices: Sequence[Callable[[SeriesData], object]] = (),
) -> Finding:
    """Spoil every row after the last training label, and look whether anything that is learned changes.

    Scales, medians, bounds and transforms are fitted once on the table and once with these rows set to 100 and 200 times the largest
    value in turn: they must be equal to the last bit, and so must the prepared training rows.

    Parameters
    ----------
    data : SeriesData
        The series.
    trains : sequence of arrays of int64
        Origins that train, of the first fold and of others.
    recipe : Recipe
        Settled.
    choices : sequence of callable
        What else is decided on the rows of the first: each takes the series and must give equal answers.
    """
    check = "what the preparation saw"
    assert recipe.lookback is not None
    masks = [data.time > data.time[train + data.horizon].max() for train in trains]
    if not all(later.any() for later in masks):
        return not_run(check, "No row is later than the training samples, so there is nothing to spoil.")
    largest = np.nanmax(np.abs(data.values), axis=0, initial=1e-30, where=np.isfinite(data.values))
    bad: list[str] = []
    for number, (train, later) in enumerate(zip(trains, masks, strict=True)):
        values = data.values.copy()
        times = _POISON * (1 + np.arange(int(later.sum())) % 2)[:, None]
        values[later] = times * largest
        spoiled = replace(data, values=values)
        try:
            bad += _changes(data, spoiled, train, recipe)
        except InputError as error:
            return not_run(check, f"The rows cannot be prepared: {error}.")
        if not number:
            bad += [f"choice {n}" for n, choose in enumerate(choices, 1) if choose(data) != choose(spoiled)]
    counts = [int(seen_rows(data, train, recipe.lookback).sum()) for train in trains]
    text = f"fitted on {' and on '.join(f'{n:,}' for n in counts)} of {data.n_rows:,} rows, with all later rows set to {_POISON:g} times the largest value or more"
    if not bad:
        return passed(
            check,
            f"What is learned does not change: {text}.",
            figures={"seen": counts[0], "spoiled": int(masks[0].sum())},
        )
    return failed(check, f"What is learned reads rows after the training samples ({text}): please report this as a bug.", bad)  # fmt: skip


def _changes(data: SeriesData, spoiled: SeriesData, train: IntArray, recipe: Recipe) -> list[str]:
    """What is not the same with all else spoiled."""
    assert recipe.lookback is not None
    clean, other = (Prepare.fit(which, train, recipe.lookback, recipe) for which in (data, spoiled))
    if clean != other:
        return _differing(clean, other)
    windows = _windows(clean, data, train, recipe), _windows(other, spoiled, train, recipe)
    return [] if np.array_equal(*windows) else ["prepared training windows"]


def _differing(one: Prepare, other: Prepare) -> list[str]:
    first, second = one.to_dict(), other.to_dict()
    return [name for name, value in first.items() if value != second[name]]


def _windows(prepare: Prepare, data: SeriesData, rows: IntArray, recipe: Recipe) -> FloatArray:
    assert recipe.lookback is not None
    made = prepare.apply(data, recipe.lookback)
    return np.asarray(made.inputs.numpy()[seen_rows(data, rows, recipe.lookback)], np.float64)
