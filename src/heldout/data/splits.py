"""Which samples train, which stop the training, which judge it: cuts in calendar time, purged.

A sample is known by its origin (`SeriesData.origins`). Its label span is the ``horizon`` rows after the origin. Of two
parts that follow each other in time, the earlier keeps a sample only if its whole label span is known at the first
origin of the later one: a gap of ``horizon - 1`` samples in a series without holes. Parts are described by times, not
by row numbers, so a panel is cut at the same moment in all its series and a split is a handful of integers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np

from heldout.check import InputError, check_number
from heldout.data.series import IntArray, SeriesData
from heldout.plots.tables import html_table
from heldout.plots.values import envelope, times

FINAL = "final"
"""The name of the fold whose test is sealed."""
_FEW_WINDOWS = 30
_CHOICES: tuple[tuple[int, float], ...] = (
    (5, 0.5),
    (4, 0.6),
    (3, 0.7),
    (2, 0.8),
    (0, 0.5),
)  # folds and where they begin, tried in this order
MANY_SERIES = 20
"""From so many series on there are fewer folds: each judges on many series, and the first should see most of them."""
_CHOICES_OF_PANELS: tuple[tuple[int, float], ...] = ((2, 0.7), (2, 0.8), (0, 0.5))


@dataclass(frozen=True, kw_only=True)
class Span:
    """The samples with origin time in [``start``, ``stop``) whose labels end at ``known_by`` or before.

    Parameters
    ----------
    start, stop : int
        Times as in `SeriesData.time`.
    known_by : int
        Time at which the last label must have happened.
    ahead_from : int, optional
        Time that the row after the origin must have reached: where a test table begins.
    """

    start: int
    stop: int
    known_by: int
    ahead_from: int | None = None

    def rows(self, data: SeriesData, lookback: int) -> IntArray:
        """Origins of the samples in this span.

        Parameters
        ----------
        data : SeriesData
            The series.
        lookback : int
            Rows in a window.

        Returns
        -------
        array of shape (n_samples,), int64
        """
        origins = data.origins(lookback)
        origin_time, label_end = data.time[origins], data.time[origins + data.horizon]
        inside = (origin_time >= self.start) & (origin_time < self.stop) & (label_end <= self.known_by)
        if self.ahead_from is not None:
            inside &= data.time[origins + 1] >= self.ahead_from
        return origins[inside]


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Three spans that follow each other: one trains, one stops the training, one judges it.

    Attributes
    ----------
    name : str
        "fold 1", ..., "final".
    train, valid, test : Span
        In order of time.
    held : tuple of Span
        Blocks inside ``train`` that are kept out of it (`hold_out_inside`).
    """

    name: str
    train: Span
    valid: Span
    test: Span
    held: tuple[Span, ...] = ()

    def train_rows(self, data: SeriesData, lookback: int) -> IntArray:
        """Origins that train: those of ``train``, without any whose window or labels touch the labels of a held block."""
        rows = self.train.rows(data, lookback)
        before = np.maximum(rows - lookback, data.offsets[data.series_of_row[rows]])  # differences read it
        first, last = data.time[before], data.time[rows + data.horizon]
        for block in self.held:
            labels_end = data.time[block.rows(data, lookback) + data.horizon].max()
            rows, first, last = (x[(last <= block.start) | (first > labels_end)] for x in (rows, first, last))
        return rows


