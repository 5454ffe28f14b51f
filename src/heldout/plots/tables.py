"""Small HTML tables for notebooks."""

import html
from collections.abc import Iterable, Sequence

from heldout.check import visible


def html_table(
    caption: str, header: Sequence[str], rows: Iterable[Sequence[object]], *, note: str = ""
) -> str:
    """A table as a notebook shows it; all texts are shown literally.

    Parameters
    ----------
    caption : str
        What it says, above it.
    header : sequence of str
        Names of the columns.
    rows : iterable of sequence
        Cells; None is shown as a dash.
    note : str, default ""
        A line below it.

    Returns
    -------
    str
        HTML without style or script.

    Examples
    --------
    >>> html_table("a < b", ["x"], [[1]])
    '<table><caption>a &lt; b</caption><thead><tr><th scope="col">x</th></tr></thead><tbody><tr><td>1</td></tr></tbody></table>'
    """
    head = "".join(f'<th scope="col">{_shown(name)}</th>' for name in header)
    body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
    below = f"<p>{_shown(note)}</p>" if note else ""
    return (
        f"<table><caption>{_shown(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>{below}"
    )


def _cell(value: object) -> str:
    return f"<td>{'–' if value is None else _shown(str(value))}</td>"


def _shown(text: str) -> str:
    return html.escape(visible(text))
