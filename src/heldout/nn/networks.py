"""`Network`: window in, forecasts out. LSTM, pooling, dense head, and the options a recipe can ask for."""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from heldout.base_recipe import BaseRecipe
from heldout.check import InputError
from heldout.nn.lstm import LSTM
from heldout.nn.masks import drop
from heldout.nn.pooling import pool
from heldout.recipe import Recipe

# Axes: B batch, T time, F inputs, D hidden, S steps ahead, K targets, Q quantiles, C future covariates, P static ones.


class Shape(NamedTuple):
    """Sizes that the data give.

    Attributes
    ----------
    lookback : int
        T, rows in a window.
    n_inputs : int
        F, inputs per row; targets first.
    n_targets : int
        K, targets (1 for classes).
    n_steps : int
        S, steps ahead (1 for classes).
    n_outputs : int
        Q, numbers per target and step: 1, the number of quantiles, or the number of classes.
    n_future, n_static : int
        C and P, covariates known ahead and static ones.
    """

    lookback: int
    n_inputs: int
    n_targets: int = 1
    n_steps: int = 1
    n_outputs: int = 1
    n_future: int = 0
    n_static: int = 0


class Output(NamedTuple):
    """What `Network.forward` gives: the forecast (B, S, K, Q) and the LSTM's outputs (B, T, D), for activation penalties."""

    forecast: Tensor
    states: Tensor


def recurrent_layer(input_size: int, recipe: BaseRecipe) -> LSTM:
    """Give the LSTM that a recipe asks for, rates left open being 0."""
    return LSTM(
        input_size,
        recipe.hidden_size,
        recipe.num_layers,
        batch_first=True,
        bidirectional=recipe.bidirectional,
        input_dropout=recipe.input_dropout or 0.0,
        recurrent_dropout=recipe.recurrent_dropout or 0.0,
        recurrent_mask=recipe.recurrent_mask,
        output_dropout=recipe.output_dropout or 0.0,
        weight_dropout=recipe.weight_dropout or 0.0,
        zoneout=recipe.zoneout or 0.0,
    )


class Shortcut(nn.Module):
    """A linear model from the window to every step ahead, starting at zero.

    Each target has its own, over all inputs; or all targets share one, over each target's own lags.

    Parameters
    ----------
    shape : Shape
        Sizes from the data.
    shared : bool
        One model for all targets.

    Notes
    -----
    **Shape**: (B, T, F) to (B, S, K, Q). ``weight`` is (models, T x columns, S x Q), ``bias`` (models, 1, S x Q); the
    features run over columns first, then time.
    """

    def __init__(self, shape: Shape, *, shared: bool) -> None:
        super().__init__()
        self.shape, self.shared = shape, shared
        columns, models = (1, 1) if shared else (shape.n_inputs, shape.n_targets)
        outputs = shape.n_steps * shape.n_outputs
        self.weight = nn.Parameter(torch.zeros(models, shape.lookback * columns, outputs))
        self.bias = nn.Parameter(torch.zeros(models, 1, outputs))

    def features(self, x: Tensor) -> Tensor:
        """What each model sees of windows (B, T, F): (K, B, T) if shared, else (1, B, F x T)."""
        if self.shared:
            return x[:, :, : self.shape.n_targets].permute(2, 0, 1)
        return x.transpose(1, 2).reshape(1, len(x), -1)

    def forward(self, x: Tensor) -> Tensor:
        """Forecast every target."""
        out = self.features(x) @ self.weight + self.bias  # (K, B, S Q)
        return out.view(len(out), len(x), self.shape.n_steps, self.shape.n_outputs).permute(1, 2, 0, 3)


