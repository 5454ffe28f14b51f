import copy
import pickle
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import linear
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence, pad_packed_sequence

from heldout.check import InputError
from heldout.nn.kernels import describe, native
from heldout.nn.lstm import LSTM
from heldout.nn.masks import draw, drop, keep
from heldout.nn.networks import Network, Shape
from heldout.nn.recurrence import lstm_recurrence, plain_lstm
from heldout.recipe import Recipe

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

RATES = {
    "input": {"input_dropout": 0.5},
    "recurrent": {"recurrent_dropout": 0.5},
    "output": {"output_dropout": 0.5},
    "weight": {"weight_dropout": 0.5},
    "zoneout": {"zoneout": 0.5},
    "zoneout of h": {"zoneout": (0.5, 0.0)},
    "zoneout of c": {"zoneout": (0.0, 0.5)},
    "dropout": {"dropout": 0.5},
}
ALL_RATES = {
    "input_dropout": 0.2, "recurrent_dropout": 0.3, "output_dropout": 0.2, "weight_dropout": 0.2, "zoneout": (0.1, 0.2),
}  # fmt: skip
each_rate = pytest.mark.parametrize("rates", RATES.values(), ids=RATES.keys())


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pair(dtype=torch.float32, **options):
    """Our layer and torch's, with the same weights, none of them 0."""
    torch.manual_seed(0)
    names = ("input_dropout", "recurrent_dropout", "output_dropout", "weight_dropout", "zoneout")
    theirs = nn.LSTM(3, 4, dtype=dtype, **{k: v for k, v in options.items() if k not in names})
    ours = LSTM(3, 4, dtype=dtype, **options)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def flat(result):
    output, (h_n, c_n) = result
    return output, h_n, c_n


def gradients(result, leaves):
    """Of a fixed random mixture of outputs, h_n and c_n."""
    mix = [torch.randn(v.shape, generator=seeded(9), dtype=v.dtype) for v in flat(result)]
    total = sum((w * v).sum() for w, v in zip(mix, flat(result), strict=True))
    return torch.autograd.grad(total, leaves)


# --- a drop-in for torch.nn.LSTM ---------------------------------------------------------------------------------------


plain_options = pytest.mark.parametrize(
    "options", [{}, {"bias": False}, {"proj_size": 2}, {"num_layers": 2, "bidirectional": True}]
)


def values_and_gradients(layer, x):
    return *flat(layer(x)), *gradients(layer(x), list(layer.parameters()))


