"""Columns made fit to be learned from: gaps filled, and a transform chosen on training rows."""

import warnings
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from statsmodels.tsa.stattools import adfuller

from heldout.check import InputError, check_choice
from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.recipe import Recipe

TRANSFORMS = ("none", "difference", "log", "log_return")
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_NAMES = {
    (False, False): "none",
    (True, False): "log",
    (False, True): "difference",
    (True, True): "log_return",
}  # by whether a logarithm and whether a difference is taken
_TEST_SERIES, _FEW_ROWS = 25, 30
_TEST_ROWS = 2000  # most recent training rows that the unit-root test reads

WITHOUT_LOG = {"log": "none", "log_return": "difference"}
"""What is taken where a logarithm cannot be."""


def is_log(transform: str) -> bool:
    """Whether the target is scored as a logarithm."""
    return transform in ("log", "log_return")


def is_differenced(transform: str) -> bool:
    """Whether the inputs are changes from row to row."""
    return transform in ("difference", "log_return")


def fill_forward(values: FloatArray, segments: IntArray, limit: int, otherwise: float) -> FloatArray:
    """Replace missing values by the last one seen, at most ``limit`` rows on, never from another segment.

    Parameters
    ----------
    values : array of shape (n_rows,)
        NaN where missing.
    segments : array of shape (n_segments + 1,), int64
        Boundaries that are not filled across.
    limit : int
        Rows.
    otherwise : float
        What stands where nothing recent enough was seen.

    Returns
    -------
    array of shape (n_rows,)

    Examples
    --------
    >>> import numpy as np
    >>> fill_forward(np.array([1, np.nan, np.nan, 4]), np.array([0, 4]), 1, 9.0)
    array([1., 1., 9., 4.])
    """
    missing = np.isnan(values)
    if not missing.any():
        return values.copy()
    place = np.arange(len(values))
    last = np.maximum.accumulate(np.where(missing, -1, place))
    first = np.repeat(segments[:-1], np.diff(segments))
    usable = (last >= first) & (place - last <= limit)
    return np.where(usable, values[last], otherwise)


def last_known(data: SeriesData, name: str, *, before: float | None = None) -> FloatArray:
    """Give a column with every gap filled by the last value known in its series, however old.

    Parameters
    ----------
    data : SeriesData
        The series.
    name : str
        The column.
    before : float, optional
        What stands in the rows before a series' first known value; by default that value. For a target nobody sees it
        early, because no origin lies before a known target (`SeriesData.origins`).

    Returns
    -------
    array of shape (n_rows,)
    """
    filled = fill_forward(data.values[:, data.columns.index(name)], data.offsets, data.n_rows, np.nan)
    for start, stop in pairwise(data.offsets):
        own = filled[start:stop]
        unknown = np.isnan(own)
        if unknown.any():
            first = 0.0 if unknown.all() else own[~unknown][0]
            own[unknown] = first if before is None else before
    return filled


