"""`native_lstm`: one LSTM layer in one direction by heldout's own code for the CPU (``csrc/``), float32.

The extension takes addresses, not tensors, so that one build serves every torch. What it asks for, this module sees to: dense
float32 tensors of the right shapes, which stay alive during the call.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from heldout.nn.recurrence import plain_lstm

try:
    import heldout.nn.kernels._native as _native  # "from ... import" would blame an import that goes in a circle
except ImportError as error:
    _KERNELS: dict[str, Any] = {}
    missing: str | None = str(error)
    if isinstance(error, ModuleNotFoundError):
        missing = f"it was not built when heldout was installed: {error}"
else:
    _KERNELS = {kernel.isa: kernel for kernel in _native.kernels()}
    missing = None

DENSE = torch.contiguous_format

instruction_sets = tuple(_KERNELS)  # those this processor can run, the best first
_in_use = list(_KERNELS.values())[:1]


@contextmanager
def instruction_set(name: str) -> Iterator[None]:
    """Use the kernel of another instruction set for a while: for tests and measurements, not thread-safe.

    Parameters
    ----------
    name : str
        One of `instruction_sets`.
    """
    before = _in_use[0]
    _in_use[0] = _KERNELS[name]
    try:
        yield
    finally:
        _in_use[0] = before


def native_lstm(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    weights: Sequence[Tensor],
    *,
    recurrent_mask: Tensor | None = None,
    zoneout: tuple[Tensor | float, Tensor | float] | None = None,
    lengths: Tensor | None = None,
    backwards: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run one LSTM layer in one direction with the native kernel: float32 on the CPU, no projection.

    Parameters and results are those of `heldout.nn.recurrence.plain_lstm`, the values too, to rounding. The padding of x is
    never read. ``recurrent_mask`` and ``zoneout`` get no gradient.

    Notes
    -----
    The same bits come out whatever the number of threads (`torch.get_num_threads`). A second derivative is taken through
    `plain_lstm`.

    Examples
    --------
    >>> layer = torch.nn.LSTM(4, 3)
    >>> zeros = torch.zeros(2, 3)
    >>> kernel = plain_lstm if missing else native_lstm
    >>> outputs, h_n, c_n = kernel(torch.randn(5, 2, 4), zeros, zeros, layer.all_weights[0])
    >>> outputs.shape
    torch.Size([5, 2, 3])
    """
    inputs = _Inputs(x, h0, c0, *weights)
    if lengths is not None:
        # a copy, as the caller may write to his, of what plain_lstm makes of any numbers
        lengths = lengths.clamp(0, len(x)).to("cpu", torch.int64).contiguous()
    fixed = _Fixed(recurrent_mask, zoneout, lengths, backwards)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in inputs):
        return _Recurrence.apply(fixed, *inputs)  # type: ignore[no-untyped-call]  # torch has no types here
    outputs, h_n, c_n, _ = _forward(_in_use[0], fixed, inputs, for_backward=False)
    return outputs, h_n, c_n


class _Inputs(NamedTuple):
    """What a call can be differentiated by; also those gradients. Without biases the last two are None."""

    x: Any
    h0: Any
    c0: Any
    w_ih: Any
    w_hh: Any
    b_ih: Any = None
    b_hh: Any = None


class _Fixed(NamedTuple):
    recurrent_mask: Tensor | None
    zoneout: tuple[Tensor | float, Tensor | float] | None
    lengths: Tensor | None
    backwards: bool


