"""Marks that a table was worked on as a whole, its test rows with it: scaled, filled in between, summed up per series."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from heldout.data.audit.finding import Finding, failed, not_run, passed, places
from heldout.data.series import FloatArray, SeriesData

_CLOSE = 1e-6
_FEW = 30  # rows, and different values, of a column that is looked at
_RAMP = 4  # equal steps in a row
_STATISTICS: dict[str, Callable[[FloatArray], float]] = {
    "mean": np.mean,
    "median": np.median,
    "standard deviation": np.std,
    "minimum": np.min,
    "maximum": np.max,
    "sum": np.sum,
}


def check_scaling(data: SeriesData, before_test: NDArray[np.bool_]) -> Finding:
    """Find columns that were centred and scaled with the test rows among the rows that gave mean and width.

    A column fails if over all rows (or in every series by itself) its mean is 0 and its standard deviation 1, or its least value 0 and its
    greatest 1, both to about 1e-6, and the rows before the test do not have the same property. That happens by chance in less than one
    column of 100 000; a scaler fitted on all rows leaves it always.

    Parameters
    ----------
    data : SeriesData
        The series.
    before_test : array of shape (n_rows,), bool
        Rows before the first label of the sealed test.
    """
    check = "scaled beforehand"
    if before_test.all() or before_test.sum() < _FEW:
        return not_run(check, "There are too few rows before the test, or none after.")
    bad = []
    for number, name in enumerate(data.columns):
        how = _scaled(data, data.values[:, number], before_test)
        if how:
            bad.append(f"column {name!r}: {how}")
    if not bad:
        return passed(check, "No column has the mean and width that a scaler fitted on all rows leaves.")
    return failed(
        check,
        f"{len(bad)} of {len(data.columns)} columns were scaled with the test rows among the rows that set the scale: give the raw values, "
        "heldout scales by training rows.",
        bad,
    )


def _scaled(data: SeriesData, x: FloatArray, before_test: NDArray[np.bool_]) -> str:
    known = ~np.isnan(x)
    if len(np.unique(x[known])) < _FEW:
        return ""
    for where, blocks in (("over all rows", [slice(None)]), ("in every series", _series(data))):
        parts = [(x[block][known[block]], x[block][(known & before_test)[block]]) for block in blocks]
        parts = [(whole, first) for whole, first in parts if len(first) >= 2 and len(whole) >= _FEW]
        if not parts:
            continue
        for says, test in (("mean 0 and standard deviation 1", _standard), ("least value 0 and greatest 1", _unit)):  # fmt: skip
            if all(test(whole) for whole, _ in parts) and not all(test(first) for _, first in parts):
                return f"{says} {where}"
    return ""


def _series(data: SeriesData) -> list[slice]:
    return [slice(a, b) for a, b in pairwise(data.offsets.tolist())] if len(data.ids) > 1 else []


def _standard(x: FloatArray) -> bool:
    quantum = _quantum(x)
    if quantum > 1e-3:  # too coarse to tell a scaler from chance
        return False
    close = _CLOSE + 6 * quantum / np.sqrt(12 * len(x))
    return abs(x.mean()) < close and min(abs(x.std() - 1), abs(x.std(ddof=1) - 1)) < close


def _unit(x: FloatArray) -> bool:
    # A share that reaches 0 and 1 does so more than once, or in round numbers.
    if abs(x.min()) > _CLOSE or abs(x.max() - 1) > _CLOSE:
        return False
    return bool((x < _CLOSE).sum() == 1 and (x > 1 - _CLOSE).sum() == 1 and _quantum(x) < 1e-3)


def _quantum(x: FloatArray) -> float:
    """The last decimal that is used, 0 where all are."""
    some = x[:: max(1, len(x) // 200)]
    return next((10.0**-d for d in range(9) if np.allclose(some * 10**d, np.round(some * 10**d), rtol=0, atol=1e-6)), 0.0)  # fmt: skip


def check_static(data: SeriesData, before_test: NDArray[np.bool_]) -> Finding:
    """Find static columns that are a statistic of the target over all its rows, those of the test among them.

    Parameters
    ----------
    data : SeriesData
        The series.
    before_test : array of shape (n_rows,), bool
        Rows before the first label of the sealed test.
    """
    check = "target in static columns"
    if not data.static_names or len(data.ids) < 3:
        return not_run(check, "There are no static columns, or fewer than three series.")
    bad = []
    for target in data.targets:
        y = data.values[:, data.columns.index(target)]
        for name, values in zip(data.static_names, data.static.T, strict=True):
            for says, statistic in _STATISTICS.items():
                if np.ptp(values) > 0 and _is_of_all(data, y, values, statistic, before_test):
                    bad.append(f"column {name!r} is the {says} of {target!r} over all rows of each series")
    if not bad:
        return passed(check, "No static column is a statistic of a target over rows of the test.")
    return failed(check, f"{bad[0]}, the test among them: compute it from earlier rows, or leave the column out.", bad)  # fmt: skip


def _is_of_all(
    data: SeriesData,
    y: FloatArray,
    values: FloatArray,
    statistic: Callable[[FloatArray], float],
    before_test: NDArray[np.bool_],
) -> bool:
    whole, first = [], []
    for block in _series(data):
        known = ~np.isnan(y[block])
        if not (known & before_test[block]).any():
            return False
        whole.append(statistic(y[block][known]))
        first.append(statistic(y[block][known & before_test[block]]))
    return np.allclose(whole, values, rtol=1e-6, atol=0) and not np.allclose(first, values, rtol=1e-6, atol=0)


def check_ramps(data: SeriesData) -> Finding:
    """Find columns in which straight lines stand among values that wander: filled in between known ones.

    A row of `_RAMP` or more equal steps (not 0), in a column where at most one step in ten is part of one, of
    values that need more decimals than the others. Whoever reads a row in such a gap knows the value after it.

    Parameters
    ----------
    data : SeriesData
        The series.
    """
    check = "values filled in between"
    bad, rows = {}, []
    for number, name in enumerate(data.columns):
        found = np.concatenate([a + _ramps(data.values[a:b, number]) for a, b in pairwise(data.offsets)])
        if len(found):
            bad[name] = len(found)
            rows.append(found)
    if not bad:
        return passed(check, "No column has straight lines among values of fewer decimals.", kind="hint")
    first = np.unique(np.concatenate(rows))
    return failed(
        check,
        f"Column {next(iter(bad))!r} looks as if gaps in it were filled by a straight line to the next known value, which is not known yet: give "
        "the gaps as they are, with missing = 'fill'.",
        places(data, first),
        kind="hint",
        n_rows=len(first),
        figures=bad,
    )


def _ramps(x: FloatArray) -> NDArray[np.int64]:
    if np.isfinite(x).sum() < _FEW:
        return np.zeros(0, np.int64)
    step, size = np.diff(x), float(np.nanstd(x))
    even = (np.abs(np.diff(step)) <= 1e-9 * max(size, 1e-300)) & (np.abs(step[1:]) > 1e-6 * size)
    run = np.zeros(len(x), bool)
    for start in np.flatnonzero(np.convolve(even, np.ones(_RAMP - 1), "valid") == _RAMP - 1):
        run[start + 1 : start + _RAMP] = True
    usual = x[~run & np.isfinite(x)]
    if not run.any() or run.mean() > 0.1 or len(usual) < _FEW:
        return np.zeros(0, np.int64)
    if _quantum(usual) and _quantum(x[run]) < _quantum(usual):
        return np.flatnonzero(run)
    return np.zeros(0, np.int64)
