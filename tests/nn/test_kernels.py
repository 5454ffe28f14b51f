"""The native kernel against the plain recurrence in double precision, and the choice of a kernel."""

import copy
import math
import multiprocessing
import os
import runpy
import sys
import threading
import warnings
from contextlib import contextmanager
from typing import NamedTuple
from unittest import mock

import loky
import psutil
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

from heldout.check import InputError
from heldout.nn.kernels import describe, dispatch, native
from heldout.nn.kernels.native import native_lstm
from heldout.nn.lstm import LSTM
from heldout.nn.recurrence import fused_lstm, plain_lstm

needs_native = pytest.mark.skipif(native.missing is not None, reason=f"no native kernel: {native.missing}")
sanitized = "asan" in os.environ.get("LD_PRELOAD", "")
RESULTS = ("outputs", "h_n", "c_n")
BUSY = 60, 60  # T and B that are worth several threads
WORK = 10**8  # products in one example's recurrence: some milliseconds of the plain one


@pytest.fixture(autouse=True)
def unforced(monkeypatch):
    monkeypatch.delenv(dispatch.VARIABLE, raising=False)
    monkeypatch.setattr(dispatch, "_warned", False)


@contextmanager
def forced(name):
    with mock.patch.dict(os.environ, {dispatch.VARIABLE: name}):
        yield


@contextmanager
def threads(number):
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Call(NamedTuple):
    """Arguments of a kernel."""

    x: torch.Tensor
    h0: torch.Tensor
    c0: torch.Tensor
    weights: list
    options: dict

    @property
    def leaves(self):
        return [self.x, self.h0, self.c0, *self.weights]

    def double(self):
        def wide(value):
            if isinstance(value, tuple):
                return tuple(map(wide, value))
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                return value.detach().double().requires_grad_(value.requires_grad)
            return value

        options = {name: wide(value) for name, value in self.options.items()}
        return Call(*map(wide, self[:3]), [wide(weight) for weight in self.weights], options)


def make_call(
    T, B, F, H, *, bias=True, ragged=True, mask=True, zoneout="masks", backwards=False, scale=1.0, seed=0
):
    source = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=source).requires_grad_()

    def chance(*shape, rate):
        return (torch.rand(shape, generator=source) < rate).float()

    shapes = [(4 * H, F), (4 * H, H), *[(4 * H,)] * (2 * bias)]
    weights = [
        ((2 * torch.rand(shape, generator=source) - 1) / math.sqrt(H)).requires_grad_() for shape in shapes
    ]
    options = {"backwards": backwards}
    if ragged:
        lengths = torch.randint(0, T + 1, (B,), generator=source)
        lengths[: min(3, B)] = torch.tensor([T, 0, 1])[: min(3, B)]
        options["lengths"] = lengths[torch.randperm(B, generator=source)]
    if mask:
        options["recurrent_mask"] = chance(B, H, rate=0.7) / 0.7
    if zoneout == "masks":
        options["zoneout"] = chance(T, B, H, rate=0.2), chance(T, B, H, rate=0.4)
    elif zoneout == "rates":
        options["zoneout"] = 0.2, 0.4
    x = (scale * torch.randn(T, B, F, generator=source)).requires_grad_()
    return Call(x, normal(B, H), normal(B, H), weights, options)


def run(kernel, call, wanted=RESULTS, seed=1):
    """Results, and the gradients that a random mixture of the wanted results has."""
    results = kernel(*call[:4], **call.options)
    mixed = []
    for number, name in enumerate(RESULTS):
        mix = torch.randn(results[number].shape, generator=torch.Generator().manual_seed(seed + number))
        if name in wanted:
            mixed.append((mix.to(call.x.dtype) * results[number]).sum())
    return results, torch.autograd.grad(sum(mixed), call.leaves, allow_unused=True)


def assert_close(got, want, floor=1e-7):
    """Results to 1e-5, or to that share of the largest where one is above 1, as a state handed in may be; gradients to 1e-4 of the
    largest entry of each, or to ``floor``."""
    for a, b in zip(got[0], want[0], strict=True):
        assert a.dtype == torch.float32
        assert (a - b).abs().max() <= 1e-5 * b.detach().abs().max().clamp(min=1)
    for first, second in zip(got[1], want[1], strict=True):
        a, b = (torch.zeros(1) if value is None else value for value in (first, second))
        assert (a - b).abs().max() <= 1e-4 * b.abs().max() + floor


