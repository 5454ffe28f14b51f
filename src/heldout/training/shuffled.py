"""Labels that belong to other samples: what a fit makes of them shows how much of its training fit needs no signal."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heldout.data.series import IntArray, SeriesData
from heldout.data.windows import Source
from heldout.recipe import Recipe
from heldout.training.evaluation import spread
from heldout.training.losses import sample_losses

_BLOCK = 4096


def shifted_origins(data: SeriesData, parts: tuple[IntArray, ...], lookback: int, seed: int) -> IntArray:
    """Give each origin another one whose labels it takes: a turn of the circle, by a random lag, per series and part.

    The labels keep their own memory, and so do the windows; what ties the one to the other is lost.

    Parameters
    ----------
    data : SeriesData
        The series.
    parts : tuple of array of int64
        Origins; labels stay within their part and series.
    lookback : int
        Rows in a window. No lag is shorter than the window and the horizon together, unless a part is shorter than twice that.
    seed : int
        Decides the lags.

    Returns
    -------
    array of shape (n_rows,), int64
        For each row of the series the origin whose labels it takes; itself where it is in no part.

    References
    ----------
    Theiler and Prichard 1996, Constrained-realization Monte-Carlo method for hypothesis testing, Physica D 94.
    """
    rng, found = np.random.default_rng([11, seed]), np.arange(data.n_rows)
    for rows in parts:
        for number in np.unique(data.series_of_row[rows]):
            own = rows[data.series_of_row[rows] == number]
            least = min(lookback + data.horizon, len(own) // 2)
            found[own] = np.roll(own, int(rng.integers(least, len(own) - least + 1)))
    return found


def shuffled_labels(labels: IntArray, parts: tuple[IntArray, ...], units: IntArray, seed: int) -> IntArray:
    """Give the labels in another order within each part, those of a unit still side by side.

    Parameters
    ----------
    labels : array of shape (n,), int64
        Of all texts.
    parts : tuple of array of int64
        Rows; labels stay within their part.
    units : array of shape (n,), int64
        Rows with the same number belong together.
    seed : int
        Decides the order.

    Returns
    -------
    array of shape (n,), int64

    Examples
    --------
    >>> found = shuffled_labels(np.array([0, 0, 1, 1, 1]), (np.arange(4),), np.arange(5), seed=0)
    >>> int(found[:4].sum()), int(found[4])
    (2, 1)
    """
    rng, found = np.random.default_rng([12, seed]), labels.copy()
    for rows in parts:
        units_here, unit = np.unique(units[rows], return_inverse=True)
        place = rng.permutation(len(units_here))
        found[rows[np.argsort(unit, kind="stable")]] = labels[rows[np.argsort(place[unit], kind="stable")]]
    return found


def constant_loss(source: Source, rows: Tensor, recipe: Recipe, *, most: int) -> float:
    """Give the loss of the best forecast that reads nothing, in the units of what is minimised.

    Parameters
    ----------
    source : Source
        Of series; gives the labels.
    rows : Tensor of int64
        Samples; at most ``most``, evenly spread, are read.
    recipe : Recipe
        ``loss`` and what belongs to it.
    most : int
        See ``rows``.
    """
    rows = spread(rows, most)
    y = torch.cat([source.gather(part).y for part in rows.split(_BLOCK)])
    values = y.numpy()
    best: NDArray[np.floating]
    if recipe.loss == "squared":
        best = values.mean(axis=0)[..., None]
    elif recipe.loss == "quantile":
        best = np.moveaxis(np.quantile(values, recipe.quantiles, axis=0), 0, -1)
    else:
        best = np.median(values, axis=0)[..., None]
    said = torch.from_numpy(best.astype(np.float32))[None].expand(*y.shape, best.shape[-1])
    return float(sample_losses(said, y, recipe).mean())
