"""Overlap of what trains and what judges: labels, windows, times."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heldout.check import InputError
from heldout.data.audit.finding import Finding, failed, passed, places
from heldout.data.series import IntArray, SeriesData
from heldout.data.splits import Fold
from heldout.plots.values import shortened

CHECK = "overlap of labels and windows"


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """The samples that train and those that judge: origins of series, or rows of a table of texts.

    Attributes
    ----------
    name : str
        "fold 1", "final", ...
    train, test : arrays of int64
        They must share nothing; what says when to stop counts as training here.
    """

    name: str
    train: IntArray
    test: IntArray


def parts_of(folds: Iterable[Fold], data: SeriesData, lookback: int) -> list[Parts]:
    """Give the origins of each fold, those that stop the training among those that train.

    Parameters
    ----------
    folds : iterable of Fold
        As `heldout.data.splits.split_series` cuts them.
    data : SeriesData
        What they cut.
    lookback : int
        Rows in a window.
    """
    found = []
    for fold in folds:
        train, valid, test = (part.rows(data, lookback) for part in (fold.train, fold.valid, fold.test))
        found.append(Parts(name=f"{fold.name}, stopping", train=train, test=valid))
        found.append(Parts(name=fold.name, train=np.concatenate([train, valid]), test=test))
    return found


def read_splits(splits: Iterable[Sequence[IntArray]]) -> list[tuple[IntArray, IntArray]]:
    """Give the pairs of row numbers of a split made elsewhere.

    Parameters
    ----------
    splits : iterable of pairs of arrays
        As the splitters of scikit-learn give them.

    Raises
    ------
    InputError
        If it is something else.

    Examples
    --------
    >>> read_splits([([0, 1], [2])])
    [(array([0, 1]), array([2]))]
    """
    try:
        pairs = [tuple(np.asarray(rows, np.int64).ravel() for rows in pair) for pair in splits]
        return [(train, test) for train, test in pairs]
    except (TypeError, ValueError) as error:
        raise InputError(
            f"splits must be pairs of row numbers, as a splitter of scikit-learn gives them, got {shortened(repr(splits), 60)}"
        ) from error


def own_parts(splits: Iterable[Sequence[IntArray]], n_rows: int) -> list[Parts]:
    """Give the parts of a split made elsewhere: pairs of row numbers that train and that judge.

    Parameters
    ----------
    splits : iterable of pairs of arrays
        As for `read_splits`.
    n_rows : int
        Rows that there are.

    Raises
    ------
    InputError
        If there is none, or one names no row, or a row that is not there.
    """
    found = []
    for number, (train, test) in enumerate(read_splits(splits), 1):
        for rows in (train, test):
            if not len(rows) or rows.min() < 0 or rows.max() >= n_rows:
                raise InputError(
                    f"splits must be pairs of row numbers from 0 to {n_rows - 1}, split {number} is not: give (train, test) "
                    "as a splitter of scikit-learn does"
                )
        found.append(Parts(name=f"split {number}", train=train, test=test))
    if not found:
        raise InputError("splits must hold one pair of row numbers at least, got none")
    return found


def check_overlap(data: SeriesData, parts: Sequence[Parts], lookback: int) -> Finding:
    """Find training samples that know what they are judged on.

    A sample at origin i reads the rows i - lookback + 1 to i and is asked for the rows i + 1 to i + horizon. It fails where
    a training sample's labels or window hold a row that is a label of a test sample in the same series, and where a
    training label is known only after the first test origin, in any series. A window that reads earlier training rows is
    no fault: they are known by then.

    Parameters
    ----------
    data : SeriesData
        The series.
    parts : sequence of Parts
        Origins.
    lookback : int
        Rows in a window.
    """
    bad, said = [], []
    figures: dict[str, dict[str, float]] = {}
    for part in parts:
        kept = [rows[rows + data.horizon < data.n_rows] for rows in (part.train, part.test)]
        train, test = kept
        asked = _covered(data.n_rows, test + 1, test + data.horizon)
        labels = _counts(asked, train + 1, train + data.horizon) > 0
        windows = _counts(asked, np.maximum(train - lookback + 1, 0), train) > 0
        late = data.time[train + data.horizon] > data.time[test].min()
        read = _covered(data.n_rows, np.maximum(train - lookback + 1, 0), train)
        shared = _counts(read, np.maximum(test - lookback + 1, 0), test) / lookback
        figures[part.name] = {
            "labels": int(labels.sum()),
            "windows": int(windows.sum()),
            "late": int(late.sum()),
            "overlap_fraction": float(shared.mean()),
        }
        wrong = labels | windows | late
        if wrong.any():
            bad.append(train[wrong])
            said.append(
                f"{part.name}: of {len(train):,} training samples {labels.sum():,} share labels with the test, {windows.sum():,} read "
                f"test labels in their window, {late.sum():,} have labels later than the first test origin"
            )
    if not bad:
        return passed(
            CHECK,
            f"In {len(figures)} cuts no training sample shares a label with the samples that judge it, or is later.",
            figures=figures,
        )
    rows = np.unique(np.concatenate(bad))
    return failed(
        CHECK,
        f"{'; '.join(said[:3])}. Cut in the order of time and leave out the {data.horizon - 1} samples before each test.",
        places(data, rows),
        n_rows=len(rows),
        figures=figures,
    )


def _covered(n: int, first: IntArray, last: IntArray) -> NDArray[np.bool_]:
    """Rows in any of the stretches, both ends included."""
    edges = np.zeros(n + 1, np.int64)
    np.add.at(edges, first, 1)
    np.add.at(edges, last + 1, -1)
    return edges.cumsum()[:-1] > 0


def _counts(mask: NDArray[np.bool_], first: IntArray, last: IntArray) -> IntArray:
    """How many rows of each stretch are marked."""
    total = np.concatenate([[0], np.cumsum(mask)])
    return np.asarray(total[last + 1] - total[first], np.int64)


def check_groups(
    group: IntArray | None, parts: Sequence[Parts], *, show: Callable[[IntArray], list[str]]
) -> Finding:
    """Find groups (authors, patients, sources) of which some rows train and others judge.

    Parameters
    ----------
    group : array of shape (n,), int64, or None
        Of each row; None where none is named.
    parts : sequence of Parts
        Rows.
    show : callable
        Says of rows where they are.
    """
    check = "groups on both sides"
    if group is None:
        return Finding(
            check=check,
            status="NOT RUN",
            message="No column of groups is named: if several rows are of one author, patient or source, name it with --group.",
        )
    torn = {part.name: part.test[np.isin(group[part.test], group[part.train])] for part in parts}
    bad = {name: rows for name, rows in torn.items() if len(rows)}
    if not bad:
        return passed(check, f"None of {len(np.unique(group)):,} groups is on both sides of a cut.")
    rows = np.unique(np.concatenate(list(bad.values())))
    share = {part.name: len(bad[part.name]) / len(part.test) for part in parts if part.name in bad}
    where, worst = max(share.items(), key=lambda pair: pair[1])
    return failed(
        check,
        f"In {where}, {100 * worst:.0f} % of the rows that judge are of groups that train, too: the score says how well known groups are "
        "recognised. Cut by groups, for instance with scikit-learn's GroupKFold.",
        show(rows),
        n_rows=len(rows),
        figures=share,
    )