class Split(tuple[Fold, ...]):
    """Walk-forward folds and the final one: a tuple of `Fold` that can be drawn.

    Parameters
    ----------
    folds : iterable of Fold
        In order of time, the last with the sealed test.
    parts : list of dict
        For each fold ``name`` and ``train``, ``valid``, ``test``, each with ``first_origin``, ``last_origin`` and
        ``last_label`` (ISO text, or row numbers where the table has no time) and ``n`` samples.
    """

    parts: list[dict[str, Any]]

    def __new__(cls, folds: Iterable[Fold], parts: list[dict[str, Any]]) -> Self:
        """Join what belongs together."""
        made = super().__new__(cls, folds)
        made.parts = parts
        return made

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self), self.parts

    @classmethod
    def of(cls, folds: Iterable[Fold], data: SeriesData, lookback: int) -> Self:
        """Describe the folds with the times of the series they cut.

        Parameters
        ----------
        folds : iterable of Fold
            In order of time.
        data : SeriesData
            What they cut.
        lookback : int
            Rows in a window.
        """
        folds = tuple(folds)
        found: list[dict[str, Any]] = []
        for fold in folds:
            spans = {part: getattr(fold, part) for part in ("train", "valid", "test")}
            parts = {part: _describe(span.rows(data, lookback), data) for part, span in spans.items()}
            found.append({"name": fold.name, **parts})
        return cls(folds, found)

    def plot(self, data: SeriesData | None = None) -> Any:
        """Draw the parts of each fold on a time axis.

        Parameters
        ----------
        data : SeriesData, optional
            The series; the first target of the longest one is then drawn above.

        Returns
        -------
        plotly.graph_objects.Figure
        """
        from heldout.plots.splits import split_chart  # noqa: PLC0415 - plotly is slow to import

        overview = None
        if data is not None:
            longest = int(np.diff(data.offsets).argmax())
            rows = slice(int(data.offsets[longest]), int(data.offsets[longest + 1]))
            target = data.values[rows, data.columns.index(data.targets[0])]
            overview = {"target": data.targets[0], **envelope(stamps(data.time[rows], data), target)}
        return split_chart(self.parts, overview)

    def _repr_html_(self) -> str:
        """One line per fold."""
        rows = [
            [fold["name"]]
            + [
                f"{fold[part]['first_origin']} to {fold[part]['last_origin']} ({fold[part]['n']:,})"
                for part in ("train", "valid", "test")
            ]
            for fold in self.parts
        ]
        return html_table(
            f"{len(self) - 1} walk-forward folds, then the final one, whose test is sealed",
            ["fold", "trains", "says when to stop", "judges"],
            rows,
            note="First and last forecast origin of each part, and its samples.",
        )


def _describe(rows: IntArray, data: SeriesData) -> dict[str, Any]:
    last = rows[np.argmax(data.time[rows])] + data.horizon
    ends = np.array([data.time[rows].min(), data.time[rows].max(), data.time[last]])
    names = ("first_origin", "last_origin", "last_label")
    return {**dict(zip(names, stamps(ends, data), strict=True)), "n": len(rows)}


def stamps(time: IntArray, data: SeriesData) -> list[Any]:
    """Give times of a table as ISO text, or as row numbers where it has none."""
    return times(time if data.frequency.name == "row" else time.astype("datetime64[us]"))


def split_series(
    data: SeriesData,
    lookback: int,
    *,
    test_size: float = 0.2,
    n_folds: int | None = None,
    first_train: float | None = None,
    valid_size: float = 0.2,
) -> Split:
    """Cut the series into walk-forward folds and, after them, the final fold, whose test is sealed.

    The last ``test_size`` of all origin times is the sealed test; where a test table was given, the origins from which
    all rows ahead are in it (`SeriesData.test_start`). Before it, the outer folds: the first trains on the
    first ``first_train`` of the times left, and each tests on the next of ``n_folds`` equal blocks. In every fold the
    last ``valid_size`` of what lies before the test stops the training, or two horizons if that is more.

    Parameters
    ----------
    data : SeriesData
        The series; with several, all are cut at the same times.
    lookback : int
        Rows in a window.
    test_size : float, default 0.2
        Share of origin times in the sealed test, in (0, 0.9].
    n_folds : int, optional
        Outer folds, 0 for none. By default 5; on short series fewer that begin later (4 after 60 %, 3 after 70 %, 2
        after 80 % of the times, or none), so that the first still trains on 30 windows. With 20 series or more 2, after 70 %.
    first_train : float, optional
        Share of the times before the sealed test that the first fold trains and stops on, in (0, 1); by default .5, later on short series.
    valid_size : float, default 0.2
        Share of a fold's times before its test that stops the training, in (0, 1).

    Returns
    -------
    Split
        A tuple of ``n_folds`` outer folds and the final one, in order of time.

    Raises
    ------
    InputError
        If a part of some fold would hold no sample.

    References
    ----------
    Gap of H - 1 samples for a horizon of H: the rule of ``sklearn.model_selection.TimeSeriesSplit(gap=H - 1)``.
    Repeated out-of-sample tests for series that are not stationary: Cerqueira, Torgo & Mozetič (2020), Machine
    Learning 109.
    """
    check_number("test_size", test_size, 0, 0.9, open_low=True)
    check_number("n_folds", 0 if n_folds is None else n_folds, 0, 1000)
    check_number(
        "first_train", 0.5 if first_train is None else first_train, 0, 1, open_low=True, open_high=True
    )
    check_number("valid_size", valid_size, 0, 1, open_low=True, open_high=True)
    times = np.unique(data.time[data.origins(lookback)])
    if n_folds is None and first_train is None:
        choices = _CHOICES if len(data.ids) < MANY_SERIES else _CHOICES_OF_PANELS
    else:
        choices = ((5 if n_folds is None else n_folds, 0.5 if first_train is None else first_train),)
    for number, (count, first) in enumerate(choices, start=1):
        try:
            folds = _cut(data, lookback, times, test_size, count, first, valid_size)
        except InputError:
            if number == len(choices):
                raise
            continue
        if number == len(choices) or len(folds[0].train.rows(data, lookback)) >= _FEW_WINDOWS:
            return Split.of(folds, data, lookback)
    raise AssertionError("the last choice either returns or raises")


