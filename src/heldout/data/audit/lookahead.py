"""Columns that hold the target's future: what is new in a column is held against what the target does next.

Correlation with the target says little of series: of a price, every earlier price is correlated .99 with the next one. So a
column is first cleared of what its own past and the target's past say. What is left, its news, cannot be told by the
target's future unless the column knows it, drives it without noise, or the other way round.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr
from scipy.stats import rankdata

from heldout.data.audit.finding import Finding, failed, not_run, passed
from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.data.transforms import last_known

CHECK = "look-ahead in columns"
LEAK, HINT = 0.99, 0.8
"""Share of a column's news that the target's future explains, from which it is a leak, or worth a look."""
_NO_NEWS = 1e-10  # share of its variance from which a column says something that its past did not
_LEAST_ROWS = 30
_FEW_VALUES = 10
_JUMPS = 3  # rows, or one in fifty, without which it must hold, too
_APART = 0.995  # area under the ROC curve


@dataclass(frozen=True)
class Look:
    """How far and how much is read.

    Attributes
    ----------
    ahead : int
        Rows ahead that are looked at.
    n_rows : int
        Rows that are read at most.
    """

    ahead: int
    n_rows: int


def check_lookahead(data: SeriesData, *, quick: bool = False) -> Finding:
    """Find covariates whose news the target's future explains: shifted copies, centred windows, back-filled values.

    For each covariate x and target y, x at t is regressed on a constant, x and y up to t (x before t; y before t where x is
    known ahead), also a season ago, and then on y after t too. The share of the first residual variance (over its degrees of
    freedom) that the second regression takes away is `LEAK` or more for a leak, also without the rows of the largest news. Columns of few values are held against
    the changes of y by ranks, columns that stand still for runs of rows run by run.

    Parameters
    ----------
    data : SeriesData
        The series.
    quick : bool, default False
        Look at most 8 rows ahead on at most 3000 rows, instead of 48 on 20 000.

    Notes
    -----
    A FAIL does not prove a mistake: a process that follows a known input without noise looks the same. A PASS does not
    prove that there is none: a column that knows a part of the future among other things passes.
    """
    names = (*data.past, *data.future)
    if not names:
        return not_run(CHECK, "There are no covariates.")
    look = Look(8, 3000) if quick else Look(max(24, min(data.horizon, 48)), 20_000)
    found: dict[str, float] = {}
    for name in names:
        for target in data.targets:
            share = _share(data, name, target, look)
            if share is not None:
                found[name] = max(found.get(name, -1.0), share)
    if not found:
        return not_run(
            CHECK,
            f"There are fewer than {_LEAST_ROWS} rows without gaps, or too few for so many columns.",
        )
    return _judge(found, data)


def _judge(found: dict[str, float], data: SeriesData) -> Finding:
    figures = {name: round(share, 4) for name, share in found.items()}
    worst = max(found, key=lambda name: found[name])
    if found[worst] < HINT:
        text = f"Of what is new in a covariate, the target's future explains {100 * max(found[worst], 0):.0f} % at most ({worst!r})."
        return passed(CHECK, text, figures=figures)
    leaks = [name for name, share in found.items() if share >= LEAK]
    bad = sorted(leaks or [name for name, share in found.items() if share >= HINT], key=lambda n: -found[n])
    rows = [
        f"column {name!r}: {100 * found[name]:.1f} % of its news is the future of the target" for name in bad
    ]
    ahead = [name for name in bad if name in data.future]
    way_out = (
        f"{ahead[0]!r} is named as known ahead: is it really known before the target?"
        if ahead
        else "check how it was made (shift(-1), a centred window, bfill, a mean over the period, an early time stamp), or leave it "
        "out with --ignore."
    )
    held = (
        "holds what the target does later" if leaks else "comes close to holding what the target does later"
    )
    return failed(CHECK, f"Column {bad[0]!r} {held}: {way_out}", rows, kind="leak" if leaks else "hint", figures=figures)  # fmt: skip


def _share(data: SeriesData, name: str, target: str, look: Look) -> float | None:
    """The largest of the three shares, None where there is nothing to look at."""
    x = data.values[:, data.columns.index(name)]
    y = last_known(data, target)
    known_ahead = name in data.future
    distinct = len(np.unique(x[~np.isnan(x)]))
    if distinct < 2:
        return None
    shares = [_news(data, x, y, look, known_ahead=known_ahead), _held(data, x, y)]
    if distinct <= _FEW_VALUES or np.isnan(x).any():
        shares.append(_apart(data, x, y, look))
    known = [share for share in shares if share is not None]
    return max(known) if known else None


def _seasons(data: SeriesData, longest: int) -> list[int]:
    """Lags at which a season may repeat."""
    seasons = {data.frequency.season, *((24, 168) if data.frequency.name == "hour" else ())}
    return [s for s in sorted(seasons) if longest < s <= len(data.values) // (8 * len(data.ids))]


def _news(data: SeriesData, x: FloatArray, y: FloatArray, look: Look, *, known_ahead: bool) -> float | None:
    """How much of a column's news is told by the target's future, by two regressions."""
    ahead = max(1, min(look.ahead, int(np.diff(data.offsets).max()) // 20))
    lags = range(1, ahead + 3)
    past = [*lags, *(s + d for s in _seasons(data, ahead + 3) for d in (-1, 0, 1))]
    first = 0 if known_ahead else 1
    rows = _inside(data, max(past), ahead)
    if len(rows) > look.n_rows:
        rows = rows[np.linspace(0, len(rows) - 1, look.n_rows).astype(np.int64)]
    shifts = [*(-lag for lag in past), *([] if known_ahead else [0])]
    table = np.stack(
        [x[rows]]
        + [x[rows - lag] for lag in past]
        + [y[rows + s] for s in shifts]
        + [y[rows + s] for s in range(first, ahead + 1)],
        axis=1,
    )
    table = table[np.isfinite(table).all(axis=1)]
    return steady(table, 1 + len(past) + len(shifts))


def steady(table: FloatArray, n_known: int) -> float | None:
    """Give the share of `explained`, or that without the largest news where it is less: one jump in both columns is no rule.

    Parameters
    ----------
    table, n_known
        As in `explained`.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(200, 3))
    >>> noise[150, [0, 2]] += 1e4
    >>> explained(noise, 2) > 0.99, steady(noise, 2) < 0.1
    (True, True)
    """
    share, news = _told(table, n_known)
    if share is None or share < HINT:
        return share
    kept = np.argsort(np.abs(news))[: -max(_JUMPS, len(news) // 50)]
    without, _ = _told(table[kept], n_known)
    return share if without is None else min(share, without)


def explained(table: FloatArray, n_known: int) -> float | None:
    """Give the share of a column's residual variance that further columns take away, over the degrees of freedom.

    Parameters
    ----------
    table : array of shape (n, 1 + n_columns)
        The column, the known columns, the further ones.
    n_known : int
        The place of the first further column.

    Returns
    -------
    float or None
        At most 1; 0 where the known columns already tell the column; None where there are too few rows.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> known, later = rng.normal(size=(2, 200))
    >>> round(explained(np.stack([known + 2 * later, known, later], axis=1), 2), 6)
    1.0
    """
    return _told(table, n_known)[0]


def _told(table: FloatArray, n_known: int) -> tuple[float | None, FloatArray]:
    """The share, and the news that it is a share of."""
    n, width = table.shape
    if n < max(_LEAST_ROWS, 3 * width):
        return None, np.zeros(0)
    table = table - table.mean(axis=0)
    size = np.sqrt((table**2).mean(axis=0))
    table = table / np.where(size > 0, size, 1.0)
    known, later = table[:, 1:n_known], table[:, n_known:]
    basis = _basis(known)
    news, later = (part - basis @ (basis.T @ part) for part in (table[:, :1], later))
    rest = float((news**2).sum())
    if rest <= _NO_NEWS * float((table[:, 0] ** 2).sum()):
        return 0.0, news[:, 0]
    more = _basis(later)
    left = float(((news - more @ (more.T @ news)) ** 2).sum())
    df = n - 1 - basis.shape[1]
    return 1 - (left / (df - more.shape[1])) / (rest / df), news[:, 0]


def _basis(columns: FloatArray) -> FloatArray:
    """Orthonormal columns of the same span; directions that are rounding alone are left out."""
    basis, triangle, _ = qr(columns, mode="economic", pivoting=True)
    size = np.abs(np.diag(triangle))
    return np.asarray(basis[:, size > 1e-9 * np.sqrt(len(columns))])


def _held(data: SeriesData, x: FloatArray, y: FloatArray) -> float | None:
    """The same for a column that stands still for runs of rows, whose value may be the target's at the end of the run, or its mean."""
    still = np.concatenate([[False], np.diff(x) == 0]) & (np.arange(len(x)) != _first(data))
    if still.mean() < 0.3:
        return None
    starts = np.flatnonzero(~still)
    ends = np.append(starts[1:], len(x)) - 1
    longer = np.flatnonzero((ends > starts) & (data.series_of_row[starts] == data.series_of_row[ends]))
    longer = longer[(longer > 2)]
    longer = longer[ends[longer] + 1 < len(x)]
    same = data.series_of_row[starts[longer - 3]] == data.series_of_row[ends[longer] + 1]
    longer = longer[same]
    if len(longer) < _LEAST_ROWS:
        return None
    s, e, total = starts[longer], ends[longer], np.concatenate([[0.0], np.cumsum(y - np.nanmean(y))])
    mean = (total[e + 1] - total[s]) / (e + 1 - s)
    before = (total[s] - total[starts[longer - 1]]) / (s - starts[longer - 1])
    columns = [
        x[s], x[s - 1], x[starts[longer - 2]], y[s], y[s - 1], y[starts[longer - 1]], before,
        y[e], y[e + 1], mean,
    ]  # fmt: skip
    table = np.stack(columns, axis=1)
    return steady(table[np.isfinite(table).all(axis=1)], 7)


