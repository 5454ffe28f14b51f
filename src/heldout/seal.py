"""The seal on the test rows: every look at them is counted, whatever lookback, horizon or test size it was taken with."""

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from heldout.check import InputError
from heldout.data.series import IntArray, SeriesData
from heldout.runs import Run
from heldout.studies.ledger import Ledger
from heldout.training.lags import thin

if TYPE_CHECKING:  # needs the extra `text`
    from heldout.data.text_table import TextData

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
    sealed = np.unique(rows[:, None] + data.steps)
    return _count(run, ledger, _probes(data, sealed), lambda found: _overlaps(found, data, sealed))


def take_text_look(run: Run, ledger: Ledger, data: "TextData", rows: IntArray) -> int:
    """Record a look at sealed texts, once per run, and count all looks at sets of texts that overlap with them.

    Parameters
    ----------
    run, ledger
        As in `take_look`.
    data : TextData
        The texts.
    rows : array of shape (n,), int64
        Those of the sealed test.

    Returns
    -------
    int
        Looks so far, this one included: in this run and in every run beside it that had one of the same texts sealed.
    """
    sealed = [hashlib.sha256(data.texts[row].encode()).hexdigest()[:16] for row in rows]
    probes = {"texts": [sealed[k] for k in thin(len(sealed), _PROBES)]}
    return _count(run, ledger, probes, lambda found: not set(sealed).isdisjoint(found.get("texts", ())))


def _count(
    run: Run, ledger: Ledger, probes: dict[str, Any], overlaps: Callable[[dict[str, Any]], bool]
) -> int:
    """Record the look with what it is recognised by, and count those that overlap with it."""
    if not ledger.looks():
        ledger.look(json.dumps(probes))
    others = [path for path in sorted(run.path.parent.glob("*/ledger.sqlite")) if path != run.ledger_path]
    details = [look.detail for look in ledger.looks()]
    for path in others:
        try:
            with Ledger(path, readonly=True) as other:
                details += [look.detail for look in other.looks()]
        except InputError:
            continue  # a stranger's file beside the run is no look
    return sum(overlaps(found) for found in map(_read, details))


def _read(detail: str) -> dict[str, Any]:
    """What a look is recognised by; a note of another kind holds nothing."""
    try:
        found = json.loads(detail)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _probes(data: SeriesData, sealed: IntArray) -> dict[str, list[list[float]]]:
    """Time and value of some sealed rows of each target."""
    chosen = sealed[thin(len(sealed), _PROBES)]
    columns = {name: data.values[chosen, data.columns.index(name)] for name in data.targets}
    return {
        name: [[int(t), float(v)] for t, v in zip(data.time[chosen], x, strict=True)]
        for name, x in columns.items()
    }


def _overlaps(probes: dict[str, list[list[float]]], data: SeriesData, sealed: IntArray) -> bool:
    """Whether any value that a look was recorded with is among the sealed ones."""
    for name in set(probes) & set(data.targets):
        looked_at = {(time, value) for time, value in probes[name]}
        times = data.time[sealed]
        here = np.isin(times, [int(time) for time, _ in looked_at])
        values = data.values[sealed[here], data.columns.index(name)]
        if looked_at & set(zip(times[here].tolist(), values.tolist(), strict=True)):
            return True
    return False
