"""Which of three ways runs one direction of one layer: `choose` decides, `describe` tells.

native: our C++ kernel, float32 on the CPU; fused: torch's kernel (oneDNN, cuDNN); plain: step by step in PyTorch.
"""

import os
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from heldout.check import InputError, check_choice
from heldout.nn.kernels import native
from heldout.nn.recurrence import fused_lstm, plain_lstm

# Takes (x, h0, c0, weights, *, lengths, backwards) and, unless it is fused_lstm, recurrent_mask and zoneout.
Kernel = Callable[..., tuple[Tensor, Tensor, Tensor]]

VARIABLE = "HELDOUT_KERNEL"
_NAMES = ("native", "fused", "plain")
_PLAIN_TYPES = (Tensor, nn.Parameter)
_MASKS = "a recurrent mask per sequence or zoneout"
# where torch's kernel is faster: units from which, sequences a thread below which, steps up to which
_WIDE, _FEW, _SHORT = 256, 8, 4

_warned = False


def choose(
    tensors: Sequence[Tensor],
    *,
    masked: bool,
    projected: bool,
    ragged: bool,
    n_sequences: int,
    n_steps: int | None = None,
) -> Kernel:
    """Choose what runs the recurrence of a call.

    Parameters
    ----------
    tensors : sequence of Tensor
        The input, the initial state if one is given, and every weight.
    masked : bool
        Whether a recurrent mask per sequence or zoneout is in force, which only native and plain know.
    projected : bool
        Whether the layer projects its output, which native does not know.
    ragged : bool
        Whether there are lengths.
    n_sequences : int
        B, the size of the batch.
    n_steps : int, optional
        T, the number of steps; not given, they count as many.

    Returns
    -------
    callable
        ``native.native_lstm``, `fused_lstm` or `plain_lstm`.

    Raises
    ------
    InputError
        If the environment variable HELDOUT_KERNEL names a kernel that cannot run this call, or none at all.

    Examples
    --------
    >>> x = torch.zeros(5, 2, 3, dtype=torch.float64)
    >>> choose([x], masked=True, projected=False, ragged=False, n_sequences=2).__name__
    'plain_lstm'
    """
    reason = _not_native(tensors, projected=projected)
    if forced := os.environ.get(VARIABLE):
        return _forced(forced, reason, masked=masked)
    if (
        reason is None
        and native.missing is None
        and (masked or ragged or not _fused_is_faster(tensors[-1], n_sequences, n_steps))
    ):
        return native.native_lstm
    # on the CPU torch's kernel has no rule for transforms
    if not masked and not (tensors[0].is_cpu and _is_transformed()):
        return fused_lstm
    if reason is None:
        _warn_once()
    return plain_lstm


def describe() -> str:
    """Tell which kernel each kind of call takes on this machine, and why.

    Returns
    -------
    str
        Some lines of text: the native kernel's instruction set and threads, or why it is missing; then which kernel
        runs what.

    Examples
    --------
    >>> print(describe())  # doctest: +SKIP
    native kernel: avx512; threads: 2 (torch.get_num_threads())
    float32 on the CPU: native
    but with 256 units or more, no masks and no lengths: fused for fewer than 16 sequences
    and, without gradients, for up to 4 steps; second derivatives: plain PyTorch
    the rest (other types and devices, proj_size, torch.compile, torch.func, tracing): fused, torch's own kernel, or
    plain PyTorch for a recurrent mask per sequence or zoneout, and on the CPU for torch.func and forward mode
    """
    threads = torch.get_num_threads()
    lines = [f"native kernel: missing, {native.missing}"]
    if native.missing is None:
        lines = [f"native kernel: {native.instruction_sets[0]}; threads: {threads} (torch.get_num_threads())"]
    if forced := os.environ.get(VARIABLE):
        try:
            check_choice(VARIABLE, forced, _NAMES)
        except InputError as error:
            lines.append(f"every call: an error, {error}")
        else:
            lines.append(
                f"{VARIABLE}={forced} is set: every call takes {forced}, or is an error where it cannot"
            )
        return "\n".join(lines)
    rest = "everything"
    if native.missing is None:
        few = (
            f"for fewer than {_FEW * threads} sequences\nand, without gradients,"
            if threads > 1
            else "without gradients"
        )
        lines += [
            "float32 on the CPU: native",
            f"but with {_WIDE} units or more, no masks and no lengths: fused {few} for up to {_SHORT} steps; "
            "second derivatives: plain PyTorch",
        ]
        rest = "the rest (other types and devices, proj_size, torch.compile, torch.func, tracing)"
    lines.append(
        f"{rest}: fused, torch's own kernel, or\n"
        f"plain PyTorch for {_MASKS}, and on the CPU for torch.func and forward mode"
    )
    return "\n".join(lines)


def _fused_is_faster(weight: Tensor, n_sequences: int, n_steps: int | None) -> bool:
    """Whether native has too few sequences for its threads, or too few steps to repay packing (docs/decisions.md)."""
    if len(weight) < 4 * _WIDE:
        return False
    threads = torch.get_num_threads()
    if threads > 1 and n_sequences < _FEW * threads:  # native cuts the batch, torch the units too
        return True
    return n_steps is not None and n_steps <= _SHORT and not torch.is_grad_enabled()


def _is_transformed() -> bool:
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def _not_native(tensors: Sequence[Tensor], *, projected: bool) -> str | None:
    """What the native kernel lacks for this call, None if nothing; called at every forward."""
    if torch.compiler.is_compiling():
        return "torch.compile"
    if projected:
        return "proj_size"
    for tensor in tensors:
        if tensor.dtype is not torch.float32 or not tensor.is_cpu:
            return f"{tensor.dtype} on {tensor.device}"
        if type(tensor) not in _PLAIN_TYPES or tensor.layout is not torch.strided:
            return f"a {type(tensor).__name__} of layout {tensor.layout}"
    # what follows tensors through torch's operations would not see into the kernel
    if _is_transformed():
        return "a transform of torch.func or forward-mode differentiation"
    if torch._C._len_torch_dispatch_stack() or torch._C._get_tracing_state() is not None:
        return "tracing or a TorchDispatchMode"
    return None


def _forced(name: str, reason: str | None, *, masked: bool) -> Kernel:
    check_choice(VARIABLE, name, _NAMES)
    if name == "plain":
        return plain_lstm
    if name == "fused":
        if masked:
            raise InputError(
                f"{VARIABLE}=fused: torch's kernel does not know {_MASKS}: unset the variable, or set it to plain"
            )
        return fused_lstm
    if native.missing is not None or reason is not None:
        why = f"does not take {reason}" if native.missing is None else f"is missing, {native.missing}"
        raise InputError(
            f"{VARIABLE}=native: the native kernel {why}: unset the variable, or set it to plain"
        )
    return native.native_lstm


def _warn_once() -> None:
    global _warned  # noqa: PLW0603 - once a process is what is meant
    if not _warned:
        _warned = True
        warnings.warn(
            f"heldout: {_MASKS} runs in plain PyTorch, many times slower, because the native kernel is missing "
            f"({native.missing}): reinstall heldout where a C++ compiler is found, or use weight_dropout",
            stacklevel=2,
        )
