"""What a recipe leaves open, decided from the data (window, segments, transform), and what it asks of each batch."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from heldout.augment.series import SeriesAugmentation
from heldout.base_recipe import BaseRecipe
from heldout.check import InputError
from heldout.data.series import IntArray, SeriesData
from heldout.data.transforms import choose_transforms, choose_window_norm, is_log, seen_rows
from heldout.recipe import Recipe
from heldout.text_recipe import TextRecipe

_LONG_WINDOW = 28  # longer windows are cut into about 12 segments
_STEPS = 12
_UNLIKE = 3.0  # times that spreads or levels must differ for series to be scaled one by one


def settle_transform(recipe: Recipe, data: SeriesData, rows: IntArray) -> tuple[Recipe, tuple[str, ...]]:
    """Replace ``transform="auto"`` by what these training rows say; with several targets, by what most of them say.

    Parameters
    ----------
    recipe : Recipe
        Settled.
    data : SeriesData
        The series.
    rows : array of int64
        Origins of the training samples of the earliest fold.

    Returns
    -------
    recipe : Recipe
    reasons : tuple of str
        One sentence per target.
    """
    assert recipe.lookback is not None
    transforms, reasons = choose_transforms(data, rows, recipe.lookback, recipe.transform)
    votes = transforms[: len(data.targets)]
    return replace(recipe, transform=max(votes, key=votes.count)), reasons


def settle(recipe: Recipe, data: SeriesData) -> Recipe:
    """Fill what a recipe leaves to the data (lookback, segment) and to its dial.

    The window holds two seasons, four horizons and 60 rows, whichever is longest, but no more than a sixth of the
    longest series. Windows of more than 28 rows are cut into about 12 segments of equal length.

    Parameters
    ----------
    recipe : Recipe
        As the user gave it.
    data : SeriesData
        The series.

    Returns
    -------
    Recipe
        Without None in ``lookback``, ``segment`` and the rates.

    Raises
    ------
    InputError
        If the recipe does not fit series.

    Examples
    --------
    >>> import polars as pl
    >>> from heldout.data.layout import read_series
    >>> data = read_series(pl.DataFrame({"y": np.arange(400.0) % 7}), target="y", horizon=20)
    >>> settled = settle(Recipe(), data)
    >>> settled.lookback, settled.segment, settled.output_dropout
    (66, 6, 0.3)
    """
    season = data.frequency.season
    longest = int(np.diff(data.segment_offsets).max())
    lookback = recipe.lookback or max(2, min(max(2 * season, 4 * data.horizon, 60), longest // 6))
    segment = recipe.segment
    if segment is None:
        segment = choose_segment(lookback)
    if segment > lookback:
        raise InputError(
            f"a segment of {segment} rows is longer than the window of {lookback}: shorten it, or set lookback"
        )
    if recipe.window_norm == "standard" and lookback < 2:
        raise InputError("window_norm='standard' needs a window of 2 rows or more, got lookback 1")
    if recipe.loss == "cross_entropy":
        raise InputError(
            "loss='cross_entropy' is for classes, a series has numbers: choose squared, absolute, huber or quantile"
        )
    augmentation_of(recipe).check_forecast(standardised=recipe.window_norm == "standard")
    return replace(recipe.resolved(), lookback=lookback, segment=segment)


def augmentation_of(recipe: BaseRecipe) -> SeriesAugmentation:
    """Give how the batches of a fit are changed; of the options that texts have, it is mixup alone.

    Parameters
    ----------
    recipe : Recipe or TextRecipe
        ``jitter`` to ``mixup``.

    Examples
    --------
    >>> augmentation_of(Recipe(random_scaling=0.1)).scaling
    0.1
    """
    if isinstance(recipe, Recipe):
        return SeriesAugmentation(
            jitter=recipe.jitter,
            scaling=recipe.random_scaling,
            magnitude_warp=recipe.magnitude_warp,
            time_warp=recipe.time_warp,
            window_slice=recipe.window_slice,
            mixup=recipe.mixup,
        )
    return SeriesAugmentation(mixup=recipe.mixup if isinstance(recipe, TextRecipe) else 0.0)


def choose_segment(lookback: int) -> int:
    """Give the rows per segment of a window: 1 up to 28 rows, else the divisor nearest to a twelfth that gives 8 to 16 segments.

    Parameters
    ----------
    lookback : int
        Rows in the window. Where no divisor will do, it is a twelfth, rounded up.

    Examples
    --------
    >>> choose_segment(28), choose_segment(150), choose_segment(31)
    (1, 10, 3)
    """
    if lookback <= _LONG_WINDOW:
        return 1
    near = [d for d in range(1, lookback + 1) if lookback % d == 0 and 8 <= lookback // d <= 16]
    return min(near, key=lambda d: abs(d - lookback / _STEPS)) if near else -(-lookback // _STEPS)


def settle_scale(recipe: Recipe, data: SeriesData, rows: IntArray) -> tuple[Recipe, str | None]:
    """Replace ``scale_by="auto"`` by what these training rows say.

    Each series is scaled by itself if there are several, and in the middle four fifths of those with training rows the
    largest standard deviation is over 3 times the smallest, or the means spread over more than 3 times the median one.

    Parameters
    ----------
    recipe : Recipe
        Its transform chosen.
    data : SeriesData
        The series.
    rows : array of int64
        Origins of training samples.

    Returns
    -------
    recipe : Recipe
    reason : str or None
        One sentence; None where there was nothing to decide.

    Raises
    ------
    InputError
        If the recipe asks for ``random_scaling`` and windows turn out to be standardised.

    Examples
    --------
    >>> import polars as pl
    >>> from heldout.data.layout import read_series
    >>> table = pl.DataFrame({"id": ["a"] * 50 + ["b"] * 50, "y": np.random.default_rng(0).normal(size=100)})
    >>> data = read_series(table, target="y", id="id")
    >>> settle_scale(Recipe(transform="none"), data, np.arange(20, 40))[0].scale_by
    'all'
    """
    recipe, reason = _choose_scale(recipe, data, rows)
    if recipe.transform != "auto":
        norm = choose_window_norm(recipe, (recipe.transform,), recipe.lookback or 1)
        augmentation_of(recipe).check_forecast(standardised=norm == "standard")
    return recipe, reason


def _choose_scale(recipe: Recipe, data: SeriesData, rows: IntArray) -> tuple[Recipe, str | None]:
    if recipe.scale_by != "auto":
        return recipe, None
    if len(data.ids) == 1:
        return replace(recipe, scale_by="all"), None
    seen = seen_rows(data, rows, recipe.lookback or 1)
    spreads, shifts = zip(
        *(_unlikeness(data, seen, name, recipe.transform) for name in data.targets), strict=True
    )
    spread, shift = max(spreads), max(shifts)
    if max(spread, shift) <= _UNLIKE:
        return replace(recipe, scale_by="all"), None
    why = (
        f"spreads differ {spread:.3g} times" if spread > _UNLIKE else f"levels lie {shift:.3g} spreads apart"
    )
    return replace(
        recipe, scale_by="series"
    ), f"each series is scaled, and scored, by its own training rows: {why}"


def _unlikeness(data: SeriesData, seen: NDArray[np.bool_], name: str, transform: str) -> tuple[float, float]:
    """How many times the spreads of a target's series differ, and how many spreads their means lie apart."""
    values = data.values[:, data.columns.index(name)]
    if is_log(transform):
        values = np.log(np.where(values > 0, values, np.nan))
    known = seen & ~np.isnan(values)
    parts = [values[a:b][known[a:b]] for a, b in pairwise(data.offsets)]
    spreads = np.array([part.std() for part in parts if len(part)])
    means = np.array([part.mean() for part in parts if len(part)])
    low, middle, high = np.quantile(spreads, [0.1, 0.5, 0.9])
    apart = np.quantile(means, 0.9) - np.quantile(means, 0.1)
    return float(high / low) if low > 0 else 1.0, float(apart / middle) if middle > 0 else 0.0
