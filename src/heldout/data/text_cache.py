"""Texts larger than memory: checked once, written to files that are mapped, and found again by what they were made of."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from heldout.check import InputError
from heldout.data.cache_files import Sink, check_space, open_or_make, unheard
from heldout.data.mapped import map_file, release
from heldout.data.parquet import ParquetTable, Progress, as_polars, import_pyarrow, open_parquet
from heldout.data.partition import number_values
from heldout.data.series import IntArray
from heldout.data.text_classes import Classes, count_classes
from heldout.data.text_table import TextData, check_apart
from heldout.plots.values import plural

FILES = ("texts.bin", "offsets.bin", "labels.bin", "group.bin", "time.bin")
_FORMAT = 1
_BATCH_BYTES = 16 * 2**20
_NO_SPACE = r"[^\s\x1c-\x1f]"  # what str.strip leaves


@dataclass(frozen=True, kw_only=True, eq=False)
class TextCache:
    """Texts with their classes, all of them in files that are mapped: `TextData` larger than memory.

    Parameters
    ----------
    characters : array of shape (n_bytes,), uint8, mapped
        All texts, one after the other, in UTF-8.
    offsets : array of shape (n + 1,), int64, mapped
        Text k is ``characters[offsets[k]:offsets[k + 1]]``.
    labels : array of shape (n,), int64, mapped
        The place in ``classes`` of each text's class.
    group, time : arrays of shape (n,), int64, mapped, or None
        Of whom or what each text is, as a hash of its name; when.
    classes : tuple of str
        All classes, in the order of `TextData`.
    notes : tuple of str
        What was inferred or looks wrong.
    fingerprint : str
        SHA-256 over everything that a fit reads.
    """

    characters: NDArray[np.uint8]
    offsets: IntArray
    labels: IntArray
    group: IntArray | None
    time: IntArray | None
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.labels)

    def texts(self, first: int, stop: int) -> list[str]:
        """Give the texts from one number to before another."""
        offsets = self.offsets[first : stop + 1].tolist()
        raw = self.characters[offsets[0] : offsets[-1]].tobytes()
        start = offsets[0]
        return [raw[a - start : b - start].decode() for a, b in pairwise(offsets)]

    def blocks(self, most_bytes: int = 16 * 2**20, most_texts: int = 50_000) -> Iterator[tuple[int, int]]:
        """Give the texts in runs that fit into memory: arguments of `texts`.

        Parameters
        ----------
        most_bytes : int, default 16 MiB
            Of the texts of a run; a longer one is a run of its own.
        most_texts : int, default 50_000
            Texts of a run.

        Yields
        ------
        first, stop : int
            The number of the first text, and of the one after the last.
        """
        first = 0
        while first < len(self):
            near = self.offsets[first : first + most_texts + 1]
            fits = int(np.searchsorted(near, near[0] + most_bytes, side="right")) - 1
            stop = min(first + max(fits, 1), len(self))
            yield first, stop
            first = stop

    def sample(self, most_texts: int) -> tuple[TextData, IntArray]:
        """Give texts in memory, picked evenly from each class, and their numbers.

        Parameters
        ----------
        most_texts : int
            How many; a few more where classes are rare, for two of each class come along.

        Returns
        -------
        data : TextData
        rows : array of shape (n,), int64
            In rising order.
        """
        counts = np.zeros(len(self.classes), np.int64)
        for labels in self._labels():
            counts += np.bincount(labels, minlength=len(counts))
        wanted = np.maximum(-(-counts * min(most_texts, len(self)) // len(self)), np.minimum(counts, 2))
        seen, found, first = np.zeros_like(counts), [], 0
        for labels in self._labels():
            order, own = np.argsort(labels, kind="stable"), np.bincount(labels, minlength=len(counts))
            place = np.empty(len(labels), np.int64)  # of each text among those of its class
            place[order] = np.arange(len(labels)) + np.repeat(seen - np.cumsum(own) + own, own)
            # One from each of as many equal stretches: where the share so far, rounded down, rises by one.
            of, share = counts[labels], wanted[labels]
            found.append(first + np.flatnonzero(place * share // of < (place + 1) * share // of))
            seen, first = seen + own, first + len(labels)
        rows = np.concatenate(found)
        group = None if self.group is None else np.unique(self.group[rows], return_inverse=True)[1]
        data = TextData(
            texts=tuple(self.texts(row, row + 1)[0] for row in rows.tolist()),
            labels=np.asarray(self.labels[rows]),
            classes=self.classes,
            group=group,
            time=None if self.time is None else np.asarray(self.time[rows]),
            n_train=len(rows),
            notes=self.notes,
        )
        self.release()
        return data, rows

    def _labels(self) -> Iterator[IntArray]:
        for first in range(0, len(self), 2**20):
            yield np.asarray(self.labels[first : first + 2**20])

    def release(self) -> None:
        """Let go of the pages of the files that this process has in memory; they are read again when asked for."""
        release((self.characters, self.offsets, self.labels, self.group, self.time))


def open_text_cache(
    source: str | Path,
    folder: str | Path,
    *,
    text: str,
    target: str,
    group: str | None = None,
    time: str | None = None,
    progress: Progress | None = None,
) -> TextCache:
    """Give the texts in Parquet files that need not fit into memory, from a cache that is made where there is none.

    The files are read in batches, checked as `heldout.data.text_table.read_texts` does and written once. A whole cache of the same
    files and options is opened without reading them again; one that was damaged, or made of others, is made again, and the notes
    say so.

    Parameters
    ----------
    source : path
        A Parquet file, or a folder of them with the same columns.
    folder : path
        Where the cache is: a folder that is new, empty or held one before. It needs as much as the texts, and 16 to 32
        bytes for each.
    text, target, group, time : str
        The part of each column, as in `read_texts`. Times must be dates, datetimes or whole numbers.
    progress : callable, optional
        Called now and then with ``{"stage": "writing", "done": 5, "of": 10}``: rows, or bytes while "checking"; the other stage is
        "reading labels".

    Returns
    -------
    TextCache

    Raises
    ------
    InputError
        If a column is missing or holds something else, a label, group or time is missing, or all labels are one; if pyarrow is
        missing, the disk is too small or ``folder`` holds anything else. No cache is then left.

    Examples
    --------
    >>> import tempfile
    >>> table = pl.DataFrame({"review": ["Good.", "Bad!", "Fine."], "stars": [5, 1, 5]})
    >>> with tempfile.TemporaryDirectory() as place:
    ...     table.write_parquet(Path(place, "reviews.parquet"))
    ...     cache = open_text_cache(Path(place, "reviews.parquet"), Path(place, "cache"), text="review", target="stars")
    ...     cache.texts(0, 2), cache.classes, cache.labels.tolist()
    (['Good.', 'Bad!'], ('1', '5'), [1, 0, 1])
    """
    columns = {"text": text, "target": target, "group": group, "time": time}
    check_apart(columns)
    table, told = open_parquet(source), progress or unheard
    table.check_columns([name for name in columns.values() if name is not None])
    _check_types(table, text, time)
    made_of = {"source": table.stamps(), "options": columns, "version": [_FORMAT, version("heldout")]}
    made_of = json.loads(json.dumps(made_of))
    place = Path(folder).resolve()
    cache, why = open_or_make(
        place,
        FILES,
        made_of,
        lambda new: _Writer(new, table, columns, told).write(place),
        lambda body: _map(place, body),
        told,
    )
    return replace(cache, notes=(*cache.notes, *[why] * bool(why)))


def _check_types(table: ParquetTable, text: str, time: str | None) -> None:
    if (held := table.dtypes[text]) != pl.String:
        raise InputError(
            f"the text column must hold text, but {text!r} holds {held}; name another with text="
        )
    if time is not None and not ((held := table.dtypes[time]) in (pl.Date, pl.Datetime) or held.is_integer()):
        raise InputError(
            f"times of data larger than memory must be dates or whole numbers, but {time!r} holds {held}; save them as dates"
        )


def _map(folder: Path, body: dict[str, Any]) -> TextCache:
    parts = {
        name: map_file(folder / f"{name}.bin", np.int64) for name in ("offsets", "labels", "group", "time")
    }
    return TextCache(
        characters=map_file(folder / "texts.bin", np.uint8),
        offsets=parts["offsets"],
        labels=parts["labels"],
        group=parts["group"] if body["has_group"] else None,
        time=parts["time"] if body["has_time"] else None,
        classes=tuple(body["classes"]),
        notes=tuple(body["notes"]),
        fingerprint=body["fingerprint"],
    )


class _Writer:
    """Writes the rows of a table, a batch at a time."""

    def __init__(
        self, new: Path, table: ParquetTable, columns: dict[str, str | None], progress: Progress
    ) -> None:
        self.new, self.table, self.columns, self.progress = new, table, columns, progress
        text = columns["text"]
        assert text is not None
        self.text, self.mean_bytes = text, table.mean_bytes(text)
        self.n_empty, self.first_empty, self.end = 0, -1, 0

    def write(self, folder: Path) -> dict[str, Any]:
        """Give the manifest."""
        target = self.columns["target"]
        assert target is not None
        check_space(self.new, folder, int(self.table.n_rows * (self.mean_bytes + 32)))
        classes = count_classes(self.table, target, self.progress)
        with ExitStack() as stack:
            sinks = {name: stack.enter_context(Sink(self.new / name)) for name in FILES}
            sinks["offsets.bin"].write(np.zeros(1, np.int64))
            named = [name for name in self.columns.values() if name is not None]
            size = max(64, int(_BATCH_BYTES / max(self.mean_bytes, 1)))
            for first_row, batch in self.table.batches(named, size):
                parts = dict(zip(named, batch.columns, strict=True))
                self._write(sinks, parts, classes, first_row)
                self.progress({"stage": "writing", "done": first_row + len(batch), "of": self.table.n_rows})
            files = {name: sink.finish() for name, sink in sinks.items()}
        if self.n_empty == self.table.n_rows:
            raise InputError(f"the text column must hold text, but {self.text!r} is empty in all rows")
        content = {
            "classes": classes.names,
            "has_group": self.columns["group"] is not None,
            "has_time": self.columns["time"] is not None,
        }
        hashes = {name: file["sha256"] for name, file in files.items()}
        fingerprint = hashlib.sha256(json.dumps([content, hashes], sort_keys=True).encode()).hexdigest()
        return {**content, "files": files, "notes": self._notes(classes), "fingerprint": fingerprint}

    def _notes(self, classes: Classes) -> list[str]:
        if not self.n_empty:
            return list(classes.notes)
        are, where = "is" if self.n_empty == 1 else "are", self.table.place(self.first_empty)
        of = plural(self.table.n_rows, "text")
        return [f"{self.n_empty:,} of {of} {are} empty, the first in {where}", *classes.notes]

    def _write(self, sinks: dict[str, Sink], parts: dict[str, Any], classes: Classes, first_row: int) -> None:
        arrow = import_pyarrow()
        texts = parts[self.text].cast(arrow.large_string()).fill_null("")
        texts.validate(full=True)  # bytes that are no UTF-8
        empty = np.flatnonzero(~as_polars(texts, "text").str.contains(_NO_SPACE).to_numpy())
        if len(empty) and self.first_empty < 0:
            self.first_empty = first_row + int(empty[0])
        self.n_empty += len(empty)
        whole = arrow.concat_arrays([texts.slice(0, 0), texts])  # begins at its first byte
        _, ends, raw = whole.buffers()
        offsets = np.frombuffer(ends, np.int64, len(texts) + 1)
        sinks["texts.bin"].write(np.frombuffer(raw or b"", np.uint8)[offsets[0] : offsets[-1]])
        sinks["offsets.bin"].write(self.end + offsets[1:] - offsets[0])
        self.end += int(offsets[-1] - offsets[0])
        target, group, time = (self.columns[name] for name in ("target", "group", "time"))
        assert target is not None
        sinks["labels.bin"].write(classes.numbers(as_polars(parts[target], target)))
        if group is not None:
            sinks["group.bin"].write(_hashes(self._whole(parts[group], group, first_row)))
        if time is not None:
            sinks["time.bin"].write(_moments(self._whole(parts[time], time, first_row)))

    def _whole(self, column: Any, name: str, first_row: int) -> pl.Series:
        found = as_polars(column, name)
        missing = found.is_null() | (found.is_nan() if found.dtype.is_float() else False)
        if missing.any():
            where = self.table.place(first_row + int(missing.arg_max() or 0))
            raise InputError(
                f"column {name!r} must have a value in every row, but is empty in {where}; fill it in"
            )
        return found


def _hashes(column: pl.Series) -> IntArray:
    """A number for each name, the same wherever it stands."""
    names = column.unique().to_list()
    numbers = [
        int.from_bytes(hashlib.blake2b(str(name).encode(), digest_size=8).digest(), "little", signed=True)
        for name in names
    ]
    return number_values(column, names, numbers)


def _moments(column: pl.Series) -> IntArray:
    """Microseconds since 1970-01-01 (UTC), or the numbers as they are."""
    return (column.dt.epoch("us") if column.dtype.is_temporal() else column.cast(pl.Int64)).to_numpy()
