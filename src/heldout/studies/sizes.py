"""Sizes of a network: which are tried, how each is tuned alike, and which are given up before all folds are fitted."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any

import numpy as np

from heldout.base_recipe import BaseRecipe
from heldout.data.series import FloatArray
from heldout.studies.ledger import Finished
from heldout.studies.plan import Job
from heldout.studies.racing import hopeless

LARGEST, FEWEST, SHORTEST = 128, 2, 8
"""Most units of a start by data size; fewest units, and shortest word vectors, that are tried."""
_RACED_FROM = 3  # folds that every size is fitted on
_MOST_UNITS = 4096

Size = dict[str, int]
"""Options of a recipe that say how large the network is: ``num_layers``, ``hidden_size``, of texts ``embedding_size``."""


def lstm_parameters(
    num_layers: int, hidden_size: int, n_inputs: int | None, *, bidirectional: bool = False
) -> int:
    """Give the numbers in the weights and biases of an LSTM.

    Parameters
    ----------
    num_layers, hidden_size : int
        Its size.
    n_inputs : int or None
        Numbers that the first layer reads at each step; None for as many as it has units, as where windows are cut into
        segments.
    bidirectional : bool, default False
        Whether it reads in both directions.

    Examples
    --------
    >>> import torch
    >>> lstm_parameters(2, 8, 3) == sum(p.numel() for p in torch.nn.LSTM(3, 8, 2).parameters())
    True
    """
    ways = 2 if bidirectional else 1
    read = hidden_size if n_inputs is None else n_inputs
    later = (num_layers - 1) * (ways * hidden_size + hidden_size + 2)
    return ways * 4 * hidden_size * (read + hidden_size + 2 + later)


def large_start(
    n_labels: int, n_inputs: int | None, *, least: int = 32, bidirectional: bool = False
) -> tuple[int, int]:
    """Give a size to walk down from: two layers of as many units as the data could still say something about.

    The units are the largest power of two for which the LSTM has no more weights than there are numbers to learn from,
    but at least ``least`` and at most 128. A network that large can learn nearly every training sample by heart.

    Parameters
    ----------
    n_labels : int
        Training samples times what is forecast of each (steps times targets; 1 for a text).
    n_inputs : int or None
        As in `lstm_parameters`.
    least : int, default 32
        Fewest units; a fit's default.
    bidirectional : bool, default False
        Whether it reads in both directions.

    Returns
    -------
    num_layers, hidden_size : int

    Examples
    --------
    >>> large_start(1600, None), large_start(100_000, None)
    ((2, 32), (2, 64))
    """
    units = least
    while (
        2 * units <= LARGEST
        and lstm_parameters(2, 2 * units, n_inputs, bidirectional=bidirectional) <= n_labels
    ):
        units *= 2
    return 2, units


def halvings(start: int, least: int) -> list[int]:
    """Give ``start`` and its halves, rounded down, as long as they are not below ``least``.

    Examples
    --------
    >>> halvings(100, 8), halvings(1, 2)
    ([100, 50, 25, 12], [1])
    """
    found = [start]
    while found[-1] // 2 >= least:
        found.append(found[-1] // 2)
    return found


def every_other(sizes: Sequence[Size]) -> list[Size]:
    """Give every other size, the first and the last among them.

    Examples
    --------
    >>> [size["hidden_size"] for size in every_other([{"hidden_size": 2**n} for n in (5, 4, 3, 2)])]
    [32, 8, 4]
    """
    return [size for place, size in enumerate(sizes) if place % 2 == 0 or place == len(sizes) - 1]


def equal_depths(start: Size, n_inputs: int | None, *, bidirectional: bool = False) -> list[Size]:
    """Give 1, 2 and 3 layers (or as many as the start has) of as many units as make their LSTMs have equally many weights.

    Parameters
    ----------
    start : dict
        A size.
    n_inputs : int or None
        As in `lstm_parameters`.
    bidirectional : bool, default False
        Whether it reads in both directions.

    Returns
    -------
    list of dict
        The start among them. Their weights differ from the start's by at most 5 % where they have 20 units or more;
        fewer units cannot be set that finely, and the nearest number is taken.

    Examples
    --------
    >>> [(size["num_layers"], size["hidden_size"]) for size in equal_depths({"num_layers": 2, "hidden_size": 64}, 5)]
    [(1, 110), (2, 64), (3, 50)]
    """
    aim = lstm_parameters(start["num_layers"], start["hidden_size"], n_inputs, bidirectional=bidirectional)
    found = []
    for layers in range(1, max(3, start["num_layers"]) + 1):
        weights = partial(lstm_parameters, layers, n_inputs=n_inputs, bidirectional=bidirectional)
        above = bisect_left(range(1, _MOST_UNITS), aim, key=weights) + 1
        units = min((above, max(above - 1, 1)), key=lambda units: abs(weights(units) - aim))
        found.append(start | {"num_layers": layers, "hidden_size": units})
    return found


def learning_rates(lr: float, n: int = 3) -> tuple[float, ...]:
    """Give the rates that every size is tried at: the recipe's, a third of it, and three times it.

    Parameters
    ----------
    lr : float
        The recipe's.
    n : int, default 3
        How many of the three.

    Examples
    --------
    >>> learning_rates(0.001)
    (0.001, 0.0003333, 0.003)
    """
    return tuple(float(f"{rate:.4g}") for rate in (lr, lr / 3, min(3 * lr, 10.0))[:n])


def label(values: Mapping[str, int]) -> str:
    """Give a size as a person writes it.

    Examples
    --------
    >>> label({"num_layers": 2, "hidden_size": 64}), label({"num_layers": 1, "hidden_size": 8, "embedding_size": 25})
    ('2 x 64', '1 x 8, words of 25')
    """
    words = f", words of {values['embedding_size']}" if "embedding_size" in values else ""
    return f"{values['num_layers']} x {values['hidden_size']}{words}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Tried:
    """What the fits of one size gave, at the learning rate that suits it.

    Attributes
    ----------
    values : dict
        The size.
    lr : float
        The rate of those tried that has the smallest mean validation loss with the first seed.
    losses : array of shape (n_folds,)
        Test loss of each fold, the mean over the seeds; NaN where it was not fitted.
    n_parameters, per_sample : float
        Numbers in the network, and these over the training samples; means over folds (a vocabulary differs between them).
    train_loss, valid_loss : float
        Of the weights that were kept, in evaluation mode and the units of what is minimised; means over folds and seeds.
    n_seeds : int
        Fits of a fold at that rate.
    stopped : bool
        Given up by the race.
    """

    values: Size
    lr: float
    losses: FloatArray
    n_parameters: float
    per_sample: float
    train_loss: float
    valid_loss: float
    n_seeds: int
    stopped: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Fits of sizes, or of other arms, each at the same learning rates, on the same folds and with the same seeds: equal tuning.

    Parameters
    ----------
    variant : callable
        Gives the recipe with some options changed, settled.
    folds : sequence of folds
        In the order in which they are fitted.
    seeds : sequence of int
        The first is used to choose the learning rate and to race, the others where a size is left in the race.
    rates : tuple of float
        Learning rates.
    run : callable
        Does fits, or finds them in the ledger.
    metric : str
        Name of a fit's test loss in its scores.
    name : callable, default `label`
        Gives what a size is called from its values, a different name for each.
    recipes : dict
        Those made so far, by the name of the candidate.
    held : dict
        What has been fitted, by the name of the job.
    """

    variant: Callable[[Mapping[str, Any]], BaseRecipe]
    folds: Sequence[Any]
    seeds: Sequence[int]
    rates: tuple[float, ...]
    run: Callable[[Sequence[Job]], Sequence[Finished]]
    metric: str
    name: Callable[[Mapping[str, Any]], str] = label
    recipes: dict[str, BaseRecipe] = field(default_factory=dict)
    held: dict[str, Finished] = field(default_factory=dict)

    def jobs(
        self, values: Mapping[str, Any], rates: Iterable[float], folds: Sequence[Any], seeds: Iterable[int]
    ) -> list[Job]:
        """List the fits of one size."""
        names = {f"{self.name(values)}, lr {rate:g}": rate for rate in rates}
        for name, rate in names.items():
            if name not in self.recipes:
                self.recipes[name] = self.variant({**values, "lr": rate})
        return [
            Job(candidate=name, fold=fold, model=self.recipes[name], seed=seed)
            for fold in folds
            for name in names
            for seed in seeds
        ]

    def plan(self, sizes: Iterable[Mapping[str, Any]]) -> list[Job]:
        """List the fits of some sizes where none is stopped and the first rate is always the best."""
        return [
            job
            for values in sizes
            for job in (
                *self.jobs(values, self.rates, self.folds, self.seeds[:1]),
                *self.jobs(values, self.rates[:1], self.folds, self.seeds[1:]),
            )
        ]

    def fit(self, jobs: Iterable[Job]) -> list[Finished]:
        """Do those fits that have not been done, in one round, and give all."""
        wanted = list(jobs)
        left = [*{job.name: job for job in wanted if job.name not in self.held}.values()]
        if left:
            self.held.update((job.name, done) for job, done in zip(left, self.run(left), strict=True))
        return [self.held[job.name] for job in wanted]

    def compare(self, sizes: Sequence[Size]) -> list[Tried]:
        """Fit sizes in rounds: three folds, then fold by fold those not shown to be worse, then the other seeds.

        Parameters
        ----------
        sizes : sequence of dict
            At least one.

        Returns
        -------
        list of Tried
            In their order. The same whatever does the fits, and however often it is stopped and started again.
        """
        stopped = np.zeros(len(sizes), bool)
        for n_folds in range(min(_RACED_FROM, len(self.folds)), len(self.folds) + 1):
            racing = [values for values, out in zip(sizes, stopped, strict=True) if not out]
            folds = self.folds[:n_folds]
            self.fit(job for values in racing for job in self.jobs(values, self.rates, folds, self.seeds[:1]))
            losses = np.stack(
                [self._losses(values, self.rate(values), self.seeds[:1])[:n_folds] for values in racing]
            )
            failed = ~np.asarray(np.isfinite(losses).all(axis=1))
            if n_folds < len(self.folds):  # after the last fold there is nothing left to spare
                failed = failed | hopeless(np.where(failed[:, None], np.nan, losses))
            stopped[~stopped] = failed
        self.fit(
            job
            for values, out in zip(sizes, stopped, strict=True)
            if not out
            for job in self.jobs(values, [self.rate(values)], self.folds, self.seeds[1:])
        )
        return [self._tried(values, stopped=bool(out)) for values, out in zip(sizes, stopped, strict=True)]

    def rate(self, values: Mapping[str, Any]) -> float:
        """Give the rate with the smallest mean validation loss over the folds fitted so far; of equal ones the first."""
        means = [np.mean([_number(f, "valid_loss") for f in self._of(values, rate)]) for rate in self.rates]
        return self.rates[int(np.argmin(means))]

    def _of(self, values: Mapping[str, Any], rate: float) -> list[Finished]:
        """Fits with the first seed, fold by fold."""
        jobs = self.jobs(values, [rate], self.folds, self.seeds[:1])
        return [self.held[job.name] for job in jobs if job.name in self.held]

    def _losses(self, values: Size, rate: float, seeds: Sequence[int]) -> FloatArray:
        """Mean over the seeds that were fitted, per fold; NaN where none was."""
        found = []
        for fold in self.folds:
            names = [job.name for job in self.jobs(values, [rate], [fold], seeds)]
            losses = [_number(self.held[name], self.metric) for name in names if name in self.held]
            found.append(float(np.mean(losses)) if losses else np.nan)
        return np.array(found)

    def _tried(self, values: Size, *, stopped: bool) -> Tried:
        rate = self.rate(values)
        names = [job.name for job in self.jobs(values, [rate], self.folds, self.seeds)]
        fits = [self.held[name] for name in names if name in self.held]
        numbers, samples = (
            np.array([_number(fit, name) for fit in fits]) for name in ("n_parameters", "n_train")
        )
        losses = self._losses(values, rate, self.seeds)
        losses[~np.isfinite(losses)] = np.nan
        return Tried(
            values=dict(values),
            lr=rate,
            losses=losses,
            n_parameters=float(numbers.mean()),
            per_sample=float((numbers / samples).mean()),
            train_loss=float(np.mean([_number(fit, "train_loss") for fit in fits])),
            valid_loss=float(np.mean([_number(fit, "valid_loss") for fit in fits])),
            n_seeds=len(fits) // int(np.isfinite(losses).sum()),
            stopped=stopped,
        )


def _number(fit: Finished, name: str) -> float:
    """A score; infinity where it was not finite or the fit failed."""
    value = fit.scores.get(name)
    return inf if value is None else float(value)
