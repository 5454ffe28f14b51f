"""What has been done, kept in one SQLite file: every finished fit, every event, every look at the sealed test.

A fit is known by the SHA-256 of its inputs, so the same command given again finds what is finished and does the rest.
A kill at any moment leaves the file as it was before or after a write, never between.
"""

import hashlib
import json
import math
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as read_arrays
from safetensors.numpy import save as write_arrays

from heldout.check import InputError

VERSION = 1
APPLICATION = 0x48454C44  # "HELD": how this file is told from any other SQLite file
LOOK = "look at the sealed test"
TABLES = """
CREATE TABLE fits (key TEXT PRIMARY KEY, name TEXT NOT NULL, spec TEXT NOT NULL, scores TEXT NOT NULL,
    history TEXT NOT NULL, arrays BLOB NOT NULL, model BLOB, seconds REAL NOT NULL, sha256 TEXT NOT NULL);
CREATE TABLE events (id INTEGER PRIMARY KEY, at TEXT NOT NULL, key TEXT NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL);
CREATE TRIGGER events_stay BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_hold BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Finished:
    """A finished fit.

    Parameters
    ----------
    name : str
        What a person calls it, such as "fold 3, seed 0".
    spec : dict
        What was fitted; what JSON can hold.
    scores : dict
        What came out, as numbers; what JSON can hold. A NaN or an infinity is kept as None, here and in `history`.
    history : list of dict
        One entry per epoch.
    arrays : dict of str to array
        Per-sample losses, predictions and the like; dtype and shape are kept.
    model : bytes or None, default None
        The fitted model, as `heldout.training.checkpoint.dump_tensors` gives it.
    seconds : float, default 0
        What it took.
    """

    name: str
    spec: dict[str, Any]
    scores: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    model: bytes | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Event:
    """One line of the record: ``when`` (UTC, ISO 8601), the ``key`` of the fit or "", ``what`` happened, ``detail``."""

    when: str
    key: str
    what: str
    detail: str


class Ledger:
    """The memory of a run, in one file that outlives any crash.

    Parameters
    ----------
    path : path
        The file, made if it is missing; its folder must be there.
    readonly : bool, default False
        Only look; the file must be there. The folder may be one that cannot be written to.

    Raises
    ------
    InputError
        If the file is no ledger, is damaged, or was written by a newer version.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder, "ledger.sqlite")) as ledger:
    ...     ledger.add("ab12", Finished(name="fold 0", spec={"units": 8}, scores={"mae": 0.5}))
    ...     "ab12" in ledger, ledger.get("ab12").scores, ledger.look("final scores")
    (True, {'mae': 0.5}, 1)
    """

    def __init__(self, path: str | os.PathLike[str], *, readonly: bool = False) -> None:
        self.path = Path(path)
        self.readonly = readonly
        if readonly and not self.path.is_file():
            raise InputError(f"{self.path}: there is no such ledger; check the path of the run")
        try:
            with self._named():
                self._db = sqlite3.connect(self._address(), uri=True, timeout=30, isolation_level=None)
        except InputError as error:
            raise InputError(f"{error}; check that the folder is there and may be written to") from error
        try:
            self._open()
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the ledger cannot be used any more."""
        self._db.close()

    def __contains__(self, key: object) -> bool:
        with self._named():
            return self._db.execute("SELECT 1 FROM fits WHERE key = ?", (key,)).fetchone() is not None

    def keys(self) -> list[str]:
        """Keys of the finished fits, in the order in which they finished.

        Returns
        -------
        list of str
        """
        with self._named():
            return [key for (key,) in self._db.execute("SELECT key FROM fits ORDER BY rowid")]

    def get(self, key: str) -> Finished | None:
        """Return the finished fit of that key, or None if it has not finished.

        Parameters
        ----------
        key : str
            SHA-256 of the inputs of the fit.

        Returns
        -------
        Finished or None

        Raises
        ------
        InputError
            If what the file holds is not what was written.
        """
        columns = "name, spec, scores, history, arrays, model, seconds, sha256"
        with self._named():
            row = self._db.execute(f"SELECT {columns} FROM fits WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        *values, digest = row
        if _digest(key, values) != digest:
            raise InputError(
                f"{self.path}: the fit {values[0]!r} is damaged; move the file away and give the command again"
            )
        name, spec, scores, history, arrays, model, seconds = values
        return Finished(
            name=name,
            spec=json.loads(spec),
            scores=json.loads(scores),
            history=json.loads(history),
            arrays=read_arrays(arrays),
            model=model,
            seconds=seconds,
        )

    def add(self, key: str, finished: Finished) -> None:
        """Keep a finished fit, and the event that it finished, both or neither.

        Parameters
        ----------
        key : str
            SHA-256 of the inputs of the fit.
        finished : Finished
            What came out.

        Raises
        ------
        InputError
            If that fit is there already, or cannot be stored.
        """
        values = [
            finished.name,
            _json("spec", finished.spec),
            _json("scores", finished.scores),
            _json("history", finished.history),
            _pack(finished.arrays),
            finished.model,
            float(finished.seconds),
        ]
        with self._named(), self._transaction():
            if key in self:
                raise InputError(
                    f"{self.path}: the fit {finished.name!r} is there already; a finished fit is never run again"
                )
            self._db.execute(
                "INSERT INTO fits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (key, *values, _digest(key, values))
            )
            self._insert_event(key, "finished", finished.name)

    def record(self, key: str, what: str, detail: str = "") -> None:
        """Add an event to the record; nothing can change or remove it.

        Parameters
        ----------
        key : str
            The fit it is about, or "".
        what : str
            What happened, such as "started".
        detail : str, default ""
            Anything a person may want to know.
        """
        with self._named(), self._transaction():
            self._insert_event(key, what, detail)

    def events(self, key: str | None = None) -> list[Event]:
        """Return what happened, oldest first.

        Parameters
        ----------
        key : str, optional
            Only the events of this fit.

        Returns
        -------
        list of Event
        """
        query = "SELECT at, key, what, detail FROM events WHERE ?1 IS NULL OR key = ?1 ORDER BY id"
        with self._named():
            return [Event(*row) for row in self._db.execute(query, (key,))]

    def look(self, purpose: str) -> int:
        """Record a look at the sealed test, before it is taken.

        Parameters
        ----------
        purpose : str
            Why.

        Returns
        -------
        int
            Which look this is, counted from 1. Only the first gives an unbiased score.
        """
        with self._named(), self._transaction():
            self._insert_event("", LOOK, purpose)
            (count,) = self._db.execute("SELECT count(*) FROM events WHERE what = ?", (LOOK,)).fetchone()
        return count

    def looks(self) -> list[Event]:
        """Every look at the sealed test, oldest first; ``detail`` is the purpose.

        Returns
        -------
        list of Event
        """
        return [event for event in self.events() if event.what == LOOK]

    def _insert_event(self, key: str, what: str, detail: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._db.execute(
            "INSERT INTO events (at, key, what, detail) VALUES (?, ?, ?, ?)", (now, key, what, detail)
        )

    def _address(self) -> str:
        address = self.path.absolute().as_uri()
        if not self.readonly:
            return f"{address}?mode=rwc"
        # A reader of a live file keeps a small index beside it; where it may not, and nobody writes, none is needed.
        alone = not self.path.with_name(f"{self.path.name}-wal").exists()
        return f"{address}?mode=ro" + (
            "&immutable=1" if alone and not os.access(self.path.parent, os.W_OK) else ""
        )

    def _open(self) -> None:
        with self._named():
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("BEGIN")  # one moment: another process may be making the file
            (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            (application,) = self._db.execute("PRAGMA application_id").fetchone()
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            self._db.execute("COMMIT")
        if application == 0 and tables == 0 and version == 0 and not self.readonly:
            with self._named():
                self._create()
            return
        if application != APPLICATION:
            raise InputError(
                f"{self.path}: this is no ledger of heldout; move it away or name another run directory"
            )
        if version > VERSION:
            raise InputError(
                f"{self.path}: this ledger has version {version}, this heldout knows up to {VERSION}; install a newer heldout"
            )

    def _create(self) -> None:
        # WAL lets a report read while a study writes. It cannot be set within a transaction, nor while another process does.
        with suppress(sqlite3.OperationalError):
            self._db.execute("PRAGMA journal_mode = WAL")
        with self._transaction():
            # Another process may have been first.
            if self._db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
                for statement in TABLES.split(";\n"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id = {APPLICATION}")
                self._db.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Give the errors of SQLite the path and a way out."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise InputError(f"{self.path}: {self._full(error) or error}") from error
        except sqlite3.DatabaseError as error:
            raise InputError(f"{self.path}: {error}; move it away or name another run directory") from error

    def _full(self, error: sqlite3.OperationalError) -> str:
        """The way out of a full disk, if that is what it says: of one without any room, not in so many words."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        none = code == sqlite3.SQLITE_IOERR and shutil.disk_usage(self.path.parent).free < 1 << 16
        said = "the disk is full: make room there and give the same command again, nothing is lost"
        return said if code == sqlite3.SQLITE_FULL or none else ""

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def _json(name: str, value: object) -> str:
    try:
        return json.dumps(_plain(value), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{name} must be what JSON can hold: {error}") from error


def _plain(value: object) -> object:
    """Value with numpy's scalars as Python's, and None for a number that JSON does not know."""
    if isinstance(value, dict):
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"the key {wrong[0]!r} is no string")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _pack(arrays: dict[str, NDArray[Any]]) -> bytes:
    for name, array in arrays.items():
        if name == "__metadata__" or not isinstance(array, np.ndarray) or array.dtype.kind not in "biufc":
            raise InputError(
                f"arrays must hold numbers, got {name!r} of {getattr(array, 'dtype', type(array).__name__)}"
            )
    try:
        # A copy in the machine's own byte order and without gaps: safetensors writes the memory as it lies.
        return write_arrays(
            {
                name: np.array(array, array.dtype.newbyteorder("="), order="C")
                for name, array in arrays.items()
            }
        )
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"arrays cannot be stored: {error}") from error


def _digest(key: str, values: list[Any]) -> str:
    digest = hashlib.sha256(key.encode())
    for value in values:
        data = value if isinstance(value, bytes) else repr(value).encode()
        digest.update(f"{type(value).__name__} {len(data)} ".encode())
        digest.update(data)
    return digest.hexdigest()
