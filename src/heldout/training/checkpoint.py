"""Files that hold tensors: checked on the way in, whole or absent on the way out, and never pickle.

The form is that of `safetensors`: eight bytes that give the length of a JSON header, the header, the data. The first
entry of the header holds, at a fixed place, a SHA-256 over the whole file taken with the digits of the digest itself set
to zero, and then our metadata. So a flipped bit is noticed wherever it sits, in the header and the digest too.
"""

import hashlib
import json
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from threading import get_ident
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_safetensors
from safetensors.torch import save as write_safetensors

from heldout.check import InputError
from heldout.files import way_out

MAX_HEADER_BYTES = 64 * 2**20
MAX_FILE_BYTES = 16 * 2**30
MAX_DEPTH = 64
ENTRY = "heldout"
NO_DIGEST = "0" * 64
BEFORE_DIGEST = rb'{"__metadata__":{"heldout":"{\"sha256\": \"'
DIGEST = slice(8 + len(BEFORE_DIGEST), 8 + len(BEFORE_DIGEST) + len(NO_DIGEST))


class ModelFileError(InputError):
    """A file of tensors is damaged, cut short, too large, or no such file at all; nothing was loaded from it."""


def check_kind(metadata: dict[str, Any], kind: str, version: int = 1) -> None:
    """Raise `ModelFileError` unless a file's metadata say that it holds this kind, in this version of it."""
    found = metadata.get("kind"), metadata.get("version")
    if found != (kind, version):
        raise ModelFileError(
            f"not a {kind.removeprefix('heldout ')} that this version reads: kind {found[0]!r}, version {found[1]!r}"
        )


def dump_tensors(tensors: dict[str, torch.Tensor], metadata: dict[str, Any]) -> bytes:
    """Bytes that hold the tensors, the metadata and a checksum over both; equal arguments give equal bytes.

    Parameters
    ----------
    tensors : dict of str to Tensor
        Any shape and any dtype that `safetensors` knows, on any device; they may share memory.
    metadata : dict
        What JSON can hold. NaN and infinities come back as they were; tuples come back as lists.

    Returns
    -------
    bytes
        A safetensors file.

    Raises
    ------
    InputError
        If a name is not a string or a value cannot be written.

    Examples
    --------
    >>> data = dump_tensors({"w": torch.ones(2)}, {"epoch": 3})
    >>> parse_tensors(data)
    ({'w': tensor([1., 1.])}, {'epoch': 3})
    """
    for name, tensor in tensors.items():
        if not isinstance(name, str) or name == "__metadata__" or not isinstance(tensor, torch.Tensor):
            raise InputError(f"tensors must map names to tensors, got {name!r}: {type(tensor).__name__}")
    try:
        # A single entry: safetensors writes several in an order that changes from run to run.
        entry = json.dumps({"sha256": NO_DIGEST, "metadata": metadata})
        _check_depth(metadata)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"metadata must be what JSON can hold, at most {MAX_DEPTH} levels deep: {error}"
        ) from error
    try:
        # Cloned, because safetensors refuses tensors that share memory, as tied weights do.
        form = torch.contiguous_format
        plain = {name: tensor.detach().cpu().clone(memory_format=form) for name, tensor in tensors.items()}
        data = write_safetensors(plain, {ENTRY: entry})
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"these tensors cannot be written as safetensors: {error}") from error
    size = 8 + int.from_bytes(data[:8], "little")
    if size > MAX_HEADER_BYTES:
        raise InputError(
            f"names and metadata may take {MAX_HEADER_BYTES} bytes, got {size}: keep large data in tensors"
        )
    if data[8 : DIGEST.stop] != BEFORE_DIGEST + NO_DIGEST.encode():
        raise RuntimeError(
            "this release of safetensors does not write the metadata first"
        )  # the digest has a fixed place
    return b"".join((data[: DIGEST.start], hashlib.sha256(data).hexdigest().encode(), data[DIGEST.stop :]))


