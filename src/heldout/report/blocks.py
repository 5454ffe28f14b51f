"""What a page is made of: sections of texts, tables, figures and folded parts, all plain values."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import Any

import plotly.graph_objects as go

from heldout.check import InputError
from heldout.plots import values
from heldout.plots.theme import without_title


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph; ``kind`` is "lead" for the answer, "plain", "note" for the fine print, "code" for a command."""

    text: str
    kind: str = "plain"
    template: str = field(default="text", init=False)


@dataclass(frozen=True, kw_only=True)
class Points:
    """A list of sentences."""

    items: list[str]
    template: str = field(default="points", init=False)


@dataclass(frozen=True, kw_only=True)
class Number:
    """A number that is shown large: ``label`` above, ``value``, ``detail`` below."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Numbers side by side."""

    items: list[Number]
    template: str = field(default="numbers", init=False)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table.

    Attributes
    ----------
    caption : str
        What it shows.
    header : list of str
        One per column.
    rows : list of list of str
        The first cell of a row is its heading.
    words : tuple of int
        Columns of words, left-aligned; the others hold numbers. The first is one of words anyhow.
    strong : tuple of int
        Rows that stand out.
    """

    caption: str
    header: list[str]
    rows: list[list[str]]
    words: tuple[int, ...] = ()
    strong: tuple[int, ...] = ()
    template: str = field(default="table", init=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Chart:
    """A figure of `heldout.plots`; its title and note are written by the page."""

    figure: go.Figure
    template: str = field(default="chart", init=False)

    @property
    def title(self) -> str:
        """What it says."""
        return self._told("title")

    @property
    def note(self) -> str:
        """What was left out."""
        return self._told("note")

    @property
    def description(self) -> str:
        """What it shows, for who cannot see it."""
        return self._told("description")

    @cached_property
    def drawn(self) -> dict[str, Any]:
        """Data and layout as plain values, without the title; of the latter the page takes the place that it keeps free."""
        found: dict[str, Any] = json.loads(without_title(self.figure).to_json())
        return found

    def _told(self, name: str) -> str:
        return str((self.figure.layout.meta or {}).get(name, ""))


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Blocks that are shown when asked for."""

    summary: str
    blocks: list[Any]
    template: str = field(default="folded", init=False)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a `Matrix`: the ``share`` of its row, the ``count`` behind it, and ``shade``: "right-1" to "right-8", "wrong-1" to "wrong-8" or ""."""

    share: str
    count: str
    shade: str = ""


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """What is said of each class, as a table whose cells are shaded by their share of the row.

    Attributes
    ----------
    caption : str
        What it shows.
    names, columns : list of str
        Of the classes, in the order of rows and columns; those of the columns may be cut.
    cells : list of list of Cell
        Rows are true classes, columns what was said.
    totals, right : list of str
        Texts of each true class; share that is right of those said to be of each class.
    upright : bool
        Whether the names of the columns are turned, for there are many.
    """

    caption: str
    names: list[str]
    columns: list[str]
    cells: list[list[Cell]]
    totals: list[str]
    right: list[str]
    upright: bool
    template: str = field(default="matrix", init=False)


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of a text, and its ``shade``: "for-1" to "for-5", "against-1" to "against-5", "made" or ""."""

    text: str
    shade: str = ""


@dataclass(frozen=True, kw_only=True)
class ShadedText:
    """A text of the data under a ``heading``, words of it shaded and underlined, with the ``note`` that says the same in words."""

    heading: str
    spans: list[Span]
    note: str = ""
    template: str = field(default="shaded", init=False)


Block = Text | Points | Numbers | Table | Chart | Folded | Matrix | ShadedText


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page that answers one question: ``title``, the ``anchor`` that leads to it, blocks."""

    title: str
    anchor: str
    blocks: list[Block]


def draw(make: Callable[..., go.Figure], *arguments: Any, **options: Any) -> Chart | Text:
    """Make a figure; where its data allow none, say why."""
    try:
        return Chart(figure=make(*arguments, **options))
    except InputError as error:
        return Text(text=f"No figure: {error}.", kind="note")


MISSING = "–"


def number(value: float | None) -> str:
    """Write a number with four significant digits, or a dash where there is none."""
    return MISSING if value is None or not isfinite(value) else values.number(value)


def percent(value: float | None, *, sign: bool = True) -> str:
    """Write a share as per cent, or a dash where there is none.

    Examples
    --------
    >>> percent(0.283), percent(None), percent(0.9, sign=False)
    ('+28.3 %', '–', '90 %')
    """
    return MISSING if value is None or not isfinite(value) else values.percent(value, sign=sign)


def between(low: float | None, high: float | None, *, share: bool = False) -> str:
    r"""Write an interval that stays on one line; nothing where there is none.

    Examples
    --------
    >>> between(0.211, 0.355, share=True), between(None, 1)
    ('[+21.1,\xa0+35.5]', '')
    """
    ends = values.span(low, high, _percent_end if share else number)
    return ends.replace(" ", "\u00a0")


def _percent_end(end: float | None) -> str:
    return percent(end).removesuffix(" %")


def share(value: float | None, low: float | None, high: float | None) -> str:
    r"""Write a share that is no difference, and its interval, without signs.

    Examples
    --------
    >>> share(0.979, 0.97, 0.9861), share(0.9, None, None)
    ('97.9 % [97.0,\xa098.6]', '90 %')
    """
    ends = between(low, high, share=True).replace("+", "")
    return f"{percent(value, sign=False)} {ends}".strip()


def estimate(mean: float | None, low: float | None, high: float | None, *, share: bool = False) -> str:
    """Write an estimate and its interval."""
    return f"{percent(mean) if share else number(mean)} {between(low, high, share=share)}".strip()
