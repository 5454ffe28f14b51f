"""Preparation: fitted on training rows only, undone exactly, and never looking ahead."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.data.prepare import Prepare
from heldout.data.transforms import choose_transforms, fill_forward
from heldout.recipe import Recipe
from tests.conftest import make_series

LOOKBACK = 12
RECIPES = st.builds(
    Recipe,
    transform=st.sampled_from(["auto", "none", "difference", "log", "log_return"]),
    scaling=st.sampled_from(["standard", "robust"]),
    scale_by=st.sampled_from(["all", "series"]),
    window_norm=st.sampled_from(["auto", "none", "standard"]),
    outliers=st.sampled_from([0.0, 3.0]),
    fill_limit=st.integers(0, 3),
)


def positive(data):
    """The same series, shifted above zero so that a logarithm is allowed."""
    return replace(data, values=data.values - np.nanmin(data.values) + 1)


@given(recipe=RECIPES, seed=st.integers(0, 5), n_series=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_forecasts_come_back_in_the_targets_own_units(recipe, seed, n_series):
    data = positive(make_series(120, n_series, seed=seed))
    rows = data.origins(LOOKBACK)
    prepare = Prepare.fit(data, rows[data.time[rows] < np.median(data.time)], LOOKBACK, recipe)
    batch = prepare.apply(data, LOOKBACK).gather(torch.from_numpy(rows))
    level = (batch.y.double() + batch.offset)[..., None].numpy()
    back = prepare.to_original(prepare.to_scored(level, data, rows))[..., 0]
    truth = data.values[rows[:, None] + data.steps][:, :, :1]
    np.testing.assert_allclose(back, truth, rtol=2e-5, atol=2e-5)


def test_rows_that_cannot_be_written_are_prepared_without_a_warning():
    data = make_series(120, 2)
    data = replace(data, static=np.array([[1.0], [2.0]]), static_names=("size",))
    data.offsets.flags.writeable = False  # as in a process that maps them from a file
    windows = Prepare.fit(data, data.origins(LOOKBACK), LOOKBACK, Recipe()).apply(data, LOOKBACK)
    rows = torch.tensor([LOOKBACK, 119, 120 + LOOKBACK])
    static = windows.gather(rows, labelled=False).static
    assert static is not None
    assert static[:, 0].tolist() == [-1.0, -1.0, 1.0]


@given(recipe=RECIPES, seed=st.integers(0, 3), n_series=st.integers(1, 2), cut=st.integers(40, 80))
@settings(max_examples=40, deadline=None)
def test_what_happens_after_training_changes_nothing_learned_and_no_earlier_input(
    recipe, seed, n_series, cut
):
    data = positive(make_series(120, n_series, seed=seed, missing="fill"))
    rows = np.concatenate([np.arange(start + LOOKBACK, start + cut) for start in data.offsets[:-1]])
    last = [start + cut + data.horizon for start in data.offsets[:-1]]  # one behind the last label
    values = data.values.copy()
    values[last[0] + 3] = np.nan
    for start, stop in zip(last, data.offsets[1:], strict=True):
        values[start:stop] = np.random.default_rng(seed).exponential(100, size=values[start:stop].shape)
    other = replace(data, values=values)
    mine, theirs = (Prepare.fit(d, rows, LOOKBACK, recipe) for d in (data, other))
    assert mine == theirs
    a, b = (prepare.apply(d, LOOKBACK) for prepare, d in ((mine, data), (theirs, other)))
    before = np.concatenate(
        [np.arange(start, end) for start, end in zip(data.offsets[:-1], last, strict=True)]
    )
    assert torch.equal(a.inputs[before], b.inputs[before])
    assert torch.equal(a.level[before], b.level[before])


def test_a_preparation_survives_json(panel):
    prepare = Prepare.fit(panel, panel.origins(LOOKBACK), LOOKBACK, Recipe(scale_by="series"))
    assert Prepare.from_dict(json.loads(json.dumps(prepare.to_dict()))) == prepare


@given(
    values=st.lists(st.none() | st.floats(-10, 10), min_size=1, max_size=30),
    limit=st.integers(0, 4),
    cut=st.integers(0, 30),
)
def test_filling_is_what_a_loop_would_do(values, limit, cut):
    x = np.array([np.nan if v is None else v for v in values])
    segments = np.unique([0, min(cut, len(x)), len(x)])
    expected = []
    for row in range(len(x)):
        start = max(s for s in segments if s <= row)
        known = [r for r in range(max(start, row - limit), row + 1) if not np.isnan(x[r])]
        expected.append(x[known[-1]] if known else 99.0)
    np.testing.assert_array_equal(fill_forward(x, segments, limit, 99.0), expected)


def test_a_gap_gets_an_indicator_and_outliers_are_counted(series):
    values = series.values.copy()
    values[50, 1], values[60, 1] = np.nan, 1e6
    data = replace(series, values=values)
    prepare = Prepare.fit(data, data.origins(LOOKBACK)[:200], LOOKBACK, Recipe())
    windows = prepare.apply(data, LOOKBACK)
    assert windows.inputs.shape[1] == 3
    assert windows.inputs[:, 2].nonzero().flatten().tolist() == [50]
    assert prepare.filled == (0, 1)
    assert prepare.clipped == (0, 1)
    assert windows.inputs[60, 1] < 20


def test_auto_tells_prices_from_waves():
    rng = np.random.default_rng(0)
    data = make_series(2000)
    price = np.exp(np.cumsum(0.02 * rng.normal(size=2000)) + np.linspace(0, 3, 2000))
    walk = np.cumsum(rng.normal(size=2000))
    rows = data.origins(LOOKBACK)
    found = []
    for column in (price, walk, data.values[:, 0]):
        values = data.values.copy()
        values[:, 0] = column
        found.append(choose_transforms(replace(data, values=values), rows, LOOKBACK, "auto")[0][0])
    assert found == ["log_return", "difference", "none"]


def test_a_logarithm_of_a_value_that_is_not_positive_is_refused(series):
    with pytest.raises(InputError, match=r"positive values, column 'y' holds .* set transform to"):
        Prepare.fit(series, series.origins(LOOKBACK), LOOKBACK, Recipe(transform="log"))


@pytest.mark.parametrize("scale_by", ["all", "series"])
def test_a_series_at_another_level_is_not_taken_for_outliers(scale_by):
    data = make_series(200, 4)
    values = data.values.copy()
    values[data.offsets[3] :, 0] *= 1e6
    data = replace(data, values=values)
    prepare = Prepare.fit(data, data.origins(LOOKBACK), LOOKBACK, Recipe(scale_by=scale_by, transform="none"))
    assert prepare.clipped == (0, 0)
    assert prepare.constant == ()


@pytest.mark.parametrize("transform", ["none", "difference"])
def test_what_an_origin_needs_is_the_last_known_value_however_old(series, transform):
    values = series.values.copy()
    values[100:120, 0] = np.nan
    data = replace(series, values=values)
    recipe = Recipe(transform=transform, fill_limit=2, window_norm="none")
    windows = Prepare.fit(data, data.origins(LOOKBACK), LOOKBACK, recipe).apply(data, LOOKBACK)
    assert (windows.level[100:120] == windows.level[99]).all()
    if transform == "difference":
        assert (windows.inputs[100:120, 0] == windows.inputs[100, 0]).all()


def test_tiny_numbers_are_no_constants(series):
    values = series.values.copy()
    values[:, 1] *= 1e-13
    data = replace(series, values=values)
    windows = Prepare.fit(data, data.origins(LOOKBACK), LOOKBACK, Recipe()).apply(data, LOOKBACK)
    assert windows.inputs[:, 1].std() > 0.9


def test_constant_columns_do_not_blow_up(series):
    values = series.values.copy()
    values[:, 1] = 7.0
    data = replace(series, values=values)
    windows = Prepare.fit(data, data.origins(LOOKBACK), LOOKBACK, Recipe()).apply(data, LOOKBACK)
    assert torch.equal(windows.inputs[:, 1], torch.zeros(data.n_rows))


def test_a_new_series_is_scaled_by_its_first_window_alone(panel):
    recipe = Recipe(scale_by="series", window_norm="none", transform="none")
    prepare = Prepare.fit(panel, panel.origins(LOOKBACK), LOOKBACK, recipe)
    new = replace(panel, ids=("s0", "new", "s2"))
    start, stop = new.offsets[1:3]
    first = new.values[start : start + LOOKBACK, 0]
    inputs = prepare.apply(new, LOOKBACK).inputs[start:stop, 0].numpy()
    np.testing.assert_allclose(
        inputs, (new.values[start:stop, 0] - first.mean()) / first.std(), rtol=1e-5, atol=1e-5
    )
    other = replace(new, values=new.values.copy())
    other.values[start + LOOKBACK :] = 1e6
    np.testing.assert_array_equal(
        prepare.apply(other, LOOKBACK).inputs[start : start + LOOKBACK, 0], inputs[:LOOKBACK]
    )
    level = np.zeros((1, 3, 1))
    assert prepare.to_scored(level, new, np.array([start + 50])) == pytest.approx(
        np.full((1, 3, 1), first.mean())
    )


def test_windows_are_what_slicing_gives(series):
    prepare = Prepare.fit(series, series.origins(LOOKBACK), LOOKBACK, Recipe(window_norm="none"))
    windows = prepare.apply(series, LOOKBACK)
    batch = windows.gather(torch.tensor([30, 99]))
    for number, row in enumerate((30, 99)):
        assert torch.equal(batch.x[number], windows.inputs[row - LOOKBACK + 1 : row + 1])
        np.testing.assert_allclose(batch.y[number, :, 0], windows.level[row + 1 : row + 4, 0].float())


def test_subtracting_the_last_value_makes_windows_blind_to_level(series):
    recipe = Recipe(window_norm="last", outliers=0.0)
    prepare = Prepare.fit(series, series.origins(LOOKBACK), LOOKBACK, recipe)
    moved = series.values.copy()
    moved[:, 0] += 3.0
    a, b = (
        prepare.apply(d, LOOKBACK).gather(torch.tensor([50])) for d in (series, replace(series, values=moved))
    )
    torch.testing.assert_close(a.x, b.x)
    torch.testing.assert_close(a.y, b.y)
    assert a.offset != b.offset
