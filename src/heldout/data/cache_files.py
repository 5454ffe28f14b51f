"""The files of a cache: written once with checksums, put in their place whole, and looked over before they are used."""

import errno
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, Self, TypeVar

import filelock
import numpy as np
from numpy.typing import NDArray

from heldout.check import InputError
from heldout.data.parquet import Progress

MANIFEST = "manifest.json"
_CHUNK = 64 * 2**20
_PIECE = 4 * 2**20
_Cache = TypeVar("_Cache")


def unheard(_: dict[str, Any]) -> None:
    """Hear of progress that nobody asked for."""


def open_or_make(
    folder: Path,
    names: Sequence[str],
    made_of: dict[str, Any],
    make: Callable[[Path], dict[str, Any]],
    use: Callable[[dict[str, Any]], _Cache],
    progress: Progress,
) -> tuple[_Cache, str]:
    """Open a whole cache that was made of this, and make it where there is none.

    Parameters
    ----------
    folder : Path
        Where it is.
    names : sequence of str
        Its files beside the manifest.
    made_of : dict
        ``version``, ``source`` and ``options``; what JSON can hold.
    make : callable
        Writes the files into the folder that it is called with, and gives their manifest.
    use : callable
        Opens what a manifest describes.
    progress : callable
        See `heldout.data.cache.open_cache`.

    Returns
    -------
    cache
        What ``use`` gave.
    why : str
        In a sentence, why it was made again; empty if it was not.

    Raises
    ------
    InputError
        If the folder holds anything else, or cannot be written.
    """
    with suppress(UnusableError, OSError):
        return use(check_files(folder, names, made_of, progress)), ""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder.with_name(f".{folder.name}.lock")):
            try:
                return use(check_files(folder, names, made_of, progress)), ""
            except UnusableError as found:
                why = str(found)
            cache = use(replace_folder(folder, make, made_of))
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        room = "make room, or " if full else ""
        raise InputError(
            f"cannot write the cache in {folder}: {error.strerror}; {room}name a run directory, which it lies beside, elsewhere (out)"
        ) from error
    return cache, f"the cache in {folder} {why} and was made again" if why else ""


class UnusableError(Exception):
    """Why a cache cannot be opened; without a word where there is none."""


