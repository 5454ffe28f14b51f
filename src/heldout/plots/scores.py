"""Figures of scores: skill against a reference, series by series, fold by fold."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from heldout.check import InputError
from heldout.plots.terms import SERIES, Terms
from heldout.plots.theme import HELDOUT, LINE, NAIVE, OTHER, figure
from heldout.plots.values import (
    FloatArray,
    even,
    log_axis,
    number,
    numbers,
    percent,
    plain,
    plural,
    rounded,
    span,
)

_OWN = "heldout"
_DASHES = ("dash", "dot", "dashdot", "longdash", "longdashdot")
_SYMBOLS = ("circle", "square", "triangle-up", "triangle-down", "cross", "x")
_ENDS = 8  # series shown at each end of a panel


def skill_chart(rows: Sequence[Mapping[str, Any]], *, terms: Terms = SERIES) -> go.Figure:
    """Skill of every candidate against the reference on the sealed test, with its interval, best first.

    Parameters
    ----------
    rows : sequence of mapping
        As ``rows`` of ``scores.json``: ``name``, ``value``, ``skill_vs_naive``, ``skill_low``, ``skill_high``. A
        candidate whose skill is None is left out.
    terms : Terms, default SERIES
        What the reference is called.

    Returns
    -------
    plotly.graph_objects.Figure
        Candidates far worse than the reference stand at the left edge as an arrow; their number is written beside.

    Raises
    ------
    InputError
        If no candidate has a skill.

    Examples
    --------
    >>> row = {"name": "heldout", "value": 0.8, "skill_vs_naive": 0.2, "skill_low": 0.1, "skill_high": 0.3}
    >>> skill_chart([row]).layout.meta["title"]
    "heldout saves 20 % of the last value's loss, between 10 % and 30 % with 95 % confidence"
    """
    shown = [row for row in rows if row.get("skill_vs_naive") is not None]
    if not shown:
        raise InputError(f"no candidate has a skill: {terms.reference}'s loss is 0")
    shown.sort(key=lambda row: row["skill_vs_naive"])  # Plotly draws from the bottom up
    skill = 100 * numbers([row["skill_vs_naive"] for row in shown])
    low, high = (100 * numbers([row.get(key) for row in shown]) for key in ("skill_low", "skill_high"))
    left, right = _range(shown, skill, low, high)
    told = "; ".join(
        f"{row['name']} {percent(row['skill_vs_naive'])} {span(row.get('skill_low'), row.get('skill_high'), percent)}".strip()
        for row in reversed(shown)
    )
    title = _skill_title(shown, terms.reference)
    unsure = [_unsure(row, terms.base) for row in shown]
    drawn = figure(
        title,
        f"{title}. Skill against {terms.reference}, best first: {told}.",
        height=28 * len(shown) + 60,
        note="Hollow: no interval is given for that skill." if any(unsure) else "",
    )
    names = [plain(row["name"], 18) for row in shown]
    for own in (False, True):
        chosen = [n for n, row in enumerate(shown) if (row["name"] == _OWN) is own]
        edge = left + 0.03 * (right - left)
        drawn.add_trace(_skill_trace(shown, chosen, unsure, (skill, low, high), edge, own=own))
    for n, row in enumerate(shown):
        drawn.add_annotation(
            x=1,
            xref="paper",
            xanchor="left",
            y=n,
            text=percent(row["skill_vs_naive"]),
            showarrow=False,
            xshift=6,
            font={"weight": 700 if row["name"] == _OWN else 400},
        )
    drawn.add_vline(x=0, line={"color": NAIVE, "width": 1.5, "dash": "dash"})
    drawn.update_xaxes(
        range=[left, right], title_text=f"loss saved against {terms.reference}, %", zeroline=False, nticks=7
    )
    drawn.update_yaxes(
        tickvals=list(range(len(shown))),
        ticktext=names,
        range=[-0.6, len(shown) - 0.4],
        showgrid=False,
        zeroline=False,
    )
    drawn.update_layout(showlegend=False, margin_r=74)
    return drawn


def _skill_title(shown: Sequence[Mapping[str, Any]], reference: str) -> str:
    own = next((row for row in shown if row["name"] == _OWN), None)
    if own is None:
        return f"{shown[-1]['name']} is the best against {reference}: {percent(shown[-1]['skill_vs_naive'])}"
    skill, low, high = own["skill_vs_naive"], own.get("skill_low"), own.get("skill_high")
    if low is None or high is None:
        return f"heldout against {reference}: {percent(skill)}; the test is too short for an interval"
    if low > 0 or high < 0:
        size, near, far = (percent(abs(x), sign=False) for x in (skill, low, high))
        least, most = (near, far) if low > 0 else (far, near)
        what = f"saves {size} of {reference}'s loss" if low > 0 else f"loses {size} more than {reference}"
        return f"heldout {what}, between {least} and {most} with 95 % confidence"
    return (
        f"No skill is shown against {reference}: {percent(skill)}, 95 % interval {span(low, high, percent)}"
    )


def _unsure(row: Mapping[str, Any], base: str) -> bool:
    """Whether a skill has no interval; the reference itself needs none."""
    return row["name"] != base and (row.get("skill_low") is None or row.get("skill_high") is None)


def _range(
    shown: Sequence[Mapping[str, Any]], skill: FloatArray, low: FloatArray, high: FloatArray
) -> tuple[float, float]:
    """Both ends of the axis: all that lies near heldout, the reference and the best, whole; what is far off, cut."""
    own = np.array([row["name"] == _OWN for row in shown])
    core = np.concatenate([[0.0], skill[skill >= 0], skill[own], low[own], high[own]])
    core = core[np.isfinite(core)]
    width = max(core.max() - core.min(), 2.0)
    reach = np.concatenate([core, skill, low, high])
    reach = reach[np.isfinite(reach)]
    left = max(float(reach.min()), float(core.min()) - 1.5 * width)
    right = min(float(reach.max()), float(core.max()) + 0.7 * width)
    pad = 0.06 * (right - left) + 0.1
    return left - pad, right + pad


def _skill_trace(
    shown: Sequence[Mapping[str, Any]],
    chosen: list[int],
    unsure: list[bool],
    found: tuple[FloatArray, FloatArray, FloatArray],
    edge: float,
    *,
    own: bool,
) -> go.Scatter:
    skill, low, high = found
    off = skill[chosen] < edge
    known = np.isfinite(low[chosen]) & np.isfinite(high[chosen])
    symbols = np.where(
        off,
        "triangle-left",
        np.where(np.array(unsure)[chosen], "circle-open", "diamond" if own else "circle"),
    )
    return go.Scatter(
        x=rounded(np.maximum(skill[chosen], edge)),
        y=chosen,
        mode="markers",
        marker={"size": 13 if own else 9, "color": HELDOUT if own else OTHER, "symbol": symbols.tolist()},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": rounded(np.where(known & ~off, high[chosen] - skill[chosen], 0)),
            "arrayminus": rounded(np.where(known & ~off, skill[chosen] - low[chosen], 0)),
            "thickness": 2.5 if own else 1.2,
            "width": 4,
        },
        customdata=[
            [
                plain(shown[n]["name"]),
                percent(shown[n]["skill_vs_naive"]),
                span(shown[n].get("skill_low"), shown[n].get("skill_high"), percent) or "no interval",
                number(shown[n].get("value")),
            ]
            for n in chosen
        ],
        hovertemplate="%{customdata[0]}: %{customdata[1]}<br>95 % interval %{customdata[2]}<br>loss %{customdata[3]}<extra></extra>",
    )


def series_chart(series: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Skill of the series of a panel, the worst and the best shown.

    Parameters
    ----------
    series : sequence of mapping
        ``series``, ``n``, ``loss``, ``naive``, ``skill`` (None where the last value's loss is 0).

    Returns
    -------
    plotly.graph_objects.Figure
        At most 8 series from each end; between them a line that says how many are left out and their median.

    Raises
    ------
    InputError
        If no series has a skill.

    Examples
    --------
    >>> panel = [{"series": f"s{n}", "n": 10, "loss": 1.0, "naive": 1.0, "skill": n / 10} for n in range(-2, 8)]
    >>> series_chart(panel).layout.meta["title"]
    'heldout beats the last value on 7 of 10 series'
    """
    found = sorted((s for s in series if s.get("skill") is not None), key=lambda s: float(s["skill"]))
    if not found:
        raise InputError("no series has a skill: the last value's loss is 0 on all of them")
    skill = numbers([s["skill"] for s in found])
    title = f"heldout beats the last value on {int((skill > 0).sum())} of {len(found)} series"
    text = (
        f"{title}. Skill from {percent(skill[0])} ({found[0]['series']}) over a median of "
        f"{percent(float(np.median(skill)))} to {percent(skill[-1])} ({found[-1]['series']})."
    )
    whole = len(found) <= 2 * _ENDS + 1
    kept = list(range(len(found))) if whole else [*range(_ENDS), *range(len(found) - _ENDS, len(found))]
    place = [n + (0 if whole or n < _ENDS else 1) for n in range(len(kept))]
    labels = dict(zip(place, (plain(found[n]["series"], 16) for n in kept), strict=True))
    drawn = figure(title, text, height=20 * (place[-1] + 1) + 60)
    _add_series(drawn, [found[n] for n in kept], place, edge=_floor(skill))
    if not whole:
        labels[_ENDS] = "…"
        median = percent(float(np.median(skill[_ENDS:-_ENDS])))
        note = f"{len(found) - 2 * _ENDS} more, median {median}"
        drawn.add_annotation(x=1, xref="paper", y=_ENDS, text=note, showarrow=False, xanchor="right")
    drawn.update_yaxes(
        tickvals=list(labels),
        ticktext=list(labels.values()),
        range=[-0.7, place[-1] + 0.7],
        showgrid=False,
        zeroline=False,
    )
    drawn.update_layout(showlegend=False)
    return drawn


