"""Figures of training: both losses epoch by epoch, and what of the gap between them is overfitting."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from heldout.check import InputError
from heldout.plots.terms import SERIES, Terms
from heldout.plots.theme import NAIVE, OTHER, TEST, TRAIN, VALID, figure
from heldout.plots.values import (
    FloatArray,
    even,
    log_axis,
    number,
    numbers,
    percent,
    plain,
    rounded,
    span,
    whole_ticks,
)

_MOST_PANELS, _MOST_SEEDS, _MOST_EPOCHS = 12, 8, 150
_LEVEL = 0.01  # a rise that is below one per cent is none


def learning_curves(runs: Sequence[Mapping[str, Any]], *, terms: Terms = SERIES) -> go.Figure:
    """Training and validation loss epoch by epoch, a panel per fold, all on one scale; the kept epoch is marked.

    Parameters
    ----------
    runs : sequence of mapping
        ``label`` ("fold 1, seed 0": what stands before the comma names the panel), ``epochs`` (a list of ``epoch``,
        ``train_loss``, ``valid_loss``) and ``best_epoch``.
    terms : Terms, default SERIES
        What rows are called.

    Returns
    -------
    plotly.graph_objects.Figure
        Training dashed, validation solid; at most 12 panels of 8 fits, evenly chosen, which the figure says.

    Raises
    ------
    InputError
        If no fit has an epoch.

    Examples
    --------
    >>> epochs = [{"epoch": n, "train_loss": 1 / (n + 1), "valid_loss": 1 + (n - 2) ** 2} for n in range(5)]
    >>> figure = learning_curves([{"label": "fold 1, seed 0", "epochs": epochs, "best_epoch": 2}])
    >>> figure.layout.meta["title"]
    'The best epoch was 2; training on would have raised the validation loss by 400 %'
    """
    runs = [run for run in runs if run["epochs"]]
    if not runs:
        raise InputError("no fit has a history: there is no learning curve to draw")
    panels: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        panels.setdefault(str(run["label"]).partition(",")[0], []).append(run)
    names = [list(panels)[n] for n in even(len(panels), _MOST_PANELS)]
    shown = {name: [panels[name][n] for n in even(len(panels[name]), _MOST_SEEDS)] for name in names}
    n_shown = sum(map(len, shown.values()))
    title, text = _curve_words(runs)
    columns = 1 if len(names) == 1 else 2
    rows = -(-len(names) // columns)
    drawn = figure(
        title,
        text,
        height=(300 if rows == 1 else 170 * rows + 40),
        note="" if n_shown == len(runs) else f"{n_shown} of {len(runs)} fits are drawn, evenly chosen.",
        above=18 if len(names) > 1 else 0,
    )
    make_subplots(
        rows,
        columns,
        shared_xaxes="all",
        shared_yaxes="all",
        horizontal_spacing=0.03,
        vertical_spacing=min(0.12, 0.28 / rows),
        subplot_titles=[plain(name, 24) for name in names] if len(names) > 1 else None,
        figure=drawn,
    )
    for place, name in enumerate(names):
        for number_in_panel, run in enumerate(shown[name]):
            legend = place == 0 and number_in_panel == 0
            drawn.add_traces(
                _curve_traces(run, terms.rows, legend=legend),
                rows=place // columns + 1,
                cols=place % columns + 1,
            )
    _curve_axes(drawn, [run for part in shown.values() for run in part], rows)
    return drawn


def _curve_words(runs: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Title and description."""
    best = np.array([run["best_epoch"] for run in runs])
    at_best, last, fitted = [], [], []
    for run in runs:
        kept = next((e for e in run["epochs"] if e["epoch"] == run["best_epoch"]), run["epochs"][-1])
        at_best.append(kept["valid_loss"])
        fitted.append(kept["train_loss"])
        last.append(run["epochs"][-1]["valid_loss"])
    rise = float(np.nanmedian(numbers(last) / np.where(numbers(at_best) == 0, np.nan, numbers(at_best)))) - 1
    which = (
        f"{best[0]}"
        if len(runs) == 1
        else f"{np.sort(best)[(len(best) - 1) // 2]} in the median of {len(runs)} fits"
    )
    ended = np.array([run["epochs"][-1]["epoch"] for run in runs])
    falling = (best == ended) & (ended > 0)
    over = float(np.nanmedian([_above_lowest(run) for run in runs]))
    if (best == 0).mean() > 0.5:
        title = f"Training did not lower the validation loss: epoch 0 was best{_of((best == 0).sum(), runs)}"
    elif falling.mean() > 0.5 and over > _LEVEL:
        title = f"The last epoch was kept, at a validation loss {percent(over, sign=False)} above the lowest{_of(falling.sum(), runs)}"
    elif falling.mean() > 0.5:
        title = f"The validation loss was still falling when training ended{_of(falling.sum(), runs)}"
    elif rise > _LEVEL:
        title = f"The best epoch was {which}; training on would have raised the validation loss by {percent(rise, sign=False)}"
    else:
        title = (
            f"The best epoch was {which}; training on would have changed the validation loss by less than 1 %"
        )
    kept = f"kept epochs range from {best.min()} to {best.max()}"
    if best.min() == best.max():
        kept = f"epoch {best[0]} is kept{' in all fits' if len(runs) > 1 else ''}"
    text = (
        f"{title}. At the kept epochs the median training loss is {number(float(np.nanmedian(numbers(fitted))))} and the median "
        f"validation loss {number(float(np.nanmedian(numbers(at_best))))}; {kept}."
    )
    return title, text


