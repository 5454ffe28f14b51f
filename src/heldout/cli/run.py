"""Commands that make and use a run: fit, predict, init, demo."""

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heldout.check import InputError, check_choice
from heldout.cli.command import say
from heldout.cli.fits import HERE, Fits, where_fits_run
from heldout.cli.options import (
    Gate,
    Group,
    Id,
    Json,
    Out,
    RunFolder,
    Source,
    Target,
    Text,
    Time,
    configure,
)
from heldout.cli.show import hold_against, show, write_page
from heldout.cli.table import over_table

if TYPE_CHECKING:
    from heldout.config import Config, TextConfig


@over_table
@where_fits_run
def fit(
    source: str,
    settings: "Config | TextConfig",
    out: Out = None,
    fits: Fits = HERE,
    together: Annotated[
        bool,
        typer.Option(
            "--together",
            help="All workers train each model together, from files: Parquet only, and always so where it is larger than memory.",
        ),
    ] = False,
    fail_if_worse_than: Gate = None,
    as_json: Json = False,
) -> None:
    """Fit a regularised LSTM to the series in a table, judge it on a sealed test, and keep all of it in a run directory.

    With --text, a classifier of the texts in a column, by the labels in the column --target.

    Stop it with Ctrl-C at any time; the same command goes on where it was.
    """
    from heldout import experiment

    with fits.opened() as engine:
        if engine is None:  # a worker of torchrun, whose part is done
            return
        with fits.display() as display:
            result = experiment.fit(
                source,
                settings,
                out=out,
                engine=engine,
                listener=display,
                gate=fail_if_worse_than,
                command=shlex.join(["heldout", *sys.argv[1:]]),
                together=together or fits.in_torchrun,
            )
        show(result, as_json=as_json)
        write_page(result, as_json=as_json)
        hold_against(result, fail_if_worse_than)


def predict(
    run: RunFolder,
    source: Source,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where to write: .csv or .parquet (default: print).")
    ] = None,
) -> None:
    """Forecast the steps after the end of each series in a table, with the model of a run; of texts, the label of each row and how probable each class is."""
    from heldout.files import check_apart
    from heldout.forecast import predict as forecast

    if output is not None:
        check_apart(output, source)
    table, notes = forecast(run, source)
    _say_notes(notes)
    if output is None:
        typer.echo(table.write_csv(), nl=False)
        return
    from heldout.forecast import write_table
    from heldout.plots.values import plural

    write_table(table, output)
    what = "label" if "label" in table.columns else "forecast"
    typer.echo(f"{plural(len(table), what)} in {output}", err=True)


def init(
    source: Source,
    target: Target = None,
    text: Text = None,
    time: Time = None,
    group: Group = None,
    id: Id = None,  # noqa: A002 - the option's name
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The file to write; it must not be there yet.")
    ] = Path("heldout.toml"),
) -> None:
    """Read a table and write a commented TOML file with all options, to change and to give to --config."""
    named = {"target": target, "text": text, "time": time, "group": group, "id": id}
    settings = configure(None, named, None)
    if output.exists():
        raise InputError(f"{output} is there already: remove it or name another with -o")
    settings = _read_once(source, settings)
    from heldout.files import write_atomically

    content = f"# heldout fit {source} --config {output}\n\n{settings.to_toml(comments=True)}"
    write_atomically(output, content.encode())
    typer.echo(f"wrote {output}; next: heldout fit {source} --config {output}", err=True)


@where_fits_run
def demo(
    kind: Annotated[str, typer.Argument(help="series or text.")] = "series",
    out: Out = None,
    fits: Fits = HERE,
    as_json: Json = False,
) -> None:
    """Forecast the volatility of the S&P 500 (real data that ships with a dependency): habit, heldout and baselines on one sealed test.

    With the word text: tell from the first sentence of a docstring which installed package it is from.
    """
    check_choice("the demo", kind, ("series", "text"))
    demonstration: Any
    if kind == "text":
        from heldout import demo_text as demonstration
    else:
        from heldout import demo as demonstration

    with fits.display() as display:
        result = demonstration.run(out=out, engine=fits.run_on(), listener=display)
    show(result, as_json=as_json)
    if not as_json:
        typer.echo(demonstration.meaning(result))
    write_page(result, as_json=as_json)


def _read_once(source: str, settings: "Config | TextConfig") -> "Config | TextConfig":
    """Read the table, say what was inferred from it, and give the settings with that filled in."""
    from heldout.config import Config

    if isinstance(settings, Config):
        from heldout.task import read

        data = read(source, settings.data)
        _say_notes(data.notes)
        return settings.with_values({"horizon": data.horizon, "past": list(data.past)})
    from heldout.data.text_table import read_texts

    columns = settings.data
    if columns.text is None or columns.target is None:
        raise InputError("no column of labels is given: name it with --target")
    texts = read_texts(
        source,
        text=columns.text,
        target=columns.target,
        group=columns.group,
        time=columns.time,
        encoding=columns.encoding,
    )
    _say_notes(texts.notes)
    return settings


def _say_notes(notes: Iterable[str]) -> None:
    for note in notes:
        say(f"· {note}")
