"""A fit from files, by workers together, is the fit from memory; killed on the way, it goes on to the same model."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest

from heldout import large
from heldout.check import InputError
from heldout.config import Config
from heldout.data.mapped import write_windows
from heldout.experiment import fit
from heldout.large import SAMPLE_ROWS, is_large
from heldout.recipe import Recipe
from heldout.studies.engine import InlineEngine, LocalEngine

N_SERIES, N_ROWS = 6, 160


def panel() -> pl.DataFrame:
    """Some series that follow their own past and a covariate."""
    rng = np.random.default_rng(0)
    parts = []
    for number in range(N_SERIES):
        b, noise = rng.normal(size=(2, N_ROWS))
        y = np.convolve(noise + np.roll(b, 1), 0.8 ** np.arange(20))[:N_ROWS]
        time = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2026, 1, 1), "1d", eager=True)[:N_ROWS]
        parts.append(pl.DataFrame({"series": [f"s{number}"] * N_ROWS, "time": time, "y": y, "b": b}))
    return pl.concat(parts).with_columns(pl.col("y", "b").cast(pl.Float32))


@pytest.fixture
def config() -> Config:
    """A small fit."""
    recipe = Recipe(lookback=8, hidden_size=4, max_epochs=4, batch_size=32)
    return Config(recipe=recipe).with_values(
        {"target": "y", "id": "series", "time": "time", "horizon": 2, "n_seeds": 1, "n_folds": 0}
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The panel in a file, its rows in the order of time."""
    path = tmp_path / "panel.parquet"
    panel().sort("time", "series").write_parquet(path, row_group_size=100)
    return path


@pytest.mark.parametrize("scale_by", ["all", "series"])
def test_from_files_comes_what_comes_from_memory(
    file: Path, config: Config, tmp_path: Path, scale_by: str
) -> None:
    config = replace(config, recipe=replace(config.recipe, scale_by=scale_by))
    engine = InlineEngine()
    memory = fit(file, config, out=tmp_path / "memory", engine=engine)
    files = fit(file, config, out=tmp_path / "files", engine=engine, together=True)
    for first, second in zip(memory.rows, files.rows, strict=True):
        assert first.name == second.name
        assert first.value == pytest.approx(second.value, rel=1e-5)
    tables = [pl.read_parquet(run.path / "predictions.parquet") for run in (memory, files)]
    np.testing.assert_allclose(tables[0]["forecast"], tables[1]["forecast"], rtol=0, atol=1e-4)
    assert (tmp_path / "files" / "model.safetensors").exists()
    assert not (tmp_path / "files" / "checkpoints").exists()


def test_a_folder_of_parquet_is_fitted_by_two_workers_as_by_one(config: Config, tmp_path: Path) -> None:
    folder = tmp_path / "panel"
    folder.mkdir()
    for number, part in enumerate(panel().partition_by("series")):
        part.write_parquet(folder / f"part-{number}.parquet")
    assert is_large(folder)
    one = fit(folder, config, out=tmp_path / "one", engine=InlineEngine())
    two = fit(folder, config, out=tmp_path / "two", engine=LocalEngine(2))
    assert [row.name for row in one.rows] == [row.name for row in two.rows]
    assert [row.value for row in two.rows] == pytest.approx([row.value for row in one.rows], rel=1e-4)
    assert "by 2 workers together" in two.notes[-1]
    assert f"{N_SERIES * N_ROWS} rows of {N_SERIES} series" in two.notes[-1]
    assert SAMPLE_ROWS > N_SERIES * N_ROWS  # so that the sample is all


def test_killed_on_the_way_it_goes_on_to_the_same_model(file: Path, config: Config, tmp_path: Path) -> None:
    config = config.with_values({"max_epochs": 60, "patience": None})
    (tmp_path / "config.toml").write_text(config.to_toml())
    command = [sys.executable, "-m", "heldout", "fit", str(file), "--config", str(tmp_path / "config.toml")]
    command += ["--together", "--workers", "1", "--out", str(tmp_path / "killed")]
    run = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while run.poll() is None and not list((tmp_path / "killed" / "checkpoints").glob("*.safetensors")):
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    models = []
    for name in ("whole", "killed"):
        fit(file, config, out=tmp_path / name, engine=InlineEngine(), together=True)
        models.append((tmp_path / name / "model.safetensors").read_bytes())
    assert models[0] == models[1]


