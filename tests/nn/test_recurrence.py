import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import linear

from heldout.nn.recurrence import fused_lstm, lstm_recurrence, plain_lstm, real_steps, reverse

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
RTOL = {torch.float32: 1e-5, torch.float64: 1e-12}


def torch_layer(F=3, H=4, **options):
    torch.manual_seed(0)
    return nn.LSTM(F, H, dtype=torch.float64, **options)


def gates_of(layer, x):
    return linear(x, layer.weight_ih_l0, layer.bias_ih_l0 + layer.bias_hh_l0)


def by_hand(gates_x, h, c, weight_hh, *, weight_hr=None, mask=None, zone=None, length=None):
    """One sequence, one unit at a time, in Python numbers' order; gates_x (T, 4H)."""
    H = len(c)
    outputs = []
    for t in range(len(gates_x)):
        if length is not None and t >= length:
            outputs.append(torch.zeros_like(h))
            continue
        seen = h if mask is None else h * mask
        pre = [gates_x[t, k] + (weight_hh[k] * seen).sum() for k in range(4 * H)]
        cell, out = [], []
        for j in range(H):
            i, f, g, o = (pre[j + gate * H] for gate in range(4))
            fresh = torch.sigmoid(f) * c[j] + torch.sigmoid(i) * torch.tanh(g)
            out.append(torch.sigmoid(o) * torch.tanh(fresh))
            cell.append(fresh)
        new_h, new_c = torch.stack(out), torch.stack(cell)
        if weight_hr is not None:
            new_h = weight_hr @ new_h
        if zone is not None:
            new_h = zone[0][t] * h + (1 - zone[0][t]) * new_h
            new_c = zone[1][t] * c + (1 - zone[1][t]) * new_c
        h, c = new_h, new_c
        outputs.append(h)
    return torch.stack(outputs), h, c


@pytest.mark.parametrize("proj_size", [0, 2])
def test_equals_torch_in_double_precision_with_gradients(proj_size):
    layer = torch_layer(proj_size=proj_size)
    x = torch.randn(7, 5, 3, dtype=torch.float64, requires_grad=True)
    h0 = torch.randn(5, proj_size or 4, dtype=torch.float64, requires_grad=True)
    c0 = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    weight_hr = layer.weight_hr_l0 if proj_size else None
    ours = lstm_recurrence(gates_of(layer, x), h0, c0, layer.weight_hh_l0, weight_hr=weight_hr)
    output, (h_n, c_n) = layer(x, (h0[None], c0[None]))
    wanted = output, h_n[0], c_n[0]
    leaves = [x, h0, c0, *layer.parameters()]
    weights = [torch.randn_like(value) for value in wanted]

    def gradients(values):
        return torch.autograd.grad(sum((w * v).sum() for w, v in zip(weights, values, strict=True)), leaves)

    for got, want in zip((*ours, *gradients(ours)), (*wanted, *gradients(wanted)), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(
    T=st.integers(1, 6),
    B=st.integers(1, 4),
    H=st.integers(1, 4),
    P=st.integers(0, 3),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_masks_zoneout_and_lengths_equal_a_sequence_done_by_hand(T, B, H, P, seed, data):
    P = P if P < H else 0
    lengths = torch.tensor(data.draw(st.lists(st.integers(0, T), min_size=B, max_size=B)))
    torch.manual_seed(seed)
    torch.set_default_dtype(torch.float64)
    try:
        gates_x, h0, c0 = torch.randn(T, B, 4 * H), torch.randn(B, P or H), torch.randn(B, H)
        weight_hh, weight_hr = torch.randn(4 * H, P or H), torch.randn(P, H) if P else None
        mask, zone = torch.rand(B, P or H), (torch.rand(T, B, P or H).round(), torch.rand(T, B, H).round())
        outputs, h_n, c_n = lstm_recurrence(
            gates_x,
            h0,
            c0,
            weight_hh,
            weight_hr=weight_hr,
            recurrent_mask=mask,
            zoneout=zone,
            lengths=lengths,
        )
        for b in range(B):
            wanted = by_hand(
                gates_x[:, b], h0[b], c0[b], weight_hh, weight_hr=weight_hr, mask=mask[b],
                zone=(zone[0][:, b], zone[1][:, b]), length=int(lengths[b]),
            )  # fmt: skip
            torch.testing.assert_close((outputs[:, b], h_n[b], c_n[b]), wanted, rtol=1e-12, atol=1e-12)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("second", [False, True])
def test_gradients_are_right_with_mask_zoneout_lengths_and_projection(second):
    torch.manual_seed(1)
    T, B, H, P = 3, 3, 2, 1
    tensors = [
        torch.randn(s, dtype=torch.float64)
        for s in ((T, B, 4 * H), (B, P), (B, H), (4 * H, P), (P, H), (B, P))
    ]
    for tensor in tensors:
        tensor.requires_grad_()
    zone = torch.rand(T, B, P).round(), torch.rand(T, B, H).round()
    lengths = torch.tensor([2, 0, 3])

    def run(gates_x, h0, c0, weight_hh, weight_hr, mask):
        return lstm_recurrence(
            gates_x,
            h0,
            c0,
            weight_hh,
            weight_hr=weight_hr,
            recurrent_mask=mask,
            zoneout=zone,
            lengths=lengths,
        )

    check = torch.autograd.gradgradcheck if second else torch.autograd.gradcheck
    assert check(run, tensors)


def weights_of(layer):
    return layer.all_weights[0]


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"proj_size": 1}, {"bias": False, "proj_size": 1}])
def test_gradients_of_the_plain_layer_are_right(second, backwards, options):
    T, B, F, H, P = 3, 3, 2, 2, options.get("proj_size", 0) or 2
    layer = torch_layer(F, H, **options)
    torch.manual_seed(1)
    x, h0, c0 = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((T, B, F), (B, P), (B, H)))
    zone = torch.rand(T, B, P).round().double(), torch.rand(T, B, H).round().double()
    mask, lengths = torch.rand(B, P, dtype=torch.float64), torch.tensor([2, 0, 3])

    def call(x, h0, c0, *weights):
        options = {"recurrent_mask": mask, "zoneout": zone, "lengths": lengths, "backwards": backwards}
        return plain_lstm(x, h0, c0, weights, **options)

    check = torch.autograd.gradgradcheck if second else torch.autograd.gradcheck
    assert check(call, (x, h0, c0, *weights_of(layer)))


