"""Figures of forecasts: beside the truth, their errors over time, by step and as a distribution, and their intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from heldout.check import InputError
from heldout.plots.theme import BAND, HELDOUT, OTHER, figure
from heldout.plots.values import (
    FloatArray,
    check_equal_lengths,
    even,
    number,
    numbers,
    percent,
    plural,
    rounded,
    times,
    whole_ticks,
)

_MOST_POINTS = 2000


def forecast_chart(
    time: Sequence[Any],
    truth: ArrayLike | None,
    forecast: ArrayLike,
    *,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    history: tuple[Sequence[Any], ArrayLike] | None = None,
    title: str = "",
    level: float | None = None,
) -> go.Figure:
    """Truth, forecast and interval over time; a slider below chooses the stretch that is seen.

    Parameters
    ----------
    time : sequence of shape (n,)
        When each value happens: ISO text, datetimes or row numbers, in order.
    truth : array-like of shape (n,), or None
        What happened; NaN or None where it is not known (yet).
    forecast : array-like of shape (n,)
        What was forecast.
    low, high : array-like of shape (n,), optional
        Ends of the interval.
    history : tuple of (sequence, array-like), optional
        Times and values before the forecasts.
    title : str, default ""
        By default the mean absolute error and the share of truths in the interval.
    level : float, optional
        Share of truths that the interval should hold, in (0, 1).

    Returns
    -------
    plotly.graph_objects.Figure
        At most 2000 moments, evenly chosen, which the figure says.

    Raises
    ------
    InputError
        If the lists differ in length or are empty, or one end of the interval is missing.

    Examples
    --------
    >>> forecast_chart(["2024-01-01", "2024-01-02"], [1, 2], [1.5, 2.5]).layout.meta["title"]
    'The forecast misses the truth by 0.5 on average'
    """
    n = check_equal_lengths(time=time, truth=truth, forecast=forecast, low=low, high=high)
    if n == 0:
        raise InputError("there is no forecast to draw: the lists are empty")
    if (low is None) is not (high is None):
        raise InputError("an interval has two ends: give low and high, or neither")
    kept = even(n, _MOST_POINTS)
    when = times([time[i] for i in kept])
    y = None if truth is None else numbers(truth)
    said, ends = numbers(forecast), None if low is None else (numbers(low), numbers(high))
    words = _forecast_words(y, said, ends, level)
    text = f"{title or words}. {f'{words}.' if title else ''} Forecasts from {when[0]} to {when[-1]}, between {number(float(np.nanmin(said)))} and {number(float(np.nanmax(said)))}."
    note = "" if len(kept) == n else f"{len(kept):,} of {n:,} moments are drawn, evenly spread."
    drawn = figure(title or words, " ".join(text.split()), height=360, note=note)
    if ends is not None:
        drawn.add_traces(_band(when, ends[0][kept], ends[1][kept], level))
    if history is not None:
        drawn.add_trace(_truth(*_thinned(*history), name="before", width=1))
    if y is not None:
        drawn.add_trace(_truth(when, y[kept], name="truth", width=1.6))
    drawn.add_trace(_forecast(when, said[kept]))
    drawn.update_xaxes(
        rangeslider={"visible": True, "thickness": 0.1}, fixedrange=False, showgrid=False, **whole_ticks(when)
    )
    drawn.update_yaxes(zeroline=False)
    drawn.update_layout(dragmode="zoom", hovermode="x unified")
    return drawn


def _forecast_words(
    truth: FloatArray | None,
    forecast: FloatArray,
    ends: tuple[FloatArray, FloatArray] | None,
    level: float | None,
) -> str:
    known = np.zeros(len(forecast), bool) if truth is None else np.isfinite(truth) & np.isfinite(forecast)
    if truth is None or not known.any():
        return f"Forecast for {plural(len(forecast), 'step')}"
    words = (
        f"The forecast misses the truth by {number(float(np.abs(forecast - truth)[known].mean()))} on average"
    )
    if ends is not None:
        inside = ((truth >= ends[0]) & (truth <= ends[1]))[known].mean()
        named = "interval" if level is None else f"{100 * level:g} % interval"
        words += f"; the {named} holds {percent(float(inside), sign=False)} of the truths"
    return words


def _thinned(time: Sequence[Any], values: ArrayLike) -> tuple[list[Any], FloatArray]:
    check_equal_lengths(time=time, values=values)
    kept = even(len(time), _MOST_POINTS)
    return times([time[i] for i in kept]), numbers(values)[kept]


def _truth(when: list[Any], values: FloatArray, *, name: str, width: float) -> go.Scatter:
    return go.Scatter(
        x=when,
        y=rounded(values),
        mode="lines+markers" if len(when) < 2 or (len(when) <= 60 and name == "truth") else "lines",
        name=name,
        line={"color": OTHER, "width": width},
        marker={"size": 5, "symbol": "circle"},
        hovertemplate="%{y:.6~g}",
    )


def _forecast(when: list[Any], values: FloatArray) -> go.Scatter:
    return go.Scatter(
        x=when,
        y=rounded(values),
        mode="lines+markers" if len(when) <= 60 else "lines",
        name="forecast",
        line={"color": HELDOUT, "width": 1.8, "dash": "solid" if len(when) > 400 else "dash"},
        marker={"size": 6, "symbol": "diamond"},
        hovertemplate="%{y:.6~g}",
    )


def _band(when: list[Any], low: FloatArray, high: FloatArray, level: float | None) -> list[go.Scatter]:
    name = "interval" if level is None else f"{100 * level:g} % interval"
    edge = {
        "mode": "lines",
        "line": {"color": HELDOUT, "width": 0.5, "dash": "dot"},
        "legendgroup": "interval",
    }
    top, bottom = rounded(high), rounded(low)
    return [
        go.Scatter(x=when, y=top, showlegend=False, hoverinfo="skip", **edge),
        go.Scatter(
            x=when,
            y=bottom,
            name=name,
            fill="tonexty",
            fillcolor=BAND,
            customdata=top,
            hovertemplate="%{y:.6~g} to %{customdata:.6~g}",
            **edge,
        ),
    ]
