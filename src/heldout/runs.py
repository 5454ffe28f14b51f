"""The run directory: written atomically by one process, loaded without executing anything, its test sealed.

config.toml        the configuration, as resolved
run.json           what identifies the run, and its environment
ledger.sqlite      every finished fit, and every look at the sealed test
model.safetensors  the model, with a checksum over all of it
scores.json        the sealed test and the folds
predictions.parquet
"""

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, Self

import filelock
import numpy as np
import polars as pl
import torch

from heldout.check import InputError
from heldout.config import BaseConfig
from heldout.files import write_atomically
from heldout.studies.cost import BudgetError
from heldout.studies.ledger import Ledger
from heldout.training.checkpoint import load_tensors, save_tensors
from heldout.training.fit import SeriesModel

_VERSION = 1
_PACKAGES = ("heldout", "torch", "numpy", "scipy", "scikit-learn", "statsmodels", "polars")


class SavedModel(Protocol):
    """A fitted model that can be written."""

    def to_file_parts(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Give named tensors and JSON metadata."""
        ...


class RunLockedError(InputError):
    """Another process is writing this run directory."""


class Run:
    """A run directory.

    Parameters
    ----------
    path : path
        The directory; it must hold a run. Use `Run.open` to make one or to go on with one.

    Raises
    ------
    InputError
        If there is no run there, or a newer version wrote it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.about: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{self.path} is no run directory: it has no readable run.json") from error
        except ValueError as error:
            raise InputError(f"{self.path / 'run.json'} is damaged: {error}") from error
        if self.about.get("version") != _VERSION:
            raise InputError(
                f"{self.path} was written by another version of heldout (format {self.about.get('version')!r}, this one reads {_VERSION})"
            )
        self._lock: filelock.BaseFileLock | None = None
        self._fresh = False  # no run before this process
        self._there = True  # the folder was

    @classmethod
    def open(
        cls,
        config: BaseConfig,
        fingerprint: str,
        *,
        out: str | Path | None = None,
        folder: str | Path = "runs",
        purpose: str = "",
        options: Mapping[str, Any] | None = None,
    ) -> Self:
        """Make a run directory, or go on with the one that has the same configuration and data; and lock it.

        Parameters
        ----------
        config : Config or TextConfig
            As the user gave it.
        fingerprint : str
            Of the data.
        out : path, optional
            The directory; by default ``<folder>/<target>-<number>``, or ``series-<number>`` of a wide table, the first that fits or is free.
        folder : path, default "runs"
            Where directories are numbered.
        purpose : str, default ""
            What it is for if not for a fit: "reduce", "tune"; a part of the directory's name.
        options : mapping, optional
            What else decides the result; JSON.

        Returns
        -------
        Run
            Locked until `close`.

        Raises
        ------
        InputError
            If ``out`` holds another run.
        RunLockedError
            If another process is writing it.
        """
        more = f"\n{purpose} {json.dumps(options, sort_keys=True)}" if purpose else ""
        identity = hashlib.sha256(f"{config.to_toml()}\n{fingerprint}{more}".encode()).hexdigest()
        stem = _stem(config) + (f"-{purpose}" if purpose else "")
        path = Path(out) if out is not None else _numbered(Path(folder), stem, identity)
        there = path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the run directory {path}: {error.strerror}") from error
        lock = filelock.FileLock(path / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise RunLockedError(
                f"{path} is being written by another process: wait for it, or choose another --out"
            ) from error
        except OSError as error:
            raise InputError(f"cannot write in the run directory {path}: {error.strerror}") from error
        try:
            found = _identity(path)
            if found is None and any(not item.name.startswith(".") for item in path.iterdir()):
                raise InputError(f"{path} is not empty and holds no run: choose another --out")
            if found not in (None, identity):
                raise InputError(
                    f"{path} holds a run of another configuration, budget or other data: choose another --out"
                )
            if found is None:
                about = {
                    "version": _VERSION,
                    "identity": identity,
                    "data": fingerprint,
                    "environment": environment(),
                }
                write_atomically(path / "run.json", _json(about))
            write_atomically(path / "config.toml", config.to_toml().encode())
            run = cls(path)
        except BaseException:
            lock.release()
            raise
        run._lock, run._fresh, run._there = lock, found is None, there
        return run

    def close(self) -> None:
        """Let other processes write."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._fresh and isinstance(error, InputError):
            self._discard(for_budget=isinstance(error, BudgetError))
        self.close()

    def _discard(self, *, for_budget: bool) -> None:
        """Leave nothing behind of a run that was refused before its first fit and its first look, or for its budget."""
        if self.ledger_path.exists() and not for_budget:
            with Ledger(self.ledger_path) as ledger:
                if ledger.keys() or ledger.events():
                    return
        shutil.rmtree(self.path / "checkpoints", ignore_errors=True)
        for name in (
            "run.json",
            "config.toml",
            ".lock",
            "protocol.json",
            *(f"ledger.sqlite{end}" for end in ("", "-wal", "-shm")),
        ):
            (self.path / name).unlink(missing_ok=True)
        if not self._there:
            with suppress(OSError):  # it holds something of the user's
                self.path.rmdir()

    @property
    def fingerprint(self) -> str | None:
        """SHA-256 of the table and what its columns are; None where there is no run."""
        try:
            return str(json.loads((self.path / "run.json").read_text(encoding="utf-8"))["data"])
        except (OSError, ValueError, KeyError):
            return None

    @property
    def ledger_path(self) -> Path:
        """The ledger's file."""
        return self.path / "ledger.sqlite"

    def save(
        self, config: BaseConfig, model: SavedModel, scores: dict[str, Any], predictions: pl.DataFrame
    ) -> None:
        """Write what a finished run consists of; ``scores.json`` last, so that its presence says the run is whole."""
        write_atomically(self.path / "config-resolved.toml", config.to_toml().encode())
        tensors, metadata = model.to_file_parts()
        save_tensors(
            self.path / "model.safetensors",
            tensors,
            metadata | {"settings": config.data.to_dict()},
            durable=True,
        )
        temporary = self.path / f".predictions-{os.getpid()}"
        predictions.write_parquet(temporary)
        temporary.replace(self.path / "predictions.parquet")
        write_atomically(self.path / "scores.json", _json(scores))

    def save_choice(self, chosen: BaseConfig | None, scores: dict[str, Any]) -> None:
        """Write what a search found: ``chosen.toml``, a configuration to fit with, if there is one, and ``scores.json``."""
        if chosen is not None:
            write_atomically(self.path / "chosen.toml", chosen.to_toml().encode())
        write_atomically(self.path / "scores.json", _json(scores))

    def call(self, function: str, source: object, config: BaseConfig, test: object) -> str:
        """Give the line of Python that repeats the run; data frames are called ``table`` and ``test`` in it."""
        table = repr(str(source)) if isinstance(source, str | Path) else "table"
        parts = [table, f"heldout.{type(config).__name__}.read({str(self.path / 'config.toml')!r})"]
        if test is not None:
            parts.append(f"test={str(test)!r}" if isinstance(test, str | Path) else "test=test")
        return f"heldout.{function}({', '.join(parts)}, out={str(self.path)!r})"

    def scores(self) -> dict[str, Any]:
        """Read ``scores.json``.

        Raises
        ------
        InputError
            If the run is not finished.
        """
        try:
            found: dict[str, Any] = json.loads((self.path / "scores.json").read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{self.path} is not finished: give its command again") from error
        return found

    def model(self) -> tuple[Any, dict[str, Any]]:
        """Load the model (`SeriesModel` or `TextModel`) and its metadata; the checksum is verified, nothing is executed.

        Raises
        ------
        ModelFileError
            If the file is damaged.
        InputError
            If the run is a search, which leaves a configuration and no model, or is not finished.
        """
        if not (self.path / "model.safetensors").exists():
            chosen = self.path / "chosen.toml"
            way_out = f"fit one with --config {chosen}" if chosen.exists() else "give its command again"
            raise InputError(f"{self.path} holds no model: {way_out}")
        tensors, metadata = load_tensors(self.path / "model.safetensors")
        if metadata.get("kind") == "heldout text model":
            from heldout.training.text import TextModel  # noqa: PLC0415 - needs the extra `text`

            return TextModel.from_file_parts(tensors, metadata), metadata
        return SeriesModel.from_file_parts(tensors, metadata), metadata


def environment() -> dict[str, Any]:
    """Give what a result may depend on besides its inputs: versions, machine, kind of CPU."""
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def _json(values: dict[str, Any]) -> bytes:
    return json.dumps(values, indent=2, default=_plain).encode() + b"\n"


def _plain(value: object) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} does not go into JSON")


def _identity(path: Path) -> str | None:
    """What the run in a directory was made from; None if there is none."""
    if not (path / "run.json").exists():
        return None
    return str(Run(path).about.get("identity"))


def _stem(config: BaseConfig) -> str:
    """What a run's directory is called after."""
    target = config.data.target
    return (target if isinstance(target, str) else "-".join(target or ())) or "series"


def _numbered(folder: Path, stem: str, identity: str) -> Path:
    """The first directory that holds this run or is free."""
    clean = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in stem)[:60].lower()
    number = 1
    while True:
        path = folder / f"{clean}-{number}"
        if not path.exists() or _identity(path) == identity:
            return path
        number += 1
