"""The demo: volatility of the S&P 500, from real daily prices that ship with a dependency (`arch.data.sp500`)."""

from collections.abc import Mapping
from pathlib import Path

import arch.data.sp500
import numpy as np
import polars as pl

from heldout.config import Config
from heldout.data.series import FloatArray
from heldout.experiment import fit
from heldout.listener import Listener
from heldout.recipe import Recipe
from heldout.result import HELDOUT, Result
from heldout.studies.engine import Engine
from heldout.training.lags import Baseline
from heldout.training.ridge import Har, Ridge

LOOKBACK, WEEK = 60, 5
HABIT = Recipe(
    hidden_size=128, shortcut="none", window_norm="none", outliers=0.0, regularization=0.0, clip_norm=0.0, segment=1,
    optimizer="adam", lr=1e-3, batch_size=32, max_epochs=30, patience=None, restore_best=False,
)  # fmt: skip
"""What tutorials do: 128 units, Adam, nothing against overfitting, and the weights of the last epoch."""


def volatility_table() -> pl.DataFrame:
    """Give daily logarithms of Garman-Klass variance, and returns, of the S&P 500 from 1999 to 2018.

    Returns
    -------
    polars.DataFrame
        ``date``; ``week``, the target: log of the mean variance of the last 5 days; ``day``, the same of the day;
        ``return``, close to close, in per cent.

    References
    ----------
    Garman & Klass (1980), Journal of Business 53: ``0.5 ln(H/L)^2 - (2 ln 2 - 1) ln(C/O)^2``.
    """
    prices = arch.data.sp500.load()
    opened, high, low, close = (np.log(prices[name].to_numpy()) for name in ("Open", "High", "Low", "Close"))
    variance = np.maximum(0.5 * (high - low) ** 2 - (2 * np.log(2) - 1) * (close - opened) ** 2, 1e-8)
    table = {
        "date": prices.index.to_numpy(),
        "week": np.log(_trailing_mean(variance, WEEK)),
        "day": np.log(variance),
        "return": 100 * np.diff(close, prepend=np.nan),
    }
    return pl.DataFrame(table)[WEEK:]


def run(
    *, out: str | Path | None = None, engine: Engine | None = None, listener: Listener | None = None
) -> Result:
    """Run the demo: the mean variance of the next 5 days, from windows of 60.

    Parameters
    ----------
    out, engine, listener
        As in `heldout.experiment.fit`.

    Returns
    -------
    Result
        Rows ``habit``, ``heldout``, ``har`` and the standard baselines.
    """
    config = Config().with_values({"target": "week", "horizon": WEEK, "last_step_only": True, **SETTINGS})
    rivals: dict[str, Recipe | Baseline] = {"habit": HABIT, "har": Ridge(name="har", features=Har(0))}
    result = fit(
        volatility_table(),
        config,
        out=out,
        engine=engine,
        listener=listener,
        rivals=rivals,
        command="heldout demo",
    )
    assert isinstance(result, Result)
    return result


SETTINGS: Mapping[str, object] = {"lookback": LOOKBACK, "n_seeds": 3, "n_folds": 4}


def meaning(result: Result) -> str:
    """Say in one sentence what the table shows."""
    own, habit = result.row(HELDOUT), result.row("habit")
    change = 100 * (1 - own.value / habit.value)
    return f"The habit (128 units, no regularisation, last epoch) loses {habit.value:.3f} on the same rows; heldout's loss is {change:.0f} % below it."


def _trailing_mean(values: FloatArray, rows: int) -> FloatArray:
    """Mean of the last ``rows`` values; NaN where there are fewer."""
    total = np.cumsum(np.concatenate([[0.0], values]))
    return np.concatenate([np.full(rows - 1, np.nan), (total[rows:] - total[:-rows]) / rows])
