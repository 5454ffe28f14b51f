import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from heldout.check import InputError
from heldout.nn.lstm import LSTM
from heldout.nn.penalties import (
    activation_penalty,
    l2_penalty,
    max_norm_,
    proximal_l1_,
    temporal_penalty,
    weight_groups,
)

OPTIMIZERS = {
    "sgd": lambda params: torch.optim.SGD(params, lr=0.1),
    "momentum": lambda params: torch.optim.SGD(params, lr=0.02, momentum=0.9),
    "dampened": lambda params: torch.optim.SGD(params, lr=0.02, momentum=0.9, dampening=0.5),
    "nesterov": lambda params: torch.optim.SGD(params, lr=0.02, momentum=0.9, nesterov=True),
    "adam": lambda params: torch.optim.Adam(params, lr=0.01),
    "amsgrad": lambda params: torch.optim.Adam(params, lr=0.01, amsgrad=True),
    "adamw": lambda params: torch.optim.AdamW(params, lr=0.01, weight_decay=0.0),
}


def test_l2_is_the_sum_of_squares_and_its_gradient_twice_the_weight():
    weights = [torch.randn(3, 2, requires_grad=True), torch.randn(4, requires_grad=True)]
    penalty = l2_penalty(weights, 0.25)
    assert penalty.item() == pytest.approx(
        0.25 * sum(v**2 for w in weights for v in w.flatten().tolist()), rel=1e-5
    )
    penalty.backward()
    for weight in weights:
        torch.testing.assert_close(weight.grad, 0.5 * weight.detach())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_l1_finds_the_known_solution_with_exact_zeros(name):
    # min 1/2 (w - a)^2 curvature + l1 |w|, coordinate by coordinate: w = soft(a, l1 / curvature)
    a = torch.tensor([3.0, -2.0, 0.4, -0.3, 0.0])
    curvature = torch.tensor([1.0, 2.0, 1.0, 0.5, 3.0])
    weight = nn.Parameter(torch.tensor([1.0, 1.0, -1.0, 1.0, 1.0]))
    optimizer = OPTIMIZERS[name]([weight])
    for _ in range(2000):
        optimizer.zero_grad()
        (0.5 * curvature * (weight - a) ** 2).sum().backward()
        optimizer.step()
        proximal_l1_(optimizer, [weight], 0.5)
    wanted = a.sign() * (a.abs() - 0.5 / curvature).clamp(min=0)
    torch.testing.assert_close(weight.data, wanted, rtol=0, atol=2e-3)
    assert (weight[2:] == 0).all()


@pytest.mark.parametrize("amsgrad", [False, True])
def test_the_threshold_under_adam_is_the_step_size_of_each_coordinate(amsgrad):
    weight = nn.Parameter(torch.tensor([5.0, -5.0, 5.0]))
    optimizer = torch.optim.Adam([weight], lr=0.1, amsgrad=amsgrad, eps=1e-3)
    second, largest = [0.0] * 3, [0.0] * 3
    for gradient in ([1.0, 2.0, -4.0], [0.1, 0.0, 0.0]):
        weight.grad = torch.tensor(gradient)
        optimizer.step()
        second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradient, strict=True)]
        largest = [max(v, m) for v, m in zip(second, largest, strict=True)]
    before = weight.detach().clone()
    proximal_l1_(optimizer, [weight], 0.3)
    v_hat = [v / (1 - 0.999**2) for v in (largest if amsgrad else second)]
    thresholds = torch.tensor([0.1 * 0.3 / (math.sqrt(v) + 1e-3) for v in v_hat])
    torch.testing.assert_close((before - weight.data).abs(), thresholds)


def test_l1_leaves_alone_what_it_was_not_given_and_what_adam_has_not_stepped():
    used, unused, other = (nn.Parameter(torch.ones(2)) for _ in range(3))
    optimizer = torch.optim.Adam([used, unused, other], lr=0.1)
    (used.sum() + other.sum()).backward()
    optimizer.step()
    before = other.detach().clone()
    proximal_l1_(optimizer, [used, unused], 0.5)
    assert torch.equal(unused.data, torch.ones(2))
    assert torch.equal(other.data, before)
    assert (used < before).all()


def test_l1_reads_the_learning_rate_of_the_weight_s_own_group():
    slow, fast = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([{"params": [slow], "lr": 0.1}, {"params": [fast], "lr": 0.2}])
    proximal_l1_(optimizer, [slow, fast], 1.0)
    torch.testing.assert_close(torch.cat([slow, fast]).data, torch.tensor([0.9, 0.8]))


