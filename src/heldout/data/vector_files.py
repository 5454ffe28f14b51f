"""Files of word vectors as others write them: GloVe, word2vec text and binary, fastText; read a block at a time."""

import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heldout.check import InputError, did_you_mean, visible

Float32Array = NDArray[np.float32]
Records = Iterator[tuple[int, bytes, bytes]]  # number of the line or vector, word, numbers

BINARY = "word2vec binary"
"""What `open_records` calls a file whose numbers are not text."""

_BLOCK_BYTES, _HEAD_BYTES = 1 << 18, 1 << 16
_LONGEST_LINE = 1 << 20  # bytes: what is no file of vectors may have no line end at all
_HEADER = re.compile(rb"(\d{1,12}) (\d{1,5})[ \r]*\n")
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_CONTROLS = re.compile(rb"[\0-\x08\x0e-\x1f\x7f]")
_PACKED = (b"PK\x03\x04", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


def _blocks(path: Path) -> Iterator[bytes]:
    """The content of a file, unpacked."""
    n_bytes = n_lines = 0
    try:
        with io.BufferedReader(io.FileIO(path), _BLOCK_BYTES) as raw:
            file = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == b"\x1f\x8b" else raw
            while block := file.read1(_BLOCK_BYTES):
                n_bytes, n_lines = n_bytes + len(block), n_lines + block.count(b"\n")
                yield block
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        why = f"but it is damaged in line {n_lines + 1}, after byte {n_bytes} of its content ({error})"
        raise InputError(f"{path} must be a whole gzip file, {why}; get it again") from error
    except OSError as error:
        near = did_you_mean(path.name, (p.name for p in path.parent.glob("*")))
        raise InputError(f"{path} cannot be read: {error.strerror}{near}") from error


def open_records(path: Path) -> tuple[str, int, int | None, Records]:
    """Give what kind of file it is, its size of vectors, how many it says it has, and the vectors themselves.

    Parameters
    ----------
    path : Path
        A file of text or word2vec binary, plain or gzip.

    Raises
    ------
    InputError
        If it cannot be read or is damaged, at once or from the records; a record's numbers are not looked at.
    """
    blocks, head = _blocks(path), b""
    for block in blocks:
        head += block
        if len(head) >= _LONGEST_LINE or (len(head) >= _HEAD_BYTES and head.count(b"\n") > 1):
            break
    head = head.removeprefix(b"\xef\xbb\xbf")
    if not head.strip() or head.startswith(_PACKED):
        got = "packed otherwise than by gzip; unpack it" if head.strip() else "empty"
        raise InputError(f"{path} must hold word vectors, but it is {got}")
    header = _HEADER.match(head)
    body = head[header.end() :] if header else head
    lines = [line for line in body.split(b"\n")[:99] if line.strip()]
    widths = Counter(len(line.split()) - 1 for line in lines[:-1] or lines)
    # Without a header, the most usual width; of two as usual the smaller, since words may hold spaces.
    size = int(header[2]) if header else max(widths, key=lambda width: (widths[width], -width))
    if not 1 <= size <= 10_000:
        raise InputError(f"vectors must have 1 to 10000 numbers, but {path} has {size}; is it another file?")
    n, stream = int(header[1]) if header else None, chain([body], blocks)
    if n is not None and _is_binary(body, size):
        return BINARY, size, n, _binary_records(path, stream, n, size)
    return "text", size, n, _text_records(path, stream, size, 2 if header else 1)


def _is_binary(body: bytes, size: int) -> bool:
    numbers = body.partition(b"\n")[0].split()[-size:]
    as_text = len(numbers) == size and all(_NUMBER.fullmatch(number) for number in numbers)
    return not as_text and bool(_CONTROLS.search(body) or "\ufffd" in body[:-4].decode(errors="replace"))


def _text_records(path: Path, stream: Iterator[bytes], size: int, first: int) -> Records:
    rest = b""
    for block in chain(stream, [b"\n"]):
        *lines, rest = (rest + block).split(b"\n")
        for number, line in enumerate(lines, first):
            line = line.rstrip(b" \r")  # noqa: PLW2901 - some writers end lines with a space
            if line.count(b" ") == size:
                word, _, numbers = line.partition(b" ")
                yield number, word, numbers
            elif line:
                yield number, *_split(line, size, f"line {number} of {path}")
        first += len(lines)
        if len(rest) > _LONGEST_LINE:
            raise InputError(f"line {first} of {path} must be a vector, but is too long; is it another file?")


def _split(line: bytes, size: int, where: str) -> tuple[bytes, bytes]:
    """The word and the numbers of a line whose word holds spaces, or that has other blanks than one between fields."""
    fields = line.split()
    n = len(fields) - size
    if n < 1 or any(_NUMBER.fullmatch(field) for field in fields[1:n]):
        raise InputError(f"{where} must be a word and {size} numbers, has {len(fields)} fields; correct it")
    return b" ".join(fields[:n]), b" ".join(fields[n:])


def _binary_records(path: Path, stream: Iterator[bytes], n: int, size: int) -> Records:
    block, start = b"", 0
    for number in range(1, n + 1):
        while (end := block.find(b" ", start)) < 0 or len(block) <= end + 4 * size:
            more = next(stream, b"") if end >= 0 or len(block) - start < _LONGEST_LINE else b""
            if not more:
                raise InputError(f"{path} must hold {n} vectors, but stops in vector {number}; get it again")
            block, start = block[start:] + more, 0
        yield number, block[start:end].lstrip(b"\n"), block[end + 1 : end + 1 + 4 * size]
        start = end + 1 + 4 * size
    if (block[start:] + next(stream, b"")).strip(b"\n"):
        raise InputError(f"{path} must end after {n} vectors as its first line says; get it again")


def parse_vector(numbers: bytes, where: str, *, binary: bool) -> Float32Array:
    """Give the numbers of a record, or raise `InputError` unless they are finite.

    Parameters
    ----------
    numbers : bytes
        As the file has them.
    where : str
        The place of the record, for the error.
    binary : bool
        Whether they are 4 bytes each, not text.

    Examples
    --------
    >>> parse_vector(b"0.5 -1e3", "line 1", binary=False)
    array([ 5.e-01, -1.e+03], dtype=float32)
    """
    try:
        fields = np.frombuffer(numbers, "<f4") if binary else np.array([*map(float, numbers.split(b" "))])
        with np.errstate(over="ignore"):
            values = fields.astype(np.float32)
        wrong = None if np.isfinite(values).all() else f"{fields[~np.isfinite(values)][0]}"
    except ValueError as error:
        wrong = visible(str(error))
    if wrong is not None:
        raise InputError(f"the numbers of a vector must be finite, but in {where} not ({wrong}); correct it")
    return values
