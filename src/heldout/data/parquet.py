"""Parquet files as one table that is read in batches of rows, never whole."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from heldout.check import InputError, did_you_mean

Progress = Callable[[dict[str, Any]], None]

_BATCH_BYTES = 16 * 2**20
_BATCH_ROWS = 2**17
_PAGE_BUFFER = 2**20  # a column of a large row group then arrives in pieces, not whole
_TEXT_BYTES = 24  # what a cell of varying length is taken to need


@dataclass(frozen=True, eq=False)
class ParquetTable:
    """Parquet files with the same columns, one after the other.

    Parameters
    ----------
    files : tuple of Path
        In the order of their names.
    lengths : tuple of int
        Rows of each.
    schema : pyarrow Schema
        The columns; dictionaries stand as what they hold.
    """

    files: tuple[Path, ...]
    lengths: tuple[int, ...]
    schema: Any

    @property
    def n_rows(self) -> int:
        """Rows over all files."""
        return sum(self.lengths)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self.schema.names)

    @cached_property
    def dtypes(self) -> dict[str, pl.DataType]:
        """What each column holds."""
        empty: Any = pl.from_arrow(self.schema.empty_table())
        return dict(empty.schema)

    def row_bytes(self, columns: Sequence[str]) -> int:
        """About how many bytes a row of these columns needs in memory."""
        return sum(_cell_bytes(self.schema.field(name).type) for name in columns)

    def mean_bytes(self, column: str) -> float:
        """Bytes of a cell of a column, on average, as they were before they were compressed."""
        total = 0
        for path in self.files:
            with import_pyarrow().parquet.ParquetFile(path, pre_buffer=False) as file:
                groups = [file.metadata.row_group(k) for k in range(file.metadata.num_row_groups)]
            parts = [group.column(k) for group in groups for k in range(group.num_columns)]
            total += sum(part.total_uncompressed_size for part in parts if part.path_in_schema == column)
        return total / self.n_rows

    def check_columns(self, names: Sequence[str]) -> None:
        """Raise `InputError` if there is no such column.

        Parameters
        ----------
        names : sequence of str
            The columns.
        """
        for name in names:
            if name not in self.columns:
                near = did_you_mean(name, self.columns)
                has = "" if near else f"; it has {', '.join(map(repr, self.columns))}"
                raise InputError(f"there is no column {name!r} in the table{near}{has}")

    def batches(self, columns: Sequence[str], size: int | None = None) -> Iterator[tuple[int, Any]]:
        """Give the rows of some columns in order, in batches.

        Parameters
        ----------
        columns : sequence of str
            The columns.
        size : int, optional
            Rows of a batch at most; by default as many as 16 MB hold, if texts are short.

        Yields
        ------
        first_row : int
            The number of the batch's first row, counted over all files.
        batch : pyarrow RecordBatch
            The columns in the order asked for.

        Raises
        ------
        InputError
            If a file is damaged.
        """
        size = min(_BATCH_ROWS, size or max(1, _BATCH_BYTES // max(1, self.row_bytes(columns))))
        first_row = 0
        for path in self.files:
            for batch in _file_batches(path, columns, size):
                yield first_row, batch
                first_row += len(batch)

    def place(self, row: int) -> str:
        """Say where row number ``row``, counted from 0 over all files, is found: ``"row 3 of shops.parquet"``."""
        starts = (0, *accumulate(self.lengths))
        number = int(np.searchsorted(starts, row, side="right")) - 1
        return f"row {row - starts[number]} of {self.files[number]}"

    def stamps(self) -> list[dict[str, Any]]:
        """Say of each file what changes with its content: path, size, times of change and SHA-256 of its footer."""
        return [_stamp(path) for path in self.files]


def open_parquet(source: object) -> ParquetTable:
    """Open a Parquet file, or all of a folder, without reading a row.

    Parameters
    ----------
    source : path
        A file; or a folder, of which every ``*.parquet`` is read, those of folders in it too, in the order of their
        names; but not those whose name, or a folder's, begins with ``.`` or ``_``, nor those in a run directory of heldout.

    Returns
    -------
    ParquetTable

    Raises
    ------
    InputError
        If pyarrow is not installed, there is no file, one is damaged, the files differ in their columns, or none holds
        a row.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pl.DataFrame({"shop": ["a", "b"], "sales": [1.5, 2.5]}).write_parquet(Path(folder, "part-1.parquet"))
    ...     pl.DataFrame({"shop": ["c"], "sales": [0.5]}).write_parquet(Path(folder, "part-2.parquet"))
    ...     table = open_parquet(folder)
    ...     table.columns, table.n_rows, Path(table.place(2)).name
    (['shop', 'sales'], 3, 'part-2.parquet')
    """
    files = _files(source)
    footers = [_footer(path) for path in files]
    schema = _plain(footers[0][0])
    repeated = [name for name in schema.names if schema.names.count(name) > 1]
    if repeated:
        raise InputError(f"column names must be unique, but {files[0]} has {repeated[0]!r} twice; rename one")
    for path, (other, _) in zip(files[1:], footers[1:], strict=True):
        _check_alike(files[0], schema, path, _plain(other))
    table = ParquetTable(tuple(files), tuple(n_rows for _, n_rows in footers), schema)
    if not table.n_rows or not table.columns:
        raise InputError(f"a table must have rows and columns, but {source} has none")
    return table


def import_pyarrow() -> Any:
    """Give the module, which is an extra and therefore imported late.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        import_module("pyarrow.parquet")
        return import_module("pyarrow")
    except ImportError as error:
        raise InputError(
            "reading data larger than memory needs pyarrow: pip install 'heldout[parquet]'"
        ) from error


