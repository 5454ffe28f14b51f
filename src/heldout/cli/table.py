"""`over_table`: the options that every command over a table has, written once."""

import inspect
from collections.abc import Callable
from functools import wraps
from inspect import Parameter
from typing import Any

from heldout.cli.options import (
    ConfigFile,
    Future,
    Group,
    Horizon,
    Id,
    Ignore,
    Season,
    Set,
    Source,
    Static,
    Target,
    Test,
    Text,
    Time,
    configure,
)

_NAMED: dict[str, Any] = {
    "target": Target,
    "text": Text,
    "time": Time,
    "group": Group,
    "id": Id,
    "future": Future,
    "static": Static,
    "ignore": Ignore,
    "horizon": Horizon,
    "test": Test,
    "season": Season,
}


def over_table(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that reads a table: with the options that name columns, a file of options, and ``--set``.

    Parameters
    ----------
    command : callable
        Takes ``source`` and ``settings``, the `Config` or `TextConfig` that those options make, then options of its own.

    Returns
    -------
    callable
        With a signature for typer.
    """
    source, _, *own = inspect.signature(command).parameters.values()

    @wraps(command)
    def run(source: str, **options: Any) -> None:
        named = {name: options.pop(name) for name in _NAMED}
        settings = configure(options.pop("config"), named, options.pop("set_"))
        command(source, settings, **options)

    shared = _NAMED | {"config": ConfigFile, "set_": Set}
    found = [
        source.replace(annotation=Source),
        *(Parameter(name, source.kind, default=None, annotation=kind) for name, kind in shared.items()),
        *own,
    ]
    # typer reads both
    run.__signature__ = inspect.Signature(found)  # type: ignore[attr-defined] # functions have it, mypy does not know
    run.__annotations__ = {one.name: one.annotation for one in found}
    return run
