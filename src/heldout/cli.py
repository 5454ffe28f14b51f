"""The command line: each command is a few lines over one public function."""

import json
import shlex
import sys
import tomllib
from collections.abc import Callable
from functools import wraps
from math import isfinite, isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heldout.check import FitError, InputError, visible

if TYPE_CHECKING:
    from heldout.config import Config
    from heldout.result import Result

FAILED, BAD_INPUT, GATE_FAILED, INTERRUPTED = 1, 2, 3, 130
_WIDTH = 120  # at least: a number that is cut short is worse than a line that wraps

app = typer.Typer(
    name="heldout",
    help="Trains LSTMs that hold up on data they have not seen, and proves it.",
    epilog="Exit codes: 0 done, 1 a fit failed, 2 bad input or usage, 3 a gate failed, 130 interrupted (the same command goes on).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command whose errors are one line and whose exit codes are those of the epilog."""

    @wraps(function)
    def run(*args: Any, **options: Any) -> None:
        try:
            function(*args, **options)
        except KeyboardInterrupt:
            typer.echo("interrupted: the same command goes on where this one stopped", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except (InputError, FitError) as error:
            _say(f"heldout: {error}")
            raise typer.Exit(BAD_INPUT if isinstance(error, InputError) else FAILED) from None

    return app.command()(run)


Source = Annotated[str, typer.Argument(help="Table: CSV, TSV or Parquet, gzip too.", show_default=False)]
Target = Annotated[
    list[str] | None, typer.Option("--target", help="Column to forecast; give it again for several.")
]
Time = Annotated[
    str | None, typer.Option("--time", help="Column of times (default: the first that holds dates).")
]
Id = Annotated[str | None, typer.Option("--id", help="Column that tells several series apart.")]
Future = Annotated[
    list[str] | None, typer.Option("--future", help="Covariate known ahead; give it again for several.")
]
Static = Annotated[
    list[str] | None, typer.Option("--static", help="Column that never changes within a series.")
]
Ignore = Annotated[
    list[str] | None, typer.Option("--ignore", help="Column to leave out; give it again for several.")
]
Horizon = Annotated[
    int | None, typer.Option("--horizon", help="Steps ahead to forecast (default: from the calendar).")
]
Test = Annotated[str | None, typer.Option("--test", help="Table of rows that follow: the sealed test.")]
Season = Annotated[int | None, typer.Option("--season", help="Rows in a season (default: found).")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file, as `heldout init` writes it.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Any option of the TOML file, e.g. --set hidden_size=64.")
]
Out = Annotated[Path | None, typer.Option("--out", help="Run directory (default: runs/<target>-<number>).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Fits that run at once (default: one per core).")
]
Gate = Annotated[
    str | None,
    typer.Option(
        "--fail-if-worse-than",
        help="Exit with 3 if heldout's loss on the sealed test is above this baseline's.",
    ),
]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"heldout {version('heldout')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@_command
def fit(
    source: Source,
    target: Target = None,
    time: Time = None,
    id: Id = None,  # noqa: A002 - the option's name
    future: Future = None,
    static: Static = None,
    ignore: Ignore = None,
    horizon: Horizon = None,
    test: Test = None,
    season: Season = None,
    config: ConfigFile = None,
    set_: Set = None,
    out: Out = None,
    workers: Workers = None,
    fail_if_worse_than: Gate = None,
    as_json: Json = False,
) -> None:
    """Fit a regularised LSTM to the series in a table, judge it on a sealed test, and keep all of it in a run directory.

    Stop it with Ctrl-C at any time; the same command goes on where it was.
    """
    named = {
        "target": target,
        "time": time,
        "id": id,
        "future": future,
        "static": static,
        "ignore": ignore,
        "horizon": horizon,
        "test": test,
        "season": season,
    }
    settings = _configure(config, named, set_)
    from heldout import experiment
    from heldout.studies.engine import LocalEngine

    with _display(workers) as display:
        result = experiment.fit(
            source,
            settings,
            out=out,
            engine=LocalEngine(workers),
            listener=display,
            gate=fail_if_worse_than,
            command=shlex.join(["heldout", *sys.argv[1:]]),
        )
    _show(result, as_json=as_json)
    _write_report(result, as_json=as_json)
    _gate(result, fail_if_worse_than)


@_command
def predict(
    run: Annotated[Path, typer.Argument(help="Run directory that `heldout fit` wrote.", show_default=False)],
    source: Source,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where to write: .csv or .parquet (default: print).")
    ] = None,
) -> None:
    """Forecast the steps after the end of each series in a table, with the model of a run."""
    from heldout.forecast import predict as forecast

    table, notes = forecast(run, source)
    for note in notes:
        _say(f"· {note}")
    if output is None:
        typer.echo(table.write_csv(), nl=False)
        return
    from heldout.forecast import write_table

    write_table(table, output)
    typer.echo(f"{len(table)} forecasts in {output}", err=True)


@_command
def init(
    source: Source,
    target: Target = None,
    time: Time = None,
    id: Id = None,  # noqa: A002 - the option's name
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The file to write; it must not be there yet.")
    ] = Path("heldout.toml"),
) -> None:
    """Read a table and write a commented TOML file with all options, to change and to give to --config."""
    settings = _configure(None, {"target": target, "time": time, "id": id}, None)
    from heldout.task import read

    if output.exists():
        raise InputError(f"{output} is there already: remove it or name another with -o")
    data = read(source, settings.data)
    for note in data.notes:
        _say(f"· {note}")
    settings = settings.with_values({"horizon": data.horizon, "past": list(data.past)})
    from heldout.runs import write_atomically

    text = f"# heldout fit {source} --config {output}\n\n{settings.to_toml(comments=True)}"
    write_atomically(output, text.encode())
    typer.echo(f"wrote {output}; next: heldout fit {source} --config {output}", err=True)