def _above_lowest(run: Mapping[str, Any]) -> float:
    """How far the last validation loss lies above the lowest, as a share of that."""
    valid = numbers([entry["valid_loss"] for entry in run["epochs"]])
    lowest = float(valid[np.isfinite(valid)].min(initial=np.inf))
    return float(valid[-1] / lowest - 1) if 0 < lowest < np.inf else 0.0


def _of(count: int, runs: Sequence[Any]) -> str:
    return f" in {count} of {len(runs)} fits" if len(runs) > 1 else ""


def _curve_traces(run: Mapping[str, Any], rows: str, *, legend: bool) -> list[go.Scatter]:
    epochs = run["epochs"]
    keep = set(even(len(epochs), _MOST_EPOCHS).tolist())
    kept = [e for n, e in enumerate(epochs) if n in keep or e["epoch"] == run["best_epoch"]]
    label = plain(run["label"])
    traces = []
    for key, name, colour, dash in (
        ("train_loss", f"training {rows}", TRAIN, "dash"),
        ("valid_loss", f"validation {rows}", VALID, "solid"),
    ):
        traces.append(
            go.Scatter(
                x=[e["epoch"] for e in kept],
                y=rounded([e[key] for e in kept], 5),
                mode="lines",
                name=name,
                legendgroup=key,
                showlegend=legend,
                line={"color": colour, "dash": dash, "width": 1.8},
                hovertemplate=f"{label}, epoch %{{x}}<br>{name}: %{{y:.4~g}}<extra></extra>",
            )
        )
    best = [e for e in epochs if e["epoch"] == run["best_epoch"]]
    traces.append(
        go.Scatter(
            x=[e["epoch"] for e in best],
            y=rounded([e["valid_loss"] for e in best], 5),
            mode="markers",
            name="kept epoch",
            legendgroup="best",
            showlegend=legend,
            marker={"symbol": "diamond", "size": 9, "color": NAIVE},
            hovertemplate=f"{label}: epoch %{{x}} is kept<br>validation {rows}: %{{y:.4~g}}<extra></extra>",
        )
    )
    return traces


def _curve_axes(drawn: go.Figure, runs: Sequence[Mapping[str, Any]], rows: int) -> None:
    """One scale for all panels; logarithmic where the losses fall more than tenfold."""
    every = numbers([e[key] for run in runs for e in run["epochs"] for key in ("train_loss", "valid_loss")])
    every = every[np.isfinite(every)]
    log = len(every) and every.min() > 0 and every.max() > 10 * every.min()
    scale = log_axis(every.min(), every.max()) if log else {"nticks": 5}
    drawn.update_yaxes(zeroline=False, **scale)
    epochs = [e["epoch"] for run in runs for e in run["epochs"]]
    drawn.update_xaxes(showgrid=False, zeroline=False, nticks=6, **whole_ticks(epochs))
    drawn.update_xaxes(title_text="epoch", row=rows)
    for row in range(1, rows + 1):
        drawn.update_yaxes(title_text="loss", row=row, col=1)
    drawn.update_annotations(font={"size": 12})


