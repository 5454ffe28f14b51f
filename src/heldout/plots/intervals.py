"""Figures of intervals: how many truths they hold."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from heldout.check import InputError
from heldout.plots.theme import HELDOUT, NAIVE, figure
from heldout.plots.values import number, numbers, percent, plain, rounded, span

_METHODS = {"conformal": "conformal", "mc_dropout": "Monte Carlo dropout", "quantile": "quantile loss"}


def coverage_chart(intervals: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Share of truths inside each kind of interval, with its own interval, beside the share that was asked for.

    Parameters
    ----------
    intervals : sequence of mapping
        ``method`` ("conformal", "mc_dropout", "quantile"), ``level``, ``coverage``, ``coverage_low``,
        ``coverage_high``, ``width``, ``promised`` (whether the method can promise the level here).

    Returns
    -------
    plotly.graph_objects.Figure
        Hollow markers: no promise.

    Raises
    ------
    InputError
        If no coverage was measured.

    Examples
    --------
    >>> kind = {"method": "conformal", "level": 0.9, "coverage": 0.88, "coverage_low": 0.85, "coverage_high": 0.91}
    >>> coverage_chart([kind]).layout.meta["title"]
    'The 90 % interval (conformal) covers 88 % of the truths'
    """
    shown = [kind for kind in intervals if kind.get("coverage") is not None][::-1]
    if not shown:
        raise InputError("no interval was measured: there is no coverage to draw")
    title = f"The {_name(shown[-1])} covers {_share(shown[-1]['coverage'])} of the truths"
    told = "; ".join(
        f"the {_name(kind)} {_share(kind['coverage'])} {span(kind.get('coverage_low'), kind.get('coverage_high'), _share)}"
        for kind in shown[::-1]
    )
    promised = all(kind.get("promised", True) for kind in shown)
    note = "Upright line: the share asked for." + (
        "" if promised else " Hollow: no promise is possible here."
    )
    drawn = figure(title, f"{title}. With 95 % intervals: {told}.", height=36 * len(shown) + 60, note=note)
    asked = 100 * numbers([kind["level"] for kind in shown])
    place = list(range(len(shown)))
    line = {"symbol": "line-ns-open", "size": 22, "color": NAIVE, "line": {"width": 3}}
    drawn.add_trace(
        go.Scatter(x=rounded(asked), y=place, mode="markers", marker=line, hovertemplate="asked for: %{x:.4~g} %<extra></extra>")
    )  # fmt: skip
    drawn.add_trace(_measured(shown))
    ends = [
        100 * numbers([kind.get(key) for kind in shown])
        for key in ("coverage", "coverage_low", "coverage_high")
    ]
    every = np.concatenate([asked, *ends])
    drawn.update_xaxes(
        title_text="truths inside, %",
        range=[float(np.nanmin(every)) - 4, min(float(np.nanmax(every)) + 4, 101)],
        zeroline=False,
        nticks=7,
    )
    drawn.update_yaxes(
        tickvals=place,
        ticktext=[f"{plain(_method(kind), 20)}, {100 * kind['level']:g} %" for kind in shown],
        range=[-0.7, len(shown) - 0.3],
        showgrid=False,
        zeroline=False,
    )
    drawn.update_layout(showlegend=False)
    return drawn


def _measured(shown: Sequence[Mapping[str, Any]]) -> go.Scatter:
    cover, low, high = (
        100 * numbers([kind.get(key) for kind in shown])
        for key in ("coverage", "coverage_low", "coverage_high")
    )
    known = np.isfinite(low) & np.isfinite(high)
    promised = [kind.get("promised", True) for kind in shown]
    return go.Scatter(
        x=rounded(cover),
        y=list(range(len(shown))),
        mode="markers",
        marker={
            "size": 11,
            "color": HELDOUT,
            "symbol": ["diamond" if promise else "diamond-open" for promise in promised],
        },
        error_x={
            "type": "data",
            "symmetric": False,
            "array": rounded(np.where(known, high - cover, 0)),
            "arrayminus": rounded(np.where(known, cover - low, 0)),
            "thickness": 2,
        },
        customdata=[
            [plain(_method(kind)), number(kind.get("width")), "" if promise else "<br>no promise"]
            for kind, promise in zip(shown, promised, strict=True)
        ],
        hovertemplate="%{customdata[0]}: %{x:.3~g} % of the truths<br>mean width %{customdata[1]}%{customdata[2]}<extra></extra>",
    )


def _method(kind: Mapping[str, Any]) -> str:
    return _METHODS.get(kind["method"], str(kind["method"]))


def _name(kind: Mapping[str, Any]) -> str:
    return f"{100 * kind['level']:g} % interval ({_method(kind)})"


def _share(value: float) -> str:
    return percent(value, sign=False)
