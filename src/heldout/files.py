"""Files that are written whole or not at all."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from threading import get_ident
from typing import BinaryIO

from heldout.check import InputError


def check_apart(output: str | Path, *inputs: str | Path) -> None:
    """Refuse to write over a file that is read.

    Raises
    ------
    InputError
        If ``output`` is one of ``inputs``.
    """
    path = Path(output)
    for one in map(Path, inputs):
        if path.exists() and one.exists() and path.samefile(one):
            raise InputError(f"cannot write {path}: it is the file that is read; name another")


def write_atomically(path: str | Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all; one that stood there before is replaced, or as it was.

    Parameters
    ----------
    path : path
        The file.
    content : bytes or callable
        All of it, or what writes it to the open binary file that it is called with.

    Raises
    ------
    InputError
        If it cannot be written. What else ``content`` raises goes through, and leaves no file behind either.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder, "a.txt"), b"all of it")
    ...     write_atomically(Path(folder, "b.txt"), lambda file: file.write(b"in pieces"))
    ...     [item.read_bytes() for item in sorted(Path(folder).iterdir())]
    [b'all of it', b'in pieces']
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}-{os.getpid()}-{get_ident()}")
    try:
        with temporary.open("wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        size = "" if callable(content) else f" ({len(content)} bytes)"
        why = f"{error.strerror}; what was there before is unchanged{way_out(error)}"
        raise InputError(f"cannot write {path}{size}: {why}") from error


def way_out(error: OSError) -> str:
    """Give what a sentence about a file that could not be written adds where the disk is full.

    Examples
    --------
    >>> way_out(OSError(errno.ENOSPC, "No space left on device"))
    ': make room there and give the same command again'
    """
    return ": make room there and give the same command again" if error.errno == errno.ENOSPC else ""
