"""What a recipe leaves to a panel is decided by its training rows alone."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.config import Config
from heldout.data.layout import read_series
from heldout.data.transforms import choose_transforms
from heldout.recipe import Recipe
from heldout.studies.scale import Scale
from heldout.task import Task
from heldout.training.fit import fit_series
from heldout.training.settle import settle_scale

LOOKBACK = 8


def panel_of(levels, spreads, n_rows=60, seed=0):
    rng = np.random.default_rng(seed)
    parts = [
        pl.DataFrame({"id": f"s{k:02d}", "y": level + spread * rng.normal(size=n_rows)})
        for k, (level, spread) in enumerate(zip(levels, spreads, strict=True))
    ]
    return read_series(pl.concat(parts), target="y", id="id", horizon=2)


@given(factor=st.floats(0.01, 100), seed=st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_series_are_scaled_one_by_one_just_where_their_spreads_or_levels_differ_much(factor, seed):
    data = panel_of([0.0, 0.0], [1.0, factor], seed=seed)
    found, reason = settle_scale(Recipe(transform="none"), data, data.origins(LOOKBACK))
    ratio = max(factor, 1 / factor) ** 0.8  # between the quantiles of two values
    if ratio > 4:
        assert found.scale_by == "series"
        assert "spreads differ" in reason
    if ratio < 2:
        assert found.scale_by == "all"
    far = panel_of([0.0, 10.0], [1.0, 1.0], seed=seed)
    assert settle_scale(Recipe(transform="none"), far, far.origins(LOOKBACK))[0].scale_by == "series"


def test_later_rows_do_not_decide_the_scale(panel):
    early = panel.origins(LOOKBACK)
    early = early[panel.time[early] < np.median(panel.time)]
    values = panel.values.copy()
    values[panel.time > panel.time[early + panel.horizon].max()] *= 1e6
    recipe = Recipe(transform="none", lookback=LOOKBACK)
    other = replace(panel, values=values)
    assert settle_scale(recipe, panel, early) == settle_scale(recipe, other, early)


def test_a_choice_of_the_user_stands(panel):
    for chosen in ("all", "series"):
        assert settle_scale(Recipe(scale_by=chosen), panel, panel.origins(LOOKBACK)) == (
            Recipe(scale_by=chosen),
            None,
        )


def test_a_panel_scaled_by_series_is_forecast_alike_in_any_units():
    data = panel_of([0.0, 50.0], [1.0, 20.0])
    factor = np.array([1000.0, 0.01])[data.series_of_row][:, None]
    other = replace(data, values=data.values * factor)
    rows = data.origins(LOOKBACK)
    recipe = Recipe(lookback=LOOKBACK, transform="none", max_epochs=1, hidden_size=4)
    said = [fit_series(d, rows[:60], rows[80:], recipe)[0].predict(d, rows[-5:]) for d in (data, other)]
    np.testing.assert_allclose(said[1], said[0] * factor[rows[-5:]][:, :, None, None], rtol=1e-3)


def test_the_scale_of_scores_is_undone_exactly_and_has_unit_spread():
    data = panel_of([0.0, 500.0, 2.0], [1.0, 20.0, 0.1])
    rows = np.arange(data.n_rows)
    scale = Scale(transforms=("none",), units=(1.0,)).per_series(data, rows)
    scored = scale.targets(data)
    for a, b in zip(data.offsets[:-1], data.offsets[1:], strict=True):
        assert (scored[a:b].mean(), scored[a:b].std()) == pytest.approx((0, 1), abs=1e-9)
    back = scale.to_original(scored[:, None], data, rows)
    np.testing.assert_allclose(back[:, 0], data.values[:, :1])


def test_most_series_decide_the_transform_and_one_that_is_not_positive_forbids_a_logarithm():
    rng = np.random.default_rng(0)
    walks = [pl.DataFrame({"id": f"w{k}", "y": rng.normal(size=200).cumsum()}) for k in range(5)]
    noise = [pl.DataFrame({"id": f"n{k}", "y": rng.normal(size=200)}) for k in range(2)]
    data = read_series(pl.concat(walks + noise), target="y", id="id", horizon=1)
    (found,), (why,) = choose_transforms(data, data.origins(LOOKBACK), LOOKBACK, "auto")
    assert found == "difference"
    assert why.startswith("y: difference (of 7 series")


def test_a_window_without_calendar_holds_two_cycles_where_the_second_helps(tmp_path):
    # the sum of two cycles whose second is seen only in windows twice as long
    rng, n = np.random.default_rng(0), 400
    rows = []
    for number in range(20):
        t = np.arange(n) + 5 * number
        y = np.sin(2 * np.pi * t / 12) + 2 * np.sin(
            2 * np.pi * t / 90 + 0.3 * rng.normal(size=n).cumsum() / 9
        )
        rows.append([f"s{number:02d}", *(y + 0.05 * rng.normal(size=n))])
    table = pl.DataFrame(rows, schema=["id", *(f"V{k}" for k in range(n))], orient="row")
    task = Task.make(table, Config().with_values({"season": 12, "horizon": 4}), {})
    notes = [note for note in task.notes if note.startswith("windows of")]
    assert task.recipe.lookback in (60, 120)
    assert task.recipe.lookback % 12 == 0
    assert f"windows of {task.recipe.lookback} rows" in notes[0]
    fixed = Task.make(table, Config().with_values({"season": 12, "horizon": 4, "lookback": 30}), {})
    assert fixed.recipe.lookback == 30
    assert not [note for note in fixed.notes if note.startswith("windows of")]
