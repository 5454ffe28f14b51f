"""The rows of Parquet files in blocks of whole series, in whatever order they stand."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from heldout.check import InputError
from heldout.data.parquet import ParquetTable, Progress, as_polars, import_pyarrow
from heldout.data.series import IntArray

_BUCKET_BYTES = 200 * 2**20
_MOST_BUCKETS = 400  # files that are open at once


@dataclass(frozen=True, eq=False)
class Census:
    """The series of a table and how many rows each has.

    Parameters
    ----------
    ids : tuple of str
        The distinct ids, sorted as text.
    counts : array of shape (n_series,), int64
        Rows of each.
    in_order : bool
        The rows stand series by series, in the order of ``ids``.
    levels : dict of str to list
        The distinct values of each column asked for, sorted as text.
    number_of : dict
        The number of each value of the id column among ``ids``.
    """

    ids: tuple[str, ...]
    counts: IntArray
    in_order: bool
    levels: dict[str, list[Any]]
    number_of: dict[Any, int]


@dataclass(eq=False)
class _Count:
    """Distinct values in the order in which they are met, and their counts so far."""

    codes: dict[Any, int] = field(default_factory=dict)
    counts: list[int] = field(default_factory=list)
    contiguous: bool = True
    last: int = -1

    def add(self, column: pl.Series) -> None:
        distinct = column.unique(maintain_order=True).to_list()
        for value in distinct:
            if value not in self.codes:
                self.codes[value] = len(self.codes)
                self.counts.append(0)
        known = np.array([self.codes[value] for value in distinct], np.int64)
        places = number_values(column, distinct, range(len(distinct)))
        for number, count in zip(known.tolist(), np.bincount(places).tolist(), strict=True):
            self.counts[number] += count
        codes = known[places]
        # Numbered as they are met, series that stand apart never go back.
        self.contiguous &= bool(codes[0] >= self.last and (np.diff(codes) >= 0).all())
        self.last = int(codes[-1])


def number_values(column: pl.Series, distinct: list[Any], numbers: Sequence[int]) -> IntArray:
    """Give each row the number of its value.

    Parameters
    ----------
    column : polars Series
        The values, none missing.
    distinct : list
        The distinct ones.
    numbers : sequence of int
        The number of each of these.

    Examples
    --------
    >>> number_values(pl.Series(["b", "a", "b"]), ["b", "a"], [1, 0])
    array([1, 0, 1])
    """
    return column.replace_strict(distinct, list(numbers), return_dtype=pl.Int64).to_numpy()


def take_census(
    table: ParquetTable,
    id: str | None,  # noqa: A002 - as in read_series
    static: Sequence[str],
    progress: Progress,
) -> Census:
    """Read the ids of a table once, and the labels of its static columns with them.

    Parameters
    ----------
    table : ParquetTable
        The table.
    id : str or None
        The column that tells several series apart; None where there is one series.
    static : sequence of str
        Columns of labels, of which the distinct values are wanted.
    progress : callable
        Called after each batch.

    Returns
    -------
    Census

    Raises
    ------
    InputError
        If an id is missing.

    Examples
    --------
    >>> import tempfile
    >>> from heldout.data.parquet import open_parquet
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pl.DataFrame({"shop": [10, 9, 9]}).write_parquet(Path(folder, "sales.parquet"))
    ...     census = take_census(open_parquet(folder), "shop", (), lambda done: None)
    ...     census.ids, census.counts, census.in_order
    (('10', '9'), array([1, 2]), True)
    """
    if id is None:
        return Census(("series",), np.array([table.n_rows], np.int64), True, {}, {})
    seen, levels = _Count(), {name: set[Any]() for name in static}
    for first_row, batch in table.batches([id, *static]):
        column = as_polars(batch.column(0), id)
        missing = column.is_null() | (column.is_nan() if column.dtype.is_float() else False)
        if missing.any():
            row = first_row + int(missing.arg_max() or 0)
            raise InputError(
                f"column {id!r} must have a value in every row, but is empty in {table.place(row)}; fill it in"
            )
        seen.add(column)
        for number, name in enumerate(static, 1):
            levels[name].update(as_polars(batch.column(number), name).unique().drop_nulls().to_list())
        progress({"stage": "reading ids", "done": first_row + len(batch), "of": table.n_rows})
    return _sorted_census(seen, {name: sorted(values, key=str) for name, values in levels.items()})


def _sorted_census(seen: _Count, levels: dict[str, list[Any]]) -> Census:
    whole = all(isinstance(value, float) and value.is_integer() for value in seen.codes)
    texts = [str(int(value)) if whole else str(value) for value in seen.codes]
    ids = tuple(sorted(set(texts)))
    number = {text: k for k, text in enumerate(ids)}
    numbers = np.array([number[text] for text in texts], np.int64)
    counts = np.zeros(len(ids), np.int64)
    np.add.at(counts, numbers, seen.counts)
    number_of = dict(zip(seen.codes, numbers.tolist(), strict=True))
    return Census(ids, counts, bool(seen.contiguous and (np.diff(numbers) > 0).all()), levels, number_of)


def cut_series(counts: IntArray, most_rows: int) -> list[tuple[int, int]]:
    """Cut series into runs of whole ones, each of at most so many rows, or of one series.

    Parameters
    ----------
    counts : array of shape (n_series,), int64
        Rows of each series.
    most_rows : int
        Rows of a run, at least 1.

    Returns
    -------
    list of (int, int)
        The first series of each run, and the one after its last.

    Examples
    --------
    >>> cut_series(np.array([2, 2, 9, 1]), 4)
    [(0, 2), (2, 3), (3, 4)]
    """
    offsets = np.concatenate([[0], np.cumsum(counts)])
    runs, first = [], 0
    while first < len(counts):
        fits = int(np.searchsorted(offsets, offsets[first] + most_rows, side="right")) - 1
        runs.append((first, max(fits, first + 1)))
        first = runs[-1][1]
    return runs


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of whole series.

    Parameters
    ----------
    first, stop : int
        The first series, and the one after the last.
    frame : polars DataFrame
        The columns without the ids, sorted by series and else as in the files.
    rows : array of shape (n_rows,), int64
        The row of the table that each was.
    """

    first: int
    stop: int
    frame: pl.DataFrame
    rows: IntArray


