"""Panels: M4's measures are M4's, each series has its score, and the test table decides nothing."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from heldout.accuracy import NAIVE2, m4_accuracy, series_scores
from heldout.config import Config
from heldout.data.layout import read_series
from heldout.data.splits import split_series
from heldout.experiment import fit
from heldout.forecast import predict
from heldout.recipe import Recipe
from heldout.runs import Run
from heldout.studies import study
from heldout.studies.compare import block_t, skill
from heldout.studies.engine import InlineEngine
from heldout.task import Task
from heldout.training.baselines import LastValue
from heldout.training.season import naive2
from heldout.training.settle import settle

# Makridakis, Spiliotis & Assimakopoulos 2020, Hourly: sMAPE, MASE, OWA of the organisers' own file.
M4_HOURLY = {"naive": (43.003, 11.608, 3.593), "snaive": (13.912, 1.193, 0.627), NAIVE2: (18.383, 2.395, 1.0)}
CONFIG = Config().with_values(
    {"lookback": 12, "season": 6, "hidden_size": 4, "max_epochs": 1, "n_folds": 0, "n_seeds": 1}
)
N_SERIES, N_TEST = 22, 4


def slow_naive2(y, season, horizon):
    """Term by term, as the organisers' R code has it."""
    n, mean = len(y), sum(y) / len(y)
    if season < 2 or n < 3 * season:
        return [y[-1]] * horizon
    c0 = sum((v - mean) ** 2 for v in y)
    r = [
        sum((y[t] - mean) * (y[t + lag] - mean) for t in range(n - lag)) / c0 for lag in range(1, season + 1)
    ]
    if abs(r[-1]) <= 1.645 / n**0.5 * (1 + 2 * sum(v * v for v in r[:-1])) ** 0.5:
        return [y[-1]] * horizon
    weights = [0.5] + [1.0] * (season - 1) + [0.5] if season % 2 == 0 else [1.0] * season
    ratios = [[] for _ in range(season)]
    for t in range(season // 2, n - season // 2):
        window = y[t - season // 2 : t - season // 2 + len(weights)]
        ratios[t % season].append(y[t] / (sum(w * v for w, v in zip(weights, window, strict=True)) / season))
    figure = [sum(values) / len(values) for values in ratios]
    factors = [value / (sum(figure) / season) for value in figure]
    return [y[-1] / factors[(n - 1) % season] * factors[(n + h) % season] for h in range(horizon)]


@given(n=st.integers(5, 60), season=st.integers(1, 13), strength=st.floats(0, 3), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_naive2_is_the_last_value_seasonally_adjusted_as_in_m4(n, season, strength, seed):
    rng = np.random.default_rng(seed)
    wave = strength * np.sin(2 * np.pi * np.arange(n) / season)
    values = 10 + wave + rng.uniform(0, 1, n)
    np.testing.assert_allclose(naive2(values, season, 9), slow_naive2(values.tolist(), season, 9))


def test_the_reference_forecasts_of_m4_hourly_have_their_published_scores(shared):
    data = read_series(shared / "timeseries" / "m4_hourly_train.csv.gz", test="auto")
    assert (len(data.ids), data.horizon) == (414, 48)
    origins = data.offsets[1:] - 49
    last = data.values[origins, 0]
    forecasts = {
        "naive": np.repeat(last[:, None, None], 48, axis=1),
        "snaive": data.values[origins[:, None] - 23 + np.arange(48) % 24],
    }
    found = m4_accuracy(data, origins, forecasts, 24)
    for row in found["rows"]:
        assert (row["smape"], row["mase"], row["owa"]) == pytest.approx(M4_HOURLY[row["name"]], abs=6e-4)


def test_a_series_that_never_changes_has_no_mase_and_is_said():
    table = pl.DataFrame({"id": ["a"] * 30 + ["b"] * 30, "y": [*np.arange(30.0), *[2.0] * 30]})
    data = read_series(table, target="y", id="id", horizon=2)
    origins = np.array([20, 50])
    found = m4_accuracy(data, origins, {"one": np.ones((2, 2, 1))}, 1)
    assert "1 series without change have no MASE" in found["definition"]
    row = {row["name"]: row for row in found["rows"]}["one"]
    assert row["mase"] == pytest.approx(np.mean([20, 21]))


def test_scores_by_series_average_to_the_score_of_the_panel(panel):
    rows = panel.origins(10)
    rng = np.random.default_rng(0)
    losses, naive = rng.random(len(rows)), rng.random(len(rows))
    found = series_scores(losses, naive, panel, rows)
    assert [entry["series"] for entry in found] == list(panel.ids)
    counts = np.array([entry["n"] for entry in found])
    assert np.average([entry["loss"] for entry in found], weights=counts) == pytest.approx(losses.mean())
    for entry in found:
        assert entry["skill"] == pytest.approx(1 - entry["loss"] / entry["naive"])


def test_over_series_an_interval_is_the_t_interval_of_their_losses():
    values = np.random.default_rng(0).exponential(size=40)
    found = block_t(values, blocks=np.inf)
    low, high = stats.t.interval(0.95, 39, values.mean(), values.std(ddof=1) / 40**0.5)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert block_t(values[::-1], blocks=np.inf).low == pytest.approx(low)
    assert not block_t(values[:19], blocks=np.inf).enough
    assert skill(0.5 * values, values, blocks=np.inf).mean == pytest.approx(0.5)


def wide_panel(seed=0):
    """Waves whose levels lie orders of magnitude apart, and their continuation."""
    rng = np.random.default_rng(seed)
    train, test = [], []
    for number in range(N_SERIES):
        n = 60 + 5 * (number % 3)
        wave = np.sin(2 * np.pi * np.arange(n + N_TEST) / 6 + number) + 0.2 * rng.normal(size=n + N_TEST)
        values = (10.0 ** (number % 4) * (5 + wave)).tolist()
        train.append([f"s{number:02d}", *values[:n], *[None] * (70 - n)])
        test.append([f"s{number:02d}", *values[n:]])
    names = ["id", *(f"V{k}" for k in range(2, 72))]
    return (
        pl.DataFrame(train, schema=names, orient="row", infer_schema_length=None),
        pl.DataFrame(test, schema=names[: N_TEST + 1], orient="row"),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("panel")
    train, test = wide_panel()
    return folder, fit(train, CONFIG, out=folder / "a", engine=InlineEngine(), test=test)


def test_a_wide_panel_is_scored_by_m4s_measures_and_series_by_series(finished):
    folder, result = finished
    scores = json.loads((folder / "a" / "scores.json").read_text())
    names = {row["name"] for row in scores["accuracy"]["rows"]}
    assert names == {row.name for row in result.rows} | {NAIVE2}
    reference = next(row for row in scores["accuracy"]["rows"] if row["name"] == NAIVE2)
    assert reference["owa"] == 1.0
    assert len(scores["series"]) == N_SERIES
    own = result.row("heldout").value
    assert np.mean([entry["loss"] for entry in scores["series"]]) == pytest.approx(own)
    assert result.test_rows == N_SERIES


def test_forecasts_of_unlike_series_are_kept_in_their_own_units(finished):
    folder, result = finished
    table = pl.read_parquet(folder / "a" / "predictions.parquet")
    _, test = wide_panel()
    truth = test.drop("id").to_numpy().ravel()
    np.testing.assert_allclose(table["truth"], truth)
    assert result.metric.endswith("in training standard deviations of each series")
    apart = np.abs(table["forecast"].to_numpy() - truth) / np.abs(truth)
    assert np.median(apart) < 0.2


def test_at_one_moment_the_interval_is_over_series_and_said_to_be(finished):
    _, result = finished
    assert f"Intervals are over {N_SERIES} series, at one moment." in result.sentence
    assert result.row("heldout").skill_vs_naive.enough


def test_the_test_table_changes_no_fit_to_the_bit(finished):
    folder, _ = finished
    train, test = wide_panel()
    other = test.with_columns(pl.all().exclude("id") * 3 + 1)
    fit(train, CONFIG, out=folder / "b", engine=InlineEngine(), test=other)
    models = [(folder / name / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert models[0] == models[1]
    forecasts = [pl.read_parquet(folder / name / "predictions.parquet")["forecast"] for name in ("a", "b")]
    assert forecasts[0].equals(forecasts[1])


def test_a_test_file_that_was_found_is_named_in_the_settled_options(tmp_path):
    for name, table in zip(("train.csv", "test.csv"), wide_panel(), strict=True):
        table.write_csv(tmp_path / name)
    found = Task.make(tmp_path / "train.csv", CONFIG, {})
    assert found.data_options.test == str(tmp_path / "test.csv")
    given = Task.make(tmp_path / "train.csv", CONFIG, {}, test=tmp_path / "test.csv")
    assert given.data_options == found.data_options
    declined = Task.make(tmp_path / "train.csv", CONFIG.with_values({"test": "none"}), {})
    assert (declined.data_options.test, declined.data.test_start) == ("none", None)


def test_the_model_forecasts_a_wide_table(finished):
    folder, _ = finished
    train, _ = wide_panel()
    table, _ = predict(folder / "a", train)
    sealed = pl.read_parquet(folder / "a" / "predictions.parquet")
    np.testing.assert_allclose(table["forecast"], sealed["forecast"], rtol=1e-5)
    assert Run(folder / "a").scores()["looks_at_test"] == 1


def test_a_fold_before_the_seal_is_judged_on_a_spread_of_its_windows_and_the_seal_on_all(
    panel, tmp_path, monkeypatch
):
    monkeypatch.setattr(study, "MOST_JUDGED", 9)
    folds = split_series(panel, 12, n_folds=1)
    recipe = settle(Recipe(lookback=12, transform="none"), panel)
    context = study.make_context(panel, recipe, folds[0], tmp_path)
    jobs = study.plan({"naive": LastValue()}, folds, [0])
    first, final = (study.run_job(context, job, lambda _: None).arrays["origin"] for job in jobs)
    assert len(first) == 9
    assert set(first) <= set(folds[0].test.rows(panel, 12))
    assert len(set(panel.series_of_row[first])) == 3
    np.testing.assert_array_equal(final, folds[1].test.rows(panel, 12))
