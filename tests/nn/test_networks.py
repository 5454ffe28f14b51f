"""Networks: shapes, options that act, and the promises about where training starts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.nn.networks import Network, Shape
from heldout.recipe import Recipe


def make(shape=None, seed=0, **options):
    shape = shape or Shape(lookback=12, n_inputs=3, n_steps=4)
    return Network(
        shape,
        Recipe(**{"hidden_size": 6, **options}).resolved(),
        generator=torch.Generator().manual_seed(seed),
    )


def wake(network):
    """Give the output layers weights, so that what lies before them shows."""
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    return network


@given(
    pooling=st.sampled_from(["last", "mean", "max", "attention"]),
    dense=st.lists(st.integers(1, 5), max_size=2),
    layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    segment=st.sampled_from([1, 3, 5]),
    shared=st.booleans(),
    shortcut=st.sampled_from(["none", "linear", "ridge"]),
    targets=st.integers(1, 3),
    outputs=st.integers(1, 3),
    future=st.integers(0, 2),
    static=st.integers(0, 2),
)
@settings(max_examples=60, deadline=None)
def test_every_combination_of_options_forecasts_every_step_target_and_quantile(
    pooling, dense, layers, bidirectional, segment, shared, shortcut, targets, outputs, future, static
):
    shape = Shape(12, 4, targets, 5, outputs, future, static)
    network = wake(
        make(shape, pooling=pooling, dense=tuple(dense), num_layers=layers, bidirectional=bidirectional, segment=segment,
             shared_columns=shared, shortcut=shortcut)
    )  # fmt: skip
    x = torch.randn(7, 12, 4)
    given_ = {
        "future": torch.randn(7, 5, future) if future else None,
        "static": torch.randn(7, static) if static else None,
    }
    network.eval()
    out = network(x, **given_).forecast
    assert out.shape == (7, 5, targets, outputs)
    one = network(x[2:3], **{k: v[2:3] if v is not None else None for k, v in given_.items()}).forecast
    torch.testing.assert_close(out[2:3], one, atol=1e-5, rtol=1e-4)
    out.sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("shortcut", ["none", "linear"])
def test_an_untrained_network_forecasts_zero(shortcut):
    assert torch.equal(make(shortcut=shortcut)(torch.randn(2, 12, 3)).forecast, torch.zeros(2, 4, 1, 1))


def test_the_lstm_beside_a_shortcut_is_blind_to_level():
    network = wake(make(shortcut="linear")).eval()
    torch.nn.init.zeros_(network.shortcut.weight)
    x = torch.randn(2, 12, 3)
    torch.testing.assert_close(network(x).forecast, network(x + 5).forecast)


def test_a_shared_model_treats_all_targets_alike():
    network = wake(make(Shape(12, 4, 3, 2), shared_columns=True)).eval()
    x = torch.randn(5, 12, 4)
    swapped = x[:, :, [2, 0, 1, 3]]
    torch.testing.assert_close(network(swapped).forecast, network(x).forecast[:, :, [2, 0, 1]])


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_changes_no_forecast(pooling, bidirectional):
    network = wake(make(pooling=pooling, bidirectional=bidirectional, shortcut="none")).eval()
    x, lengths = torch.randn(3, 12, 3), torch.tensor([12, 5, 1])
    padded = x.clone()
    padded[1, 5:], padded[2, 1:] = float("nan"), 9.0
    together = network(padded, lengths=lengths).forecast
    for n, length in enumerate(lengths.tolist()):
        alone = network(x[n : n + 1, :length], lengths=lengths[n : n + 1]).forecast
        torch.testing.assert_close(together[n : n + 1], alone, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "rate",
    ["input_dropout", "recurrent_dropout", "output_dropout", "weight_dropout", "zoneout", "dense_dropout"],
)
def test_every_rate_acts_in_training_and_rests_in_evaluation(rate):
    network = wake(make(**{"regularization": 0.0, rate: 0.5}, dense=(5,)))
    plain = wake(make(regularization=0.0, dense=(5,)))
    x = torch.randn(4, 12, 3)
    same = [network.train()(x, generator=torch.Generator().manual_seed(3)).forecast for _ in range(2)]
    assert torch.equal(*same)
    other = network(x, generator=torch.Generator().manual_seed(4)).forecast
    assert not torch.equal(same[0], other)
    if rate != "zoneout":  # which is its expectation then
        torch.testing.assert_close(network.eval()(x).forecast, plain.eval()(x).forecast)
    assert torch.equal(network.eval()(x).forecast, network.eval()(x).forecast)


def test_the_classic_stack_is_one_recipe():
    recipe = Recipe(
        hidden_size=128, output_dropout=0.3, dense=(64,), dense_dropout=0.3, l2=0.01,
        shortcut="none", segment=1, window_norm="none", regularization=0.0,
    ).resolved()  # fmt: skip
    network = Network(Shape(lookback=60, n_inputs=5), recipe)
    assert [tuple(p.shape) for p in network.dense.parameters()] == [(64, 128), (64,)]
    assert network.head.weight.shape == (1, 64)
    assert sum(p.numel() for p in network.parameters()) == 4 * 128 * (5 + 128 + 2) + 128 * 64 + 64 + 64 + 1
    assert recipe.dense_l2 == recipe.l2 == 0.01


def test_a_segment_longer_than_the_window_is_refused():
    with pytest.raises(InputError, match="segment of 13 rows is longer than the window of 12"):
        make(segment=13)