@_command
def demo(out: Out = None, workers: Workers = None, as_json: Json = False) -> None:
    """Forecast the volatility of the S&P 500 (real data that ships with a dependency): habit, heldout and baselines on one sealed test."""
    from heldout import demo as demonstration
    from heldout.studies.engine import LocalEngine

    with _display(workers) as display:
        result = demonstration.run(out=out, engine=LocalEngine(workers), listener=display)
    _show(result, as_json=as_json)
    if not as_json:
        typer.echo(demonstration.meaning(result))
    _write_report(result, as_json=as_json)


@_command
def report(
    run: Annotated[Path, typer.Argument(help="Run directory that `heldout fit` wrote.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The file; report.html in the run directory if not given."),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write the report of a run: one HTML file with everything in it."""
    from heldout.report.run_report import write_report

    path = write_report(run, output)
    typer.echo(str(path))
    if open_:
        typer.launch(path.resolve().as_uri())


@_command
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Two run directories or more; the first is what the others are held against."),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write it as an HTML file, too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Put runs side by side: scores, what differs in them, and the paired difference on the sealed rows that they share."""
    from heldout.report.compare import compare as put_side_by_side
    from heldout.report.compare_page import differences_table, scores_table, write_comparison
    from heldout.report.terminal import print_table

    found = put_side_by_side(*runs)
    if output is not None:
        typer.echo(str(write_comparison(found, output)), err=True)
    if as_json:
        typer.echo(json.dumps(found.to_dict()))
        return
    for table in (scores_table(found, "skill"), scores_table(found, "loss"), differences_table(found)):
        print_table(table, least_width=_WIDTH)
    for pair in found.pairs:
        _say(pair.sentence, err=False)


def main() -> None:
    """Run the command line and exit with its code."""
    app()


def _configure(file: Path | None, named: dict[str, Any], assignments: list[str] | None) -> "Config":
    """The file, then the options by name, then --set."""
    from heldout.config import Config

    values = {name: value for name, value in named.items() if value not in (None, [])}
    for text in assignments or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set needs name=value, got {text!r}")
        values[name.strip()] = _parse(value.strip())
    return (Config.read(file) if file else Config()).with_values(values)


def _parse(text: str) -> Any:
    """A TOML value; what is none is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _say(text: str, *, err: bool = True) -> None:
    """A sentence for the terminal; column names in it may hold anything."""
    typer.echo(visible(text), err=err)


def _display(workers: int | None) -> Any:
    import loky

    from heldout.progress import Display

    return Display(workers or loky.cpu_count())


def _show(result: "Result", *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result.to_dict()))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from heldout.studies.coverage import describe_interval

    table = Table(
        title=f"{result.metric}, {result.test_rows} sealed test row{'s' if result.test_rows > 1 else ''}",
        title_justify="left",
        title_style="",
        box=SIMPLE_HEAD,
    )
    table.add_column("", no_wrap=True)
    for name in ("loss", "95 % interval", "skill vs naive", "heldout against it", "loss on folds"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in result.rows:
        found, beside = row.skill_vs_naive, row.heldout_skill
        against = (
            "-"
            if isnan(beside.mean)
            else f"{100 * beside.mean:+.1f} % [{_range(100 * beside.low, 100 * beside.high, '+.1f')}]"
        )
        table.add_row(
            escape(row.name),
            f"{row.value:.4g}",
            _range(row.low, row.high, ".3g"),
            "-" if row.name == "naive" else f"{100 * found.mean:+.1f} %",
            "-" if row.name == "heldout" else escape(against),
            "-" if row.folds is None else f"{row.folds:.4g}",
            style="bold" if row.name == "heldout" else "",
        )
    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)
    console.print(table)
    if result.accuracy:
        _print_accuracy(result.accuracy)
    _say(result.sentence, err=False)
    for entry in result.intervals:
        _say(describe_interval(entry), err=False)
    seeds = f"mean of {result.n_seeds} seeds" if result.n_seeds > 1 else "1 seed"
    typer.echo(
        f"{result.n_folds} fold{'s' * (result.n_folds != 1)}; {seeds}; look {result.looks} at this test; run directory {result.path}"
    )


def _print_accuracy(accuracy: dict[str, Any]) -> None:
    from heldout.report.blocks import Table
    from heldout.report.terminal import print_table

    found, names = accuracy["rows"], ("smape", "mase", "owa")
    rows = [[row["name"], *("-" if row[n] is None else f"{row[n]:.3f}" for n in names)] for row in found]
    own = [row["name"] for row in found].index("heldout")
    header = ["", "sMAPE %", "MASE", "OWA"]
    table = Table(caption="on the test table", header=header, rows=rows, strong=(own,))
    print_table(table, least_width=_WIDTH)
    typer.echo(f"{accuracy['definition']}\n")


def _write_report(result: "Result", *, as_json: bool) -> None:
    from heldout.report.run_report import write_report

    typer.echo(f"report {write_report(result.path)}", err=as_json)


def _range(low: float, high: float, form: str) -> str:
    return f"{low:{form}} .. {high:{form}}" if isfinite(low) and isfinite(high) else "too few blocks"


def _gate(result: "Result", name: str | None) -> None:
    if name is not None and result.row("heldout").value > result.row(name).value:
        typer.echo(
            f"gate: heldout's loss {result.row('heldout').value:.4g} is above that of {name}, {result.row(name).value:.4g}",
            err=True,
        )
        raise typer.Exit(GATE_FAILED)


if __name__ == "__main__":
    main()