def _cut(
    data: SeriesData,
    lookback: int,
    times: IntArray,
    test_size: float,
    n_folds: int,
    first_train: float,
    valid_size: float,
) -> tuple[Fold, ...]:
    """The folds for one choice of their number."""
    needed = 4 * (n_folds + 1)
    if len(times) < needed:
        raise InputError(
            f"{n_folds} folds and a sealed test need at least {needed} windows of {lookback} + {data.horizon} rows in time, "
            f"got {len(times)}{_unlabelled(data)}: shorten lookback or horizon, or ask for fewer folds"
        )
    sealed, last = _sealed_from(data, lookback, times, test_size), int(data.time.max())
    before = times[times < sealed]
    cuts = np.linspace(round(first_train * len(before)), len(before), n_folds + 1).round().astype(int)
    tests = [
        (f"fold {number}", times[:a], Span(start=int(times[a]), stop=int(times[b]), known_by=sealed))
        for number, (a, b) in enumerate(pairwise(cuts), start=1)
    ]
    tests.append(
        (FINAL, before, Span(start=sealed, stop=last + 1, known_by=last, ahead_from=data.test_start))
    )
    folds = tuple(_fold(name, past, test, valid_size, data.horizon) for name, past, test in tests)
    for fold in folds:
        _check_filled(fold, data, lookback)
    return folds


def _unlabelled(data: SeriesData) -> str:
    """Say how many rows cannot be judged by, if any."""
    missing = int(np.isnan(data.values[:, data.indices(data.targets)]).any(axis=1).sum())
    return (
        f" ({missing} of {data.n_rows} rows have no value of a target, and no forecast is judged by them)"
        if missing
        else ""
    )


def _sealed_from(data: SeriesData, lookback: int, times: IntArray, test_size: float) -> int:
    """The first origin time of the sealed test."""
    if data.test_start is None:
        return int(times[-max(1, round(test_size * len(times)))])
    origins = data.origins(lookback)
    sealed = origins[data.time[origins + 1] >= data.test_start]
    if not len(sealed):
        raise InputError(
            f"the test table holds no {data.horizon} rows that follow a window of {lookback} rows{_gap_before_test(data)}: shorten "
            "horizon or lookback"
        )
    return int(data.time[sealed].min())


def _gap_before_test(data: SeriesData) -> str:
    """Say what lies before the test rows, if no window may cross it."""
    assert data.test_start is not None
    is_test = data.time >= data.test_start
    first = np.flatnonzero(is_test[1:] & ~is_test[:-1]) + 1
    gap = int((data.position[first] - data.position[first - 1]).min())
    if gap <= data.max_gap:
        return ""
    return f", as it begins {gap} steps after the training rows and no window crosses more than max_gap={data.max_gap} (give the rows between)"


def _fold(name: str, before: IntArray, test: Span, valid_size: float, horizon: int) -> Fold:
    """Divide the origin times before a test into training and stopping."""
    # The purge takes a horizon off the block; half of it should be left.
    n_valid = max(1, min(max(round(valid_size * len(before)), 2 * horizon), len(before) // 2))
    valid_start = int(before[-n_valid])
    return Fold(
        name=name,
        train=Span(start=int(before[0]), stop=valid_start, known_by=valid_start),
        valid=Span(start=valid_start, stop=test.start, known_by=test.start),
        test=test,
    )


def _check_filled(fold: Fold, data: SeriesData, lookback: int) -> None:
    for part in ("train", "valid", "test"):
        span: Span = getattr(fold, part)
        if not len(span.rows(data, lookback)):
            raise InputError(
                f"{fold.name} has no window of {lookback} rows left to {part} on once the labels of {data.horizon} rows "
                f"are purged: ask for fewer folds, a shorter horizon or a shorter lookback"
            )
