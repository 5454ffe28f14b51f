"""Later rows cut off, and rows spoiled."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.data.audit.truncation import (
    check_features,
    check_history,
    check_preparation,
    check_seen,
    cut_after,
)
from heldout.data.layout import read_series
from heldout.data.prepare import Prepare
from heldout.recipe import Recipe
from heldout.training.settle import settle
from tests.conftest import make_series
from tests.data.audit.tables import random_walk, table

FRAME = table(random_walk(np.random.default_rng(0), 200))
HONEST = {
    "lag": lambda f: f.with_columns(x=pl.col("y").shift(1)),
    "rolling": lambda f: f.with_columns(x=pl.col("y").rolling_std(7)),
    "expanding": lambda f: f.with_columns(x=pl.col("y").cum_sum() / pl.int_range(1, pl.len() + 1)),
    "forward fill": lambda f: f.with_columns(x=pl.when(pl.col("y") > 50).then("y").forward_fill()),
    "calendar": lambda f: f.with_columns(x=pl.col("time").dt.weekday(), word=pl.lit("a")),
}
LOOKING = {
    "negative shift": lambda f: f.with_columns(x=pl.col("y").shift(-1)),
    "centred": lambda f: f.with_columns(x=pl.col("y").rolling_mean(9, center=True, min_samples=1)),
    "scaled": lambda f: f.with_columns(x=(pl.col("y") - pl.col("y").mean()) / pl.col("y").std()),
    "rank": lambda f: f.with_columns(x=pl.col("y").rank()),
    "backward fill": lambda f: f.with_columns(
        x=pl.when(pl.int_range(pl.len()) % 5 == 0).then("y").backward_fill()
    ),
    "interpolated": lambda f: f.with_columns(
        x=pl.when(pl.int_range(pl.len()) % 5 == 0).then("y").interpolate()
    ),
    "Fourier": lambda f: f.with_columns(
        x=pl.Series(np.fft.irfft(np.fft.rfft(f["y"].to_numpy()) * (np.arange(len(f) // 2 + 1) < 10), len(f)))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_functions_that_look_back_pass(name):
    assert check_features(FRAME, HONEST[name], rng=np.random.default_rng(0)).status == "PASS"


@pytest.mark.parametrize("name", LOOKING)
def test_functions_that_look_ahead_fail_in_that_column_only(name):
    found = check_features(FRAME, LOOKING[name], rng=np.random.default_rng(0))
    assert found.is_leak
    assert list(found.figures) == ["x"]
    assert all(row.startswith("column 'x' in row ") for row in found.rows)


def test_a_window_needs_no_more_history_than_it_reads():
    assert check_history(FRAME, HONEST["rolling"]).status == "PASS"
    assert check_history(FRAME, HONEST["expanding"]).kind == "hint"
    assert check_history(FRAME, HONEST["expanding"]).failed


@given(seed=st.integers(0, 10**6), n_series=st.integers(1, 3))
@settings(max_examples=15, deadline=None)
def test_what_is_cut_off_is_all_that_is_later(seed, n_series):
    data = make_series(80, n_series)
    row = seed % data.n_rows
    part, place = cut_after(data, row)
    assert part.time.max() == data.time[row]
    assert part.n_rows == (data.time <= data.time[row]).sum()
    np.testing.assert_array_equal(part.values[place], data.values[row])
    assert part.ids[part.series_of_row[place]] == data.ids[data.series_of_row[row]]


@pytest.mark.parametrize("scaling", ["standard", "robust"])
@pytest.mark.parametrize("n_series", [1, 2])
def test_the_preparation_passes_and_one_that_reads_all_rows_does_not(scaling, n_series, monkeypatch):
    data = make_series(200, n_series)
    recipe = settle(Recipe(lookback=10, scaling=scaling, transform="none"), data)
    train = data.origins(10)[data.time[data.origins(10)] < data.time[100]]
    rng = np.random.default_rng(0)
    assert check_preparation(data, train, recipe, rng=rng).status == "PASS"
    assert check_seen(data, [train], recipe).status == "PASS"
    honest = Prepare.fit.__func__
    monkeypatch.setattr(
        Prepare, "fit", classmethod(lambda cls, d, _, *rest: honest(cls, d, d.origins(10), *rest))
    )
    found = check_seen(data, [train], recipe)
    assert found.is_leak
    assert {"centers", "widths"} <= set(found.rows)


def test_a_choice_that_reads_later_rows_is_named():
    data = make_series(200)
    recipe = settle(Recipe(lookback=10), data)
    train = data.origins(10)[:80]
    found = check_seen(data, [train], recipe, [lambda d: d.values[:50].sum(), lambda d: d.values.max()])
    assert found.rows == ("choice 2",)


def test_with_no_later_rows_there_is_nothing_to_spoil():
    data = make_series(60)
    recipe = settle(Recipe(lookback=10), data)
    assert check_seen(data, [data.origins(10)], recipe).status == "NOT RUN"
    assert check_seen(replace(data, notes=()), [data.origins(10)[:20]], recipe).status == "PASS"


def test_a_row_that_cannot_be_prepared_is_a_fault_and_no_crash():
    y = np.exp(random_walk(np.random.default_rng(0), 300) / 10)
    y[280] = 0.0  # a logarithm was chosen before
    data = read_series(table(y), target="y", horizon=1)
    recipe = settle(Recipe(lookback=10, transform="log_return"), data)
    train = np.arange(20, 200)
    found = check_preparation(data, train, recipe, rng=np.random.default_rng(0))
    assert (found.failed, found.kind) == (True, "fault")
    assert "a logarithm needs positive values" in found.message
    assert check_seen(data, [train], recipe).status == "NOT RUN"


def test_rows_before_the_training_samples_may_be_read():
    y = np.where(np.arange(300) < 40, np.nan, random_walk(np.random.default_rng(0), 300))
    data = read_series(
        table(random_walk(np.random.default_rng(1), 300), x=y), target="y", horizon=1, missing="fill"
    )
    recipe = settle(Recipe(lookback=10, transform="difference"), data)
    assert check_seen(data, [np.arange(60, 200)], recipe).status == "PASS"
