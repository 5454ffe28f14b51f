"""`LSTM`: `torch.nn.LSTM` with the regularisers that belong inside the layer, and padded batches.

`LSTM.forward` draws the masks and calls, once a layer and direction, the kernel that `kernels.dispatch.choose` gives:

1. native: our C++ kernel, for float32 on the CPU, which knows masks, zoneout and lengths;
2. fused: torch's kernel (oneDNN, cuDNN), elsewhere; where nothing is in force at all, `torch.nn.LSTM.forward` itself;
3. plain: step by step in PyTorch, for recurrent masks per sequence and zoneout where there is no native kernel.

Axes: T time, B batch, F features, H hidden units, P units of the output (H without a projection), D directions,
L layers.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from heldout.check import InputError, check_choice, check_number
from heldout.nn.kernels.dispatch import Kernel, choose
from heldout.nn.masks import draw, drop, keep
from heldout.nn.recurrence import check_lengths, fused_lstm

State = tuple[Tensor, Tensor]

_DROPOUTS = ("input_dropout", "recurrent_dropout", "output_dropout", "weight_dropout", "dropout")


class LSTM(nn.LSTM):
    """`torch.nn.LSTM` that can be regularised inside, and reads right-padded sequences at full speed.

    A drop-in: the same arguments, the same ``state_dict``, and with every rate at 0 the same numbers, but for the
    rounding of another kernel (`heldout.nn.kernels.describe`). All rates act in training mode only, save ``zoneout``,
    which takes its expectation in evaluation. Raising any of them makes overfitting less likely and fitting slower. No
    mask is ever written to a parameter or kept on the module.

    Parameters
    ----------
    input_size : int
        F, the number of features of one step.
    hidden_size : int
        H, the number of units. More units overfit more.
    num_layers : int, default 1
        L, the number of stacked layers.
    bias : bool, default True
        Whether the gates have biases.
    batch_first : bool, default False
        Whether input and output are (B, T, ·) instead of (T, B, ·).
    dropout : float in [0, 1), default 0
        As in `torch.nn.LSTM`: between stacked layers only, drawn anew at every step.
    bidirectional : bool, default False
        Whether a second direction reads each sequence from its end.
    proj_size : int, default 0
        P, the size that h is projected to; 0 for no projection.
    device, dtype : optional
        Where the parameters live and their type.
    input_dropout : float in [0, 1), default 0
        Probability of dropping a feature of the first layer's input for a whole sequence.
    recurrent_dropout : float in [0, 1), default 0
        Probability of dropping a unit of h_{t-1} on its way into the gates, for a whole sequence; every layer and
        direction has its own mask.
    output_dropout : float in [0, 1), default 0
        Probability of dropping a unit of a layer's output for a whole sequence; every layer.
    weight_dropout : float in [0, 1), default 0
        Probability of dropping an entry of ``weight_hh`` for one call (DropConnect); every layer and direction.
    zoneout : float in [0, 1) or pair (z_h, z_c), default 0
        Probability that a unit of h, and of the cell, keeps its old value at a step.
    recurrent_mask : {"sequence", "batch"}, default "sequence"
        Whether ``recurrent_dropout`` draws a mask for each sequence, or one that all sequences of a call share. The
        shared one is folded into the columns of ``weight_hh``, so it runs on cuDNN: for a GPU, where masks per sequence
        and zoneout run step by step. It costs variety, one perturbation instead of B, and did worse on small data.

    Raises
    ------
    InputError
        If a rate is outside [0, 1), ``recurrent_mask`` is another word, or ``dropout`` is given for one layer, where it
        would do nothing.

    Notes
    -----
    **Shape**: input (T, B, F), or (B, T, F) with ``batch_first``, or (T, F) for one sequence; output the same with D·P
    in place of F; ``h_n`` (L·D, B, P) and ``c_n`` (L·D, B, H).

    References
    ----------
    Gal & Ghahramani 2016, arXiv:1512.05287 (input, recurrent and output masks held over time; here one recurrent mask
    serves all four gates; one mask a batch is what TensorFlow's ``DropoutWrapper(variational_recurrent=True)`` draws).
    Merity, Keskar & Socher 2018, arXiv:1708.02182 (weight_dropout). Krueger et al. 2017,
    arXiv:1606.01305 (zoneout). Jozefowicz, Zaremba & Sutskever 2015 (forget bias 1).

    Examples
    --------
    >>> layer = LSTM(8, 16, batch_first=True, recurrent_dropout=0.3, output_dropout=0.2)
    >>> layer
    LSTM(8, 16, batch_first=True, recurrent_dropout=0.3, output_dropout=0.2)
    >>> outputs, (h_n, c_n) = layer(torch.randn(4, 10, 8), lengths=torch.tensor([10, 7, 0, 3]))
    >>> outputs.shape, h_n.shape
    (torch.Size([4, 10, 16]), torch.Size([1, 4, 16]))
    """

    weight_ih_l0: Tensor
    recurrent_mask = "sequence"  # for modules pickled before it was an argument

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        output_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        zoneout: float | tuple[float, float] = 0.0,
        recurrent_mask: str = "sequence",
    ) -> None:
        rates = (input_dropout, recurrent_dropout, output_dropout, weight_dropout, dropout)
        z_h, z_c = zoneout if isinstance(zoneout, Sequence) and len(zoneout) == 2 else (zoneout, zoneout)
        for name, rate in zip((*_DROPOUTS, "zoneout", "zoneout"), (*rates, z_h, z_c), strict=True):
            check_number(name, rate, 0, 1, open_high=True)
        check_choice("recurrent_mask", recurrent_mask, ("sequence", "batch"))
        if dropout and num_layers == 1:
            raise InputError(
                f"dropout acts between stacked layers only, so {dropout} would do nothing with num_layers=1: "
                "use output_dropout"
            )
        sizes = input_size, hidden_size, num_layers
        super().__init__(*sizes, bias, batch_first, dropout, bidirectional, proj_size, device, dtype)
        self.input_dropout = input_dropout
        self.recurrent_dropout = recurrent_dropout
        self.output_dropout = output_dropout
        self.weight_dropout = weight_dropout
        self.zoneout = (z_h, z_c)
        self.recurrent_mask = recurrent_mask

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights anew: recurrent orthogonal by gate, input Xavier-uniform, forget bias 1, other biases 0.

        Parameters
        ----------
        generator : torch.Generator, optional
            The source of randomness; torch's default one if not given.

        Examples
        --------
        >>> layer = LSTM(3, 2)
        >>> layer.reset_parameters(torch.Generator().manual_seed(0))
        >>> layer.bias_ih_l0.tolist()
        [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
        """
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name.startswith("weight_hh"):
                    for gate in parameter.chunk(4):
                        # the factorisation behind orthogonal_ does not know half precision
                        wide = torch.empty_like(gate, dtype=torch.promote_types(gate.dtype, torch.float32))
                        gate.copy_(nn.init.orthogonal_(wide, generator=generator))
                elif name.startswith("weight"):
                    nn.init.xavier_uniform_(parameter, generator=generator)
                else:
                    parameter.zero_()
                if name.startswith("bias_ih"):  # torch adds two biases: a total of 1 for the forget gate
                    parameter[self.hidden_size : 2 * self.hidden_size] = 1

    def forward(  # type: ignore[override]  # lengths and generator are added
        self,
        input: Tensor | PackedSequence,
        hx: State | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor | PackedSequence, State]:
        """Read a batch of sequences.

        Parameters
        ----------
        input : Tensor of shape (T, B, F), (B, T, F) or (T, F), or PackedSequence
            The sequences, padded at the end where ``lengths`` is given. Padding may hold anything, NaN too.
        hx : pair of Tensors (h_0, c_0) of shape (L·D, B, P) and (L·D, B, H), optional
            The state before the first step; 0 if not given.
        lengths : int Tensor or sequence of shape (B,), optional
            The number of real steps of each sequence, 0 to T, in any order.
        generator : torch.Generator, optional
            The source of the masks, on any device; torch's default one if not given.

        Returns
        -------
        output : Tensor of shape (T, B, D·P), (B, T, D·P) or (T, D·P), or PackedSequence
            The last layer's h of every step, 0 past the length.
        (h_n, c_n) : pair of Tensors
            The state after each sequence's last real step, shaped as ``hx``.

        Raises
        ------
        InputError
            If a shape, or a length, does not fit.
        """
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise InputError(
                    "LSTM: a PackedSequence carries its own lengths, leave the argument lengths out"
                )
            return self._forward_packed(input, hx, generator)
        self._check(input, hx, self.batch_first)
        x, hx = self._in_own_type(input, hx)
        weights = self.all_weights
        kernel = self._kernel(x, hx, weights, ragged=lengths is not None)
        if kernel is fused_lstm and lengths is None and not any(self._rate(name) for name in _DROPOUTS):
            return super().forward(input, hx)

        if x.dim() == 2:
            hx = None if hx is None else (hx[0].unsqueeze(1), hx[1].unsqueeze(1))
            output, (h_n, c_n) = self._layers(kernel, weights, x.unsqueeze(1), hx, lengths, generator)
            return output.squeeze(1), (h_n.squeeze(1), c_n.squeeze(1))
        if self.batch_first:
            output, state = self._layers(kernel, weights, x.transpose(0, 1), hx, lengths, generator)
            return output.transpose(0, 1), state
        return self._layers(kernel, weights, x, hx, lengths, generator)

    def _forward_packed(
        self, packed: PackedSequence, hx: State | None, generator: torch.Generator | None
    ) -> tuple[PackedSequence, State]:
        x, own = pad_packed_sequence(packed)  # (T, B, F), in the caller's order, as hx is
        self._check(x, hx, batch_first=False)
        x, hx = self._in_own_type(x, hx)
        weights = self.all_weights
        output, state = self._layers(
            self._kernel(x, hx, weights, ragged=True), weights, x, hx, own, generator
        )
        if packed.sorted_indices is not None:
            output, own = output[:, packed.sorted_indices], own[packed.sorted_indices.to(own.device)]
        data = pack_padded_sequence(output, own).data
        return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices), state

    def _in_own_type(self, x: Tensor, hx: State | None) -> tuple[Tensor, State | None]:
        """Give the input in the weights' type, from which it differs under autocast only."""
        dtype = self.weight_ih_l0.dtype
        x = x if x.dtype is dtype else x.to(dtype)
        return x, None if hx is None else (hx[0].to(dtype), hx[1].to(dtype))

    def _kernel(
        self, x: Tensor, hx: State | None, weights: list[list[nn.Parameter]], *, ragged: bool
    ) -> Kernel:
        by_sequence = self._rate("recurrent_dropout") > 0 and self.recurrent_mask == "sequence"
        return choose(
            [x, *(hx or ()), *chain(*weights)],
            masked=by_sequence or any(self.zoneout),
            projected=self.proj_size > 0,
            ragged=ragged,
            n_sequences=x.shape[0 if self.batch_first else 1] if x.dim() == 3 else 1,
            n_steps=x.shape[1 if self.batch_first and x.dim() == 3 else 0],
        )

    def _layers(
        self,
        kernel: Kernel,
        weights: list[list[nn.Parameter]],
        x: Tensor,
        hx: State | None,
        lengths: Tensor | Sequence[int] | None,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, State]:
        kind = x.device.type
        if kernel is not fused_lstm and _in_autocast(kind):
            # in full precision, but with the type that torch's kernel gives
            with torch.autocast(kind, enabled=False):
                output, (h_n, c_n) = self._layers(kernel, weights, x, hx, lengths, generator)
            dtype = x.dtype if x.dtype is torch.float64 else torch.get_autocast_dtype(kind)
            return output.to(dtype), (h_n.to(dtype), c_n.to(dtype))

        n_batch, n_directions = x.shape[1], 2 if self.bidirectional else 1
        if hx is None:
            # one row of zeros serves every layer and direction, and h and c where they are as long
            (rows, *h_shape), (_, *c_shape) = self._state_shapes(n_batch)
            zeros = x.new_zeros(c_shape)
            h_0, c_0 = (zeros if h_shape == c_shape else x.new_zeros(h_shape),) * rows, (zeros,) * rows
        else:
            h_0, c_0 = (value.unbind() for value in hx)
        if lengths is not None:
            lengths = check_lengths(lengths, x)
        x = drop(x, self._rate("input_dropout"), x.shape[1:], generator)
        last_h, last_c = [], []
        for layer in range(self.num_layers):
            outputs = []
            for k in range(layer * n_directions, (layer + 1) * n_directions):
                state = h_0[k], c_0[k]
                own, masks = self._draw(weights[k], len(x), state, generator)
                output, h, c = kernel(
                    x, *state, own, lengths=lengths, backwards=k % n_directions == 1, **masks
                )
                outputs.append(output)
                last_h.append(h)
                last_c.append(c)
            x = torch.cat(outputs, 2) if self.bidirectional else outputs[0]
            x = drop(x, self._rate("output_dropout"), x.shape[1:], generator)
            if layer < self.num_layers - 1:
                x = drop(x, self._rate("dropout"), x.shape, generator, batch=1)
        return x, (
            torch.stack(last_h),
            torch.stack(last_c),
        )  # of one layer too: a view cannot be detached in place

    def _draw(
        self, weights: Sequence[Tensor], n_steps: int, state: State, generator: torch.Generator | None
    ) -> tuple[list[Tensor], dict[str, Any]]:
        """Give one direction's weights, some dropped, and the masks that the kernel is to apply."""
        weight_ih, weight_hh, *rest = weights
        weight_hh = drop(weight_hh, self._rate("weight_dropout"), weight_hh.shape, generator, batch=None)
        masks: dict[str, Any] = {}
        h, _ = state
        if rate := self._rate("recurrent_dropout"):
            if self.recurrent_mask == "batch":  # W (m * h) is (W * m) h where all sequences share m
                weight_hh = drop(weight_hh, rate, weight_hh.shape[1:], generator, batch=None)
            else:
                masks["recurrent_mask"] = keep(rate, h.shape, h, generator)
        if any(self.zoneout):
            masks["zoneout"] = self.zoneout
            if self.training:
                masks["zoneout"] = tuple(
                    draw(rate, (n_steps, *old.shape), old, generator, batch=1)
                    for rate, old in zip(self.zoneout, state, strict=True)
                )
        return [weight_ih, weight_hh, *rest], masks

    def _rate(self, name: str) -> float:
        return getattr(self, name) if self.training else 0.0

    def _state_shapes(self, *n_batch: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        rows = self.num_layers * (2 if self.bidirectional else 1)
        return (rows, *n_batch, self.proj_size or self.hidden_size), (rows, *n_batch, self.hidden_size)

    def _check(self, x: Tensor, hx: State | None, batch_first: bool) -> None:
        shape = tuple(x.shape)
        if len(shape) not in (2, 3):
            raise InputError(
                f"LSTM: input must have 2 dimensions (one sequence) or 3 (a batch), got shape {shape}"
            )
        if shape[-1] != self.input_size:
            raise InputError(
                f"LSTM: the last dimension of input must be input_size={self.input_size}, got shape {shape}"
            )
        self._check_type("input", x)
        batched = len(shape) == 3
        if shape[1 if batched and batch_first else 0] == 0:
            raise InputError(
                f"LSTM: input must hold at least one step, got shape {shape} with batch_first={batch_first}"
            )
        if hx is None:
            return
        if not isinstance(hx, tuple | list) or len(hx) != 2:
            raise InputError(f"LSTM: hx must be a pair (h_0, c_0), got {type(hx).__name__}")
        n_batch = (shape[0 if batch_first else 1],) if batched else ()
        for name, given, wanted in zip(("h_0", "c_0"), hx, self._state_shapes(*n_batch), strict=True):
            if not isinstance(given, Tensor):
                raise InputError(f"LSTM: {name} must be a Tensor, got {type(given).__name__}")
            if tuple(given.shape) != wanted:
                raise InputError(f"LSTM: {name} must have shape {wanted}, got {tuple(given.shape)}")
            self._check_type(name, given)

    def _check_type(self, name: str, given: Tensor) -> None:
        dtype = self.weight_ih_l0.dtype
        if given.dtype is dtype or (given.is_floating_point() and _in_autocast(given.device.type)):
            return
        raise InputError(
            f"LSTM: {name} must be {dtype}, as the weights are, got {given.dtype}: convert one of them"
        )

    def extra_repr(self) -> str:
        """Give the arguments that are not at their defaults."""
        rates: dict[str, Any] = {name: getattr(self, name) for name in _DROPOUTS if name != "dropout"}
        rates["zoneout"] = self.zoneout if any(self.zoneout) else 0
        if self.recurrent_mask != "sequence":
            rates["recurrent_mask"] = repr(self.recurrent_mask)
        return ", ".join([super().extra_repr(), *(f"{name}={rate}" for name, rate in rates.items() if rate)])


def _in_autocast(device_type: str) -> bool:
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)