def test_under_torchrun_a_killed_worker_is_started_again_and_the_model_is_that_of_two_workers(
    file: Path, config: Config, tmp_path: Path
) -> None:
    config = config.with_values({"max_epochs": 60, "patience": None})
    (tmp_path / "config.toml").write_text(config.to_toml())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["--max-restarts", "2", "-m", "heldout", "fit", str(file), "--out", str(tmp_path / "torchrun")]
    with (tmp_path / "log.txt").open("w") as log:
        run = psutil.Popen(
            [*command, "--config", str(tmp_path / "config.toml")],
            stdout=log,
            stderr=log,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        while run.poll() is None and not list((tmp_path / "torchrun" / "checkpoints").glob("*.safetensors")):
            time.sleep(0.01)
        os.kill(run.children()[-1].pid, signal.SIGKILL)
        assert run.wait(120) == 0, (tmp_path / "log.txt").read_text()
    fit(file, config, out=tmp_path / "local", engine=LocalEngine(2), together=True)
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("torchrun", "local")]
    assert models[0] == models[1]


def test_interrupted_once_the_windows_are_written_it_goes_on(
    file: Path, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        write_windows(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(large, "write_windows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(file, config, out=tmp_path / "run", engine=InlineEngine(), together=True)
    monkeypatch.undo()
    assert fit(file, config, out=tmp_path / "run", engine=InlineEngine(), together=True).looks == 1


def test_series_that_begin_before_those_of_the_sample_train_too(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "SAMPLE_ROWS", 2 * N_ROWS)
    late = pl.col("series").is_in(["s1", "s4"])
    frame = panel().with_columns(
        time=pl.when(late).then(pl.col("time").dt.offset_by("100d")).otherwise("time")
    )
    frame.write_parquet(tmp_path / "late.parquet")
    found = fit(tmp_path / "late.parquet", config, out=tmp_path / "run", engine=InlineEngine(), together=True)
    assert f"{2 * N_ROWS} rows of 2 series, evenly picked" in found.notes[-1]
    assert "The baselines were fitted to" in found.sentence
    trained = int(found.notes[-1].split("trained on ")[1].split(" windows, by")[0].replace(",", ""))
    assert trained > 4 * (N_ROWS - 60)


def test_no_logarithm_is_taken_where_a_series_outside_the_sample_has_none(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "SAMPLE_ROWS", 2 * N_ROWS)
    grown = (
        pl.col("y").cum_sum().over("series").mul(0.05).add(pl.int_range(pl.len()).over("series") * 0.03).exp()
    )
    frame = panel().with_columns(y=grown)
    frame.write_parquet(tmp_path / "grown.parquet")
    frame[N_ROWS // 2, "y"] = 0.0  # of s0, which is not in the sample
    frame.write_parquet(tmp_path / "zero.parquet")
    notes = {}
    for name in ("grown", "zero"):
        out = tmp_path / name
        notes[name] = " ".join(
            fit(f"{out}.parquet", config, out=out, engine=InlineEngine(), together=True).notes
        )
    assert "transform of y: log" in notes["grown"]
    assert "for it is 0 in a series outside the sample" not in notes["grown"]
    assert "for it is 0 in a series outside the sample" in notes["zero"]


@pytest.mark.parametrize(
    ("changes", "how", "message"),
    [
        ({"mc_dropout": 20, "regularization": 0}, {}, "mc_dropout needs a rate above 0"),
        (
            {"n_folds": 2},
            {},
            "what is fitted from files is fitted once and judged on the sealed test, got n_folds=2",
        ),
        ({}, {"rivals": {"small": Recipe()}}, "rivals cannot be given with data larger than memory"),
        ({}, {"test": "rest.parquet"}, "test cannot be given with data larger than memory"),
    ],
)
def test_what_files_cannot_have_is_refused(
    file: Path, config: Config, tmp_path: Path, changes: dict, how: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        fit(file, config.with_values(changes), out=tmp_path / "run", together=True, **how)
    assert not (tmp_path / "run").exists()


def test_other_files_than_parquet_are_refused_as_such(config: Config, tmp_path: Path) -> None:
    panel().write_csv(tmp_path / "panel.csv")
    with pytest.raises(InputError, match=r"must be Parquet, but .*panel.csv is none; save it as Parquet"):
        fit(tmp_path / "panel.csv", config, out=tmp_path / "run", together=True)


def test_workers_train_together_on_paths_only(config: Config) -> None:
    with pytest.raises(InputError, match="workers that train together read Parquet files"):
        fit(panel(), config, together=True)


def test_small_files_and_other_kinds_are_not_large(file: Path, tmp_path: Path) -> None:
    assert not is_large(file)
    assert not is_large(panel())
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    assert not is_large(tmp_path / "a.csv")
    assert not is_large(tmp_path / "missing.parquet")
