"""What every command shares: exit codes, errors of one line, and how a sentence reaches the terminal."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import typer

from heldout.check import FitError, InputError, visible

FAILED, BAD_INPUT, GATE_FAILED, INTERRUPTED = 1, 2, 3, 130
_OPTIONAL = ("tokenizers", "datasketch")


def guarded(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command whose errors are one line and whose exit codes are those of the epilog.

    Parameters
    ----------
    function : callable
        The command.
    """

    @wraps(function)
    def run(*args: Any, **options: Any) -> None:
        try:
            function(*args, **options)
        except KeyboardInterrupt:
            typer.echo("interrupted: the same command goes on where this one stopped", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except (InputError, FitError) as error:
            say(f"heldout: {error}")
            raise typer.Exit(BAD_INPUT if isinstance(error, InputError) else FAILED) from None
        except ModuleNotFoundError as error:
            if error.name not in _OPTIONAL:
                raise
            say(f"heldout: texts need the package {error.name}: pip install 'heldout[text]'")
            raise typer.Exit(BAD_INPUT) from None

    return run


def say(text: str, *, err: bool = True) -> None:
    """Print a sentence; what a column's name or a text holds in it is shown and never acts.

    Parameters
    ----------
    text : str
        The sentence.
    err : bool, default True
        On the error stream, so that the output can be piped.
    """
    typer.echo(visible(text), err=err)
