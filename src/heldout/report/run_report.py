"""The report of one run: what to look at, in the order in which a reader asks."""

from pathlib import Path

from heldout.plots.values import plural
from heldout.report.audit import audit
from heldout.report.blocks import Section
from heldout.report.capacity import capacity_sections
from heldout.report.evidence import Evidence
from heldout.report.forecasts import forecasts
from heldout.report.page import write_page
from heldout.report.provenance import data, recipe
from heldout.report.remedies import remedies_sections
from heldout.report.sections import overfit, rivals, verdict
from heldout.report.texts import augmentation, errors, texts_seen
from heldout.report.tuning import tuning_sections
from heldout.report.verdict import verdict_sections

FILE = "report.html"


def write_report(run: str | Path, output: str | Path | None = None) -> Path:
    """Write the report of a run as one HTML file that needs nothing else and asks nothing of anybody.

    Parameters
    ----------
    run : path
        A finished run directory, of a fit or of any search.
    output : path, optional
        The file; by default ``report.html`` in the run directory.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If there is no finished run, or the file cannot be written.
    """
    evidence = Evidence.read(run)
    path = Path(output) if output is not None else evidence.path / FILE
    question, sections = _content(evidence)
    return write_page(
        path,
        f"{', '.join(evidence.targets) or evidence.name}: {question}",
        sections,
        subtitle=_subtitle(evidence),
    )


def _content(evidence: Evidence) -> tuple[str, list[Section]]:
    """What the page asks, and its parts."""
    if evidence.search == "capacity":
        return "how small may the network be?", capacity_sections(evidence)
    if evidence.search == "tune":
        return "does tuning pay?", tuning_sections(evidence)
    if evidence.search == "remedies":
        return "what helps against overfitting?", remedies_sections(evidence)
    if evidence.search == "verdict":
        return "does it overfit?", verdict_sections(evidence)
    parts = (errors, texts_seen, augmentation) if evidence.kind == "text" else (forecasts, data)
    what = "classifier" if evidence.kind == "text" else "forecast"
    sections = [part(evidence) for part in (verdict, audit, rivals, overfit, *parts, recipe)]
    return f"does the {what} hold up?", sections


def _subtitle(evidence: Evidence) -> str:
    options = evidence.settled.get("data", {})
    if evidence.search:
        fits = int(evidence.scores.get("fits") or evidence.scores.get("n_fits") or 0)
        return f"Search {evidence.name}, {plural(fits, 'fit')}"
    if evidence.kind == "text":
        ahead = f", {len(evidence.scores.get('classes') or [])} classes"
    else:
        horizon = options.get("horizon")
        ahead = "" if horizon is None else f", {horizon} step{'s' if horizon > 1 else ''} ahead"
    looked = f", {evidence.looks[0].when[:10]}" if evidence.looks else ""
    return f"Run {evidence.name}{ahead}{looked}"
