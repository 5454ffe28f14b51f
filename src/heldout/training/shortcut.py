"""The linear shortcut of a forecaster of series: started as ridge before training, weighed against the LSTM after it."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from heldout.data.runs import Runs
from heldout.data.series import FloatArray
from heldout.data.windows import Windows
from heldout.nn.networks import Network, Shortcut
from heldout.recipe import Recipe
from heldout.training.evaluation import evaluate, spread
from heldout.training.ridge import MAX_FEATURES, MAX_ROWS, fit_ridge
from heldout.training.shared import Parts, Shared, key_of

_RIDGE_BLOCK = 4096
_SHRINK_BLOCK = 20


def start_from_ridge(
    network: Network,
    windows: Windows,
    train_rows: Tensor,
    valid_rows: Tensor,
    recipe: Recipe,
    *,
    shared: Shared | None = None,
) -> None:
    """Set the shortcut to the ridge solution on the training rows; it is then held fixed.

    The validation rows choose the penalty, and whether a target is forecast from all inputs or from its own lags.

    Parameters
    ----------
    network : Network
        With a shortcut; changed in place.
    windows : Windows
        The prepared series.
    train_rows, valid_rows : Tensor of int64
        Origins.
    recipe : Recipe
        ``loss``, ``quantiles``.
    shared : Shared, optional
        May hold the solution of another fit to the same windows, of whatever size and seed; it reads all of them to find that.
    """
    shortcut, shape = network.shortcut, network.shape
    assert shortcut is not None
    quantiles = recipe.quantiles if recipe.loss == "quantile" else ()

    def solve() -> Parts:
        _solve(network, windows, (train_rows, valid_rows), quantiles)
        shortcut.requires_grad_(False)
        return {name: value.numpy() for name, value in shortcut.state_dict().items()}, {}

    if shared is None:
        solve()
        return
    about = [network.shared, shape._asdict(), windows.lookback, windows.window_norm, quantiles]
    seen = (windows.inputs, windows.level, windows.steps, windows.differenced, train_rows, valid_rows)
    found, _ = shared.get(key_of("ridge start", about, *seen), solve)
    shortcut.load_state_dict({name: torch.from_numpy(value) for name, value in found.items()})
    shortcut.requires_grad_(False)


def _solve(
    network: Network, windows: Windows, rows: tuple[Tensor, Tensor], quantiles: Sequence[float]
) -> None:
    """Put the ridge solution into the shortcut."""
    shortcut, shape = network.shortcut, network.shape
    assert shortcut is not None
    train_rows, valid_rows = rows
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
        if quantiles:
            blocks = _features_and_labels(shortcut, windows, parts[0], targets, which)
            errors = np.concatenate([y - x @ found.coefficients - found.intercept for x, y in blocks])
            levels = torch.from_numpy(np.quantile(errors, quantiles)).float()
        with torch.no_grad():
            shortcut.weight[number, which] = weight.expand(-1, -1, shape.n_outputs).flatten(1)
            shortcut.bias[number] = (torch.from_numpy(found.intercept).float()[:, None] + levels).flatten()


def _features_and_labels(
    shortcut: Shortcut, windows: Windows, rows: Tensor, targets: Sequence[int], which: slice
) -> Iterator[tuple[FloatArray, FloatArray]]:
    for part in rows.split(_RIDGE_BLOCK):
        batch = windows.gather(part)
        y = batch.y / batch.scale if batch.scale is not None else batch.y
        features = shortcut.features(batch.x)
        for place, target in enumerate(targets):
            yield features[place, :, which].double().numpy(), y[:, :, target].double().numpy()


def shrink(network: Network, windows: Windows, valid_rows: Tensor | Runs, recipe: Recipe) -> None:
    """Keep half of what the LSTM adds to its shortcut, unless all of it is better by more than one standard error.

    The error is that of means over blocks of the validation rows: neighbours share most of their window.

    Parameters
    ----------
    network : Network
        Trained, with a shortcut; its gain is set.
    windows : Windows
        The prepared series.
    valid_rows : Tensor of int64, or Runs
        Origins.
    recipe : Recipe
        ``valid_samples`` and the loss.
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
