"""`RemediesResult`: which remedies help, as numbers, as a sentence and as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heldout.plots.tables import html_table
from heldout.plots.values import number, percent, plural, span

_NAMED = 4  # remedies in a sentence


@dataclass(frozen=True, eq=False)
class RemediesResult:
    """What `heldout.rank_remedies` found.

    Attributes
    ----------
    path : Path
        The run directory; ``chosen.toml`` in it is a configuration to fit with.
    found : dict
        Its ``scores.json``. Gains are shares of the control's loss.
    """

    path: Path
    found: dict[str, Any]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The remedies, the largest gain first; see `heldout.studies.remedy_rows.remedy_rows`."""
        return list(self.found["rows"])

    @property
    def choice(self) -> dict[str, Any]:
        """Options of what the inner folds chose: the control, the best remedy or a stack."""
        return dict(self.found["choice"]["options"])

    @property
    def sentence(self) -> str:
        """What the tables mean."""
        return str(self.found["sentence"])

    def plot(self) -> Any:
        """Draw the gain of each remedy with its interval, by class, and what was confirmed.

        Returns
        -------
        plotly.graph_objects.Figure
        """
        from heldout.plots.remedies import forest_chart  # noqa: PLC0415 - plotly is slow to import

        return forest_chart(self.found)

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Give caption, header and rows of the remedies, of the stack and of the folds that judge, as texts."""
        found = self.found
        folds, seeds = plural(found["n_folds"], "fold"), plural(found["n_seeds"], "seed")
        rates = plural(len(found["rates"]), "learning rate")
        remedies = (
            f"Remedies: what each saves of the control's {found['metric']}, on {folds} with {seeds} and {rates}",
            ["", "tier", "saved", "95 % for all at once", "", f"P(> {percent(found['delta'], sign=False)})", "won", "cost", "lr"],
            [_line(row, found["n_folds"]) for row in found["rows"]],
        )  # fmt: skip
        tables = [remedies]
        if found["stack"] is not None and found["stack"]["factors"]:
            lines = [_factor_line(one) for one in found["stack"]["factors"]]
            caption = f"Together: effect of each in {found['stack']['n_runs']} runs"
            tables.append((caption, ["", "effect", "95 % interval", ""], lines))
        outer = found["outer"]
        lines = [_outer_line(row) for row in outer["rows"]]
        lines += [[one["name"], "baseline", number(one["loss"]), "", ""] for one in found["baselines"]]
        folds, seeds = plural(outer["n_folds"], "fold"), plural(outer["n_seeds"], "seed")
        caption = f"Confirmed: {folds} that chose nothing, {plural(outer['n_moments'], 'moment')}, {seeds}"
        return [*tables, (caption, ["", "", found["metric"], "saved", "95 % interval"], lines)]

    def _repr_html_(self) -> str:
        """The sentence below the remedies, then the other tables."""
        first, *rest = self.tables()
        return html_table(*first, note=self.sentence) + "".join(html_table(*table) for table in rest)

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-able values, as in ``scores.json``."""
        return dict(self.found)


def headline(found: Mapping[str, Any]) -> str:
    """Say in one line what was chosen and what it is worth: the number of the folds that chose nothing counts.

    Parameters
    ----------
    found : mapping
        As in ``scores.json``.

    Examples
    --------
    >>> gain, kept = {"mean": 0.031}, {"mean": 0.018, "low": 0.002, "high": 0.034}
    >>> headline({"choice": {"name": "EMA"}, "selected": gain, "confirmed": kept})
    'EMA: selected +3.1 %, confirmed +1.8 % [+0.2, +3.4]'
    """
    if found["confirmed"] is None:
        return "No remedy lowers the loss on the folds that choose: the control stays"
    ends = gain_span(found["confirmed"]) or "(too few moments for an interval)"
    selected, confirmed = percent(found["selected"]["mean"]), percent(found["confirmed"]["mean"])
    return f"{found['choice']['name']}: selected {selected}, confirmed {confirmed} {ends}"