def choose_transforms(
    data: SeriesData, rows: IntArray, lookback: int, transform: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Decide what is done to each input column first.

    With ``transform="auto"`` each target and past covariate is tested on its training rows (in a panel: those of up to 25
    long series, evenly picked, and most of these decide): a logarithm if all are positive and the spread of changes grows with the level (Tukey's
    spread-against-level slope above 1/2), differences if an augmented Dickey-Fuller test does not reject a unit root
    at 5 %. Future covariates are left as they are.

    Parameters
    ----------
    data, rows, lookback
        As in `Prepare.fit`.
    transform : {"auto", "none", "difference", "log", "log_return"}
        What the recipe says. Anything but "auto" holds for the targets; past covariates still follow their tests, but
        where the targets take no logarithm they take none.

    Returns
    -------
    transforms : tuple of str
        For targets, past and future covariates.
    reasons : tuple of str
        One sentence per target.

    References
    ----------
    Dickey & Fuller (1979), JASA 74; Tukey (1977), Exploratory Data Analysis, ch. 4.
    """
    check_choice("transform", transform, ("auto", *TRANSFORMS))
    chosen, reasons = [], []
    seen = seen_rows(data, rows, lookback)
    for number, name in enumerate((*data.targets, *data.past)):
        known = seen & ~np.isnan(data.values[:, data.columns.index(name)])
        found, why = _test_panel(data, name, known)
        if number < len(data.targets):
            found, why = (found, why) if transform == "auto" else (transform, "asked for")
            reasons.append(f"{name}: {found} ({why})")
        elif transform in ("none", "difference"):
            found = WITHOUT_LOG.get(found, found)
        chosen.append(found)
    return (*chosen, *("none" for _ in data.future)), tuple(reasons)


def choose_window_norm(recipe: Recipe, transforms: tuple[str, ...], lookback: int) -> str:
    """Give how each window is normalised: what the recipe says, or what "auto" means for these transforms of the targets."""
    if recipe.window_norm != "auto":
        return recipe.window_norm
    if all(is_differenced(name) for name in transforms):
        return "none"
    if recipe.scale_by == "series" and lookback > 1:
        return "standard"  # unlike series also differ in how their level and spread wander
    # A shortcut sees the level and its LSTM does not: nothing needs to be subtracted from the targets.
    return "none" if recipe.shortcut != "none" else "last"


def _test_panel(data: SeriesData, name: str, known: NDArray[np.bool_]) -> tuple[str, str]:
    """What most of up to 25 series of a column ask for; a logarithm only where all their values have one."""
    counts = np.add.reduceat(known.astype(np.int64), data.offsets[:-1])
    long = np.flatnonzero(counts >= counts.max() / 2)
    asked = long[np.linspace(0, len(long) - 1, min(len(long), _TEST_SERIES)).round().astype(np.int64)]
    values = data.values[:, data.columns.index(name)]
    parts = [
        values[a:b][known[a:b]] for a, b in zip(data.offsets[asked], data.offsets[asked + 1], strict=True)
    ]
    found = [_test_column(part) for part in parts if len(part) >= _FEW_ROWS]
    if len(found) < 2:
        return _test_column(max(parts, key=len))
    logs = sum(is_log(transform) for transform, _ in found)
    roots = sum(is_differenced(transform) for transform, _ in found)
    log = 2 * logs > len(found) and bool((values[known] > 0).all())
    why = f"of {len(found)} series the spread grows with the level in {logs}, a unit root is not rejected in {roots}"
    return _NAMES[log, 2 * roots > len(found)], why


def _test_column(values: FloatArray) -> tuple[str, str]:
    if len(values) < _FEW_ROWS or np.ptp(values) == 0:
        return "none", "too few or constant values to test"
    slope = _spread_level_slope(values) if values.min() > 0 else 0.0
    log = slope > 0.5
    recent = np.log(values[-_TEST_ROWS:]) if log else values[-_TEST_ROWS:]
    if np.ptp(recent) == 0:
        return "none", "constant in the recent training rows"
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # a series without noise makes the test singular: no unit root is found then
        p = float(adfuller(recent, maxlag=min(12, len(recent) // 4), autolag=None, result_object=True).pvalue)
    spread = f"spread grows with level, slope {slope:.2f}" if log else "spread does not grow with level"
    root = f"unit root not rejected, p = {p:.2f}" if p > 0.05 else f"unit root rejected, p = {p:.2g}"
    return _NAMES[log, p > 0.05], f"{spread}; {root}"


def _spread_level_slope(values: FloatArray) -> float:
    """Slope of log(sd of changes) on log(mean) over ten blocks: 1 where changes are proportional to the level."""
    blocks = np.array_split(values, 10)
    level = np.array([block.mean() for block in blocks])
    spread = np.array([np.diff(block).std() for block in blocks])
    keep = spread > 0
    if keep.sum() < 5 or level[keep].max() < 1.5 * level[keep].min():
        return 0.0  # the level hardly moves: nothing to learn about its effect
    return float(np.polyfit(np.log(level[keep]), np.log(spread[keep]), 1)[0])


def seen_rows(data: SeriesData, rows: IntArray, lookback: int) -> NDArray[np.bool_]:
    """Rows that training samples can see, inputs and labels, as a mask."""
    if not len(rows):
        raise InputError("there are no training rows: shorten lookback or horizon, or give more data")
    edges = np.zeros(data.n_rows + 1, np.int64)
    np.add.at(edges, rows - lookback + 1, 1)
    np.add.at(edges, rows + data.horizon + 1, -1)
    return edges.cumsum()[:-1] > 0


def check_positive(x: FloatArray, name: str) -> None:
    """Raise `InputError`, with the first offending row, unless all values of a column can have a logarithm."""
    bad = np.flatnonzero(x <= 0)
    if len(bad):
        raise InputError(
            f"a logarithm needs positive values, column {name!r} holds {x[bad[0]]:g} in row {bad[0]}: set transform to 'none' or 'difference'"
        )


def robust_bounds(x: FloatArray, times: float) -> tuple[float, float]:
    """Median -+ ``times`` robust sds (MAD x 1.4826); no bounds where half of the values are equal."""
    median = float(np.median(x))
    sd = 1.4826 * float(np.median(np.abs(x - median)))
    if times == 0 or sd == 0:
        return -_FLOAT32_MAX, _FLOAT32_MAX
    return median - times * sd, median + times * sd


def center_width(x: FloatArray, scaling: str) -> tuple[float, float]:
    """Centre and width of some values; width 0 if they do not vary."""
    if scaling == "robust":
        low, center, high = np.quantile(x, [0.25, 0.5, 0.75])
        width = (high - low) / 1.349
    else:
        center, width = x.mean(), x.std()
    return float(center), float(width) if width > 1e-12 * np.abs(x).max() else 0.0
