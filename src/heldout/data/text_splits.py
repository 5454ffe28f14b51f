"""Which texts train, which say when to stop, which judge: stratified, or in the order of time, and never torn apart.

A unit is what must stay on one side: the texts of one group, and texts that are nearly the same. Units are dealt to the
parts so that each has its share of every class. Where texts have times, later ones judge; a training text of a unit
that is also judged is then left out, as it is where a test table was given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heldout.check import InputError, check_number
from heldout.data.columns import listed
from heldout.data.near_texts import join_sets, near_duplicates
from heldout.data.series import IntArray
from heldout.data.splits import FINAL
from heldout.data.text_table import TextData
from heldout.plots.values import plural

_LARGE_UNIT = 0.1
_USES = {"train": "train", "valid": "stop", "test": "test"}


@dataclass(frozen=True, eq=False)
class TextFold:
    """Rows of three parts, in rising order, no unit in two of them.

    Parameters
    ----------
    name : str
        "fold 1", ..., "final".
    train, valid, test : arrays of int64
        Rows that train, that say when to stop, and that judge.
    """

    name: str
    train: IntArray
    valid: IntArray
    test: IntArray


@dataclass(frozen=True, eq=False)
class TextSplit:
    """Folds, and after them the final one, whose test is sealed.

    Parameters
    ----------
    folds : tuple of TextFold
        The last is the final one; no other holds a row of its test.
    units : array of shape (n,), int64
        Rows with the same number stay on one side.
    notes : tuple of str
        What was kept together or left out, and which classes are too rare.
    """

    folds: tuple[TextFold, ...]
    units: IntArray
    notes: tuple[str, ...]


def split_texts(
    data: TextData,
    *,
    test_size: float = 0.2,
    n_folds: int = 5,
    valid_size: float = 0.2,
    threshold: float | None = 0.8,
    first_train: float = 0.5,
    seed: int = 0,
) -> TextSplit:
    """Cut texts into folds and, apart from them, a sealed test.

    Parameters
    ----------
    data : TextData
        Texts with labels. With times, all is cut in their order and nothing is drawn. The rows of a test table are the
        sealed test.
    test_size : float, default 0.2
        Share of the rows in the sealed test, in (0, 0.9].
    n_folds : int, default 5
        Folds before the final one. Without times every row that is not sealed is tested in one fold, so 2 at least, or 0
        for none; with times every later one, and 1 will do.
    valid_size : float, default 0.2
        Share of a fold's rows outside its test that says when to stop, in (0, 0.9].
    threshold : float or None, default 0.8
        Of `near_duplicates`; None keeps none together.
    first_train : float, default 0.5
        With times, the share of the rows before the sealed test that the first fold trains and stops on, in (0, 1).
    seed : int, default 0
        The same seed gives the same split.

    Returns
    -------
    TextSplit

    Raises
    ------
    InputError
        If there are no labels, a class has a single row, or a part would be empty or train on one class.

    References
    ----------
    Stratified by units: the aim of ``sklearn.model_selection.StratifiedGroupKFold``, here for parts of any share and with the
    rows that stand alone evening out what the larger units leave uneven.

    Examples
    --------
    >>> texts = tuple(f"text number {k} speaks of {k} things" for k in range(40))
    >>> data = TextData(texts, np.arange(40) % 2, ("a", "b"), None, None, 40)
    >>> [(fold.name, len(fold.train), len(fold.valid), len(fold.test)) for fold in split_texts(data, n_folds=2).folds]
    [('fold 1', 12, 4, 16), ('fold 2', 12, 4, 16), ('final', 26, 6, 8)]
    """
    check_number("test_size", test_size, 0, 0.9, open_low=True)
    check_number("valid_size", valid_size, 0, 0.9, open_low=True)
    check_number("first_train", first_train, 0, 1, open_low=True, open_high=True)
    check_number("n_folds", n_folds, 0, 1000)
    if data.labels is None:
        raise InputError(
            "texts can be split only with labels, but there are none; name their column with target="
        )
    if n_folds == 1 and data.time is None:
        raise InputError("n_folds must be 2 or more, or 0 for the sealed test alone, got 1")
    notes: list[str] = []
    units = _units(data, threshold, notes)
    _check_classes(data, n_folds, notes)
    cutter = Cutter(data.labels, units, data.time, np.random.default_rng(seed))
    every = np.arange(len(data))
    if data.n_train < len(data):
        before, sealed = every[: data.n_train], every[data.n_train :]
    else:
        before, sealed = cutter.cut(every, (1 - test_size, test_size))
    before = apart(before, sealed, units)
    tests = []
    if n_folds and data.time is None:
        tests = cutter.cut(before, (1 / n_folds,) * n_folds)
    elif n_folds:
        tests = cutter.cut(before, (first_train, *((1 - first_train) / n_folds,) * n_folds))[1:]
    folds = [cutter.fold(f"fold {k}", before, test, valid_size) for k, test in enumerate(tests, start=1)]
    folds.append(cutter.fold(FINAL, before, sealed, valid_size))
    check_folds(folds, data, notes)
    return TextSplit(tuple(folds), units, tuple(notes))


def _units(data: TextData, threshold: float | None, notes: list[str]) -> IntArray:
    """Give each row the number of its unit: groups and near-duplicates, joined."""
    n = len(data)
    held = [np.arange(n)] if data.group is None else [data.group]
    if threshold is not None:
        near = near_duplicates(data.texts, threshold=threshold)
        held.append(near)
        sizes = np.bincount(near)
        if n_sets := int((sizes > 1).sum()):
            notes.append(
                f"{sizes[sizes > 1].sum():,} of {n:,} texts are nearly equal to another, in {n_sets:,} set{'s' * (n_sets > 1)}; "
                "each set is kept on one side"
            )
    # Rows and the names of their sets are one graph, and a unit is what hangs together in it.
    starts = np.cumsum([n, *(numbers.max() + 1 for numbers in held)])
    links = [
        np.stack([np.arange(n), numbers + start], 1) for numbers, start in zip(held, starts, strict=False)
    ]
    units = join_sets(int(starts[-1]), np.concatenate(links))[:n]
    largest = np.bincount(units).max()
    if largest > _LARGE_UNIT * n and largest > 1:
        notes.append(
            f"{largest:,} of {n:,} texts must stay together, so the parts cannot all have the shares asked for"
        )
    return units


def _check_classes(data: TextData, n_folds: int, notes: list[str]) -> None:
    assert data.labels is not None
    counts = np.bincount(data.labels, minlength=len(data.classes))
    held = [(name, int(n)) for name, n in zip(data.classes, counts, strict=True) if n]
    single = [name for name, n in held if n == 1]
    if len(held) < 2:
        raise InputError(f"texts must be of two classes at least, but all {len(data)} are {held[0][0]!r}")
    if single:
        raise InputError(
            f"every class must have two rows at least, one to learn from and one to judge by, but {listed(single)} {'has' if len(single) == 1 else 'have'} one; "
            "join it with another class or remove it"
        )
    parts = n_folds + 1
    if rare := [f"{name!r} ({n})" for name, n in held if n < 2 * parts]:
        notes.append(
            f"classes with less than two rows for each of {parts} test parts: {listed(rare)}; what is said of them is uncertain"
        )


def check_folds(folds: list[TextFold], data: TextData, notes: list[str]) -> None:
    """Raise where a fold cannot be trained or judged; say which classes some fold never sees, and what is left out."""
    assert data.labels is not None
    for fold in folds:
        for part in _USES:
            if not len(getattr(fold, part)):
                raise InputError(
                    f"{fold.name} has no text left to {_USES[part]} on: give more texts, fewer folds or smaller groups"
                )
        trained, judged = np.unique(data.labels[fold.train]), np.unique(data.labels[fold.test])
        if len(trained) < 2:
            raise InputError(
                f"{fold.name} would train on the class {data.classes[trained[0]]!r} alone: ask for fewer folds or larger parts"
            )
        if unseen := [repr(data.classes[c]) for c in np.setdiff1d(judged, trained)]:
            notes.append(f"{fold.name} judges classes that none of its training rows has: {listed(unseen)}")
    final = folds[-1]
    left = len(data) - sum(len(getattr(final, part)) for part in _USES)
    if left:
        notes.append(
            f"{plural(left, 'text')} {'is' if left == 1 else 'are'} left out, for a later part holds the same group or a text nearly equal"
        )


def apart(rows: IntArray, others: IntArray, units: IntArray) -> IntArray:
    """Those rows of which the unit has no row among others."""
    return rows[~np.isin(units[rows], units[others])]


@dataclass(frozen=True, eq=False)
class Cutter:
    """Cuts rows into parts by their classes and units, or by their times; fields as in `TextData` and `TextSplit`."""

    labels: IntArray
    units: IntArray
    time: IntArray | None
    rng: np.random.Generator

    def cut(self, rows: IntArray, shares: Sequence[float]) -> list[IntArray]:
        """Give as many parts as there are shares, whose sum is 1."""
        if self.time is not None:
            return _by_time(rows, self.time[rows], shares)
        part = deal(self.labels[rows], self.units[rows], shares, self.rng)
        return [rows[part == k] for k in range(len(shares))]

    def fold(self, name: str, rows: IntArray, test: IntArray, valid_size: float) -> TextFold:
        """Divide what is not in the test, or with times what is before it, into training and stopping."""
        past = np.setdiff1d(rows, test)
        if self.time is not None and len(test):
            past = past[self.time[past] < self.time[test].min()] if name != FINAL else past
        past = apart(past, test, self.units)
        train, valid = self.cut(past, (1 - valid_size, valid_size))
        return TextFold(name, apart(train, valid, self.units), valid, test)


def _by_time(rows: IntArray, time: IntArray, shares: Sequence[float]) -> list[IntArray]:
    """Cut rows in the order of time; those of one moment stay together, in the later part."""
    order = np.argsort(time, kind="stable")
    ends = np.rint(np.cumsum(shares)[:-1] * len(rows)).astype(np.int64)
    cuts = np.searchsorted(time[order], time[order][np.minimum(ends, len(rows) - 1)]) if len(rows) else ends
    return [np.sort(rows[part]) for part in np.split(order, cuts)]


def deal(labels: IntArray, units: IntArray, shares: Sequence[float], rng: np.random.Generator) -> IntArray:
    """Deal rows to parts, whole units only, so that each part has its share of every class.

    Units of several rows go first, the largest ahead, each to the part where it brings the rows of its classes nearest to what
    is due; rows that stand alone then fill up what is lacking. Without larger units every part has, of each class,
    the rows due to it but for less than one.

    Parameters
    ----------
    labels, units : arrays of shape (n,), int64
        Class and unit of each row.
    shares : sequence of float
        Of each part; the sum is 1.
    rng : numpy Generator
        Draws.

    Returns
    -------
    array of shape (n,), int64
        The part of each row.

    Examples
    --------
    >>> deal(np.array([0, 0, 1, 1]), np.arange(4), (0.5, 0.5), np.random.default_rng(0))
    array([0, 1, 0, 1])
    """
    n_classes = int(labels.max(initial=-1)) + 1
    _, own, sizes = np.unique(units, return_inverse=True, return_counts=True)
    due = np.outer(shares, np.bincount(labels, minlength=n_classes))  # (parts, classes)
    part_of_unit = np.full(len(sizes), -1)
    held = np.zeros((len(sizes), n_classes))
    np.add.at(held, (own, labels), 1)
    large = rng.permutation(np.flatnonzero(sizes > 1))
    scale = np.maximum(due.sum(0), 1)
    empty = np.ones(len(shares), bool)
    for left, unit in zip(
        range(len(sizes), 0, -1), large[np.argsort(-sizes[large], kind="stable")], strict=False
    ):
        gain = (due * held[unit] / scale).sum(1)
        choices = empty if left <= empty.sum() else np.ones_like(empty)  # no part shall stay empty
        chosen = np.where(choices, gain, -np.inf).argmax()
        part_of_unit[unit], empty[chosen] = chosen, False
        due[chosen] -= held[unit]
    part = part_of_unit[own]
    for label in range(n_classes):
        alone = rng.permutation(np.flatnonzero((part < 0) & (labels == label)))
        counts = _fill(due[:, label], len(alone), due.sum(1))
        part[alone] = np.repeat(np.arange(len(shares)), counts)
        due[:, label] -= counts
    return part


def _fill(due: NDArray[Any], n: int, lacking: NDArray[Any]) -> IntArray:
    """Give n rows to the parts where most are due; where equally many are, to the one that lacks most in all."""
    wanted = np.maximum(due, 0)
    wanted = wanted * n / wanted.sum() if wanted.sum() > 0 else np.full(len(due), n / len(due))
    counts = np.floor(wanted + 1e-9).astype(np.int64)
    order = np.lexsort((-lacking, -np.round(wanted - counts, 9)))
    counts[order[: n - counts.sum()]] += 1
    return counts
