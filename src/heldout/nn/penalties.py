"""What keeps weights and activations small: terms for the loss, and steps to take after the optimiser's.

Three things that are often taken for one: `l2_penalty` is in the loss, weight decay (AdamW) acts beside it on the
weights `weight_groups` picks, and `proximal_l1_` acts after the optimiser's step and gives exact zeros.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from heldout.check import InputError, check_number

_WITH_MATRICES = (nn.RNNBase, nn.RNNCellBase, nn.Linear)


class WeightGroups(NamedTuple):
    """The parameters of a module by name, each in one of two groups.

    Parameters
    ----------
    penalised : dict of str to nn.Parameter
        The matrices of recurrent and linear layers: what decay and penalties act on.
    spared : dict of str to nn.Parameter
        Everything else: biases, embeddings, parameters of normalisation layers.
    """

    penalised: dict[str, nn.Parameter]
    spared: dict[str, nn.Parameter]


def weight_groups(module: nn.Module) -> WeightGroups:
    """Split a module's parameters into the ones to decay or penalise and the ones to leave alone.

    Biases and normalisation scales are few and do not overfit by being large; rows of an embedding that a batch does
    not touch would decay without a gradient. A matrix shared with an embedding is spared.

    Parameters
    ----------
    module : nn.Module
        Any network.

    Returns
    -------
    WeightGroups
        Every parameter once, in the order of ``module.named_parameters()``.

    Examples
    --------
    >>> network = nn.ModuleDict({"lstm": nn.LSTM(2, 3), "head": nn.Linear(3, 1)})
    >>> groups = weight_groups(network)
    >>> sorted(groups.penalised)
    ['head.weight', 'lstm.weight_hh_l0', 'lstm.weight_ih_l0']
    >>> optimizer = torch.optim.AdamW([
    ...     {"params": list(groups.penalised.values()), "weight_decay": 0.01},
    ...     {"params": list(groups.spared.values()), "weight_decay": 0.0},
    ... ])
    """
    matrices: set[nn.Parameter] = set()
    others: set[nn.Parameter] = set()
    for owner in module.modules():
        for parameter in owner.parameters(recurse=False):
            is_matrix = isinstance(owner, _WITH_MATRICES) and parameter.dim() >= 2
            (matrices if is_matrix else others).add(parameter)
    groups = WeightGroups({}, {})
    for name, parameter in module.named_parameters():
        (groups.penalised if parameter in matrices - others else groups.spared)[name] = parameter
    return groups


def l2_penalty(weights: Iterable[Tensor], strength: float) -> Tensor:
    """Give ``strength`` times the sum of squares of the weights, a term to add to the loss.

    The same as Keras's ``L2``: no factor of 1/2, no mean. Not the same as weight decay under Adam, which divides this
    gradient by its own size; see Loshchilov & Hutter.

    Parameters
    ----------
    weights : iterable of Tensor
        What to penalise, as ``weight_groups(network).penalised.values()``.
    strength : float, at least 0
        Larger overfits less.

    Returns
    -------
    Tensor of shape ()

    Raises
    ------
    InputError
        If there are no weights, or ``strength`` is negative.

    References
    ----------
    Loshchilov & Hutter 2019, arXiv:1711.05101.

    Examples
    --------
    >>> l2_penalty([torch.tensor([1.0, 2.0]), torch.tensor([3.0])], 0.5)
    tensor(7.)
    """
    check_number("l2", strength, 0, float("inf"), open_high=True)
    squares = [weight.square().sum() for weight in weights]
    if not squares:
        raise InputError("l2 was asked for but there are no weights to penalise: pass at least one tensor")
    return strength * torch.stack(squares).sum()


@torch.no_grad()
def proximal_l1_(optimizer: Optimizer, weights: Iterable[Tensor], strength: float) -> None:
    """Shrink weights towards 0 after ``optimizer.step()``, so that those the data do not need become exactly 0.

    ``w <- sign(w) max(|w| - threshold, 0)``, the proximal operator of ``strength * sum(|w|)`` in the metric of the
    optimiser: ``threshold = lr * strength`` for SGD (over ``1 - momentum``, which momentum makes of a step) and ``lr * strength / (sqrt(v_hat) + eps)``, one for each
    coordinate, for Adam and AdamW. A term ``|w|`` in the loss would leave the weights hovering round 0 instead.
    With AMSGrad, v_hat is the running maximum that the optimiser divides by. Weights that Adam has not stepped yet have
    no v_hat and are left as they are.

    Parameters
    ----------
    optimizer : torch.optim.SGD, Adam or AdamW
        The optimiser that has just made its step; read, not changed.
    weights : iterable of Tensor
        What to shrink; each must be a parameter of ``optimizer``.
    strength : float, at least 0
        Larger gives more zeros; 1e-6 to 1e-3 is usual.

    Raises
    ------
    InputError
        If the optimiser is another one or does not hold a weight, or ``strength`` is negative.

    References
    ----------
    Yun, Lozano & Yang 2021, "Adaptive proximal gradient methods for structured neural networks" (ProxGen), NeurIPS.

    Examples
    --------
    >>> weight = nn.Parameter(torch.tensor([1.0, -0.05, -2.0]))
    >>> proximal_l1_(torch.optim.SGD([weight], lr=0.1), [weight], 1.0)
    >>> weight.data
    tensor([ 0.9000,  0.0000, -1.9000])
    """
    check_number("l1", strength, 0, float("inf"), open_high=True)
    if not isinstance(optimizer, torch.optim.SGD | torch.optim.Adam | torch.optim.AdamW):
        raise InputError(
            f"l1 works with SGD, Adam and AdamW, got {type(optimizer).__name__}: choose one of those"
        )
    group_of = {parameter: group for group in optimizer.param_groups for parameter in group["params"]}
    for weight in weights:
        if weight not in group_of:
            raise InputError(
                f"l1: a weight of shape {tuple(weight.shape)} is not a parameter of the optimizer: "
                "pass it to the optimizer too, or leave it out here"
            )
        threshold = _threshold(optimizer, weight, group_of[weight], strength)
        weight.sub_(weight.clamp(-threshold, threshold))


def max_norm_(weights: Iterable[Tensor], limit: float) -> None:
    """Scale every row that is longer than ``limit`` down to it; to be called after ``optimizer.step()``.

    A row of a weight matrix holds what goes into one unit, or into one gate of an LSTM unit. Shorter rows are not
    touched.

    Parameters
    ----------
    weights : iterable of Tensor of shape (n_rows, ...)
        What to bound, changed in place.
    limit : float, above 0
        The largest Euclidean norm of a row, usually 3 to 4; smaller overfits less.

    Raises
    ------
    InputError
        If ``limit`` is not above 0.

    References
    ----------
    Srivastava et al. 2014, "Dropout", JMLR 15, section 5.1.

    Examples
    --------
    >>> weight = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    >>> max_norm_([weight], 1.0)
    >>> weight
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    check_number("max_norm", limit, 0, float("inf"), open_low=True, open_high=True)
    with torch.no_grad():
        for weight in weights:
            weight.renorm_(2, 0, limit)


