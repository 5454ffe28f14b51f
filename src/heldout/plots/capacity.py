"""The figure of a search for the size of a network: loss against size."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from heldout.check import InputError
from heldout.plots.outer import error_bars
from heldout.plots.theme import BAND, HELDOUT, NAIVE, OTHER, TEST, TRAIN, VALID, figure
from heldout.plots.values import (
    FloatArray,
    number,
    numbers,
    plain,
    plural,
    rounded,
    span,
)

DEPTH, WORDS = "depth", "embedding_size"
_STAGES = {
    "num_layers": "layers",
    "hidden_size": "units",
    WORDS: "length of word vectors",
    DEPTH: "depth at equal parameters",
}
_WITHIN = {
    "best": "has the lowest loss",
    "1-SE": "is the smallest within one standard error of the best",
    "simplest": "is the smallest that is not shown to be worse than the best",
}
_REACH = 3.0  # the outer estimate is drawn where it lies within so many spans of the inner losses
_NEAREST = 0.08  # of the axis: names of sizes that are nearer to each other would overlap
_MARKS = {
    "start": ("square-open", OTHER, 15),
    "best": ("star", HELDOUT, 11),
    "chosen": ("diamond", NAIVE, 12),
}


def stage_name(name: str) -> str:
    """Give what a step of the walk changes, in words.

    Parameters
    ----------
    name : str
        As in ``scores.json``: an option, or "depth".

    Examples
    --------
    >>> stage_name("hidden_size"), stage_name("depth")
    ('units', 'depth at equal parameters')
    """
    return _STAGES.get(name, name)


def size_chart(
    stage: Mapping[str, Any],
    *,
    start: Mapping[str, Any] | None = None,
    outer: Sequence[Mapping[str, Any]] = (),
    rule: str = "1-SE",
) -> go.Figure:
    """Loss against size: above on the test parts of the inner folds, below on training and validation parts.

    Parameters
    ----------
    stage : mapping
        ``name`` and ``rows``, each with ``values``, ``label``, ``n_parameters``, ``loss``, ``train_loss``, ``valid_loss``,
        ``difference`` to the best with its standard error ``se``, ``stopped``, ``best``, ``chosen``.
    start : mapping, optional
        Values of the start, marked where a row has them.
    outer : sequence of mapping
        The estimates on outer folds: ``values``, ``loss``, ``low``, ``high``; drawn at the row that has the values, where
        that does not press the inner losses flat.
    rule : {"1-SE", "best", "simplest"}
        What chose.

    Returns
    -------
    plotly.graph_objects.Figure
        A size that the race stopped is hollow, at the best's loss plus its difference on the folds that both have.

    Raises
    ------
    InputError
        If no size has a loss.

    Examples
    --------
    >>> small = {"label": "1 x 8", "n_parameters": 400, "loss": 1.01, "difference": 0.01, "se": 0.02, "chosen": True}
    >>> large = {"label": "1 x 64", "n_parameters": 17000, "loss": 1.0, "difference": 0.0, "se": 0.0, "best": True}
    >>> drawn = size_chart({"name": "hidden_size", "rows": [large, small]})
    >>> drawn.layout.meta["title"]
    '1 x 8 is the smallest within one standard error of the best; the largest, 1 x 64, has 42.5 times its parameters'
    """
    rows = [row for row in stage["rows"] if np.isfinite(numbers([row.get("loss")])).all()]
    if not rows:
        raise InputError("no size has a loss: there is nothing to draw against size")
    by_layers = stage["name"] == DEPTH
    rows.sort(key=_layers if by_layers else _parameters)
    x, log = _places(rows, by_layers=by_layers)
    best = next((row for row in rows if row.get("best")), min(rows, key=lambda row: row["loss"]))
    title = _size_title(rows, rule, by_layers=by_layers)
    inner = numbers([_level(row, best) for row in rows])
    beside, note = _beside(rows, outer, inner)
    drawn = figure(title, f"{title}. {_told(rows)}", height=540, note=note)
    make_subplots(2, 1, shared_xaxes=True, row_heights=[0.58, 0.42], vertical_spacing=0.07, figure=drawn)
    drawn.add_traces([*_band(rows, x, best), *_inner(rows, x, inner)], rows=1, cols=1)
    drawn.add_traces(_marks(rows, x, inner, start), rows=1, cols=1)
    drawn.add_traces(_outer_points(beside, x, log=log), rows=1, cols=1)
    drawn.add_traces(_fitted(rows, x), rows=2, cols=1)
    _size_axes(drawn, rows, x, name=stage["name"], log=log)
    return drawn


def _parameters(row: Mapping[str, Any]) -> float:
    return float(row["n_parameters"])


def _layers(row: Mapping[str, Any]) -> float:
    return float((row.get("values") or {}).get("num_layers", 1))


def _places(rows: Sequence[Mapping[str, Any]], *, by_layers: bool) -> tuple[FloatArray, bool]:
    """Where sizes stand, and whether by logarithm: of word vectors most parameters may be in these, and the sizes all but one."""
    if by_layers:
        return numbers([_layers(row) for row in rows]), False
    x = numbers([_parameters(row) for row in rows])
    steps = np.diff(np.log(x))
    if len(steps) and steps.min() < _NEAREST * steps.sum():
        return np.arange(len(rows), dtype=np.float64), False
    return x, True


def _level(row: Mapping[str, Any], best: Mapping[str, Any]) -> float:
    """Where a size stands: one that was stopped has a mean over other folds than the best has."""
    if row.get("stopped") and row.get("difference") is not None:
        return float(best["loss"] + row["difference"])
    return float(row["loss"])


def _size_title(rows: Sequence[Mapping[str, Any]], rule: str, *, by_layers: bool) -> str:
    chosen = next((row for row in rows if row.get("chosen")), None)
    if chosen is None:
        return f"Loss of {plural(len(rows), 'size')}"
    what = _WITHIN.get(rule, "is chosen")
    why = f"{chosen['label']} {what.replace('smallest', 'shallowest') if by_layers else what}"
    largest = max(rows, key=_parameters)
    times = _parameters(largest) / _parameters(chosen)
    if by_layers:
        others = [row["label"] for row in rows if row is not chosen]
        return f"{why}, of {plural(len(rows), 'depth')} at about equal parameters" if others else why
    if chosen is largest:
        return f"Nothing smaller will do: {why}" if len(rows) > 1 else why
    return f"{why}; the largest, {largest['label']}, has {times_as_many(times)} its parameters"


def times_as_many(times: float) -> str:
    """Write a ratio of counts.

    Parameters
    ----------
    times : float
        Above 0.

    Examples
    --------
    >>> times_as_many(42.5), times_as_many(1235.4)
    ('42.5 times', '1,235 times')
    """
    return f"{times:,.0f} times" if times >= 100 else f"{times:.3g} times"


def _told(rows: Sequence[Mapping[str, Any]]) -> str:
    sizes = "; ".join(
        f"{row['label']} ({row['n_parameters']:,} parameters) {number(row['loss'])}"
        + (", stopped by the race" if row.get("stopped") else "")
        for row in rows
    )
    return f"Loss on the inner folds by size: {sizes}."


def _beside(
    rows: Sequence[Mapping[str, Any]], outer: Sequence[Mapping[str, Any]], inner: FloatArray
) -> tuple[list[tuple[int, Mapping[str, Any]]], str]:
    """Outer estimates with the places of their rows, and a note where they are not drawn."""
    found = []
    for estimate in outer:
        same = [n for n, row in enumerate(rows) if row.get("values") == estimate.get("values")]
        if same and estimate.get("loss") is not None:
            found.append((same[0], estimate))
    ends = numbers([one.get(key, one["loss"]) for _, one in found for key in ("low", "loss", "high")])
    ends = ends[np.isfinite(ends)]
    pad = _REACH * max(float(np.ptp(inner)), 0.05 * abs(float(inner.mean())))
    if not len(ends) or (ends.min() > inner.min() - pad and ends.max() < inner.max() + pad):
        return found, ""
    told = ", ".join(f"{number(one['loss'])} ({rows[n]['label']})" for n, one in found)
    return [], f"Off this scale, on the outer folds: {told}."


def _band(rows: Sequence[Mapping[str, Any]], x: FloatArray, best: Mapping[str, Any]) -> list[go.Scatter]:
    """One standard error of the paired difference to the best, on both sides of the best's loss."""
    se = numbers([row.get("se") for row in rows])
    se = np.where([row is best for row in rows], 0.0, se)
    known = np.isfinite(se)
    level = float(best["loss"])
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "legendgroup": "band"}
    low = go.Scatter(x=x[known].tolist(), y=rounded(level - se[known]), showlegend=False, **edge)
    high = go.Scatter(
        x=x[known].tolist(),
        y=rounded(level + se[known]),
        fill="tonexty",
        fillcolor=BAND,
        name="one SE of the difference to the best",
        **edge,
    )
    line = go.Scatter(
        x=[float(x.min()), float(x.max())],
        y=rounded([level, level]),
        mode="lines",
        line={"color": OTHER, "width": 1, "dash": "dot"},
        showlegend=False,
        hoverinfo="skip",
    )
    return [low, high, line] if known.sum() > 1 else [line]


