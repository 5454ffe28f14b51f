"""A panel seen series by series: the loss of each, and the measures of the M4 competition where a test table was given."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.data.transforms import last_known
from heldout.training.metrics import mase, owa, smape
from heldout.training.season import naive2

NAIVE2 = "naive2"


def series_scores(
    losses: FloatArray, naive: FloatArray, data: SeriesData, rows: IntArray
) -> list[dict[str, Any]]:
    """Give the mean loss of each series of a panel, and its skill against the last value.

    Parameters
    ----------
    losses, naive : array of shape (n,)
        Loss of each sample, of the model and of the last value.
    data : SeriesData
        The series.
    rows : array of shape (n,), int64
        Origins.

    Returns
    -------
    list of dict
        ``series``, ``n`` (samples), ``loss``, ``naive``, ``skill`` (1 - loss / naive, None where naive is 0), in the order
        of the data; empty where there is one series.

    Examples
    --------
    >>> import polars as pl
    >>> from heldout.data.layout import read_series
    >>> data = read_series(pl.DataFrame({"id": ["a", "a", "b", "b"], "y": [1.0, 2.0, 1.0, 3.0]}), target="y", id="id")
    >>> series_scores(np.array([1.0, 3.0]), np.array([2.0, 2.0]), data, np.array([0, 2]))[1]
    {'series': 'b', 'n': 1, 'loss': 3.0, 'naive': 2.0, 'skill': -0.5}
    """
    if len(data.ids) == 1:
        return []
    found = []
    of_row = data.series_of_row[rows]
    for number in np.unique(of_row):
        own = of_row == number
        loss, reference = float(losses[own].mean()), float(naive[own].mean())
        found.append(
            {
                "series": data.ids[number],
                "n": int(own.sum()),
                "loss": loss,
                "naive": reference,
                "skill": 1 - loss / reference if reference > 0 else None,
            }
        )
    return found


def m4_accuracy(
    data: SeriesData, rows: IntArray, forecasts: Mapping[str, FloatArray], season: int
) -> dict[str, Any]:
    """Give sMAPE, MASE and OWA as the M4 competition defines them, of some forecasts and of its reference Naive2.

    Each series is forecast once, from its first origin: its last row before the test table. With several targets each
    is a series.

    Parameters
    ----------
    data : SeriesData
        The series, test rows included.
    rows : array of shape (n,), int64
        Origins of the sealed test.
    forecasts : mapping of str to array of shape (n, S, K)
        By name, in the targets' own units.
    season : int
        Rows in a season, of MASE's scale and of Naive2; 1 for none.

    Returns
    -------
    dict
        ``definition``, a sentence, and ``rows``: ``name``, ``smape``, ``mase``, ``owa``, best OWA first. A series whose
        training rows never change over a season has no MASE and is left out of its mean, which the sentence then says.

    References
    ----------
    Makridakis, Spiliotis and Assimakopoulos 2020, The M4 competition, International Journal of Forecasting 36(1).
    """
    _, first = np.unique(data.series_of_row[rows], return_index=True)
    origins, targets = rows[first], np.stack([last_known(data, name) for name in data.targets])
    starts = data.offsets[data.series_of_row[origins]]
    pasts = [column[a : b + 1] for column in targets for a, b in zip(starts, origins, strict=True)]
    truth = np.concatenate([column[origins[:, None] + data.steps] for column in targets])
    scale = np.array([_change(past, season) for past in pasts])
    said = {
        name: np.concatenate([*forecast[first].transpose(2, 0, 1)]) for name, forecast in forecasts.items()
    }
    said[NAIVE2] = np.stack([naive2(past, season, data.horizon)[data.steps - 1] for past in pasts])
    moves = scale > 0
    smapes = {name: smape(truth, forecast) for name, forecast in said.items()}
    mases = {
        name: mase(truth[moves], forecast[moves], scale[moves, None])
        for name, forecast in said.items()
        if moves.any()
    }
    table = [_row(name, smapes, mases) for name in said]
    still = "" if moves.all() else f"; {int((~moves).sum())} series without change have no MASE"
    definition = (
        f"M4's measures over {len(pasts)} series, each forecast once from its last training row: sMAPE in %, MASE in units of the "
        f"mean absolute change over {season} training row{'s' * (season > 1)}, OWA the mean of both ratios to Naive2{still}"
    )
    return {
        "definition": definition,
        "rows": sorted(table, key=lambda row: (row["owa"] is None, row["owa"], row["smape"])),
    }


def _change(past: FloatArray, season: int) -> float:
    """Mean absolute change over a season; 0 where the series is no longer than one."""
    return float(np.abs(past[season:] - past[:-season]).mean()) if len(past) > season else 0.0


def _row(name: str, smapes: dict[str, FloatArray], mases: dict[str, FloatArray]) -> dict[str, Any]:
    percent, scaled = float(smapes[name].mean()), float(mases[name].mean()) if mases else None
    comparable = scaled is not None and smapes[NAIVE2].mean() > 0 and mases[NAIVE2].mean() > 0
    together = owa(smapes[name], mases[name], smapes[NAIVE2], mases[NAIVE2]) if comparable else None
    return {"name": name, "smape": percent, "mase": scaled, "owa": together}