def _files(source: object) -> list[Path]:
    if not isinstance(source, str | Path):
        raise InputError(
            f"data larger than memory must be a Parquet file or a folder of them, got {type(source).__name__}; write "
            "it to one, or read it with read_series"
        )
    path = Path(source).resolve()
    if path.is_dir():
        files = sorted(item for item in path.rglob("*.parquet") if item.is_file() and _is_data(path, item))
        if not files:
            raise InputError(
                f"a folder of Parquet files must hold *.parquet, but {source} holds none; save them as Parquet"
            )
        return files
    if not path.is_file():
        near = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
        raise InputError(f"there is no file {source}{did_you_mean(path.name, near)}")
    return [path]


def _is_data(folder: Path, file: Path) -> bool:
    """Whether a file is not what others keep beside data: hidden, begun with an underscore as by Spark, or in a run directory."""
    between = file.relative_to(folder)
    return not any(part[0] in "._" for part in between.parts) and not any(
        (folder / inner / "run.json").exists() for inner in list(between.parents)[:-1]
    )


def _footer(path: Path) -> tuple[Any, int]:
    arrow = import_pyarrow()
    try:
        with arrow.parquet.ParquetFile(path, pre_buffer=False) as file:
            return file.schema_arrow, file.metadata.num_rows
    except (arrow.ArrowException, OSError) as error:
        with path.open("rb") as other:
            begins = other.read(4)
        if begins != b"PAR1":
            what = f"{path} is none; save it as Parquet" if begins else f"{path} is empty; get it again"
            raise InputError(
                f"data larger than memory, or for workers that train together, must be Parquet, but {what}"
            ) from error
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    why = (str(error).splitlines() or [type(error).__name__])[0]
    return InputError(f"{path} must be a whole Parquet file, but it is damaged ({why}); get it again")


def _plain(schema: Any) -> Any:
    """The schema with dictionaries as what they hold: which values a file wrote as a dictionary is its own affair."""
    arrow = import_pyarrow()
    fields = [
        arrow.field(item.name, item.type.value_type if arrow.types.is_dictionary(item.type) else item.type)
        for item in schema
    ]
    return arrow.schema(fields)


def _check_alike(first: Path, schema: Any, path: Path, other: Any) -> None:
    rule = "all Parquet files of a folder must have the same columns"
    for one, two, lacking in ((schema, other, path), (other, schema, first)):
        missing = [name for name in one.names if name not in two.names]
        if missing:
            raise InputError(
                f"{rule}, but {lacking} has no column {missing[0]!r}; add it, or remove the file"
            )
    for name in schema.names:
        here, there = schema.field(name).type, other.field(name).type
        if here != there:
            raise InputError(
                f"{rule}, but column {name!r} holds {there} in {path} and {here} in {first}; write them alike"
            )


def _file_batches(path: Path, columns: Sequence[str], size: int) -> Iterator[Any]:
    arrow = import_pyarrow()
    try:
        with arrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=_PAGE_BUFFER) as file:
            batches = file.iter_batches(size, columns=list(columns), use_threads=False)
            while (batch := next(batches, None)) is not None:
                # By name: a column "a" brings "a.b" along.
                plain = batch.select(list(columns))
                yield plain.cast(_plain(plain.schema))
    except (arrow.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _cell_bytes(kind: Any) -> int:
    try:
        return max(1, int(kind.bit_width) // 8)
    except ValueError:
        return _TEXT_BYTES


def _stamp(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8))
        length = int.from_bytes(file.read(4), "little")
        file.seek(max(0, size - 8 - length))
        footer = hashlib.sha256(file.read()).hexdigest()
    found = path.stat()
    times = {
        "mtime_ns": found.st_mtime_ns,
        "ctime_ns": found.st_ctime_ns,
    }  # the former can be set to what it was
    return {"path": str(path), "size": size, **times, "footer": footer}


def as_polars(column: Any, name: str) -> pl.Series:
    """Give a pyarrow array as a polars series.

    Parameters
    ----------
    column : pyarrow Array
        The values.
    name : str
        What to call it.
    """
    series: Any = pl.from_arrow(column)
    return series.alias(name)
