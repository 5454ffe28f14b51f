"""The seal on the test rows: every look at them is counted, whatever lookback, horizon or test size it was taken with."""

import json
from itertools import chain

import numpy as np

from heldout.check import InputError
from heldout.data.series import IntArray, SeriesData
from heldout.runs import Run
from heldout.studies.ledger import Ledger
from heldout.training.lags import thin

_PROBES = 64  # values of each target by which sealed rows are recognised


def take_look(run: Run, ledger: Ledger, data: SeriesData, rows: IntArray) -> int:
    """Record a look at the sealed rows, once per run, and count all looks at rows that overlap with them.

    Parameters
    ----------
    run : Run
        The run; the ones beside it in its folder are counted too.
    ledger : Ledger
        The run's own, open.
    data : SeriesData
        The series.
    rows : array of shape (n,), int64
        Origins of the sealed test.

    Returns
    -------
    int
        Looks so far, this one included: in this run and in every run beside it in which one of the same targets had
        one of the same values at one of the same times in its sealed rows.
    """
    if not ledger.looks():
        ledger.look(json.dumps(_probes(data, rows)))
    others = [path for path in sorted(run.path.parent.glob("*/ledger.sqlite")) if path != run.ledger_path]
    details = [look.detail for look in ledger.looks()]
    for path in others:
        try:
            with Ledger(path, readonly=True) as other:
                details += [look.detail for look in other.looks()]
        except InputError:
            continue  # a stranger's file beside the run is no look
    return sum(_overlaps(json.loads(detail), data, rows) for detail in details)


def _probes(data: SeriesData, rows: IntArray) -> dict[str, list[list[float]]]:
    """Time and value of some sealed rows of each target."""
    sealed = np.unique(rows[:, None] + data.steps)
    chosen = sealed[thin(len(sealed), _PROBES)]
    columns = {name: data.values[chosen, data.columns.index(name)] for name in data.targets}
    return {
        name: [[int(t), float(v)] for t, v in zip(data.time[chosen], x, strict=True)]
        for name, x in columns.items()
    }


def _overlaps(probes: dict[str, list[list[float]]], data: SeriesData, rows: IntArray) -> bool:
    """Whether any of these values is among the sealed ones."""
    sealed = np.unique(rows[:, None] + data.steps)
    for name in set(probes) & set(data.targets):
        here = set(
            zip(
                data.time[sealed].tolist(),
                data.values[sealed, data.columns.index(name)].tolist(),
                strict=True,
            )
        )
        if any((time, value) in here for time, value in chain(probes[name])):
            return True
    return False
