"""Scalars of a TensorBoard directory, read without TensorBoard.

An event file is a row of records: 8 bytes of length, 4 of checksum, a protocol buffer, 4 of checksum. Of each buffer only the
step, and the name and number of its scalars, are looked at; reading these few fields is less than installing a server.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from heldout.check import InputError

Fields = dict[int, list[Any]]
Points = dict[str, list[tuple[float, float]]]
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5  # wire types of protocol buffers
_FLOAT, _DOUBLE = 1, 2  # types of a tensor
_EVENT_STEP, _EVENT_SUMMARY, _SUMMARY_VALUE = 2, 5, 1
_VALUE_TAG, _VALUE_SIMPLE, _VALUE_TENSOR = 1, 2, 8
_TENSOR_TYPE, _TENSOR_CONTENT, _TENSOR_FLOATS, _TENSOR_DOUBLES = 1, 4, 5, 6


def read_event_files(folder: str | Path) -> Points:
    """Give every scalar in a directory of event files, as ``tf.summary`` and ``torch.utils.tensorboard`` write them.

    Parameters
    ----------
    folder : path
        The directory; event files in it and in the directories below it are read. One that is still being written is read as
        far as it goes.

    Returns
    -------
    dict of str to list of (float, float)
        Step and value in order of step, by name: ``"train/epoch_loss"``, the directory below ``folder`` first.

    Raises
    ------
    InputError
        If there is no event file, one holds no record, or there is no scalar in them.

    References
    ----------
    TensorFlow, "TFRecord and tf.train.Example"; the messages are those of ``event.proto``, ``summary.proto`` and
    ``tensor.proto``.

    Examples
    --------
    >>> read_event_files("no-such-folder")
    Traceback (most recent call last):
        ...
    heldout.check.InputError: a TensorBoard directory holds files called *tfevents*, but in no-such-folder there is none
    """
    files = sorted(Path(folder).rglob("*tfevents*"))
    if not files:
        raise InputError(
            f"a TensorBoard directory holds files called *tfevents*, but in {folder} there is none"
        )
    found: Points = {}
    for file in files:
        below = file.parent.relative_to(folder).as_posix()
        for tag, step, value in _scalars(file):
            found.setdefault(tag if below == "." else f"{below}/{tag}", []).append((step, value))
    if not found:
        raise InputError(f"the event files in {folder} hold no scalar: log losses with add_scalar")
    return {name: sorted(points, key=lambda point: point[0]) for name, points in found.items()}


def _scalars(path: Path) -> Iterator[tuple[str, float, float]]:
    try:
        content = path.read_bytes()
        for record in _records(content, path):
            event = _fields(record)
            step = float(event.get(_EVENT_STEP, [0])[-1])
            for summary in event.get(_EVENT_SUMMARY, []):
                for value in _fields(summary).get(_SUMMARY_VALUE, []):
                    held = _fields(value)
                    number = _number(held)
                    if number is not None:
                        yield held[_VALUE_TAG][0].decode(), step, number
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (LookupError, ValueError, TypeError, AttributeError, struct.error) as error:
        raise InputError(f"{path} is no whole event file of TensorBoard: copy it again") from error


def _records(content: bytes, path: Path) -> Iterator[bytes]:
    place = 0
    while place + 12 <= len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        if place + 12 + length > len(content):
            break  # the writer has not finished it
        yield content[place + 12 : place + 12 + length]
        place += 12 + length + 4
    if content and not place:
        raise ValueError(f"no record in {path}")


def _fields(message: bytes) -> Fields:
    """The fields of a protocol buffer by number, each a list of what was given for it."""
    found: Fields = {}
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == _VARINT:
            number, place = _varint(message, place)
            found.setdefault(key >> 3, []).append(number)
            continue
        if kind in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if kind == _EIGHT_BYTES else 4
        elif kind == _BYTES:
            length, place = _varint(message, place)
        else:
            raise ValueError(f"wire type {kind}")
        value = message[place : place + length]
        if len(value) < length:
            raise ValueError("a field ends early")
        place += length
        found.setdefault(key >> 3, []).append(value)
    return found


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def _number(value: Fields) -> float | None:
    """The scalar in a summary's value; None where it is something else, as an image."""
    if _VALUE_SIMPLE in value:
        return float(struct.unpack("<f", value[_VALUE_SIMPLE][0])[0])
    if _VALUE_TENSOR not in value:
        return None
    tensor = _fields(value[_VALUE_TENSOR][0])
    form = {_FLOAT: "<f", _DOUBLE: "<d"}.get(tensor.get(_TENSOR_TYPE, [0])[0])
    if form is None:
        return None
    packed = next(
        (tensor[k][0] for k in (_TENSOR_CONTENT, _TENSOR_FLOATS, _TENSOR_DOUBLES) if k in tensor), None
    )
    if packed is None:
        return 0.0  # protocol buffers leave a zero out
    return float(struct.unpack(form, packed)[0]) if len(packed) == struct.calcsize(form) else None
