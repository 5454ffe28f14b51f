"""What a run records of its data and its splits, for whoever reads the report without having the table."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from heldout.data.prepare import Prepare
from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.data.splits import Fold

_BINS = 500


def describe_data(data: SeriesData, prepare: Prepare) -> dict[str, Any]:
    """Describe the columns, and draw each target of the longest series in at most 500 strokes.

    Parameters
    ----------
    data : SeriesData
        All rows.
    prepare : Prepare
        Learned by the final model: transforms, and how many training values it held at its outlier bounds.

    Returns
    -------
    dict
        JSON-able: ``n_rows``, ``n_series``, ``frequency``, ``has_time``, ``first``, ``last``, ``columns``, ``overview``.
    """
    roles = {
        "target": data.targets,
        "past": data.past,
        "future": data.future,
        "ignored": tuple(set(data.columns) - {*data.targets, *data.past, *data.future}),
    }
    longest = int(np.diff(data.offsets).argmax())
    start, stop = data.offsets[longest], data.offsets[longest + 1]
    first, last = stamps(np.array([data.time.min(), data.time.max()]), data)
    return {
        "n_rows": data.n_rows,
        "n_series": len(data.ids),
        "frequency": data.frequency.name,
        "has_time": _has_time(data),
        "first": first,
        "last": last,
        "columns": [
            _column(data, prepare, name, role)
            for role, names in roles.items()
            for name in sorted(names, key=data.columns.index)
        ]
        + [{"name": name, "role": "static"} for name in data.static_names],
        "overview": [
            {"target": name, "series": str(data.ids[longest])} | _strokes(data, name, int(start), int(stop))
            for name in data.targets
        ],
    }


def describe_splits(data: SeriesData, folds: tuple[Fold, ...], lookback: int) -> list[dict[str, Any]]:
    """Give the first and last origin, the last label and the number of samples of each part of each fold.

    Parameters
    ----------
    data : SeriesData
        The series.
    folds : tuple of Fold
        From `heldout.data.splits.split_series`.
    lookback : int
        Rows in a window.

    Returns
    -------
    list of dict
        JSON-able: ``name``, ``train``, ``valid``, ``test``, each ``first_origin``, ``last_origin``, ``last_label``, ``n``.
    """
    return [
        {"name": fold.name}
        | {part: _span(data, getattr(fold, part).rows(data, lookback)) for part in ("train", "valid", "test")}
        for fold in folds
    ]


def stamps(time: IntArray, data: SeriesData) -> list[Any]:
    """Give times as ISO text, or as row numbers where the table has no time."""
    if not _has_time(data):
        return [int(t) for t in time]
    return [str(t).removesuffix("T00:00:00") for t in time.astype("datetime64[us]").astype("datetime64[s]")]


def _has_time(data: SeriesData) -> bool:
    return data.frequency.name != "row"


def _span(data: SeriesData, rows: IntArray) -> dict[str, Any]:
    last = rows[np.argmax(data.time[rows])] + data.horizon
    ends = np.array([data.time[rows].min(), data.time[rows].max(), data.time[last]])
    return dict(zip(("first_origin", "last_origin", "last_label"), stamps(ends, data), strict=True)) | {
        "n": len(rows)
    }


def _column(data: SeriesData, prepare: Prepare, name: str, role: str) -> dict[str, Any]:
    values = data.values[:, data.columns.index(name)]
    known = values[~np.isnan(values)]
    used = name in prepare.columns
    place = prepare.columns.index(name) if used else 0
    return {
        "name": name,
        "role": role,
        "missing": int(len(values) - len(known)),
        "minimum": _number(known.min()) if len(known) else None,
        "maximum": _number(known.max()) if len(known) else None,
        "mean": _number(known.mean()) if len(known) else None,
        "sd": _number(known.std()) if len(known) else None,
        "transform": prepare.transforms[place] if used else None,
        "held": prepare.clipped[place] if used else 0,
    }


def _strokes(data: SeriesData, name: str, start: int, stop: int) -> dict[str, Any]:
    """Least and greatest value of each of at most 500 equal stretches of rows."""
    values = data.values[start:stop, data.columns.index(name)]
    edges = np.linspace(0, stop - start, min(_BINS, stop - start) + 1).astype(np.int64)[:-1]
    filled: NDArray[np.bool_] = np.add.reduceat(~np.isnan(values), edges) > 0
    low: FloatArray = np.fmin.reduceat(values, edges)[filled]
    high: FloatArray = np.fmax.reduceat(values, edges)[filled]
    return {
        "time": stamps(data.time[start:stop][edges[filled]], data),
        "low": [_number(x) for x in low],
        "high": [_number(x) for x in high],
    }


def _number(value: float) -> float:
    """Six digits are enough for eyes."""
    return float(f"{value:.6g}")