def sentence_of(found: Mapping[str, Any]) -> str:
    """Say in a few sentences what a ranking found.

    Parameters
    ----------
    found : mapping
        As in ``scores.json``.
    """
    said = [f"{headline(found)}."]
    if (confirmed := found["confirmed"]) is not None:
        said.append(_confirmed(confirmed, found["outer"]))
    said.append(_classes(found["rows"]))
    smallest = found["power"]["smallest"]
    if smallest is not None and any(row["verdict"] == "UNDECIDED" for row in found["rows"]):
        said.append(
            "Undecided is what these folds cannot tell: by the first fits the smallest gain that they show in 4 of 5 cases is "
            f"{smallest_said(smallest)}; more folds tell more."
        )
    return " ".join(said)


def smallest_said(smallest: float) -> str:
    """Say how large a gain must be to be seen.

    Examples
    --------
    >>> smallest_said(0.062), smallest_said(1.3)
    ('about 6.2 % of the loss', 'more than the whole loss: none can be shown')
    """
    if smallest >= 1:
        return "more than the whole loss: none can be shown"
    return f"about {percent(smallest, sign=False)} of the loss"


def gain_span(found: Mapping[str, Any]) -> str:
    """Write the interval of a share in per cent, without the sign; nothing where there is none."""
    return span(found["low"], found["high"], lambda end: percent(end).removesuffix(" %"))


def _confirmed(found: Mapping[str, Any], outer: Mapping[str, Any]) -> str:
    where = f"on {plural(outer['n_folds'], 'fold')} that chose nothing"
    if found["low"] is None:
        return f"Whether it helps cannot be told {where}."
    if found["low"] > 0:
        return f"It helps {where}."
    return f"It harms {where}." if found["high"] < 0 else f"That it helps is not shown {where}."


def _classes(rows: list[dict[str, Any]]) -> str:
    """How many of each class, with the names of those that help or harm."""
    parts = []
    for verdict, word in _WORDS.items():
        own = [row for row in rows if row["verdict"] == verdict]
        if not own:
            continue
        shown = [f"{row['name']} {percent(row['gain'])}" for row in own[:_NAMED]]
        more = f" and {len(own) - _NAMED} more" if len(own) > _NAMED else ""
        named = f" ({', '.join(shown)}{more})" if verdict in ("HELPS MATERIALLY", "HELPS", "HARMS") else ""
        parts.append(f"{len(own)} {word}{named}")
    return f"Of {plural(len(rows), 'remedy').replace('remedys', 'remedies')} taken alone: {'; '.join(parts)}."


_WORDS = {
    "HELPS MATERIALLY": "helped by more than matters",
    "HELPS": "helped",
    "NO MATERIAL EFFECT": "had no effect that matters",
    "HARMS": "harmed",
    "UNDECIDED": "undecided",
}


def _line(row: Mapping[str, Any], n_folds: int) -> list[str]:
    return [
        row["name"],
        "-" if row["tier"] is None else str(row["tier"]),
        percent(row["gain"]),
        gain_span(row) or "too few folds",
        row["verdict"],
        "-" if row["probability"] is None else f"{row['probability']:.2f}",
        f"{row['won']} of {n_folds}",
        "-" if row["cost"] is None else f"{row['cost']:.1f} x",
        f"{row['lr']:g}",
    ]


def _factor_line(one: Mapping[str, Any]) -> list[str]:
    return [
        one["name"],
        percent(one["effect"]),
        gain_span(one) or "too few folds",
        "kept" if one["kept"] else "",
    ]


_ROLES = {"control": "control", "single": "best alone", "stack": "stack"}


def _outer_line(row: Mapping[str, Any]) -> list[str]:
    saved = row["saved"]
    ends = "-" if saved is None else gain_span(saved) or "too few moments"
    name = "" if row["name"] == "control" else row["name"]
    return [
        _ROLES[row["role"]],
        name,
        number(row["loss"]),
        "-" if saved is None else percent(saved["mean"]),
        ends,
    ]
