"""One LSTM layer in one direction: `lstm_recurrence` and `plain_lstm` in plain PyTorch, `fused_lstm` on torch's kernel.

Axes: T time, B batch, F features, H hidden units, P units of the output (H without a projection).
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear

from heldout.check import InputError

Weights = Sequence[Tensor]
Zoneout = tuple[Tensor | float, Tensor | float]

# A gate this far out is exactly 0 or 1 in every floating type, and 1e4 itself is finite in float16.
SATURATED = 1e4


def lstm_recurrence(
    gates_x: Tensor,
    h0: Tensor,
    c0: Tensor,
    weight_hh: Tensor,
    *,
    weight_hr: Tensor | None = None,
    recurrent_mask: Tensor | None = None,
    zoneout: Zoneout | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run one LSTM layer forward in time, from the input's share of the gates.

    Nothing in here is random: masks are drawn before and passed in. Any floating dtype and device; can be
    differentiated twice.

    Parameters
    ----------
    gates_x : Tensor of shape (T, B, 4H)
        ``x_t @ weight_ih.T + bias_ih + bias_hh`` of all steps, gates in torch's order i, f, g, o.
    h0 : Tensor of shape (B, P)
        The output before the first step.
    c0 : Tensor of shape (B, H)
        The cell before the first step.
    weight_hh : Tensor of shape (4H, P)
        The recurrent weights.
    weight_hr : Tensor of shape (P, H), optional
        The projection of the output (``proj_size`` of `torch.nn.LSTM`).
    recurrent_mask : Tensor of shape (B, P), optional
        Multiplies h_{t-1} on its way into the gates, the same at every step; scaled by 1 / (1 - rate) already.
    zoneout : pair (z_h, z_c), optional
        The share of the old h and of the old cell that is kept: tensors of shape (T, B, P) and (T, B, H) holding
        0 and 1 in training, the two rates in evaluation, which gives the expectation.
    lengths : Tensor of shape (B,), int64, optional
        The number of real steps of each sequence, 0 to T, in any order; the rest is padding at the end, and whatever
        it holds (NaN too) has no effect.

    Returns
    -------
    outputs : Tensor of shape (T, B, P)
        h_t of every step, 0 past the length.
    h_n : Tensor of shape (B, P)
        h at the length; ``h0`` where the length is 0.
    c_n : Tensor of shape (B, H)
        The cell at the length; ``c0`` where the length is 0.

    References
    ----------
    Hochreiter & Schmidhuber 1997, Neural Computation 9(8), with the forget gate of Gers et al. 2000.
    Gal & Ghahramani 2016, arXiv:1512.05287 (``recurrent_mask``: their mask on h_{t-1}).
    Krueger et al. 2017, arXiv:1606.01305, section 3 (``zoneout``: h_t is made from the new cell before the cell's own
    zoneout, as in the paper).

    Examples
    --------
    >>> T, B, H = 5, 2, 3
    >>> zeros = torch.zeros(B, H)
    >>> outputs, h_n, c_n = lstm_recurrence(torch.zeros(T, B, 4 * H), zeros, zeros, torch.zeros(4 * H, H))
    >>> outputs.shape, h_n.shape, c_n.shape
    (torch.Size([5, 2, 3]), torch.Size([2, 3]), torch.Size([2, 3]))
    """
    n_steps = len(gates_x)
    real = None
    if lengths is not None:
        real = real_steps(n_steps, lengths).unsqueeze(2)  # (T, B, 1)
        gates_x = torch.where(real, gates_x, 0.0)
    keep_h = keep_c = None
    if zoneout is not None:
        keep_h = _at_every_step(zoneout[0], gates_x, n_steps)
        keep_c = _at_every_step(zoneout[1], gates_x, n_steps)

    h, c, outputs = h0, c0, []
    # unbind, not gates_x[t]: the gradient of T selections would fill T tensors of the full size
    for t, gates_t in enumerate(gates_x.unbind()):
        h_in = h if recurrent_mask is None else h * recurrent_mask
        i, f, g, o = (gates_t + h_in @ weight_hh.T).chunk(4, dim=1)
        new_c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        new_h = o.sigmoid() * new_c.tanh()
        if weight_hr is not None:
            new_h = new_h @ weight_hr.T
        if keep_h is not None and keep_c is not None:
            new_h = keep_h[t] * h + (1 - keep_h[t]) * new_h
            new_c = keep_c[t] * c + (1 - keep_c[t]) * new_c
        if real is not None:
            new_h, new_c = torch.where(real[t], new_h, h), torch.where(real[t], new_c, c)
        h, c = new_h, new_c
        outputs.append(h)

    stacked = torch.stack(outputs)
    return (stacked if real is None else torch.where(real, stacked, 0.0)), h, c


