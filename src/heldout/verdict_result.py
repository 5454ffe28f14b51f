"""`Verdict`: whether a recipe overfits, as a word, as a sentence, as numbers and as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heldout.audit_result import AuditResult
from heldout.data.audit.finding import Finding
from heldout.plots.tables import html_table
from heldout.plots.values import plural


@dataclass(frozen=True, eq=False)
class Verdict:
    """What `heldout.judge` found.

    Attributes
    ----------
    path : Path
        The run directory.
    found : dict
        Its ``scores.json``.
    """

    path: Path
    found: dict[str, Any]

    @property
    def verdict(self) -> str:
        """One of "LEAK-SUSPECT", "OVERFIT", "NO HARMFUL OVERFIT" or "INCONCLUSIVE"."""
        return str(self.found["verdict"])

    @property
    def flags(self) -> dict[str, str]:
        """What else has to be said, by name, each with its reason."""
        return dict(self.found["flags"])

    @property
    def sentence(self) -> str:
        """What the numbers mean."""
        return str(self.found["sentence"])

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Give caption, header and rows of the family and of the evidence, as texts."""
        found = self.found
        if self.verdict == "LEAK-SUSPECT":
            audited = AuditResult(findings=tuple(map(Finding.from_dict, found["audit"])))
            return audited.tables()
        family = [
            [
                one["name"],
                f"{one['train']:.4g}",
                percent(one["saved"]),
                f"{one['chosen']} of {found['n_folds']}"
                if one["admissible"]
                else "follows the training rows more",
            ]
            for one in found["members"]
        ]
        seeds = f"{found['n_seeds']} seed{'s' * (found['n_seeds'] != 1)}"
        caption = f"What follows the training rows less, on {found['n_folds']} folds with {seeds}"
        header = ["", "training loss", f"saved of the {found['metric']}, 90 % interval", "chosen in folds"]
        family.insert(0, ["as given", f"{found['train']:.4g}", "-", ""])
        return [(caption, header, family), ("Evidence", ["", ""], evidence_rows(found))]

    def _repr_html_(self) -> str:
        """The word and the sentence, then the tables."""
        first, *rest = self.tables()
        return html_table(*first, note=self.sentence) + "".join(html_table(*table) for table in rest)

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-able values, as in ``scores.json``."""
        return dict(self.found)


def evidence_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """Give what lies beside the verdict, each as a name and a text.

    Parameters
    ----------
    found : mapping
        As in ``scores.json``.
    """
    rows = [
        ["optimism: loss on new rows of the same period, above that on training rows", percent(found["gap"])],
        ["drift: loss on later rows, above that on new rows of the same period", percent(found["drift"])],
        [f"skill against {found['baseline']}, the best baseline", percent(found["skill"])],
    ]
    if found["memorisation"] is not None:
        rows.append(
            ["share of the training fit that shuffled labels give too", f"{found['memorisation']:.0%}"]
        )
    if found["signal"] is not None:
        signal = found["signal"]
        rows.append(
            ["p value of 'there is nothing to learn'", f"{signal['p_value']:.2g} ({signal['draws']} draws)"]
        )
    if found["curve"] is not None:
        rows.append(["twice the data would lower the loss by", percent(found["curve"]["twice"])])
    rows += [[name, why] for name, why in found["flags"].items()]
    return rows


def sentence_of(found: Mapping[str, Any]) -> str:
    """Say in a few sentences what the verdict is and what it stands on.

    Parameters
    ----------
    found : mapping
        As in ``scores.json``.
    """
    said = f"{found['verdict']}: {found['why']}"
    if found["verdict"] != "LEAK-SUSPECT":
        said += f"; a harm of {found['delta']:.2%} is the smallest that matters"
    if found["verdict"] == "INCONCLUSIVE" and found["detectable"] is not None:
        folds = found["folds_needed"]
        said += (
            f". The smallest harm that these {found['n_folds']} folds would have seen in 4 of 5 cases is "
            f"{found['detectable']:.1%}; it takes about {folds} folds as noisy as these to see one of {found['delta']:.2%}"
        )
    elif found["verdict"] == "INCONCLUSIVE" and found["harm"] is not None:
        said += f". No harm can be seen in {plural(found['n_folds'], 'fold')}: it takes more of them, and rows for them"
    return f"{said}." + (f" Flags: {', '.join(found['flags'])}." if found["flags"] else "")


def percent(found: Mapping[str, Any] | None) -> str:
    """Give a share with its interval, in per cent.

    Examples
    --------
    >>> percent({"mean": 0.12, "low": 0.05, "high": 0.19}), percent(None)
    ('+12.0 % [+5.0, +19.0]', 'not measured')
    >>> percent({"mean": 0.12, "low": 0.05, "high": None})
    '+12.0 % [at least +5.0]'
    """
    if found is None:
        return "not measured"
    mean = f"{100 * found['mean']:+.1f} %"
    if found["low"] is None:
        return mean
    if found["high"] is None:
        return f"{mean} [at least {100 * found['low']:+.1f}]"
    return f"{mean} [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"
