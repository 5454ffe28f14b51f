"""Marks of work on the whole table, repeated stretches, and faults."""

import numpy as np
import polars as pl
import pytest

from heldout.data.audit.faults import (
    check_constant,
    check_gaps,
    check_outliers,
    check_size,
    check_unit_root,
)
from heldout.data.audit.probe import probe
from heldout.data.audit.repeats import check_repeats
from heldout.data.audit.scaled import check_ramps, check_scaling, check_static
from heldout.data.audit.shift import check_shift
from heldout.data.layout import read_series
from heldout.recipe import Recipe
from heldout.training.settle import settle
from tests.data.audit.tables import KINDS, clean, noiseless, random_walk, sensor, table

Y = random_walk(np.random.default_rng(0))
N = len(Y)
EARLY = np.arange(N) < 300


def read(y, **columns):
    return read_series(table(y, **columns), target="y", horizon=1, missing="fill")


@pytest.mark.parametrize("digits", [4, 6, 15])
@pytest.mark.parametrize("ddof", [0, 1])
def test_a_scaler_on_all_rows_is_seen_and_one_on_training_rows_is_not(digits, ddof):
    def scaled(rows):
        return np.round((Y - Y[rows].mean()) / Y[rows].std(ddof=ddof), digits)

    assert check_scaling(read(scaled(slice(None))), EARLY).is_leak
    assert check_scaling(read(scaled(EARLY)), EARLY).status == "PASS"


def test_a_range_of_0_to_1_over_all_rows_is_seen_and_a_share_is_not():
    rising = Y + np.arange(N)
    assert check_scaling(read((rising - rising.min()) / np.ptp(rising)), EARLY).is_leak
    share = np.clip(np.sin(Y), 0, 1)
    assert check_scaling(read(np.round(share, 2)), EARLY).status == "PASS"


def test_every_series_scaled_by_itself_is_seen():
    rows = [
        table((y - y.mean()) / y.std()).with_columns(id=pl.lit(f"s{k}"))
        for k in range(3)
        for y in [random_walk(np.random.default_rng(k))]
    ]
    data = read_series(pl.concat(rows), target="y", id="id", horizon=1)
    assert check_scaling(data, np.tile(EARLY, 3)).is_leak


@pytest.mark.parametrize("kind", KINDS)
def test_honest_columns_look_like_themselves(kind):
    for seed in range(5):
        data = read_series(clean(kind, seed), target="y", horizon=1, missing="fill")
        for found in (check_scaling(data, EARLY), check_repeats(data, EARLY), check_ramps(data)):
            assert not found.failed, (found.check, seed, found.message)


def test_a_static_column_that_is_a_mean_over_the_test_is_a_leak():
    for stop, failed in ((N, True), (300, False)):
        rows = [
            table(y).with_columns(id=pl.lit(f"s{k}"), level=pl.lit(float(y[:stop].mean())))
            for k in range(4)
            for y in [random_walk(np.random.default_rng(k))]
        ]
        data = read_series(pl.concat(rows), target="y", id="id", static=["level"], horizon=1)
        assert check_static(data, np.tile(EARLY, 4)).is_leak == failed


def test_copied_rows_are_found_where_they_stand_and_a_repeating_series_passes():
    y = Y.copy()
    y[340:380] = y[100:140]
    found = check_repeats(read(y), EARLY)
    assert found.is_leak
    assert (found.n_rows, found.rows[0]) == (40, "2020-01-15T04:00:00")
    assert check_repeats(read(noiseless(np.random.default_rng(0))), EARLY).status == "PASS"
    day = np.tile(np.random.default_rng(0).permutation(24), N // 24 + 1)[:N].astype(float)
    assert check_repeats(read(day), EARLY).status == "PASS"


def test_a_straight_line_into_a_gap_is_seen_among_rounded_values():
    y = sensor(np.random.default_rng(0))
    x = np.interp(
        np.arange(N), np.delete(np.arange(N), np.arange(200, 207)), np.delete(y, np.arange(200, 207))
    )
    found = check_ramps(read(y, x=x))
    assert (found.failed, found.kind) == (True, "hint")
    assert set(found.rows) <= {f"{np.datetime64('2020-01-01T00') + k}:00:00" for k in range(199, 208)}


def test_faults_of_the_table_are_named_with_their_rows():
    holes = read(np.where(np.arange(N) == 17, np.nan, Y))
    assert check_gaps(holes).rows == ("2020-01-01T17:00:00",)
    assert check_gaps(read(Y)).status == "PASS"
    same = check_constant(read(Y, flat=np.ones(N), copy=Y * 9 / 5 + 32, own=Y + np.sin(np.arange(N))), EARLY)
    assert [row.split("'")[1] for row in same.rows] == ["flat", "copy"]
    spike = Y.copy()
    spike[55] = 1e6
    assert check_outliers(read(spike)).rows == ("2020-01-03T07:00:00",)
    assert check_size(99, 1000).failed
    assert not check_size(100, 30).failed


def test_a_wandering_level_left_as_it_is_is_said():
    data = read(Y)
    train = np.arange(60, 300)
    for transform, failed in (("none", True), ("difference", False)):
        recipe = settle(Recipe(lookback=12, transform=transform), data)
        assert check_unit_root(data, train, recipe).failed == failed


def test_a_shift_of_the_test_is_shown_and_none_where_there_is_none():
    rng = np.random.default_rng(0)
    train, test = np.arange(20, 300), np.arange(300, N - 1)
    for step, failed in ((0.0, False), (3.0, True)):
        data = read(rng.normal(size=N) + step * ~EARLY)
        found = check_shift(data, train, test, settle(Recipe(lookback=12, transform="none"), data))
        assert (found.failed, found.kind) == (failed, "hint")
        assert 0 <= found.figures["low"] <= found.figures["auc"] <= found.figures["high"] <= 1


def test_a_probe_reads_covariates_that_old_and_no_newer():
    rng = np.random.default_rng(0)
    x = rng.normal(size=600)
    y = np.concatenate([[0.0], x[:-1]]) + 0.1 * rng.normal(size=600)  # x acts one row on
    found = probe(read(y, x=x), np.arange(12, 400), np.arange(400, 590), "y")
    errors = [((found.change - said) ** 2).mean() for said in (found.own, found.full, found.late)]
    assert errors[1] < 0.05 * errors[0]
    assert errors[2] > 0.8 * errors[0]
