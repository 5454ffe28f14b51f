"""The figure of the folds that chose nothing: the choice beside the start and the baselines."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from heldout.check import InputError
from heldout.plots.theme import HELDOUT, OTHER, figure
from heldout.plots.values import FloatArray, number, numbers, percent, plain, rounded, span


def outer_chart(
    outer: Mapping[str, Any],
    baselines: Sequence[Mapping[str, Any]] = (),
    *,
    names: Mapping[str, str] | None = None,
) -> go.Figure:
    """Loss on the outer folds, which chose nothing: the choice, the start, the best and the baselines.

    Parameters
    ----------
    outer : mapping
        ``rows``, each with ``name``, ``label``, ``loss``, ``low``, ``high`` and ``difference`` (its loss less the choice's:
        ``mean``, ``low``, ``high``); ``n_folds``.
    baselines : sequence of mapping
        ``name``, ``loss``, on the same folds.
    names : mapping, optional
        What rows are called; by default their name and label.

    Returns
    -------
    plotly.graph_objects.Figure
        A baseline that loses far more stands at the right edge as an arrow; its loss is written beside.

    Raises
    ------
    InputError
        If no row has a loss.

    Examples
    --------
    >>> start = {"name": "start", "label": "1 x 64", "loss": 1.0, "low": 0.9, "high": 1.1}
    >>> start["difference"] = {"mean": 0.04, "low": 0.01, "high": 0.07}
    >>> choice = {"name": "choice", "label": "1 x 8", "loss": 0.96, "low": 0.9, "high": 1.02, "difference": None}
    >>> outer_chart({"rows": [choice, start], "n_folds": 2}).layout.meta["title"]
    'The choice loses 4 % less than the start, between 1 % and 7 % with 95 % confidence'
    """
    rows = [row for row in outer["rows"] if row.get("loss") is not None]
    if not rows:
        raise InputError("no outer fold was scored: there is nothing to draw")
    others = sorted(
        (one for one in baselines if one.get("loss") is not None), key=lambda one: float(one["loss"])
    )
    title = _outer_title(rows)
    called = [(names or {}).get(row["name"]) or _named(row) for row in rows]
    shown = [*zip(called, rows, strict=True), *((str(one["name"]), one) for one in others)][::-1]
    told = "; ".join(
        f"{name} {number(one['loss'])} {span(one.get('low'), one.get('high'))}".strip()
        for name, one in reversed(shown)
    )
    drawn = figure(
        title,
        f"{title}. Loss on the outer folds, with 95 % intervals: {told}.",
        height=36 * len(shown) + 62,
        note="Hollow: no interval is given." if any(one.get("low") is None for _, one in shown) else "",
    )
    _forest(drawn, shown)
    return drawn


def _named(row: Mapping[str, Any]) -> str:
    named = row.get("label") not in (None, "", row["name"])
    return f"{row['name']}: {row['label']}" if named else str(row["name"])


def _in_two_lines(name: str) -> str:
    """What a phone holds beside the marks: the size below the role."""
    role, _, size = name.partition(": ")
    return plain(role, 20) + (f"<br>{plain(size, 22)}" if size else "")


def _outer_title(rows: Sequence[Mapping[str, Any]]) -> str:
    start = next((row for row in rows if row["name"] == "start"), None)
    found = (start or {}).get("difference")
    if start is None:
        return "The choice is the start; beside it, the baselines"
    if not found or found.get("mean") is None or not start["loss"]:
        return "The choice on folds that chose nothing"
    mean = float(found["mean"] / start["loss"])
    low, high = (
        None if found.get(key) is None else float(found[key] / start["loss"]) for key in ("low", "high")
    )
    if low is None or high is None:
        return f"The choice saves {percent(mean)} of the start's loss; too few folds for an interval"
    if low > 0 or high < 0:
        near, far = (percent(abs(end), sign=False) for end in sorted((low, high), key=abs))
        what = "less" if low > 0 else "more"
        return f"The choice loses {percent(abs(mean), sign=False)} {what} than the start, between {near} and {far} with 95 % confidence"
    return f"No difference to the start is shown: {percent(mean)} of its loss saved, 95 % interval {span(low, high, percent)}"


def _forest(drawn: go.Figure, shown: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    loss, low, high = (numbers([one.get(key) for _, one in shown]) for key in ("loss", "low", "high"))
    known = np.isfinite(low) & np.isfinite(high)
    own = np.array(["label" in one or "difference" in one for _, one in shown])
    # All intervals and the best baseline are shown whole; what is far off is cut.
    core = np.concatenate([loss[own], low[known], high[known], [loss.min()]])
    width = max(float(np.ptp(core)), (0.02 if known.any() else 0.5) * float(np.abs(core).max()), 1e-12)
    right = min(float(max(loss.max(), core.max())), float(core.max()) + width)
    left = float(min(core.min(), loss.min()))
    off = loss > right
    chosen = np.array(
        [bool(mine) and one.get("name") == "choice" for (_, one), mine in zip(shown, own, strict=True)]
    )
    whole = np.where(chosen, "diamond", "circle")
    symbols = np.where(off, "triangle-right", np.where(known, whole, [f"{name}-open" for name in whole]))
    said = [
        [plain(name), number(one["loss"]), span(one.get("low"), one.get("high")) or "no interval"]
        for name, one in shown
    ]
    barred = known & ~off
    for mine, with_bar in product((False, True), repeat=2):
        at = np.flatnonzero((chosen == mine) & (barred == with_bar))
        if not len(at):
            continue
        drawn.add_trace(
            go.Scatter(
                x=rounded(np.minimum(loss, right)[at]),
                y=at.tolist(),
                mode="markers",
                marker={
                    "size": 13 if mine else 9,
                    "color": HELDOUT if mine else OTHER,
                    "symbol": symbols[at].tolist(),
                },
                error_x=error_bars(loss[at], low[at], high[at], known[at]) if with_bar else None,
                customdata=[said[n] for n in at],
                hovertemplate="%{customdata[0]}: %{customdata[1]}<br>%{customdata[2]}<extra></extra>",
            )
        )
    for n, value in enumerate(loss):
        drawn.add_annotation(
            x=1, xref="paper", xanchor="left", y=n, text=number(float(value)), showarrow=False, xshift=6,
            font={"weight": 700 if chosen[n] else 400},
        )  # fmt: skip
    _forest_axes(drawn, [name for name, _ in shown], left, right)


def _forest_axes(drawn: go.Figure, names: Sequence[str], left: float, right: float) -> None:
    pad = 0.06 * (right - left)
    drawn.update_xaxes(
        title_text="mean loss on the outer folds", range=[left - pad, right + pad], zeroline=False, nticks=4
    )
    drawn.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=[_in_two_lines(name) for name in names],
        range=[-0.6, len(names) - 0.4],
        showgrid=False,
        zeroline=False,
    )
    drawn.update_layout(showlegend=False, margin_r=74)


def error_bars(
    value: FloatArray, low: FloatArray, high: FloatArray, known: NDArray[np.bool_]
) -> dict[str, Any]:
    """Give intervals as Plotly takes them.

    Parameters
    ----------
    value, low, high : arrays of shape (n,)
        Estimates and the ends of their intervals.
    known : array of bool, shape (n,)
        Whether there is an interval.
    """
    return {
        "type": "data",
        "symmetric": False,
        "array": rounded(np.where(known, high - value, np.nan)),
        "arrayminus": rounded(np.where(known, value - low, np.nan)),
        "thickness": 1.6,
        "width": 4,
    }
