"""`where_fits_run`: the options that say where fits run, written once."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from heldout.progress import Display
    from heldout.studies.engine import Engine

_NAMED: dict[str, Any] = {
    "workers": Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=0,
            envvar="HELDOUT_WORKERS",
            help="Fits that run at once, each in a process of its own (default: one per core); 0: one after the other in this one, with the engine local.",
        ),
    ],
    "engine": Annotated[
        str,
        typer.Option(
            "--engine",
            envvar="HELDOUT_ENGINE",
            help="Where they run: local (processes of this machine) or ray (one that is started here, or a cluster).",
        ),
    ],
    "address": Annotated[
        str | None,
        typer.Option(
            "--address",
            envvar="HELDOUT_ADDRESS",
            help="Of the Ray cluster: host:port (default: Ray is started here).",
        ),
    ],
}
_DEFAULTS = {"workers": None, "engine": "local", "address": None}


@dataclass(frozen=True)
class Fits:
    """Where fits run.

    Attributes
    ----------
    workers : int or None
        How many at once; 0 for this process.
    engine : {"local", "ray"}
        By what.
    address : str or None
        Of a Ray cluster.
    """

    workers: int | None = None
    engine: str = "local"
    address: str | None = None

    def run_on(self) -> "Engine":
        """Give the engine.

        Raises
        ------
        InputError
            If the options do not go together.
        """
        from heldout.check import InputError, check_choice
        from heldout.studies.engine import InlineEngine, LocalEngine

        check_choice("--engine", self.engine, ("local", "ray"))
        if self.engine == "local":
            if self.address is not None:
                raise InputError("--address names a Ray cluster: give --engine ray with it, or leave it out")
            return InlineEngine() if self.workers == 0 else LocalEngine(self.workers)
        if self.workers == 0:
            raise InputError(
                "--workers 0 does the fits in this process: give 1 or more with --engine ray, or leave that out"
            )
        from heldout.studies.ray_cluster import knock
        from heldout.studies.ray_engine import RayEngine

        if self.address is not None:  # before anything is read
            knock(self.address)
        return RayEngine(self.workers, address=self.address)

    @property
    def in_torchrun(self) -> bool:
        """Whether ``torchrun`` has started this process beside others."""
        from heldout.training.distributed import in_torchrun

        return in_torchrun()

    @contextmanager
    def opened(self) -> "Iterator[Engine | None]":
        """Give the engine, or in a worker of ``torchrun`` None, once the first one is done.

        Yields
        ------
        Engine or None
        """
        if not self.in_torchrun:
            yield self.run_on()
            return
        from heldout.studies.torchrun import torchrun_engine

        with torchrun_engine() as engine:
            yield engine

    def display(self) -> "Display":
        """Give what shows their progress."""
        import loky

        from heldout.progress import Display

        return Display(loky.cpu_count() if self.workers is None else max(self.workers, 1))


HERE = Fits()


def where_fits_run(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command with the options of `Fits` in place of its parameter ``fits``.

    Parameters
    ----------
    command : callable
        Takes ``fits`` by name.

    Returns
    -------
    callable
        With a signature for typer.
    """

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        named = {name: options.pop(name) for name in _NAMED}
        command(*arguments, fits=Fits(**named), **options)

    found: list[Parameter] = []
    for one in inspect.signature(command).parameters.values():
        if one.name != "fits":
            found.append(one)
            continue
        found += [
            Parameter(name, one.kind, default=_DEFAULTS[name], annotation=kind)
            for name, kind in _NAMED.items()
        ]
    # typer reads both
    run.__signature__ = inspect.Signature(found)  # type: ignore[attr-defined] # functions have it, mypy does not know
    run.__annotations__ = {one.name: one.annotation for one in found}
    return run
