"""Figures of a classifier of texts: what its confidence is worth, and which words speak for each class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from heldout.check import InputError
from heldout.plots.theme import HELDOUT, LINE, NAIVE, OTHER, figure
from heldout.plots.values import even, number, numbers, percent, plain, plural, rounded

_MOST_CLASSES, _FEW_CLASSES = 24, 4
_WORDS = {True: 12, False: 6}  # a class, by whether there are few classes
_CENTRED = 0.01  # mean confidence this near to accuracy is right
_SMALLEST, _LARGEST = 5, 15  # pixels of a mark
Bins = Sequence[Mapping[str, Any]]


def calibration_chart(
    before: Bins, after: Bins, *, ece_before: float | None = None, ece_after: float | None = None
) -> go.Figure:
    """Share that is right at each confidence, before and after temperature scaling, and how many texts stand behind it.

    Parameters
    ----------
    before, after : sequence of mapping
        ``confidence`` (mean probability of the said class), ``accuracy`` and ``n`` of each bin that holds texts.
    ece_before, ece_after : float, optional
        Expected calibration errors, shares.

    Returns
    -------
    plotly.graph_objects.Figure
        On the diagonal, of the texts said with 80 % confidence 80 % are right; below it, too sure. Larger marks, and bars: more texts.

    Raises
    ------
    InputError
        If no bin holds a text.

    Examples
    --------
    >>> bins = [{"confidence": 0.6, "accuracy": 0.5, "n": 10}, {"confidence": 0.9, "accuracy": 0.9, "n": 30}]
    >>> calibration_chart(bins, bins, ece_before=0.04, ece_after=0.025).layout.meta["title"]
    'Confidence is off by 2.5 % on average, before temperature scaling by 4 %; it is too sure of itself'
    """
    if not sum(one["n"] for one in after):
        raise InputError("no bin of confidence holds a text: there is no calibration to draw")
    title = _calibration_title(after, ece_before, ece_after)
    told = "; ".join(
        f"at {percent(one['confidence'], sign=False)} {percent(one['accuracy'], sign=False)} of {one['n']}"
        for one in after
    )
    drawn = figure(
        title,
        f"{title}. Right after temperature scaling {told}.",
        height=430,
        note="Dotted: as sure as right. Below it, too sure. The larger a mark, the more texts are behind it. Bars: share of the texts.",
    )
    make_subplots(2, 1, shared_xaxes=True, row_heights=[0.74, 0.26], vertical_spacing=0.05, figure=drawn)
    every = [*before, *after]
    start = _below(min(one["confidence"] for one in every))
    floor = min(start, _below(min(one["accuracy"] for one in every)))
    drawn.add_trace(
        go.Scatter(
            x=[start, 100], y=[start, 100], mode="lines", name="as sure as right", hoverinfo="skip",
            line={"color": LINE, "width": 1.5, "dash": "dot"},
        ),
        row=1, col=1,
    )  # fmt: skip
    for bins, own in ((before, False), (after, True)):
        if bins:
            drawn.add_trace(_points(bins, max(one["n"] for one in every), own=own), row=1, col=1)
            drawn.add_trace(_bars(bins, own=own), row=2, col=1)
    drawn.update_layout(barmode="group", bargap=0.1)
    drawn.update_xaxes(range=[start - 1, 102], zeroline=False)
    drawn.update_xaxes(title_text="confidence, %", row=2, col=1)
    drawn.update_yaxes(title_text="right, %", range=[floor - 3, 103], zeroline=False, nticks=6, row=1, col=1)
    drawn.update_yaxes(title_text="texts, %", rangemode="tozero", zeroline=False, nticks=3, row=2, col=1)
    return drawn


def _below(share: float) -> float:
    """The next 5 % below a share."""
    return max(0.0, 5 * float(np.floor((100 * share - 2) / 5)))


def _calibration_title(after: Bins, ece_before: float | None, ece_after: float | None) -> str:
    confidence, accuracy, n = (
        numbers([one[key] for one in after]) for key in ("confidence", "accuracy", "n")
    )
    over = float(((confidence - accuracy) * n).sum() / n.sum())
    off = float((np.abs(confidence - accuracy) * n).sum() / n.sum()) if ece_after is None else ece_after
    then = "" if ece_before is None else f", before temperature scaling by {percent(ece_before, sign=False)}"
    bias = (
        ""
        if abs(over) <= _CENTRED
        else f"; it is {'too sure of itself' if over > 0 else 'less sure than it could be'}"
    )
    return f"Confidence is off by {percent(off, sign=False)} on average{then}{bias}"


def _points(bins: Bins, most: int, *, own: bool) -> go.Scatter:
    """Marks whose area is as the texts in their bin, but for a least size that can still be seen."""
    share = np.sqrt(numbers([one["n"] for one in bins]) / most)
    sizes = np.maximum(_LARGEST * share, _SMALLEST)
    return go.Scatter(
        x=rounded([100 * one["confidence"] for one in bins], 4),
        y=rounded([100 * one["accuracy"] for one in bins], 4),
        mode="lines+markers",
        name="after temperature scaling" if own else "before",
        legendgroup=str(own),
        line={"color": HELDOUT if own else OTHER, "width": 1.4 if own else 1, "dash": "solid" if own else "dash"},
        marker={"size": rounded(sizes, 3), "symbol": "diamond" if own else "circle-open", "opacity": 1},
        customdata=[f"{one['n']:,}" for one in bins],
        hovertemplate="%{x:.3~g} % sure, %{y:.3~g} % right<br>%{customdata} texts<extra></extra>",
    )  # fmt: skip


def _bars(bins: Bins, *, own: bool) -> go.Bar:
    total = sum(one["n"] for one in bins)
    return go.Bar(
        x=rounded([100 * one["confidence"] for one in bins], 4),
        y=rounded([100 * one["n"] / total for one in bins], 4),
        name="texts",
        legendgroup=str(own),
        showlegend=False,
        width=1.5,
        offset=0 if own else -1.5,
        marker={
            "color": HELDOUT if own else OTHER,
            "pattern": {"shape": "" if own else "/", "size": 4, "solidity": 0.4},
        },
        customdata=[f"{one['n']:,}" for one in bins],
        hovertemplate="about %{x:.3~g} % sure: %{customdata} texts, %{y:.3~g} %<extra></extra>",
    )


def words_chart(words: Mapping[str, Sequence[Mapping[str, Any]]]) -> go.Figure:
    """The words that spoke most for each class, on average over the texts that hold them.

    Parameters
    ----------
    words : mapping of str to sequence of mapping
        By class: ``word``, ``weight`` (mean attribution to that class), ``n`` (texts that hold the word).

    Returns
    -------
    plotly.graph_objects.Figure
        A panel per class: of up to 4 classes the 12 strongest words, of more, 6; at most 24 classes, which it says.

    Raises
    ------
    InputError
        If no class has a word.

    Examples
    --------
    >>> found = {"ham": [{"word": "home", "weight": 0.2, "n": 9}], "spam": [{"word": "free", "weight": 0.5, "n": 4}]}
    >>> words_chart(found).layout.meta["title"]
    'What speaks most: “home” for ham, “free” for spam'
    """
    found = {name: sorted(each, key=_size)[::-1] for name, each in words.items() if each}
    if not found:
        raise InputError("no word has a weight: there is nothing to draw")
    few = len(found) <= _FEW_CLASSES
    names = [list(found)[n] for n in even(len(found), _MOST_CLASSES)]
    shown = {name: found[name][: _WORDS[few]][::-1] for name in names}  # Plotly draws from the bottom up
    title = _words_title(found)
    told = "; ".join(f"{name}: {', '.join(_told(one) for one in each[::-1])}" for name, each in shown.items())
    left = len(found) - len(names)
    columns = 1 if len(names) == 1 else 2
    rows = -(-len(names) // columns)
    most = max(map(len, shown.values()))
    height = rows * (17 * most + 34) + 40
    drawn = figure(
        title,
        f"{title}. {told}.",
        height=height,
        above=18,
        note=f"{left} of {len(found)} classes are left out." if left else "",
    )
    make_subplots(
        rows,
        columns,
        shared_xaxes="all",
        horizontal_spacing=0.04,
        vertical_spacing=34 / height if rows > 1 else 0,
        subplot_titles=[plain(name, 20) for name in names],
        figure=drawn,
    )
    for place, each in enumerate(shown.values()):
        for trace in _word_traces(each):
            drawn.add_trace(trace, row=place // columns + 1, col=place % columns + 1)
    drawn.update_xaxes(showgrid=False, zeroline=True, nticks=4)
    drawn.update_yaxes(visible=False, range=[-0.7, most - 0.3])
    drawn.update_layout(showlegend=False, bargap=0.15, barmode="overlay")
    drawn.update_annotations(font={"size": 11, "weight": 600})
    return drawn


def _size(one: Mapping[str, Any]) -> float:
    return abs(float(one["weight"]))


def _told(one: Mapping[str, Any]) -> str:
    return f"{one['word']} {number(one['weight'], 2)}"


def _words_title(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    if len(found) > _FEW_CLASSES:
        return f"The words that speak most for each of {plural(len(found), 'class').replace('classs', 'classes')}"
    told = ", ".join(f"“{_cut(each[0]['word'])}” for {_cut(name)}" for name, each in found.items())
    return f"What speaks most: {told}"


def _cut(text: object) -> str:
    shown = " ".join(str(text).split())
    return shown if len(shown) <= 30 else f"{shown[:29]}…"


def _word_traces(each: Sequence[Mapping[str, Any]]) -> list[go.Bar | go.Scatter]:
    """Bars, and the words written over them, so that two panels fit beside each other on a phone."""
    weights = numbers([one["weight"] for one in each])
    against = weights < 0
    bars = go.Bar(
        orientation="h",
        x=rounded(weights, 4),
        y=list(range(len(each))),
        marker={
            "color": np.where(against, NAIVE, HELDOUT).tolist(),
            "opacity": 0.4,
            "pattern": {"shape": np.where(against, "/", "").tolist(), "size": 5, "solidity": 0.3},
        },
        customdata=[[plain(one["word"]), number(one["weight"], 3), number(one.get("n"))] for one in each],
        hovertemplate="%{customdata[0]}: %{customdata[1]} on average<br>in %{customdata[2]} texts<extra></extra>",
    )
    labels = go.Scatter(
        x=[0] * len(each),
        y=list(range(len(each))),
        mode="text",
        text=[f" {plain(one['word'], 18)}" for one in each],
        textposition=np.where(against, "middle left", "middle right").tolist(),
        hoverinfo="skip",
        cliponaxis=False,
    )
    return [bars, labels]
