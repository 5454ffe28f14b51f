"""Figures of the trials of a search: Optuna's own plots in the look of the others."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from heldout.check import InputError
from heldout.plots.theme import HELDOUT, NAIVE, OTHER, figure
from heldout.plots.values import log_axis, number, numbers, percent, plain, plural, rounded, whole_ticks

if TYPE_CHECKING:
    from optuna import Study

_TOP = 0.1  # share of the trials that stand out among the parallel lines
_LINES = 6  # options of a parallel plot; a phone holds no more
_COLUMNS = 2  # of slices; a phone holds no more
_TICKS = 3  # of a logarithmic slice
_AXES = ("xaxis", "yaxis")


def history_chart(study: "Study") -> go.Figure:
    """Loss of every finished trial in the order in which they were tried, and the best so far: Optuna's plot.

    Parameters
    ----------
    study : optuna.Study
        With trials.

    Returns
    -------
    plotly.graph_objects.Figure
        Trials that were stopped early are left out, which the figure says.

    Raises
    ------
    InputError
        If fewer than 2 trials are finished.
    """
    from optuna.visualization import plot_optimization_history  # noqa: PLC0415 - an extra

    complete = _complete(study)
    found = plot_optimization_history(study, target_name="loss")
    found.data = [trace for trace in found.data if trace.x is not None and len(trace.x)]
    best = min(complete, key=lambda trial: trial.value)
    title = f"The lowest loss on the inner folds came with trial {best.number}, of {plural(len(study.trials), 'trial')}"
    early = len(study.trials) - len(complete)
    told = f"{plural(len(complete), 'finished trial')}; the lowest loss is {number(best.value)}."
    drawn = _dressed(
        found,
        title,
        told,
        height=280,
        note=f"{plural(early, 'trial')} that ended early {'is' if early == 1 else 'are'} not drawn."
        if early
        else "",
    )
    for trace in drawn.data:
        line = trace.mode == "lines"
        trace.name = "best so far" if line else "a trial"
        trace.line.color = NAIVE
        trace.line.shape = "hv"
        trace.marker.color = HELDOUT
        trace.hovertemplate = f"{'best up to trial' if line else 'trial'} %{{x}}: %{{y:.4~g}}<extra></extra>"
    drawn.update_xaxes(title_text="trial", zeroline=False, nticks=8, **whole_ticks(range(len(study.trials))))
    drawn.update_yaxes(title_text="loss on the inner folds", zeroline=False, nticks=6)
    return drawn


def importance_chart(study: "Study") -> go.Figure:
    """Which options decide the loss: Optuna's plot, of PED-ANOVA.

    Parameters
    ----------
    study : optuna.Study
        With trials.

    Returns
    -------
    plotly.graph_objects.Figure
        Shares that add up to 1.

    Raises
    ------
    InputError
        If fewer than 2 trials are finished, or no option varies.

    References
    ----------
    Watanabe, Bansal and Hutter 2023, PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces,
    arXiv 2304.10255; as in `optuna.importance.PedAnovaImportanceEvaluator`.
    """
    from optuna.visualization import plot_param_importances  # noqa: PLC0415 - an extra

    complete = _complete(study)
    if len({trial.value for trial in complete}) < 2:
        raise InputError("all trials have the same loss: no option decides it")
    found = plot_param_importances(study, target_name="loss")
    bars = found.data[0] if found.data else None
    if bars is None or bars.x is None or not len(bars.x):
        raise InputError("no option varies over the finished trials")
    shares = dict(sorted(zip(bars.y, bars.x, strict=True), key=lambda pair: -pair[1]))
    first = next(iter(shares))
    told = ", ".join(f"{name} {percent(share, sign=False)}" for name, share in shares.items())
    title = f"{first} decides most of what sets good trials apart: {percent(shares[first], sign=False)}"
    drawn = _dressed(found, title, f"Share of each option: {told}.", height=26 * len(shares) + 60)
    drawn.update_traces(
        x=rounded([100 * x for x in bars.x]),
        text=[percent(x, sign=False) for x in bars.x],
        textfont={"color": None},
        marker_color=HELDOUT,
        hovertemplate="%{y}: %{x:.3~g} %<extra></extra>",
    )
    drawn.update_xaxes(title_text="importance, %", range=[0, 135 * max(shares.values())], nticks=6)
    drawn.update_yaxes(title_text=None, showgrid=False)
    drawn.update_layout(showlegend=False)
    return drawn


def slice_chart(study: "Study") -> go.Figure:
    """Loss of every finished trial against each option in turn: Optuna's plot.

    Parameters
    ----------
    study : optuna.Study
        With trials.

    Returns
    -------
    plotly.graph_objects.Figure
        Later trials are blue, earlier ones grey.

    Raises
    ------
    InputError
        If fewer than 2 trials are finished.
    """
    from optuna.visualization import plot_slice  # noqa: PLC0415 - an extra

    complete = _complete(study)
    found = plot_slice(study, target_name="loss")
    found.data = [trace for trace in found.data if trace.x is not None and len(trace.x)]
    n_panels = sum(name.startswith("xaxis") for name in found.to_plotly_json()["layout"])
    rows = -(-n_panels // _COLUMNS)
    title = f"Loss of {plural(len(complete), 'finished trial')} against each of {plural(n_panels, 'option')}"
    best = min(complete, key=lambda trial: trial.value)
    told = ", ".join(f"{name} {_written(value)}" for name, value in best.params.items())
    drawn = _dressed(
        found,
        title,
        f"The lowest, {number(best.value)}, has {told}.",
        height=190 * rows + 20,
        note="Grey: early trials, blue: late ones.",
    )
    for n in range(n_panels):
        _slice_axes(drawn, n, rows)
    scale = {"colorscale": [[0, OTHER], [1, HELDOUT]], "showscale": False, "size": 7, "opacity": 0.85}
    drawn.update_traces(marker=scale, showlegend=False, hovertemplate="%{x}: %{y:.4~g}<extra></extra>")
    return drawn


def _slice_axes(drawn: go.Figure, n: int, rows: int) -> None:
    """Put a panel into its place of the grid; Optuna's stand in one line, which no phone holds."""
    name = "" if n == 0 else str(n + 1)
    row, column = divmod(n, _COLUMNS)
    width, height = 1 / _COLUMNS, 1 / rows
    x, y = drawn.layout[f"xaxis{name}"], drawn.layout[f"yaxis{name}"]
    x.domain = [column * width + (0.04 if column else 0), (column + 1) * width - (0 if column else 0.04)]
    top = 1 - row * height
    y.domain = [top - height + 0.3 * height, top - 0.02 * height]
    x.update(showgrid=False, zeroline=False)
    y.update(zeroline=False, nticks=4, showticklabels=column == 0)
    y.title.text = "loss" if column == 0 else None
    if x.type == "log":
        values = np.concatenate([numbers(t.x) for t in drawn.data if (t.xaxis or "x") == f"x{name}"])
        if values.max() > 10 * values.min():
            x.update(_few_ticks(log_axis(float(values.min()), float(values.max()))))
        else:
            x.update(type="linear", nticks=4)
    elif x.type != "category":
        x.nticks = 4