class _Recurrence(Function):
    @staticmethod
    def forward(ctx: Any, fixed: _Fixed, *inputs: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.kernel, ctx.fixed = _in_use[0], fixed
        outputs, h_n, c_n, saved = _forward(ctx.kernel, fixed, _Inputs(*inputs), for_backward=True)
        ctx.save_for_backward(outputs, saved, *inputs)
        ctx.size = saved.shape
        return outputs, h_n, c_n

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        outputs, saved, *tensors = ctx.saved_tensors  # raises if one of them was changed in place
        inputs, needed = _Inputs(*tensors), ctx.needs_input_grad[1:]
        # create_graph=True, or is_grads_batched=True, whose tensors have no address
        if torch.is_grad_enabled() or any(map(_is_batched, grads)):
            return None, *_plain_backward(ctx.fixed, inputs, needed, grads)
        return None, *_backward(ctx, outputs, saved, inputs, needed, grads)


def _forward(
    kernel: Any, fixed: _Fixed, inputs: _Inputs, *, for_backward: bool
) -> tuple[Tensor, Tensor, Tensor, Any]:
    new, state = inputs.x.new_empty, inputs.h0.shape
    outputs, h_n, c_n = new((len(inputs.x), *state)), new(state), new(state)
    call, _alive = _describe(fixed, inputs, outputs)
    return outputs, h_n, c_n, kernel.forward(call, h_n.data_ptr(), c_n.data_ptr(), for_backward)


def _backward(
    ctx: Any,
    outputs: Tensor,
    saved: Tensor,
    inputs: _Inputs,
    needed: Sequence[bool],
    grads: Sequence[Tensor | None],
) -> _Inputs:
    saved = saved.contiguous()
    if not _fits(saved, ctx.size):
        raise RuntimeError(
            f"native_lstm: what was saved has shape {tuple(saved.shape)} and not {tuple(ctx.size)}"
        )
    found = _Inputs(
        *(
            torch.empty_like(tensor, memory_format=DENSE) if needs else None
            for tensor, needs in zip(inputs, needed, strict=True)
        )
    )
    d_outputs, d_h_n, d_c_n = (None if grad is None else _dense(grad) for grad in grads)
    call, _alive = _describe(ctx.fixed, inputs, outputs)
    ctx.kernel.backward(
        call,
        saved.data_ptr(),
        _strided(d_outputs),
        (_address(d_h_n), _address(d_c_n)),
        _strided(found.x),
        (_address(found.h0), _address(found.c0)),
        (_address(found.w_ih), _address(found.w_hh), _address(found.b_ih), _address(found.b_hh)),
    )
    return found


def _plain_backward(
    fixed: _Fixed, inputs: _Inputs, needed: Sequence[bool], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # views, so that a tensor that was given twice (for h0 and c0, say) gets each share once
        x, h0, c0, *weights = (tensor.view_as(tensor) for tensor in inputs if tensor is not None)
        results = plain_lstm(x, h0, c0, weights, **fixed._asdict())
    reached = [(result, grad) for result, grad in zip(results, grads, strict=True) if grad is not None]
    wanted = [tensor for tensor, needs in zip((x, h0, c0, *weights), needed, strict=False) if needs]
    found = iter(
        torch.autograd.grad(
            [result for result, _ in reached],
            wanted,
            [grad for _, grad in reached],
            create_graph=create_graph,
            allow_unused=True,
        )
    )
    return [next(found) if needs else None for needs in needed]


def _describe(fixed: _Fixed, inputs: _Inputs, outputs: Tensor) -> tuple[Any, list[Tensor | None]]:
    """Give a call as the extension takes it, and what owns the memory it speaks of."""
    (keep_h, rate_h), (keep_c, rate_c) = map(_share, fixed.zoneout or (0.0, 0.0))
    read = [_dense(tensor) for tensor in (*inputs, outputs, fixed.recurrent_mask, keep_h, keep_c)]
    x, h0, c0, w_ih, w_hh, b_ih, b_hh, outputs, mask, keep_h, keep_c = read
    n_steps, n_batch, n_features = x.shape
    n_units = w_hh.shape[1]
    state, steps, gates = (n_batch, n_units), (n_steps, n_batch, n_units), (4 * n_units,)
    weights = (*gates, n_features), (*gates, n_units), gates, gates
    # what the shapes promise is read: the data of a parameter may have been exchanged between forward and backward
    fit = all(map(_fits, read, (x.shape, state, state, *weights, steps, state, steps, steps)))
    known = n_units > 0 and (b_ih is None) == (b_hh is None) and max(n_steps, n_batch) < 2**31
    if not fit or not known or (fixed.lengths is not None and len(fixed.lengths) != n_batch):
        found = [
            tensor if tensor is None else (tensor.dtype, *tensor.shape) for tensor in (*read, fixed.lengths)
        ]
        raise RuntimeError(f"native_lstm: these types and shapes do not fit each other: {found}")
    call = _native.Call(
        (n_steps, n_batch, n_features, n_units),
        torch.get_num_threads(),
        fixed.backwards,
        _address(fixed.lengths),
        _strided(x),
        (h0.data_ptr(), c0.data_ptr()),
        (w_ih.data_ptr(), w_hh.data_ptr(), _address(b_ih), _address(b_hh)),
        _address(mask),
        fixed.zoneout is not None,
        (_address(keep_h), _address(keep_c)),
        (rate_h, rate_c),
        _strided(outputs),
    )
    return call, read


def _share(share: Tensor | float) -> tuple[Tensor | None, float]:
    return (share.contiguous(), 0.0) if isinstance(share, Tensor) and share.dim() else (None, float(share))


def _is_batched(grad: Tensor | None) -> bool:
    return grad is not None and torch._C._functorch.is_legacy_batchedtensor(grad)


def _dense(tensor: Any) -> Any:
    if tensor is not None and tensor.is_neg():
        tensor = tensor.resolve_neg()
    if tensor is None or tensor.is_contiguous() or (tensor.dim() == 3 and tensor.stride(2) == 1):
        return tensor  # steps and sequences may lie anywhere
    return tensor.contiguous()


def _fits(tensor: Tensor | None, shape: tuple[int, ...]) -> bool:
    return tensor is None or (tensor.dtype is torch.float32 and tensor.is_cpu and tensor.shape == shape)


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _strided(tensor: Tensor | None) -> tuple[int, int, int]:
    return (0, 0, 0) if tensor is None else (tensor.data_ptr(), tensor.stride(0), tensor.stride(1))