def plain_lstm(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    weights: Weights,
    *,
    recurrent_mask: Tensor | None = None,
    zoneout: Zoneout | None = None,
    lengths: Tensor | None = None,
    backwards: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run one LSTM layer in one direction step by step: the reference for any kernel, which has the same arguments.

    Any floating dtype and device; can be differentiated twice, forwards, and under the transforms of `torch.func`.

    Parameters
    ----------
    x : Tensor of shape (T, B, F)
        The input; what it holds in the padding (NaN too) has no effect.
    h0, c0 : Tensor of shape (B, P) and (B, H)
        The state before the first step.
    weights : sequence of Tensor
        weight_ih, weight_hh, then bias_ih and bias_hh if there are biases, then weight_hr if there is a projection.
    recurrent_mask, zoneout, lengths : optional
        As `lstm_recurrence` takes them; ``zoneout`` goes by the step in the order of reading.
    backwards : bool, default False
        Whether each sequence is read from its last real step to its first; ``outputs`` keep the order of ``x``.

    Returns
    -------
    outputs, h_n, c_n : Tensor
        As `lstm_recurrence` gives; with ``backwards``, the state after the first step of each sequence.

    Examples
    --------
    >>> layer = torch.nn.LSTM(4, 3)
    >>> outputs, h_n, c_n = plain_lstm(
    ...     torch.randn(5, 2, 4), torch.zeros(2, 3), torch.zeros(2, 3), layer.all_weights[0], backwards=True
    ... )
    >>> bool((outputs[0] == h_n).all())
    True
    """
    if lengths is not None:
        x = torch.where(real_steps(len(x), lengths).unsqueeze(2), x, 0.0)  # not a product: NaN times 0 is NaN
    if backwards:
        x = reverse(x, lengths)
    outputs, h_n, c_n = lstm_recurrence(
        linear(x, weights[0], weights[2] + weights[3] if len(weights) >= 4 else None),
        h0,
        c0,
        weights[1],
        weight_hr=weights[-1] if len(weights) in (3, 5) else None,
        recurrent_mask=recurrent_mask,
        zoneout=zoneout,
        lengths=lengths,
    )
    return (reverse(outputs, lengths) if backwards else outputs), h_n, c_n


def fused_lstm(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    weights: Weights,
    *,
    lengths: Tensor | None = None,
    backwards: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run one LSTM layer in one direction with torch's own kernel (oneDNN, cuDNN), padded sequences included.

    Arguments and results are those of `plain_lstm`, without masks and zoneout, which torch's kernels do not know. The
    weights may be any tensors, masked ones too: gradients flow back through them.

    Notes
    -----
    The kernel knows no lengths. One more input column says "padding", and its weights shut the input gate and open the
    forget gate, so that the cell stands still, exactly, from the length on, and no gradient arises there. Where the
    length is 0 the state is ``h0`` and ``c0`` themselves.

    Examples
    --------
    >>> layer = torch.nn.LSTM(4, 3)
    >>> zeros = torch.zeros(2, 3)
    >>> outputs, h_n, c_n = fused_lstm(
    ...     torch.randn(5, 2, 4), zeros, zeros, layer.all_weights[0], lengths=torch.tensor([5, 2])
    ... )
    >>> outputs[2:, 1].abs().max().item()
    0.0
    """
    real = None
    if lengths is not None:
        real = real_steps(len(x), lengths).unsqueeze(2)  # (T, B, 1)
        shut, open_, free = (x.new_full((c0.shape[1], 1), gate) for gate in (-SATURATED, SATURATED, 0.0))
        x = torch.cat([torch.where(real, x, 0.0), (~real).to(x.dtype)], 2)
        weights = [torch.cat([weights[0], torch.cat([shut, open_, free, free])], 1), *weights[1:]]
    # the training form whenever a gradient may be wanted: cuDNN has no backward for the other one
    outputs, h_n, c_n = torch.lstm(
        reverse(x, lengths) if backwards else x,
        (h0.unsqueeze(0), c0.unsqueeze(0)),
        list(weights),
        len(weights) >= 4,
        1,
        0.0,
        torch.is_grad_enabled(),
        False,
        False,
    )
    h_n, c_n = h_n[0], c_n[0]
    if lengths is not None and real is not None:
        outputs = torch.where(real, outputs, 0.0)
        at_length = (lengths - 1).clamp(min=0)[None, :, None].expand(1, *h0.shape)
        any_real = lengths.unsqueeze(1) > 0
        h_n = torch.where(any_real, outputs.gather(0, at_length)[0], h0.to(outputs.dtype))
        c_n = torch.where(any_real, c_n, c0.to(c_n.dtype))  # a huge h0 outweighs the column
    return (reverse(outputs, lengths) if backwards else outputs), h_n, c_n


def check_lengths(lengths: Tensor | Sequence[int], x: Tensor) -> Tensor:
    """Give the lengths of padded sequences as int64, on the device of the sequences.

    Parameters
    ----------
    lengths : Tensor of whole numbers or sequence of int, of shape (B,)
        The number of real steps of each sequence.
    x : Tensor of shape (T, B, F)
        The sequences.

    Returns
    -------
    Tensor of shape (B,), int64

    Raises
    ------
    InputError
        If they are not B whole numbers in 0 to T.

    Examples
    --------
    >>> check_lengths([3, 0], torch.zeros(3, 2, 1))
    tensor([3, 0])
    """
    try:
        lengths = torch.as_tensor(lengths, device=x.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"LSTM: lengths must be whole numbers up to the steps of input, got {lengths!r}"
        ) from error
    n_steps, n_batch, _ = x.shape
    if n_batch and (lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool):
        raise InputError(f"LSTM: lengths must be whole numbers, got {lengths.dtype}")
    lengths = lengths.long()
    if lengths.shape != (n_batch,):
        raise InputError(
            f"LSTM: lengths must have shape ({n_batch},), one per sequence, got {tuple(lengths.shape)}"
        )
    if n_batch and not 0 <= int(lengths.min()) <= int(lengths.max()) <= n_steps:
        raise InputError(
            f"LSTM: lengths must lie in 0 to {n_steps}, the steps of input, got {int(lengths.min())} to {int(lengths.max())}"
        )
    return lengths


def reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Turn each sequence round in time, leaving its padding at the end.

    Parameters
    ----------
    x : Tensor of shape (T, B, F)
        The sequences.
    lengths : Tensor of shape (B,), int64, or None
        The number of real steps of each; None if all are real.

    Returns
    -------
    Tensor of shape (T, B, F)

    Examples
    --------
    >>> reverse(torch.tensor([[[1]], [[2]], [[9]]]), torch.tensor([2])).flatten()
    tensor([2, 1, 9])
    """
    if lengths is None:
        return x.flip(0)
    step = torch.arange(len(x), device=x.device).unsqueeze(1)  # (T, 1)
    source = torch.where(step < lengths, lengths - 1 - step, step)  # (T, B)
    return x.gather(0, source.unsqueeze(2).expand_as(x))


def real_steps(n_steps: int, lengths: Tensor) -> Tensor:
    """Give the mask that is true at the steps that hold data and false in the padding.

    Parameters
    ----------
    n_steps : int
        T, the padded length.
    lengths : Tensor of shape (B,), int64
        The number of real steps of each sequence.

    Returns
    -------
    Tensor of shape (T, B), bool

    Examples
    --------
    >>> real_steps(3, torch.tensor([2, 0])).int()
    tensor([[1, 0],
            [1, 0],
            [0, 0]], dtype=torch.int32)
    """
    return torch.arange(n_steps, device=lengths.device).unsqueeze(1) < lengths


def _at_every_step(keep: Tensor | float, like: Tensor, n_steps: int) -> tuple[Tensor, ...]:
    keep = torch.as_tensor(keep, dtype=like.dtype, device=like.device)
    return keep.unbind() if keep.dim() else (keep,) * n_steps
