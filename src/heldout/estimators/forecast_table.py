"""`Forecast`: what a forecaster says, one row per series, origin, step and target."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import polars as pl

from heldout.check import InputError, check_choice
from heldout.data.series import FloatArray

_KEYS = ("series", "origin", "time", "step", "target")


@dataclass(frozen=True, eq=False)
class Forecast:
    """Forecasts in a long table, with the truth and the scores where it is known.

    Parameters
    ----------
    table : polars.DataFrame
        ``series`` (where there are several), ``origin``, ``time``, ``step``, ``target`` and ``forecast``; where they are
        known ``truth`` and ``last_value`` (the target at the origin), ``low`` and ``high`` (ends of the interval) and
        ``q...`` (quantiles). In the targets' own units. Rows of one series and origin stand together, steps in order.
    level : float, optional
        Share of truths that the interval is meant to hold, in (0, 1).
    history : polars.DataFrame, optional
        The rows before the origins, for the figure: ``series``, ``time``, ``target``, ``truth``.
    notes : tuple of str
        What was inferred, one sentence each.

    Examples
    --------
    >>> table = pl.DataFrame({"origin": [0, 0], "time": [1, 2], "step": [1, 2], "target": "y", "forecast": [5.0, 6.0]})
    >>> forecast = Forecast(table)
    >>> forecast
    Forecast of 'y': 2 steps from 1 origin
    >>> forecast.values.shape
    (1, 2, 1)
    """

    table: pl.DataFrame
    level: float | None = None
    history: pl.DataFrame | None = None
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The columns of the table."""
        return self.table.columns

    @property
    def series(self) -> list[str]:
        """The names of the series; empty where there is one without a name."""
        return self.table["series"].unique(maintain_order=True).to_list() if "series" in self.columns else []

    @property
    def targets(self) -> list[str]:
        """The names of the targets."""
        return self.table["target"].unique(maintain_order=True).to_list()

    @property
    def steps(self) -> list[int]:
        """The steps ahead."""
        return self.table["step"].unique(maintain_order=True).to_list()

    @property
    def values(self) -> FloatArray:
        """The forecasts as an array of shape (n, S, K): n origins of all series, S steps, K targets."""
        return self.table["forecast"].to_numpy().reshape(-1, len(self.steps), len(self.targets))

    def __len__(self) -> int:
        return len(self.table)

    def to_polars(self) -> pl.DataFrame:
        """Give the table."""
        return self.table

    def to_pandas(self) -> Any:
        """Give the table as a pandas data frame; needs pandas."""
        import pandas as pd  # noqa: PLC0415 - optional

        return pd.DataFrame({name: self.table[name].to_numpy() for name in self.columns})

    def scores(self, by: str | Sequence[str] = ()) -> pl.DataFrame:
        """Give the errors of a backtest, in the targets' own units.

        Parameters
        ----------
        by : str or sequence of str, default ()
            A row for each value of ``"step"``, ``"series"`` or ``"origin"``, beside one for each target.

        Returns
        -------
        polars.DataFrame
            ``target``; ``n_origins``, moments of the forecasts that were averaged; ``mse`` and ``mae``; ``skill``, 1 less the
            share of the last value's mean squared error, so that 0 is no better than saying that nothing changes, and null where
            the last value makes no error; ``coverage``, the share of truths within the interval, and ``width``, its mean
            width, where there is one.

        Raises
        ------
        InputError
            If the truth is not known, or there is no such column.

        Examples
        --------
        >>> table = pl.DataFrame({"origin": [3], "time": [4], "step": [1], "target": "y", "forecast": [5.0], "truth": [6.0]})
        >>> Forecast(table.with_columns(last_value=4.0)).scores().to_dicts()
        [{'target': 'y', 'n_origins': 1, 'mse': 1.0, 'mae': 1.0, 'skill': 0.75}]
        """
        if "truth" not in self.columns:
            raise InputError(
                "scores need the truth, which a forecast of the future does not have: use backtest"
            )
        by = (by,) if isinstance(by, str) else tuple(by)
        for name in by:
            check_choice("by", name, [key for key in _KEYS[:4] if key in self.columns])
        error = pl.col("forecast") - pl.col("truth")
        naive = ((pl.col("last_value") - pl.col("truth")) ** 2).mean()
        columns = {
            "n_origins": pl.col("origin").n_unique(),
            "mse": (error**2).mean(),
            "mae": error.abs().mean(),
            "skill": pl.when(naive > 0).then(1 - (error**2).mean() / naive),
        }
        if "low" in self.columns:
            columns["coverage"] = pl.col("truth").is_between("low", "high").mean()
            columns["width"] = (pl.col("high") - pl.col("low")).mean()
        return self.table.group_by(*by, "target", maintain_order=True).agg(**columns)

    def plot(self, *, target: str | None = None, series: str | None = None, step: int | None = None) -> Any:
        """Draw one target of one series: what was, what is said, and the interval.

        Parameters
        ----------
        target : str, optional
            By default the first.
        series : str, optional
            By default the first.
        step : int, optional
            Of a backtest: the forecasts made this many steps ahead; by default the fewest.

        Returns
        -------
        plotly.graph_objects.Figure

        Raises
        ------
        InputError
            If there is no such target, series or step.
        """
        from heldout.plots.forecasts import forecast_chart  # noqa: PLC0415 - plotly is heavy

        target = self.targets[0] if target is None else target
        check_choice("target", target, self.targets)
        chosen, which = pl.col("target") == target, target
        if self.series:
            series = self.series[0] if series is None else series
            check_choice("series", series, self.series)
            chosen, which = chosen & (pl.col("series") == series), f"{target} of {series}"
        elif series is not None:
            raise InputError(f"there is one series, and it has no name: leave out series={series!r}")
        rows = self.table.filter(chosen)
        if rows["origin"].n_unique() > 1 or step is not None:
            step = self.steps[0] if step is None else step
            check_choice("step", step, self.steps)
            rows = rows.filter(pl.col("step") == step)
            which += f", {step} step{'s' * (step > 1)} ahead"
        drawn = {name: rows[name].to_list() for name in ("truth", "low", "high") if name in rows.columns}
        before = None
        if self.history is not None:
            past = self.history.filter(chosen)
            before = (past["time"].to_list(), past["truth"].to_list())
        return forecast_chart(
            rows["time"].to_list(),
            drawn.get("truth"),
            rows["forecast"].to_list(),
            low=drawn.get("low"),
            high=drawn.get("high"),
            history=before,
            title=f"Forecast of {which}",
            level=self.level if "low" in drawn else None,
        )

    def __repr__(self) -> str:
        names = ", ".join(map(repr, self.targets[:8]))
        places = [name for name in ("series", "origin") if name in self.columns]
        origins = len(self.table.select(places).unique())
        told = f"Forecast of {names}: {_count(len(self.steps), 'step')} from {_count(origins, 'origin')}"
        if self.series:
            told += f" of {len(self.series)} series"
        if self.level is not None and "low" in self.columns:
            told += f", with {100 * self.level:g} % intervals"
        return told

    def _repr_html_(self) -> str:
        parts = [f"<p>{escape(repr(self))}</p>"]
        if "truth" in self.columns:
            parts.append(self.scores()._repr_html_())
        return "".join([*parts, self.table._repr_html_()])


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
