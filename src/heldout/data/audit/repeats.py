"""Rows that occur twice: the test of a series repeats stretches of the training rows."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from heldout.data.audit.finding import Finding, failed, not_run, passed, places
from heldout.data.series import FloatArray, IntArray, SeriesData

CHECK = "repeated stretches"
_LONG, _DISTINCT = 16, 10  # rows of a stretch, and different values in it
_SHARE = 0.01  # of the sealed rows
_CHANCE = 1e-3  # stretches that chance would repeat


def check_repeats(data: SeriesData, before_test: NDArray[np.bool_]) -> Finding:
    """Find stretches of the sealed rows whose target values stand, one by one, among the training rows, too.

    A stretch has 16 rows with 10 different values or more. It counts if such a stretch is not to be expected from how often values are equal at
    the same distance elsewhere: a series that repeats every day repeats in its test, too. 1 % of the sealed rows are a leak, fewer a hint.

    Parameters
    ----------
    data : SeriesData
        The series.
    before_test : array of shape (n_rows,), bool
        Rows before the first label of the sealed test.
    """
    target = data.values[:, data.columns.index(data.targets[0])]
    starts = _starts(data, target)
    if not len(starts):
        return not_run(
            CHECK, f"No stretch of {_LONG} rows has {_DISTINCT} different values: too few to tell copies by."
        )
    keys = _keys(target, starts)
    old = before_test[starts + _LONG - 1]
    new = ~before_test[starts]
    first = dict(zip(keys[old].tolist(), starts[old].tolist(), strict=True))
    found = [
        (row, first[key])
        for row, key in zip(starts[new].tolist(), keys[new].tolist(), strict=True)
        if key in first
    ]
    found = [(a, b) for a, b in found if np.array_equal(target[a : a + _LONG], target[b : b + _LONG])]
    found = _beyond_chance(data, target, found)
    if not found:
        return passed(CHECK, "No stretch of the sealed rows stands among the training rows.")
    rows = np.unique((np.array(found)[:, :1] + np.arange(_LONG)).ravel())
    share = len(rows) / max(1, int((~before_test).sum()))
    row, copy = found[0]
    where = [places(data, np.array([place]))[0] for place in (row, copy)]
    return failed(
        CHECK,
        f"{len(rows):,} sealed rows repeat training rows value by value, first {where[0]} those from {where[1]}: the test asks for what was "
        "learned. Remove the copies.",
        places(data, rows),
        n_rows=len(rows),
        kind="leak" if share >= _SHARE else "hint",
        figures={"share": share},
    )


def _starts(data: SeriesData, target: FloatArray) -> IntArray:
    """First rows of stretches with enough different values, within one series."""
    runs = [np.arange(a, b - _LONG + 1) for a, b in pairwise(data.offsets) if b - a >= _LONG]
    starts = np.concatenate(runs) if runs else np.zeros(0, np.int64)
    known = ~np.isnan(target)
    total = np.concatenate([[0], np.cumsum(known)])
    starts = starts[total[starts + _LONG] - total[starts] == _LONG]
    if not len(starts):
        return starts
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(target, _LONG)[starts], axis=1)
    return starts[(np.diff(windows, axis=1) > 0).sum(axis=1) + 1 >= _DISTINCT]


def _keys(target: FloatArray, starts: IntArray) -> NDArray[np.uint64]:
    """A number for each stretch, equal where the stretches are."""
    _, codes = np.unique(target, return_inverse=True)
    weights = np.random.default_rng(0).integers(1, 2**63, _LONG, dtype=np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(codes.astype(np.uint64) + np.uint64(1), _LONG)
    return np.asarray((windows[starts] * weights).sum(axis=1, dtype=np.uint64))


def _beyond_chance(data: SeriesData, target: FloatArray, found: list[tuple[int, int]]) -> list[tuple[int, int]]:  # fmt: skip
    """Those copies whose distance does not bring equal values anyhow, as in a series that repeats every day."""
    by_distance: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
    for row, copy in found:
        own, other = (int(data.series_of_row[place]) for place in (row, copy))
        by_distance.setdefault((own, other, row - copy), []).append((row, copy))
    kept = []
    for (own, other, distance), pairs in by_distance.items():
        first = max(int(data.offsets[own]), int(data.offsets[other]) + distance)
        last = min(int(data.offsets[own + 1]), int(data.offsets[other + 1]) + distance)
        rows = np.arange(first, last)
        rows = rows[~np.isin(rows, np.add.outer([row for row, _ in pairs], np.arange(_LONG)))]
        equal = float((target[rows] == target[rows - distance]).mean()) if len(rows) else 0.0
        # Equal values come in runs, so their share is taken twice; any two rows may be the first of a stretch.
        if data.n_rows**2 * min(1.0, 2 * equal) ** _LONG < _CHANCE:
            kept += pairs
    return kept
