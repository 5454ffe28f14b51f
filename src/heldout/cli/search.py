"""What the commands of searches share: the answer of an earlier run, the run itself, what is printed of it."""

import json
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import typer

from heldout.cli.command import say
from heldout.cli.fits import Fits
from heldout.cli.options import LEAST_WIDTH

if TYPE_CHECKING:
    from heldout.config import Config, TextConfig


class Found(Protocol):
    """What a search gives."""

    @property
    def path(self) -> Path:
        """The run directory."""
        ...

    @property
    def found(self) -> dict[str, Any]:
        """Its ``scores.json``."""
        ...

    @property
    def sentence(self) -> str:
        """What the tables mean."""
        ...

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Give caption, header and rows."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-able values."""
        ...


Answer = TypeVar("Answer", bound=Found)


def known(
    purpose: str,
    kind: Callable[[Path, dict[str, Any]], Answer],
    source: str,
    settings: "Config | TextConfig",
    options: Mapping[str, Any],
    out: Path | None,
) -> Answer | None:
    """Give the answer of an earlier run of the same, without loading what would find it."""
    from heldout.answers import asked, find_answer

    found = find_answer(purpose, source, settings, asked(settings.recipe, **options), out=out)
    return None if found is None else kind(*found)


def run_search(find: Callable[..., Answer], *, fits: Fits, **options: Any) -> Answer:
    """Search, with a display of what goes on, and write the report.

    Parameters
    ----------
    find : callable
        A search such as `heldout.reduce_capacity`, its table and configuration given.
    fits : Fits
        Where fits run.
    **options
        Of the search.
    """
    from heldout.report.run_report import write_report

    command = shlex.join(["heldout", *sys.argv[1:]])
    with fits.display() as display:
        result = find(engine=fits.run_on(), listener=display, command=command, **options)
    write_report(result.path)
    return result


def show_search(
    result: Found, *, as_json: bool, strong: Callable[[list[str]], bool], more: tuple[str, ...] = ()
) -> None:
    """Print tables and sentences, or one JSON object.

    Parameters
    ----------
    result : Found
        What was found.
    as_json : bool
        Print JSON, and nothing else on the output.
    strong : callable
        Whether a row of a table stands out.
    more : tuple of str
        Sentences that follow.
    """
    page = result.path / "report.html"
    if as_json:
        typer.echo(json.dumps(result.to_dict()))
        typer.echo(f"report {page}", err=True)
        return
    from heldout.report.blocks import Table
    from heldout.report.terminal import print_table

    for caption, header, rows in result.tables():
        words = tuple(place for place, name in enumerate(header) if not name)
        bold = tuple(place for place, row in enumerate(rows) if strong(row))
        table = Table(caption=caption, header=header, rows=rows, words=words, strong=bold)
        print_table(table, least_width=LEAST_WIDTH)
    found = result.found
    left_out = [f"left out to keep within the budget: {text}" for text in found["left_out"]]
    for text in (result.sentence, *more, *left_out):
        say(text, err=False)
    typer.echo(f"{found['fits']} fits; run directory {result.path}")
    chosen = result.path / "chosen.toml"
    if chosen.exists():
        typer.echo(f"next: heldout fit ... --config {chosen}")
    if page.exists():
        typer.echo(f"report {page}")
