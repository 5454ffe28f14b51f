"""Intervals of a whole run: what stands in its files and on the screen."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from heldout.check import InputError
from heldout.cli.show import show
from heldout.config import Config
from heldout.experiment import fit
from heldout.forecast import predict
from heldout.runs import Run
from heldout.studies.engine import InlineEngine

CONFIG = Config().with_values(
    {
        "target": "y",
        "horizon": 2,
        "lookback": 12,
        "season": 12,
        "hidden_size": 4,
        "max_epochs": 2,
        "n_folds": 0,
        "n_seeds": 2,
        "study.mc_dropout": 3,
        "study.level": 0.8,
        "loss": "quantile",
        "quantiles": [0.1, 0.5, 0.9],
    }
)


def make_table(n=320):
    rng = np.random.default_rng(0)
    stamps = np.datetime64("2020-01-01T00", "us") + np.arange(n) * np.timedelta64(1, "h")
    return pl.DataFrame(
        {"time": stamps, "y": np.sin(2 * np.pi * np.arange(n) / 12) + 0.3 * rng.normal(size=n)}
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "a"
    return path, fit(make_table(), CONFIG, out=path, engine=InlineEngine())


def test_the_scores_are_those_of_the_predictions(finished):
    path, result = finished
    scores, table = Run(path).scores(), pl.read_parquet(path / "predictions.parquet")
    assert [entry["method"] for entry in scores["intervals"]] == ["conformal", "mc_dropout", "quantile"]
    for entry, ends in zip(
        scores["intervals"], [("low", "high"), ("mc_low", "mc_high"), ("q0.1", "q0.9")], strict=True
    ):
        inside = table["truth"].is_between(table[ends[0]], table[ends[1]])
        assert entry["coverage"] == pytest.approx(inside.mean())
        assert entry["width"] == pytest.approx((table[ends[1]] - table[ends[0]]).mean())
        assert entry["level"] == pytest.approx(0.8)
        assert entry["promised"] == (entry["method"] == "conformal")
    assert [entry["level"] for entry in scores["quantiles"]] == [0.1, 0.5, 0.9]
    assert scores["quantiles"][0]["below"] == pytest.approx((table["truth"] <= table["q0.1"]).mean())
    assert json.loads(json.dumps(result.to_dict()))["intervals"] == scores["intervals"]


def test_the_run_predicts_with_the_intervals_that_were_scored(finished):
    path, result = finished
    table, notes = predict(path, make_table())
    assert any("80 % interval" in note and result.model.conformal.note in note for note in notes)
    assert {"forecast", "low", "high", "q0.1", "q0.5", "q0.9"} <= set(table.columns)
    assert (table["low"] <= table["forecast"]).all()
    assert (table["high"] >= table["forecast"]).all()
    assert Run(path).model()[0].conformal == result.model.conformal


def test_each_interval_is_a_line_on_the_screen(finished, capsys):
    show(finished[1], as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("80 % interval") and "of the sealed rows" in line for line in lines) == 3


def test_the_intervals_do_not_depend_on_what_happens_in_the_sealed_rows(finished, tmp_path):
    path, _ = finished
    table = make_table()
    first = pl.read_parquet(path / "predictions.parquet")["origin"].min()
    changed = table.with_columns(y=pl.when(pl.col("time") > first).then(9.0).otherwise(pl.col("y")))
    fit(changed, CONFIG, out=tmp_path / "b", engine=InlineEngine())
    assert Run(tmp_path / "b").model()[0].conformal == Run(path).model()[0].conformal


def test_monte_carlo_dropout_without_a_rate_is_refused_before_any_fit(tmp_path):
    config = replace(CONFIG, recipe=CONFIG.recipe.with_values({"regularization": 0}))
    with pytest.raises(InputError, match="mc_dropout needs a rate above 0"):
        fit(make_table(), config, out=tmp_path / "c", engine=InlineEngine())
    assert not (tmp_path / "c").exists()


def test_one_pass_of_monte_carlo_dropout_has_no_spread_and_is_refused():
    with pytest.raises(InputError, match="2 passes at least"):
        CONFIG.with_values({"mc_dropout": 1})
