"""One look for all figures: colours that colour-blind readers and grey printers can tell apart, no background, few lines.

Colours have one meaning throughout: `HELDOUT` is the model and its forecast, `OTHER` the truth and the baselines,
`NAIVE` the last value, and `TRAIN`, `VALID` and `TEST` the three parts of a fold. All text takes ``layout.font.color``,
so a page in dark mode has one colour to change.
"""

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from heldout.plots.values import plain, wrapped

# Okabe & Ito (2008), those with enough contrast on white and on black.
HELDOUT = "#0072B2"
NAIVE = "#D55E00"
TRAIN = "#CC79A7"
VALID = "#009E73"
TEST = "#D55E00"
OTHER = "#808080"
TEXT = "#757575"
GRID = "rgba(128,128,128,0.22)"
LINE = "rgba(128,128,128,0.75)"
BAND = "rgba(0,114,178,0.20)"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_TITLE_PX, _NOTE_PX = 14, 12


def template() -> go.layout.Template:
    """The common look, for ``figure.update_layout(template=...)``.

    Returns
    -------
    plotly.graph_objects.layout.Template
        Transparent, so that it stands on light and dark pages.
    """
    axis = {
        "gridcolor": GRID,
        "zerolinecolor": LINE,
        "zerolinewidth": 1,
        "linecolor": LINE,
        "automargin": True,
        "fixedrange": True,
        "title": {"standoff": 8, "font": {"size": 12}},
    }
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 12, "color": TEXT},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": [HELDOUT, NAIVE, VALID, TRAIN, OTHER],
            "xaxis": axis,
            "yaxis": axis,
            "hoverlabel": {
                "font": {"family": FONT, "size": 12, "color": "#1a1a1a"},
                "bgcolor": "#f4f4f4",
                "bordercolor": OTHER,
                "align": "left",
            },
            "legend": {
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "xref": "container",
                "y": 0,
                "yanchor": "bottom",
                "yref": "container",
                "bgcolor": "rgba(0,0,0,0)",
                "itemwidth": 30,
                "traceorder": "normal",
            },
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": OTHER, "activecolor": HELDOUT},
            "dragmode": False,
            "bargap": 0.25,
        }
    )


def figure(title: str, description: str, *, height: int = 320, note: str = "", above: int = 0) -> go.Figure:
    """An empty figure with the common look.

    Parameters
    ----------
    title : str
        What the figure says; broken into lines that fit a phone.
    description : str
        The same with the numbers, one plain sentence for readers who cannot see it.
    height : int, default 320
        Of the part below the title, pixels.
    note : str, default ""
        A smaller line under the title: what was left out.
    above : int, default 0
        Pixels between title and axes, for names of panels.

    Returns
    -------
    plotly.graph_objects.Figure
        ``layout.meta`` holds ``title``, ``note`` and ``description`` as plain text.
    """
    lines = wrapped(title)
    note_lines = wrapped(note, 52)
    top = 20 * (lines.count("<br>") + 1) + 14 if title else 12
    top += 17 * (note_lines.count("<br>") + 1) + 6 if note else 0
    return go.Figure(
        layout={
            "template": template(),
            "title": _title(lines, note_lines),
            "height": height + top + above,
            "margin": {"l": 8, "r": 12, "t": top + above, "b": 8},
            "meta": {"title": title, "note": note, "description": description, "above": above},
        }
    )


def _title(lines: str, note_lines: str) -> Mapping[str, Any]:
    place = {"x": 0, "xref": "container", "xanchor": "left", "y": 1, "yref": "container", "yanchor": "top"}
    # Plotly moves a single line down by its own height and of several none.
    down = 18 if "<br>" in lines else 6
    found: dict[str, Any] = {
        "text": lines,
        "font": {"size": _TITLE_PX, "weight": 600},
        "pad": {"t": down, "l": 4},
        **place,
    }
    if note_lines:
        found["subtitle"] = {"text": note_lines, "font": {"size": _NOTE_PX}}
    return found


def without_title(drawn: go.Figure) -> go.Figure:
    """A copy without its title, for a page that writes ``layout.meta["title"]`` and ``["note"]`` as text of its own.

    Parameters
    ----------
    drawn : plotly.graph_objects.Figure
        From a function of this package.

    Returns
    -------
    plotly.graph_objects.Figure
        As much lower as the title was high.
    """
    bare = go.Figure(drawn)
    top = 12 + (bare.layout.meta or {}).get("above", 0)
    bare.update_layout(title=None, height=bare.layout.height - bare.layout.margin.t + top, margin_t=top)
    return bare


def label_axes(drawn: go.Figure, *, x: str | None = None, y: str | None = None) -> go.Figure:
    """Give a figure's axes their titles, whatever characters these hold.

    Parameters
    ----------
    drawn : plotly.graph_objects.Figure
        Changed in place.
    x, y : str, optional
        For example the target's column name.

    Returns
    -------
    plotly.graph_objects.Figure
        The same figure.
    """
    if x is not None:
        drawn.update_xaxes(title_text=plain(x, 40))
    if y is not None:
        drawn.update_yaxes(title_text=plain(y, 40))
    return drawn
