"""The options that commands share, and how what was typed becomes a `Config` or, with texts, a `TextConfig`."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heldout.check import InputError

if TYPE_CHECKING:
    from heldout.config import Config, TextConfig

LEAST_WIDTH = 120  # a number that is cut short is worse than a line that wraps
_SERIES_ONLY = ("id", "future", "static", "ignore", "horizon", "season")
_TEXT_ONLY = ("group",)

Source = Annotated[
    str,
    typer.Argument(
        help="Table: CSV, TSV, JSON lines or Parquet, gzip too; for fit also a folder of Parquet files.",
        show_default=False,
    ),
]
RunFolder = Annotated[
    Path, typer.Argument(help="Run directory that `heldout fit` wrote.", show_default=False)
]
Text = Annotated[str | None, typer.Option("--text", help="Column of texts: fits a classifier of them.")]
Target = Annotated[
    list[str] | None,
    typer.Option(
        "--target", help="Column to forecast, give it again for several; with --text, of the labels."
    ),
]
Time = Annotated[
    str | None,
    typer.Option(
        "--time", help="Column of times (default: the first that holds dates); with --text, splits follow it."
    ),
]
Group = Annotated[
    str | None,
    typer.Option("--group", help="With --text: column of what stays on one side of a split, as the author."),
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
Test = Annotated[
    str | None,
    typer.Option("--test", help="Table of rows that follow, or of more texts: the sealed test."),
]
Season = Annotated[int | None, typer.Option("--season", help="Rows in a season (default: found).")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file, as `heldout init` writes it.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Any option of the TOML file, e.g. --set hidden_size=64.")
]
Out = Annotated[Path | None, typer.Option("--out", help="Run directory (default: runs/<target>-<number>).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Budget = Annotated[
    str | None,
    typer.Option("--budget", help="Do what fits in it: 10min, 2h, '50 fits' or both (default: no limit)."),
]
Gate = Annotated[
    str | None,
    typer.Option(
        "--fail-if-worse-than",
        help="Exit with 3 if heldout's loss on the sealed test is above this baseline's.",
    ),
]


def configure(
    file: Path | None, named: Mapping[str, Any], assignments: Sequence[str] | None
) -> "Config | TextConfig":
    """Give the configuration: the file, then the options by name, then ``--set``; one of texts where a text column is named.

    Parameters
    ----------
    file : path, optional
        TOML.
    named : mapping
        Options by name; None where not given.
    assignments : sequence of str, optional
        ``name=value`` each.

    Raises
    ------
    InputError
        If an option is unknown, has a value that is not allowed, or is none of this kind of run.
    """
    from heldout.config import Config

    values = {name: value for name, value in named.items() if value not in (None, [])}
    values |= assigned(assignments)
    if not _is_of_texts(file, values):
        _refuse(values, _TEXT_ONLY, "is for texts only: name their column with --text")
        return (Config.read(file) if file else Config()).with_values(values)
    _refuse(values, _SERIES_ONLY, "is for series only, but --text names a column of texts")
    if isinstance(values.get("target"), list):
        if len(values["target"]) > 1:
            raise InputError(f"a text has one label: give --target once, got {', '.join(values['target'])}")
        values["target"] = values["target"][0]
    from heldout.config import TextConfig

    return (TextConfig.read(file) if file else TextConfig()).with_values(values)


def assigned(assignments: Sequence[str] | None) -> dict[str, Any]:
    """Give the values of ``--set name=value``, read as TOML; what is none is a string.

    Parameters
    ----------
    assignments : sequence of str, optional
        As typed.

    Raises
    ------
    InputError
        If one has no ``=``.

    Examples
    --------
    >>> assigned(["hidden_size=64", "pooling=['last', 'max']", "lr=.1", "vectors=a.npz"])
    {'hidden_size': 64, 'pooling': ['last', 'max'], 'lr': 0.1, 'vectors': 'a.npz'}
    """
    values = {}
    for text in assignments or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set needs name=value, got {text!r}")
        values[name.strip()] = _parse(value.strip())
    return values


def _parse(text: str) -> Any:
    number = re.sub(r"^([+-]?)\.(?=\d)", r"\g<1>0.", text)  # TOML wants a digit before the point
    try:
        return tomllib.loads(f"value = {number}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _is_of_texts(file: Path | None, values: Mapping[str, Any]) -> bool:
    """Whether a column of texts is named; a file that cannot be read is refused where it is read in full."""
    if {"text", "data.text"} & values.keys():
        return True
    try:
        held = tomllib.loads(file.read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError):
        return False
    data = held.get("data")
    return isinstance(data, dict) and "text" in data


def _refuse(values: Mapping[str, Any], names: Sequence[str], why: str) -> None:
    for name in names:
        if name in values:
            raise InputError(f"--{name} {why}")
