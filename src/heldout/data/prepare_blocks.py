"""`fit_blocks`: the preparation of series that do not fit into memory together, learned a block of them at a time."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from heldout.check import InputError
from heldout.data.prepare import Prepare
from heldout.data.quantiles import streamed_moments, streamed_quantiles
from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.data.transforms import WITHOUT_LOG, center_width, choose_window_norm, robust_bounds, seen_rows
from heldout.recipe import Recipe

Blocks = Callable[[], Iterator[tuple[SeriesData, IntArray]]]
"""Gives whole series, a block at a time and in order, each with the origins that train in it; may be called again."""


def fit_blocks(blocks: Blocks, lookback: int, recipe: Recipe, transforms: tuple[str, ...]) -> Prepare:
    """Learn what `Prepare.fit` learns, quantiles over all series to the precision of float32.

    Parameters
    ----------
    blocks : callable
        Gives the series and the origins of the training samples; called six times at most.
    lookback : int
        Rows in a window.
    recipe : Recipe
        As `Prepare.fit` takes it.
    transforms : tuple of str
        Of targets, past and future covariates, chosen on some of the series (`choose_transforms`); a covariate that is not
        positive everywhere takes no logarithm.

    Returns
    -------
    Prepare

    Raises
    ------
    InputError
        If no block has an origin, or a logarithm of a target that is not positive is asked for.
    """
    first = next((data for data, _ in blocks()), None)
    if first is None:
        raise InputError("there are no training rows: shorten lookback or horizon, or give more data")
    columns, n_targets = (*first.targets, *first.past, *first.future), len(first.targets)
    chosen = first.indices(columns)

    def raw() -> Iterator[FloatArray]:
        for data, rows in blocks():
            yield data.values[seen_rows(data, rows, lookback)][:, chosen]

    minima, missing, groups, static = _described(blocks, raw, by_series=recipe.scale_by == "series")
    medians = streamed_quantiles(raw, [0.5])[0]
    transforms = tuple(
        WITHOUT_LOG.get(name, name) if number >= n_targets and minimum <= 0 else name
        for number, (name, minimum) in enumerate(zip(transforms, minima, strict=True))
    )
    prepare = Prepare(
        columns=columns,
        n_targets=n_targets,
        n_future=len(first.future),
        transforms=transforms,
        fill_limit=recipe.fill_limit,
        window_norm=choose_window_norm(recipe, transforms[:n_targets], lookback),
        medians=tuple(np.nan_to_num(medians).tolist()),
        minima=tuple(minima.tolist()),
        gappy=tuple(np.flatnonzero(missing).tolist()),
        lows=(),
        highs=(),
        centers=(),
        widths=(),
        groups=groups,
        constant=(),
        static_names=first.static_names,
        static_center=tuple(static.mean(axis=0)) if static.size else (),
        static_width=tuple(np.where(static.std(axis=0) > 0, static.std(axis=0), 1.0)) if static.size else (),
        filled=tuple(missing.tolist()),
        clipped=(),
        scaling=recipe.scaling,
        first_rows=lookback,
    )
    return _with_scales(prepare, blocks, lookback, recipe)


def _described(
    blocks: Blocks, raw: Callable[[], Iterator[FloatArray]], *, by_series: bool
) -> tuple[FloatArray, IntArray, tuple[str, ...], FloatArray]:
    """Least value and missing ones of each column, the series that train where each is scaled by itself, their static numbers."""
    minima, missing = np.array(np.inf), np.array(0)
    names: list[str] = []
    static = []
    for (data, rows), values in zip(blocks(), raw(), strict=True):
        minima = np.minimum(minima, np.nanmin(values, axis=0, initial=np.inf))
        missing = missing + np.isnan(values).sum(axis=0)
        series = np.unique(data.series_of_row[rows])
        names += [data.ids[number] for number in series] if by_series else []
        static.append(data.static[series] if data.static_names else np.zeros((0, 0)))
    return minima, missing, tuple(names), np.concatenate(static)


def _with_scales(prepare: Prepare, blocks: Blocks, lookback: int, recipe: Recipe) -> Prepare:
    bounds = np.concatenate(
        [_bounds(values, of_row, recipe) for values, of_row in _transformed(prepare, blocks, lookback)]
    )  # (series, columns, 2)
    if not prepare.groups:
        bounds = np.stack([bounds[..., 0].min(axis=0), bounds[..., 1].max(axis=0)], axis=-1)[None]

    clipped: dict[int, IntArray] = {}  # by block: each is counted in every pass, to the same number

    def held() -> Iterator[tuple[FloatArray, IntArray]]:
        """Values within their bounds, and the series of each row."""
        before = 0
        for number, (values, of_row) in enumerate(_transformed(prepare, blocks, lookback)):
            own = bounds[before + of_row] if prepare.groups else bounds
            kept = values.clip(own[..., 0], own[..., 1])
            clipped[number] = (kept != values).sum(axis=0)
            yield kept, of_row
            before += int(of_row[-1]) + 1 if prepare.groups else 0

    if prepare.groups:
        scales = np.concatenate([_scales(kept, of_row, recipe.scaling) for kept, of_row in held()])
    elif recipe.scaling == "robust":
        low, center, high = streamed_quantiles(lambda: (kept for kept, _ in held()), [0.25, 0.5, 0.75])
        _, _, most = streamed_moments(lambda: (kept for kept, _ in held()))
        scales = _no_noise(center, (high - low) / 1.349, most)
    else:
        scales = _no_noise(*streamed_moments(lambda: (kept for kept, _ in held())))
    flat = np.asarray(~(scales[..., 1] > 0).any(axis=0))
    table = np.concatenate([bounds, scales[..., :1], np.where(scales[..., 1:] > 0, scales[..., 1:], 1.0)], 2)
    lows, highs, centers, widths = table.transpose(2, 0, 1).tolist()
    return replace(
        prepare,
        lows=tuple(map(tuple, lows)),
        highs=tuple(map(tuple, highs)),
        centers=tuple(map(tuple, centers)),
        widths=tuple(map(tuple, widths)),
        clipped=tuple(np.sum(list(clipped.values()), axis=0).tolist()),
        constant=tuple(prepare.columns[number] for number in np.flatnonzero(flat)),
    )


def _transformed(
    prepare: Prepare, blocks: Blocks, lookback: int
) -> Iterator[tuple[FloatArray, NDArray[np.int64]]]:
    """The transformed values that training samples see of each block, and the number of each row's series among those that train."""
    for data, rows in blocks():
        seen = seen_rows(data, rows, lookback)
        values = np.column_stack([prepare.transformed(data, k)[seen] for k in range(len(prepare.columns))])
        of_row = data.series_of_row[seen]
        yield values, np.unique(of_row, return_inverse=True)[1].astype(np.int64)


def _bounds(values: FloatArray, of_row: IntArray, recipe: Recipe) -> FloatArray:
    return np.array(
        [[robust_bounds(column, recipe.outliers) for column in own.T] for own in _series(values, of_row)]
    )


def _scales(kept: FloatArray, of_row: IntArray, scaling: str) -> FloatArray:
    return np.array([[center_width(column, scaling) for column in own.T] for own in _series(kept, of_row)])


def _series(values: FloatArray, of_row: IntArray) -> list[FloatArray]:
    return np.split(values, np.flatnonzero(np.diff(of_row)) + 1)


def _no_noise(center: FloatArray, width: FloatArray, most: FloatArray) -> FloatArray:
    """(1, C, 2): centre and width, 0 where what varies is rounding."""
    return np.stack([center, np.where(width > 1e-12 * most, width, 0.0)], axis=-1)[None]
