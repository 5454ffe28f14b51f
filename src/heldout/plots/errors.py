"""Figures of errors: over time, by step ahead, and as a distribution."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from heldout.check import InputError
from heldout.plots.theme import HELDOUT, NAIVE, OTHER, figure
from heldout.plots.values import (
    FloatArray,
    check_equal_lengths,
    even,
    number,
    numbers,
    percent,
    rounded,
    times,
    whole_ticks,
)

_MOST_BINS, _MOST_STEPS = 60, 200


def errors_over_time(
    time: Sequence[Any], error: ArrayLike, *, naive_error: ArrayLike | None = None, title: str = ""
) -> go.Figure:
    """Mean absolute error of neighbouring moments over time, beside that of the last value.

    Parameters
    ----------
    time : sequence of shape (n,)
        In order.
    error : array-like of shape (n,)
        Forecast less truth.
    naive_error : array-like of shape (n,), optional
        The same of the last value.
    title : str, default ""
        By default how the last third compares with the first.

    Returns
    -------
    plotly.graph_objects.Figure
        At most 60 stretches of equally many moments.

    Raises
    ------
    InputError
        If the lists differ in length or no error is known.

    Examples
    --------
    >>> errors_over_time(range(6), [1, -1, 1, -1, 2, -2]).layout.meta["title"]
    'The errors grow: twice as large in the last third as in the first'
    """
    check_equal_lengths(time=time, error=error, naive_error=naive_error)
    own = np.abs(numbers(error))
    if not np.isfinite(own).any():
        raise InputError("no error is known: there is nothing to draw")
    bins = np.array_split(np.arange(len(own)), min(_MOST_BINS, len(own)))
    when = times([time[int(part[len(part) // 2])] for part in bins])
    mine = _bin_means(own, bins)
    words = title or _trend(own)
    per = f"each point the mean of {len(bins[0])} neighbouring forecasts." if len(bins[0]) > 1 else ""
    text = f"{words}. Mean absolute error {number(float(np.nanmean(own)))} from {when[0]} to {when[-1]}, between {number(float(np.nanmin(mine)))} and {number(float(np.nanmax(mine)))}."
    drawn = figure(words, text, height=260, note=per[:1].upper() + per[1:])
    if naive_error is not None:
        other = _bin_means(np.abs(numbers(naive_error)), bins)
        drawn.add_trace(_line(when, other, "last value", NAIVE, "dash", "square"))
    drawn.add_trace(_line(when, mine, "heldout", HELDOUT, "solid", "diamond"))
    drawn.update_yaxes(title_text="mean absolute error", rangemode="tozero", zeroline=False, nticks=5)
    drawn.update_xaxes(showgrid=False, zeroline=False, **whole_ticks(when))
    drawn.update_layout(showlegend=naive_error is not None)
    return drawn


def _bin_means(values: FloatArray, bins: Sequence[Any]) -> FloatArray:
    found = [values[part][np.isfinite(values[part])] for part in bins]
    return np.array([part.mean() if len(part) else np.nan for part in found])


def _trend(own: FloatArray) -> str:
    third = max(len(own) // 3, 1)
    first, last = _bin_means(own, [np.arange(third), np.arange(len(own) - third, len(own))])
    if not first > 0 or not np.isfinite(last):
        return "Mean absolute error over time"
    ratio = float(last / first)
    if 0.8 <= ratio <= 1.25:
        return "The errors stay about as large as at first"
    size = "twice" if round(ratio, 1) == 2 else f"{ratio:.2g} times"
    return (
        f"The errors {'grow' if ratio > 1 else 'shrink'}: {size} as large in the last third as in the first"
    )


def _line(x: list[Any], y: FloatArray, name: str, colour: str, dash: str, symbol: str) -> go.Scatter:
    return go.Scatter(
        x=x,
        y=rounded(y),
        mode="lines+markers" if len(x) <= 48 else "lines",
        name=name,
        line={"color": colour, "dash": dash, "width": 2},
        marker={"symbol": symbol, "size": 6, "color": colour},
        hovertemplate=f"{name}, %{{x}}: %{{y:.4~g}}<extra></extra>",
    )


def errors_by_step(step: Sequence[int], loss: ArrayLike, naive_loss: ArrayLike | None = None) -> go.Figure:
    """Mean loss of each step ahead, beside that of the last value.

    Parameters
    ----------
    step : sequence of int, shape (n,)
        Steps ahead, ascending.
    loss : array-like of shape (n,)
        Mean loss of heldout.
    naive_loss : array-like of shape (n,), optional
        Mean loss of the last value.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    InputError
        If the lists differ in length or are empty.

    Examples
    --------
    >>> errors_by_step([1, 2], [1.0, 1.8], [1.5, 2.0]).layout.meta["title"]
    'heldout beats the last value at 2 of 2 steps: by 33.3 % at step 1, by 10 % at step 2'
    """
    if not check_equal_lengths(step=step, loss=loss, naive_loss=naive_loss):
        raise InputError("there is no step to draw: the lists are empty")
    kept = even(len(step), _MOST_STEPS)
    steps, own = [int(step[i]) for i in kept], numbers(loss)
    title = f"Mean loss of the steps {steps[0]} to {steps[-1]} ahead"
    if naive_loss is not None:
        naive = numbers(naive_loss)
        saved = 1 - own / np.where(naive == 0, np.nan, naive)
        ends = f"{_saved(saved[0])} at step {steps[0]}" + (
            f", {_saved(saved[-1])} at step {steps[-1]}" if len(steps) > 1 else ""
        )
        title = f"heldout beats the last value at {int((own < naive).sum())} of {len(own)} steps: {ends}"
    text = (
        f"{title}. Mean loss {number(own[0])} at step {steps[0]} and {number(own[-1])} at step {steps[-1]}."
    )
    drawn = figure(title, text, height=260)
    if naive_loss is not None:
        drawn.add_trace(_line(steps, naive[kept], "last value", NAIVE, "dash", "square"))
    drawn.add_trace(_line(steps, own[kept], "heldout", HELDOUT, "solid", "diamond"))
    drawn.update_xaxes(title_text="steps ahead", showgrid=False, zeroline=False, **whole_ticks(steps))
    drawn.update_yaxes(title_text="mean loss", rangemode="tozero", zeroline=False, nticks=5)
    drawn.update_layout(showlegend=naive_loss is not None)
    return drawn


def _saved(share: float) -> str:
    return f"by {percent(share, sign=False)}" if np.isfinite(share) else "no loss to save"


def residuals(error: ArrayLike) -> go.Figure:
    """Distribution of the errors, with the normal curve of the same mean and spread beside it.

    Parameters
    ----------
    error : array-like of shape (n,)
        Forecast less truth.

    Returns
    -------
    plotly.graph_objects.Figure
        Errors beyond five standard deviations are counted in the outermost bars, which the figure says.

    Raises
    ------
    InputError
        If no error is known.

    Examples
    --------
    >>> residuals([-1, 0, 1, 0]).layout.meta["title"]
    'The errors are centred: 0 on average, standard deviation 0.816'
    """
    e = numbers(error)
    e = e[np.isfinite(e)]
    if not len(e):
        raise InputError("no error is known: there is nothing to draw")
    mean, sd = float(e.mean()), float(e.std(ddof=1)) if len(e) > 1 else 0.0
    biased = sd > 0 and abs(mean) > 0.2 * sd
    where = (
        f"too {'high' if mean > 0 else 'low'} by {number(abs(mean), 2)}"
        if biased
        else f"centred: {number(mean, 2)}"
    )
    title = f"The errors are {where} on average, standard deviation {number(sd, 3)}"
    if biased:
        title = f"The forecasts are {where} on average; standard deviation of the errors {number(sd, 3)}"
    far = float((np.abs(e - mean) > 3 * sd).mean()) if sd else 0.0
    text = f"{title}. {percent(far, sign=False)} of {len(e)} errors are more than three standard deviations off, 0.3 % would be if they were normal; from {number(float(e.min()))} to {number(float(e.max()))}."
    low, high = mean - (5 * sd or 0.5), mean + (5 * sd or 0.5)
    cut = int(((e < low) | (e > high)).sum())
    low, high = (max(low, float(e.min())), min(high, float(e.max()))) if sd else (low, high)
    edges = np.linspace(low, high, int(np.clip(round(2 * len(e) ** (1 / 3)), 5, _MOST_BINS)) + 1)
    counts, _ = np.histogram(np.clip(e, low, high), edges)
    note = f"{cut} beyond five standard deviations stand in the outermost bars." if cut else ""
    drawn = figure(title, text, height=260, note=note)
    _residual_traces(drawn, edges, counts / len(e), mean, sd)
    return drawn


def _residual_traces(drawn: go.Figure, edges: FloatArray, share: FloatArray, mean: float, sd: float) -> None:
    width = float(edges[1] - edges[0])
    drawn.add_trace(
        go.Bar(
            x=rounded((edges[1:] + edges[:-1]) / 2),
            y=rounded(100 * share, 4),
            width=float(f"{width:.6g}"),
            name="errors",
            marker={"color": HELDOUT, "opacity": 0.55, "line": {"color": HELDOUT, "width": 1}},
            hovertemplate="errors about %{x:.4~g}: %{y:.2~f} %<extra></extra>",
        )
    )
    if sd:
        x = np.linspace(edges[0], edges[-1], 80)
        curve = np.exp(-0.5 * ((x - mean) / sd) ** 2) * width / (sd * np.sqrt(2 * np.pi))
        drawn.add_trace(
            go.Scatter(
                x=rounded(x), y=rounded(100 * curve, 4), mode="lines", name="normal, for comparison", hoverinfo="skip",
                line={"color": NAIVE, "dash": "dash", "width": 2},
            )
        )  # fmt: skip
    drawn.add_vline(x=0, line={"color": OTHER, "width": 1})
    drawn.update_xaxes(title_text="forecast less truth", showgrid=False, zeroline=False)
    drawn.update_yaxes(title_text="share of errors, %", rangemode="tozero", zeroline=False, nticks=5)