@dataclass(frozen=True, eq=False)
class Blocks:
    """The rows of a table in blocks; those that do not stand series by series are sorted through files.

    Parameters
    ----------
    table : ParquetTable
        The table.
    census : Census
        Its series.
    id : str or None
        The column of ids.
    columns : sequence of str
        The other columns to read.
    spans : sequence of (int, int)
        The series of each block.
    scratch : Path
        An empty folder, for files that hold about 200 MB of sorted rows each. Whoever made it removes it.
    progress : callable
        Called after each batch that is sorted.
    """

    table: ParquetTable
    census: Census
    id: str | None
    columns: Sequence[str]
    spans: Sequence[tuple[int, int]]
    scratch: Path
    progress: Progress

    def __iter__(self) -> Iterator[Block]:
        """Give the blocks in order; sorting comes first where it must, once."""
        return self._streamed() if self.census.in_order else self._sorted()

    @property
    def scratch_bytes(self) -> int:
        """About how much disk space sorting needs."""
        return 0 if self.census.in_order else self.table.n_rows * self._row_bytes

    @property
    def _row_bytes(self) -> int:
        return self.table.row_bytes(self.columns) + 12

    def _streamed(self) -> Iterator[Block]:
        frames: Iterator[Any] = (pl.from_arrow(batch) for _, batch in self.table.batches(self.columns))
        held: pl.DataFrame = next(frames)
        first_row = 0
        for first, stop in self.spans:
            n_rows = int(self.census.counts[first:stop].sum())
            parts, n_held = [held], len(held)
            while n_held < n_rows:
                parts.append(next(frames, held[:0]))
                if not len(parts[-1]):
                    raise InputError(f"{self.table.files[-1]} must not change while it is read; begin again")
                n_held += len(parts[-1])
            whole = pl.concat(parts)
            held = whole[n_rows:]
            yield Block(first, stop, whole[:n_rows], np.arange(first_row, first_row + n_rows))
            first_row += n_rows

    def _sorted(self) -> Iterator[Block]:
        counts = self.census.counts
        rows_of_spans = np.array([counts[first:stop].sum() for first, stop in self.spans], np.int64)
        most = max(_BUCKET_BYTES, self.table.n_rows * self._row_bytes // _MOST_BUCKETS)
        buckets = cut_series(rows_of_spans, max(1, most // self._row_bytes))
        paths = [self.scratch / f"{number}.arrow" for number in range(len(buckets))]
        if not all(path.exists() for path in paths):
            ends = [self.spans[stop - 1][1] for _, stop in buckets]
            self._deal(paths, np.searchsorted(ends, np.arange(len(counts)), side="right").astype(np.int64))
        for path, (first, stop) in zip(paths, buckets, strict=True):
            yield from _bucket_blocks(path, self.spans[first:stop])

    def _deal(self, paths: list[Path], bucket_of: IntArray) -> None:
        """Write each row, with the number of its series and its own, into the file of its series."""
        arrow = import_pyarrow()
        asked = [self.id or "", *self.columns]
        fields = [("series", arrow.int32()), ("row", arrow.int64())]
        schema = arrow.schema([*fields, *(self.table.schema.field(name) for name in self.columns)])
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("wb")) for path in paths]
            writers = [stack.enter_context(arrow.ipc.new_stream(file, schema)) for file in files]
            for first_row, batch in self.table.batches(asked):
                ids = as_polars(batch.column(0), "id")
                distinct = ids.unique().to_list()
                number_of = [self.census.number_of[value] for value in distinct]
                series = number_values(ids, distinct, number_of)
                bucket = bucket_of[series]
                order = np.argsort(bucket, kind="stable")
                rows = arrow.array(np.arange(first_row, first_row + len(batch)))
                columns = [arrow.array(series.astype(np.int32)), rows, *batch.columns[1:]]
                sorted_batch = arrow.RecordBatch.from_arrays(columns, schema=schema).take(arrow.array(order))
                ends = np.searchsorted(bucket[order], np.arange(len(paths) + 1))
                for writer, start, stop in zip(writers, ends[:-1], ends[1:], strict=True):
                    if stop > start:
                        writer.write_batch(sorted_batch.slice(start, stop - start))
                self.progress(
                    {"stage": "sorting rows", "done": first_row + len(batch), "of": self.table.n_rows}
                )


def _bucket_blocks(path: Path, spans: Sequence[tuple[int, int]]) -> Iterator[Block]:
    with path.open("rb") as file, import_pyarrow().ipc.open_stream(file) as stream:
        table = stream.read_all()
    series, rows = (table.column(k).to_numpy() for k in (0, 1))
    frame: Any = pl.from_arrow(table.select(list(range(2, table.num_columns))))
    del table
    order = np.argsort(series, kind="stable")
    series = series[order]
    for first, stop in spans:
        chosen = order[np.searchsorted(series, first) : np.searchsorted(series, stop)]
        yield Block(first, stop, frame[chosen], rows[chosen])