def _apart(data: SeriesData, x: FloatArray, y: FloatArray, look: Look) -> float | None:
    """How well a column of few values, or where it is missing, tells the sign or size of what the target does next.

    Given as a share: `LEAK` where the two ranges do not meet although the target's past does not tell them apart.
    """
    missing = np.isnan(x)
    if not missing.any() and len(np.unique(x)) > 2:
        return None
    rows = _inside(data, 3, look.ahead)
    mark = np.asarray(missing if missing.any() else x > x.min())[rows]
    if min(mark.sum(), (~mark).sum()) < _LEAST_ROWS:
        return None
    before = [y[rows], y[rows] - y[rows - 1], y[rows - 1] - y[rows - 2]]
    after = [z for k in range(1, min(look.ahead, 8) + 1) for z in (y[rows + k], y[rows + k] - y[rows])]
    known = max(_area(z, mark) for z in before)
    told = max(_area(z, mark) for z in after)
    if told < _APART or known > 0.9:
        return 0.0
    return float(min(1.0, LEAK + (told - _APART) / (1 - _APART) * (1 - LEAK)))


def _area(z: FloatArray, mark: NDArray[np.bool_]) -> float:
    """Area under the ROC curve, either way round."""
    n, m = int(mark.sum()), int((~mark).sum())
    area = (rankdata(z)[mark].sum() - n * (n + 1) / 2) / (n * m)
    return float(max(area, 1 - area))


def _first(data: SeriesData) -> IntArray:
    return data.offsets[data.series_of_row]


def _inside(data: SeriesData, back: int, ahead: int) -> IntArray:
    """Rows with so many rows of their series on either side."""
    rows = np.arange(data.n_rows)
    own = data.series_of_row
    return rows[(rows - back >= data.offsets[own]) & (rows + ahead < data.offsets[own + 1])]
