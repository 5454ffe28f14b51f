"""Texts and their labels, read from a table."""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np

from heldout.check import InputError, did_you_mean
from heldout.data.columns import listed, read_levels
from heldout.data.series import IntArray
from heldout.data.sources import open_rows
from heldout.data.tables import Table
from heldout.data.text import check_texts
from heldout.data.times import read_times
from heldout.plots.values import plural

_NOTHING = ("nan", "null", "none", "na", "n/a", "?")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_APART = (  # parts of one table, and why no column can be both
    ("text", "target", "a label that is the text leaves nothing to learn"),
    ("target", "group", "a group that is the label puts whole classes on one side of a split"),
    ("target", "time", "a time that is the label puts whole classes on one side of a split"),
    ("text", "group", "a group that is the text keeps nothing together but the same texts, which always are"),
)


@dataclass(frozen=True, eq=False)
class TextData:
    """Texts with their classes, in the rows of the table they came from.

    Parameters
    ----------
    texts : tuple of str
        The texts.
    labels : array of shape (n,), int64, or None
        The place in ``classes`` of each text's class.
    classes : tuple of str
        All classes; numbers in their order, others in that of the alphabet.
    group, time : arrays of shape (n,), int64, or None
        Of whom or what each text is; when, in microseconds since 1970-01-01 (UTC) or step numbers.
    n_train : int
        Rows before those of a test table that was given.
    notes : tuple of str
        What was inferred or looks wrong.
    """

    texts: tuple[str, ...]
    labels: IntArray | None
    classes: tuple[str, ...]
    group: IntArray | None
    time: IntArray | None
    n_train: int
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of texts, labels, groups and times."""
        found = hashlib.sha256(json.dumps([self.texts, self.classes, self.n_train]).encode())
        for part in (self.labels, self.group, self.time):
            found.update(b"none" if part is None else part.tobytes())
        return found.hexdigest()


def read_texts(
    source: object,
    *,
    text: str,
    target: str | None = None,
    group: str | None = None,
    time: str | None = None,
    test: object = None,
    classes: Sequence[str] | None = None,
    encoding: str = "utf-8",
) -> TextData:
    """Give the texts and labels in a table, checked, with a note of everything that looks wrong.

    Parameters
    ----------
    source : path or data frame
        What `heldout.data.tables.read_table` reads, one text per row; or a file whose lines are a label, one blank and a text.
    text : str
        The column of texts; one that is missing is an empty text, and counted. Where a file has no header line, its columns are
        ``"column_1"``, ``"column_2"``, ...
    target : str, optional
        The column of labels: text, booleans, or numbers that are whole.
    group, time : str, optional
        Columns of what must not be on both sides of a split, and of when a text was written.
    test : path or data frame, optional
        Rows in the same form that are the sealed test.
    classes : sequence of str, optional
        Those of the training texts, where a model is to be scored on this table.
    encoding : str, default "utf-8"
        How a text file is encoded.

    Raises
    ------
    InputError
        If a column is missing or holds something else, or a label is missing, one of no training text, or that of all.

    Examples
    --------
    >>> import polars as pl
    >>> data = read_texts(pl.DataFrame({"review": ["Good.", "Bad!"], "stars": [5, 1]}), text="review", target="stars")
    >>> data.texts, data.classes, data.labels
    (('Good.', 'Bad!'), ('1', '5'), array([1, 0]))
    """
    check_apart({"text": text, "target": target, "group": group, "time": time})
    named = [name for name in (text, target, group, time) if name is not None]
    opened = open_rows(source, test=test, columns=named, encoding=encoding)
    table, notes = opened.table, list(opened.table.notes)
    _check_named(source, table.frame, named, notes)
    texts = _texts(table, text, notes)
    labels = None
    if target is not None:
        labels, classes = _labels(table, target, opened.n_train, classes, notes)
        notes += _on_duplicates(texts, labels)
    times = None if time is None else read_times(table.frame[time], table.place)
    notes += () if times is None else times.notes
    return TextData(
        tuple(texts),
        labels,
        tuple(classes or ()),
        None if group is None else read_levels(table, group)[0],
        None if times is None else times.values,
        opened.n_train,
        tuple(notes),
    )


def check_apart(columns: Mapping[str, str | None]) -> None:
    """Raise `InputError` if one column is given two parts that must be apart.

    Parameters
    ----------
    columns : mapping
        The column of "text", "target", "group" and "time".
    """
    for one, other, why in _APART:
        if columns[one] is not None and columns[one] == columns[other]:
            way_out = "" if other == "target" else ", or leave it out"
            raise InputError(
                f"{one} and {other} must be two columns, but both are {columns[one]!r}: {why}; name another with {other}={way_out}"
            )


def _check_named(source: object, frame: nw.DataFrame[Any], named: list[str], notes: list[str]) -> None:
    """Raise if there is no such column, and say where the names of columns look like a row of data."""
    is_file = isinstance(source, str | Path)
    way_out = "if the first row is data, name the columns column_1, column_2, ..."
    for name in named:
        if name not in frame.columns:
            near = did_you_mean(name, frame.columns)
            has = "" if near else f"; it has {listed([repr(_short(column)) for column in frame.columns])}"
            doubt = is_file and any(
                len(column.split()) > 9 or _like_data(frame, column) for column in frame.columns
            )
            raise InputError(f"there is no column {name!r} in the table{near}{has}{f'; {way_out}' * doubt}")
    for name in named if is_file else ():
        if why := _like_data(frame, name):
            notes.append(f"the first row is read as a header, but the name {_short(name)!r} {why}; {way_out}")


def _like_data(frame: nw.DataFrame[Any], name: str) -> str | None:
    """What makes the name of a column look like one of its values, if anything does."""
    if _NUMBER.fullmatch(name):
        return "is a number"
    again = int((frame[name] == name).sum()) if frame[name].dtype == nw.String else 0
    return f"occurs again in its column ({plural(again, 'row')})" if again else None


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:39]}…"


def _texts(table: Table, name: str, notes: list[str]) -> list[str]:
    column = table.frame[name]
    if column.dtype not in (nw.String, nw.Object, nw.Categorical, nw.Enum):
        held = (
            "bytes: decode them, or read the file with its encoding"
            if column.dtype == nw.Binary
            else column.dtype
        )
        raise InputError(
            f"the text column must hold text, but {name!r} holds {held}; name another with text="
        )
    found = ["" if is_missing(value) else value for value in column.to_list()]
    wrong = next((row for row, value in enumerate(found) if not isinstance(value, str)), None)
    if wrong is not None:
        raise InputError(
            f"the text column must hold text, but {name!r} holds {found[wrong]!r} in {table.place(wrong)}; write it as text"
        )
    empty = [row for row, value in enumerate(found) if not value.strip()]
    if len(empty) == len(found):
        raise InputError(f"the text column must hold text, but {name!r} is empty in all rows")
    if empty:
        notes.append(
            f"{len(empty):,} of {plural(len(found), 'text')} {'is' if len(empty) == 1 else 'are'} empty, the first in {table.place(empty[0])}"
        )
    return check_texts(found)


def is_missing(value: object) -> bool:
    """Whether a cell holds nothing.

    Parameters
    ----------
    value : object
        Of the cell.
    """
    return value is None or (isinstance(value, float) and value != value) or value == ""


def _labels(
    table: Table, name: str, n_train: int, classes: Sequence[str] | None, notes: list[str]
) -> tuple[IntArray, tuple[str, ...]]:
    values = table.frame[name].to_list()
    missing = [row for row, value in enumerate(values) if is_missing(value) or not str(value).strip()]
    if missing:
        raise InputError(
            f"every row must have a label, but column {name!r} is empty in {plural(len(missing), 'row')}, the first {table.place(missing[0])}; "
            "fill them in or remove these rows"
        )
    if all(isinstance(value, Real) for value in values):
        uneven = next((row for row, value in enumerate(values) if value % 1), None)
        if uneven is not None:
            raise InputError(
                f"labels must be classes, but column {name!r} holds the number {values[uneven]} in {table.place(uneven)}; "
                "give words or whole numbers"
            )
        if not all(isinstance(value, bool) for value in values):
            notes.append(f"the numbers in {name!r} are read as names of classes, without their order")
        values = [value if isinstance(value, bool) else int(value) for value in values]
    notes += note_unclear(map(str, values), name)
    known = classes
    if known is None:
        named = {str(value): value for value in values[:n_train]}
        known = sorted(named, key=lambda name: in_order(named[name]))
    if len(known) < 2:
        raise InputError(
            f"labels must be of two classes at least, but column {name!r} holds {known[0]!r} only; name another column with target="
        )
    number = {label: place for place, label in enumerate(known)}
    unseen = [row for row, value in enumerate(values) if str(value) not in number]
    if unseen:
        label = str(values[unseen[0]])
        raise InputError(
            f"every label must be one of the training texts ({listed(known)}), but {len(unseen):,} {'is' if len(unseen) == 1 else 'are'} not, the first {label!r} "
            f"in {table.place(unseen[0])}{did_you_mean(label, known)}; correct or remove them"
        )
    return np.array([number[str(value)] for value in values], np.int64), tuple(known)


def note_unclear(labels: Iterable[str], name: str) -> list[str]:
    """Say which labels may mean that there is none.

    Parameters
    ----------
    labels : iterable of str
        As they are read.
    name : str
        Of their column.
    """
    unclear = sorted({label for label in labels if label.strip().lower() in _NOTHING})
    if not unclear:
        return []
    read = "is read as a class" if len(unclear) == 1 else "are read as classes"
    return [
        f"{listed([repr(label) for label in unclear])} in {name!r} {read} of that name: remove these rows if it means that there is none"
    ]


def in_order(value: object) -> tuple[float, str]:
    """Give what labels are sorted by: numbers in their order, then others in that of the alphabet.

    Parameters
    ----------
    value : object
        A number or a text.
    """
    return (float(value), str(value)) if isinstance(value, Real) else (np.inf, str(value))


def _on_duplicates(texts: Sequence[str], labels: IntArray) -> list[str]:
    """Say how many texts occur again, letter case and spaces aside, and how many of these have different labels."""
    held: dict[str, Counter[int]] = {}
    for text, label in zip(texts, labels.tolist(), strict=True):
        plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
        held.setdefault(plain, Counter())[label] += 1
    again = [count for plain, count in held.items() if plain and count.total() > 1]
    torn = [count for count in again if len(count) > 1]
    if not again:
        return []
    differ = (
        f"; {len(torn):,} of them {'has' if len(torn) == 1 else 'have'} different labels ({sum(map(Counter.total, torn)):,} rows)"
        if torn
        else ""
    )
    occur = f"{plural(len(again), 'text')} {'occurs' if len(again) == 1 else 'occur'} more than once"
    return [f"{occur} ({sum(map(Counter.total, again)):,} rows){differ}"]
