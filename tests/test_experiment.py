"""The main job: what it finds, what it keeps, and what it never lets the test rows do."""

import json
import shutil
from dataclasses import replace
from subprocess import PIPE, Popen
from sys import executable

import numpy as np
import polars as pl
import pytest

from heldout.check import InputError
from heldout.config import Config
from heldout.experiment import Silent, fit
from heldout.forecast import predict, write_table
from heldout.recipe import Recipe
from heldout.runs import Run, RunLockedError
from heldout.studies.engine import InlineEngine
from heldout.studies.ledger import Ledger

CONFIG = Config().with_values(
    {
        "target": "y",
        "horizon": 3,
        "lookback": 14,
        "season": 12,
        "hidden_size": 4,
        "max_epochs": 3,
        "n_folds": 3,
        "n_seeds": 2,
    }
)


def make_table(n=300, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    stamps = np.datetime64("2020-01-01T00", "us") + t * np.timedelta64(1, "h")
    x = rng.normal(size=n)
    y = np.sin(2 * np.pi * t / 12) + 0.6 * np.roll(x, 1) + 0.2 * rng.normal(size=n)
    return pl.DataFrame({"time": stamps, "y": y, "x": x})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    result = fit(
        make_table(),
        CONFIG,
        out=folder / "a",
        engine=InlineEngine(),
        rivals={"wild": Recipe(hidden_size=8, max_epochs=2)},
    )
    return folder, result


def test_every_candidate_has_a_line_and_the_last_value_has_no_skill_against_itself(finished):
    _, result = finished
    assert {row.name for row in result.rows} == {
        "naive",
        "drift",
        "ridge",
        "boosting",
        "heldout",
        "wild",
        "seasonal",
    }
    assert [row.value for row in result.rows] == sorted(row.value for row in result.rows)
    naive = result.row("naive")
    assert naive.skill_vs_naive.mean == 0
    for row in result.rows:
        assert row.skill_vs_naive.mean == pytest.approx(1 - row.value / naive.value)
        assert row.low <= row.value <= row.high
    assert result.row("wild").folds is None
    assert result.row("heldout").value < naive.value
    with pytest.raises(InputError, match="no candidate is called 'rigde'"):
        result.row("rigde")


def test_the_sentence_says_how_many_rows_and_against_what(finished):
    _, result = finished
    assert str(result.test_rows) in result.sentence
    assert result.best_baseline in result.sentence


def test_the_result_is_plain_json(finished):
    _, result = finished
    data = json.loads(json.dumps(result.to_dict()))
    assert {"test_rows", "metric", "rows", "sentence", "looks_at_test"} <= data.keys()
    assert {"name", "value", "low", "high", "skill_vs_naive"} <= data["rows"][0].keys()


def test_the_run_directory_holds_all_of_it(finished):
    folder, result = finished
    run = Run(folder / "a")
    assert run.scores()["rows"] == result.to_dict()["rows"]
    predictions = pl.read_parquet(folder / "a" / "predictions.parquet")
    assert len(predictions) == result.test_rows * 3
    mse = ((predictions["forecast"] - predictions["truth"]) ** 2).mean()
    assert mse == pytest.approx(result.row("heldout").value, rel=1e-5)
    model, _ = run.model()
    assert model.prepare == result.model.prepare
    assert Config.read(folder / "a" / "config-resolved.toml").recipe.lookback == 14


def test_the_same_command_again_fits_nothing_and_looks_no_second_time(finished):
    folder, result = finished
    with Ledger(folder / "a" / "ledger.sqlite") as ledger:
        before = len(ledger.events())
    again = fit(
        make_table(),
        CONFIG,
        out=folder / "a",
        engine=InlineEngine(),
        rivals={"wild": Recipe(hidden_size=8, max_epochs=2)},
    )
    with Ledger(folder / "a" / "ledger.sqlite") as ledger:
        assert len(ledger.events()) == before
    assert again.to_dict() == result.to_dict()
    assert again.looks == 1


def test_another_recipe_on_the_same_test_is_a_second_look(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder / "a", tmp_path / "a")
    other = fit(
        make_table(), CONFIG.with_values({"hidden_size": 5}), out=tmp_path / "b", engine=InlineEngine()
    )
    assert other.looks == 2


@pytest.mark.parametrize("values", [{"lookback": 20}, {"horizon": 2}, {"test_size": 0.25}])
def test_what_is_tuned_does_not_hide_a_look(finished, tmp_path, values):
    folder, _ = finished
    shutil.copytree(folder / "a", tmp_path / "a")
    other = fit(make_table(), CONFIG.with_values(values), out=tmp_path / "b", engine=InlineEngine())
    assert other.looks == 2


@pytest.mark.parametrize(
    "change", [lambda t: t[1:], lambda t: t[:-1], lambda t: t.with_columns(z=pl.col("y") * 2)]
)
def test_a_row_more_or_less_does_not_hide_a_look(finished, tmp_path, change):
    folder, _ = finished
    shutil.copytree(folder / "a", tmp_path / "a")
    other = fit(
        change(make_table()), CONFIG.with_values({"max_epochs": 0}), out=tmp_path / "b", engine=InlineEngine()
    )
    assert other.looks == 2


def test_a_note_of_another_kind_in_a_ledger_beside_it_is_no_look(tmp_path):
    (tmp_path / "a").mkdir()
    with Ledger(tmp_path / "a" / "ledger.sqlite") as ledger:
        ledger.look("by hand")
    assert (
        fit(
            make_table(), CONFIG.with_values({"max_epochs": 0}), out=tmp_path / "b", engine=InlineEngine()
        ).looks
        == 1
    )


def test_other_data_is_another_seal(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder / "a", tmp_path / "a")
    other = fit(
        make_table(seed=1), CONFIG.with_values({"max_epochs": 0}), out=tmp_path / "b", engine=InlineEngine()
    )
    assert other.looks == 1


def test_a_baseline_without_any_loss_leaves_a_result(tmp_path):
    table = make_table().with_columns(y=pl.int_range(300).cast(pl.Float64) % 12)
    result = fit(
        table, CONFIG.with_values({"max_epochs": 0, "n_folds": 0}), out=tmp_path / "a", engine=InlineEngine()
    )
    assert result.row("seasonal").value == 0
    assert not result.row("seasonal").heldout_skill.enough
    assert "no skill can be given" in result.sentence
    json.dumps(result.to_dict(), allow_nan=False)


def test_large_numbers_lose_no_digits_on_the_way_to_the_seal(tmp_path):
    values = {"n_folds": 0, "max_epochs": 0, "transform": "none"}
    losses = []
    for level in (0.0, 1e9):
        table = make_table().with_columns(y=pl.col("y") + level)
        losses.append(
            fit(table, CONFIG.with_values(values), out=tmp_path / f"{level}", engine=InlineEngine())
            .row("naive")
            .value
        )
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_a_rival_with_another_window_or_a_gate_without_a_candidate_is_refused_at_once(tmp_path):
    with pytest.raises(InputError, match="a rival sees the same windows"):
        fit(make_table(), CONFIG, out=tmp_path / "a", rivals={"wide": Recipe(lookback=60)})
    with pytest.raises(InputError, match="did you mean 'ridge'"):
        fit(make_table(), CONFIG, out=tmp_path / "a", gate="rigde")
    assert not (tmp_path / "a").exists()


def _not_allowed(*arguments, **options):
    raise PermissionError(13, "Permission denied")


def test_a_users_own_files_are_not_overwritten_and_half_written_ones_do_not_block(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.toml").write_text("# precious")
    with pytest.raises(InputError, match="is not empty and holds no run"):
        Run.open(CONFIG, "0", out=tmp_path / "mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("filelock.FileLock.acquire", _not_allowed)  # as in the folder of another user
        with pytest.raises(InputError, match=r"cannot write in the run directory .*: Permission denied"):
            Run.open(CONFIG, "0", out=tmp_path / "theirs")
    assert (tmp_path / "mine" / "config.toml").read_text() == "# precious"
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / ".run.json-123").write_text("{")
    Run.open(CONFIG, "0", out=tmp_path / "half").close()


def test_a_look_counts_even_if_the_run_is_stopped(tmp_path):
    class Stop(Silent):
        def finished(self, job, result, was_there):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(make_table(), CONFIG, out=tmp_path / "a", engine=InlineEngine(), listener=Stop())
    assert (
        fit(make_table(), CONFIG.with_values({"lr": 0.5}), out=tmp_path / "b", engine=InlineEngine()).looks
        == 2
    )


def test_another_configuration_may_not_write_into_a_run(finished):
    folder, _ = finished
    with pytest.raises(InputError, match="holds a run of another configuration"):
        fit(make_table(), CONFIG.with_values({"lr": 0.5}), out=folder / "a", engine=InlineEngine())


def test_a_second_process_is_refused_while_the_first_writes(tmp_path):
    code = "import sys, filelock; l = filelock.FileLock(sys.argv[1]); l.acquire(); print('held', flush=True); sys.stdin.read()"
    (tmp_path / "a").mkdir()
    with Popen([executable, "-c", code, str(tmp_path / "a" / ".lock")], stdin=PIPE, stdout=PIPE) as other:
        assert other.stdout.readline()
        with pytest.raises(RunLockedError, match="written by another process"):
            Run.open(CONFIG, "0", out=tmp_path / "a")
        other.stdin.close()
    Run.open(CONFIG, "0", out=tmp_path / "a").close()


def test_runs_are_numbered_and_found_again(tmp_path):
    paths = []
    for config in (CONFIG, CONFIG.with_values({"lr": 0.5}), CONFIG):
        with Run.open(config, "0", folder=tmp_path) as run:
            paths.append(run.path.name)
    assert paths == ["y-1", "y-2", "y-1"]


def test_the_sealed_rows_change_nothing_but_their_score(finished, tmp_path):
    table = make_table()
    sealed = len(table) - round(0.2 * (len(table) - 14 - 2))
    y = table["y"].to_numpy().copy()
    y[sealed + 3 :] = 77.0 + np.arange(len(y) - sealed - 3)
    other = fit(table.with_columns(y=pl.Series(y)), CONFIG, out=tmp_path / "a", engine=InlineEngine())
    mine, theirs = finished[1], other
    for a, b in zip(mine.model.networks, theirs.model.networks, strict=True):
        assert all(
            (p == q).all() for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
        )
    assert mine.row("heldout").folds == theirs.row("heldout").folds
    assert mine.row("heldout").value != theirs.row("heldout").value


def test_a_forecast_from_the_run_is_the_models_own(finished):
    folder, result = finished
    table = make_table()
    known = table[: len(table) - 3]
    forecast, _ = predict(folder / "a", known)
    expected = pl.read_parquet(folder / "a" / "predictions.parquet").filter(
        pl.col("origin") == known["time"][-1]
    )
    assert forecast["time"].to_list() == table["time"][-3:].to_list()
    np.testing.assert_allclose(forecast["forecast"], expected["forecast"], rtol=1e-5)
    short, _ = predict(folder / "a", known[-result.model.rows_needed :])
    np.testing.assert_allclose(short["forecast"], forecast["forecast"], rtol=1e-5)


def test_too_short_a_table_cannot_be_forecast(finished):
    folder, result = finished
    need = result.model.rows_needed
    assert need in (14, 15)
    with pytest.raises(InputError, match=f"needs {need} rows .*; series 'series' has {need - 1}"):
        predict(folder / "a", make_table()[1 - need :])


def test_a_missing_column_is_named(finished):
    folder, _ = finished
    with pytest.raises(InputError, match="'x'"):
        predict(folder / "a", make_table().drop("x"))


def test_a_damaged_model_is_refused(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder / "a", tmp_path / "a")
    path = tmp_path / "a" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.safetensors"):
        predict(tmp_path / "a", make_table())


def test_quantiles_rise_and_are_kept(tmp_path):
    config = CONFIG.with_values({"loss": "quantile", "n_folds": 0})
    fit(make_table(), config, out=tmp_path / "a", engine=InlineEngine())
    predictions = pl.read_parquet(tmp_path / "a" / "predictions.parquet")
    levels = predictions.select("q0.05", "q0.25", "q0.5", "q0.75", "q0.95").to_numpy()
    assert (np.diff(levels, axis=1) >= 0).all()
    inside = (predictions["truth"].to_numpy() >= levels[:, 0]) & (
        predictions["truth"].to_numpy() <= levels[:, -1]
    )
    assert 0.75 < inside.mean() <= 1


@pytest.mark.parametrize("calendar", [False, True])
def test_covariates_known_ahead_and_static_ones_are_used(tmp_path, calendar):
    rng = np.random.default_rng(1)
    tables = []
    for name, level in (("a", 0.0), ("b", 3.0)):
        promo = rng.integers(0, 2, 260).astype(float)
        tables.append(
            make_table(260)
            .with_columns(id=pl.lit(name), size=pl.lit(level), promo=promo)
            .with_columns(y=pl.col("y") * 0.1 + 3 * pl.col("promo") + level)
        )
    table = pl.concat(tables).drop("x")
    config = CONFIG.with_values(
        {
            "id": "id",
            "future": ["promo"],
            "static": ["size"],
            "max_epochs": 30,
            "n_folds": 0,
            "calendar": calendar,
            "lr": 0.01,
            "horizon": 2,
        }
    )
    result = fit(table, config, out=tmp_path / "a", engine=InlineEngine())
    # Only a covariate that is known ahead can tell tomorrow's promotion.
    assert result.row("heldout").value < 0.3 * result.row("ridge").value
    ahead = table.filter(pl.col("id") == "a")[-2:].with_columns(
        time=pl.col("time") + pl.duration(hours=2), y=None, promo=pl.Series([1.0, 0.0])
    )
    with pytest.raises(
        InputError, match="covariate 'promo' must be known 2 rows ahead, series 'b' lacks row 1"
    ):
        predict(tmp_path / "a", pl.concat([table, ahead]))
    both = pl.concat([table, ahead, ahead.with_columns(id=pl.lit("b"), size=pl.lit(3.0))])
    forecast, _ = predict(tmp_path / "a", both)
    high, low = forecast.filter(pl.col("series") == "a")["forecast"]
    assert high - low > 2


def test_a_forecast_is_written_whole_as_csv_or_parquet(tmp_path):
    table = make_table(5)
    for name in ("f.csv", "f.parquet"):
        write_table(table, tmp_path / name)
    assert pl.read_parquet(tmp_path / "f.parquet").equals(table)
    assert pl.read_csv(tmp_path / "f.csv").height == 5
    with pytest.raises(InputError, match=r"must end in .csv or .parquet"):
        write_table(table, tmp_path / "f.xlsx")


def test_missing_values_are_refused_or_filled_and_said(tmp_path):
    table = make_table().with_columns(
        x=pl.when(pl.int_range(300) % 50 == 7).then(None).otherwise(pl.col("x"))
    )
    with pytest.raises(InputError, match="'x'"):
        fit(table, CONFIG, out=tmp_path / "a", engine=InlineEngine())
    result = fit(
        table,
        CONFIG.with_values({"missing": "fill", "n_folds": 0}),
        out=tmp_path / "b",
        engine=InlineEngine(),
    )
    assert any("'x'" in note or "x" in note for note in result.notes)
    assert result.model.shape.n_inputs == 3


def test_gaps_longer_than_the_limit_do_not_flatter(tmp_path):
    rng = np.random.default_rng(3)
    level = 1000 + np.cumsum(rng.normal(size=600))
    table = pl.DataFrame({"y": np.where(np.arange(600) % 40 < 8, np.nan, level)}).fill_nan(None)
    values = {"missing": "fill", "transform": "none", "horizon": 1, "n_folds": 0, "max_epochs": 0}
    results = [
        fit(
            table,
            CONFIG.with_values(values | {"fill_limit": limit}),
            out=tmp_path / str(limit),
            engine=InlineEngine(),
        )
        for limit in (2, 100)
    ]
    naive = [result.row("naive").value for result in results]
    assert naive[0] == naive[1] < 10


def test_a_covariate_that_falls_to_zero_after_training_is_no_obstacle(tmp_path):
    rng = np.random.default_rng(4)
    price, other = (np.exp(np.cumsum(0.02 * rng.normal(size=600)) + np.linspace(0, 3, 600)) for _ in range(2))
    other[590:] = 0.0
    table = pl.DataFrame({"price": price, "other": other})
    result = fit(
        table,
        CONFIG.with_values({"target": "price", "n_folds": 0}),
        out=tmp_path / "a",
        engine=InlineEngine(),
    )
    assert result.model.prepare.transforms == ("log_return", "log_return")
    assert np.isfinite(result.row("heldout").value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"segment": 15}, "segment of 15 rows is longer than the window of 14"),
        ({"loss": "cross_entropy"}, "is for classes"),
        ({"transform": "log"}, "positive values, column 'y' holds"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_fitted(tmp_path, values, message):
    jobs = []

    class Watch(Silent):
        def finished(self, job, result, was_there):
            jobs.append(job)

    with pytest.raises(InputError, match=message):
        fit(
            make_table(),
            CONFIG.with_values(values),
            out=tmp_path / "a",
            engine=InlineEngine(),
            listener=Watch(),
        )
    assert not jobs


def test_no_target_is_said_so():
    with pytest.raises(InputError, match="no target column is given"):
        fit(make_table(), Config())


def test_a_replaced_option_is_checked():
    with pytest.raises(InputError, match="max_epochs"):
        replace(CONFIG, recipe=CONFIG.recipe.with_values({"max_epochs": -1}))