@pytest.mark.parametrize("kernel", [plain_lstm, fused_lstm])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"proj_size": 2}, {"bias": False, "proj_size": 2}])
def test_both_directions_equal_torch_s_bidirectional_layer(kernel, options):
    layer = torch_layer(bidirectional=True, **options)
    P = options.get("proj_size", 0) or 4
    x = torch.randn(7, 5, 3, dtype=torch.float64)
    h_0, c_0 = torch.randn(2, 5, P, dtype=torch.float64), torch.randn(2, 5, 4, dtype=torch.float64)
    output, (h_n, c_n) = layer(x, (h_0, c_0))
    for k, weights in enumerate(layer.all_weights):
        got = kernel(x, h_0[k], c_0[k], weights, backwards=k == 1)
        want = output[..., k * P : (k + 1) * P], h_n[k], c_n[k]
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", [plain_lstm, fused_lstm])
@pytest.mark.parametrize("backwards", [False, True])
def test_padding_reaches_neither_values_nor_gradients_and_each_sequence_is_read_from_its_own_end(
    kernel, backwards
):
    layer = torch_layer()
    lengths = torch.tensor([2, 0, 6, 1])
    x, (h0, c0) = torch.randn(6, 4, 3, dtype=torch.float64), torch.randn(2, 4, 4, dtype=torch.float64)
    x[~real_steps(6, lengths)] = float("nan")
    x.requires_grad_()
    outputs, h_n, c_n = kernel(x, h0, c0, weights_of(layer), lengths=lengths, backwards=backwards)
    found = torch.autograd.grad((outputs.sum() + h_n.sum() + c_n.sum()), [x, *weights_of(layer)])
    assert all(gradient.isfinite().all() for gradient in found)
    assert (found[0][~real_steps(6, lengths)] == 0).all()
    assert (outputs[~real_steps(6, lengths)] == 0).all()
    for b, length in enumerate(lengths.tolist()):
        own = (value[b : b + 1] for value in (h0, c0))
        if length:
            alone = kernel(x[:length, b : b + 1], *own, weights_of(layer), backwards=backwards)
        else:
            alone = x.new_zeros(0, 1, 4), *own
        got = outputs[:length, b : b + 1], h_n[b : b + 1], c_n[b : b + 1]
        torch.testing.assert_close(got, alone, rtol=1e-12, atol=1e-12)


def test_zoneout_rates_are_the_mean_of_one_step_over_many_masks():
    torch.manual_seed(2)
    B, H = 20000, 2
    gates_x = torch.randn(1, 1, 4 * H).expand(1, B, 4 * H)
    h0, c0, weight = torch.randn(1, H).expand(B, H), torch.randn(1, H).expand(B, H), torch.randn(4 * H, H)
    drawn = (torch.rand(1, B, H) < 0.3).float(), (torch.rand(1, B, H) < 0.6).float()
    _, h, c = lstm_recurrence(gates_x, h0, c0, weight, zoneout=drawn)
    _, h_mean, c_mean = lstm_recurrence(gates_x, h0, c0, weight, zoneout=(0.3, 0.6))
    torch.testing.assert_close(h.mean(0), h_mean[0], rtol=0, atol=0.02)
    torch.testing.assert_close(c.mean(0), c_mean[0], rtol=0, atol=0.02)


