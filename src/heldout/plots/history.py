"""A figure of the curves that some training left behind, its best epoch and its stops marked."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from heldout.check import InputError
from heldout.plots.theme import NAIVE, OTHER, TRAIN, VALID, figure
from heldout.plots.values import even, log_axis, number, numbers, plain, rounded, whole_ticks

_MOST = 400  # points of a curve
_SHOWN_RULES = ("GL 5", "UP 3", "patience 10")


def history_chart(found: Mapping[str, Any]) -> go.Figure:
    """Training and validation values epoch by epoch; the best epoch and where three rules would have stopped are marked.

    Parameters
    ----------
    found : mapping
        ``metric``, ``axis``, ``curves`` (``epoch``, ``train``, ``valid``, ``score``), ``statements`` and ``rules``, as
        ``Diagnosis.to_dict`` gives them.

    Returns
    -------
    plotly.graph_objects.Figure
        Training dashed, validation solid; logarithmic where values fall more than tenfold; of long curves 400 points.

    Raises
    ------
    InputError
        If no epoch has a value.

    Examples
    --------
    >>> curves = {"epoch": [1, 2, 3], "train": [3, 2, 1], "valid": [3, 2, 2.5], "score": None}
    >>> said = {"code": "best-epoch", "sentence": "Lowest at 2.", "numbers": {"best_epoch": 2, "best": 2}}
    >>> drawn = history_chart({"metric": "loss", "axis": "epoch", "curves": curves, "statements": [said], "rules": []})
    >>> drawn.layout.meta["title"], [trace.name for trace in drawn.data]
    ('Lowest at 2.', ['training', 'validation', 'lowest'])
    """
    curves = found["curves"]
    train, valid = numbers(curves["train"]), numbers(curves["valid"])
    known = np.concatenate([train, valid])
    known = known[np.isfinite(known)]
    if not len(known):
        raise InputError("no epoch has a value: there is no curve to draw")
    best = next((one["numbers"] for one in found["statements"] if one["code"] == "best-epoch"), None)
    title = found["statements"][0]["sentence"] if found["statements"] else "The curves"
    drawn = figure(
        title, f"{title} {len(valid)} values, from {number(known.min())} to {number(known.max())}."
    )
    keep = even(len(valid), _MOST)
    epochs = numbers(curves["epoch"])
    for name, values, colour, dash in (
        ("training", train, TRAIN, "dash"),
        ("validation", valid, VALID, "solid"),
    ):
        shown = keep[np.isfinite(values[keep])]
        if len(shown):
            drawn.add_trace(_line(name, epochs[shown], values[shown], colour, dash))
    if best is not None:
        which = "highest" if found.get("direction") == "higher" else "lowest"
        drawn.add_trace(_mark(which, best["best_epoch"], best["best"], NAIVE, "diamond"))
    for row, symbol in zip(found["rules"], _symbols(found["rules"]), strict=True):
        place = row["stopped"]
        if symbol and place is not None:
            at = float(valid[np.searchsorted(epochs, place)])
            drawn.add_trace(_mark(f"{row['rule']} stops", place, at, OTHER, symbol))
    log = known.min() > 0 and known.max() > 10 * known.min()
    drawn.update_yaxes(title_text=plain(found["metric"], 40), zeroline=False)
    drawn.update_yaxes(**(log_axis(known.min(), known.max()) if log else {"nticks": 6}))
    drawn.update_xaxes(
        title_text=found["axis"], showgrid=False, zeroline=False, nticks=6, **whole_ticks(epochs.tolist())
    )
    return drawn


def _symbols(rules: list[Mapping[str, Any]]) -> list[str]:
    looks = dict(zip(_SHOWN_RULES, ("square", "triangle-up", "circle"), strict=True))
    return [looks.get(row["rule"], "") for row in rules]


def _line(name: str, x: Any, y: Any, colour: str, dash: str) -> go.Scatter:
    return go.Scatter(
        x=rounded(x, 9),
        y=rounded(y, 5),
        mode="lines" if len(x) > 1 else "markers",
        name=name,
        line={"color": colour, "dash": dash, "width": 1.8},
        hovertemplate=f"%{{x}}<br>{name}: %{{y:.4~g}}<extra></extra>",
    )


def _mark(name: str, x: float, y: float, colour: str, symbol: str) -> go.Scatter:
    return go.Scatter(
        x=[x],
        y=rounded([y], 5),
        mode="markers",
        name=name,
        marker={"symbol": symbol, "size": 10, "color": colour},
        hovertemplate=f"{name}: %{{x}}, %{{y:.4~g}}<extra></extra>",
    )
