"""One small run with hostile names, fitted once for all tests of this folder, and a copy that forecasts better; runs of texts."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

from heldout.config import Config
from heldout.experiment import fit
from heldout.recipe import Recipe
from heldout.studies.engine import InlineEngine
from tests.report.text_runs import TWENTY, TWO, write_text_run

TARGET = "</script><img src=x onerror=alert(1)>"
COVARIATE = "{{7*7}} \"quoted' & <b>bold</b> \u202edrawkcab title\x1b]0;\x07\x9b"
OPTIONS = {
    "target": [TARGET],
    "horizon": 3,
    "lookback": 14,
    "season": 12,
    "hidden_size": 4,
    "max_epochs": 2,
    "n_folds": 2,
    "n_seeds": 1,
}


@pytest.fixture(scope="package")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="package")
def run(folder):
    rng = np.random.default_rng(0)
    hours = np.arange(620)
    other = rng.normal(size=len(hours))
    wave = np.sin(2 * np.pi * hours / 12) + 0.6 * np.roll(other, 1) + 0.2 * rng.normal(size=len(hours))
    time = np.datetime64("2020-01-01T00", "us") + hours * np.timedelta64(1, "h")
    table = pl.DataFrame({"time": time, TARGET: wave, COVARIATE: other})
    rivals = {"wild": Recipe(hidden_size=4, max_epochs=1)}
    fit(table, Config().with_values(OPTIONS), out=folder / "a", engine=InlineEngine(), rivals=rivals)
    return folder / "a"


@pytest.fixture(scope="package")
def better(run, folder):
    """The same run, its errors halved and an option changed."""
    path = shutil.copytree(run, folder / "b")
    table = pl.read_parquet(path / "predictions.parquet")
    half = (pl.col("forecast") + pl.col("truth")) / 2
    table.with_columns(forecast=half).write_parquet(path / "predictions.parquet")
    settled = path / "config-resolved.toml"
    settled.write_text(settled.read_text().replace("hidden_size = 4", "hidden_size = 5"))
    return path


@pytest.fixture(scope="package")
def older(run, folder):
    """The run as a version would have left it that recorded nothing but the scores."""
    path = shutil.copytree(run, folder / "older")
    scores = json.loads((path / "scores.json").read_text())
    kept = (
        "test_rows",
        "metric",
        "rows",
        "best_baseline",
        "n_folds",
        "n_seeds",
        "looks_at_test",
        "sentence",
        "notes",
    )
    (path / "scores.json").write_text(json.dumps({name: scores[name] for name in kept}))
    (path / "predictions.parquet").unlink()
    (path / "ledger.sqlite").unlink()
    return path


@pytest.fixture(scope="package")
def two(folder):
    """Texts of two classes."""
    return write_text_run(folder / "two", TWO, weights=[0.87, 0.13])


@pytest.fixture(scope="package")
def twenty(folder):
    """Texts of twenty classes, without augmentation."""
    return write_text_run(folder / "twenty", TWENTY, n=3000, augmented=False)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("there is no chromium to open the page in")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()
