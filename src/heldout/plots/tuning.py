"""The figure of what a search over options gains: inside, by luck alone, outside."""

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from heldout.check import InputError
from heldout.plots.theme import HELDOUT, NAIVE, OTHER, VALID, figure
from heldout.plots.values import percent, rounded, span


def gains_chart(
    inside: Mapping[str, Any],
    outside: Mapping[str, Any],
    lucky: Mapping[str, Any] | None = None,
) -> go.Figure:
    """What the choice saves of the start's loss: on the folds that chose it, by luck alone, and on folds that did not.

    Parameters
    ----------
    inside, outside : mapping
        ``gain``, ``low``, ``high``: shares of the start's loss, on inner and outer folds.
    lucky : mapping, optional
        ``gain``: what the best of as many trials would seem to save if none saved anything; ``deflated``: the gain
        inside less that.

    Returns
    -------
    plotly.graph_objects.Figure
        Hollow markers have no interval.

    Raises
    ------
    InputError
        If no gain is known.

    Examples
    --------
    >>> gain = {"gain": 0.08, "low": 0.05, "high": 0.11}
    >>> gains_chart(gain, gain | {"gain": 0.03}, {"gain": 0.04, "deflated": 0.04}).layout.meta["title"]
    'Of 8 % saved on the folds that chose, 3 % is left on folds that did not; luck alone would show 4 %'
    """
    lucky = lucky or {}
    lines = [
        ("inside", inside, HELDOUT, "circle"),
        ("luck alone", {"gain": lucky.get("gain")}, NAIVE, "x-thin-open"),
        ("inside less luck", {"gain": lucky.get("deflated")}, HELDOUT, "circle-open"),
        ("outside", outside, VALID, "diamond"),
    ]
    lines = [line for line in lines if line[1].get("gain") is not None][::-1]
    if not lines:
        raise InputError("no gain was measured: there is nothing to draw")
    title = _gains_title(inside, outside, lucky)
    told = "; ".join(f"{name} {_gain(found)}" for name, found, _, _ in reversed(lines))
    drawn = figure(
        title,
        f"{title}. Share of the start's loss that is saved, with 95 % intervals: {told}.",
        height=36 * len(lines) + 60,
    )
    for place, (name, found, colour, symbol) in enumerate(lines):
        drawn.add_trace(_gain_trace(place, name, found, colour, symbol))
        drawn.add_annotation(
            x=1, xref="paper", xanchor="left", y=place, text=percent(found["gain"]), showarrow=False, xshift=6
        )
    drawn.add_vline(x=0, line={"color": OTHER, "width": 1.5, "dash": "dash"})
    drawn.update_xaxes(title_text="loss saved against the start, %", zeroline=False, nticks=6)
    drawn.update_yaxes(
        tickvals=list(range(len(lines))),
        ticktext=[line[0] for line in lines],
        range=[-0.6, len(lines) - 0.4],
        showgrid=False,
        zeroline=False,
    )
    drawn.update_layout(showlegend=False, margin_r=74)
    return drawn


def _gains_title(inside: Mapping[str, Any], outside: Mapping[str, Any], lucky: Mapping[str, Any]) -> str:
    shown = ""
    if lucky.get("gain") is not None:
        shown = f"; luck alone would show {percent(lucky['gain'], sign=False)}"
    first, left = inside.get("gain"), outside.get("gain")
    if first is None or left is None:
        return f"Saved on folds that did not choose: {percent(left)}{shown}"
    if first == left == 0:
        return f"Nothing is saved: the choice is the start{shown}"
    return f"Of {percent(first, sign=False)} saved on the folds that chose, {percent(left, sign=False)} is left on folds that did not{shown}"


def _gain(found: Mapping[str, Any]) -> str:
    return f"{percent(found['gain'])} {span(found.get('low'), found.get('high'), percent)}".strip()


def _gain_trace(place: int, name: str, found: Mapping[str, Any], colour: str, symbol: str) -> go.Scatter:
    gain, low, high = (found.get(key) for key in ("gain", "low", "high"))
    assert gain is not None
    return go.Scatter(
        x=rounded([100 * gain]),
        y=[place],
        mode="markers",
        marker={"symbol": symbol, "color": colour, "size": 11, "line": {"color": colour, "width": 2}},
        error_x=None if low is None or high is None else _gain_bar(gain, low, high),
        hovertemplate=f"{name}: {_gain(found)}<extra></extra>",
    )


def _gain_bar(gain: float, low: float, high: float) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": rounded([100 * (high - gain)]),
        "arrayminus": rounded([100 * (gain - low)]),
        "thickness": 2,
    }