def optimism_chart(overfit: Mapping[str, Any]) -> go.Figure:
    """From the loss on training rows to that on later rows, in two steps: optimism and drift.

    Parameters
    ----------
    overfit : mapping
        ``train``, ``in_period``, ``future`` (mean losses), ``optimism`` and ``drift`` (each ``mean``, ``low``,
        ``high``: the differences between neighbours), ``n_train``, ``n_in_period``, ``n_future``.

    Returns
    -------
    plotly.graph_objects.Figure
        The bar at the second and third point is the interval of the step that leads there; a step in per cent is that of
        the loss it starts from.

    Raises
    ------
    InputError
        If the decomposition was not possible.

    Examples
    --------
    >>> step = {"mean": 0.2, "low": 0.1, "high": 0.3}
    >>> parts = {"train": 1.0, "in_period": 1.2, "future": 1.4, "optimism": step, "drift": step}
    >>> optimism_chart(parts).layout.meta["title"]
    'Unseen rows cost 20 % more than training rows, later rows 16.7 % more than those'
    """
    if overfit.get("why_not") or overfit.get("train") is None:
        raise InputError(str(overfit.get("why_not") or "optimism and drift were not measured in this run"))
    values = numbers([overfit["train"], overfit["in_period"], overfit["future"]])
    steps = [overfit.get("optimism") or {}, overfit.get("drift") or {}]
    title = _optimism_title(values, steps)
    told = ", ".join(
        f"{name} {number(step.get('mean'))} {span(step.get('low'), step.get('high'))}".strip()
        for name, step in zip(("optimism", "drift"), steps, strict=True)
    )
    text = f"{title}. Loss {number(values[0])} on training rows, {number(values[1])} on unseen rows of the same period, {number(values[2])} on later rows; {told}."
    naive = overfit.get("naive") or {}
    others = [number(naive[key]) for key in ("train", "in_period", "future") if naive.get(key) is not None]
    note = f"The last value's loss on these rows: {', '.join(others)}." if others else ""
    drawn = figure(title, " ".join([text, note]).strip(), height=300, note=note)
    _optimism_traces(drawn, overfit, values, steps)
    drawn.update_xaxes(
        tickvals=[0, 1, 2],
        ticktext=["training<br>rows", "unseen rows,<br>same period", "later<br>rows"],
        range=[-0.4, 2.6],
        showgrid=False,
        zeroline=False,
    )
    drawn.update_yaxes(title_text="mean loss", zeroline=False, nticks=6)
    drawn.update_layout(showlegend=False)
    return drawn


def _optimism_title(values: FloatArray, steps: Sequence[Mapping[str, Any]]) -> str:
    if not (values[:2] > 0).all():
        return "From training rows over unseen rows of the same period to later rows"
    first, second = (
        f"{percent(abs(size), sign=False)} {'more' if size >= 0 else 'less'}{than}{_doubt(step)}"
        for size, step, than in zip(
            np.diff(values) / values[:2], steps, (" than training rows", " than those"), strict=True
        )
    )
    return f"Unseen rows cost {first}, later rows {second}"


def _doubt(step: Mapping[str, Any]) -> str:
    low, high = step.get("low"), step.get("high")
    if low is None or high is None:
        return " (no interval)"
    return "" if low > 0 or high < 0 else " (within the noise)"


def _optimism_traces(
    drawn: go.Figure, overfit: Mapping[str, Any], values: FloatArray, steps: Sequence[Mapping[str, Any]]
) -> None:
    drawn.add_trace(
        go.Scatter(
            x=[0, 1, 2],
            y=rounded(values),
            mode="lines",
            line={"color": OTHER, "dash": "dot"},
            hoverinfo="skip",
        )
    )
    looks = ((TRAIN, "circle", "n_train"), (VALID, "square", "n_in_period"), (TEST, "diamond", "n_future"))
    for n, (colour, symbol, count) in enumerate(looks):
        drawn.add_trace(_point(n, float(values[n]), steps[n - 1] if n else {}, colour, symbol))
        rows = "" if overfit.get(count) is None else f"<br>{overfit[count]} rows"
        drawn.data[-1].hovertemplate += f"{rows}<extra></extra>"
    for n, name in enumerate(("optimism", "drift")):
        size = float(values[n + 1] - values[n])
        share = f"<br>{percent(size / values[n])}" if values[n] > 0 else f"<br>{number(size)}"
        drawn.add_annotation(
            x=n + 0.5,
            y=float(values[n : n + 2].mean()),
            text=name + share,
            showarrow=False,
            xanchor="right" if size > 0 else "left",
            xshift=6 if size > 0 else -6,
            yshift=20,
        )


def _point(n: int, value: float, step: Mapping[str, Any], colour: str, symbol: str) -> go.Scatter:
    low, high = step.get("low"), step.get("high")
    known = low is not None and high is not None
    told = f"{'optimism' if n == 1 else 'drift'} {number(step.get('mean'))} {span(low, high)}" if n else ""
    return go.Scatter(
        x=[n],
        y=rounded([value]),
        mode="markers+text",
        text=[f"  {number(value)}"],
        textposition="middle right" if n == 2 else "bottom right",
        marker={"size": 13, "color": colour, "symbol": symbol},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": rounded([high - step["mean"] if known else 0]),
            "arrayminus": rounded([step["mean"] - low if known else 0]),
            "thickness": 2,
            "width": 6,
        },
        hovertemplate=f"loss {number(value)}" + (f"<br>{told}" if told else ""),
    )
