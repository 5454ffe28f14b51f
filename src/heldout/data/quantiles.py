"""Means, widths and quantiles of columns that are seen a part at a time, in memory that does not grow with them."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from heldout.data.series import FloatArray

Parts = Callable[[], Iterator[FloatArray]]
"""Gives all rows, (n, C) at a time, and may be called again."""

_BINS = 2**16


def streamed_quantiles(parts: Parts, levels: Sequence[float]) -> FloatArray:
    """Give quantiles of each column, NaN left out: those of ``numpy.quantile``, to the precision of float32.

    Distances from the column's mean in the first part are rounded to float32, and counted by the upper half of their bits; those
    that share it with a wanted one then by the lower half: two passes, and 512 KiB for each column and wanted value.

    Parameters
    ----------
    parts : callable
        Gives the rows; called three times, the last two to the end.
    levels : sequence of float
        In [0, 1].

    Returns
    -------
    array of shape (n_levels, C)
        NaN where a column holds nothing.

    Examples
    --------
    >>> values = np.array([[4.0, 1.0], [2.0, np.nan], [9.0, 5.0]])
    >>> streamed_quantiles(lambda: iter([values[:1], values[1:]]), [0.5])
    array([[4., 3.]])
    """
    first = next(parts())
    known = np.maximum((~np.isnan(first)).sum(axis=0), 1)
    anchor = np.nan_to_num(first).sum(axis=0) / known
    anchor = np.where(np.isfinite(anchor), anchor, 0.0)  # a sum may be beyond what is finite
    high = _counted(parts, anchor)
    wanted = [_ranks(int(counts.sum()), levels) for counts in high]
    starts = [np.cumsum(counts) - counts for counts in high]
    bins = [
        {rank: int(np.searchsorted(start, rank, side="right")) - 1 for rank in ranks}
        for start, ranks in zip(starts, wanted, strict=True)
    ]
    low = {
        (column, upper): np.zeros(_BINS, np.int64)
        for column, own in enumerate(bins)
        for upper in own.values()
    }
    for values in parts():
        keys = _keys(values - anchor)
        for column, upper in low:
            own = keys[:, column][(keys[:, column] >> 16 == upper) & ~np.isnan(values[:, column])]
            low[column, upper] += np.bincount(own & (_BINS - 1), minlength=_BINS)
    found = np.full((len(levels), len(high)), np.nan)
    for column, own in enumerate(bins):
        n = int(high[column].sum())
        if not n:
            continue
        value = {}
        for rank, upper in own.items():
            lower = np.cumsum(low[column, upper])
            place = int(np.searchsorted(lower, rank - starts[column][upper], side="right"))
            value[rank] = anchor[column] + _value(upper << 16 | place)
        for number, level in enumerate(levels):
            before = int((n - 1) * level)
            share = (n - 1) * level - before
            found[number, column] = value[before] + share * (value[min(before + 1, n - 1)] - value[before])
    return found


def streamed_moments(parts: Parts) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Give the mean, standard deviation and greatest absolute value of each column, (C,) each; no value may be NaN.

    Parameters
    ----------
    parts : callable
        Gives the rows; called once.

    References
    ----------
    Chan, Golub & LeVeque 1983, The American Statistician 37: how the moments of parts are joined.

    Examples
    --------
    >>> values = np.array([[1.0], [2.0], [6.0]])
    >>> [float(x[0]) for x in streamed_moments(lambda: iter([values[:2], values[2:]]))]
    [3.0, 2.160246899469287, 6.0]
    """
    n, mean, squares, most = 0, np.zeros(()), np.zeros(()), np.zeros(())
    for values in parts():
        own = values.mean(axis=0)
        shift, total = own - mean, n + len(values)
        squares = squares + values.var(axis=0) * len(values) + shift**2 * (n * len(values) / total)
        mean, n = mean + shift * (len(values) / total), total
        most = np.maximum(most, np.abs(values).max(axis=0))
    return mean, np.sqrt(squares / n), most


def _counted(parts: Parts, anchor: FloatArray) -> list[NDArray[np.int64]]:
    """How often each upper half of bits occurs in each column."""
    found: list[NDArray[np.int64]] = []
    for values in parts():
        keys = _keys(values - anchor) >> 16
        found = found or [np.zeros(_BINS, np.int64) for _ in range(values.shape[1])]
        for column in range(values.shape[1]):
            known = ~np.isnan(values[:, column])
            found[column] += np.bincount(keys[:, column][known], minlength=_BINS)
    return found


def _ranks(n: int, levels: Sequence[float]) -> set[int]:
    before = {int((n - 1) * level) for level in levels} if n else set()
    return before | {min(rank + 1, n - 1) for rank in before}


def _keys(values: FloatArray) -> NDArray[np.int64]:
    """Whole numbers that stand in the order of the values, as float32."""
    bits = values.astype(np.float32).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(2**31)).astype(np.int64)


def _value(key: int) -> float:
    bits = key ^ 2**31 if key >> 31 else key ^ (2**32 - 1)
    return float(np.array(bits, np.uint32).view(np.float32))
