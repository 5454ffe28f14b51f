"""Two tables of series that were made elsewhere, one to learn from and one to judge by, held against each other."""

from dataclasses import replace

import numpy as np

from heldout.data.audit.finding import Finding, failed, passed, places
from heldout.data.audit.repeats import check_repeats
from heldout.data.series import SeriesData

CHECK = "rows in both tables"


def check_tables(train: SeriesData, test: SeriesData) -> Finding:
    """Find test rows that are training rows, or no later than some of them.

    By their times where there are times; else by stretches of equal values (`heldout.data.audit.repeats.check_repeats`).

    Parameters
    ----------
    train, test : SeriesData
        With the same columns.
    """
    if "row" in (train.frequency.name, test.frequency.name):
        return replace(check_repeats(*_below(train, test)), check=CHECK)
    known = {
        (train.ids[s], moment)
        for s, moment in zip(train.series_of_row.tolist(), train.time.tolist(), strict=True)
    }
    both = np.array(
        [
            (test.ids[s], moment) in known
            for s, moment in zip(test.series_of_row.tolist(), test.time.tolist(), strict=True)
        ]
    )
    early = test.time <= train.time.max()
    if not early.any():
        return passed(CHECK, "Every test row is later than every training row.")
    rows = np.flatnonzero(both if both.any() else early)
    said = (
        f"{int(both.sum()):,} test rows are at a time of their series that the training table holds, too"
        if both.any()
        else f"{len(rows):,} test rows are no later than the last training row"
    )
    return failed(
        CHECK,
        f"{said}: cut the table once, at one time for all series.",
        places(test, rows),
        n_rows=len(rows),
        figures={"in both": int(both.sum()), "not later": int(early.sum())},
    )


def _below(train: SeriesData, test: SeriesData) -> tuple[SeriesData, np.ndarray[tuple[int], np.dtype[np.bool_]]]:  # fmt: skip
    """The rows of both, those of the test as series of their own; and which are for training."""
    n = train.n_rows
    columns = [test.columns.index(name) for name in train.columns]
    both = replace(
        train,
        values=np.vstack([train.values, test.values[:, columns]]),
        time=np.concatenate([train.time, test.time + train.time.max() + 1]),
        position=np.concatenate([train.position, test.position]),
        offsets=np.concatenate([train.offsets, n + test.offsets[1:]]),
        ids=(*train.ids, *(f"{name} of the test table" for name in test.ids)),
        static=np.zeros((0, 0)),
        static_names=(),
    )
    return both, np.arange(both.n_rows) < n
