"""`Recipe`: every hyper-parameter of a fit of series or arrays."""

from dataclasses import dataclass

from heldout.base_recipe import BaseRecipe
from heldout.check import InputError
from heldout.options import documented, option


@documented(
    "Every hyper-parameter of a fit; those left at None are set by the dial or from the data.",
    ">>> Recipe(hidden_size=16, regularization=2).resolved().output_dropout\n0.6",
)
@dataclass(frozen=True, kw_only=True)
class Recipe(BaseRecipe):  # noqa: D101 - written by `documented`
    # --- what the model sees
    lookback: int | None = option(
        None, "Rows in the window before a forecast; by default from the calendar and the horizon.", low=1
    )
    transform: str = option(
        "auto",
        "What is done to targets and past covariates first; 'auto' decides by spread against level and a unit-root test on training rows.",
        choices=("auto", "none", "difference", "log", "log_return"),
    )
    fill_limit: int = option(
        5, "Rows that a missing value is filled forward for; beyond it the training median is used.", low=0
    )
    outliers: float = option(
        10.0,
        "Inputs are held within this many robust standard deviations of the training median; 0 turns it off.",
        low=0,
    )
    scaling: str = option(
        "standard",
        "Centre and width of each input: mean and sd, or median and IQR.",
        choices=("standard", "robust"),
    )
    scale_by: str = option(
        "auto",
        "Scale over all series, or each series by itself, which scores each in its own units too; 'auto' does the second where levels or spreads of the series differ much in the training rows.",
        choices=("auto", "all", "series"),
    )
    window_norm: str = option(
        "auto",
        "Per window, undone on the forecast: subtract the targets' last value, or standardise them by their mean and sd; 'auto' standardises where each series is scaled by itself, and else subtracts the last value; not with differences, nor, over all series, with a shortcut.",
        choices=("auto", "none", "last", "standard"),
    )
    # --- between window and output
    pooling: str = option(
        "last", "How the states over time become one vector.", choices=("last", "mean", "max", "attention")
    )
    segment: int | None = option(
        None,
        "Rows that are embedded together and fed as one step; 1 feeds row by row, None cuts long windows.",
        low=1,
    )
    shared_columns: bool = option(
        False, "One model for all targets: each target column is a sample of its own."
    )
    shortcut: str = option(
        "ridge",
        "Linear path from the window to the output; the LSTM, its inputs then relative to the window's last row, learns what a linear model misses. 'ridge' is the ridge solution and stays, 'linear' is trained.",
        choices=("none", "linear", "ridge"),
    )
    shrink: bool = option(
        True,
        "With a ridge shortcut: halve what the LSTM adds to it, unless all of it is better on the validation rows by more than one standard error.",
    )
    # --- what is forecast
    huber_delta: float = option(
        1.0, "Error, in scaled units, from which the Huber loss is linear.", low=0, open_low=True
    )
    quantiles: tuple[float, ...] = option(
        (0.05, 0.25, 0.5, 0.75, 0.95),
        "Levels forecast by the quantile loss.",
        low=0,
        high=1,
        open_low=True,
        open_high=True,
    )
    # --- augmentation of the training windows, drawn afresh for every batch
    jitter: float = option(
        0.0, "Standard deviation of noise on the scaled inputs, usually .03; 0 turns it off.", low=0, high=1
    )
    random_scaling: float = option(
        0.0,
        "Standard deviation of a factor around 1 per sample and column, in forecasts one for all targets and what follows, usually .1; 0 turns it off.",
        low=0,
        high=0.5,
    )
    magnitude_warp: float = option(
        0.0,
        "Standard deviation of a factor that changes along the sample, usually .2; 0 turns it off; not for forecasts.",
        low=0,
        high=0.5,
    )
    time_warp: float = option(
        0.0,
        "Standard deviation of the pace at which a sample is read, usually .2; 0 turns it off; not for forecasts.",
        low=0,
        high=0.5,
    )
    window_slice: float = option(
        1.0,
        "Share of a sample that is kept and drawn out to its length, usually .9; 1 turns it off; not for forecasts.",
        low=0.5,
        high=1,
    )
    mixup: float = option(
        0.0,
        "Alpha of mixup (Beta distribution) of samples, numbers with similar ones, usually .2 for classes and 2 for numbers; 0 turns it off.",
        low=0,
        high=10,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window_norm == "last" and self.transform in ("difference", "log_return"):
            raise InputError(
                f"window_norm='last' does nothing to differences, got transform={self.transform!r}: leave one of them at 'auto'"
            )
        if tuple(sorted(set(self.quantiles))) != self.quantiles or not self.quantiles:
            raise InputError(f"quantiles must rise and not be empty, got {self.quantiles}")
        if self.loss == "quantile" and not self.quantiles[0] <= 0.5 <= self.quantiles[-1]:
            raise InputError(
                f"quantiles must reach around the median, which is the point forecast, got {self.quantiles}"
            )
