"""What intervals and quantile forecasts are worth on rows that decided nothing: coverage, width, pinball loss.

Axes: n samples, S steps ahead, K targets, Q quantiles.
"""

from collections.abc import Sequence
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.studies.compare import block_t
from heldout.studies.scale import by_moment
from heldout.training.metrics import pinball


def measure_interval(
    data: SeriesData,
    rows: IntArray,
    truth: FloatArray,
    ends: tuple[FloatArray, FloatArray],
    *,
    level: float,
    one_moment: bool = False,
) -> dict[str, Any]:
    """Measure intervals of one step and target each, and how surely.

    Parameters
    ----------
    data : SeriesData
        The series.
    rows : array of shape (n,), int64
        Origins.
    truth : array of shape (n, S, K)
        What happened.
    ends : pair of arrays of shape (n, S, K)
        Low and high, in the unit of the truth.
    level : float
        Intended coverage, in (0, 1).
    one_moment : bool, default False
        All origins are of one time: coverage differs between series, not over moments.

    Returns
    -------
    dict
        JSON-able: ``level``; ``coverage``, share of truths inside, with ``coverage_low`` and ``coverage_high``, its 95 %
        block t interval over moments (None where there are too few); ``width``, its mean; ``pinball``, the mean loss of
        both ends as quantiles; ``by_step`` with ``step``, ``coverage`` and ``width``.
    """
    low, high = ends
    inside = (truth >= low) & (truth <= high)
    share = inside.mean(axis=(1, 2))
    span = block_t(share, blocks=inf) if one_moment else block_t(by_moment(share, data, rows))
    losses = [pinball(truth, low, (1 - level) / 2), pinball(truth, high, (1 + level) / 2)]
    return {
        "level": level,
        "coverage": float(inside.mean()),
        "coverage_low": max(span.low, 0.0) if span.enough else None,
        "coverage_high": min(span.high, 1.0) if span.enough else None,
        "width": float((high - low).mean()),
        "pinball": float(np.mean(losses)),
        "by_step": [
            {"step": int(step), "coverage": _mean(inside[:, n]), "width": _mean(high[:, n] - low[:, n])}
            for n, step in enumerate(data.steps)
        ],
    }


def measure_quantiles(
    truth: FloatArray, forecasts: FloatArray, levels: Sequence[float]
) -> list[dict[str, float]]:
    """Measure quantile forecasts one by one.

    Parameters
    ----------
    truth : array of shape (n, S, K)
        What happened.
    forecasts : array of shape (n, S, K, Q)
        In the unit of the truth.
    levels : sequence of float
        Q of them.

    Returns
    -------
    list of dict
        ``level``, ``pinball`` (mean loss) and ``below``, the share of truths at or below the forecast: near the level
        where the quantile is right.

    Examples
    --------
    >>> truth = np.arange(4.0).reshape(4, 1, 1)
    >>> measure_quantiles(truth, np.full((4, 1, 1, 1), 1.5), [0.5])
    [{'level': 0.5, 'pinball': 0.5, 'below': 0.5}]
    """
    return [
        {
            "level": level,
            "pinball": _mean(pinball(truth, forecasts[..., n], level)),
            "below": _mean(truth <= forecasts[..., n]),
        }
        for n, level in enumerate(levels)
    ]


def describe_interval(entry: dict[str, Any]) -> str:
    """Say in one sentence what `measure_interval` found.

    Parameters
    ----------
    entry : dict
        With ``method``, ``promised`` and ``note`` too; ``coverage`` is None where there is no interval.

    Returns
    -------
    str
    """
    name = f"{100 * entry['level']:g} % interval{_NAMES.get(entry['method'], '')}"
    if entry["coverage"] is None:
        return f"{name}: none; {entry['note']}"
    span = (
        "too few blocks for an interval"
        if entry["coverage_low"] is None
        else f"{100 * entry['coverage_low']:.0f}, {100 * entry['coverage_high']:.0f}"
    )
    found = f"{name}: covers {100 * entry['coverage']:.0f} % [{span}] of the sealed rows, mean width {entry['width']:.4g}"
    return found if entry["promised"] else f"{found}; {entry['note']}"


_NAMES = {"mc_dropout": " of Monte Carlo dropout", "quantile": " between the outer quantiles"}


def _mean(values: FloatArray | NDArray[np.bool_]) -> float:
    return float(values.mean())