def _few_ticks(scale: dict[str, Any]) -> dict[str, Any]:
    """No more than a narrow panel holds."""
    n = len(scale["tickvals"])
    kept = range(0, n, -(-n // _TICKS))
    return scale | {name: [scale[name][n] for n in kept] for name in ("tickvals", "ticktext")}


def parallel_chart(study: "Study") -> go.Figure:
    """Every finished trial as a line through its options and its loss: Optuna's plot.

    Parameters
    ----------
    study : optuna.Study
        With trials.

    Returns
    -------
    plotly.graph_objects.Figure
        The best tenth of the trials is drawn over the others; of many options those that matter most, which the figure says.

    Raises
    ------
    InputError
        If fewer than 2 trials are finished.
    """
    from optuna.visualization import plot_parallel_coordinate  # noqa: PLC0415 - an extra

    complete = _complete(study)
    shown, n_options = _decisive(study), len(complete[0].params)
    found = plot_parallel_coordinate(study, params=shown, target_name="loss")
    lines = [trace for trace in found.data if trace.y is not None and trace.y[0] is not None]
    if not lines:
        raise InputError("Optuna drew no lines")
    lines.sort(key=lambda trace: -float(trace.y[0]))
    n_top = max(1, round(_TOP * len(lines)))
    for rank, trace in enumerate(lines):
        top = rank >= len(lines) - n_top
        trace.line = {"color": HELDOUT if top else OTHER, "width": 2.2 if top else 1, "dash": "solid"}
        trace.opacity = 0.95 if top else 0.35
        trace.showlegend = False
    found.data = ()
    found.add_traces(lines)
    names = list(found.layout.xaxis.ticktext)
    title = (
        f"Where the best {n_top} of {plural(len(lines), 'trial')} lie"
        if n_top > 1
        else "Where the best trial lies"
    )
    best = min(complete, key=lambda trial: trial.value)
    told = ", ".join(f"{name} {_written(value)}" for name, value in best.params.items())
    drawn = _dressed(
        found,
        title,
        f"A line is a trial. The lowest loss, {number(best.value)}, has {told}.",
        height=330,
        note=f"The {len(shown)} options that matter most, of {n_options}." if len(shown) < n_options else "",
    )
    drawn.update_xaxes(ticktext=[plain(name).replace("_", "<br>") for name in names], side="bottom")
    drawn.update_xaxes(range=[-0.1, len(names) - 0.7])
    drawn.update_annotations(font={"size": 10, "color": None})
    drawn.update_layout(margin_l=44)  # the first line's numbers stand to its left
    return drawn


def _decisive(study: "Study") -> list[str]:
    """The options that matter most, as `importance_chart` has them; where none does, the first."""
    from optuna.importance import get_param_importances  # noqa: PLC0415 - an extra

    complete = _complete(study)
    every = list(complete[0].params)
    if len({trial.value for trial in complete}) > 1:
        every.sort(key=list(get_param_importances(study)).index)
    return every[:_LINES]


def _complete(study: "Study") -> list[Any]:
    """Finished trials that have a loss."""
    found = [
        trial
        for trial in study.trials
        if trial.state.name == "COMPLETE" and np.isfinite(numbers([trial.value])).all()
    ]
    if len(found) < 2:
        raise InputError(
            f"{plural(len(found), 'finished trial')} cannot be compared: there must be 2 at least"
        )
    return found


def _dressed(found: go.Figure, title: str, told: str, *, height: int, note: str = "") -> go.Figure:
    """Give a figure of Optuna the look of the others, its numbers rounded and its texts harmless."""
    drawn = figure(title, f"{title}. {told}", height=height, note=note)
    drawn.add_traces([_harmless(trace) for trace in found.to_plotly_json()["data"]])
    layout = found.to_plotly_json()["layout"]
    kept = {
        name: value
        for name, value in layout.items()
        if name.startswith(_AXES) or name in ("shapes", "annotations")
    }
    drawn.update_layout(_harmless(kept))
    drawn.update_layout(hovermode="closest")
    return drawn


def _harmless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: item if name in _OWN else _harmless(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return _harmless(value.tolist())
    if isinstance(value, list | tuple):
        return [_harmless(item) for item in value]
    if isinstance(value, float):
        return rounded([value])[0]
    return plain(value) if isinstance(value, str) else value


# What Plotly reads, and no text of the data can be.
_OWN = (
    "type",
    "mode",
    "line",
    "marker",
    "anchor",
    "matches",
    "xaxis",
    "yaxis",
    "hovertemplate",
    "xref",
    "yref",
    "layer",
)


def _written(value: Any) -> str:
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