@plain_options
@pytest.mark.parametrize("batch_first", [False, True])
def test_with_all_rates_0_output_and_gradient_equal_torch(options, batch_first):
    ours, theirs = pair(batch_first=batch_first, **options)
    x = torch.randn(5, 6, 3)
    for got, want in zip(values_and_gradients(ours, x), values_and_gradients(theirs, x), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


@plain_options
@pytest.mark.parametrize("batch_first", [False, True])
def test_with_all_rates_0_torch_s_own_kernel_gives_the_same_bits(options, batch_first, monkeypatch):
    monkeypatch.setenv("HELDOUT_KERNEL", "fused")
    ours, theirs = pair(batch_first=batch_first, **options)
    x = torch.randn(5, 6, 3)
    for got, want in zip(values_and_gradients(ours, x), values_and_gradients(theirs, x), strict=True):
        assert torch.equal(got, want)


def test_state_dict_has_torch_s_keys_and_loads_both_ways():
    options = {"num_layers": 2, "bidirectional": True, "proj_size": 2}
    ours, theirs = LSTM(3, 4, **options, recurrent_dropout=0.5), nn.LSTM(3, 4, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(5, 2, 3)
    assert torch.equal(theirs(x)[0], ours.eval()(x)[0])


@each_rate
def test_evaluation_is_deterministic_and_equals_torch(rates):
    layers = 2 if "dropout" in rates else 1
    ours, theirs = pair(num_layers=layers, **rates)
    ours.eval(), theirs.eval()
    x = torch.randn(6, 3, 3)
    assert torch.equal(ours(x)[0], ours(x)[0])
    if "zoneout" not in rates:
        torch.testing.assert_close(ours(x)[0], theirs(x)[0], rtol=0, atol=1e-6)


def test_zoneout_takes_its_expectation_in_evaluation():
    ours, _ = pair(torch.float64, zoneout=(0.1, 0.4))
    ours.eval()
    x = torch.randn(6, 3, 3, dtype=torch.float64)
    h, c, wanted = torch.zeros(3, 4).double(), torch.zeros(3, 4).double(), []
    for x_t in x:
        i, f, g, o = (
            linear(x_t, *(ours.weight_ih_l0, ours.bias_ih_l0)) + linear(h, ours.weight_hh_l0, ours.bias_hh_l0)
        ).chunk(4, 1)
        new = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h, c = 0.1 * h + 0.9 * o.sigmoid() * new.tanh(), 0.4 * c + 0.6 * new
        wanted.append(h)
    output, (h_n, c_n) = ours(x)
    torch.testing.assert_close(output, torch.stack(wanted), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close((h_n[0], c_n[0]), (h, c), rtol=1e-12, atol=1e-12)


def test_deepcopy_pickle_and_save_keep_weights_and_rates(tmp_path):
    layer = LSTM(3, 4, num_layers=2, dropout=0.1, **ALL_RATES)
    torch.save(layer, tmp_path / "layer.pt")
    copies = [
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),  # noqa: S301 - made a moment ago
        torch.load(tmp_path / "layer.pt", weights_only=False),
    ]
    x = torch.randn(5, 2, 3)
    wanted = layer(x, generator=seeded())[0]
    for twin in copies:
        assert repr(twin) == repr(layer)
        assert torch.equal(twin(x, generator=seeded())[0], wanted)


@pytest.mark.parametrize("shape", [(5, 0, 3), (0, 5, 3)])
def test_an_empty_batch_gives_the_empty_results_that_torch_gives(shape):
    batch_first = shape[0] == 0
    ours, theirs = pair(batch_first=batch_first, num_layers=2, bidirectional=True)
    x = torch.zeros(shape, requires_grad=True)
    for got, want in zip(flat(ours(x)), flat(theirs(x)), strict=True):
        assert got.shape == want.shape
    regularised = LSTM(3, 4, batch_first=batch_first, recurrent_dropout=0.5, zoneout=0.1)
    output, _ = regularised(x, lengths=[])
    output.sum().backward()
    assert x.grad.shape == x.shape
    assert all(p.grad.eq(0).all() for p in regularised.parameters())


@each_rate
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("with_state", [False, True])
def test_autocast_gives_torch_s_types_and_the_weights_gradients_of_their_own(rates, dtype, with_state):
    layers = 2 if "dropout" in rates else 1
    ours, theirs = pair(num_layers=layers, **rates)
    x = torch.randn(5, 2, 3, dtype=dtype, requires_grad=True)
    hx = (torch.randn(layers, 2, 4), torch.randn(layers, 2, 4)) if with_state else None
    with torch.autocast("cpu", torch.bfloat16):
        results, wanted = ours(x, hx), theirs(x, hx)
        again = ours(x, hx, lengths=[5, 2])
    for got, want, short in zip(flat(results), flat(wanted), flat(again), strict=True):
        assert got.dtype == short.dtype == want.dtype == torch.bfloat16
    results[0].float().square().sum().backward()
    assert x.grad.dtype == dtype
    assert all(p.grad.dtype == torch.float32 and p.grad.abs().max() > 0 for p in ours.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        for got, want in zip(flat(ours.eval()(x, hx)), flat(theirs.eval()(x, hx)), strict=True):
            if "zoneout" not in rates:
                torch.testing.assert_close(got, want, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("rates", [{}, ALL_RATES])
def test_functional_call_uses_the_weights_that_it_is_given(rates):
    layer, other = LSTM(3, 4, 2, **rates), LSTM(3, 4, 2, **rates)
    x = torch.randn(5, 2, 3)
    given_ = {name: value.detach().clone().requires_grad_() for name, value in other.named_parameters()}
    got = torch.func.functional_call(layer, given_, (x,), {"generator": seeded()})
    want = other(x, generator=seeded())
    assert all(torch.equal(a, b) for a, b in zip(flat(got), flat(want), strict=True))
    found = gradients(got, list(given_.values()))
    wanted = gradients(want, list(other.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("rates", [{}, ALL_RATES])
def test_frozen_weights_get_no_gradient_and_the_others_the_same(rates):
    layer = LSTM(3, 4, num_layers=2, **rates)
    x = torch.randn(5, 2, 3)
    wanted = gradients(layer(x, generator=seeded()), list(layer.parameters()))
    named = dict(layer.named_parameters())
    for name in ("weight_ih_l0", "bias_hh_l0", "weight_hh_l1"):
        named[name].requires_grad_(False)
    free = {name: p for name, p in named.items() if p.requires_grad}
    found = gradients(layer(x, generator=seeded()), list(free.values()))
    for name, got in zip(free, found, strict=True):
        torch.testing.assert_close(got, wanted[list(named).index(name)])
    layer.requires_grad_(False)
    assert not layer(x)[0].requires_grad


@pytest.mark.parametrize("rates", [{}, ALL_RATES])
def test_a_layer_that_was_turned_to_double_precision_and_back_is_the_same(rates):
    layer = LSTM(3, 4, num_layers=2, bidirectional=True, **rates)
    x = torch.randn(5, 2, 3)
    want = layer(x, generator=seeded())[0]
    wide = layer.double()(x.double(), generator=seeded())[0]
    assert wide.dtype == torch.float64
    torch.testing.assert_close(wide.float(), want, rtol=1e-5, atol=1e-6)
    assert torch.equal(layer.float()(x, generator=seeded())[0], want)


@each_rate
def test_inference_mode_gives_what_evaluation_gives(rates):
    layer = LSTM(3, 4, num_layers=2, **rates).eval()
    x = torch.randn(5, 2, 3)
    with torch.inference_mode():
        got = layer(x, lengths=[5, 2])
    for a, b in zip(flat(got), flat(layer(x, lengths=[5, 2])), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
        assert a.is_inference()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("rates", [{}, {"weight_dropout": 0.5}])
def test_a_trace_of_the_layer_computes_and_holds_no_constants(rates):
    layer = LSTM(3, 4, num_layers=2, **rates).eval()
    traced = torch.jit.trace(layer, (torch.randn(5, 2, 3),))
    x = torch.randn(7, 6, 3)
    torch.testing.assert_close(traced(x), layer(x), rtol=1e-5, atol=1e-6)


def test_repr_shows_only_the_rates_that_are_not_0():
    assert repr(LSTM(3, 4)) == repr(nn.LSTM(3, 4))
    shown = "LSTM(3, 4, num_layers=2, dropout=0.1, recurrent_dropout=0.3, zoneout=(0.1, 0.1))"
    assert repr(LSTM(3, 4, num_layers=2, dropout=0.1, recurrent_dropout=0.3, zoneout=0.1)) == shown
    shown = "LSTM(3, 4, recurrent_dropout=0.3, recurrent_mask='batch')"
    assert repr(LSTM(3, 4, recurrent_dropout=0.3, recurrent_mask="batch")) == shown


@each_rate
def test_double_precision_inference_mode_and_an_empty_batch_work(rates):
    layer = LSTM(3, 4, num_layers=2, bidirectional=True, dtype=torch.float64, **rates)
    with torch.inference_mode():
        output, (h_n, _) = layer(torch.randn(5, 2, 3, dtype=torch.float64), lengths=[5, 0])
    assert output.dtype == torch.float64
    assert h_n.shape == (4, 2, 4)
    output, (h_n, c_n) = layer(torch.zeros(5, 0, 3, dtype=torch.float64), lengths=[])
    assert (output.shape, h_n.shape, c_n.shape) == ((5, 0, 8), (4, 0, 4), (4, 0, 4))


# --- the regularisers --------------------------------------------------------------------------------------------------


@each_rate
@pytest.mark.parametrize("bidirectional", [False, True])
def test_each_rate_changes_every_direction_in_training_and_the_seed_alone_decides_how(rates, bidirectional):
    ours, theirs = pair(num_layers=2, bidirectional=bidirectional, **rates)
    x = torch.randn(6, 5, 3)
    output, (h_n, c_n) = ours(x, generator=seeded(1))
    plain, _ = theirs(x)
    for got, want in zip(output.split(4, 2), plain.split(4, 2), strict=True):
        assert not torch.allclose(got, want, atol=1e-3)
    for got, want in zip(flat(ours(x, generator=seeded(1))), (output, h_n, c_n), strict=True):
        assert torch.equal(got, want)
    assert not torch.equal(ours(x, generator=seeded(2))[0], output)
    torch.manual_seed(3)
    default = ours(x)[0]
    torch.manual_seed(3)
    assert torch.equal(ours(x)[0], default)


@pytest.mark.parametrize("name", ["recurrent", "weight", "zoneout", "zoneout of h", "zoneout of c"])
@pytest.mark.parametrize("layer_and_direction", ["l0", "l1", "l0_reverse", "l1_reverse"])
def test_weight_and_recurrent_rates_act_in_every_layer_and_direction(name, layer_and_direction):
    ours, theirs = pair(num_layers=2, bidirectional=True, **RATES[name])
    k = {"l0": 0, "l0_reverse": 1, "l1": 2, "l1_reverse": 3}[layer_and_direction]
    _, h_n, c_n = flat(ours(torch.ones(6, 5, 3)))
    _, h_plain, c_plain = flat(theirs(torch.ones(6, 5, 3)))
    assert not torch.allclose(h_n[k], h_plain[k], atol=1e-3)
    assert not torch.allclose(c_n[k], c_plain[k], atol=1e-3)


def test_a_training_forward_equals_the_reference_with_the_same_masks_drawn_by_hand():
    ours, _ = pair(torch.float64, num_layers=2, bidirectional=True, dropout=0.3, **ALL_RATES)
    T, B, H = 5, 3, 4
    x = torch.randn(T, B, 3, dtype=torch.float64)
    output, (h_n, c_n) = ours(x, generator=seeded(7))
    source, zeros = seeded(7), torch.zeros(B, H, dtype=torch.float64)

    def mask(*shape, rate):
        return (torch.rand(shape, generator=source) >= rate).double() / (1 - rate)

    def kept(*shape, rate):
        return (torch.rand(shape, generator=source) < rate).double()

    wanted_h, wanted_c = [], []
    x = x * mask(B, 3, rate=0.2)  # one mask for all steps, another for each sequence
    for layer in (0, 1):
        outputs = []
        for suffix in (f"l{layer}", f"l{layer}_reverse"):
            w_ih, w_hh, b_ih, b_hh = (
                getattr(ours, f"{n}_{suffix}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            w_hh = w_hh * mask(4 * H, H, rate=0.2)
            recurrent, zone = mask(B, H, rate=0.3), (kept(T, B, H, rate=0.1), kept(T, B, H, rate=0.2))
            gates_x = linear(x.flip(0) if "reverse" in suffix else x, w_ih, b_ih + b_hh)
            h, h_last, c_last = lstm_recurrence(
                gates_x, zeros, zeros, w_hh, recurrent_mask=recurrent, zoneout=zone
            )
            outputs.append(h.flip(0) if "reverse" in suffix else h)
            wanted_h.append(h_last)
            wanted_c.append(c_last)
        x = torch.cat(outputs, 2) * mask(B, 2 * H, rate=0.2)
        x = x * mask(T, B, 2 * H, rate=0.3) if layer == 0 else x
    wanted = x, torch.stack(wanted_h), torch.stack(wanted_c)
    for got, want in zip((output, h_n, c_n), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


def test_locked_output_dropout_drops_the_same_units_at_all_steps_and_others_in_each_sequence():
    layer = LSTM(3, 32, output_dropout=0.5)
    dropped = layer(torch.randn(7, 4, 3))[0] == 0
    assert (dropped == dropped[0]).all()
    assert len({tuple(row.tolist()) for row in dropped[0]}) == 4
    assert 0.3 < dropped[0].float().mean() < 0.7


def test_locked_input_dropout_hides_the_same_features_at_all_steps_and_others_in_each_sequence():
    layer = LSTM(16, 4, input_dropout=0.5)
    x = torch.randn(7, 6, 16, requires_grad=True)
    (read,) = torch.autograd.grad(layer(x)[0].sum(), x)
    hidden = read == 0
    assert (hidden == hidden[0]).all()
    assert len({tuple(row.tolist()) for row in hidden[0]}) == 6


def test_the_recurrent_mask_is_one_for_all_steps_and_another_for_each_sequence():
    # inputs shut out; gate g reads unit j alone, so a dropped unit j never moves its cell, at any step
    H = 16
    layer = LSTM(1, H, bias=False, recurrent_dropout=0.5)
    with torch.no_grad():
        layer.weight_ih_l0.zero_()
        layer.weight_hh_l0.zero_()
        layer.weight_hh_l0[2 * H : 3 * H] = torch.eye(H)
    x, h_0, c_0 = torch.zeros(6, 5, 1), torch.ones(1, 5, H), torch.zeros(1, 5, H)
    outputs = layer(x, (h_0, c_0))[0]
    moved = outputs != 0
    assert (moved == moved[0]).all()
    assert len({tuple(row.tolist()) for row in moved[0]}) == 5


def test_the_recurrent_mask_of_a_batch_is_one_for_all_sequences_and_another_in_each_direction():
    layer = LSTM(3, 16, bidirectional=True, recurrent_dropout=0.5, recurrent_mask="batch")
    x = torch.randn(6, 1, 3).expand(6, 5, 3)
    output = layer(x)[0]
    torch.testing.assert_close(output, output[:, :1].expand_as(output))
    assert not torch.allclose(layer(x)[0], output, atol=1e-3)
    with torch.no_grad():  # the same weights both ways, the same sequence both ways: only the masks differ
        for name, value in layer.named_parameters():
            if name.endswith("_reverse"):
                value.copy_(getattr(layer, name.removesuffix("_reverse")))
    forth, back = layer(torch.ones(6, 5, 3))[0].split(16, 2)
    assert not torch.allclose(forth, back.flip(0), atol=1e-3)


def test_the_mask_of_a_batch_acts_as_the_same_mask_on_each_sequence_does():
    layer = LSTM(3, 4, recurrent_dropout=0.5, recurrent_mask="batch", dtype=torch.float64)
    x = torch.randn(6, 5, 3, dtype=torch.float64)
    output, (h_n, c_n) = layer(x, lengths=[6, 0, 1, 4, 6], generator=seeded(3))
    mask = (torch.rand(4, generator=seeded(3)) >= 0.5).double() / 0.5
    zeros = torch.zeros(5, 4, dtype=torch.float64)
    want = plain_lstm(
        x, zeros, zeros, layer.all_weights[0],
        recurrent_mask=mask.expand(5, 4), lengths=torch.tensor([6, 0, 1, 4, 6]),
    )  # fmt: skip
    for got, wanted in zip((output, h_n[0], c_n[0]), want, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


def test_the_mask_of_a_batch_stays_on_torch_s_kernel(monkeypatch):
    monkeypatch.setenv("HELDOUT_KERNEL", "fused")
    LSTM(3, 4, recurrent_dropout=0.5, recurrent_mask="batch")(torch.randn(5, 2, 3))
    with pytest.raises(InputError, match="HELDOUT_KERNEL=fused"):
        LSTM(3, 4, recurrent_dropout=0.5)(torch.randn(5, 2, 3))


def test_a_recipe_s_mask_reaches_the_layer_of_its_network():
    for kind in ("sequence", "batch"):
        recipe = Recipe(recurrent_dropout=0.3, recurrent_mask=kind).resolved()
        assert Network(Shape(lookback=12, n_inputs=3), recipe).lstm.recurrent_mask == kind
    with pytest.raises(InputError, match="recurrent_mask must be one of 'sequence', 'batch'"):
        Recipe(recurrent_mask="sample")


def test_weight_dropout_is_one_mask_a_call_the_same_for_all_sequences():
    layer = LSTM(3, 4, weight_dropout=0.5)
    x = torch.randn(6, 1, 3).expand(6, 5, 3)
    output = layer(x)[0]
    torch.testing.assert_close(output, output[:, :1].expand_as(output))
    assert not torch.allclose(layer(x)[0], output)


def test_dropping_keeps_the_mean_and_drops_at_its_rate():
    x = torch.full((200_000,), 3.0)
    for rate in (0.1, 0.5, 0.9):
        dropped = drop(x, rate, x.shape, seeded())
        assert dropped.mean().item() == pytest.approx(3, abs=0.06)
        assert (dropped == 0).float().mean().item() == pytest.approx(rate, abs=0.01)
    assert drop(x, 0.0, x.shape, None) is x


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.7])
def test_masks_hold_two_values_in_the_wanted_type_and_the_source_alone_decides_where(rate):
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        like = torch.zeros(1, dtype=dtype)
        uniform = torch.rand(50, 40, generator=seeded())
        dropped = keep(rate, (50, 40), like, seeded())
        hit = draw(rate, (50, 40), like, seeded())
        scale = 1 / (1 - torch.tensor(rate, dtype=torch.float64))
        torch.testing.assert_close(dropped, ((uniform >= rate) * scale).to(dtype), rtol=1e-15, atol=0)
        assert torch.equal(hit, (uniform < rate).to(dtype))
        torch.manual_seed(8)
        default = keep(rate, (50, 40), like, None)
        torch.manual_seed(8)
        assert torch.equal(keep(rate, (50, 40), like, None), default)


def test_output_dropout_keeps_the_mean_of_the_output():
    ours, theirs = pair(output_dropout=0.4)
    x = torch.randn(3, 1, 3).expand(3, 20_000, 3)
    torch.testing.assert_close(ours(x)[0].mean(1), theirs(x[:, :1])[0][:, 0], rtol=0, atol=0.02)


def test_parameters_are_bit_equal_after_100_training_forwards():
    layer = LSTM(3, 4, num_layers=2, bidirectional=True, dropout=0.5, **ALL_RATES)
    before = copy.deepcopy(layer.state_dict())
    names = set(vars(layer))
    for _ in range(100):
        layer(torch.randn(2, 2, 3), lengths=torch.tensor([2, 1]))
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert set(vars(layer)) == names


@each_rate
def test_gradients_reach_every_raw_weight_and_a_step_moves_it(rates):
    layer = LSTM(3, 4, num_layers=2, bidirectional=True, **rates)
    before = copy.deepcopy(layer.state_dict())
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    layer(torch.randn(6, 5, 3))[0].square().sum().backward()
    optimizer.step()
    assert all(not torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_gradient_of_a_dropped_recurrent_weight_is_0_and_of_a_kept_one_is_scaled():
    ours, theirs = pair(torch.float64, weight_dropout=0.5)
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    ours(x, generator=seeded(4))[0].sum().backward()
    mask = (torch.rand(16, 4, generator=seeded(4)) >= 0.5).double() / 0.5
    with torch.no_grad():
        theirs.weight_hh_l0.mul_(mask)
    theirs(x)[0].sum().backward()
    torch.testing.assert_close(
        ours.weight_hh_l0.grad, theirs.weight_hh_l0.grad * mask, rtol=1e-10, atol=1e-12
    )


def test_two_threads_with_generators_of_their_own_get_what_each_gets_alone():
    layer = LSTM(3, 8, **ALL_RATES)
    x = torch.randn(4, 3, 3)

    def fit(seed, results):
        source = seeded(seed)
        results[seed] = [layer(x, generator=source)[0].detach() for _ in range(30)]

    alone, together = {}, {}
    for seed in (1, 2):
        fit(seed, alone)
    threads = [threading.Thread(target=fit, args=(seed, together)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    fit(3, alone)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for seed in (1, 2) for a, b in zip(alone[seed], together[seed], strict=True))


# --- lengths -----------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    T=st.integers(1, 20), F=st.integers(1, 4), H=st.integers(1, 9), num_layers=st.integers(1, 3), bias=st.booleans(),
    bidirectional=st.booleans(), batch_first=st.booleans(), with_state=st.booleans(), projected=st.booleans(), data=st.data(),
)  # fmt: skip
def test_lengths_equal_torch_s_packed_sequences(
    T, F, H, num_layers, bias, bidirectional, batch_first, with_state, projected, data
):
    lengths = torch.tensor(data.draw(st.lists(st.integers(1, T), min_size=1, max_size=6)))
    B, P, D = len(lengths), 1 if projected and H > 1 else 0, 2 if bidirectional else 1
    torch.manual_seed(0)
    theirs = nn.LSTM(F, H, num_layers, bias, batch_first, bidirectional=bidirectional, proj_size=P)
    ours = LSTM(F, H, num_layers, bias, batch_first, bidirectional=bidirectional, proj_size=P)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn((B, T, F) if batch_first else (T, B, F), requires_grad=True)
    hx = (torch.randn(num_layers * D, B, P or H), torch.randn(num_layers * D, B, H)) if with_state else None

    packed, state = theirs(pack_padded_sequence(x, lengths, batch_first, enforce_sorted=False), hx)
    wanted = pad_packed_sequence(packed, batch_first, total_length=T)[0], state
    result = ours(x, hx, lengths=lengths)
    for got, want in zip(flat(result), flat(wanted), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6)
    got = gradients(result, [x, *ours.parameters()])
    want = gradients(wanted, [x, *theirs.parameters()])
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6 * max(1.0, b.abs().max().item()))


@settings(max_examples=30, deadline=None)
@given(
    T=st.integers(1, 12), num_layers=st.integers(1, 3), bidirectional=st.booleans(), batch_first=st.booleans(),
    zoneout=st.sampled_from([0.0, 0.2]), data=st.data(),
)  # fmt: skip
def test_padding_and_company_never_change_a_sequence_even_one_of_length_0(
    T, num_layers, bidirectional, batch_first, zoneout, data
):
    lengths = data.draw(st.lists(st.integers(0, T), min_size=1, max_size=5))
    B, D = len(lengths), 2 if bidirectional else 1
    torch.manual_seed(1)
    layer = LSTM(
        3, 4, num_layers, batch_first=batch_first, bidirectional=bidirectional, zoneout=zoneout
    ).eval()
    x = torch.randn(T, B, 3)
    hx = torch.randn(num_layers * D, B, 4), torch.randn(num_layers * D, B, 4)
    for b, length in enumerate(lengths):
        x[length:, b] = float("nan")
    output, (h_n, c_n) = layer(x.transpose(0, 1) if batch_first else x, hx, lengths=lengths)
    output = output.transpose(0, 1) if batch_first else output
    for b, length in enumerate(lengths):
        assert (output[length:, b] == 0).all()
        own = hx[0][:, b].contiguous(), hx[1][:, b].contiguous()
        alone = layer(x[:length, b], own) if length else (output[:0, b], own)
        for got, want in zip((output[:length, b], h_n[:, b], c_n[:, b]), flat(alone), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rates", [{}, {"input_dropout": 0.5}, {"weight_dropout": 0.5}, ALL_RATES])
def test_nan_in_the_padding_harms_neither_outputs_nor_gradients(rates):
    layer = LSTM(3, 4, num_layers=2, bidirectional=True, **rates)
    clean = torch.randn(6, 3, 3)
    dirty, lengths = clean.clone(), [6, 2, 0]
    for b, length in enumerate(lengths):
        dirty[length:, b] = float("nan")
    dirty.requires_grad_()
    got, want = (layer(x, lengths=lengths, generator=seeded()) for x in (dirty, clean))
    assert all(torch.equal(a, b) for a, b in zip(flat(got), flat(want), strict=True))
    leaves = list(layer.parameters())
    got, want = gradients(got, [*leaves, dirty]), gradients(want, leaves)
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=False))
    assert (got[-1][2:, 1] == 0).all()


def test_lengths_act_with_every_rate_as_the_same_masks_do_without_padding():
    # locked masks do not depend on T, so a batch of equal lengths must not notice its padding
    rates = {"input_dropout": 0.3, "recurrent_dropout": 0.3, "output_dropout": 0.3, "weight_dropout": 0.3}
    layer = LSTM(3, 4, num_layers=2, bidirectional=True, **rates)
    x = torch.randn(9, 5, 3)
    padded = layer(x, lengths=torch.full((5,), 6), generator=seeded())
    short = layer(x[:6], generator=seeded())
    torch.testing.assert_close(padded[0][:6], short[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(padded[1], short[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("enforce_sorted", [True, False])
@pytest.mark.parametrize("with_state", [True, False])
def test_a_packed_sequence_is_answered_by_one_in_the_same_order(enforce_sorted, with_state):
    ours, theirs = pair(num_layers=2, bidirectional=True)
    lengths = [5, 3, 3, 1] if enforce_sorted else [3, 1, 5, 3]
    packed = pack_sequence([torch.randn(n, 3) for n in lengths], enforce_sorted=enforce_sorted)
    hx = (torch.randn(4, 4, 4), torch.randn(4, 4, 4)) if with_state else None
    got, got_state = ours(packed, hx)
    want, want_state = theirs(packed, hx)
    assert isinstance(got, PackedSequence)
    torch.testing.assert_close(got.data, want.data, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(got_state, want_state, rtol=1e-6, atol=1e-6)
    assert torch.equal(got.batch_sizes, want.batch_sizes)
    for name in ("sorted_indices", "unsorted_indices"):
        a, b = getattr(got, name), getattr(want, name)
        assert (a is None and b is None) or torch.equal(a, b)


def test_a_packed_sequence_is_regularised_too():
    ours, theirs = pair(recurrent_dropout=0.5)
    packed = pack_sequence([torch.randn(n, 3) for n in (2, 4)], enforce_sorted=False)
    assert not torch.allclose(ours(packed)[0].data, theirs(packed)[0].data)


@pytest.mark.parametrize("rates", [{}, {"weight_dropout": 0.5}, ALL_RATES])
def test_one_sequence_without_a_batch_axis_equals_a_batch_of_one(rates):
    layer = LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True, **rates)
    x, h_0, c_0 = torch.randn(5, 3), torch.randn(4, 4), torch.randn(4, 4)
    output, (h_n, c_n) = layer(x, (h_0, c_0), generator=seeded())
    batch = layer(x[None], (h_0[:, None], c_0[:, None]), generator=seeded())
    torch.testing.assert_close(output, batch[0][0])
    torch.testing.assert_close((h_n, c_n), (batch[1][0][:, 0], batch[1][1][:, 0]))
    assert layer(x, lengths=[3])[0][3:].eq(0).all()


# --- beginnings and errors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("proj_size", [0, 3])
def test_weights_begin_orthogonal_by_gate_with_forget_bias_1(dtype, proj_size):
    layer = LSTM(6, 5, num_layers=2, bidirectional=True, proj_size=proj_size, dtype=dtype)
    tolerance = 0.05 if dtype == torch.bfloat16 else 1e-5
    for name, value in layer.named_parameters():
        if name.startswith("weight_hh"):
            for gate in value.detach().double().chunk(4):
                eye = torch.eye(gate.shape[1], dtype=torch.float64)
                torch.testing.assert_close(gate.T @ gate, eye, rtol=0, atol=tolerance)
        elif name.startswith("weight"):
            bound = (6 / sum(value.shape)) ** 0.5
            assert 0.7 * bound < value.abs().max() <= bound * 1.01
        else:
            wanted = torch.zeros(20)
            wanted[5:10] = 1 if name.startswith("bias_ih") else 0
            assert torch.equal(value.float(), wanted)


def test_resetting_with_a_generator_repeats_and_leaves_the_global_state_alone():
    layer = LSTM(3, 4)
    state = torch.get_rng_state()
    layer.reset_parameters(seeded(3))
    first = copy.deepcopy(layer.state_dict())
    layer.reset_parameters(seeded(4))
    assert not torch.equal(layer.weight_ih_l0, first["weight_ih_l0"])
    layer.reset_parameters(seeded(3))
    assert all(torch.equal(value, first[name]) for name, value in layer.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "name", ["input_dropout", "recurrent_dropout", "output_dropout", "weight_dropout", "zoneout", "dropout"]
)
@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan"), "0.5", True])
def test_a_rate_outside_its_range_is_named(name, value):
    with pytest.raises(InputError, match=rf"{name} must be in \[0, 1\), got {value!r}"):
        LSTM(3, 4, 2, **{name: value})


def test_zoneout_takes_one_rate_or_two():
    assert LSTM(3, 4, zoneout=[0.1, 0.2]).zoneout == (0.1, 0.2)
    for bad in ((0.1, 1.5), (0.1, 0.2, 0.3), (0.1,)):
        with pytest.raises(InputError, match="zoneout must be in"):
            LSTM(3, 4, zoneout=bad)


def test_an_unknown_kind_of_mask_is_refused():
    with pytest.raises(
        InputError, match=r"recurrent_mask must be one of 'sequence', 'batch', got 'bach' \(did"
    ):
        LSTM(3, 4, recurrent_mask="bach")


def test_dropout_with_one_layer_is_refused_because_it_would_do_nothing():
    with pytest.raises(InputError, match=r"so 0\.3 would do nothing with num_layers=1: use output_dropout"):
        LSTM(3, 4, dropout=0.3)


@pytest.mark.parametrize("rates", [{}, {"recurrent_dropout": 0.5}])
@pytest.mark.parametrize(
    ("shape", "given", "message"),
    [
        ((5, 2, 4), {}, r"last dimension of input must be input_size=3, got shape \(5, 2, 4\)"),
        ((3,), {}, r"2 dimensions \(one sequence\) or 3 \(a batch\), got shape \(3,\)"),
        ((0, 2, 3), {}, r"at least one step, got shape \(0, 2, 3\) with batch_first=False"),
        (
            (5, 2, 3),
            {"hx": (torch.zeros(1, 3, 4), torch.zeros(1, 2, 4))},
            r"h_0 must have shape \(1, 2, 4\), got \(1, 3, 4\)",
        ),
        (
            (5, 2, 3),
            {"hx": (torch.zeros(1, 2, 4), torch.zeros(1, 2, 5))},
            r"c_0 must have shape \(1, 2, 4\), got \(1, 2, 5\)",
        ),
        (
            (5, 3),
            {"hx": (torch.zeros(1, 2, 4), torch.zeros(1, 4))},
            r"h_0 must have shape \(1, 4\), got \(1, 2, 4\)",
        ),
        ((5, 2, 3), {"hx": torch.zeros(1, 2, 4)}, r"hx must be a pair \(h_0, c_0\), got Tensor"),
        ((5, 2, 3), {"lengths": [1, 2, 3]}, r"lengths must have shape \(2,\), one per sequence, got \(3,\)"),
        ((5, 2, 3), {"lengths": [6, 2]}, r"lengths must lie in 0 to 5, the steps of input, got 2 to 6"),
        ((5, 2, 3), {"lengths": [-1, 2]}, r"lengths must lie in 0 to 5, the steps of input, got -1 to 2"),
        ((5, 2, 3), {"lengths": [1.0, 2.0]}, r"lengths must be whole numbers, got torch.float32"),
        (
            (5, 2, 3),
            {"hx": (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4).double())},
            r"c_0 must be torch.float32, as the weights are, got torch.float64: convert one of them",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_its_numbers(rates, shape, given, message):
    with pytest.raises(InputError, match=message):
        LSTM(3, 4, **rates)(torch.zeros(shape), **given)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("rates", [{}, {"weight_dropout": 0.5}, {"recurrent_dropout": 0.5}])
def test_an_input_of_another_type_than_the_weights_is_refused(dtype, rates):
    with pytest.raises(InputError, match=f"input must be torch.float32, as the weights are, got {dtype}"):
        LSTM(3, 4, **rates)(torch.zeros(5, 2, 3, dtype=dtype))


def test_lengths_beside_a_packed_sequence_are_refused():
    packed = pack_sequence([torch.randn(2, 3)])
    with pytest.raises(InputError, match="carries its own lengths"):
        LSTM(3, 4)(packed, lengths=[2])
    with pytest.raises(InputError, match="input_size=5"):
        LSTM(5, 4)(packed)


@pytest.mark.parametrize("hx", [(None, None), ([[0.0]], [[0.0]])])
def test_a_state_that_is_no_tensor_is_refused(hx):
    with pytest.raises(InputError, match=r"h_0 must be a Tensor, got (NoneType|list)"):
        LSTM(3, 4)(torch.zeros(5, 2, 3), hx)


@pytest.mark.parametrize("lengths", [["a", "b"], [10**30, 1], [None, 1], [1j, 2]])
def test_lengths_that_are_no_numbers_of_steps_are_refused(lengths):
    with pytest.raises(InputError, match="lengths must be whole numbers"):
        LSTM(3, 4)(torch.zeros(5, 2, 3), lengths=lengths)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int32])
def test_lengths_may_be_of_any_whole_type(dtype):
    layer, x = LSTM(3, 4), torch.randn(5, 2, 3)
    assert torch.equal(layer(x, lengths=torch.tensor([5, 2], dtype=dtype))[0], layer(x, lengths=[5, 2])[0])


def test_a_module_pickled_before_masks_of_a_batch_draws_one_a_sequence():
    layer, x = LSTM(3, 4, recurrent_dropout=0.5), torch.randn(5, 2, 3)
    want = layer(x, generator=seeded())[0]
    del layer.__dict__["recurrent_mask"]
    assert torch.equal(pickle.loads(pickle.dumps(layer))(x, generator=seeded())[0], want)  # noqa: S301 - made just now


# --- what PyTorch can do with it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"recurrent_dropout": 0.5}])
def test_the_state_can_be_detached_in_place_between_pieces_of_a_sequence(options):
    layer = LSTM(3, 5, **options)
    _, (h, c) = layer(torch.randn(4, 2, 3))
    h.detach_(), c.detach_()
    layer(torch.randn(4, 2, 3), (h, c))[0].sum().backward()
    assert layer.weight_hh_l0.grad.abs().max() > 0


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's transforms use it
@pytest.mark.parametrize("lengths", [None, [5, 2]])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_transforms_of_torch_func_give_what_a_loop_and_double_precision_give(lengths, bidirectional):
    layer = LSTM(3, 4, bidirectional=bidirectional)
    wide = copy.deepcopy(layer).double()
    many, direction = torch.randn(3, 5, 2, 3), torch.randn(5, 2, 3)

    def run(x):
        return (layer if x.dtype is torch.float32 else wide)(x, lengths=lengths)[0]

    torch.testing.assert_close(
        torch.func.vmap(run)(many), torch.stack([run(x) for x in many]), rtol=1e-5, atol=1e-6
    )
    x = many[0]
    slope = torch.func.jvp(run, (x,), (direction,))[1]
    step = 1e-5 * direction.double()
    wanted = (run(x.double() + step) - run(x.double() - step)) / 2e-5
    torch.testing.assert_close(slope.double(), wanted, rtol=1e-4, atol=1e-6)
    wanted = torch.autograd.functional.jacobian(run, x.double())
    torch.testing.assert_close(torch.func.jacfwd(run)(x).double(), wanted, rtol=1e-4, atol=1e-6)


def test_one_step_of_many_units_without_gradients_is_torch_s_kernel_and_the_same_numbers():
    layer, x = LSTM(3, 256), torch.randn(1, 2, 3)
    want = layer(x)[0]
    with torch.no_grad():
        torch.testing.assert_close(layer(x)[0], nn.LSTM.forward(layer, x)[0], rtol=0, atol=0)
        torch.testing.assert_close(layer(x)[0], want, rtol=1e-5, atol=1e-6)


def test_an_unknown_kernel_is_told_by_the_description_and_a_forced_one_alone_is_named(monkeypatch):
    monkeypatch.setenv("HELDOUT_KERNEL", "plan")
    assert "every call: an error, HELDOUT_KERNEL must be one of" in describe()
    monkeypatch.setenv("HELDOUT_KERNEL", "plain")
    assert "every call takes plain" in describe()
    assert "float32 on the CPU" not in describe()


def test_the_description_names_second_derivatives_and_where_torch_s_kernel_is_faster(monkeypatch):
    monkeypatch.delenv("HELDOUT_KERNEL", raising=False)
    if native.missing is None:
        assert "256 units or more" in describe()
        assert "second derivatives: plain" in describe()
    assert "for torch.func" in describe()
