"""`AuditResult`: what an audit found, as findings, as a sentence and as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from heldout.check import InputError
from heldout.data.audit.finding import Finding
from heldout.plots.tables import html_table
from heldout.plots.values import plural


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditResult:
    """What `heldout.audit` found.

    Attributes
    ----------
    findings : tuple of Finding
        One for each check, in order.
    about : dict
        ``source``; ``kind``: "series" or "text"; ``rows``; ``quick``; ``notes`` of reading the table.

    Examples
    --------
    >>> finding = Finding(check="look-ahead in columns", status="FAIL", message="Column 'x' holds what the target does later.")
    >>> result = AuditResult(findings=(finding,))
    >>> result.ok, result.sentence
    (False, '1 leak: look-ahead in columns. No score on this table can be trusted before it is gone.')
    """

    findings: tuple[Finding, ...]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def leaks(self) -> tuple[Finding, ...]:
        """Failed checks for which the score cannot be trusted."""
        return tuple(finding for finding in self.findings if finding.is_leak)

    @property
    def ok(self) -> bool:
        """Whether no check for leaks failed; one that was not run has not failed."""
        return not self.leaks

    def finding(self, check: str) -> Finding:
        """Give what one check found.

        Raises
        ------
        InputError
            If there is no such check.
        """
        named = {finding.check: finding for finding in self.findings}
        if check not in named:
            raise InputError(f"there is no check {check!r}: there are {', '.join(named)}")
        return named[check]

    @property
    def sentence(self) -> str:
        """What the table means."""
        return sentence_of(self.findings)

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Give caption, header and rows of the checks, as texts."""
        rows = [[word_of(finding), finding.check, finding.message] for finding in self.findings]
        return [(f"{plural(len(rows), 'check')}", ["", "check", "what was found"], rows)]

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-able values: ``ok``, ``sentence``, ``findings`` and what `about` holds."""
        findings = [finding.to_dict() for finding in self.findings]
        return {"ok": self.ok, "sentence": self.sentence, **self.about, "findings": findings}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make the result that `to_dict` described."""
        about = {name: value for name, value in values.items() if name not in ("ok", "sentence", "findings")}
        return cls(findings=tuple(map(Finding.from_dict, values["findings"])), about=about)

    def _repr_html_(self) -> str:
        """The table of the checks, and the sentence."""
        return html_table(*self.tables()[0], note=self.sentence)


def word_of(finding: Finding) -> str:
    """Say in a word or two how a check went: "pass", "LEAK", "fault", "look", "not run".

    Parameters
    ----------
    finding : Finding
        Of any check.
    """
    if not finding.failed:
        return finding.status.lower()
    return {"leak": "LEAK", "fault": "fault", "hint": "look"}[finding.kind]


def sentence_of(findings: tuple[Finding, ...]) -> str:
    """Say in a sentence or two what an audit means.

    Parameters
    ----------
    findings : tuple of Finding
        All of them.
    """
    leaks = [finding.check for finding in findings if finding.is_leak]
    faults = [finding.check for finding in findings if finding.failed and finding.kind == "fault"]
    more = f" {plural(len(faults), 'fault')} of the table: {', '.join(faults)}." if faults else ""
    if leaks:
        before = "before it is gone" if len(leaks) == 1 else "before they are gone"
        return f"{plural(len(leaks), 'leak')}: {', '.join(leaks)}. No score on this table can be trusted {before}.{more}"
    asked = [finding for finding in findings if finding.kind == "leak" and not finding.failed]
    left = sum(finding.status == "NOT RUN" for finding in asked)
    said = f"No leak found by {plural(len(asked) - left, 'check')}"
    return f"{said}{f', {left} more could not be run' if left else ''}; a leak that none of them knows may still be there.{more}"
