"""What a run records of its data, for whoever reads the report without having the table."""

from typing import Any

import numpy as np

from heldout.data.prepare import Prepare
from heldout.data.series import SeriesData
from heldout.data.splits import stamps
from heldout.plots.values import envelope


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
        "has_time": data.frequency.name != "row",
        "first": first,
        "last": last,
        "columns": [
            _column(data, prepare, name, role)
            for role, names in roles.items()
            for name in sorted(names, key=data.columns.index)
        ]
        + [{"name": name, "role": "static"} for name in data.static_names],
        "overview": [
            {"target": name, "series": str(data.ids[longest])}
            | envelope(stamps(data.time[start:stop], data), data.values[start:stop, data.columns.index(name)])
            for name in data.targets
        ],
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


def _number(value: float) -> float:
    """Six digits are enough for eyes."""
    return float(f"{value:.6g}")