def test_l1_refuses_what_it_cannot_do():
    weight = nn.Parameter(torch.ones(2, 3))
    with pytest.raises(InputError, match="l1 works with SGD, Adam and AdamW, got RMSprop"):
        proximal_l1_(torch.optim.RMSprop([weight]), [weight], 0.1)
    with pytest.raises(InputError, match=r"weight of shape \(2, 3\) is not a parameter of the optimizer"):
        proximal_l1_(torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1), [weight], 0.1)
    with pytest.raises(InputError, match=r"l1 must be in \[0, inf\), got -1"):
        proximal_l1_(torch.optim.SGD([weight], lr=0.1), [weight], -1)


@given(limit=st.floats(0.1, 5), seed=st.integers(0, 50))
def test_max_norm_bounds_every_row_keeps_its_direction_and_spares_short_ones(limit, seed):
    weight = torch.randn(6, 4, generator=torch.Generator().manual_seed(seed), requires_grad=True)
    before = weight.detach().clone()
    max_norm_([weight], limit)
    norms = before.norm(dim=1)
    assert (weight.detach().norm(dim=1) <= limit * (1 + 1e-6)).all()
    assert torch.equal(weight.detach()[norms <= limit * (1 - 1e-6)], before[norms <= limit * (1 - 1e-6)])
    wanted = before * (limit / norms).clamp(max=1).unsqueeze(1)
    torch.testing.assert_close(weight.detach(), wanted, rtol=1e-5, atol=1e-6)


def ragged(batch_first=False):
    lengths = [4, 1, 0, 3]
    output = torch.randn(
        4, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )  # (T, B, P)
    mask = torch.tensor([[t < length for length in lengths] for t in range(4)])
    output[~mask] = float("nan")
    rows = [output[:length, b] for b, length in enumerate(lengths)]
    return (output.transpose(0, 1), mask.T, rows) if batch_first else (output, mask, rows)


@pytest.mark.parametrize("batch_first", [False, True])
def test_ar_and_tar_are_means_over_the_real_steps_only(batch_first):
    output, mask, rows = ragged(batch_first)
    leaf = output.clone().requires_grad_()
    ar = activation_penalty(leaf, 2.0, mask)
    tar = temporal_penalty(leaf, 3.0, mask, batch_first=batch_first)
    torch.testing.assert_close(ar, 2 * torch.cat(rows).square().mean())
    torch.testing.assert_close(tar, 3 * torch.cat([row.diff(dim=0) for row in rows]).square().mean())
    (ar + tar).backward()
    assert leaf.grad.isfinite().all()
    assert (leaf.grad[~mask] == 0).all()


def test_tar_does_not_count_the_step_out_of_padding_on_the_left():
    output = torch.tensor([9.0, 1.0, 3.0]).reshape(3, 1, 1)
    mask = torch.tensor([[False], [True], [True]])
    assert temporal_penalty(output, 1.0, mask) == 4


def test_tar_without_mask_is_the_mean_over_all_differences_and_0_for_one_step():
    output = torch.randn(5, 2, 3)
    torch.testing.assert_close(temporal_penalty(output, 1.0), output.diff(dim=0).square().mean())
    torch.testing.assert_close(activation_penalty(output, 1.0), output.square().mean())
    assert temporal_penalty(output[:1], 1.0) == 0


def test_weight_groups_hold_each_parameter_once_and_only_matrices_are_penalised():
    network = nn.ModuleDict(
        {
            "embedding": nn.Embedding(5, 4),
            "lstm": LSTM(4, 3, num_layers=2, bidirectional=True, proj_size=2),
            "norm": nn.LayerNorm((2, 4)),
            "head": nn.Linear(4, 5),
        }
    )
    penalised, spared = weight_groups(network)
    assert list(penalised) == [
        n for n, _ in network.named_parameters() if n.startswith(("lstm.weight", "head.weight"))
    ]
    assert set(penalised) | set(spared) == dict(network.named_parameters()).keys()
    assert not set(penalised) & set(spared)
    network["head"].weight = network["embedding"].weight
    assert "embedding.weight" in weight_groups(network).spared


def test_bad_strengths_and_masks_are_named():
    with pytest.raises(InputError, match="l2 must be in"):
        l2_penalty([torch.ones(1)], -0.1)
    with pytest.raises(InputError, match="no weights to penalise"):
        l2_penalty([], 0.1)
    with pytest.raises(InputError, match=r"max_norm must be in \(0, inf\), got 0"):
        max_norm_([], 0)
    with pytest.raises(InputError, match="activation_penalty must be in"):
        activation_penalty(torch.ones(2, 2, 2), -1)
    with pytest.raises(InputError, match="temporal_penalty must be in"):
        temporal_penalty(torch.ones(2, 2, 2), float("nan"))
    with pytest.raises(
        InputError, match=r"mask must be a bool tensor of shape \(2, 3\).*got torch.bool of shape \(3, 2\)"
    ):
        activation_penalty(torch.ones(2, 3, 2), 1, torch.ones(3, 2, dtype=torch.bool))