def _add_series(
    drawn: go.Figure, shown: Sequence[Mapping[str, Any]], place: list[int], *, edge: float
) -> None:
    """A line from the last value to each series, and the axis that holds them."""
    skill = 100 * numbers([s["skill"] for s in shown])
    value = np.maximum(skill, edge)
    least, most = min(float(value.min()), 0.0), max(float(value.max()), 0.0)
    pad = 0.05 * (most - least)
    for n, x in zip(place, rounded(value), strict=True):
        drawn.add_shape(type="line", x0=0, x1=x, y0=n, y1=n, line={"color": LINE, "width": 2})
    symbols = np.where(skill < edge, "triangle-left", np.where(skill > 0, "circle", "square"))
    colours = np.where(skill > 0, HELDOUT, NAIVE)
    drawn.add_trace(
        go.Scatter(
            x=rounded(value),
            y=place,
            mode="markers",
            marker={"size": 9, "color": colours.tolist(), "symbol": symbols.tolist()},
            customdata=[
                [plain(s["series"]), percent(s["skill"]), number(s.get("loss")), number(s.get("naive")), s.get("n")]
                for s in shown
            ],
            hovertemplate="%{customdata[0]}: %{customdata[1]}<br>loss %{customdata[2]}, last value %{customdata[3]}"
            "<br>%{customdata[4]} rows<extra></extra>",
        )
    )  # fmt: skip
    drawn.add_vline(x=0, line={"color": NAIVE, "width": 1.5, "dash": "dash"})
    drawn.update_xaxes(
        title_text="loss saved against the last value, %",
        range=[least - pad, most + pad],
        zeroline=False,
        nticks=7,
    )


