"""A diagnosis as a page."""

from pathlib import Path

from heldout.diagnosis import RULES, Diagnosis
from heldout.plots.history import history_chart
from heldout.report.blocks import Block, Points, Section, Table, Text, draw
from heldout.report.page import write_page


def write_diagnosis(found: Diagnosis, output: str | Path) -> Path:
    """Write a diagnosis as one HTML file that needs nothing else and asks nothing of anybody.

    Parameters
    ----------
    found : Diagnosis
        From `heldout.diagnose`.
    output : path
        The file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    return write_page(
        output,
        f"{found.history.metric}: what the curves say, and what they do not",
        [_shown(found), _not_shown(found), _next(found)],
        subtitle=f"A log of {found.history.source}, {'; '.join(found.history.notes)}",
    )


def _said(found: Diagnosis, kind: str) -> list[str]:
    return [one.sentence for one in found.statements if one.kind == kind]


def _shown(found: Diagnosis) -> Section:
    blocks: list[Block] = [Text(text=found.sentence, kind="lead"), draw(history_chart, found.to_dict())]
    rest = _said(found, "seen")[2:]
    if rest:
        blocks.append(Points(items=rest))
    for table in found.tables():
        blocks += [rules_table(*table), Text(text=RULES, kind="note")]
    return Section(title="What do the curves show?", anchor="shown", blocks=blocks)


def rules_table(caption: str, header: list[str], rows: list[list[str]]) -> Table:
    """Give the stop rules as a table of a page, or of the terminal.

    Parameters
    ----------
    caption, header, rows
        As ``Diagnosis.tables`` gives them.
    """
    return Table(caption=caption, header=header, rows=rows)


def _not_shown(found: Diagnosis) -> Section:
    return Section(
        title="What can they not show?", anchor="not-shown", blocks=[Points(items=_said(found, "unseen"))]
    )


def _next(found: Diagnosis) -> Section:
    blocks: list[Block] = []
    for one in found.statements:
        if one.kind == "next":
            blocks += [Text(text=one.sentence), Text(text=str(one.numbers["command"]), kind="code")]
    return Section(title="What to do next?", anchor="next", blocks=blocks)
