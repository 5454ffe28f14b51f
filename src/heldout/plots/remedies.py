"""The figure of a ranking of remedies: what each gains over the control, with its interval, by class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from heldout.check import InputError
from heldout.plots.theme import BAND, HELDOUT, NAIVE, OTHER, VALID, figure
from heldout.plots.values import numbers, percent, plain, rounded, span

_COLOURS = {
    "HELPS MATERIALLY": VALID,
    "HELPS": VALID,
    "NO MATERIAL EFFECT": HELDOUT,
    "HARMS": NAIVE,
    "UNDECIDED": OTHER,
    "confirmed": VALID,
}
_MARKS = {"HELPS MATERIALLY": "square", "confirmed": "diamond"}
_REACH = 3.0  # an interval is drawn up to so many times the largest gain


def forest_chart(found: Mapping[str, Any]) -> go.Figure:
    """Share of the control's loss that each remedy saves, with intervals that hold at once, the largest gain at the top.

    Parameters
    ----------
    found : mapping
        ``scores.json`` of a ranking: ``rows`` with ``name``, ``gain``, ``low``, ``high``, ``verdict``, ``tier``; ``delta``;
        ``choice``, ``selected`` and ``confirmed``.

    Returns
    -------
    plotly.graph_objects.Figure
        Filled: in the first tier, not told from the best. The band holds what is too small to matter. Below all, what the
        choice saves on folds that chose nothing. Ends that lie far out are cut.

    Raises
    ------
    InputError
        If there is no remedy.

    Examples
    --------
    >>> row = {"name": "EMA", "gain": 0.03, "low": 0.02, "high": 0.04, "verdict": "HELPS MATERIALLY", "tier": 1}
    >>> kept = {"mean": 0.02, "low": 0.01, "high": 0.03}
    >>> found = {"rows": [row], "delta": 0.01, "choice": {"name": "EMA"}, "selected": {"mean": 0.03}, "confirmed": kept}
    >>> forest_chart(found).layout.meta["title"]
    'EMA saves 2 % of the loss on folds that chose nothing; 3 % where it was chosen'
    """
    rows = list(found["rows"])
    if not rows:
        raise InputError("no remedy was measured: there is nothing to draw")
    lines = [*rows, *_confirmed(found)][::-1]
    reach = _REACH * max(found["delta"], *(abs(row["gain"]) for row in rows))
    cut = any(end is not None and abs(end) > reach for row in lines for end in (row["low"], row["high"]))
    title = _title(found)
    told = "; ".join(
        f"{row['name']} {percent(row['gain'])} {span(row['low'], row['high'], percent)}".strip()
        for row in lines[::-1]
    )
    note = "Filled: not told from the best. Band: too small to matter." + (
        " Ends far out are cut." if cut else ""
    )
    drawn = figure(
        title,
        f"{title}. Share of the control's loss that is saved, with 95 % intervals: {told}.",
        height=28 * len(lines) + 110,
        note=note,
    )
    drawn.add_vrect(
        x0=-100 * found["delta"], x1=100 * found["delta"], fillcolor=BAND, line_width=0, layer="below"
    )
    there = {row["verdict"] for row in lines}
    for verdict in filter(there.__contains__, _COLOURS):
        drawn.add_trace(_trace(lines, verdict, reach))
    _axes(drawn, lines)
    return drawn


def _confirmed(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The line of the folds that chose nothing."""
    kept = found["confirmed"]
    if kept is None or kept["mean"] is None:
        return []
    ends = {"gain": kept["mean"], "low": kept["low"], "high": kept["high"]}
    return [{"name": "the choice, confirmed", "verdict": "confirmed", "tier": 1, **ends}]


def _title(found: Mapping[str, Any]) -> str:
    kept = found["confirmed"]
    if kept is None or kept["mean"] is None:
        return "No remedy lowers the loss on the folds that choose"
    selected, confirmed = (percent(x["mean"], sign=False) for x in (found["selected"], kept))
    return f"{found['choice']['name']} saves {confirmed} of the loss on folds that chose nothing; {selected} where it was chosen"


def _trace(lines: Sequence[Mapping[str, Any]], verdict: str, reach: float) -> go.Scatter:
    own = [(place, row) for place, row in enumerate(lines) if row["verdict"] == verdict]
    gain, low, high = (numbers([row[key] for _, row in own]) for key in ("gain", "low", "high"))
    known = np.isfinite(low) & np.isfinite(high)
    ends = (
        np.clip(np.where(known, low, gain), -reach, reach),
        np.clip(np.where(known, high, gain), -reach, reach),
    )
    colour, mark = _COLOURS[verdict], _MARKS.get(verdict, "circle")
    return go.Scatter(
        x=rounded(100 * gain),
        y=[place for place, _ in own],
        name=verdict,
        mode="markers",
        marker={
            "color": colour,
            "size": 10,
            "line": {"color": colour, "width": 2},
            "symbol": [mark if row["tier"] == 1 else f"{mark}-open" for _, row in own],
        },
        error_x={
            "type": "data",
            "symmetric": False,
            "array": rounded(np.maximum(100 * (ends[1] - gain), 0)),
            "arrayminus": rounded(np.maximum(100 * (gain - ends[0]), 0)),
            "thickness": 2,
        },
        customdata=[
            [plain(row["name"]), plain(verdict), span(row["low"], row["high"], percent) or "no interval"]
            for _, row in own
        ],
        hovertemplate="%{customdata[0]}: %{x:+.3~g} %<br>%{customdata[2]}<br>%{customdata[1]}<extra></extra>",
    )


def _axes(drawn: go.Figure, lines: Sequence[Mapping[str, Any]]) -> None:
    drawn.add_vline(x=0, line={"color": OTHER, "width": 1.5, "dash": "dash"})
    drawn.update_xaxes(title_text="loss saved against the control, %", zeroline=False, nticks=6)
    drawn.update_yaxes(
        tickvals=list(range(len(lines))),
        ticktext=[plain(row["name"], 24) for row in lines],
        range=[-0.7, len(lines) - 0.3],
        showgrid=False,
        zeroline=False,
    )
