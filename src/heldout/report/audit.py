"""The section of a report that says what the audit found, and the page of an audit alone."""

from pathlib import Path

from heldout.audit_result import AuditResult, sentence_of, word_of
from heldout.data.audit.finding import Finding
from heldout.plots.values import plural, shortened
from heldout.report.blocks import Block, Folded, Points, Section, Table, Text
from heldout.report.evidence import Evidence
from heldout.report.page import write_page


def audit(evidence: Evidence) -> Section:
    """Can the table be trusted: what the quick audit before the fit found.

    Parameters
    ----------
    evidence : Evidence
        Of a run.
    """
    found = evidence.scores.get("audit")
    if found is None:
        text = "This run was written by a version of heldout that did not audit tables: `heldout audit` does it now."
        return Section(title="Is there a leak?", anchor="audit", blocks=[Text(text=text, kind="note")])
    blocks = audit_blocks(tuple(map(Finding.from_dict, found)))
    note = "The quick checks, made before the first fit. heldout audit makes all of them."
    return Section(title="Is there a leak?", anchor="audit", blocks=[*blocks, Text(text=note, kind="note")])


def audit_blocks(findings: tuple[Finding, ...]) -> list[Block]:
    """Give the answer, what failed with its rows, and the table of all checks.

    Parameters
    ----------
    findings : tuple of Finding
        Of an audit.
    """
    leak = any(finding.is_leak for finding in findings)
    blocks: list[Block] = [
        Text(text=sentence_of(findings), kind=f"lead {'bad' if leak else 'good'}" if findings else "lead")
    ]
    failed = [finding for finding in findings if finding.failed and finding.kind != "hint"]
    for finding in failed:
        blocks.append(Text(text=f"{finding.check}: {finding.message}"))
        if finding.rows:
            blocks.append(Folded(summary=_count(finding), blocks=[_rows(finding)]))
    rows = [[word_of(finding), finding.check, finding.message] for finding in findings]
    blocks.append(
        Folded(
            summary=f"All {plural(len(rows), 'check')}",
            blocks=[
                Table(
                    caption="Checks of the audit, in order",
                    header=["", "Check", "What was found"],
                    rows=rows,
                    words=(1, 2),
                    strong=tuple(place for place, finding in enumerate(findings) if finding in failed),
                ),
                *(
                    _rows(finding)
                    for finding in findings
                    if finding.failed and finding not in failed and finding.rows
                ),
            ],
        )
    )
    return blocks


def _count(finding: Finding) -> str:
    shown = "" if finding.n_rows <= len(finding.rows) else f", the first {len(finding.rows)}"
    return f"{plural(finding.n_rows, 'place')}{shown}"


def _rows(finding: Finding) -> Points:
    return Points(items=[f"{finding.check}: {shortened(row, 200)}" for row in finding.rows])


def write_audit(result: AuditResult, output: str | Path) -> Path:
    """Write what an audit found as one HTML file.

    Parameters
    ----------
    result : AuditResult
        Of `heldout.audit`.
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
    about = result.about
    section = Section(title="Is there a leak?", anchor="audit", blocks=audit_blocks(result.findings))
    blocks: list[Section] = [section]
    if about.get("notes"):
        blocks.append(Section(title="How was the table read?", anchor="notes", blocks=[Points(items=list(about["notes"]))]))  # fmt: skip
    return write_page(
        output,
        f"{' and '.join(Path(name).name for name in str(about.get('source', 'table')).split(' and '))}: is there a leak?",
        blocks,
        subtitle=f"{'Quick audit' if about.get('quick') else 'Audit'} of {plural(int(about.get('rows', 0)), 'row')}",
    )