def parse_tensors(data: bytes) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and metadata from the bytes that `dump_tensors` gave, once everything about them has been checked.

    Parameters
    ----------
    data : bytes
        The content of a file; it may be anything, nothing in it is executed.

    Returns
    -------
    tensors : dict of str to Tensor
        On the CPU, with memory of their own.
    metadata : dict

    Raises
    ------
    ModelFileError
        If the bytes are not exactly what was written.

    Examples
    --------
    >>> data = bytearray(dump_tensors({"w": torch.ones(2)}, {}))
    >>> data[-1] ^= 1
    >>> parse_tensors(bytes(data))
    Traceback (most recent call last):
        ...
    heldout.training.checkpoint.ModelFileError: model file is damaged: its checksum does not match; use another copy of it
    """
    size = _header_size(data[:8], len(data))
    if data[8 : DIGEST.start] != BEFORE_DIGEST:
        raise ModelFileError(
            "this is no model file that heldout wrote: its header does not begin with a checksum"
        )
    actual = hashlib.sha256(data[: DIGEST.start] + NO_DIGEST.encode())
    actual.update(memoryview(data)[DIGEST.stop :])
    if data[DIGEST] != actual.hexdigest().encode():
        raise ModelFileError("model file is damaged: its checksum does not match; use another copy of it")
    metadata = _read_metadata(data[8:size])
    try:
        return read_safetensors(data), metadata
    except (
        SafetensorError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise ModelFileError(f"model file describes tensors that cannot be: {error}") from error


def save_tensors(
    path: str | os.PathLike[str],
    tensors: dict[str, torch.Tensor],
    metadata: dict[str, Any],
    *,
    durable: bool = False,
) -> None:
    """Write tensors and metadata to one file, whole or not at all.

    Parameters
    ----------
    path : path
        The file; its folder must be there. What it held is replaced in one step, and kept if writing fails.
    tensors, metadata : dict
        As for `dump_tensors`.
    durable : bool, default False
        Return only when the disk has it, so that a power cut cannot take it back (some ten milliseconds).

    Raises
    ------
    InputError
        If it cannot be written, naming the path and the bytes needed.
    """
    path = Path(path)
    written = _write_beside(path, dump_tensors(tensors, metadata), durable=durable)
    try:
        _move(written, path)
    finally:
        written.unlink(missing_ok=True)
    if durable:
        _settle(path.parent)


def load_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and metadata from a file that `save_tensors` wrote, checked like `parse_tensors`.

    Parameters
    ----------
    path : path
        The file; it may be anything, nothing in it is executed.

    Returns
    -------
    tensors : dict of str to Tensor
    metadata : dict

    Raises
    ------
    ModelFileError
        If the file is missing, damaged or no such file, naming it.
    """
    try:
        with Path(path).open("rb") as file:
            # The sizes that the file claims are checked before it is read into memory.
            total = os.fstat(file.fileno()).st_size
            _header_size(file.read(8), total)
            file.seek(0)
            data = file.read(total)
        return parse_tensors(data)
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror}") from error
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error


