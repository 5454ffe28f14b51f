"""What a user gives to be read: a table, long or wide, and perhaps a second one whose rows are the sealed test."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from shlex import quote
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from heldout.check import InputError, did_you_mean
from heldout.data.columns import Clock, listed, read_levels
from heldout.data.series import FloatArray
from heldout.data.tables import Table, open_table
from heldout.data.wide import SERIES, TIME, VALUE, is_wide, series_first, unpivot


@dataclass(frozen=True, eq=False)
class Source:
    """A table, and how many of its rows are for training.

    Parameters
    ----------
    table : Table
        The training rows, and then those of the test table if there is one.
    n_train : int
        Rows before the test table's.
    wide : bool
        Whether it was made of one series per row.
    taken : tuple of str
        Columns of the wide table that are not in ``table``: the ids, which are called "series" there, and those ignored.
    """

    table: Table
    n_train: int
    wide: bool
    taken: tuple[str, ...] = ()

    @property
    def has_test(self) -> bool:
        """Whether there is a test table."""
        return self.n_train < len(self.table.frame)

    @property
    def parts(self) -> dict[str, str | None]:
        """What the columns of a table that was wide are."""
        return {"target": VALUE, "id": SERIES, "time": TIME if TIME in self.table.frame.columns else None}


@dataclass(frozen=True, eq=False, kw_only=True)
class Joined(Table):
    """A table with another one below it.

    Parameters
    ----------
    above, below : Table
        The two.
    """

    above: Table
    below: Table

    def place(self, row: int) -> str:
        """Say where a row is found, and that it is in the test table if it is."""
        n = len(self.above.frame)
        return self.above.place(row) if row < n else self.below.place(row - n)


@dataclass(frozen=True, eq=False)
class TestTable(Table):
    """A table whose places are said to be in the test table."""

    __test__ = False  # the name is no test's

    def place(self, row: int) -> str:
        """Say where a row is found."""
        return f"{super().place(row)} of the test table"


def open_source(
    source: object,
    *,
    test: object = None,
    layout: str = "auto",
    named: bool = True,
    id: str | None = None,  # noqa: A002 - the word that users have for it
    static: Sequence[str] = (),
    ignore: Sequence[str] = (),
    encoding: str = "utf-8",
) -> Source:
    """Open a table and its test table, and make them long.

    Parameters
    ----------
    source : path or data frame
        See `heldout.data.tables.read_table`.
    test : path, data frame, "auto" or "none", optional
        Rows that follow. "auto" takes the file beside ``source`` that has ``test`` where its name has ``train``, if its
        columns are those of ``source``.
    layout : {"auto", "long", "wide"}
        One row per time, or one per series.
    named : bool, default True
        Whether the user named a target, a time or a covariate; if so "auto" is long.
    id, static, ignore : str or None, sequence of str, sequence of str
        Columns of a wide table that hold no values of the series.
    encoding : str, default "utf-8"
        How text files are encoded.

    Returns
    -------
    Source

    Raises
    ------
    InputError
        If a table cannot be read, the two do not fit together, or it is neither wide nor is a column named.
    """
    train = open_table(source, encoding=encoding)
    cells = series_first(train, id, (*static, *ignore))
    wide = layout == "wide" or (layout == "auto" and not named and is_wide(cells))
    if not wide and not named:
        raise InputError(
            f"no target column is given: name what is to be forecast, e.g. --target {quote(train.frame.columns[-1])}; or, if each row "
            "is a series, its id in the first column and its values in all others, say so with layout=wide"
        )
    notes: list[str] = []
    below = _open_test(source, test, train, encoding, notes, wide=wide)
    if not wide:
        joined = train if below is None else _join(train, below, notes)
        return Source(replace(joined, notes=(*notes, *joined.notes)), len(train.frame), wide)
    for name in (*static, *ignore):
        if name not in train.frame.columns:
            near = did_you_mean(name, train.frame.columns)
            raise InputError(
                f"static and ignore must name columns of the table, but there is none called {name!r}{near}"
            )
    above = unpivot(cells)
    joined = above
    if below is not None:
        below = series_first(below, id, (*static, *ignore))
        _check_same_ids(cells, below)
        joined = _join(above, unpivot(below), notes)
    kept = [name for name in static if name in train.frame.columns]
    joined = replace(joined, frame=_with_static(joined, train, cells, kept), notes=(*notes, *joined.notes))
    taken = {cells.frame.columns[0], *ignore} & {*train.frame.columns}
    return Source(joined, len(above.frame), wide, tuple(taken))


def open_rows(
    source: object, *, test: object = None, columns: Sequence[str] = (), encoding: str = "utf-8"
) -> Source:
    """Open a table whose rows are one thing each, such as a text, and its test table.

    Parameters
    ----------
    source : path or data frame
        See `heldout.data.tables.read_table`.
    test : path, data frame, "auto" or "none", optional
        Rows that follow, as in `open_source`.
    columns : sequence of str
        Columns that will be asked for, as in `heldout.data.tables.open_table`.
    encoding : str, default "utf-8"
        How text files are encoded.

    Raises
    ------
    InputError
        If a table cannot be read, or the two do not fit together.
    """
    notes: list[str] = []
    train = open_table(source, encoding=encoding, columns=columns)
    below = _open_test(source, test, train, encoding, notes, wide=False, columns=columns)
    joined = train if below is None else _join(train, below, notes)
    return Source(replace(joined, notes=(*notes, *joined.notes)), len(train.frame), False)


def _with_static(table: Table, train: Table, cells: Table, names: list[str]) -> nw.DataFrame[Any]:
    """The rows of a table that was wide, with what the training table says of each series."""
    if not names:
        return table.frame
    codes, levels = read_levels(cells, cells.frame.columns[0])
    ids = pl.Series(SERIES, np.array(levels, dtype=object)[codes], dtype=pl.String)
    known = train.frame.select(*names).to_polars().insert_column(0, ids)
    rows = table.frame.to_polars().with_columns(pl.col(SERIES).cast(pl.String))
    return nw.from_native(rows.join(known, on=SERIES, how="left", maintain_order="left"), eager_only=True)


def _check_same_ids(train: Table, test: Table) -> None:
    ids, of_test = (set(read_levels(table, table.frame.columns[0])[1]) for table in (train, test))
    if not ids & of_test:
        raise InputError(
            f"the test table must have one series per row as the training table has, but its first column {test.frame.columns[0]!r} "
            f"holds none of the ids, but {sorted(of_test)[0]!r}; give one in the same form, or leave it out with test='none'"
        )


def check_unseen(targets: FloatArray, clock: Clock, test_start: int | None) -> None:
    """Raise where the test rows of a table without times are training rows over again.

    The test rows of a series are held against the start and the end of its training rows. Five equal values that differ
    from each other are proof; of a table whose series all match, three: few or constant values may repeat by chance.

    Parameters
    ----------
    targets : array of shape (n_rows, n_targets)
        In the rows of the series.
    clock : Clock
        Their places.
    test_start : int or None
        The place of the first test row, if there is one and there are no times.

    Raises
    ------
    InputError
        If so.
    """
    if test_start is None:
        return
    matches, n_tested = [], 0
    for series, (start, stop) in enumerate(pairwise(clock.offsets)):
        cut = start + int(np.searchsorted(clock.time[start:stop], test_start))
        n = min(cut - start, stop - cut)
        n_tested += n > 0
        test = targets[cut : cut + n]
        same = [
            np.array_equal(test, past, equal_nan=True)
            for past in (targets[start : start + n], targets[cut - n : cut])
        ]
        if n and any(same):
            matches.append((series, n, set(test.ravel().tolist())))
    all_match = len(matches) == n_tested and len(set().union(*(held for _, _, held in matches))) >= 3
    proof = [match for match in matches if all_match or len(match[2]) >= 5]
    if proof:
        series, n, _ = proof[0]
        of = f" of series {clock.ids[series]!r}" if len(clock.ids) > 1 else ""
        raise InputError(
            f"the test rows must follow the training rows, but the first {n} test values{of} are training values of the same series "
            f"({len(proof)} of {n_tested} series); give rows that the training table does not hold, or a column of times"
        )


def first_test_time(source: Source, clock: Clock, notes: list[str]) -> int | None:
    """Give the time of the first test row, once all test rows are found to follow all training rows.

    Parameters
    ----------
    source : Source
        As opened.
    clock : Clock
        Its rows in the order of the series.
    notes : list of str
        What was found is added here.

    Returns
    -------
    int or None
        None without a test table.

    Raises
    ------
    InputError
        If a series has test rows and no others, or a test row is not after the last training row.
    """
    if not source.has_test:
        return None
    is_test = clock.rows.pick(np.arange(len(source.table.frame)) >= source.n_train)
    counts = np.add.reduceat(is_test.astype(np.int64), clock.offsets[:-1])
    sizes = np.diff(clock.offsets)
    if (counts == sizes).any():
        name = clock.ids[int((counts == sizes).argmax())]
        raise InputError(
            f"every series of the test table must have training rows, but {name!r} has none; remove it"
        )
    first, last = int(clock.time[is_test].min()), int(clock.time[~is_test].max())
    if first <= last:
        a, b = (
            np.flatnonzero(is_test & (clock.time == first))[0],
            np.flatnonzero(~is_test & (clock.time == last))[0],
        )
        raise InputError(
            f"the test rows must follow all training rows, but {clock.when(int(a))} is not after {clock.when(int(b))}; "
            "sort the rows apart by time, or leave the test table out with test='none'"
        )
    without = [clock.ids[s] for s in np.flatnonzero(counts == 0)]
    if without:
        have = "has no test rows and is" if len(without) == 1 else "have no test rows and are"
        notes.append(f"{len(without)} series {have} trained on only: {listed(without)}")
    return first


def _open_test(
    source: object,
    test: object,
    train: Table,
    encoding: str,
    notes: list[str],
    *,
    wide: bool,
    columns: Sequence[str] = (),
) -> Table | None:
    """The test table given or found, if there is one."""
    if test is None or (isinstance(test, str) and test == "none"):
        return None
    if not (isinstance(test, str) and test == "auto"):
        return _as_test(open_table(test, encoding=encoding, columns=columns))
    beside = test_beside(source)
    if beside is None:
        return None
    found = _as_test(open_table(beside, encoding=encoding, columns=columns))
    fits = found.frame.columns[0] == train.frame.columns[0] if wide else _lacks(train, found) == []
    if not fits:
        notes.append(f"{beside.name} lies beside the table but has other columns, so it is left alone")
        return None
    notes.append(
        f"{beside.name} lies beside the table and is taken as the sealed test; test = none declines it"
    )
    return found


def _as_test(table: Table) -> TestTable:
    return TestTable(table.frame, table.notes, table.first_line)


def test_beside(source: object) -> Path | None:
    """Give the file beside a training file that has ``test`` where its name has ``train``, if there is one."""
    if not isinstance(source, str | Path):
        return None
    path = Path(source)
    for train, test in (("train", "test"), ("Train", "Test"), ("TRAIN", "TEST")):
        beside = path.with_name(test.join(path.name.rsplit(train, 1)))
        if beside.name != path.name and beside.is_file():
            return beside
    return None


def _lacks(train: Table, test: Table) -> list[str]:
    return [name for name in train.frame.columns if name not in test.frame.columns]


def _join(train: Table, test: Table, notes: list[str]) -> Table:
    lacking = _lacks(train, test)
    if lacking and is_wide(test):
        raise InputError(
            f"the test table must have one row per time and the columns of the training table ({listed(train.frame.columns)}), but looks "
            "as if each row were a series; give one in the same form, or leave it out with test='none'"
        )
    if lacking:
        raise InputError(
            f"the test table must have the columns of the training table, but {listed(lacking)} is missing; add it, or leave the table out with test='none'"
        )
    if more := _lacks(test, train):
        notes.append(f"the training table lacks {listed(more)} of the test table: left out")
    above, below = train.frame, test.frame.select(*train.frame.columns)
    try:
        if above.implementation == below.implementation and not above.implementation.is_polars():
            frame = nw.concat([above, below])
        else:
            parts = [above.to_polars(), below.to_polars()]
            frame = nw.from_native(pl.concat(parts, how="vertical_relaxed"), eager_only=True)
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"the test table must hold what the training table holds, but they do not fit: {str(error).splitlines()[0]}"
        ) from error
    held = f"the test table holds {len(below)} rows that follow"
    of_test = [f"in the test table, {note}" for note in test.notes if note not in train.notes]
    return Joined(frame=frame, notes=(*train.notes, *of_test, held), above=train, below=test)