class Network(nn.Module):
    """An LSTM over the window, pooled, then dense layers to every step, target and quantile at once.

    Parameters
    ----------
    shape : Shape
        Sizes from the data.
    recipe : Recipe
        Sizes and rates, `Recipe.resolved`.
    generator : torch.Generator or None
        Draws the starting weights.

    Notes
    -----
    With a shortcut the forecast is ``shortcut(window) + gain * head(LSTM(window - its last row))``: the linear part
    sees the level, the LSTM sees the shape. The output layer starts at zero, so an untrained network with a ridge
    shortcut forecasts what ridge does. ``gain`` is 1 unless it is set to shrink what the LSTM adds.
    With ``segment`` = n, n rows are embedded together (linear, ReLU) and fed as one step, after SegRNN (Lin et al.
    2023, arXiv 2308.11200); rows that do not fill a segment are left out at the old end of the window.
    With ``shared_columns`` each target column, beside the covariates, is a sample of its own.

    Examples
    --------
    >>> import torch
    >>> from heldout.recipe import Recipe
    >>> network = Network(Shape(lookback=20, n_inputs=3, n_steps=5), Recipe(hidden_size=8).resolved())
    >>> network(torch.randn(4, 20, 3)).forecast.shape
    torch.Size([4, 5, 1, 1])
    """

    def __init__(self, shape: Shape, recipe: Recipe, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.shared = recipe.shared_columns and shape.n_targets > 1
        self.pooling = recipe.pooling
        self.dense_dropout = recipe.dense_dropout or 0.0
        columns = shape.n_inputs - shape.n_targets + 1 if self.shared else shape.n_inputs
        self.segment = recipe.segment or 1
        if self.segment > shape.lookback:
            raise InputError(
                f"a segment of {self.segment} rows is longer than the window of {shape.lookback}: shorten it"
            )
        self.embed = nn.Linear(self.segment * columns, recipe.hidden_size) if self.segment > 1 else None
        self.lstm = recurrent_layer(recipe.hidden_size if self.embed is not None else columns, recipe)
        width = recipe.hidden_size * (2 if recipe.bidirectional else 1)
        self.attention = nn.Linear(width, 1) if recipe.pooling == "attention" else None
        n_states = recipe.num_layers * (2 if recipe.bidirectional else 1)
        self.initial = (
            nn.Linear(shape.n_static, 2 * n_states * recipe.hidden_size) if shape.n_static else None
        )
        sizes = [width, *recipe.dense]
        self.dense = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        targets = 1 if self.shared else shape.n_targets
        self.head = nn.Linear(sizes[-1], shape.n_steps * targets * shape.n_outputs)
        self.ahead = nn.Linear(shape.n_future, targets * shape.n_outputs) if shape.n_future else None
        self.shortcut = Shortcut(shape, shared=self.shared) if recipe.shortcut != "none" else None
        self.gain: Tensor
        self.register_buffer("gain", torch.ones(()))
        self.reset_parameters(generator)

    @classmethod
    def from_tensors(cls, shape: Shape, recipe: Recipe, tensors: Mapping[str, Tensor], number: int) -> Self:
        """Give the network whose tensors are named ``number.`` and then as in its state; in evaluation mode, frozen.

        Raises
        ------
        RuntimeError
            If the tensors do not fit.
        """
        start = f"{number}."
        own = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
        with torch.device(
            "meta"
        ):  # sizes that a file claims are not believed until tensors of them are there
            network = cls(shape, recipe)
        network.load_state_dict(own, assign=True)
        return network.requires_grad_(False).eval()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the starting weights; the output layers and the shortcut start at zero."""
        self.lstm.reset_parameters(generator)
        for module in [self.embed, self.attention, self.initial, *self.dense]:
            if module is not None:
                nn.init.xavier_uniform_(module.weight, generator=generator)
                nn.init.zeros_(module.bias)
        for module in [self.head, self.ahead]:
            if module is not None:
                nn.init.zeros_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(
        self,
        x: Tensor,
        *,
        future: Tensor | None = None,
        static: Tensor | None = None,
        lengths: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Output:
        """Forecast.

        Parameters
        ----------
        x : Tensor of shape (B, T, F)
            Windows.
        future : Tensor of shape (B, S, C), optional
            Covariates of the steps ahead; added, weighted, to the output of each step.
        static : Tensor of shape (B, P), optional
            Sets the LSTM's initial state.
        lengths : Tensor of shape (B,), optional
            Steps that hold data.
        generator : torch.Generator, optional
            Draws the masks in training.

        Returns
        -------
        Output
        """
        shape, n = self.shape, len(x)
        linear: Tensor | float = 0.0
        if self.shortcut is not None:
            linear = self.shortcut(x)
            x = x - x[:, -1:]
        if self.shared:
            x, static = self._columns_as_samples(x, static)
        hx = self._initial_state(static) if self.initial is not None and static is not None else None
        states, _ = self.lstm(self._steps(x), hx, lengths=lengths, generator=generator)  # (B, T, D)
        hidden = pool(states, lengths, self.pooling, attention=self.attention, halves=self.lstm.bidirectional)
        rate = self.dense_dropout if self.training else 0.0
        for layer in self.dense:
            hidden = layer(drop(hidden, rate, hidden.shape, generator)).relu()
        out = self.head(drop(hidden, rate, hidden.shape, generator))
        if self.shared:
            out = out.view(n, shape.n_targets, shape.n_steps, shape.n_outputs).transpose(1, 2)
        out = out.reshape(n, shape.n_steps, shape.n_targets, shape.n_outputs)
        if self.ahead is not None and future is not None:
            out = out + self.ahead(future).view(n, shape.n_steps, -1, shape.n_outputs)
        return Output(linear + self.gain * out, states)

    def _columns_as_samples(self, x: Tensor, static: Tensor | None) -> tuple[Tensor, Tensor | None]:
        k = self.shape.n_targets
        own = x[:, :, :k].transpose(1, 2).reshape(-1, x.shape[1], 1)  # (B K, T, 1)
        rest = x[:, :, k:].repeat_interleave(k, dim=0)
        return torch.cat([own, rest], dim=2), static.repeat_interleave(
            k, dim=0
        ) if static is not None else None

    def _steps(self, x: Tensor) -> Tensor:
        if self.embed is None:
            return x
        n, rows, columns = x.shape
        whole = rows // self.segment
        return self.embed(
            x[:, rows - whole * self.segment :].reshape(n, whole, self.segment * columns)
        ).relu()

    def _initial_state(self, static: Tensor) -> tuple[Tensor, Tensor]:
        assert self.initial is not None
        states = (
            self.initial(static).tanh().view(len(static), 2, -1, self.lstm.hidden_size).permute(1, 2, 0, 3)
        )
        return states[0].contiguous(), states[1].contiguous()