class Checkpoint:
    """The latest state of something long, and the one before it, in files that survive a kill at any moment.

    Parameters
    ----------
    path : path
        Where the latest state is kept; its folder must be there. The one before is ``<path>.previous``, and one that
        was found damaged is moved to ``bad-<n>-<name>``, never deleted.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoint = Checkpoint(Path(folder, "fit"))
    ...     checkpoint.save({"w": torch.ones(2)}, {"epoch": 3})
    ...     checkpoint.load()
    ({'w': tensor([1., 1.])}, {'epoch': 3})
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.previous = self.path.with_name(f"{self.path.name}.previous")

    def save(self, tensors: dict[str, torch.Tensor], metadata: dict[str, Any]) -> None:
        """Make this the latest state; the one before is kept, an older one goes.

        Parameters
        ----------
        tensors, metadata : dict
            As for `dump_tensors`.

        Raises
        ------
        InputError
            If it cannot be written; the latest state is still there.
        """
        written = _write_beside(self.path, dump_tensors(tensors, metadata))
        try:
            with suppress(FileNotFoundError):  # the first, or a worker that is being ended has just moved it
                _move(self.path, self.previous)
            _move(written, self.path)
        finally:
            written.unlink(missing_ok=True)

    def load(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """Return the newest state that checks out, as (tensors, metadata), or None; a damaged file is moved aside.

        Returns
        -------
        tuple or None
        """
        for path in (self.path, self.previous):
            if not path.exists():
                continue
            try:
                return load_tensors(path)
            except ModelFileError:
                with suppress(FileNotFoundError):
                    path.replace(_free_name(path))
        return None

    def clear(self) -> None:
        """Delete both states, and what a killed writer left half-written; damaged files stay."""
        for path in (self.path, self.previous, *_half_written(self.path)):
            path.unlink(missing_ok=True)


def _header_size(start: bytes, total: int) -> int:
    if total > MAX_FILE_BYTES:
        raise ModelFileError(f"model file may have {MAX_FILE_BYTES} bytes, got {total}")
    size = 8 + int.from_bytes(start, "little")
    if len(start) < 8 or size > total:
        raise ModelFileError(f"this is no model file, or only the beginning of one ({total} bytes)")
    if size > MAX_HEADER_BYTES:
        raise ModelFileError(f"header of a model file may have {MAX_HEADER_BYTES} bytes, got {size}")
    return size


def _read_metadata(header: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(header, object_pairs_hook=_unique)
        metadata = json.loads(fields["__metadata__"][ENTRY], object_pairs_hook=_unique)["metadata"]
        _check_depth(metadata)
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"header of the model file is not what heldout writes: {error}") from error
    if not isinstance(metadata, dict):
        raise ModelFileError("metadata of the model file must be a dictionary")
    return metadata


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # JSON readers disagree on which of two equal names counts: what one checks, another may not use.
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("the same name twice")
    return found


def _check_depth(value: object, level: int = 0) -> None:
    if level > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels deep")
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, level + 1)


def _write_beside(path: Path, data: bytes, *, durable: bool = False) -> Path:
    """Write to a temporary file in the same folder, so that a rename is all that is left to do."""
    written = path.with_name(f".{path.name}.{os.getpid()}-{get_ident()}.tmp")
    try:
        with written.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
    except BaseException as error:
        written.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise InputError(
            f"{path}: cannot write {len(data)} bytes{_free(path.parent)}: {error.strerror}; what was there before is unchanged{way_out(error)}"
        ) from error
    return written


def _move(source: Path, target: Path) -> None:
    try:
        os.replace(source, target)  # noqa: PTH105 - the one step that must be atomic, named as such
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(
            f"{target}: cannot move {source.stat().st_size} bytes into place: {error.strerror}; "
            f"what was there before is unchanged{way_out(error)}"
        ) from error


def _settle(folder: Path) -> None:
    """Wait until the disk has the names of a folder; Windows cannot be asked."""
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        except OSError as error:
            raise InputError(
                f"{folder}: the disk did not confirm what was written: {error.strerror}"
            ) from error
        finally:
            os.close(number)


def _free(folder: Path) -> str:
    try:
        return f" ({shutil.disk_usage(folder).free} are free)"
    except OSError:
        return ""


def _half_written(path: Path) -> list[Path]:
    pattern = re.compile(re.escape(f".{path.name}.") + r"[\d-]+\.tmp")
    return [entry for entry in path.parent.iterdir() if pattern.fullmatch(entry.name)]


def _free_name(path: Path) -> Path:
    n = 1
    while (name := path.with_name(f"bad-{n}-{path.name}")).exists():
        n += 1
    return name
