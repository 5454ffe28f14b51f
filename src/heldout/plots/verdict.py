"""The figures of a verdict: what simpler recipes would save, and what more data would be worth."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from heldout.check import InputError
from heldout.plots.outer import error_bars
from heldout.plots.theme import BAND, HELDOUT, OTHER, VALID, figure
from heldout.plots.values import number, numbers, percent, plain, rounded, span

_CHOSEN = "chosen by validation"


def family_chart(
    members: Sequence[Mapping[str, Any]], harm: Mapping[str, Any] | None, *, delta: float
) -> go.Figure:
    """What following the training rows less would save of the loss on new rows, by member of the family.

    Parameters
    ----------
    members : sequence of mapping
        ``name``, ``admissible``, ``saved`` (``mean``, ``low``, ``high``, shares of the loss), ``chosen`` (in how many folds).
    harm : mapping or None
        The same of what the validation rows choose, fold by fold.
    delta : float
        The smallest saving that matters.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    InputError
        If there are no members.

    Examples
    --------
    >>> saved = {"mean": 0.1, "low": 0.05, "high": 0.15}
    >>> member = {"name": "fewer units", "admissible": True, "saved": saved, "chosen": 5}
    >>> family_chart([member], saved, delta=0.01).layout.meta["title"]
    'What the validation rows choose saves +10.0 % of the loss on new rows'
    """
    if not members:
        raise InputError("nothing follows the training rows less: there is nothing to draw")
    shown = [] if harm is None else [(_CHOSEN, harm, True)]
    shown += [(one["name"], one["saved"], bool(one["admissible"])) for one in members]
    shown = shown[::-1]
    known = all(one["low"] is not None for _, one, _ in shown)
    told = "; ".join(
        f"{name} {percent(one['mean'])} {span(one['low'], one['high'], percent)}"
        for name, one, _ in reversed(shown)
    )
    title = (
        "No member of the family follows the training rows less"
        if harm is None
        else f"What the validation rows choose saves {percent(harm['mean'])} of the loss on new rows"
    )
    drawn = figure(
        title,
        f"{title}. Savings with 90 % intervals: {told}. The band is what does not matter, less than {percent(delta, sign=False)}.",
        height=36 * len(shown) + 82,
        note="" if known else "No interval: too few folds.",
    )
    drawn.add_vrect(x0=-100 * delta, x1=100 * delta, fillcolor=BAND, line_width=0, layer="below")
    _marks(drawn, shown)
    return drawn


def _marks(drawn: go.Figure, shown: Sequence[tuple[str, Mapping[str, Any], bool]]) -> None:
    """A mark and an interval for each line, from the bottom up; the first is what was chosen, hollow what is not admitted."""
    mean, low, high = (100 * numbers([one[1][end] for one in shown]) for end in ("mean", "low", "high"))
    known = np.isfinite(low) & np.isfinite(high)
    chosen = np.array([name == _CHOSEN for name, *_ in shown])
    for mine in (False, True):
        at: list[int] = np.flatnonzero(chosen == mine).tolist()
        if not at:
            continue
        drawn.add_trace(
            go.Scatter(
                x=rounded(mean[at]),
                y=at,
                mode="markers",
                marker={
                    "size": 13 if mine else 9,
                    "color": HELDOUT if mine else OTHER,
                    "symbol": ["diamond" if mine else "circle" if shown[n][2] else "circle-open" for n in at],
                },
                error_x=error_bars(mean[at], low[at], high[at], known[at]),
                customdata=[[plain(shown[n][0]), percent(float(mean[n] / 100))] for n in at],
                hovertemplate="%{customdata[0]}: %{customdata[1]}<extra></extra>",
            )
        )
    drawn.update_xaxes(title_text="saved of the loss on new rows, %", zeroline=True, nticks=5)
    drawn.update_yaxes(
        tickvals=list(range(len(shown))),
        ticktext=[plain(name, 24) for name, *_ in shown],
        range=[-0.6, len(shown) - 0.4],
        showgrid=False,
        zeroline=False,
    )
    drawn.update_layout(showlegend=False)


def data_chart(curve: Mapping[str, Any], *, metric: str) -> go.Figure:
    """Loss on new rows against the training samples, and the curve through it.

    Parameters
    ----------
    curve : mapping
        ``n``, ``loss``, ``fitted`` and ``twice``, as `heldout.studies.evidence.learning_curve` gives them.
    metric : str
        What the loss is.

    Returns
    -------
    plotly.graph_objects.Figure

    Examples
    --------
    >>> curve = {"n": [100, 200], "loss": [1.0, 0.9], "fitted": [1.0, 0.9]}
    >>> curve["twice"] = {"mean": 0.05, "low": 0.01, "high": 0.1}
    >>> data_chart(curve, metric="mse").layout.meta["title"]
    'Twice the data would lower the loss by about 5 %, between 1 % and 10 %'
    """
    twice = curve["twice"]
    title = f"Twice the data would lower the loss by about {percent(twice['mean'], sign=False)}"
    if twice["low"] is not None:
        ends = (percent(twice[end], sign=False) for end in ("low", "high"))
        title += ", between {} and {}".format(*ends)
    told = ", ".join(
        f"{number(n)}: {number(loss)}" for n, loss in zip(curve["n"], curve["loss"], strict=True)
    )
    drawn = figure(title, f"{title}. Loss by training samples: {told}.", height=260)
    drawn.add_trace(
        go.Scatter(
            x=rounded(curve["n"]),
            y=rounded(curve["fitted"]),
            mode="lines",
            line={"color": OTHER},
            name="fitted",
        )
    )
    drawn.add_trace(
        go.Scatter(
            x=rounded(curve["n"]),
            y=rounded(curve["loss"]),
            mode="markers",
            marker={"color": VALID, "size": 9},
            name="measured",
        )
    )
    drawn.update_xaxes(title_text="training samples, the most recent ones", rangemode="tozero", nticks=5)
    drawn.update_yaxes(title_text=f"{metric} on new rows", nticks=5)
    return drawn