def _floor(skill: FloatArray) -> float:
    """Where the axis ends on the left: a hopeless series must not press all others together."""
    best = 100 * max(float(skill.max()), 0.02)
    return max(100 * float(skill.min()), -3 * best)


def losses_by_fold(losses: Mapping[str, Sequence[Sequence[float]]], *, terms: Terms = SERIES) -> go.Figure:
    """Loss of every candidate on each fold; heldout's seeds one by one.

    Parameters
    ----------
    losses : mapping of str to sequence of sequence of float
        ``{candidate: [[loss per seed] per fold]}``, as ``losses`` of ``scores.json``.
    terms : Terms, default SERIES
        What folds and the reference are called.

    Returns
    -------
    plotly.graph_objects.Figure
        On a logarithmic scale where the losses differ more than eightfold.

    Raises
    ------
    InputError
        If there is no fold.

    Examples
    --------
    >>> losses_by_fold({"heldout": [[1.0, 1.2], [2.0, 2.2]], "naive": [[1.5], [2.0]]}).layout.meta["title"]
    'heldout beats the last value on 1 of 2 folds'
    """
    means = {
        name: numbers([np.mean(x) if len(x) else np.nan for x in folds]) for name, folds in losses.items()
    }
    n_folds = max(map(len, means.values()), default=0)
    if not n_folds:
        raise InputError(f"no {terms.fold} was fitted: there is nothing to compare fold by fold")
    title = _fold_title(means, n_folds, terms)
    told = "; ".join(
        f"{name} {', '.join(number(x) for x in mean[even(len(mean), 12)])}" for name, mean in means.items()
    )
    drawn = figure(title, f"{title}. Mean loss in order of folds: {told}.", height=300 + 6 * len(means))
    others = [name for name in means if name not in (_OWN, terms.base)]
    for n, name in enumerate(others):
        drawn.add_trace(
            _fold_trace(name, means[name], OTHER, _DASHES[n % 5], _SYMBOLS[n % 6], width=1.2, size=6)
        )
    if terms.base in means:
        drawn.add_trace(_fold_trace(terms.base, means[terms.base], NAIVE, "dash", "square", width=2, size=8))
    if _OWN in means:
        drawn.add_trace(_fold_trace(_OWN, means[_OWN], HELDOUT, "solid", "diamond", width=2.5, size=11))
        seeds = [(fold, x) for fold, each in enumerate(losses[_OWN], 1) for x in each if len(each) > 1]
        if seeds:
            drawn.add_trace(
                go.Scatter(
                    x=[fold for fold, _ in seeds],
                    y=rounded([x for _, x in seeds]),
                    mode="markers",
                    name="single seeds",
                    marker={"color": HELDOUT, "size": 5, "symbol": "circle-open"},
                    hovertemplate="one seed: %{y:.5~g}<extra></extra>",
                )
            )
    every = np.concatenate(list(means.values()))
    every = every[np.isfinite(every)]
    if len(every) and every.min() > 0 and every.max() > 8 * every.min():
        drawn.update_yaxes(**log_axis(every.min(), every.max()))
    else:
        drawn.update_yaxes(rangemode="tozero")
    drawn.update_xaxes(
        title_text=terms.folds_axis,
        dtick=max(1, n_folds // 10),
        showgrid=False,
        zeroline=False,
    )
    drawn.update_yaxes(title_text="mean loss", zeroline=False)
    return drawn


def _fold_title(means: Mapping[str, FloatArray], n_folds: int, terms: Terms) -> str:
    if _OWN not in means or terms.base not in means:
        return f"Mean loss on {plural(n_folds, terms.fold)}"
    better = int((means[_OWN] < means[terms.base]).sum())
    return f"heldout beats {terms.reference} on {better} of {plural(n_folds, 'fold')}"


def _fold_trace(
    name: str, mean: FloatArray, colour: str, dash: str, symbol: str, *, width: float, size: int
) -> go.Scatter:
    return go.Scatter(
        x=list(range(1, len(mean) + 1)),
        y=rounded(mean),
        mode="lines+markers",
        name=plain(name, 24),
        line={"color": colour, "dash": dash, "width": width},
        marker={"symbol": symbol, "size": size, "color": colour},
        hovertemplate=f"{plain(name)}, fold %{{x}}: %{{y:.4~g}}<extra></extra>",
    )
