"""Small series for all tests, and where the real data lie."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from heldout.data.layout import read_series
from heldout.data.series import SeriesData

SHARED = Path(__file__).parents[1].parent / "shared" / "data"


@pytest.fixture
def shared():
    """The folder of real data sets; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the real data sets are not beside this checkout")
    return SHARED


def make_series(n_rows=400, n_series=1, horizon=3, seed=0, **options) -> SeriesData:
    """Noisy waves, one per series, with a past covariate."""
    rng = np.random.default_rng(seed)
    tables = []
    for number in range(n_series):
        t = np.arange(n_rows - 7 * number)
        wave = np.sin(2 * np.pi * t / 12 + number) + 0.3 * rng.normal(size=len(t)) + 5 * number
        stamps = np.datetime64("2020-01-01T00", "us") + t * np.timedelta64(1, "h")
        tables.append(
            pl.DataFrame(
                {
                    "time": stamps,
                    "id": f"s{number}",
                    "y": wave,
                    "x": np.roll(wave, 2) + rng.normal(size=len(t)),
                }
            )
        )
    named = {"id": "id"} if n_series > 1 else {"ignore": ["id"]}
    return read_series(pl.concat(tables), target="y", horizon=horizon, **named, **options)


@pytest.fixture
def series() -> SeriesData:
    """One series of 400 hours."""
    return make_series()


@pytest.fixture
def panel() -> SeriesData:
    """Three series of 300, 293 and 286 hours."""
    return make_series(300, 3)
