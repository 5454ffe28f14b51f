"""The figure of splits: which stretch of time trains, which stops the training, which judges, and what is purged."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import plotly.graph_objects as go

from heldout.check import InputError
from heldout.plots.theme import GRID, LINE, OTHER, TEST, TRAIN, VALID, figure
from heldout.plots.values import even, number, plain, plural, rounded, whole_ticks

_MOST = 20
_PARTS = (
    ("train", "trains", TRAIN, ""),
    ("valid", "says when to stop", VALID, "/"),
    ("test", "judges", "#56B4E9", "."),
)


def split_chart(splits: Sequence[Mapping[str, Any]], overview: Any = None) -> go.Figure:
    """The folds on a time axis: training, stopping and testing rows, the purged gaps between them, the sealed test.

    Parameters
    ----------
    splits : sequence of mapping
        ``name`` and ``train``, ``valid``, ``test``, each with ``first_origin``, ``last_origin``, ``last_label`` (ISO
        text or row numbers) and ``n``. The last is the final one, whose test is sealed.
    overview : mapping, or sequence of which the first is taken, optional
        ``time``, ``low``, ``high`` (and ``target``) of the target, drawn thin above.

    Returns
    -------
    plotly.graph_objects.Figure
        At most 20 folds, evenly chosen, which the figure says.

    Raises
    ------
    InputError
        If there is no split.

    Examples
    --------
    >>> part = lambda a, b: {"first_origin": a, "last_origin": b, "last_label": b + 2, "n": b - a + 1}
    >>> final = {"name": "final", "train": part(0, 50), "valid": part(52, 70), "test": part(72, 90)}
    >>> split_chart([final]).layout.meta["title"]
    'The last 19 windows are sealed and judged once'
    """
    if not splits:
        raise InputError("there is no split to draw")
    shown = [splits[n] for n in even(len(splits), _MOST)]
    sealed = splits[-1]
    folds = len(splits) - 1
    last = sealed["test"]["n"]
    title = f"The last {'window is' if last == 1 else f'{number(last)} windows are'} sealed and judged once"
    title += f"; {plural(folds, 'walk-forward fold')} before" if folds else ""
    text = (
        f"{title}. In the final split {plural(sealed['train']['n'], 'window')} train ({sealed['train']['first_origin']} to "
        f"{sealed['train']['last_origin']}), {sealed['valid']['n']} say when to stop ({sealed['valid']['first_origin']} to "
        f"{sealed['valid']['last_origin']}), {sealed['test']['n']} are sealed ({sealed['test']['first_origin']} to "
        f"{sealed['test']['last_origin']}); between the parts the windows whose labels reach into the next are left out."
    )
    note = (
        "" if len(shown) == len(splits) else f"{len(shown)} of {len(splits)} splits are drawn, evenly chosen."
    )
    overview = overview if overview is None or isinstance(overview, Mapping) else next(iter(overview), None)
    drawn = figure(
        title,
        text,
        height=26 * len(shown) + (196 if overview else 100),
        note=note,
        above=14 if overview else 0,
    )
    for bar in _bars(shown):
        drawn.add_trace(bar)
    drawn.update_layout(barmode="overlay", bargap=0.3)
    top = 0.62 if overview else 1.0
    drawn.update_yaxes(domain=[0, top], autorange="reversed", showgrid=False, zeroline=False)
    ends = [shown[0]["train"]["first_origin"], sealed["test"]["last_label"]]
    drawn.update_xaxes(anchor="y", type="date" if isinstance(ends[0], str) else "linear", **whole_ticks(ends))
    if overview:
        _add_overview(drawn, overview, top)
    return drawn


def _bars(shown: Sequence[Mapping[str, Any]]) -> list[go.Bar]:
    """One trace per kind of row, so that the legend names each once; a part ends with its last label, and gaps lie on top."""
    sealed = shown[-1:]
    kinds = [
        (name, colour, hatch, [(s, s[part]) for s in (shown[:-1] if part == "test" else shown)])
        for part, name, colour, hatch in _PARTS
    ]
    kinds.append(("sealed test", TEST, "x", [(s, s["test"]) for s in sealed]))
    bars = [_bar(name, colour, hatch, items) for name, colour, hatch, items in kinds if items]
    gaps = [
        (s, {"first_origin": s[a]["last_origin"], "last_label": s[b]["first_origin"], "n": None})
        for s in shown
        for a, b in (("train", "valid"), ("valid", "test"))
    ]
    return [*bars, _bar("purged gap", OTHER, "", gaps)]


def _bar(
    name: str, colour: str, hatch: str, items: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> go.Bar:
    gap = name == "purged gap"
    return go.Bar(
        orientation="h",
        y=[plain(split["name"], 14) for split, _ in items],
        base=[part["first_origin"] for _, part in items],
        x=[_length(part["first_origin"], part["last_label"]) for _, part in items],
        name=name,
        marker={
            "color": colour,
            "opacity": 0.6 if name == "trains" else 1,
            "line": {"color": colour, "width": 2 if gap else 1},
            "pattern": {
                "shape": hatch,
                "fgcolor": "rgba(255,255,255,0.55)",
                "bgcolor": colour,
                "size": 5,
                "solidity": 0.25,
            }
            if hatch
            else None,
        },
        customdata=[[part["first_origin"], part["last_label"], part["n"]] for _, part in items],
        hovertemplate=f"%{{y}}, {name}<br>%{{customdata[0]}} to %{{customdata[1]}}"
        + ("" if gap else "<br>%{customdata[2]} windows")
        + "<extra></extra>",
    )


def _length(start: Any, stop: Any) -> float:
    """Rows, or milliseconds."""
    if not isinstance(start, str):
        return float(stop - start)
    return float((datetime.fromisoformat(stop) - datetime.fromisoformat(start)).total_seconds() * 1000)


def _add_overview(drawn: go.Figure, overview: Mapping[str, Any], top: float) -> None:
    edge = {"mode": "lines", "line": {"color": LINE, "width": 1}, "yaxis": "y2", "showlegend": False}
    drawn.add_trace(go.Scatter(x=overview["time"], y=rounded(overview["low"]), hoverinfo="skip", **edge))
    drawn.add_trace(
        go.Scatter(
            x=overview["time"],
            y=rounded(overview["high"]),
            fill="tonexty",
            fillcolor=GRID,
            customdata=rounded(overview["low"]),
            hovertemplate="%{x}: %{customdata:.6~g} to %{y:.6~g}<extra></extra>",
            **edge,
        )
    )
    drawn.update_layout(
        yaxis2={
            "domain": [top + 0.04, 1],
            "anchor": "x",
            "nticks": 3,
            "zeroline": False,
        }
    )
    drawn.add_annotation(
        text=plain(overview.get("target", ""), 40),
        x=0,
        xref="paper",
        xanchor="left",
        y=1,
        yref="paper",
        yanchor="bottom",
        showarrow=False,
        font={"size": 11},
    )
