"""`Finding`: what one check of an audit says."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

import numpy as np

from heldout.data.series import IntArray, SeriesData
from heldout.data.splits import stamps
from heldout.plots.values import shortened

Status = Literal["PASS", "FAIL", "NOT RUN"]
Kind = Literal["leak", "fault", "hint"]

SHOWN = 20
"""Rows that a finding names at most."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found.

    Attributes
    ----------
    check : str
        Its name: "look-ahead in columns", ...
    status : {"PASS", "FAIL", "NOT RUN"}
        With "NOT RUN" the message says why.
    message : str
        One or two sentences: what was found and the way out.
    kind : {"leak", "fault", "hint"}
        What a FAIL means: the score cannot be trusted; the table has a flaw; look at it yourself.
    rows : tuple of str
        The first `SHOWN` offending rows or columns, as the user knows them.
    n_rows : int
        How many there are.
    figures : mapping of str to number or str
        What was measured.

    Examples
    --------
    >>> Finding(check="constant columns", status="FAIL", message="x never changes.", kind="fault").is_leak
    False
    """

    check: str
    status: Status
    message: str
    kind: Kind = "leak"
    rows: tuple[str, ...] = ()
    n_rows: int = 0
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether it failed."""
        return self.status == "FAIL"

    @property
    def is_leak(self) -> bool:
        """Whether it failed and the score cannot be trusted for it."""
        return self.failed and self.kind == "leak"

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-able values."""
        return asdict(self) | {"rows": list(self.rows), "figures": _plain(self.figures)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make the finding that `to_dict` described."""
        return cls(**{**values, "rows": tuple(values["rows"])})


def _plain(value: Any) -> Any:
    """Numbers as JSON has them: none that is not finite, none of numpy's."""
    if isinstance(value, Mapping):
        return {str(name): _plain(held) for name, held in value.items()}
    if isinstance(value, str):
        return value
    number = float(value)
    return (int(number) if number == int(number) else number) if np.isfinite(number) else None


def passed(
    check: str, message: str, *, kind: Kind = "leak", figures: Mapping[str, Any] | None = None
) -> Finding:
    """Give a finding that says all is well.

    Parameters
    ----------
    check, message, kind, figures
        As in `Finding`.
    """
    return Finding(check=check, status="PASS", message=message, kind=kind, figures=figures or {})


def failed(check: str, message: str, rows: Sequence[str] = (), *, kind: Kind = "leak", n_rows: int | None = None, figures: Mapping[str, Any] | None = None) -> Finding:  # fmt: skip
    """Give a finding that says what is wrong.

    Parameters
    ----------
    check, message, kind, figures
        As in `Finding`.
    rows : sequence of str
        Offending rows; those beyond `SHOWN` are counted only.
    n_rows : int, optional
        How many there are, where ``rows`` does not hold all.
    """
    shown, n = tuple(rows[:SHOWN]), len(rows) if n_rows is None else n_rows
    return Finding(
        check=check, status="FAIL", message=message, kind=kind, rows=shown, n_rows=n, figures=figures or {}
    )


def not_run(check: str, why: str, *, kind: Kind = "leak") -> Finding:
    """Give a finding that says why a check was left out.

    Parameters
    ----------
    check, kind
        As in `Finding`.
    why : str
        A sentence.
    """
    return Finding(check=check, status="NOT RUN", message=why, kind=kind)


def places(data: SeriesData, rows: IntArray) -> list[str]:
    """Say where the first rows of a series are: their times, or row numbers, and the series where there are several.

    Parameters
    ----------
    data : SeriesData
        The series.
    rows : array of int64
        Rows of it; more than `SHOWN` are left out.
    """
    rows = np.asarray(rows, np.int64)[:SHOWN]
    when = [str(stamp) for stamp in stamps(data.time[rows], data)]
    if data.frequency.name == "row":
        when = [f"row {stamp}" for stamp in when]
    if len(data.ids) == 1:
        return when
    return [f"{stamp} of {data.ids[data.series_of_row[row]]}" for stamp, row in zip(when, rows, strict=True)]


def excerpts(texts: Sequence[str], rows: Iterable[int], *, n_train: int | None = None) -> list[str]:
    """Show the beginnings of the first of some texts, with their row numbers, counted from 0.

    Parameters
    ----------
    texts : sequence of str
        All texts.
    rows : iterable of int
        Which; those beyond `SHOWN` are left out.
    n_train : int, optional
        Texts of the first table, where a second one follows.

    Examples
    --------
    >>> excerpts(["a film", "b film"], [1])
    ['row 1: b film']
    >>> excerpts(["a film", "b film"], [1], n_train=1)
    ['row 0 of the test table: b film']
    """
    most = len(texts) if n_train is None else n_train

    def place(row: int) -> str:
        return f"row {row}" if row < most else f"row {row - most} of the test table"

    return [f"{place(row)}: {shortened(texts[row], 70)}" for row in list(rows)[:SHOWN]]
