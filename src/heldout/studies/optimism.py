"""Optimism and drift apart: what a model loses when the samples are new, and what it loses when the time is.

``future - train = (in_period - train) + (future - in_period)``: the first is optimism, the second is drift. The middle
one is measured on blocks inside the training period that one extra fit does not see.
"""

from dataclasses import replace
from math import inf, isfinite, sqrt
from typing import Any

import numpy as np
from scipy import stats

from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.data.splits import Fold, Span
from heldout.studies.compare import Interval, block_t, skill
from heldout.studies.ledger import Finished
from heldout.studies.scale import by_moment
from heldout.studies.study import Context

_BLOCKS = (4, 3, 2, 1)  # tried in this order
_SHARE = 0.15  # of the training period is held out
_LEFT = 0.6  # of the training samples must remain once windows that touch a block are dropped


def hold_out_inside(fold: Fold, data: SeriesData, lookback: int) -> Fold | None:
    """Keep blocks inside the training period out of it.

    About 15 % of the period, in four equal blocks evenly placed, or fewer where the windows that touch a block would
    cost more than 40 % of the training samples.

    Parameters
    ----------
    fold : Fold
        Without held blocks.
    data : SeriesData
        The series.
    lookback : int
        Rows in a window.

    Returns
    -------
    Fold or None
        None where the period is too short for a single block.

    References
    ----------
    Purge on both sides of a block and an embargo of the window behind it: López de Prado (2018), Advances in Financial
    Machine Learning, chapter 7.
    """
    rows = fold.train.rows(data, lookback)
    times = np.unique(data.time[rows])
    for count in _BLOCKS:
        length = round(_SHARE * len(times) / count)
        if length < 1:
            continue
        starts = np.round((np.arange(count) + 0.5) * len(times) / count - length / 2).astype(int)
        held = tuple(
            Span(start=int(times[a]), stop=int(times[a + length]), known_by=fold.train.known_by)
            for a in starts
        )
        found = replace(fold, held=held)
        if not all(len(block.rows(data, lookback)) for block in held):
            continue
        if len(found.train_rows(data, lookback)) >= _LEFT * len(rows):
            return found
    return None


def optimism_and_drift(context: Context, fold: Fold, result: Finished) -> dict[str, Any]:
    """Tell apart what a fit with held blocks loses on new samples of its period and on new times.

    Parameters
    ----------
    context : Context
        The study.
    fold : Fold
        From `hold_out_inside`.
    result : Finished
        Of a fit on it.

    Returns
    -------
    dict
        ``train``, ``in_period``, ``future``: mean losses on the scoring scale; ``naive``: those of the last value, whose
        changes say how the difficulty differs; ``skill``: against the last value, per part, which takes that out;
        ``optimism`` and ``drift``: differences of losses. Each with ``mean``, ``low``, ``high`` at 95 %.
        ``n_train``, ``n_in_period``, ``n_future``: samples; ``blocks``.

    Notes
    -----
    The parts are intervals over blocks of time (`heldout.studies.compare.block_t`), the differences Welch's.
    """
    parts = {"train": "train_", "in_period": "held_", "future": ""}
    spans: dict[str, Interval] = {}
    naive: dict[str, float] = {}
    skills: dict[str, dict[str, float | None]] = {}
    counts: dict[str, int] = {}
    for name, prefix in parts.items():
        rows = result.arrays[f"{prefix}origin"]
        own = by_moment(result.arrays[f"{prefix}loss"], context.data, rows)
        last = by_moment(_last_value_losses(context, rows), context.data, rows)
        spans[name], naive[name] = block_t(own), float(last.mean())
        if naive[name] > 0:
            skills[name] = _ends(skill(own, last))
        counts[f"n_{name}"] = len(rows)
    return {
        **{name: span.mean for name, span in spans.items()},
        "naive": naive,
        "skill": skills,
        "optimism": _difference(spans["in_period"], spans["train"]),
        "drift": _difference(spans["future"], spans["in_period"]),
        **counts,
        "blocks": len(fold.held),
    }


def _last_value_losses(context: Context, rows: IntArray) -> FloatArray:
    targets = context.scale.targets(context.data)
    truth = targets[rows[:, None] + context.data.steps]
    return context.scale.losses(np.broadcast_to(targets[rows][:, None], truth.shape), truth)


def _ends(interval: Interval) -> dict[str, float | None]:
    low, high = (x if isfinite(x) else None for x in (interval.low, interval.high))
    return {"mean": interval.mean, "low": low, "high": high}


def _difference(later: Interval, earlier: Interval) -> dict[str, float | None]:
    """Welch's interval of the difference of two means; no ends where one of them has no interval."""
    mean, se = later.mean - earlier.mean, sqrt(later.se**2 + earlier.se**2)
    if se in (0.0, inf):
        return {"mean": mean, "low": None, "high": None}
    df = se**4 / (later.se**4 / later.df + earlier.se**4 / earlier.df)
    reach = float(stats.t.ppf(0.975, df)) * se
    return {"mean": mean, "low": mean - reach, "high": mean + reach}