def check_files(
    folder: Path, names: Sequence[str], made_of: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    """Give the manifest of a whole cache that was made of this.

    Parameters
    ----------
    folder : Path
        Where it would be.
    names : sequence of str
        Its files beside the manifest.
    made_of : dict
        Files, options and version.
    progress : callable
        See `heldout.data.cache.open_cache`.

    Raises
    ------
    UnusableError
        If there is none.
    InputError
        If the folder holds anything else.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"the folder of a cache must be a folder, but {folder} is a file; name another")
    inside = [item.name for item in folder.iterdir()] if folder.is_dir() else []
    held = {name for name in inside if name[0] != "."}  # systems leave hidden files of their own
    if foreign := sorted(held - {*names, MANIFEST}):
        raise InputError(
            f"the folder of a cache must be new, empty or hold one, but {folder} holds {foreign[0]!r}; name another"
        )
    if not held:
        raise UnusableError
    body = _read_manifest(folder)
    for name, word in (
        ("version", "by another version"),
        ("source", "of other files"),
        ("options", "with other options"),
    ):
        if body["made_of"][name] != made_of[name]:
            raise UnusableError(f"was made {word}")
    for name in names:
        if name not in held:
            raise UnusableError(f"was damaged ({name} is missing)")
        size, right = (folder / name).stat().st_size, body["files"][name]["bytes"]
        if size != right:
            raise UnusableError(f"was damaged ({name} is {'cut short' if size < right else 'too long'})")
    _check_content(folder, names, body["files"], progress)
    return body


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        raw = (folder / MANIFEST).read_bytes()
        body: dict[str, Any] = json.loads(raw)["body"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnusableError(f"was damaged ({MANIFEST} is missing or unreadable)") from error
    if raw != _manifest(body):
        raise UnusableError(f"was damaged ({MANIFEST} holds other bytes than were written)")
    return body


def _manifest(body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    return json.dumps({"sha256": hashlib.sha256(content).hexdigest(), "body": body}).encode()


def _check_content(folder: Path, names: Sequence[str], files: dict[str, Any], progress: Progress) -> None:
    done, of = 0, sum(files[name]["bytes"] for name in names)
    for name in names:
        seen = _Checksum()
        with (folder / name).open("rb", buffering=0) as file:
            while piece := file.read(_PIECE):
                seen.add(piece)
                done += len(piece)
                progress({"stage": "checking", "done": done, "of": of})
        if seen.chunks != files[name]["crc32"]:
            raise UnusableError(f"was damaged ({name} holds other bytes than were written)")


class _Checksum:
    """The CRC-32 of each 64 MiB of a file."""

    def __init__(self) -> None:
        self.chunks: list[int] = []
        self.n_bytes = 0

    def add(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while len(rest):
            used = self.n_bytes % _CHUNK
            if not used:
                self.chunks.append(0)
            piece, rest = rest[: _CHUNK - used], rest[_CHUNK - used :]
            self.chunks[-1] = zlib.crc32(piece, self.chunks[-1])
            self.n_bytes += len(piece)


def replace_folder(
    folder: Path, make: Callable[[Path], dict[str, Any]], made_of: dict[str, Any]
) -> dict[str, Any]:
    """Make a cache beside the folder and put it in its place whole; whoever has the old one mapped keeps it.

    Parameters
    ----------
    folder : Path
        Where it is to be.
    make : callable
        Writes the files into the folder that it is called with, and gives their manifest.
    made_of : dict
        Files, options and version.

    Returns
    -------
    dict
        The whole manifest.
    """
    prefix = f".{folder.name}.tmp-"
    for left in folder.parent.iterdir():
        if left.name.startswith(prefix):
            shutil.rmtree(left, ignore_errors=True)
    new, old = (folder.with_name(f"{prefix}{token_hex(4)}") for _ in range(2))
    new.mkdir()
    try:
        body = {"made_of": made_of, **make(new)}
        with Sink(new / MANIFEST) as sink:
            sink.write(_manifest(body))
            sink.finish()
        _sync(new)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        _sync(folder.parent)
    finally:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
    return body


def _sync(folder: Path) -> None:
    with suppress(PermissionError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class Sink:
    """A file that is written once, with its checksums.

    Parameters
    ----------
    path : Path
        The file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Sink(Path(folder, "a.bin")) as sink:
    ...     sink.write(b"check")
    ...     sink.write(np.zeros(2, np.int16))
    ...     entry = sink.finish()
    >>> entry["bytes"], entry["crc32"] == [zlib.crc32(b"check" + bytes(4))]
    (9, True)
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._checksum = _Checksum()
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes | NDArray[Any]) -> None:
        """Add bytes, or the content of an array.

        Parameters
        ----------
        data : bytes or array
            What comes next.
        """
        raw = (
            memoryview(data)
            if isinstance(data, bytes)
            else np.ascontiguousarray(data).reshape(-1).view(np.uint8).data
        )
        self._checksum.add(raw)
        self._sha256.update(raw)
        while len(raw):
            raw = raw[self._file.write(raw) :]

    def finish(self) -> dict[str, Any]:
        """Bring the file to the disk, and give its size and checksums."""
        os.fsync(self._file.fileno())
        return {
            "bytes": self._checksum.n_bytes,
            "crc32": self._checksum.chunks,
            "sha256": self._sha256.hexdigest(),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def check_space(new: Path, folder: Path, needed: int) -> None:
    """Refuse to begin where the disk is too small.

    Parameters
    ----------
    new : Path
        A folder on that disk.
    folder : Path
        What the user calls it.
    needed : int
        Bytes.

    Raises
    ------
    InputError
        If fewer are free.
    """
    free = shutil.disk_usage(new).free
    if free < needed:
        raise InputError(
            f"the cache in {folder} needs about {needed} bytes while it is made, but {free} are free; make room, or name a "
            "folder on another disk"
        )
