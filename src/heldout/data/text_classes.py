"""The classes in a column of labels that is read in batches."""

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import polars as pl

from heldout.check import InputError
from heldout.data.parquet import ParquetTable, Progress, as_polars
from heldout.data.partition import number_values
from heldout.data.series import IntArray
from heldout.data.text_table import in_order, is_missing, note_unclear

MOST_CLASSES = 10_000


@dataclass(frozen=True, eq=False)
class Classes:
    """The distinct labels of a column.

    Parameters
    ----------
    names : tuple of str
        Numbers in their order, others in that of the alphabet.
    number_of : dict
        The place among the names of each value that the column holds.
    notes : tuple of str
        What looks wrong.
    """

    names: tuple[str, ...]
    number_of: dict[Any, int]
    notes: tuple[str, ...]

    def numbers(self, column: pl.Series) -> IntArray:
        """Give the class of each row.

        Parameters
        ----------
        column : polars Series
            Some of the labels.
        """
        values = column.unique().to_list()
        return number_values(column, values, [self.number_of[value] for value in values])


def count_classes(table: ParquetTable, name: str, progress: Progress) -> Classes:
    """Read the labels of a table once, in batches.

    Parameters
    ----------
    table : ParquetTable
        The table.
    name : str
        The column of labels: text, booleans, or numbers that are whole.
    progress : callable
        Called after each batch.

    Raises
    ------
    InputError
        If a label is missing, a number is not whole, there is one class, or there are more than 10,000.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from heldout.data.parquet import open_parquet
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pl.DataFrame({"stars": [10, 9, 9]}).write_parquet(Path(folder, "reviews.parquet"))
    ...     count_classes(open_parquet(folder), "stars", lambda done: None).names
    ('9', '10')
    """
    found: set[Any] = set()
    for first_row, batch in table.batches([name]):
        column = as_polars(batch.column(0), name)
        for value in column.unique().to_list():
            if value in found:
                continue
            _check(table, name, value, column, first_row)
            found.add(value)
        if len(found) > MOST_CLASSES:
            raise InputError(
                f"labels must be of {MOST_CLASSES} classes at most, but column {name!r} holds more different values; name another "
                "with target="
            )
        progress({"stage": "reading labels", "done": first_row + len(batch), "of": table.n_rows})
    notes = []
    plain = {value: value for value in found}
    if all(isinstance(value, Real) for value in found):
        if not all(isinstance(value, bool) for value in found):
            notes.append(f"the numbers in {name!r} are read as names of classes, without their order")
        plain = {value: value if isinstance(value, bool) else int(value) for value in found}
    notes += note_unclear(map(str, plain.values()), name)
    named = {str(value): value for value in plain.values()}
    names = tuple(sorted(named, key=lambda label: in_order(named[label])))
    if len(names) < 2:
        raise InputError(
            f"labels must be of two classes at least, but column {name!r} holds {names[0]!r} only; name another column with target="
        )
    place = {label: number for number, label in enumerate(names)}
    return Classes(names, {value: place[str(read)] for value, read in plain.items()}, tuple(notes))


def _check(table: ParquetTable, name: str, value: Any, column: pl.Series, first_row: int) -> None:
    """Raise if a value is no label, naming its first row."""
    if is_missing(value) or not str(value).strip():
        rule = f"every row must have a label, but column {name!r} is empty in"
        way_out = "fill it in or remove the row"
    elif isinstance(value, Real) and float(value) % 1:
        rule = f"labels must be classes, but column {name!r} holds the number {value} in"
        way_out = "give words or whole numbers"
    elif not isinstance(value, str | Real):
        rule = f"labels must be text, booleans or whole numbers, but column {name!r} holds {value!r} in"
        way_out = "name another with target="
    else:
        return
    row = first_row + int(np.argmax([one is value or one == value or one != one for one in column.to_list()]))
    raise InputError(f"{rule} {table.place(row)}; {way_out}")
