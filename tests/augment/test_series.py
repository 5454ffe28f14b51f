"""Augmented series stay within their window and in order, and what is predicted changes as the inputs do."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline
from torch.nn.functional import cross_entropy

from heldout.augment.mixup import Mix, mixup
from heldout.augment.series import (
    SeriesAugmentation,
    jitter,
    magnitude_warp,
    scaling,
    time_warp,
    window_slice,
)
from heldout.check import InputError
from heldout.data.windows import Windows

USUAL = SeriesAugmentation(
    jitter=0.03, scaling=0.1, magnitude_warp=0.2, time_warp=0.2, window_slice=0.9, mixup=0.2
)
FORECAST = SeriesAugmentation(jitter=0.03, scaling=0.1, mixup=2.0)
SEQUENCE_OPERATIONS = {
    "jitter": lambda x, g, lengths: jitter(x, 0.03, generator=g, lengths=lengths),
    "scaling": lambda x, g, lengths: scaling(x, 0.1, generator=g),
    "magnitude_warp": lambda x, g, lengths: magnitude_warp(x, 0.2, generator=g, lengths=lengths),
    "time_warp": lambda x, g, lengths: time_warp(x, 0.2, generator=g, lengths=lengths),
    "window_slice": lambda x, g, lengths: window_slice(x, 0.9, generator=g, lengths=lengths),
}
each_operation = pytest.mark.parametrize("operation", SEQUENCE_OPERATIONS.values(), ids=SEQUENCE_OPERATIONS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def ragged(x, lengths):
    return x * (torch.arange(x.shape[1]) < lengths[:, None])[:, :, None]


@each_operation
def test_each_sample_has_a_draw_of_its_own(operation):
    ramp = torch.arange(1.0, 31).view(1, 30, 1).expand(40, 30, 2)
    out = operation(ramp, seeded(), None)
    n_unlike = len(out.flatten(1).unique(dim=0))
    assert n_unlike == (4 if operation is SEQUENCE_OPERATIONS["window_slice"] else 40)  # 30 - 27 + 1 starts


@each_operation
def test_the_generator_alone_decides_and_the_input_is_not_changed(operation):
    x = torch.randn(8, 20, 3, generator=seeded(1))
    before, state = x.clone(), torch.random.get_rng_state()
    assert torch.equal(operation(x, seeded(5), None), operation(x, seeded(5), None))
    assert not torch.equal(operation(x, seeded(5), None), operation(x, seeded(6), None))
    assert torch.equal(x, before)
    assert torch.equal(torch.random.get_rng_state(), state)


@each_operation
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_padding_stays_zero_and_nothing_is_read_from_it(operation, lengths, seed):
    n = torch.tensor(lengths)
    x = ragged(torch.rand(len(n), 12, 2, generator=seeded(seed)) + 1, n)
    out = operation(x, seeded(seed), n)
    inside = torch.arange(12) < n[:, None]
    assert (out[~inside] == 0).all()
    dirty = torch.where(inside[:, :, None], x, 1e6)
    assert torch.equal(operation(dirty, seeded(seed), n)[inside], out[inside])


@each_operation
def test_a_batch_without_padding_is_a_batch_whose_samples_are_all_as_long_as_the_window(operation):
    x = torch.randn(5, 20, 3, generator=seeded(1))
    full = operation(x, seeded(), torch.full((5,), 20))
    torch.testing.assert_close(full, operation(x, seeded(), None))


@pytest.mark.parametrize("name", ["jitter", "scaling", "magnitude_warp"])
def test_size_is_kept_on_average_and_no_sign_is_turned(name):
    out = SEQUENCE_OPERATIONS[name](torch.ones(4000, 9, 2), seeded(), None)
    assert (out.mean(0) - 1).abs().max() < 0.02
    strong = {"scaling": scaling, "magnitude_warp": magnitude_warp}.get(name)
    if strong:
        held = strong(torch.ones(4000, 9, 2), 0.5, generator=seeded())
        assert held.min() >= 0
        assert (held.mean(0) - 1).abs().max() < 0.04


@each_operation
def test_a_window_of_one_row_and_a_batch_of_one_are_fine(operation):
    out = operation(torch.ones(1, 1, 2), seeded(), None)
    assert out.shape == (1, 1, 2)
    assert out.isfinite().all()


def test_a_magnitude_curve_is_the_cubic_spline_through_its_knots():
    curves = magnitude_warp(torch.ones(3, 50, 2), 0.2, generator=seeded(), knots=4)
    values = 1 + 0.2 * torch.randn(3, 6, 2, generator=seeded()).numpy()
    for sample in range(3):
        for column in range(2):
            slow = CubicSpline(np.linspace(0, 49, 6), values[sample, :, column])(np.arange(50))
            np.testing.assert_allclose(curves[sample, :, column], slow, atol=1e-5)


def test_a_short_sample_has_the_whole_curve():
    lengths = torch.tensor([26, 51])
    out = magnitude_warp(torch.ones(2, 51, 1), 0.2, generator=seeded(), lengths=lengths)
    whole = magnitude_warp(torch.ones(2, 51, 1), 0.2, generator=seeded())
    torch.testing.assert_close(out[0, :26], whole[0, ::2])


@given(
    n_steps=st.integers(2, 40), sigma=st.floats(0.01, 0.5), knots=st.integers(1, 8), seed=st.integers(0, 99)
)
@settings(max_examples=50, deadline=None)
def test_warped_time_rises_from_the_first_step_to_the_last(n_steps, sigma, knots, seed):
    clock = torch.arange(float(n_steps)).view(1, -1, 1).expand(3, -1, 2)
    out = time_warp(clock, sigma, knots=knots, generator=seeded(seed))
    assert (out.diff(dim=1) > 0).all()
    assert torch.equal(out[:, [0, -1]], clock[:, [0, -1]])
    assert torch.equal(out[:, :, 0], out[:, :, 1])  # columns stay in step


@pytest.mark.parametrize("name", ["time_warp", "window_slice"])
def test_what_is_read_is_the_sample_between_its_steps(name):
    lengths = torch.tensor([30, 17, 5])
    clock = ragged(torch.arange(30.0).view(1, 30, 1).expand(3, 30, 1), lengths)
    values = ragged(torch.randn(3, 30, 1, generator=seeded(2)), lengths)
    out = SEQUENCE_OPERATIONS[name](torch.cat([clock, values], 2), seeded(), lengths).numpy()
    for sample, n in enumerate(lengths.tolist()):
        slow = np.interp(out[sample, :n, 0], np.arange(n), values[sample, :n, 0].numpy())
        np.testing.assert_allclose(out[sample, :n, 1], slow, atol=1e-4)


@given(n=st.integers(2, 40), share=st.floats(0.5, 1), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_a_slice_is_an_evenly_drawn_out_stretch_of_the_sample(n, share, seed):
    clock = torch.arange(float(n)).view(1, n, 1).expand(4, n, 1)
    out = window_slice(clock, share, generator=seeded(seed))[:, :, 0]
    taken = max(int(np.ceil(share * n - 1e-6)), 2)
    torch.testing.assert_close(out[:, -1] - out[:, 0], torch.full((4,), taken - 1.0))
    torch.testing.assert_close(
        out.diff(dim=1), torch.full((4, n - 1), (taken - 1) / (n - 1)), atol=1e-4, rtol=0
    )
    assert out.min() >= 0
    assert out.max() <= n - 1 + 1e-4
    assert torch.equal(out[:, 0], out[:, 0].round())


def test_a_slice_starts_everywhere_it_can():
    clock = torch.arange(10.0).view(1, 10, 1).expand(500, 10, 1)
    starts, counts = window_slice(clock, 0.7, generator=seeded())[:, 0, 0].unique(return_counts=True)
    assert starts.tolist() == [0, 1, 2, 3]
    assert counts.min() > 90


@pytest.mark.parametrize("alpha", [0.2, 2.0])
def test_shares_are_those_of_the_beta_distribution_and_the_larger_is_the_samples_own(alpha):
    share = mixup(torch.zeros(4000, 1, 1), torch.zeros(4000).long(), alpha, generator=seeded()).mix.share
    slow = np.random.default_rng(0).beta(alpha, alpha, 100_000)
    slow = np.maximum(slow, 1 - slow)
    assert share.min() >= 0.5
    assert share.max() <= 1
    np.testing.assert_allclose(
        np.quantile(share, [0.2, 0.5, 0.8]), np.quantile(slow, [0.2, 0.5, 0.8]), atol=0.02
    )


def test_mixed_classes_cost_what_their_mixed_probabilities_cost():
    y, logits = torch.tensor([0, 1, 2, 1, 0]), torch.randn(5, 3, generator=seeded())
    weight = torch.tensor([1.0, 2.0, 0.5, 2.0, 1.0])
    mixed = mixup(torch.zeros(5, 4, 1), y, 1.0, generator=seeded())
    assert torch.equal(mixed.y, y)
    assert sorted(mixed.mix.partner.tolist()) == [0, 1, 2, 3, 4]
    hot = torch.eye(3)[y]
    losses = mixed.losses(lambda y: cross_entropy(logits, y, reduction="none"))
    torch.testing.assert_close(losses, cross_entropy(logits, mixed.mix.blend(hot), reduction="none"))
    weighted = mixed.losses(lambda y: cross_entropy(logits, y, reduction="none"), weight)
    slow = -(mixed.mix.blend(hot * weight[:, None]) * logits.log_softmax(1)).sum(1)
    torch.testing.assert_close(weighted, slow)


def test_mixed_numbers_pull_as_the_mixed_losses_do():
    y = torch.randn(6, 2, 1, generator=seeded())
    said = torch.randn(6, 2, 1, generator=seeded(1)).requires_grad_()
    mixed = mixup(torch.zeros(6, 4, 1), y, 2.0, generator=seeded(), bandwidth=5)
    assert (mixed.mix.partner != torch.arange(6)).any()
    (pull,) = torch.autograd.grad(mixed.losses(lambda y: (y - said).square().sum((1, 2))).sum(), said)
    share, other = mixed.mix.share[:, None, None], y[mixed.mix.partner]
    both = share * (y - said).square() + (1 - share) * (other - said).square()
    torch.testing.assert_close(pull, torch.autograd.grad(both.sum(), said)[0])
    weight = torch.rand(6, generator=seeded())
    losses = mixed.losses(lambda y: y.sum((1, 2)), weight)
    torch.testing.assert_close(losses, mixed.y.sum((1, 2)) * mixed.mix.blend(weight))


def test_partners_of_numbers_are_drawn_by_closeness():
    y = torch.tensor([0.0, 0.5, 1.0, 3.0])
    pairs = np.zeros((4, 4))
    generator = seeded()
    for _ in range(3000):
        partner = mixup(
            torch.zeros(4, 1, 1), y.view(4, 1, 1), 2.0, generator=generator, bandwidth=0.5
        ).mix.partner
        pairs[np.arange(4), partner] += 1
    distance = (y[:, None] - y).numpy() / y.std(correction=0).item()
    kernel = np.exp(-(distance**2) / (2 * 0.5**2))
    np.testing.assert_allclose(pairs / 3000, kernel / kernel.sum(1, keepdims=True), atol=0.03)


@pytest.mark.parametrize("n", [1, 2, 300, 1000])
def test_a_batch_of_any_size_is_mixed_and_who_is_far_from_all_stays(n):
    y = torch.randn(n, 3, 1, generator=seeded())
    y[0] = 1e4
    x = torch.randn(n, 5, 2, generator=seeded(1))
    mixed = mixup(x, y, 2.0, generator=seeded())
    assert mixed.mix.partner[0] == 0
    torch.testing.assert_close(mixed.x[0], x[0])
    assert mixed.x.isfinite().all()
    same = mixup(x, torch.ones(n, 3, 1), 2.0, generator=seeded())
    torch.testing.assert_close(same.y, torch.ones(n, 3, 1))


def test_a_mixture_is_as_long_as_the_sample_itself():
    lengths = torch.tensor([6, 3, 1, 6])
    x = ragged(torch.rand(4, 6, 2, generator=seeded()) + 1, lengths)
    mixed = mixup(x, torch.tensor([0, 1, 0, 1]), 1.0, generator=seeded(3), lengths=lengths)
    blended = mixed.mix.blend(x)
    for sample, partner in enumerate(mixed.mix.partner.tolist()):
        both = min(lengths[sample], lengths[partner])
        torch.testing.assert_close(mixed.x[sample, :both], blended[sample, :both])
        assert torch.equal(mixed.x[sample, both:], x[sample, both:])


@pytest.fixture
def walk():
    """A random walk with a covariate."""
    rng = np.random.default_rng(0)
    level = torch.from_numpy(rng.normal(size=(80, 1)).cumsum(0))
    past = torch.from_numpy(rng.normal(size=(80, 1)).astype(np.float32))

    def windows(norm, level=level):
        inputs = torch.cat([level.float(), past], 1)
        return Windows(inputs, level, 12, torch.tensor([1, 2]), norm, torch.tensor([False]))

    return level, windows


@pytest.mark.parametrize("norm", ["none", "last"])
def test_a_scaled_forecast_is_that_of_a_series_with_larger_deviations(walk, norm):
    level, windows = walk
    rows = torch.tensor([20, 40, 60])
    batch = windows(norm).gather(rows)
    new = SeriesAugmentation(scaling=0.1).apply(batch.x, batch.y, n_targets=1, generator=seeded())
    factor = new.y / batch.y
    torch.testing.assert_close(factor[:, :1], factor[:, 1:])
    for sample, row in enumerate(rows.tolist()):
        about = level[row] if norm == "last" else 0.0
        other = about + factor[sample, 0].double() * (level - about)
        slow = windows(norm, other).gather(torch.tensor([row]))
        torch.testing.assert_close(new.x[sample], slow.x[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(new.y[sample], slow.y[0], atol=1e-5, rtol=0)
        assert torch.equal(slow.x[0, :, 1], batch.x[sample, :, 1])


def test_standardised_forecasts_are_mixed_in_units_of_their_windows(walk):
    batch = walk[1]("standard").gather(torch.arange(20, 60))
    options = SeriesAugmentation(mixup=2.0, bandwidth=5)
    new = options.apply(batch.x, batch.y, n_targets=1, scale=batch.scale, generator=seeded())
    torch.testing.assert_close(new.y / batch.scale, new.mix.blend(batch.y / batch.scale))
    torch.testing.assert_close(new.x, new.mix.blend(batch.x))


def test_noise_on_a_forecast_leaves_what_it_starts_from():
    x, y = torch.zeros(6, 10, 4), torch.ones(6, 2, 2)
    options = SeriesAugmentation(jitter=0.1)
    new = options.apply(x, y, n_targets=2, generator=seeded())
    assert (new.x[:, -1, :2] == 0).all()
    assert (new.x[:, -1, 2:] != 0).all()
    assert (new.x[:, :-1] != 0).all()
    assert torch.equal(new.y, y)
    assert (options.apply(x, y, generator=seeded()).x != 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"magnitude_warp": 0.2},
            r"magnitude_warp must be 0 for a forecast, got 0.2, because its factor changes",
        ),
        ({"time_warp": 0.2}, r"time_warp must be 0 for a forecast, got 0.2, because it changes the pace"),
        ({"window_slice": 0.9}, r"window_slice must be 1 for a forecast, got 0.9, because it cuts off rows"),
    ],
)
def test_a_forecast_refuses_what_has_no_counterpart_ahead(options, message):
    with pytest.raises(InputError, match=message + ".*: use jitter, scaling or mixup"):
        SeriesAugmentation(**options).apply(
            torch.zeros(2, 5, 1), torch.zeros(2, 1, 1), n_targets=1, generator=seeded()
        )


def test_standardised_windows_refuse_a_factor():
    FORECAST.check_forecast()
    with pytest.raises(
        InputError, match=r"random scaling must be 0 with window_norm='standard', got 0.1, because"
    ):
        FORECAST.check_forecast(standardised=True)
    replace(FORECAST, scaling=0.0).check_forecast(standardised=True)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("jitter", -0.1, r"jitter must be in \[0, 1\], got -0.1"),
        ("scaling", 0.6, r"scaling must be in \[0, 0.5\], got 0.6"),
        ("magnitude_warp", float("nan"), r"magnitude_warp must be in \[0, 0.5\], got nan"),
        ("time_warp", "0.2", r"time_warp must be in \[0, 0.5\], got '0.2'"),
        ("window_slice", 0, r"window_slice must be in \[0.5, 1\], got 0"),
        ("mixup", 11, r"mixup must be in \[0, 10\], got 11"),
        ("bandwidth", 0, r"bandwidth must be in \(0, 100\], got 0"),
        ("knots", 0, r"knots must be in \[1, 100\], got 0"),
        ("knots", 2.5, r"knots must be a whole number, got 2.5"),
    ],
)
def test_a_wrong_option_is_refused(name, value, message):
    with pytest.raises(InputError, match=message):
        SeriesAugmentation(**{name: value})


def test_with_nothing_on_a_batch_stays_and_no_chance_is_used():
    x, y, generator = torch.randn(3, 5, 2), torch.randn(3, 1, 1), seeded()
    new = SeriesAugmentation().apply(x, y, generator=generator)
    assert new.x is x
    assert new.y is y
    assert new.mix is None
    assert torch.equal(generator.get_state(), seeded().get_state())
    assert torch.equal(new.losses(lambda y: y.flatten(), torch.full((3,), 2.0)), 2 * y.flatten())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_together_keep_shape_type_and_inputs(dtype):
    lengths = torch.tensor([20, 15, 1, 9])
    x, y = ragged(torch.randn(4, 20, 3, dtype=dtype, generator=seeded()), lengths), torch.tensor([0, 1, 1, 0])
    before = x.clone()
    new = USUAL.apply(x, y, lengths=lengths, generator=seeded())
    again = USUAL.apply(x, y, lengths=lengths, generator=seeded())
    assert torch.equal(new.x, again.x)
    assert new.x.shape == x.shape
    assert new.x.dtype == dtype
    assert new.x.isfinite().all()
    assert (ragged(new.x, lengths) == new.x).all()
    assert torch.equal(x, before)
    numbers = torch.randn(4, 2, 1, dtype=dtype, generator=seeded())
    forecast = FORECAST.apply(x, numbers, n_targets=1, generator=seeded())
    assert forecast.y.dtype == dtype
    assert torch.equal(x, before)


def test_other_numbers_of_the_samples_are_mixed_alike():
    mix = Mix(torch.tensor([1, 1]), torch.tensor([0.5, 1.0]))
    known = torch.tensor([[[0.0, 2.0]], [[4.0, 4.0]]])
    assert mix.blend(known).tolist() == [[[2.0, 3.0]], [[4.0, 4.0]]]
