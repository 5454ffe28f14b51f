"""A block of whole series read by `read_series`, so that it comes out as it would as part of the whole table."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from heldout.check import InputError, did_you_mean
from heldout.data.calendar import Frequency
from heldout.data.columns import STEPS_COLUMN, listed
from heldout.data.layout import read_series
from heldout.data.parquet import ParquetTable, as_polars
from heldout.data.partition import Block, Census
from heldout.data.series import SeriesData
from heldout.data.times import read_times

_LAST = "\U0010ffff"  # sorts after every id


@dataclass(frozen=True, eq=False)
class Parts:
    """Which column plays which part, and how the values are to be read: the keywords of `read_series`.

    Parameters
    ----------
    target, past, future, static : tuple of str
        Columns; ``past`` holds every free one where none were named.
    time, id : str or None
        Columns.
    rules : dict
        What else `read_series` is told.
    columns : tuple of str
        The columns of the table to be read, but for the ids.
    notes : tuple of str
        What was inferred.
    """

    target: tuple[str, ...]
    past: tuple[str, ...]
    future: tuple[str, ...]
    static: tuple[str, ...]
    time: str | None
    id: str | None
    rules: dict[str, Any]
    columns: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def values(self) -> tuple[str, ...]:
        """The columns whose values are kept row by row."""
        return (*self.target, *self.past, *self.future)


def choose_parts(table: ParquetTable, asked: dict[str, Any]) -> Parts:
    """Settle the part of each column by its name, and the column of times by the first rows.

    Parameters
    ----------
    table : ParquetTable
        The table.
    asked : dict
        Keywords of `read_series`, names of columns as tuples.

    Returns
    -------
    Parts

    Raises
    ------
    InputError
        If a column is missing or has two parts, or no target is named.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from heldout.data.parquet import open_parquet
    >>> parts = ("target", "time", "id", "past", "future", "static", "ignore")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pl.DataFrame({"day": ["1999-01-04"], "shop": [7], "sales": [1.5], "visits": [9]}).write_parquet(Path(folder, "a.parquet"))
    ...     chosen = choose_parts(open_parquet(folder), dict.fromkeys(parts) | {"target": ("sales",), "id": "shop"})
    ...     chosen.time, chosen.past
    ('day', ('visits',))
    """
    rules = dict(asked)
    named = {name: rules.pop(name) for name in ("target", "time", "id", "past", "future", "static", "ignore")}
    if not named["target"]:
        raise InputError(
            "target must name at least one column; a table with one series per row is not for data larger than memory"
        )
    part_of: dict[str, str] = {}
    for part, names in named.items():
        for name in _tuple(names):
            _check_part(table, name, part, part_of)
    free = [name for name in table.columns if name not in part_of]
    time, past = named["time"], _tuple(named["past"])
    notes = []
    if time is None and (time := _find_time(table, free)) is not None:
        notes.append(f"the time is column {time!r}")
    if named["past"] is None:
        past = tuple(name for name in free if name != time)
        notes += [f"known up to the present only: {listed(past)}"] * bool(past)
    target, future, static = (_tuple(named[part]) for part in ("target", "future", "static"))
    read = [name for name in (*target, time, *past, *future, *static) if name in table.columns]
    return Parts(target, past, future, static, time, named["id"], rules, tuple(read), tuple(notes))


def _tuple(names: str | Sequence[str] | None) -> tuple[str, ...]:
    return () if names is None else (names,) if isinstance(names, str) else tuple(names)


def _check_part(table: ParquetTable, name: str, part: str, part_of: dict[str, str]) -> None:
    if name not in table.columns and not (name == STEPS_COLUMN and part == "past"):
        near = did_you_mean(name, table.columns)
        raise InputError(f"{part} must name a column of the table, but there is none called {name!r}{near}")
    if name in part_of:
        raise InputError(
            f"a column can have one part, but {name!r} is named in {part_of[name]} and {part}; keep one"
        )
    part_of[name] = part


def _find_time(table: ParquetTable, free: list[str]) -> str | None:
    """Give the first free column that holds times in the first rows."""
    for name in free:
        first = next((batch for _, batch in table.batches([name]) if len(batch)), None)
        if first is not None:
            column = nw.from_native(as_polars(first.column(0), name), series_only=True)
            if read_times(column, table.place, asked=False) is not None:
                return name
    return None


class BlockReader:
    """Reads blocks with `read_series`, so that each comes out as it would as part of the whole table.

    To every block a few series of one row are added and taken off again: they hold each label of the static columns,
    so that all blocks have the same 0/1 columns, and two numbers in every other, so that a column may be empty or
    constant in a block.

    Parameters
    ----------
    table : ParquetTable
        The table, for the places that errors name.
    census : Census
        Its series.
    parts : Parts
        The part of each column.

    Attributes
    ----------
    notes : tuple of str or None
        How the times were read, once they were.
    """

    def __init__(self, table: ParquetTable, census: Census, parts: Parts) -> None:
        self._table = table
        self._census = census
        self._parts = parts
        self.notes: tuple[str, ...] | None = None

    def read(self, block: Block, frequency: Frequency | None, past: Sequence[str]) -> SeriesData:
        """Give the series of a block.

        Parameters
        ----------
        block : Block
            Its rows.
        frequency : Frequency or None
            What one step is; None to infer it from the block.
        past : sequence of str
            The covariates known up to the present.

        Returns
        -------
        SeriesData

        Raises
        ------
        InputError
            As `read_series` does, the place being that in the file; or if the times read differently than those of the
            first block.
        """
        parts = self._parts
        frame = self._with_times(block)
        if parts.id is not None:
            frame = self._with_ids(frame, block)
        try:
            data = read_series(
                frame,
                target=parts.target,
                time=parts.time,
                id=parts.id,
                past=past,
                future=parts.future,
                static=parts.static,
                frequency=frequency,
                layout="long",
                **parts.rules,
            )
        except InputError as error:
            raise InputError(self._placed(str(error), block)) from error
        n_series = block.stop - block.first
        n_rows = int(data.offsets[n_series])
        return replace(
            data,
            values=data.values[:n_rows],
            time=data.time[:n_rows],
            position=data.position[:n_rows],
            offsets=data.offsets[: n_series + 1],
            ids=data.ids[:n_series],
            static=data.static[:n_series],
        )

    def _with_times(self, block: Block) -> pl.DataFrame:
        """Bring times into a form that reads alike whatever the other rows of a block hold."""
        name, frame = self._parts.time, block.frame
        if name is None or frame.schema[name] == pl.Date:
            return frame
        kind = frame.schema[name]
        if isinstance(kind, pl.Datetime) and kind.time_zone in (None, "UTC", "Etc/UTC"):
            return frame.with_columns(pl.col(name).dt.replace_time_zone(None))
        column = nw.from_native(frame[name], series_only=True)
        times = read_times(column, lambda row: self._table.place(int(block.rows[row])))
        if times is None:
            return frame
        notes = tuple(note.split(", which gives the more even")[0] for note in times.notes)
        if self.notes is None:
            self.notes = notes
        if notes != self.notes:
            here = listed(notes) or "so that they stay as they are"
            raise InputError(
                f"the times of data larger than memory must read alike throughout, but from {self._table.place(int(block.rows[0]))} on "
                f"{here}, and before, {listed(self.notes) or 'they stay as they are'}; store {name!r} as dates or times without a zone"
            )
        if times.counted:
            return frame
        return frame.with_columns(pl.Series(name, times.values).cast(pl.Datetime("us")))

    def _with_ids(self, frame: pl.DataFrame, block: Block) -> pl.DataFrame:
        """Add the column of ids, and at the end the series that are taken off again."""
        name = str(self._parts.id)
        names = pl.Series(name, self._census.ids[block.first : block.stop], dtype=pl.String)
        number = np.repeat(np.arange(len(names)), self._census.counts[block.first : block.stop])
        frame = frame.with_columns(names.gather(number))
        n_added = max([2, *map(len, self._census.levels.values())])
        added = [self._added(column, n_added) for column in frame]
        return pl.concat([frame, pl.DataFrame(added)])

    def _added(self, column: pl.Series, n: int) -> pl.Series:
        name, kind = column.name, column.dtype
        levels = self._census.levels.get(name, [0, 1])
        values: list[Any] = [levels[min(k, len(levels) - 1)] for k in range(n)] if levels else [None] * n
        if name == self._parts.id:
            values = [f"{_LAST}{k:09d}" for k in range(n)]
        elif name == self._parts.time:
            values = [column.min()] * n
        elif name not in self._census.levels:
            numeric = kind.is_numeric() or kind in (pl.String, pl.Boolean)
            return pl.Series(name, values if numeric else [None] * n, strict=False).cast(kind)
        return pl.Series(name, values, dtype=kind)

    def _placed(self, message: str, block: Block) -> str:
        """Turn the rows of a block that an error of `read_series` names into rows of files."""

        def place(found: re.Match[str]) -> str:
            row = int(found[1])
            return self._table.place(int(block.rows[row])) if row < len(block.rows) else found[0]

        return re.sub(r"\brow (\d+)\b", place, message)