def activation_penalty(output: Tensor, alpha: float, mask: Tensor | None = None) -> Tensor:
    """Give ``alpha * mean(h_t ** 2)``, a term for the loss that keeps an LSTM's output small (AR).

    Parameters
    ----------
    output : Tensor of shape (T, B, P) or (B, T, P)
        The last layer's output, after its dropout.
    alpha : float, at least 0
        Larger overfits less; 2 in the paper's language models.
    mask : bool Tensor of shape ``output.shape[:2]``, optional
        True where the step is real; padding, whatever it holds, does not count.

    Returns
    -------
    Tensor of shape ()

    Raises
    ------
    InputError
        If ``alpha`` is negative or the shape of ``mask`` does not fit.

    References
    ----------
    Merity, McCann & Socher 2017, arXiv:1708.01009, section 3.1 (coded by the authors, and here, as a mean of squares
    and not as a norm).

    Examples
    --------
    >>> activation_penalty(torch.full((3, 2, 4), 2.0), 0.5)
    tensor(2.)
    """
    check_number("activation_penalty", alpha, 0, float("inf"), open_high=True)
    return alpha * _mean_square(output, _checked_mask(output, mask))


def temporal_penalty(
    output: Tensor, beta: float, mask: Tensor | None = None, *, batch_first: bool = False
) -> Tensor:
    """Give ``beta * mean((h_{t+1} - h_t) ** 2)``, a term for the loss that makes an LSTM's output change slowly (TAR).

    Parameters
    ----------
    output : Tensor of shape (T, B, P), or (B, T, P) with ``batch_first``
        The last layer's output, before its dropout.
    beta : float, at least 0
        Larger overfits less; 1 in the paper's language models.
    mask : bool Tensor of shape ``output.shape[:2]``, optional
        True where the step is real; a difference counts if both its steps are.
    batch_first : bool, default False
        Whether time is the second axis.

    Returns
    -------
    Tensor of shape ()
        0 where no sequence has two steps.

    Raises
    ------
    InputError
        If ``beta`` is negative or the shape of ``mask`` does not fit.

    References
    ----------
    Merity, McCann & Socher 2017, arXiv:1708.01009, section 3.2.

    Examples
    --------
    >>> ramp = torch.arange(5.0)[:, None, None].expand(5, 2, 3)
    >>> temporal_penalty(ramp, 0.5)
    tensor(0.5000)
    """
    check_number("temporal_penalty", beta, 0, float("inf"), open_high=True)
    mask = _checked_mask(output, mask)
    if batch_first:
        output, mask = output.transpose(0, 1), mask.transpose(0, 1)
    output = torch.where(mask.unsqueeze(2), output, 0.0)  # NaN in the padding would get into the gradient
    return beta * _mean_square(output[1:] - output[:-1], mask[1:] & mask[:-1])


def _threshold(optimizer: Optimizer, weight: Tensor, group: dict[str, Any], strength: float) -> Tensor:
    step_size = float(group["lr"]) * strength
    if isinstance(optimizer, torch.optim.SGD):
        if group["momentum"]:  # a constant gradient moves the weight by this much more
            step_size *= (1 - group["dampening"]) / (1 - group["momentum"])
        return weight.new_tensor(step_size)
    state = optimizer.state.get(weight)
    if not state:
        return weight.new_tensor(0.0)
    second = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
    v_hat = second / (1 - group["betas"][1] ** float(state["step"]))
    return step_size / (v_hat.sqrt() + group["eps"])


def _checked_mask(output: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return output.new_ones(output.shape[:2], dtype=torch.bool)
    if mask.shape != output.shape[:2] or mask.dtype != torch.bool:
        raise InputError(
            f"mask must be a bool tensor of shape {tuple(output.shape[:2])}, as output's first two dimensions, "
            f"got {mask.dtype} of shape {tuple(mask.shape)}"
        )
    return mask


def _mean_square(values: Tensor, mask: Tensor) -> Tensor:
    squares = torch.where(mask.unsqueeze(2), values, 0.0).square().sum()
    return squares / (mask.sum() * values.shape[2]).clamp(min=1)
