"""A comparison of runs as a page."""

from pathlib import Path
from typing import Any

from heldout.plots.curves import learning_curves
from heldout.plots.overlaid import overlaid_curves
from heldout.report.blocks import MISSING, Block, Folded, Points, Section, Table, Text, draw, estimate
from heldout.report.compare import VERSION, Comparison
from heldout.report.page import write_page
from heldout.report.sections import curves
from heldout.result import HELDOUT

_ALPHA = 0.05


def write_comparison(found: Comparison, output: str | Path) -> Path:
    """Write a comparison as one HTML file, as `heldout.report.run_report.write_report` does a run.

    Parameters
    ----------
    found : Comparison
        From `heldout.report.compare.compare`.
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
    sections = [_answer(found), _scores(found), _curves(found), _differences(found)]
    return write_page(
        output,
        f"{found.names[0]} beside {', '.join(found.names[1:])}",
        sections,
        subtitle="Runs side by side; each is compared with the first.",
    )


def _answer(found: Comparison) -> Section:
    blocks: list[Block] = [Points(items=[pair.sentence for pair in found.pairs])]
    if len(found.pairs) > 1:
        blocks.append(
            Text(
                text=f"{len(found.pairs)} comparisons, each against {found.names[0]}; the intervals are not widened for their number. {_corrected(found)}",
                kind="note",
            )
        )
    blocks.append(
        Text(
            text=f"Intervals are over {_units(found)} and speak of these trained models, not of training them again. "
            "Who chooses a run by this page has looked at the sealed test, and needs a new one for an honest number.",
            kind="warning",
        )
    )
    return Section(title="Is one better?", anchor="answer", blocks=blocks)


def _corrected(found: Comparison) -> str:
    differ = [
        pair.other
        for pair, p in zip(found.pairs, found.corrected, strict=True)
        if p is not None and p < _ALPHA
    ]
    return f"After Holm's correction for it {', '.join(differ) or 'none'} still differ at 5 %."


def _units(found: Comparison) -> str:
    if found.runs[0].kind == "text":
        return "texts, each counted by itself,"
    return "blocks of time (over series, where all forecasts start at one moment)"


def scores_table(found: Comparison, what: str) -> Table:
    """Give every candidate's loss or skill in every run.

    Parameters
    ----------
    found : Comparison
        The runs.
    what : {"loss", "skill"}
        On the sealed test; the skill is that against the reference.
    """
    ends = ("value", "low", "high") if what == "loss" else ("skill_vs_naive", "skill_low", "skill_high")
    rows = [
        [name, *(_cell(run.rows.get(name), ends, run.terms.base) for run in found.runs)]
        for name in found.candidates
    ]
    metrics = dict.fromkeys(run.scores["metric"] for run in found.runs)
    references = dict.fromkeys(run.terms.reference for run in found.runs)
    caption = (
        f"Loss on the sealed test ({'; '.join(metrics)})"
        if what == "loss"
        else f"Skill against {' or '.join(references)} on the sealed test"
    )
    return Table(
        caption=caption,
        header=["Candidate", *found.names],
        rows=rows,
        strong=tuple(place for place, row in enumerate(rows) if row[0] == HELDOUT),
    )


def _cell(row: dict[str, Any] | None, ends: tuple[str, str, str], base: str) -> str:
    if row is None:
        return MISSING
    if row["name"] == base and ends[0] != "value":
        return "reference"
    mean, low, high = (row.get(name) for name in ends)
    return estimate(mean, low, high, share=ends[0] != "value")


def _scores(found: Comparison) -> Section:
    blocks: list[Block] = [scores_table(found, "skill"), scores_table(found, "loss")]
    metrics = {run.scores["metric"] for run in found.runs}
    if len(metrics) > 1:
        blocks.append(Text(text="The losses are on different scales: compare the skills.", kind="note"))
    blocks += [
        Text(text=f"{name}: {run.scores['sentence']}")
        for name, run in zip(found.names, found.runs, strict=True)
    ]
    return Section(title="What did each score?", anchor="scores", blocks=blocks)


def _curves(found: Comparison) -> Section:
    final = {
        name: curves([fit for fit in run.fits if (fit.candidate, fit.fold) == (HELDOUT, "final")])
        for name, run in zip(found.names, found.runs, strict=True)
    }
    every = [{**curve, "label": f"{name} {curve['label']}"} for name, fits in final.items() for curve in fits]
    blocks: list[Block] = [
        draw(overlaid_curves, final),
        Text(text="The same, run by run:"),
        draw(learning_curves, every),
        Text(
            text="Losses are in the scaled units that each run minimises; between runs of another transform or loss their levels do not compare.",
            kind="note",
        ),
    ]
    return Section(title="How did they learn?", anchor="curves", blocks=blocks)


def differences_table(found: Comparison) -> Table:
    """Give what differs in how the runs were made, versions apart."""
    return _differing(found, "Options and data that differ", versions=False)


def _differing(found: Comparison, caption: str, *, versions: bool) -> Table:
    rows = [row for row in found.differences if row[0].startswith(VERSION) == versions]
    words = tuple(range(1, len(found.names) + 1))
    return Table(caption=caption, header=["What", *found.names], rows=rows, words=words)


def _differences(found: Comparison) -> Section:
    options, versions = differences_table(found), _differing(found, "Versions that differ", versions=True)
    blocks: list[Block] = [options] if options.rows else [Text(text="Options and data are the same.")]
    if versions.rows:
        blocks.append(Folded(summary="Versions that differ", blocks=[versions]))
    return Section(title="What differs in how they were made?", anchor="differences", blocks=blocks)