def _inner(rows: Sequence[Mapping[str, Any]], x: FloatArray, inner: FloatArray) -> list[go.Scatter]:
    stopped = np.array([bool(row.get("stopped")) for row in rows])
    texts = [
        f"{plain(row['label'])}, {row['n_parameters']:,} parameters<br>inner folds: {number(row['loss'])}"
        f"<br>to the best: {number(row.get('difference'))} {span(row.get('low'), row.get('high'))}"
        for row in rows
    ]
    traces = []
    for those, name, look in (
        (~stopped, "test parts, inner folds", {"mode": "lines+markers", "line": {"width": 2.2}}),
        (stopped, "stopped by the race", {"mode": "markers"}),
    ):
        if not those.any():
            continue
        symbol = "circle-open" if those is stopped else "circle"
        traces.append(
            go.Scatter(
                x=x[those].tolist(),
                y=rounded(inner[those]),
                name=name,
                marker={"color": HELDOUT, "size": 8, "symbol": symbol},
                text=[text for text, is_one in zip(texts, those, strict=True) if is_one],
                hovertemplate="%{text}<extra></extra>",
                **look,
            )
        )
        traces[-1].line.color = HELDOUT
    return traces


def _marks(
    rows: Sequence[Mapping[str, Any]], x: FloatArray, inner: FloatArray, start: Mapping[str, Any] | None
) -> list[go.Scatter]:
    """The start, the best and the choice."""
    marked = {
        "start": [n for n, row in enumerate(rows) if start and row.get("values") == start],
        "best": [n for n, row in enumerate(rows) if row.get("best") and not row.get("chosen")],
        "chosen": [n for n, row in enumerate(rows) if row.get("chosen")],
    }
    return [
        go.Scatter(
            x=x[places].tolist(),
            y=rounded(inner[places]),
            mode="markers",
            name=name,
            marker={"symbol": _MARKS[name][0], "color": _MARKS[name][1], "size": _MARKS[name][2]},
            hoverinfo="skip",
        )
        for name, places in marked.items()
        if places
    ]