def test_a_unit_that_is_always_zoned_out_never_changes():
    h0, c0 = torch.randn(2, 3), torch.randn(2, 3)
    keep = torch.ones(4, 2, 3)
    outputs, h_n, c_n = lstm_recurrence(
        torch.randn(4, 2, 12), h0, c0, torch.randn(12, 3), zoneout=(keep, keep)
    )
    assert torch.equal(h_n, h0)
    assert torch.equal(c_n, c0)
    assert torch.equal(outputs, h0.expand(4, 2, 3))


def test_nan_past_the_length_reaches_neither_values_nor_gradients():
    gates_x = torch.randn(4, 2, 8)
    gates_x[2:, 0] = float("nan")
    gates_x.requires_grad_()
    weight = torch.randn(8, 2, requires_grad=True)
    zeros = torch.zeros(2, 2)
    results = lstm_recurrence(gates_x, zeros, zeros, weight, lengths=torch.tensor([2, 4]))
    gradients = torch.autograd.grad(sum(result.sum() for result in results), (gates_x, weight))
    assert all(value.isfinite().all() for value in (*results, *gradients))
    assert gradients[0][2:, 0].eq(0).all()


@settings(max_examples=25, deadline=None)
@given(
    T=st.integers(1, 20), B=st.integers(1, 6), H=st.integers(1, 9), scale=st.sampled_from([0.1, 1.0, 30.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]), data=st.data(),
)  # fmt: skip
def test_the_fused_kernel_with_lengths_equals_the_plain_recurrence(T, B, H, scale, dtype, data):
    lengths = torch.tensor(data.draw(st.lists(st.integers(0, T), min_size=B, max_size=B)))
    torch.manual_seed(3)
    F = 3
    shapes = [(4 * H, F), (4 * H, H), (4 * H,), (4 * H,)]
    weights = [(torch.rand(shape, dtype=dtype) - 0.5).requires_grad_() for shape in shapes]
    x = (scale * torch.randn(T, B, F, dtype=dtype)).requires_grad_()
    state = [torch.randn(B, H, dtype=dtype, requires_grad=True) for _ in range(2)]
    fused = fused_lstm(x, *state, weights, lengths=lengths)
    gates_x = linear(x, weights[0], weights[2] + weights[3])
    plain = lstm_recurrence(gates_x, *state, weights[1], lengths=lengths)
    leaves = [x, *state, *weights]
    mix = [torch.randn_like(value) for value in plain]

    def gradients(values):
        return torch.autograd.grad(sum((w * v).sum() for w, v in zip(mix, values, strict=True)), leaves)

    for got, want in zip((*fused, *gradients(fused)), (*plain, *gradients(plain)), strict=True):
        torch.testing.assert_close(
            got, want, rtol=RTOL[dtype], atol=RTOL[dtype] * max(1.0, want.abs().max().item())
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_the_fused_cell_stands_still_for_hundreds_of_steps_of_padding_bit_for_bit(dtype):
    layer = nn.LSTM(3, 16, dtype=dtype)
    x, zeros = torch.randn(310, 4, 3, dtype=dtype), torch.zeros(4, 16, dtype=dtype)
    lengths = torch.full((4,), 10)
    _, h_n, c_n = fused_lstm(x, zeros, zeros, layer.all_weights[0], lengths=lengths)
    _, h_wanted, c_wanted = fused_lstm(x[:10], zeros, zeros, layer.all_weights[0], lengths=lengths)
    assert torch.equal(c_n, c_wanted)
    assert torch.equal(h_n, h_wanted)


@given(T=st.integers(1, 8), data=st.data())
def test_reversing_twice_gives_back_the_sequence_and_keeps_the_padding_in_place(T, data):
    lengths = data.draw(st.lists(st.integers(0, T), min_size=1, max_size=4))
    x = torch.arange(T * len(lengths) * 2.0).reshape(T, len(lengths), 2)
    turned = reverse(x, torch.tensor(lengths))
    assert torch.equal(reverse(turned, torch.tensor(lengths)), x)
    for b, length in enumerate(lengths):
        assert torch.equal(turned[:length, b], x[:length, b].flip(0))
        assert torch.equal(turned[length:, b], x[length:, b])
    assert torch.equal(reverse(x, None), x.flip(0))
    assert torch.equal(real_steps(T, torch.tensor(lengths)).sum(0), torch.tensor(lengths))


@pytest.mark.parametrize("backwards", [False, True])
def test_a_sequence_of_no_steps_keeps_its_state_exactly_however_large(backwards):
    layer = torch_layer()
    h0, c0 = torch.full((2, 4), 1e4).double(), torch.randn(2, 4).double()
    lengths, x = torch.tensor([0, 3]), torch.randn(3, 2, 3).double()
    weights = layer.all_weights[0]
    _, h_n, c_n = fused_lstm(x, h0, c0, weights, lengths=lengths, backwards=backwards)
    assert torch.equal(h_n[0], h0[0])
    assert torch.equal(c_n[0], c0[0])
    _, h_want, c_want = plain_lstm(x, h0, c0, weights, lengths=lengths, backwards=backwards)
    torch.testing.assert_close((h_n, c_n), (h_want, c_want))
