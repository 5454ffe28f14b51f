"""Folds within folds: some to choose a model by, and one, that the choice has not seen, to judge it by."""

import numpy as np

from heldout.check import InputError, check_number
from heldout.data.text_splits import Cutter, TextFold, TextSplit, apart, check_folds
from heldout.data.text_table import TextData

_FIRST_TRAIN = (
    0.5  # of texts with times: share of the rows before the outer test that the first inner fold learns from
)


def nest_texts(
    data: TextData,
    split: TextSplit,
    *,
    n_folds: int = 4,
    outer: float = 0.25,
    valid_size: float = 0.15,
    seed: int = 0,
) -> tuple[tuple[TextFold, ...], tuple[TextFold, ...]]:
    """Cut what is not sealed into folds to choose by and one fold to judge the choice by.

    The outer test is cut off first; every inner fold lies within the rest, which is also what the outer fold trains and
    stops on. No unit is on two sides, and with times the outer test is later than all that is chosen by.

    Parameters
    ----------
    data : TextData
        Texts with labels.
    split : TextSplit
        Of them, from `heldout.data.text_splits.split_texts`; its sealed test is left alone.
    n_folds : int, default 4
        Inner folds: 2 at least, or 1 with times. Without times every row of the rest is tested in one of them.
    outer : float, default 0.25
        Share of the rows that judges, in (0, 0.9].
    valid_size : float, default 0.15
        Share of a fold's rows outside its test that says when to stop, in (0, 0.9].
    seed : int, default 0
        The same seed gives the same folds.

    Returns
    -------
    inner : tuple of TextFold
        "inner 1", "inner 2", ...; with times in their order.
    outer : tuple of TextFold
        "outer 1" alone.

    Raises
    ------
    InputError
        If a part would be empty, or train on one class.

    References
    ----------
    Cawley & Talbot 2010, On over-fitting in model selection, JMLR 11: why the choice is judged on rows that it has not seen.

    Examples
    --------
    >>> from heldout.data.text_splits import split_texts
    >>> texts = tuple(f"text number {k} speaks of {k} things" for k in range(100))
    >>> data = TextData(texts, np.arange(100) % 2, ("a", "b"), None, None, 100)
    >>> inner, outer = nest_texts(data, split_texts(data, n_folds=0), n_folds=2)
    >>> [(fold.name, len(fold.train), len(fold.valid), len(fold.test)) for fold in (*inner, *outer)]
    [('inner 1', 26, 4, 30), ('inner 2', 26, 4, 30), ('outer 1', 52, 8, 20)]
    """
    check_number("outer", outer, 0, 0.9, open_low=True)
    check_number("valid_size", valid_size, 0, 0.9, open_low=True)
    check_number("n_folds", n_folds, 1 if data.time is not None else 2, 1000)
    if data.labels is None:
        raise InputError(
            "texts can be split only with labels, but there are none; name their column with target="
        )
    final = split.folds[-1]
    cutter = Cutter(data.labels, split.units, data.time, np.random.default_rng(seed))
    known = np.sort(np.concatenate([final.train, final.valid]))
    rest, judged = cutter.cut(known, (1 - outer, outer))
    rest = apart(rest, judged, split.units)
    shares = (1 / n_folds,) * n_folds
    if data.time is None:
        tests = cutter.cut(rest, shares)
    else:
        tests = cutter.cut(rest, (_FIRST_TRAIN, *((1 - _FIRST_TRAIN) * share for share in shares)))[1:]
    inner = [cutter.fold(f"inner {k}", rest, test, valid_size) for k, test in enumerate(tests, start=1)]
    last = cutter.fold("outer 1", rest, judged, valid_size)
    check_folds([*inner, last], data, [])
    return tuple(inner), (last,)
