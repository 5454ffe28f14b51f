"""`TuneResult`: what a search over options found, as numbers, as a sentence and as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heldout.config import Config, TextConfig
from heldout.plots.tables import html_table
from heldout.plots.values import plural
from heldout.studies.beaten import beaten
from heldout.studies.proposals import load_study

EXPORT = "optuna.sqlite"
"""The study in a run directory, as Optuna and its dashboard open it."""
_MOST_ROWS = 12  # trials in a table
_MOST_NAMED = 5  # options in a sentence


@dataclass(frozen=True, eq=False)
class TuneResult:
    """What `heldout.tune` found.

    Attributes
    ----------
    path : Path
        The run directory; ``chosen.toml`` in it is a configuration to fit with.
    found : dict
        Its ``scores.json``. A trial's ``loss`` is the mean over the inner folds at the last rung it reached; ``se`` is the standard
        error of its difference from the start at the same rung. Gains are shares of the start's loss.
    """

    path: Path
    found: dict[str, Any]

    @property
    def trials(self) -> list[dict[str, Any]]:
        """All trials in order; the first is the start."""
        return list(self.found["trials"])

    @property
    def choice(self) -> dict[str, Any]:
        """Values of the best trial, by option; those of the start where nothing was better."""
        return dict(self.found["choice"])

    @property
    def start(self) -> dict[str, Any]:
        """Values of the recipe as it was."""
        return dict(self.found["start"])

    @property
    def config(self) -> Config | TextConfig:
        """The configuration with the values of the choice."""
        kind = TextConfig if self.found["modality"] == "text" else Config
        return kind.read(self.path / "chosen.toml")

    @property
    def sentence(self) -> str:
        """What the tables mean."""
        return str(self.found["sentence"])

    @property
    def study(self) -> Any:
        """The search as an `optuna.study.Study` in memory, for Optuna's own plots; what is done to it changes no file.

        Raises
        ------
        InputError
            If Optuna is missing.
        """
        return load_study(self.path / EXPORT)

    def plot(self) -> Any:
        """Draw what the choice gains where it was chosen, what luck alone would, and what it gains elsewhere.

        Returns
        -------
        plotly.graph_objects.Figure
        """
        from heldout.plots.tuning import gains_chart  # noqa: PLC0415 - plotly is slow to import

        return gains_chart(self.found["inside"], self.found["outside"], self.found["lucky"])

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Give caption, header and rows of the options, the best trials and the folds that judge, as texts."""
        found, outer = self.found, self.found["outer"]
        options = [
            [name, _shown(value), _shown(found["choice"][name]), _range(found["space"][name])]
            for name, value in found["start"].items()
        ]
        order = {"complete": 0, "stopped": 1, "raced out": 2, "failed": 3}
        ranked = sorted(
            self.trials,
            key=lambda row: (order[row["state"]], -row["rung"], row["loss"] or 0.0, row["number"]),
        )
        trials = [_trial_line(row) for row in ranked[:_MOST_ROWS]]
        judged = [_outer_line(row) for row in outer["rows"]]
        judged += [[one["name"], "", _number(one["loss"]), "", ""] for one in found["baselines"]]
        metric = found["metric"]
        seeds, folds = (plural(outer[f"n_{name}s"], name) for name in ("seed", "fold"))
        more = f", the best {_MOST_ROWS} of {len(ranked)}" if len(ranked) > _MOST_ROWS else ""
        return [
            ("Options", ["option", "start", "choice", "tried"], options),
            (f"Trials{more}", ["trial", "epochs", "folds", metric, "± against the start", ""], trials),
            (
                f"Judged on {folds} that chose nothing, {outer['n_moments']:,} moments, {seeds}",
                ["", "parameters", metric, "95 % interval", "worse than the choice by"],
                judged,
            ),
        ]

    def _repr_html_(self) -> str:
        """The tables, and the sentence."""
        *first, last = self.tables()
        return "".join(html_table(*table) for table in first) + html_table(*last, note=self.sentence)

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-able values, as in ``scores.json``."""
        return dict(self.found)


def sentence_of(found: Mapping[str, Any]) -> str:
    """Say in a few sentences what a search found.

    Parameters
    ----------
    found : mapping
        As in ``scores.json``.
    """
    trials, metric, outer = plural(found["n_trials"], "trial"), found["metric"], found["outer"]
    where = f"On {plural(outer['n_folds'], 'fold')} that chose nothing its {metric} is {outer['rows'][0]['loss']:.4g}"
    if found["chosen"] == 0:
        return f"Of {trials} none is better than the recipe as it is. {where}.{beaten(found)}"
    said = [
        f"Of {trials} trial {found['chosen']} is the best{_changes(found)}.",
        f"{where}{_saved(found['outside'])}.",
    ]
    inside = found["inside"]["gain"]
    if inside is not None:
        luck = found["lucky"]
        part = (
            ""
            if luck is None
            else f", of which the best of as many useless trials would show {_percent(luck['gain'])}"
        )
        said.append(f"Where it was chosen it saved {_percent(inside)}{part}{_flattered(found['optimism'])}.")
    return " ".join(said) + beaten(found)


def _changes(found: Mapping[str, Any]) -> str:
    """The options in which the choice differs from the start; many stand in the table only."""
    changed = [
        f"{name} {_shown(value)}" for name, value in found["choice"].items() if value != found["start"][name]
    ]
    return f": {', '.join(changed)}" if len(changed) <= _MOST_NAMED else ""


def _saved(outside: Mapping[str, Any]) -> str:
    value, low, high = (outside[name] for name in ("gain", "low", "high"))
    if value is None:
        return ""
    less = f"{_percent(abs(value))} {'less' if value >= 0 else 'more'} than that of the recipe as it is"
    if low is None or high is None:
        return f", {less} (too few blocks for an interval)"
    verdict = "better" if low > 0 else "worse" if high < 0 else "no difference is shown"
    return f", {less} ({verdict}; saved {_percent(value)} [{_percent(low)}, {_percent(high)}])"


def _flattered(optimism: Mapping[str, Any]) -> str:
    if optimism["value"] is None:
        return ""
    if optimism["value"] <= 0:
        return "; choosing did not flatter it"
    ends = ""
    if optimism["low"] is not None:
        ends = f" [{100 * optimism['low']:+.1f}, {100 * optimism['high']:+.1f}]"
    return f"; choosing flattered it by {100 * optimism['value']:.1f} points{ends}"


def _trial_line(row: Mapping[str, Any]) -> list[str]:
    name = str(row["number"]) if row["number"] else "start"
    state = row["state"] + (f": {row['why']}" if row["why"] else "")
    return [
        name,
        str(row["epochs"]),
        str(row["folds"]),
        _number(row["loss"]),
        _number(row["se"], ".2g"),
        state,
    ]


def _outer_line(row: Mapping[str, Any]) -> list[str]:
    ends = "too few blocks" if row["low"] is None else f"{row['low']:.4g} .. {row['high']:.4g}"
    against, found = "-", row["difference"]
    if found is not None:
        against = _number(found["mean"])
        if found["low"] is not None:
            against += f" [{found['low']:.3g} .. {found['high']:.3g}]"
    label = row["name"] if row["label"] == row["name"] else f"{row['name']} ({row['label']})"
    return [label, f"{row['n_parameters']:,}", _number(row["loss"]), ends, against]


def _range(entry: Any) -> str:
    if isinstance(entry, list):
        return ", ".join(_shown(value) for value in entry)
    return f"{_shown(entry['low'])} .. {_shown(entry['high'])}{', log' if entry['log'] else ''}"


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _number(value: float | None, form: str = ".4g") -> str:
    return "-" if value is None else f"{value:{form}}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
