"""Series larger than memory: checked once, written to files that are mapped, and found again by what they were made of."""

import json
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from heldout.check import InputError, check_choice, check_number
from heldout.data.block_reader import choose_parts
from heldout.data.cache_build import FILES, make_files
from heldout.data.cache_files import MANIFEST, open_or_make, unheard
from heldout.data.calendar import Frequency
from heldout.data.parquet import Progress, open_parquet
from heldout.data.partition import cut_series
from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.data.sources import test_beside

_FORMAT = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class SeriesCache:
    """One or many series, of which everything long lies in files that are mapped: `SeriesData` larger than memory.

    It can be pickled: what arrives maps the same files.

    Parameters
    ----------
    folder : Path
        Where the files are.
    values : array of shape (n_rows, n_columns), float32 or float64, mapped
        All columns of all series; float32 where every column of the source is exact in it.
    time, position : array of shape (n_rows,), int64, mapped
        As in `SeriesData`.
    offsets : array of shape (n_series + 1,), int64
        Series s holds the rows ``offsets[s]`` to ``offsets[s + 1] - 1``.
    static : array of shape (n_series, n_static), float64
        Numbers that do not change within a series.
    lows : tuple of float
        The least value of each column.
    ids, columns, targets, past, future, static_names, notes : tuple of str
        As in `SeriesData`.
    frequency : Frequency
        What one step of the calendar is.
    horizon, max_gap : int
        As in `SeriesData`.
    last_step_only : bool
        As in `SeriesData`.
    fingerprint : str
        SHA-256 over everything that a fit reads: the same for equal data, however the files it was read from are cut.
    """

    folder: Path
    values: NDArray[Any]
    time: IntArray
    position: IntArray
    offsets: IntArray
    static: FloatArray
    lows: tuple[float, ...]
    ids: tuple[str, ...]
    columns: tuple[str, ...]
    targets: tuple[str, ...]
    past: tuple[str, ...]
    future: tuple[str, ...]
    static_names: tuple[str, ...]
    frequency: Frequency
    horizon: int
    last_step_only: bool
    max_gap: int
    notes: tuple[str, ...]
    fingerprint: str
    _maps: tuple[mmap.mmap, ...] = field(repr=False, default=())

    def __reduce__(self) -> tuple[Any, ...]:
        return _map_again, (self.folder, self.fingerprint, self.notes)

    @property
    def n_rows(self) -> int:
        """Rows over all series."""
        return len(self.values)

    def block(self, first: int, stop: int) -> SeriesData:
        """Give some series in memory.

        Parameters
        ----------
        first, stop : int
            The number of the first series, and of the one after the last.

        Returns
        -------
        SeriesData
            A copy, its values float64.

        Raises
        ------
        InputError
            If there are no such series.
        """
        check_number("first", first, 0, len(self.ids) - 1)
        check_number("stop", stop, first + 1, len(self.ids))
        return self._copy(np.arange(first, stop))

    def blocks(self, most_rows: int = 2_000_000) -> Iterator[tuple[int, int]]:
        """Give the series in runs that fit into memory: arguments of `block`.

        Parameters
        ----------
        most_rows : int, default 2_000_000
            Rows of a run, at least 1; a longer series is a run of its own.

        Yields
        ------
        first, stop : int
            The number of the first series, and of the one after the last.
        """
        check_number("most_rows", most_rows, 1, 2**62)
        yield from cut_series(np.diff(self.offsets), most_rows)

    def sample(self, most_rows: int) -> SeriesData:
        """Give whole series in memory: those in which evenly spaced rows of the panel stand.

        Parameters
        ----------
        most_rows : int
            Rows in all, at least 1; one series is given even if it is longer.

        Returns
        -------
        SeriesData
        """
        check_number("most_rows", most_rows, 1, 2**62)
        counts, n_series = np.diff(self.offsets), len(self.ids)

        def pick(n: int) -> tuple[IntArray, int]:
            places = (2 * np.arange(n) + 1) * (self.n_rows / (2 * n))
            found = np.unique(np.searchsorted(self.offsets, places, side="right") - 1)
            return found, int(counts[found].sum())

        n = min(n_series, max(1, n_series * most_rows // self.n_rows))
        picked, rows = pick(n)
        while rows > most_rows and n > 1:
            n = max(1, min(n - 1, n * most_rows // rows))
            picked, rows = pick(n)
        while len(picked) < n_series:  # several places may lie in one long series
            more, rows = pick(2 * n)
            if rows > most_rows:
                break
            picked, n = more, 2 * n
        return self._copy(picked)

    def release(self) -> None:
        """Let go of the pages of the files that this process has in memory; they are read again when asked for."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for mapped in self._maps:
                mapped.madvise(mmap.MADV_DONTNEED)

    def _copy(self, series: IntArray) -> SeriesData:
        spans = [slice(self.offsets[s], self.offsets[s + 1]) for s in series.tolist()]
        runs = [slice(a.start, b.stop) for a, b in _joined(spans)]
        counts = self.offsets[series + 1] - self.offsets[series]
        return SeriesData(
            values=np.concatenate([self.values[run] for run in runs], dtype=np.float64),
            time=np.concatenate([self.time[run] for run in runs]),
            position=np.concatenate([self.position[run] for run in runs]),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            ids=tuple(self.ids[s] for s in series.tolist()),
            static=self.static[series],
            **{name: getattr(self, name) for name in _SMALL},
            notes=self.notes,
        )


_SMALL = (
    "columns",
    "targets",
    "past",
    "future",
    "static_names",
    "frequency",
    "horizon",
    "last_step_only",
    "max_gap",
)


def _joined(spans: list[slice]) -> list[tuple[slice, slice]]:
    """Spans that follow one another without a hole as first and last."""
    cuts = [k for k, (a, b) in enumerate(pairwise(spans), 1) if a.stop != b.start]
    return [(spans[a], spans[b - 1]) for a, b in pairwise([0, *cuts, len(spans)])]


def open_cache(  # noqa: PLR0913 - one keyword for each part that a column can play, as in read_series
    source: str | Path,
    folder: str | Path,
    *,
    target: str | Sequence[str] = (),
    time: str | None = None,
    id: str | None = None,  # noqa: A002 - the word that users have for it
    past: Sequence[str] | None = None,
    future: Sequence[str] = (),
    static: Sequence[str] = (),
    ignore: Sequence[str] = (),
    horizon: int | None = None,
    last_step_only: bool = False,
    calendar: bool = False,
    missing: Literal["error", "fill"] = "error",
    duplicates: Literal["error", "mean", "last"] = "error",
    max_gap: int = 10,
    frequency: Frequency | None = None,
    layout: Literal["auto", "long", "wide"] = "auto",
    test: object = None,
    progress: Progress | None = None,
) -> SeriesCache:
    """Give the series in Parquet files that need not fit into memory, from a cache that is made where there is none.

    The files are read in batches, checked and sorted as `read_series` does, a block of whole series at a time, and
    written once. A whole cache of the same files and options is opened without reading them again; one that was
    damaged, or made of others, is made again, and the notes say so. What a killed process left of one is removed.

    Inferred from less than all rows: the column of times from the first rows; what one step is, and how times that are
    written as text or numbers are to be read, from the first block of about a million rows. Later blocks are held to it.

    Parameters
    ----------
    source : path
        A Parquet file, or a folder of them with the same columns. Rows may stand in any order.
    folder : path
        Where the cache is: a folder that is new, empty or held one before. It needs 4 or 8 bytes for each value and 16
        for each row, and as much again for a while where the rows of a series do not stand together.
    target, time, id, past, future, static, ignore : str or sequence of str
        The part of each column, as in `read_series`.
    horizon, last_step_only, calendar, missing, duplicates, max_gap, frequency : int, bool, str or Frequency
        As in `read_series`.
    layout, test : optional
        Refused if they ask for one series per row or a test table: these are not for data larger than memory.
    progress : callable, optional
        Called now and then with ``{"stage": "reading ids", "done": 5, "of": 10}``: rows, or bytes while "checking";
        the other stages are "sorting rows" and "writing".

    Returns
    -------
    SeriesCache

    Raises
    ------
    InputError
        As `read_series` does, the place being that in the files; if pyarrow is missing; if the disk is too small; if a
        series has more than 50 million rows; if ``folder`` holds anything else. No cache is then left.

    Examples
    --------
    >>> import tempfile
    >>> import polars as pl
    >>> table = pl.DataFrame({"shop": ["b", "a"] * 60, "sales": np.arange(120.0)})
    >>> with tempfile.TemporaryDirectory() as place:
    ...     table.write_parquet(Path(place, "sales.parquet"))
    ...     cache = open_cache(Path(place, "sales.parquet"), Path(place, "cache"), target="sales", id="shop")
    ...     cache.ids, cache.values[:2].tolist(), cache.block(0, 1).n_rows
    (('a', 'b'), [[1.0], [3.0]], 60)
    """
    _check_form(source, layout, test)
    for name, word, choices in (
        ("missing", missing, "error fill"),
        ("duplicates", duplicates, "error mean last"),
    ):
        check_choice(name, word, choices.split())
    check_number("max_gap", max_gap, 1, 2**31)
    check_number("horizon", 1 if horizon is None else horizon, 1, 2**31)
    lists = {"target": target, "past": past, "future": future, "static": static, "ignore": ignore}
    asked = {
        **{
            name: (given,) if isinstance(given, str) else given and tuple(given)
            for name, given in lists.items()
        },
        "time": time,
        "id": id,
        "horizon": horizon,
        "last_step_only": last_step_only,
        "calendar": calendar,
        "missing": missing,
        "duplicates": duplicates,
        "max_gap": int(max_gap),
    }
    table = open_parquet(source)
    parts = choose_parts(table, asked)
    options = {**asked, "frequency": None if frequency is None else asdict(frequency)}
    made_of = {"source": table.stamps(), "options": options, "version": [_FORMAT, version("heldout")]}
    made_of = json.loads(json.dumps(made_of))
    place, told = Path(folder).resolve(), progress or unheard
    cache, why = open_or_make(
        place,
        FILES,
        made_of,
        lambda new: make_files(new, place, table, parts, frequency, told),
        lambda body: _map(place, body),
        told,
    )
    return replace(cache, notes=(*cache.notes, *[why] * bool(why)))


def _check_form(source: str | Path, layout: str, test: object) -> None:
    check_choice("layout", layout, ("auto", "long", "wide"))
    if layout == "wide":
        raise InputError(
            "data larger than memory must have one row for each series and time, but layout is 'wide'; write it in long form"
        )
    found = test_beside(source) if isinstance(test, str) and test == "auto" else test
    if found is not None and not (isinstance(found, str) and found == "none"):
        raise InputError(
            "data larger than memory has no test table of its own, but test was given; put its rows below the others, where the "
            "last ones are sealed, or say test='none'"
        )


def _map(folder: Path, body: dict[str, Any]) -> SeriesCache:
    small, n_rows = body["series"], body["n_rows"]
    maps = []
    for name in ("values", "time", "position"):
        with (folder / f"{name}.bin").open("rb") as file:
            maps.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    ids = tuple(json.loads((folder / "ids.json").read_bytes()))
    named: dict[str, Any] = {
        name: tuple(small[name]) if isinstance(small[name], list) else small[name] for name in _SMALL
    }
    named["frequency"] = Frequency(**small["frequency"])
    return SeriesCache(
        folder=folder,
        values=np.frombuffer(maps[0], body["dtype"]).reshape(n_rows, -1),
        time=np.frombuffer(maps[1], np.int64),
        position=np.frombuffer(maps[2], np.int64),
        offsets=np.fromfile(folder / "offsets.bin", np.int64),
        static=np.fromfile(folder / "static.bin").reshape(len(ids), len(small["static_names"])),
        lows=tuple(body["lows"]),
        ids=ids,
        **named,
        notes=tuple(body["notes"]),
        fingerprint=body["fingerprint"],
        _maps=tuple(maps),
    )


def _map_again(folder: Path, fingerprint: str, notes: tuple[str, ...]) -> SeriesCache:
    try:
        body = json.loads((folder / MANIFEST).read_bytes())["body"]
        cache = _map(folder, body)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"the cache in {folder} must stay as it is while it is used, but is gone; make it again"
        ) from error
    if cache.fingerprint != fingerprint:
        raise InputError(
            f"the cache in {folder} must stay as it is while it is used, but was made again of other data; name another folder"
        )
    return replace(cache, notes=notes)