def _outer_points(
    beside: Sequence[tuple[int, Mapping[str, Any]]], x: FloatArray, *, log: bool
) -> list[go.Scatter]:
    """The estimates on outer folds, a little to the right of their sizes."""
    if not beside:
        return []
    at, loss = (x[[n for n, _ in beside]], numbers([one["loss"] for _, one in beside]))
    low, high = (numbers([one.get(key) for _, one in beside]) for key in ("low", "high"))
    known = np.isfinite(low) & np.isfinite(high)
    aside = at * (x.max() / x.min()) ** 0.025 if log else at + 0.025 * np.ptp(x)
    return [
        go.Scatter(
            x=rounded(aside),
            y=rounded(loss),
            mode="markers",
            name="test parts, outer folds",
            marker={"symbol": "x", "color": TEST, "size": 9},
            error_y=error_bars(loss, low, high, known),
            hovertemplate="outer folds: %{y:.4~g}<extra></extra>",
        )
    ]


def _fitted(rows: Sequence[Mapping[str, Any]], x: FloatArray) -> list[go.Scatter]:
    whole = np.array([not row.get("stopped") for row in rows])
    looks = (
        ("train_loss", "training parts", TRAIN, "dash", "triangle-up"),
        ("valid_loss", "validation parts", VALID, "solid", "square"),
    )
    return [
        go.Scatter(
            x=x[whole].tolist(),
            y=rounded([row.get(key) for row, kept in zip(rows, whole, strict=True) if kept]),
            mode="lines+markers",
            name=name,
            line={"color": colour, "dash": dash, "width": 1.8},
            marker={"symbol": symbol, "size": 7, "color": colour},
            hovertemplate=f"{name}: %{{y:.4~g}}<extra></extra>",
        )
        for key, name, colour, dash, symbol in looks
        if any(row.get(key) is not None for row in rows)
    ]


def _size_axes(
    drawn: go.Figure, rows: Sequence[Mapping[str, Any]], x: FloatArray, *, name: str, log: bool
) -> None:
    """A tick at every size, with its name and number of parameters."""
    texts = [f"{plain(_tick(row, name), 16)}<br>{_short(row['n_parameters'])}" for row in rows]
    drawn.update_xaxes(zeroline=False, type="log" if log else "linear", tickvals=x.tolist(), ticktext=texts)
    what = "word vectors, parameters" if name == WORDS else "layers x units, parameters"
    drawn.update_xaxes(title_text=f"{what}{' (log axis)' if log else ''}", row=2)
    drawn.update_yaxes(zeroline=False, nticks=5)
    drawn.update_yaxes(title_text="test loss", row=1)
    drawn.update_yaxes(title_text="loss in training", row=2)


def _tick(row: Mapping[str, Any], name: str) -> str:
    """What varies: the whole label fits no tick."""
    words = (row.get("values") or {}).get(WORDS)
    return str(words) if name == WORDS and words is not None else str(row["label"]).partition(",")[0]


def _short(count: int) -> str:
    """A count as a tick holds it: 12.8k."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)
