"""A fit of samples that are there already: sequences with numbers or classes, and how much each counts."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heldout.check import InputError, check_number
from heldout.data.arrays import ArrayData
from heldout.data.samples import ArrayPrepare, ColumnScale, Samples, split_samples
from heldout.data.series import FloatArray, IntArray
from heldout.nn.networks import Network, Shape
from heldout.options import Options, option
from heldout.recipe import Recipe
from heldout.training.checkpoint import ModelFileError
from heldout.training.evaluation import forecast
from heldout.training.linear import LinearPart, fit_linear
from heldout.training.loop import History, train
from heldout.training.losses import n_outputs
from heldout.training.settle import choose_segment

MAX_NUMBERS = 2048
"""Numbers in a sequence up to which ``shortcut="auto"`` is ridge: its time grows with their cube."""


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
    """A fitted reader of sequences: the scales, a linear part, and one network per seed whose outputs are averaged.

    Attributes
    ----------
    recipe : Recipe
        Resolved.
    prepare : ArrayPrepare
        The scales, learned on the training samples.
    shape : Shape
        Sizes of the networks.
    networks : tuple of Network
        In evaluation mode and double precision, so that what is said of a sample does not depend on its neighbours.
    linear : LinearPart or None
        With ``shortcut="ridge"``: added to what the networks say.
    """

    recipe: Recipe
    prepare: ArrayPrepare
    shape: Shape
    networks: tuple[Network, ...]
    linear: LinearPart | None = None

    @property
    def n_parameters(self) -> int:
        """Numbers in one network and its linear part."""
        own = sum(p.numel() for p in self.networks[0].parameters())
        return own + (
            0 if self.linear is None else self.linear.coefficients.size + self.linear.intercept.size
        )

    def outputs(self, samples: Samples) -> FloatArray:
        """Give the mean of the networks' outputs, the linear part added.

        Parameters
        ----------
        samples : Samples
            With the columns of training.

        Returns
        -------
        array of shape (n, S, Q)
            Logits of Q classes (S is 1), or S targets in their own units, quantiles in order.
        """
        x = self.prepare.inputs.apply(samples.x)
        data = ArrayData(x, np.zeros(len(x)), lengths=samples.lengths, dtype=np.float64)
        rows = torch.arange(len(data))
        out = np.mean([forecast(network, data, rows)[:, :, 0].numpy() for network in self.networks], axis=0)
        if self.linear is not None:
            out = out + self.linear.predict(x)[:, :, None]
        targets = self.prepare.targets
        if targets is None:
            return np.asarray(out)
        return targets.undo(np.sort(out, axis=-1).swapaxes(1, 2)).swapaxes(1, 2)

    def to_file_parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Give what a model file holds: named tensors and JSON metadata."""
        # Trained in single precision, so that nothing is lost in going back to it.
        tensors = {
            f"{n}.{name}": value.float()
            for n, network in enumerate(self.networks)
            for name, value in network.state_dict().items()
        }
        penalty = None
        if self.linear is not None:
            penalty = self.linear.penalty
            tensors["linear.coefficients"] = torch.from_numpy(self.linear.coefficients)
            tensors["linear.intercept"] = torch.from_numpy(self.linear.intercept)
        targets = self.prepare.targets
        metadata = {
            "recipe": self.recipe.to_dict(),
            "inputs": self.prepare.inputs.to_dict(),
            "targets": None if targets is None else targets.to_dict(),
            "shape": self.shape._asdict(),
            "n_networks": len(self.networks),
            "penalty": penalty,
        }
        return tensors, metadata

    @classmethod
    def from_file_parts(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Self:
        """Build the model that `to_file_parts` described.

        Raises
        ------
        ModelFileError
            If the parts do not fit.
        """
        try:
            recipe, shape = Recipe.from_dict(metadata["recipe"]), Shape(**metadata["shape"])
            check_number("n_networks", metadata["n_networks"], 1, 1000)
            networks = tuple(
                _read_network(shape, recipe, tensors, number) for number in range(metadata["n_networks"])
            )
            targets = metadata["targets"]
            prepare = ArrayPrepare(
                ColumnScale.from_dict(metadata["inputs"]),
                None if targets is None else ColumnScale.from_dict(targets),
            )
            model = cls(recipe, prepare, shape, networks, _read_linear(shape, recipe, tensors, metadata))
        except (KeyError, TypeError, RuntimeError, ValueError, OverflowError, AttributeError) as error:
            raise ModelFileError(f"the model file does not describe a model: {error}") from error
        if len(prepare.inputs.center) != shape.n_inputs or (
            prepare.targets is not None and len(prepare.targets.center) != shape.n_steps
        ):
            raise ModelFileError("the model file's scales do not fit its networks")
        return model


def _read_network(shape: Shape, recipe: Recipe, tensors: dict[str, Tensor], number: int) -> Network:
    try:
        return Network.from_tensors(shape, _of_network(recipe), tensors, number).double()
    except RuntimeError as error:  # its text has a line per tensor
        raise ModelFileError(f"the tensors of network {number} are not those of its recipe") from error


def _read_linear(
    shape: Shape, recipe: Recipe, tensors: dict[str, Tensor], metadata: dict[str, Any]
) -> LinearPart | None:
    if recipe.shortcut != "ridge":
        return None
    parts = [tensors[f"linear.{name}"].double().numpy() for name in ("coefficients", "intercept")]
    if parts[0].shape != (shape.lookback * shape.n_inputs, shape.n_steps) or parts[1].shape != (
        shape.n_steps,
    ):
        raise ModelFileError(
            f"the model file's linear part of shape {parts[0].shape} does not fit its networks"
        )
    return LinearPart(parts[0], parts[1], float(metadata["penalty"]))


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
    if recipe.shortcut == "ridge" and recipe.loss == "cross_entropy":
        raise InputError("shortcut='ridge' is for numbers, classes take 'none' or 'linear'")
    if recipe.shortcut == "ridge" and (changed := _changes_inputs(recipe)):
        raise InputError(
            f"{changed} must be {getattr(Recipe, changed):g} with shortcut='ridge', got {getattr(recipe, changed)!r}, because labels are "
            "what ridge leaves of the inputs as they were: use mixup, or shortcut='none' or 'linear'"
        )
    steps, ragged = samples.x.shape[1], samples.lengths is not None
    if ragged and (recipe.shortcut != "none" or (recipe.segment or 1) > 1):
        raise InputError(
            "a shortcut or a segment needs samples of one length, got a list: leave shortcut at its default and segment at None, or give an array (n, T, F)"
        )
    segment = recipe.segment or (1 if ragged else choose_segment(steps))
    return replace(recipe.resolved(), lookback=steps, segment=segment)


def choose_shortcut(samples: Samples, recipe: Recipe | None = None) -> str:
    """Say what ``shortcut="auto"`` is for numbers: ridge for sequences of one length and at most `MAX_NUMBERS` numbers.

    Parameters
    ----------
    samples : Samples
        The samples.
    recipe : Recipe, optional
        Where it changes inputs at random (any augmentation but mixup) there is no shortcut: what ridge leaves, which the
        network learns, belongs to the inputs as they were.

    Examples
    --------
    >>> samples = Samples(np.zeros((50, 6, 1)), None)
    >>> choose_shortcut(samples), choose_shortcut(samples, Recipe(jitter=0.03))
    ('ridge', 'none')
    """
    few = samples.lengths is None and samples.x[0].size <= MAX_NUMBERS
    return "ridge" if few and (recipe is None or _changes_inputs(recipe) is None) else "none"


def _changes_inputs(recipe: Recipe) -> str | None:
    """The first option that is on and changes the inputs and not the labels."""
    names = ("jitter", "random_scaling", "magnitude_warp", "time_warp", "window_slice")
    return next((name for name in names if getattr(recipe, name) != getattr(Recipe, name)), None)


def fit_arrays(
    samples: Samples,
    y: NDArray[Any],
    weight: FloatArray,
    recipe: Recipe,
    options: ArrayOptions,
    *,
    seed: int | None = 0,
) -> tuple[ArrayModel, tuple[History, ...], IntArray]:
    """Fit: split, scale on the training samples, fit the linear part, train a network per seed, keep the best weights of each.

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
    prepare = _fit_prepare(samples, y, train_rows, recipe)
    x, labels, linear = prepare.inputs.apply(samples.x), y, None
    if prepare.targets is not None:
        labels = prepare.targets.apply(y)
        if recipe.shortcut == "ridge":
            linear, left = fit_linear(x[train_rows], labels[train_rows], share[train_rows])
            labels = labels - linear.predict(x)
            labels[train_rows] = left
        labels = labels[:, :, None]
    weights = None if (share == 1).all() else share
    data = ArrayData(x, labels, lengths=samples.lengths, weight=weights)
    shape = Shape(
        lookback=x.shape[1],
        n_inputs=x.shape[2],
        n_steps=y.shape[1] if y.ndim == 2 else 1,
        n_outputs=n_outputs(recipe, int(y.max()) + 1),
    )
    parts = torch.from_numpy(train_rows), torch.from_numpy(valid_rows)
    fits = [
        _train_one(data, parts, shape, _of_network(recipe), int(number))
        for number in random.integers(2**31, size=options.n_seeds)
    ]
    networks, histories = zip(*fits, strict=True)
    return ArrayModel(recipe, prepare, shape, networks, linear), histories, held


def _fit_prepare(samples: Samples, y: NDArray[Any], rows: IntArray, recipe: Recipe) -> ArrayPrepare:
    inputs = ColumnScale.fit(samples.take(rows).values(), recipe.outliers, recipe.scaling)
    return ArrayPrepare(inputs, ColumnScale.fit(y[rows], 0.0, recipe.scaling) if y.ndim == 2 else None)


def _of_network(recipe: Recipe) -> Recipe:
    """Ridge stands beside the network, not in it."""
    return replace(recipe, shortcut="none") if recipe.shortcut == "ridge" else recipe


def _train_one(
    data: ArrayData, parts: tuple[Tensor, Tensor], shape: Shape, recipe: Recipe, seed: int
) -> tuple[Network, History]:
    with torch.random.fork_rng(devices=[]):  # building a module draws from torch's own generator first
        network = Network(shape, recipe, generator=torch.Generator().manual_seed(seed))
    history = train(network, data, *parts, recipe, seed=seed)
    return network.double().requires_grad_(False).eval(), history
