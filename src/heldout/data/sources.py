"""What a user gives to be read: a table, long or wide, and perhaps a second one whose rows are the sealed test."""

from dataclasses import dataclass, replace
from pathlib import Path

import narwhals as nw
import numpy as np
import polars as pl

from heldout.check import InputError
from heldout.data.columns import Clock, listed
from heldout.data.tables import Table, open_table
from heldout.data.wide import SERIES, TIME, VALUE, is_wide, unpivot


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
    """

    table: Table
    n_train: int
    wide: bool

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
        return self.above.place(row) if row < n else f"{self.below.place(row - n)} of the test table"


def open_source(
    source: object, *, test: object = None, layout: str = "auto", named: bool = True, encoding: str = "utf-8"
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
        Whether the user named a column; if so "auto" is long.
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
    wide = layout == "wide" or (layout == "auto" and not named and is_wide(train))
    if not wide and not named:
        raise InputError(
            f"no target column is given: name what is to be forecast, e.g. --target {train.frame.columns[-1]}; a table with one "
            "series per row needs no target where its first column holds unique ids as text and all others numbers"
        )
    notes: list[str] = []
    below = _open_test(source, test, train, encoding, notes, wide=wide)
    if wide:
        train = unpivot(train)
    n_train = len(train.frame)
    if below is None:
        return Source(replace(train, notes=(*notes, *train.notes)), n_train, wide)
    return Source(_join(train, unpivot(below) if wide else below, notes), n_train, wide)


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
        notes.append(f"{len(without)} series have no test rows and are trained on only: {listed(without)}")
    return first


def _open_test(
    source: object, test: object, train: Table, encoding: str, notes: list[str], *, wide: bool
) -> Table | None:
    """The test table given or found, if there is one."""
    if test is None or (isinstance(test, str) and test == "none"):
        return None
    if not (isinstance(test, str) and test == "auto"):
        return open_table(test, encoding=encoding)
    beside = _beside(source)
    if beside is None:
        return None
    found = open_table(beside, encoding=encoding)
    fits = found.frame.columns[0] == train.frame.columns[0] if wide else _lacks(train, found) == []
    if not fits:
        notes.append(f"{beside.name} lies beside the table but has other columns, so it is left alone")
        return None
    notes.append(
        f"{beside.name} lies beside the table and is taken as the sealed test; test = none declines it"
    )
    return found


def _beside(source: object) -> Path | None:
    """The file beside a training file that is named as its test file."""
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
    if lacking := _lacks(train, test):
        raise InputError(
            f"the test table must have the columns of the training table, but {listed(lacking)} is missing; add it, or leave the table out with test='none'"
        )
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
    return Joined(frame=frame, notes=(*notes, *train.notes, held), above=train, below=test)
