"""A fit of samples that are there already: sequences with numbers or classes, and how much each counts."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from heldout.check import InputError
from heldout.data.arrays import ArrayData
from heldout.data.samples import ColumnScale, Samples, split_samples
from heldout.data.series import FloatArray, IntArray
from heldout.nn.networks import Network, Shape
from heldout.options import Options, option
from heldout.recipe import Recipe
from heldout.training.loop import History, forecast, train
from heldout.training.losses import n_outputs
from heldout.training.settle import choose_segment


@dataclass(frozen=True, kw_only=True)
class ArrayOptions(Options):
    """What a fit of arrays decides beside its recipe: who says when to stop, and how many networks there are."""

    validation_fraction: float = option(
        0.15,
        "Share of the samples that says when to stop; 0 trains on all of them to max_epochs.",
        low=0,
        high=1,
        open_high=True,
    )
    shuffle: bool = option(
        True,
        "Draw the validation samples at random, by class for classes, identical samples being one; False takes the last ones: for samples in order of time.",
    )
    n_seeds: int = option(1, "Networks, from as many seeds, whose outputs are averaged.", low=1, high=1000)


@dataclass(frozen=True, eq=False)
class ArrayModel:
    """A fitted reader of sequences: the scales, and one network per seed whose outputs are averaged.

    Attributes
    ----------
    recipe : Recipe
        Resolved.
    x_scale : ColumnScale
        Of the inputs, learned on the training samples.
    y_scale : ColumnScale or None
        Of the targets; None for classes.
    networks : tuple of Network
        In evaluation mode and double precision, so that what is said of a sample does not depend on its neighbours.
    """

    recipe: Recipe
    x_scale: ColumnScale
    y_scale: ColumnScale | None
    networks: tuple[Network, ...]

    @property
    def n_parameters(self) -> int:
        """Numbers in one network."""
        return sum(p.numel() for p in self.networks[0].parameters())

    def outputs(self, samples: Samples) -> FloatArray:
        """Give the mean of the networks' outputs.

        Parameters
        ----------
        samples : Samples
            With the columns of training.

        Returns
        -------
        array of shape (n, S, Q)
            Logits of Q classes (S is 1), or S targets in their own units, quantiles in order.
        """
        data = ArrayData(
            self.x_scale.apply(samples.x),
            np.zeros(len(samples.x)),
            lengths=samples.lengths,
            dtype=np.float64,
        )
        rows = torch.arange(len(data))
        out = np.mean([forecast(network, data, rows)[:, :, 0].numpy() for network in self.networks], axis=0)
        if self.y_scale is None:
            return np.asarray(out)
        return self.y_scale.undo(np.sort(out, axis=-1).swapaxes(1, 2)).swapaxes(1, 2)


def settle_arrays(recipe: Recipe, samples: Samples) -> Recipe:
    """Fill what a recipe leaves to the data (segment) and to its dial.

    Parameters
    ----------
    recipe : Recipe
        As the user gave it.
    samples : Samples
        The samples.

    Returns
    -------
    Recipe
        Without None in ``lookback``, ``segment`` and the rates.

    Raises
    ------
    InputError
        If it asks for what sequences cannot have.
    """
    if recipe.shortcut == "ridge":
        raise InputError("shortcut='ridge' is for series, arrays take 'none' or 'linear'")
    steps, ragged = samples.x.shape[1], samples.lengths is not None
    if ragged and (recipe.shortcut != "none" or (recipe.segment or 1) > 1):
        raise InputError(
            "a shortcut or a segment needs samples of one length, got a list: leave shortcut at 'none' and segment at None, or give an array (n, T, F)"
        )
    segment = recipe.segment or (1 if ragged else choose_segment(steps))
    return replace(recipe.resolved(), lookback=steps, segment=segment)


def fit_arrays(
    samples: Samples,
    y: NDArray[Any],
    weight: FloatArray,
    recipe: Recipe,
    options: ArrayOptions,
    *,
    seed: int | None = 0,
) -> tuple[ArrayModel, tuple[History, ...], IntArray]:
    """Fit: split, scale on the training samples, train a network per seed, keep the best weights of each.

    Parameters
    ----------
    samples : Samples
        The sequences.
    y : array of shape (n,) of int64, or (n, S) of float
        Class numbers from 0, or targets.
    weight : array of shape (n,)
        Positive; how much each sample counts in the loss, on training and validation samples alike.
    recipe : Recipe
        From `settle_arrays`.
    options : ArrayOptions
        The split and the number of networks.
    seed : int or None, default 0
        Decides split, starting weights, orders and masks; None takes a new one.

    Returns
    -------
    model : ArrayModel
    histories : tuple of History
    valid_rows : array of int64
        Samples that said when to stop; if there are none, the weights of the last epoch are kept.

    Examples
    --------
    >>> samples = Samples(np.random.default_rng(0).normal(size=(50, 6, 1)), None)
    >>> recipe = settle_arrays(Recipe(hidden_size=4, max_epochs=1, shortcut="none"), samples)
    >>> model, _, rows = fit_arrays(samples, samples.x[:, -1], np.ones(50), recipe, ArrayOptions())
    >>> model.outputs(samples).shape, len(rows)
    ((50, 1, 1), 8)
    """
    random = np.random.default_rng(seed)
    groups = y if y.ndim == 1 else np.zeros(len(y), np.int64)
    train_rows, held = split_samples(groups, options.validation_fraction, random, shuffle=options.shuffle)
    valid_rows = held if len(held) else train_rows
    if not len(held):
        recipe = replace(recipe, patience=None, restore_best=False)
    share = weight.copy()
    for part in (train_rows, valid_rows):
        share[part] = weight[part] / weight[part].mean()
    x_scale = ColumnScale.fit(samples.take(train_rows).values(), recipe.outliers, recipe.scaling)
    y_scale = ColumnScale.fit(y[train_rows], 0.0, recipe.scaling) if y.ndim == 2 else None
    data = ArrayData(
        x_scale.apply(samples.x),
        y if y_scale is None else y_scale.apply(y)[:, :, None],
        lengths=samples.lengths,
        weight=None if (share == 1).all() else share,
    )
    shape = Shape(
        lookback=samples.x.shape[1],
        n_inputs=samples.x.shape[2],
        n_steps=y.shape[1] if y.ndim == 2 else 1,
        n_outputs=n_outputs(recipe, int(y.max()) + 1),
    )
    parts = torch.from_numpy(train_rows), torch.from_numpy(valid_rows)
    networks, histories = [], []
    for number in random.integers(2**31, size=options.n_seeds):
        with torch.random.fork_rng(devices=[]):  # building a module draws from torch's own generator first
            network = Network(shape, recipe, generator=torch.Generator().manual_seed(int(number)))
        histories.append(train(network, data, *parts, recipe, seed=int(number)))
        networks.append(network.double().requires_grad_(False).eval())
    return ArrayModel(recipe, x_scale, y_scale, tuple(networks)), tuple(histories), held
