"""How a cache is made: blocks of whole series, checked, and written to files one after the other."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from heldout.check import InputError
from heldout.data.block_reader import BlockReader, Parts
from heldout.data.cache_files import Sink, check_space
from heldout.data.calendar import Frequency
from heldout.data.columns import STEPS_COLUMN
from heldout.data.parquet import ParquetTable, Progress
from heldout.data.partition import Blocks, Census, cut_series, take_census
from heldout.data.series import FloatArray, IntArray, SeriesData

FILES = ("values.bin", "time.bin", "position.bin", "offsets.bin", "static.bin", "ids.json")
"""What a cache of series holds beside its manifest."""
MOST_SERIES_ROWS = 50_000_000
"""A series is read into memory whole."""
_BLOCK_BYTES = 64 * 2**20  # the values of a block that is read at once
_FLOAT32 = (pl.Float32, pl.Float16, pl.Boolean, pl.Int8, pl.Int16, pl.UInt8, pl.UInt16)
_HORIZON = "the horizon is"  # begins the note on it
_MADE_COLUMNS = 7  # at most: the calendar and the steps between rows


def make_files(
    new: Path,
    folder: Path,
    table: ParquetTable,
    parts: Parts,
    frequency: Frequency | None,
    progress: Progress,
) -> dict[str, Any]:
    """Write the files of a cache.

    Parameters
    ----------
    new : Path
        An empty folder, for the files.
    folder : Path
        Where they will be, for errors.
    table : ParquetTable
        What is read.
    parts : Parts
        The part of each column.
    frequency : Frequency or None
        What one step is; None to infer it from the first block.
    progress : callable
        See `heldout.data.cache.open_cache`.

    Returns
    -------
    dict
        The manifest of the files.

    Raises
    ------
    InputError
        See `heldout.data.cache.open_cache`.
    """
    labels = [name for name in parts.static if not table.dtypes[name].is_numeric()]
    census = take_census(table, parts.id, labels, progress)
    _check_longest(census)
    n_columns = len(parts.columns) + _MADE_COLUMNS
    spans = cut_series(census.counts, max(1, _BLOCK_BYTES // (8 * n_columns)))
    scratch = new / "sorted"
    scratch.mkdir()
    blocks = Blocks(table, census, parts.id, parts.columns, spans, scratch, progress)
    exact = all(table.dtypes[name] in _FLOAT32 for name in parts.values if name in table.dtypes)
    dtype = "float32" if exact else "float64"
    n_bytes = table.n_rows * (n_columns * np.dtype(dtype).itemsize + 16) + blocks.scratch_bytes
    check_space(new, folder, n_bytes)
    writer = _Writer(new, table, parts, frequency, dtype, progress)
    try:
        manifest = writer.write(blocks, census, parts.past)
        if manifest is None and STEPS_COLUMN not in table.columns:
            manifest = writer.write(blocks, census, (*parts.past, STEPS_COLUMN))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if manifest is None:
        raise InputError(
            f"a column of uneven steps must be added, but the table has one called {STEPS_COLUMN!r}; rename it"
        )
    return manifest


def _check_longest(census: Census) -> None:
    longest = int(census.counts.argmax())
    if census.counts[longest] > MOST_SERIES_ROWS:
        raise InputError(
            f"a series must have at most {MOST_SERIES_ROWS} rows, to be read into memory, but {census.ids[longest]!r} has "
            f"{census.counts[longest]}; cut it into several"
        )


class _Writer:
    """Writes the blocks of a table, one after the other, and what holds for all of them in the end."""

    def __init__(
        self,
        new: Path,
        table: ParquetTable,
        parts: Parts,
        frequency: Frequency | None,
        dtype: str,
        progress: Progress,
    ) -> None:
        self._new = new
        self._table = table
        self._parts = parts
        self._frequency = frequency
        self._dtype = dtype
        self._progress = progress

    def write(self, blocks: Blocks, census: Census, past: Sequence[str]) -> dict[str, Any] | None:
        """Give the manifest, or None where steps are uneven and the first block did not show it."""
        reader = BlockReader(self._table, census, self._parts)
        totals = _Totals()
        frequency = self._frequency
        with ExitStack() as stack:
            sinks = {name: stack.enter_context(Sink(self._new / name)) for name in FILES}
            for block in blocks:
                data = reader.read(block, frequency, past)
                frequency = data.frequency
                if not totals.add(data):
                    return None
                sinks["values.bin"].write(data.values.astype(self._dtype, copy=False))
                sinks["time.bin"].write(data.time)
                sinks["position.bin"].write(data.position)
                self._progress(
                    {
                        "stage": "writing",
                        "done": int(census.counts[: block.stop].sum()),
                        "of": self._table.n_rows,
                    }
                )
            sinks["offsets.bin"].write(totals.offsets)
            sinks["static.bin"].write(np.concatenate(totals.static))
            sinks["ids.json"].write(json.dumps(census.ids).encode())
            files = {name: sink.finish() for name, sink in sinks.items()}
        fills = self._parts.rules["missing"] == "fill"
        checked = totals.check(may_stay=self._frequency is not None, may_miss=fills)
        notes = [*self._parts.notes, *(reader.notes or ()), *totals.notes, *totals.horizon_notes, *checked]
        return self._manifest(files, totals, notes)

    def _manifest(self, files: dict[str, Any], totals: "_Totals", notes: list[str]) -> dict[str, Any]:
        series = {**totals.same, "horizon": totals.horizon}
        content = {"series": series, "dtype": self._dtype, "n_rows": int(totals.offsets[-1])}
        content["lows"] = totals.lows.tolist()
        hashes = {name: file["sha256"] for name, file in files.items()}
        fingerprint = hashlib.sha256(json.dumps([content, hashes], sort_keys=True).encode()).hexdigest()
        return {**content, "files": files, "notes": list(dict.fromkeys(notes)), "fingerprint": fingerprint}


class _Totals:
    """What is known of all blocks so far."""

    def __init__(self) -> None:
        self.same: dict[str, Any] = {}
        self.notes: list[str] = []
        self.static: list[FloatArray] = []
        self.horizon = 1
        self.horizon_notes: list[str] = []
        self._counts: list[IntArray] = []
        self._missing = np.zeros(0, np.int64)
        self.lows = self._high = np.zeros(0)

    def add(self, data: SeriesData) -> bool:
        """Take a block in, unless its columns are not those of the first."""
        names = ("columns", "targets", "past", "future", "static_names", "last_step_only", "max_gap")
        same = {**{name: getattr(data, name) for name in names}, "frequency": asdict(data.frequency)}
        # Numbers in the notes are those of a block: what all blocks say holds for the table.
        notes = [note for note in data.notes if " misses " not in note and not note.startswith(_HORIZON)]
        if not self.same:
            self.same, self.notes = same, notes
            self._missing = np.zeros(len(data.columns), np.int64)
            self.lows = self._high = np.full(len(data.columns), np.nan)
        if same != self.same:
            return False
        self.notes = [note for note in self.notes if note in notes]
        self.static.append(data.static)
        # The default is the usual one unless that is more than a tenth of the longest series, which one block holds.
        if data.horizon > self.horizon or not self._counts:
            self.horizon = data.horizon
            self.horizon_notes = [note for note in data.notes if note.startswith(_HORIZON)]
        self._counts.append(np.diff(data.offsets))
        self._missing += np.isnan(data.values).sum(axis=0)
        self.lows = np.fmin(self.lows, np.fmin.reduce(data.values, axis=0))
        self._high = np.fmax(self._high, np.fmax.reduce(data.values, axis=0))
        return True

    @property
    def offsets(self) -> IntArray:
        """The first row of each series, and the number of rows."""
        return np.concatenate([[0], *self._counts]).cumsum().astype(np.int64)

    def check(self, *, may_stay: bool, may_miss: bool) -> list[str]:
        """Refuse columns that say nothing, as `read_series` does, and note those that say little."""
        notes, n_rows = [], int(self.offsets[-1])
        for number, name in enumerate(self.same["columns"]):
            missing, low = int(self._missing[number]), float(self.lows[number])
            if missing == n_rows:
                raise InputError(
                    f"column {name!r} must hold numbers, but every row is empty; leave it out with ignore={name!r}"
                )
            if missing and may_miss:
                notes.append(f"column {name!r} misses {missing} of {n_rows} values, filled in by the fit")
            if low != self._high[number] or name == STEPS_COLUMN:
                continue
            if name not in self.same["targets"]:
                notes.append(f"column {name!r} is {low:g} in every row and tells the model nothing")
            elif not may_stay:
                raise InputError(
                    f"a target must change, but column {name!r} is {low:g} in every row; name another target"
                )
        return notes
