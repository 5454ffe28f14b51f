"""Learning curves of several runs over each other."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from heldout.check import InputError
from heldout.plots.theme import HELDOUT, NAIVE, OTHER, TRAIN, VALID, figure
from heldout.plots.values import number, plain, rounded, whole_ticks

_COLOURS = (HELDOUT, NAIVE, VALID, TRAIN, OTHER)
_SYMBOLS = ("diamond", "circle", "square", "triangle-up", "x")


def overlaid_curves(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> go.Figure:
    """Training and validation loss of the fits of several runs, on one scale.

    Parameters
    ----------
    runs : mapping of str to sequence of mapping
        By run: its fits as in `heldout.plots.curves.learning_curves`. At most five runs are drawn, of each at most three fits.

    Returns
    -------
    plotly.graph_objects.Figure
        A colour per run, training dashed, validation solid, the kept epoch marked.

    Raises
    ------
    InputError
        If no run has a fit.

    Examples
    --------
    >>> epochs = [{"epoch": n, "train_loss": 1 / (n + 1), "valid_loss": 1.0} for n in range(3)]
    >>> fit = {"label": "final, seed 0", "epochs": epochs, "best_epoch": 1}
    >>> overlaid_curves({"a": [fit], "b": [fit]}).layout.meta["title"]
    'Learning curves of the final fits: training dashed, validation solid'
    """
    drawn_runs = {name: [fit for fit in fits if fit["epochs"]][:3] for name, fits in runs.items()}
    drawn_runs = dict([(name, fits) for name, fits in drawn_runs.items() if fits][: len(_COLOURS)])
    if not drawn_runs:
        raise InputError("no run has a learning curve")
    title = "Learning curves of the final fits: training dashed, validation solid"
    told = "; ".join(
        f"{name} keeps epoch {fits[0]['best_epoch']} at a validation loss of {number(_kept(fits[0])['valid_loss'])}"
        for name, fits in drawn_runs.items()
    )
    left = len(runs) - len(drawn_runs)
    drawn = figure(
        title,
        f"{title}. {told}.",
        height=340,
        note=f"{left} of {len(runs)} runs are not drawn." if left else "",
    )
    for (name, fits), colour, symbol in zip(drawn_runs.items(), _COLOURS, _SYMBOLS, strict=False):
        for place, fit in enumerate(fits):
            drawn.add_traces(_traces(name, fit, colour, symbol, legend=place == 0))
    epochs = [e["epoch"] for fits in drawn_runs.values() for fit in fits for e in fit["epochs"]]
    drawn.update_xaxes(title_text="epoch", showgrid=False, zeroline=False, **whole_ticks(epochs))
    drawn.update_yaxes(title_text="loss", zeroline=False)
    return drawn


def _kept(fit: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((e for e in fit["epochs"] if e["epoch"] == fit["best_epoch"]), fit["epochs"][-1])


def _traces(name: str, fit: Mapping[str, Any], colour: str, symbol: str, *, legend: bool) -> list[go.Scatter]:
    label, kept = plain(name, 24), _kept(fit)
    traces = [
        go.Scatter(
            x=[e["epoch"] for e in fit["epochs"]],
            y=rounded([e[key] for e in fit["epochs"]], 5),
            mode="lines",
            showlegend=False,
            legendgroup=label,
            line={"color": colour, "dash": dash, "width": 1.6},
            hovertemplate=f"{label}, {plain(fit['label'])}, epoch %{{x}}<br>{what}: %{{y:.4~g}}<extra></extra>",
        )
        for key, what, dash in (("train_loss", "training", "dash"), ("valid_loss", "validation", "solid"))
    ]
    traces.append(
        go.Scatter(
            x=[kept["epoch"]],
            y=rounded([kept["valid_loss"]], 5),
            mode="markers",
            name=label,
            showlegend=legend,
            legendgroup=label,
            marker={"symbol": symbol, "size": 9, "color": colour},
            hovertemplate=f"{label} keeps epoch %{{x}}<extra></extra>",
        )
    )
    return traces