def assert_same_bits(first, second):
    for a, b in zip((*first[0], *first[1]), (*second[0], *second[1]), strict=True):
        assert a.shape == b.shape
        # by numpy: torch.equal takes threads, which a forked process must not
        assert a.detach().numpy().tobytes() == b.detach().numpy().tobytes()


# --- right -------------------------------------------------------------------------------------------------------------


@st.composite
def calls(draw):
    H, F = draw(st.integers(1, 300)), draw(st.integers(1, 40))
    rows = max(1, WORK // (4 * H * (H + F)))
    T = draw(st.integers(1, min(200, rows)))
    B = draw(st.integers(1, min(100, max(1, rows // T))))
    return make_call(
        T,
        B,
        F,
        H,
        bias=draw(st.booleans()),
        ragged=draw(st.booleans()),
        mask=draw(st.booleans()),
        zoneout=draw(st.sampled_from(["none", "masks", "rates"])),
        backwards=draw(st.booleans()),
        scale=draw(st.sampled_from([0.1, 1.0, 3.0])),
        seed=draw(st.integers(0, 99)),
    )


@needs_native
@settings(max_examples=60, deadline=None)
@given(
    call=calls(),
    name=st.sampled_from(native.instruction_sets or ("none",)),
    wanted=st.sampled_from([RESULTS, ("outputs",), ("h_n",), ("c_n",)]),
)
def test_native_equals_the_plain_recurrence_in_double_precision(call, name, wanted):
    # a gate that is open or shut to its last digit has a gradient of 0, but for rounding, at every step
    floor = 5e-7 * max(1.0, call.x.abs().max().item()) * math.sqrt(len(call.x) * len(call.h0))
    with native.instruction_set(name):
        assert_close(run(native_lstm, call, wanted), run(plain_lstm, call.double(), wanted), floor)


@needs_native
@pytest.mark.parametrize("name", native.instruction_sets)
@pytest.mark.parametrize(
    ("T", "B", "F", "H"),
    [(1, 1, 1, 1), (200, 2, 3, 8), (2, 100, 1, 65), (5, 6, 40, 300), (30, 13, 7, 50), (9, 32, 16, 64), (3, 7, 33, 129)],
)  # fmt: skip
@pytest.mark.parametrize("backwards", [False, True])
def test_each_instruction_set_is_right_at_sizes_that_do_and_do_not_fill_its_registers(
    name, T, B, F, H, backwards
):
    call = make_call(T, B, F, H, backwards=backwards)
    with native.instruction_set(name):
        assert_close(run(native_lstm, call), run(plain_lstm, call.double()))


@needs_native
@pytest.mark.parametrize("name", native.instruction_sets)
@pytest.mark.parametrize("gate", [0, 1, 2, 3])
def test_a_gate_is_right_to_rounding_from_shut_to_open(name, gate):
    x = torch.cat([torch.linspace(-25, 25, 2000), torch.tensor([-1e30, -1e4, 0.0, 1e4, 1e30])])
    weights = [torch.zeros(4, 1), torch.zeros(4, 1), torch.full((4,), 0.5), torch.zeros(4)]
    weights[0][gate] = 1
    x = x.reshape(1, -1, 1).requires_grad_()
    h0, c0 = torch.zeros(x.shape[1], 1), torch.full((x.shape[1], 1), 0.7)

    def values(kernel, dtype):
        outputs, _, c_n = kernel(x.to(dtype), h0.to(dtype), c0.to(dtype), [w.to(dtype) for w in weights])
        return outputs, c_n, *torch.autograd.grad(outputs.sum() + c_n.sum(), x)

    with native.instruction_set(name):
        got = values(native_lstm, torch.float32)
    for a, b in zip(got, values(plain_lstm, torch.float64), strict=True):
        assert (a - b).abs().max() <= 1e-6


@needs_native
@settings(max_examples=25, deadline=None)
@given(
    T=st.integers(1, 60), B=st.integers(1, 20), F=st.integers(1, 9), H=st.integers(1, 40), num_layers=st.integers(1, 3),
    bidirectional=st.booleans(), bias=st.booleans(), batch_first=st.booleans(), ragged=st.booleans(), training=st.booleans(),
    rates=st.fixed_dictionaries({}, optional={
        "recurrent_dropout": st.just(0.3), "zoneout": st.just((0.1, 0.2)), "output_dropout": st.just(0.2),
        "input_dropout": st.just(0.2), "weight_dropout": st.just(0.3), "recurrent_mask": st.just("batch"),
    }),
    seed=st.integers(0, 99),
)  # fmt: skip
@example(
    T=200, B=3, F=2, H=16, num_layers=3, bidirectional=True, bias=True, batch_first=True, ragged=True, training=True,
    rates={"recurrent_dropout": 0.3, "zoneout": 0.1}, seed=0,
)  # fmt: skip
def test_the_layer_on_native_equals_itself_in_plain_double_precision(
    T, B, F, H, num_layers, bidirectional, bias, batch_first, ragged, training, rates, seed
):
    torch.manual_seed(seed)
    layer = LSTM(F, H, num_layers, bias, batch_first=batch_first, bidirectional=bidirectional, **rates).train(
        training
    )
    x = torch.randn((B, T, F) if batch_first else (T, B, F), requires_grad=True)
    rows = num_layers * (2 if bidirectional else 1)
    h_0, c_0 = (torch.randn(rows, B, H, requires_grad=True) for _ in range(2))
    lengths = torch.randint(0, T + 1, (B,)) if ragged else None

    def results(kernel, layer, leaves):
        with forced(kernel):
            output, state = layer(
                leaves[0], tuple(leaves[1:]), lengths=lengths, generator=torch.Generator().manual_seed(seed)
            )
        values = output, *state
        mix = [torch.randn(v.shape, generator=torch.Generator().manual_seed(7)) for v in values]
        total = sum((w.to(v.dtype) * v).sum() for w, v in zip(mix, values, strict=True))
        return values, torch.autograd.grad(total, [*leaves, *layer.parameters()])

    leaves = [x, h_0, c_0]
    wide = [leaf.detach().double().requires_grad_() for leaf in leaves]
    assert_close(results("native", layer, leaves), results("plain", copy.deepcopy(layer).double(), wide))


@needs_native
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("zoneout", ["masks", "rates"])
def test_memory_layout_changes_nothing(batch_first, zoneout):
    T, B, F, H = 7, 9, 5, 11
    plain = make_call(T, B, F, H, zoneout=zoneout)

    def scattered(value):
        """The same numbers with a hole after each."""
        if not isinstance(value, torch.Tensor):
            return value
        holes = torch.full((*value.shape, 2), float("nan") if value.is_floating_point() else 999)
        holes = holes.to(value.dtype)
        holes[..., 0] = value.detach()
        return holes[..., 0].requires_grad_(value.requires_grad)

    options = {name: scattered(value) for name, value in plain.options.items()}
    options["zoneout"] = tuple(map(scattered, plain.options["zoneout"]))
    x = scattered(plain.x)
    if batch_first:
        x = plain.x.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    other = Call(x, scattered(plain.h0), scattered(plain.c0), [scattered(w) for w in plain.weights], options)
    assert not other.x.is_contiguous()
    assert_same_bits(run(native_lstm, plain), run(native_lstm, other))


@needs_native
def test_expanded_inputs_and_gradients_of_slices_are_right():
    T, B, H = 6, 10, 9
    call = make_call(T, B, 4, H, ragged=False, zoneout="none")
    row, state = torch.randn(T, 1, 4, requires_grad=True), torch.randn(1, H, requires_grad=True)

    def gradients(kernel, dtype):
        x, h0 = row.to(dtype).expand(T, B, 4), state.to(dtype).expand(B, H)
        mask = call.options["recurrent_mask"][:1].to(dtype).expand(B, H)
        weights = [weight.to(dtype) for weight in call.weights]
        outputs, h_n, c_n = kernel(x, h0, h0, weights, recurrent_mask=mask)
        total = outputs.sum() + outputs[2:5, 1:, :3].square().sum() + h_n[:, ::2].sum() + c_n.T[3].sum()
        return (outputs, h_n, c_n), torch.autograd.grad(total, [row, state, *call.weights])

    assert_close(gradients(native_lstm, torch.float32), gradients(plain_lstm, torch.float64))


@needs_native
@pytest.mark.parametrize("backwards", [False, True])
def test_what_padding_holds_and_what_comes_back_to_it_has_no_effect(backwards):
    clean = make_call(8, 12, 5, 10, backwards=backwards)
    padding = torch.arange(8)[:, None] >= clean.options["lengths"]
    dirty = clean._replace(
        x=clean.x.detach().clone().masked_fill(padding[..., None], float("nan")).requires_grad_()
    )
    first, second = run(native_lstm, clean), run(native_lstm, dirty)
    assert_same_bits(first, second)
    assert (second[1][0][padding] == 0).all()
    outputs = native_lstm(*clean[:4], **clean.options)[0]
    upstream = torch.randn(outputs.shape)
    want = torch.autograd.grad(outputs, clean.leaves, upstream, retain_graph=True)
    got = torch.autograd.grad(outputs, clean.leaves, upstream.masked_fill(padding[..., None], float("nan")))
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@needs_native
@pytest.mark.parametrize("name", native.instruction_sets)
def test_a_nan_or_an_infinity_that_is_no_padding_is_not_hidden(name):
    call = make_call(8, 12, 5, 10, ragged=False)
    with torch.no_grad():
        call.x[3, 2, 1], call.x[5, 7, 0], call.x[1, 4, 3] = float("nan"), float("inf"), -1e38
    with native.instruction_set(name):
        got = run(native_lstm, call)
    want = run(plain_lstm, call)
    assert want[0][0][3:, 2].isnan().any()
    for a, b in zip((*got[0], *got[1]), (*want[0], *want[1]), strict=True):
        assert torch.equal(a.isnan(), b.isnan())


# --- gradients as autograd wants them ----------------------------------------------------------------------------------


@needs_native
def test_a_second_backward_through_the_same_graph_gives_the_same_bits():
    call = make_call(9, 5, 3, 12)
    total = sum(result.square().sum() for result in native_lstm(*call[:4], **call.options))
    first, second = (torch.autograd.grad(total, call.leaves, retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@needs_native
@pytest.mark.parametrize("which", [0, 1, 2, 3, 4, 5])
def test_a_tensor_changed_in_place_before_backward_is_noticed(which):
    call = make_call(4, 3, 2, 5)
    outputs, _, _ = native_lstm(*call[:4], **call.options)
    with torch.no_grad():
        call.leaves[which].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


@needs_native
def test_the_gradient_can_be_differentiated_and_equals_the_plain_one():
    call = make_call(5, 4, 3, 6)

    def penalty(kernel, call):
        results = kernel(*call[:4], **call.options)
        first = torch.autograd.grad(sum(r.square().sum() for r in results), call.leaves, create_graph=True)
        return results, torch.autograd.grad(sum(g.square().sum() for g in first), call.leaves)

    assert_close(penalty(native_lstm, call), penalty(plain_lstm, call.double()))


@needs_native
def test_only_what_wants_a_gradient_gets_one():
    call = make_call(5, 4, 3, 6)
    (*_,), every = run(native_lstm, call)
    for wanted in range(len(call.leaves)):
        for number, leaf in enumerate(call.leaves):
            leaf.requires_grad_(number == wanted)
        outputs, h_n, c_n = native_lstm(*call[:4], **call.options)
        mix = [
            torch.randn(v.shape, generator=torch.Generator().manual_seed(1 + i))
            for i, v in enumerate((outputs, h_n, c_n))
        ]
        sum((w * v).sum() for w, v in zip(mix, (outputs, h_n, c_n), strict=True)).backward()
        torch.testing.assert_close(call.leaves[wanted].grad, every[wanted])
        assert all(leaf.grad is None for number, leaf in enumerate(call.leaves) if number != wanted)
        call.leaves[wanted].grad = None


@needs_native
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_the_values_are_the_same(mode):
    call = make_call(6, 5, 3, 20)
    with mode():
        got = native_lstm(*call[:4], **call.options)
    want = native_lstm(*call[:4], **call.options)
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
    assert not any(value.requires_grad for value in got)


@needs_native
@pytest.mark.parametrize("rates", [{}, {"recurrent_dropout": 0.5, "zoneout": 0.2, "weight_dropout": 0.3}])
def test_a_checkpointed_layer_gives_the_same_gradients(rates):
    layer = LSTM(3, 12, 2, bidirectional=True, **rates)
    x, lengths = torch.randn(9, 5, 3, requires_grad=True), torch.tensor([9, 0, 4, 1, 9])

    def gradients(run):
        torch.manual_seed(3)
        output, (h_n, c_n) = run()
        total = output.square().sum() + h_n.sum() - c_n.square().sum()
        return torch.autograd.grad(total, [x, *layer.parameters()])

    want = gradients(lambda: layer(x, lengths=lengths))
    # the masks are drawn again in the second forward pass, from the state of the source that was kept
    got = gradients(lambda: checkpoint(layer, x, lengths=lengths, use_reentrant=False))
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@needs_native
def test_what_saved_tensor_hooks_give_back_may_lie_otherwise_in_memory():
    call = make_call(6, 5, 3, 11)
    want = run(native_lstm, call)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda kept: kept.movedim(-1, 0).contiguous(), lambda kept: kept.movedim(0, -1)
    ):
        got = run(native_lstm, call)
    assert_same_bits(got, want)


@needs_native
@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("wrong", [lambda x: x[..., :-1].contiguous(), torch.Tensor.half])
def test_data_that_was_exchanged_before_backward_is_never_read_past_its_end(number, wrong):
    call = make_call(4, 3, 2, 5)
    outputs, _, _ = native_lstm(*call[:4], **call.options)
    call.leaves[number].data = wrong(call.leaves[number].data)
    with pytest.raises(RuntimeError, match="these types and shapes do not fit each other"):
        outputs.sum().backward()


@needs_native
def test_masks_and_lengths_that_do_not_fit_are_refused():
    call = make_call(4, 3, 2, 5)
    keep_h, keep_c = call.options["zoneout"]
    for wrong in (
        {"recurrent_mask": torch.ones(2, 5)}, {"recurrent_mask": torch.ones(3, 5).double()},
        {"zoneout": (keep_h[:3], keep_c)}, {"zoneout": (keep_h, keep_c[..., :4])}, {"lengths": torch.tensor([1, 2])},
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="these types and shapes do not fit each other"):
            native_lstm(*call[:4], **call.options | wrong)


@needs_native
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_lengths_of_any_whole_type_are_taken_and_held_within_the_steps(dtype):
    call = make_call(8, 5, 3, 6)._replace(options={"lengths": torch.tensor([8, 0, 200, 3, 9]).to(dtype)})
    within = call._replace(options={"lengths": torch.tensor([8, 0, 8, 3, 8])})
    assert_same_bits(run(native_lstm, call), run(native_lstm, within))


@needs_native
@pytest.mark.parametrize("isa", native.instruction_sets)
def test_a_gate_is_as_exact_as_float32_and_shut_where_it_should_be(isa):
    """One step: h is the output gate where tanh c is 1, and c the candidate where the input gate is 1."""
    sums = torch.linspace(-40, 40, 4001)
    x, zero, ten = sums.reshape(1, -1, 1), torch.zeros(len(sums), 1), torch.full((len(sums), 1), 10.0)
    w_hh, none = torch.zeros(4, 1), torch.zeros(4)
    out_gate = [torch.tensor([[0.0], [0], [0], [1]]), w_hh, torch.tensor([-60.0, 60, 0, 0]), none]
    candidate = [torch.tensor([[0.0], [0], [1], [0]]), w_hh, torch.tensor([60.0, -60, 0, 0]), none]
    with native.instruction_set(isa):
        sigmoid = native_lstm(x, zero, ten, out_gate)[0].flatten().double()
        tanh = native_lstm(x, zero, zero, candidate)[2].flatten().double()
    assert ((sigmoid / sums.double().sigmoid()) - 1).abs().max() < 4e-7
    assert (tanh - sums.double().tanh()).abs().max() < 4e-7
    assert (tanh[sums.abs() > 9].abs() == 1).all()


@needs_native
def test_saturated_gates_pass_no_gradient():
    layer = LSTM(2, 16)
    walk = torch.randn(30, 16, 2).cumsum(0) * 0.01 + 1
    layer(walk * torch.tensor([1e6, 1.0]))[0].square().sum().backward()
    assert layer.weight_ih_l0.grad[:, 0].abs().max() < 1e-6


@needs_native
def test_batches_of_gradients_are_those_one_by_one():
    layer, x = LSTM(2, 3), torch.randn(4, 2, 2)
    one_by_one, at_once = (
        torch.autograd.functional.jacobian(lambda x: layer(x)[0], x, vectorize=vectorize)
        for vectorize in (False, True)
    )
    torch.testing.assert_close(at_once, one_by_one)


@needs_native
def test_a_negated_view_is_read_as_what_it_stands_for():
    imaginary = torch.randn(1, 1, 1, dtype=torch.cfloat).conj().imag
    assert imaginary.is_neg()
    layer = LSTM(1, 5)
    assert torch.equal(layer(imaginary)[0], layer(imaginary.clone())[0])


# --- threads, processes, memory ----------------------------------------------------------------------------------------


@needs_native
@pytest.mark.parametrize(("T", "B", "H"), [(11, 1, 20), (*BUSY, 50), (40, 100, 70)])
def test_the_number_of_threads_does_not_change_a_bit(T, B, H):
    call = make_call(T, B, 5, H)
    found = []
    for number in (1, 2, 3, 5):
        with threads(number):
            found.append(run(native_lstm, call))
    for other in found[1:]:
        assert_same_bits(found[0], other)


@needs_native
@pytest.mark.skipif(sanitized, reason="the sanitizer keeps freed memory")
def test_what_backward_has_used_is_freed_even_while_the_loss_is_kept():
    layer, x = LSTM(8, 128), torch.randn(60, 64, 8)
    layer(x)[0].sum().backward()
    before, kept = psutil.Process().memory_info().rss, []
    for _ in range(10):
        kept.append(layer(x)[0].sum())
        kept[-1].backward()
    assert psutil.Process().memory_info().rss - before < 40e6  # one call saves 12 MB


@needs_native
def test_all_threads_flush_denormal_numbers_or_none_does():
    call = make_call(*BUSY, 8, 32, mask=False, zoneout=None)
    with threads(2):
        run(native_lstm, call, wanted="h_n")  # starts the threads
        if not torch.set_flush_denormal(True):
            pytest.skip("this processor cannot flush denormal numbers")
        try:
            two = run(native_lstm, call, wanted="h_n")
            torch.set_num_threads(1)
            assert_same_bits(run(native_lstm, call, wanted="h_n"), two)
        finally:
            torch.set_flush_denormal(False)


@needs_native
def test_a_large_call_is_shared_among_threads_and_a_small_one_is_not():
    started = []
    for T, B in (2, 2), (40, 150):
        call = make_call(T, B, 5, 80)
        before = psutil.Process().num_threads()
        with threads(9):
            native_lstm(*call[:4], **call.options)
        started.append(psutil.Process().num_threads() - before)
    assert started[0] == 0
    assert started[1] > 0


@needs_native
@pytest.mark.parametrize("number", [1, 2])
def test_calls_from_two_threads_at_once_give_what_each_gives_alone(number):
    own = [make_call(*BUSY, 5, 50, seed=seed) for seed in (1, 2)]
    with threads(number):
        alone = [run(native_lstm, call) for call in own]
        together = [[], []]

        def repeat(which):
            torch.set_num_threads(number)
            together[which] += [run(native_lstm, own[which]) for _ in range(15)]

        workers = [threading.Thread(target=repeat, args=(which,)) for which in (0, 1)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(timeout=60)
    for which in (0, 1):
        assert len(together[which]) == 15
        for found in together[which]:
            assert_same_bits(alone[which], found)


@needs_native
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("number", [1, 2])
def test_it_works_in_a_forked_process_even_after_its_own_threads_were_in_use(number):
    # worth two threads to the kernel, but not to torch, whose own threads do not outlive a fork
    call = make_call(8, 16, 4, 200, ragged=False)

    def same():
        try:
            assert_same_bits(run(native_lstm, call), want)
        except AssertionError:
            os._exit(1)
        os._exit(0)

    with threads(number):
        want = run(native_lstm, call)
        child = multiprocessing.get_context("fork").Process(target=same)
        child.start()
        child.join(timeout=60)
        if child.exitcode is None:
            child.kill()
        assert child.exitcode == 0
        assert_same_bits(run(native_lstm, call), want)


@needs_native
def test_it_works_in_a_worker_process():
    layer = LSTM(3, 8, recurrent_dropout=0.5)
    x = torch.randn(5, 4, 3)

    def outputs(layer, x):
        with torch.no_grad():
            return layer(x, generator=torch.Generator().manual_seed(0))[0].numpy()

    executor = loky.ProcessPoolExecutor(1)
    try:
        found = executor.submit(outputs, layer, x).result(timeout=120)
    finally:
        executor.shutdown(kill_workers=True)
    assert torch.equal(torch.from_numpy(found), torch.from_numpy(outputs(layer, x)))


@needs_native
@pytest.mark.skipif(sanitized, reason="the sanitizer keeps freed memory")
@pytest.mark.parametrize("backward", [True, False])
def test_two_hundred_calls_leave_no_memory_behind(backward):
    call = make_call(50, 32, 8, 64)  # 2 MB are kept for the backward pass
    process = psutil.Process()

    def repeat(times):
        for _ in range(times):
            results = native_lstm(*call[:4], **call.options)
            if backward:
                torch.autograd.grad(results[0].sum(), call.leaves)

    repeat(20)
    before = process.memory_info().rss
    repeat(200)
    assert process.memory_info().rss - before < 50e6


# --- which kernel ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["there", "missing"])
def native_is(request, monkeypatch):
    monkeypatch.setattr(native, "missing", None if request.param == "there" else "no compiler was found")
    return request.param


def chosen(dtype=torch.float32, device="cpu", masked=False, projected=False):
    tensors = [
        torch.zeros(2, dtype=dtype, device=device),
        nn.Parameter(torch.zeros(2, dtype=dtype, device=device)),
    ]
    return dispatch.choose(tensors, masked=masked, projected=projected, ragged=False, n_sequences=1)


@pytest.mark.parametrize("masked", [False, True])
def test_native_takes_float32_on_the_cpu_and_nothing_else(native_is, masked):
    elsewhere = plain_lstm if masked else fused_lstm
    here = native_lstm if native_is == "there" else elsewhere
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert chosen(masked=masked) is here
        assert len(told) == (native_is == "missing" and masked)
        for other in (
            {"dtype": torch.float64}, {"dtype": torch.bfloat16}, {"device": "meta"}, {"projected": True},
        ):  # fmt: skip
            assert chosen(masked=masked, **other) is elsewhere
        assert len(told) == (native_is == "missing" and masked)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's transforms use it too
@pytest.mark.parametrize("masked", [False, True])
def test_native_is_left_out_where_something_follows_the_tensors(masked):
    elsewhere = plain_lstm if masked else fused_lstm
    seen = []

    class Subclass(torch.Tensor):
        pass

    class Mode(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            return function(*args, **(kwargs or {}))

    def look(x):
        seen.append(dispatch.choose([x], masked=masked, projected=False, ragged=False, n_sequences=1))
        return x

    x = torch.zeros(2)
    torch.func.vmap(look)(x)
    torch.func.jvp(look, (x,), (x,))
    torch.func.grad(lambda x: look(x).sum())(x)
    with torch.autograd.forward_ad.dual_level():
        look(torch.autograd.forward_ad.make_dual(x, x))
    look(x.as_subclass(Subclass))
    look(x.to_sparse())
    with Mode():
        look(x)
    with mock.patch("torch.compiler.is_compiling", return_value=True):
        look(x)
    torch.jit.trace(look, (x,), check_trace=False)
    assert len(seen) >= 9
    assert seen[:4] == [plain_lstm] * 4  # torch.func and forward mode: torch's kernel has no rule for them
    assert seen[4:] == [elsewhere] * (len(seen) - 4)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModuleNotFoundError("No module named '_native'"), "it was not built when heldout was installed: No module named '_native'"),
        (ImportError("libstdc++.so.6: cannot open"), "libstdc++.so.6: cannot open"),
    ],
)  # fmt: skip
def test_an_extension_that_cannot_be_imported_is_missing_for_the_reason_that_the_import_gave(
    error, reason, monkeypatch
):
    name = "heldout.nn.kernels._native"

    class Finder:
        @staticmethod
        def find_spec(wanted, path=None, target=None):
            if wanted == name:
                raise error

    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    found = runpy.run_path(native.__file__)
    assert (found["missing"], found["instruction_sets"]) == (reason, ())


def test_a_missing_kernel_is_told_once_and_only_where_it_costs(monkeypatch):
    monkeypatch.setattr(native, "missing", "no compiler was found")
    x = torch.randn(4, 2, 3)
    for options in ({}, {"weight_dropout": 0.3}, {"recurrent_dropout": 0.3, "recurrent_mask": "batch"}):
        LSTM(3, 4, **options)(x, lengths=[4, 1])
    LSTM(3, 4, recurrent_dropout=0.3).eval()(x)
    layer = LSTM(3, 4, recurrent_dropout=0.3)
    with pytest.warns(UserWarning, match=r"native kernel is missing \(no compiler was found\): reinstall"):
        layer(x)
    layer(x)


@pytest.mark.parametrize("name", ["native", "fused", "plain"])
def test_the_environment_forces_a_kernel(name, monkeypatch):
    monkeypatch.setattr(native, "missing", None)
    monkeypatch.setattr(native, "instruction_sets", native.instruction_sets or ("avx2",))
    monkeypatch.setenv(dispatch.VARIABLE, name)
    assert chosen().__name__ == f"{name}_lstm"
    assert describe().splitlines()[-1].startswith(f"HELDOUT_KERNEL={name} is set")


@pytest.mark.parametrize(
    ("name", "call", "missing", "message"),
    [
        ("native", {}, "no compiler was found", "the native kernel is missing, no compiler was found: unset"),
        ("native", {"dtype": torch.float64}, None, "does not take torch.float64 on cpu: unset the variable"),
        ("native", {"projected": True}, None, "does not take proj_size"),
        ("fused", {"masked": True}, None, "does not know a recurrent mask per sequence or zoneout: unset"),
        ("plan", {}, None, r"HELDOUT_KERNEL must be one of .*did you mean 'plain'"),
    ],
)
def test_a_kernel_that_cannot_do_what_is_asked_is_refused(name, call, missing, message, monkeypatch):
    monkeypatch.setattr(native, "missing", missing)
    monkeypatch.setenv(dispatch.VARIABLE, name)
    with pytest.raises(InputError, match=message):
        chosen(**call)


def test_describe_tells_what_is_taken_and_why(native_is, monkeypatch):
    monkeypatch.setattr(native, "instruction_sets", native.instruction_sets or ("avx2",))
    text = describe()
    if native_is == "missing":
        assert text.startswith("native kernel: missing, no compiler was found\n")
        assert "everything: fused" in text
    else:
        assert text.startswith(
            f"native kernel: {native.instruction_sets[0]}; threads: {torch.get_num_threads()} "
        )
        assert "float32 on the CPU: native\n" in text
    assert "HELDOUT_KERNEL" not in text


@pytest.mark.parametrize("kernel", ["native", "fused", "plain"])
def test_the_kernels_agree_through_the_layer(kernel):
    if kernel == "native" and native.missing is not None:
        pytest.skip(native.missing)
    layer = LSTM(
        3, 6, 2, bidirectional=True, weight_dropout=0.3, recurrent_dropout=0.2, recurrent_mask="batch"
    )
    x = torch.randn(7, 4, 3)
    with forced("plain"):
        want = layer(x, lengths=[7, 0, 1, 3], generator=torch.Generator().manual_seed(0))
    with forced(kernel):
        got = layer(x, lengths=[7, 0, 1, 3], generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
