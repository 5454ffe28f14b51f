"""A table of a page, in the terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from heldout.check import visible
from heldout.report.blocks import Table

_ENDLESS = 1000  # characters of a line


def print_table(table: Table, *, least_width: int = 120) -> None:
    """Print a table; text of the data is shown and never acts.

    Parameters
    ----------
    table : Table
        Of a page.
    least_width : int, default 120
        A terminal of fewer characters wraps lines rather than cutting numbers.
    """
    grid = Grid(title=escape(table.caption), title_justify="left", title_style="", box=SIMPLE_HEAD)
    for place, name in enumerate(table.header):
        grid.add_column(escape(visible(name)), justify="left" if place in (0, *table.words) else "right")
    for place, row in enumerate(table.rows):
        grid.add_row(*(escape(visible(cell)) for cell in row), style="bold" if place in table.strong else "")
    print_grid(grid, least_width=least_width)


def print_grid(grid: Grid, *, least_width: int = 120) -> None:
    """Print a table of rich; a file or a pipe gets all of it in lines as long as they are.

    Parameters
    ----------
    grid : rich Table
        The table.
    least_width : int, default 120
        As for `print_table`.
    """
    console = Console(highlight=False)
    needed = console.measure(grid, options=console.options.update(width=_ENDLESS)).maximum
    console.width = max(console.width, least_width, 0 if console.is_terminal else needed)
    console.print(grid)
