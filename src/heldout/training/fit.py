"""A fit: (data, rows to train on, rows to validate on, recipe, seed) to a fitted model and its history. Nothing else goes in."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from heldout.check import InputError, check_number
from heldout.data.prepare import Prepare
from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.data.transforms import is_differenced, is_log, last_known
from heldout.nn.networks import Network, Shape
from heldout.recipe import Recipe
from heldout.training.checkpoint import Checkpoint, ModelFileError, check_kind
from heldout.training.evaluation import forecast
from heldout.training.intervals import Conformal, window_spread
from heldout.training.loop import History, Report, train
from heldout.training.settle import augmentation_of, settle, settle_scale
from heldout.training.shared import Shared
from heldout.training.shortcut import shrink
from heldout.training.shuffled import shifted_origins
from heldout.training.start import start_network, task_of


@dataclass(frozen=True, eq=False)
class SeriesModel:
    """A fitted forecaster of series: the preparation, and one network per seed whose forecasts are averaged.

    Attributes
    ----------
    recipe : Recipe
        Resolved: no field is left to the dial or the data.
    prepare : Prepare
        Learned on the training rows.
    shape : Shape
        Sizes of the networks.
    networks : tuple of Network
        In evaluation mode.
    task : dict
        ``targets``, ``past``, ``future``, ``static``, ``horizon``, ``last_step_only``: what data it takes and what it says.
    conformal : Conformal or None
        What makes forecasts intervals (`calibrated`).
    """

    recipe: Recipe
    prepare: Prepare
    shape: Shape
    networks: tuple[Network, ...]
    task: dict[str, Any]
    conformal: Conformal | None = None

    @property
    def lookback(self) -> int:
        """Rows in a window."""
        return self.shape.lookback

    @property
    def rows_needed(self) -> int:
        """Rows of the past that a forecast reads: the window, and one more where differences are taken."""
        return self.lookback + any(is_differenced(name) for name in self.prepare.transforms)

    @property
    def n_parameters(self) -> int:
        """Numbers in one network."""
        return sum(p.numel() for p in self.networks[0].parameters())

    def predict(self, data: SeriesData, rows: IntArray) -> FloatArray:
        """Forecast from some origins, on the scoring scale (the target, or its logarithm where that is the transform).

        Parameters
        ----------
        data : SeriesData
            With the columns of training.
        rows : array of shape (n,), int64
            Origins; rows after them are read for future covariates only.

        Returns
        -------
        array of shape (n, S, K, Q)
            The mean over the seeds; quantiles rise, each seed's sorted (Chernozhukov, Fernández-Val & Galichon 2010:
            sorting crossed ones never makes them worse).

        Raises
        ------
        InputError
            If a column of training is missing.
        """
        data.check_origins(rows, self.lookback)
        windows = self.prepare.apply(data, self.lookback)
        levels = [
            forecast(network, windows, torch.from_numpy(rows)).sort(dim=-1).values.numpy()
            for network in self.networks
        ]
        return self.prepare.to_scored(np.mean(levels, axis=0), data, rows)

    def predict_samples(
        self, data: SeriesData, rows: IntArray, n_samples: int, *, seed: int = 0
    ) -> FloatArray:
        """Draw forecasts with the dropout masks of training kept on (Monte Carlo dropout), on the scoring scale.

        Their spread says how unsure the weights are. It holds no noise of the observations and is no interval.

        Parameters
        ----------
        data : SeriesData
            With the columns of training.
        rows : array of shape (n,), int64
            Origins.
        n_samples : int
            N, at least 1. Sample i is drawn from network ``i % len(networks)``.
        seed : int, default 0
            Decides the masks.

        Returns
        -------
        array of shape (N, n, S, K)
            Of quantile recipes the median. Without any rate each is the forecast of its network.

        Raises
        ------
        InputError
            If ``n_samples`` is below 1 or a column of training is missing.

        References
        ----------
        Gal & Ghahramani 2016, arXiv:1506.02142, and arXiv:1512.05287 for masks held over time.
        """
        check_number("n_samples", n_samples, 1, np.inf)
        data.check_origins(rows, self.lookback)
        windows = self.prepare.apply(data, self.lookback)
        generator = torch.Generator().manual_seed(seed)
        samples = []
        for number in range(n_samples):
            network = self.networks[number % len(self.networks)]
            level = forecast(network, windows, torch.from_numpy(rows), masks=generator)
            samples.append(self.point(self.prepare.to_scored(level.sort(dim=-1).values.numpy(), data, rows)))
        return np.stack(samples)

    def columns(self, data: SeriesData, rows: IntArray) -> dict[str, FloatArray]:
        """Forecast in the targets' own units, with all that the model can say.

        Parameters
        ----------
        data : SeriesData
            With the columns of training.
        rows : array of shape (n,), int64
            Origins; rows after them are read for future covariates only.

        Returns
        -------
        dict of str to array of shape (n, S, K)
            ``forecast``; ``low`` and ``high`` of a calibrated model; ``q0.1`` and so on of a quantile recipe, rising.
        """
        scored = self.predict(data, rows)
        found = {"forecast": self.point(scored)}
        if self.conformal is not None and self.conformal.reach:
            ids = [data.ids[number] for number in data.series_of_row[rows]]
            low, high = self.conformal.widen(
                *self._ends(scored, self.conformal.level), self._spread(data, rows), ids
            )
            # quantiles that were too wide are drawn in, but not past the forecast
            found |= {
                "low": np.minimum(low, found["forecast"]),
                "high": np.maximum(high, found["forecast"]),
            }
        if self.recipe.loss == "quantile":
            found |= {f"q{level:g}": scored[..., n] for n, level in enumerate(self.recipe.quantiles)}
        return {name: self.prepare.to_original(values) for name, values in found.items()}

    def calibrated(self, data: SeriesData, rows: IntArray, level: float = 0.9) -> Self:
        """Give the model with intervals of a coverage, learned from its errors on rows that did not train it.

        Parameters
        ----------
        data : SeriesData
            With the columns of training.
        rows : array of shape (n,), int64
            Origins with known labels, none of which trained the model; those that said when to stop will do.
        level : float, default 0.9
            Intended coverage of each step and target, in (0, 1).

        Returns
        -------
        SeriesModel
            With ``conformal``, whose ``promised`` and ``note`` say what the coverage stands on.

        Raises
        ------
        InputError
            If there are no rows, or ``level`` is out of range.
        """
        if not len(rows):
            raise InputError(
                "an interval needs calibration rows, got none: give origins whose labels are known"
            )
        conformal = Conformal.fit(
            data,
            rows,
            truth=self._scored_targets(data)[rows[:, None] + data.steps],
            ends=self._ends(self.predict(data, rows), level),
            spread=self._spread(data, rows),
            level=level,
        )
        return replace(self, conformal=conformal)

    def _ends(self, scored: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
        """What an interval is built around: the outer quantiles, or the forecast itself."""
        if self.recipe.loss != "quantile":
            return scored[..., 0], scored[..., 0]
        return self._quantile(scored, (1 - level) / 2), self._quantile(scored, (1 + level) / 2)

    def _quantile(self, scored: FloatArray, level: float) -> FloatArray:
        levels = np.array(self.recipe.quantiles)
        return np.apply_along_axis(lambda q: np.interp(level, levels, q), -1, scored)

    def _scored_targets(self, data: SeriesData) -> FloatArray:
        columns = [last_known(data, name) for name in data.targets]
        pairs = zip(columns, self.prepare.transforms, strict=False)
        return np.column_stack([np.log(x) if is_log(transform) else x for x, transform in pairs])

    def _spread(self, data: SeriesData, rows: IntArray) -> FloatArray:
        return window_spread(self._scored_targets(data), rows, lookback=self.lookback, horizon=data.horizon)

    def point(self, scored: FloatArray) -> FloatArray:
        """Give one number per step and target, (n, S, K): the median of quantiles, else the forecast itself."""
        if self.recipe.loss != "quantile":
            return scored[..., 0]
        return self._quantile(scored, 0.5)

    def joined(self, others: Sequence["SeriesModel"]) -> Self:
        """Give the mean of this model and others that differ in seed only; its intervals are to be calibrated anew."""
        networks = (*self.networks, *(network for other in others for network in other.networks))
        return replace(self, networks=networks, conformal=None)

    def to_file_parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Give what a model file holds: named tensors and JSON metadata."""
        tensors = {
            f"{n}.{name}": value
            for n, net in enumerate(self.networks)
            for name, value in net.state_dict().items()
        }
        metadata = {
            "kind": "heldout series model",
            "version": 1,
            "recipe": self.recipe.to_dict(),
            "prepare": self.prepare.to_dict(),
            "shape": self.shape._asdict(),
            "task": self.task,
            "n_networks": len(self.networks),
            "conformal": self.conformal.to_dict() if self.conformal is not None else None,
        }
        return tensors, metadata

    @classmethod
    def from_file_parts(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Self:
        """Build the model that `to_file_parts` described.

        Raises
        ------
        ModelFileError
            If it is no such model or the tensors do not fit.
        """
        check_kind(metadata, "heldout series model")
        try:
            recipe, shape = Recipe.from_dict(metadata["recipe"]), Shape(**metadata["shape"])
            check_number("n_networks", metadata["n_networks"], 1, 1000)
            networks = tuple(
                Network.from_tensors(shape, recipe, tensors, number)
                for number in range(metadata["n_networks"])
            )
            prepare, found = Prepare.from_dict(metadata["prepare"]), metadata.get("conformal")
            conformal = (
                Conformal.from_dict(found, n_steps=shape.n_steps, n_targets=shape.n_targets)
                if found is not None
                else None
            )
            return cls(recipe, prepare, shape, networks, metadata["task"], conformal)
        except (KeyError, TypeError, RuntimeError, ValueError, OverflowError) as error:
            raise ModelFileError(f"the model file does not describe a model: {error}") from error


def fit_series(  # noqa: PLR0913 - each is a part of the fit that the caller alone knows
    data: SeriesData,
    train_rows: IntArray,
    valid_rows: IntArray,
    recipe: Recipe,
    *,
    seed: int = 0,
    until: int | None = None,
    checkpoint: Checkpoint | None = None,
    report: Report | None = None,
    shared: Shared | None = None,
    shuffled: int | None = None,
) -> tuple[SeriesModel, History]:
    """Fit one forecaster: prepare on the training rows, cut windows, train, keep the best weights.

    Parameters
    ----------
    data : SeriesData
        The series. Rows after the last label of the training rows are read for the windows and labels of
        ``valid_rows`` only.
    train_rows, valid_rows : array of int64
        Origins that train, and origins that say when to stop.
    recipe : Recipe
        How; what it leaves open is settled by `settle`.
    seed : int, default 0
        Decides starting weights, orders and masks.
    until : int, optional
        Train to this epoch at most, for now; a later call with the same checkpoint goes on to the same bits.
    checkpoint : Checkpoint, optional
        Lets a killed fit go on from its last epoch.
    report : callable, optional
        Told of every epoch.
    shared : Shared, optional
        Holds what other fits to the same rows have computed, and gets what this one does; changes no bit.
    shuffled : int, optional
        Seed of labels that belong to other windows (`heldout.training.shuffled`): the fit can only memorise.

    Returns
    -------
    model : SeriesModel
    history : History

    Raises
    ------
    InputError
        If the recipe does not fit the data.
    NonFiniteError
        If training meets a number that is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from heldout.data.layout import read_series
    >>> table = {"y": np.sin(np.arange(300) / 5)}
    >>> import polars as pl
    >>> data = read_series(pl.DataFrame(table), target="y", horizon=2)
    >>> model, history = fit_series(data, np.arange(20, 200), np.arange(210, 280), Recipe(lookback=10, max_epochs=1))
    >>> model.predict(data, np.array([290])).shape
    (1, 2, 1, 1)
    """
    recipe, _ = settle_scale(settle(recipe, data), data, train_rows)
    assert recipe.lookback is not None
    for part in (train_rows, valid_rows):
        data.check_origins(part, recipe.lookback)
    prepare = Prepare.fit(data, train_rows, recipe.lookback, recipe)
    augmentation_of(recipe).check_forecast(standardised=prepare.window_norm == "standard")
    windows = prepare.apply(data, recipe.lookback)
    if shuffled is not None:
        origins = shifted_origins(data, (train_rows, valid_rows), recipe.lookback, shuffled)
        windows, shared = replace(windows, labels_of=torch.from_numpy(origins)), None
    rows = torch.from_numpy(train_rows), torch.from_numpy(valid_rows)
    network = start_network(data, windows, rows, recipe, seed=seed, shared=shared or Shared())
    history = train(
        network, windows, *rows, recipe, seed=seed, until=until, checkpoint=checkpoint, report=report
    )
    if recipe.shrink and recipe.shortcut == "ridge":
        shrink(network, windows, rows[1], recipe)
    return SeriesModel(recipe, prepare, network.shape, (network,), task_of(data)), history
