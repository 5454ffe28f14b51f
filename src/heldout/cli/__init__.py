"""The command line: each command is a few lines over one public function.

===================================  =========
fit, predict, init, demo             `run`
audit                                `audit`
judge                                `judge`
remedies                             `remedies`
reduce                               `reduce`
tune                                 `tune`
report, compare                      `pages`
diagnose                             `diagnose`
vectors, augment                     `text`
the options they share               `options`, `table`, `fits`
a result on the screen               `show`
errors and exit codes                `command`
===================================  =========
"""

import sys
from typing import Annotated, Any

import typer

from heldout.cli.audit import audit
from heldout.cli.command import BAD_INPUT, INTERRUPTED, guarded, say
from heldout.cli.diagnose import diagnose
from heldout.cli.judge import judge
from heldout.cli.pages import compare, report
from heldout.cli.reduce import reduce
from heldout.cli.remedies import remedies
from heldout.cli.run import demo, fit, init, predict
from heldout.cli.text import augment, vectors
from heldout.cli.tune import tune

_UsageError: Any = typer.BadParameter.__base__  # of the click that this typer brings with it
app = typer.Typer(
    name="heldout",
    help="Trains LSTMs that hold up on data they have not seen, and proves it.",
    epilog="Exit codes: 0 done, 1 a fit failed, 2 bad input or usage, 3 a gate failed, 130 interrupted (the same command goes on).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_IN_ORDER_OF_HELP = (
    fit,
    audit,
    judge,
    remedies,
    reduce,
    tune,
    predict,
    init,
    demo,
    report,
    compare,
    diagnose,
    vectors,
    augment,
)
for _function in _IN_ORDER_OF_HELP:
    app.command()(guarded(_function))


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


def main() -> None:
    """Run the command line and exit with its code; what is asked wrongly is answered in one line."""
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
        else:
            where = f"; see {error.ctx.command_path} --help" if error.ctx else ""
            say(f"heldout: {error.format_message().rstrip('.')}{where}")
    except typer.Abort:
        sys.exit(INTERRUPTED)
    sys.exit(BAD_INPUT)
