"""Optimism and drift: blocks that are held out inside are really out, and the two parts add up."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.data.layout import read_series
from heldout.data.splits import split_series
from heldout.recipe import Recipe
from heldout.studies.optimism import hold_out_inside, optimism_and_drift
from heldout.studies.plan import plan
from heldout.studies.study import make_context, run_job
from heldout.training.settle import settle

TINY = Recipe(hidden_size=4, max_epochs=1, lookback=6, segment=1, transform="none")


def make_data(n_rows, *, horizon=2, n_series=1, seed=0):
    random = np.random.default_rng(seed)
    table = {
        "id": np.repeat([f"s{k}" for k in range(n_series)], n_rows),
        "row": np.tile(np.arange(n_rows), n_series),
        "y": random.normal(size=n_rows * n_series).cumsum() * 0.1 + np.sin(np.arange(n_rows * n_series) / 3),
    }
    return read_series(pl.DataFrame(table), target="y", time="row", id="id", horizon=horizon)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(120, 600),
    st.integers(2, 20),
    st.integers(1, 8),
    st.integers(1, 3),
)
def test_nothing_that_a_training_sample_reads_or_forecasts_is_in_a_held_label(
    n_rows, lookback, horizon, n_series
):
    data = make_data(n_rows, horizon=horizon, n_series=n_series)
    fold = split_series(data, lookback, n_folds=0)[-1]
    inside = hold_out_inside(fold, data, lookback)
    if inside is None:
        return
    labels = set()
    for block in inside.held:
        for row in block.rows(data, lookback):
            labels |= set(range(row + 1, row + horizon + 1))
    train = inside.train_rows(data, lookback)
    touched = {int(x) for row in train for x in range(row - lookback + 1, row + horizon + 1)}
    assert not touched & labels
    assert len(train) >= 0.6 * len(fold.train.rows(data, lookback))
    assert set(train) <= set(fold.train.rows(data, lookback))


def test_a_fold_without_held_blocks_trains_on_all_of_its_span():
    data = make_data(200)
    fold = split_series(data, 6, n_folds=0)[-1]
    np.testing.assert_array_equal(fold.train_rows(data, 6), fold.train.rows(data, 6))


def test_a_period_too_short_for_a_block_has_none():
    data = make_data(60, horizon=4)
    assert hold_out_inside(split_series(data, 20, n_folds=0)[-1], data, 20) is None


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    data = make_data(1500)
    recipe = settle(TINY, data)
    folds = split_series(data, 6, n_folds=0)
    inside = hold_out_inside(folds[-1], data, 6)
    context = make_context(data, recipe, folds[0], tmp_path_factory.mktemp("checkpoints"))
    (job,) = plan({"in-period": recipe}, [inside], [0])
    return data, context, inside, run_job(context, job, lambda event: None)


def test_optimism_and_drift_add_up_to_the_gap(judged):
    _, context, inside, result = judged
    found = optimism_and_drift(context, inside, result)
    gap = found["optimism"]["mean"] + found["drift"]["mean"]
    assert gap == pytest.approx(found["future"] - found["train"])
    for part in ("optimism", "drift"):
        assert found[part]["low"] < found[part]["mean"] < found[part]["high"]


def test_the_last_value_is_scored_on_the_same_samples(judged):
    data, context, inside, result = judged
    naive = optimism_and_drift(context, inside, result)["naive"]
    y = data.values[:, data.columns.index("y")]
    rows = result.arrays["held_origin"]
    slow = np.mean([[(y[row + h] - y[row]) ** 2 for h in (1, 2)] for row in rows])
    assert naive["in_period"] == pytest.approx(slow)


def test_changing_held_labels_changes_neither_the_fit_nor_its_training_loss(judged, tmp_path):
    data, context, inside, result = judged
    values = data.values.copy()
    for block in inside.held:
        rows = block.rows(data, 6)
        values[rows.min() + 1 : rows.max() + 3, data.columns.index("y")] += 5.0

    other = replace(context, data=replace(data, values=values), checkpoints=tmp_path)
    (job,) = plan({"in-period": settle(TINY, data)}, [inside], [0])
    again = run_job(other, job, lambda event: None)
    assert again.history == result.history
    np.testing.assert_array_equal(again.arrays["train_loss"], result.arrays["train_loss"])
    assert (again.arrays["held_loss"] != result.arrays["held_loss"]).mean() > 0.9
