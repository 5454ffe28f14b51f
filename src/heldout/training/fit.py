"""A fit: (data, rows to train on, rows to validate on, recipe, seed) to a fitted model and its history. Nothing else goes in."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from heldout.check import check_number
from heldout.data.prepare import Prepare
from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.data.transforms import is_differenced
from heldout.data.windows import Windows
from heldout.nn.networks import Network, Shape, Shortcut
from heldout.recipe import Recipe
from heldout.training.checkpoint import Checkpoint, ModelFileError
from heldout.training.loop import History, Report, evaluate, forecast, spread, train
from heldout.training.losses import n_outputs
from heldout.training.ridge import MAX_FEATURES, MAX_ROWS, fit_ridge
from heldout.training.settle import settle

_RIDGE_BLOCK = 4096
_SHRINK_BLOCK = 20


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
    """

    recipe: Recipe
    prepare: Prepare
    shape: Shape
    networks: tuple[Network, ...]
    task: dict[str, Any]

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
            The mean over the seeds; quantiles rise (Chernozhukov, Fernández-Val & Galichon 2010: sorting crossed ones
            never makes them worse).

        Raises
        ------
        InputError
            If a column of training is missing.
        """
        data.check_origins(rows, self.lookback)
        windows = self.prepare.apply(data, self.lookback)
        level = sum(forecast(network, windows, torch.from_numpy(rows)) for network in self.networks) / len(
            self.networks
        )
        assert isinstance(level, Tensor)
        return self.prepare.to_scored(level.sort(dim=-1).values.numpy(), data, rows)

    def point(self, scored: FloatArray) -> FloatArray:
        """Give one number per step and target, (n, S, K): the median of quantiles, else the forecast itself."""
        if self.recipe.loss != "quantile":
            return scored[..., 0]
        levels = np.array(self.recipe.quantiles)
        return np.apply_along_axis(lambda q: np.interp(0.5, levels, q), -1, scored)

    def joined(self, others: Sequence["SeriesModel"]) -> Self:
        """Give the mean of this model and others that differ in seed only."""
        return replace(
            self, networks=(*self.networks, *(network for other in others for network in other.networks))
        )

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
        if metadata.get("kind") != "heldout series model" or metadata.get("version") != 1:
            raise ModelFileError(
                f"not a model that this version reads: kind {metadata.get('kind')!r}, version {metadata.get('version')!r}"
            )
        try:
            recipe, shape = Recipe.from_dict(metadata["recipe"]), Shape(**metadata["shape"])
            check_number("n_networks", metadata["n_networks"], 1, 1000)
            networks = []
            for number in range(metadata["n_networks"]):
                with torch.device(
                    "meta"
                ):  # sizes that the file claims are not believed until tensors of them are there
                    network = Network(shape, recipe)
                own = {
                    name.partition(".")[2]: value
                    for name, value in tensors.items()
                    if name.startswith(f"{number}.")
                }
                network.load_state_dict(own, assign=True)
                network.requires_grad_(False).eval()
                networks.append(network)
            return cls(
                recipe, Prepare.from_dict(metadata["prepare"]), shape, tuple(networks), metadata["task"]
            )
        except (KeyError, TypeError, RuntimeError, ValueError, OverflowError) as error:
            raise ModelFileError(f"the model file does not describe a model: {error}") from error


def fit_series(
    data: SeriesData,
    train_rows: IntArray,
    valid_rows: IntArray,
    recipe: Recipe,
    *,
    seed: int = 0,
    checkpoint: Checkpoint | None = None,
    report: Report | None = None,
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
    checkpoint : Checkpoint, optional
        Lets a killed fit go on from its last epoch.
    report : callable, optional
        Told of every epoch.

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
    recipe = settle(recipe, data)
    assert recipe.lookback is not None
    for part in (train_rows, valid_rows):
        data.check_origins(part, recipe.lookback)
    prepare = Prepare.fit(data, train_rows, recipe.lookback, recipe)
    windows = prepare.apply(data, recipe.lookback)
    shape = Shape(
        lookback=recipe.lookback,
        n_inputs=windows.inputs.shape[1],
        n_targets=len(data.targets),
        n_steps=len(data.steps),
        n_outputs=n_outputs(recipe),
        n_future=len(data.future),
        n_static=len(data.static_names),
    )
    with torch.random.fork_rng(devices=[]):  # building a module draws from torch's own generator first
        network = Network(shape, recipe, generator=torch.Generator().manual_seed(seed))
    rows = torch.from_numpy(train_rows), torch.from_numpy(valid_rows)
    if network.shortcut is not None and recipe.shortcut == "ridge":
        _start_from_ridge(network, windows, *rows, recipe)
    history = train(network, windows, *rows, recipe, seed=seed, checkpoint=checkpoint, report=report)
    if recipe.shrink and recipe.shortcut == "ridge":
        _shrink(network, windows, rows[1], recipe)
    task = {
        "targets": list(data.targets),
        "past": list(data.past),
        "future": list(data.future),
        "static": list(data.static_names),
        "horizon": data.horizon,
        "last_step_only": data.last_step_only,
        "frequency": asdict(data.frequency),
    }
    return SeriesModel(recipe, prepare, shape, (network,), task), history


def _start_from_ridge(
    network: Network, windows: Windows, train_rows: Tensor, valid_rows: Tensor, recipe: Recipe
) -> None:
    """Set the shortcut to the ridge solution on the training rows; it is then held fixed.

    The validation rows choose the penalty, and whether a target is forecast from all inputs or from its own lags.
    """
    shortcut, shape = network.shortcut, network.shape
    assert shortcut is not None
    parts = spread(train_rows, MAX_ROWS), spread(valid_rows, MAX_ROWS)
    for number in range(len(shortcut.weight)):
        targets = list(range(shape.n_targets)) if network.shared else [number]
        choices = [slice(number * shape.lookback, (number + 1) * shape.lookback)]
        if network.shared:
            choices = [slice(0, shape.lookback)]
        elif shape.lookback < shortcut.weight.shape[1] <= MAX_FEATURES:
            choices.append(slice(None))
        fits = [
            fit_ridge(*(_features_and_labels(shortcut, windows, rows, targets, which) for rows in parts))
            for which in choices
        ]
        found, which = min(zip(fits, choices, strict=True), key=lambda pair: pair[0].valid_loss)
        weight = torch.from_numpy(found.coefficients).float()[:, :, None]  # the same for all quantiles
        levels = torch.zeros(shape.n_outputs)
        if recipe.loss == "quantile":
            blocks = _features_and_labels(shortcut, windows, parts[0], targets, which)
            errors = np.concatenate([y - x @ found.coefficients - found.intercept for x, y in blocks])
            levels = torch.from_numpy(np.quantile(errors, recipe.quantiles)).float()
        with torch.no_grad():
            shortcut.weight[number, which] = weight.expand(-1, -1, shape.n_outputs).flatten(1)
            shortcut.bias[number] = (torch.from_numpy(found.intercept).float()[:, None] + levels).flatten()
    shortcut.requires_grad_(False)


def _features_and_labels(
    shortcut: Shortcut, windows: Windows, rows: Tensor, targets: Sequence[int], which: slice
) -> Iterator[tuple[FloatArray, FloatArray]]:
    for part in rows.split(_RIDGE_BLOCK):
        batch = windows.gather(part)
        y = batch.y / batch.scale if batch.scale is not None else batch.y
        features = shortcut.features(batch.x)
        for place, target in enumerate(targets):
            yield features[place, :, which].double().numpy(), y[:, :, target].double().numpy()


def _shrink(network: Network, windows: Windows, valid_rows: Tensor, recipe: Recipe) -> None:
    """Keep half of what the LSTM adds to its shortcut, unless all of it is better by more than one standard error.

    The error is that of means over blocks of the validation rows: neighbours share most of their window.
    """
    rows = spread(valid_rows, recipe.valid_samples)
    losses = []
    for gain in (0.5, 1.0):
        network.gain.fill_(gain)
        losses.append(evaluate(network, windows, rows, recipe).numpy())
    length = max(_SHRINK_BLOCK, 2 * int(windows.steps[-1]) * len(rows) // len(valid_rows))
    difference = losses[0] - losses[1]
    blocks = np.array([block.mean() for block in np.array_split(difference, max(1, len(rows) // length))])
    error = blocks.std(ddof=1) / np.sqrt(len(blocks)) if len(blocks) > 1 else np.inf
    network.gain.fill_(1.0 if difference.mean() > error else 0.5)
