"""`Result`: what a run found, as numbers, as a sentence and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from heldout.check import InputError
from heldout.plots.tables import html_table
from heldout.studies.compare import Interval
from heldout.training.fit import SeriesModel

HELDOUT = "heldout"
NAIVE = "naive"
_EQUAL = 5e-4  # a skill that rounds to 0.0 % is none, however narrow its interval


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the result: a candidate, its loss on the sealed test and its skill.

    Attributes
    ----------
    name : str
        "heldout", "naive", "ridge", ...
    value, low, high : float
        Mean loss and its 95 % interval (block t, `heldout.studies.compare.block_t`).
    skill_vs_naive : Interval
        ``1 - loss / loss of the last value`` with its interval.
    heldout_skill : Interval
        Skill of heldout against this candidate.
    folds : float or None
        Mean loss over the walk-forward folds before the test.
    """

    name: str
    value: float
    low: float
    high: float
    skill_vs_naive: Interval
    heldout_skill: Interval
    folds: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What a run found.

    Attributes
    ----------
    path : Path
        The run directory.
    metric : str
        What the numbers are.
    rows : list of Row
        The sealed test, best first.
    test_rows : int
        Samples in the sealed test.
    best_baseline : str
        The baseline that was best on the folds; without folds, on the sealed test itself.
    n_folds, n_seeds : int
        What the numbers stand on.
    added_nothing : bool
        Whether early stopping kept epoch 0 in every final fit: the LSTM found nothing beyond its shortcut.
    fold_skill : Interval or None
        Skill against the last value over the walk-forward folds.
    extra_inputs : tuple of str
        Covariates that heldout reads and no baseline does: those known ahead, and static ones.
    looks : int
        How often these test rows have been looked at, this time included.
    intervals : list of dict
        What the intervals are worth on the sealed rows (`heldout.studies.coverage.measure_interval`).
    quantiles : list of dict
        The same of a quantile recipe's forecasts (`heldout.studies.coverage.measure_quantiles`).
    n_series : int or None
        Series of a sealed test that holds one moment: the intervals are then over them, not over time.
    accuracy : dict or None
        M4's measures where a test table was given (`heldout.accuracy.m4_accuracy`).
    baselines_saw : str
        Where baselines were fitted to less than the model, how much, in a sentence.
    notes : list of str
        What was inferred and decided.
    model : SeriesModel
        The model that was scored and is saved; it has not seen the test.
    """

    path: Path
    metric: str
    rows: list[Row]
    test_rows: int
    best_baseline: str
    n_folds: int
    n_seeds: int
    added_nothing: bool
    fold_skill: Interval | None
    extra_inputs: tuple[str, ...]
    looks: int
    intervals: list[dict[str, Any]] = field(default_factory=list)
    quantiles: list[dict[str, float]] = field(default_factory=list)
    n_series: int | None = None
    accuracy: dict[str, Any] | None = None
    baselines_saw: str = ""
    notes: list[str] = field(default_factory=list)
    model: SeriesModel

    def row(self, name: str) -> Row:
        """The line of one candidate.

        Raises
        ------
        InputError
            If there is none of that name.
        """
        return row_named(self.rows, name)

    @property
    def sentence(self) -> str:
        """What the table means."""
        own, found = self.row(HELDOUT), self.row(HELDOUT).skill_vs_naive
        if not found.enough:
            how = "the test is too short to tell by how much"
        elif found.low > 0:
            how = f"a skill of {in_percent(found)} against the last value: it holds up"
        elif found.high < 0:
            how = f"{in_percent(found)} against the last value: it is worse than repeating the last value"
        else:
            how = f"{in_percent(found)} against the last value: no skill is shown"
        best = self.row(self.best_baseline).heldout_skill
        where = "on the folds" if self.n_folds else "on these rows"
        beside = f"against {self.best_baseline}, the baseline that was best {where}, {in_percent(best)}"
        if best.enough:
            beside += f" ({compared(best)})"
        nothing = (
            " Early stopping kept epoch 0: the LSTM found nothing beyond its linear shortcut."
            if self.added_nothing
            else ""
        )
        more = (
            f" It also reads {', '.join(self.extra_inputs)}, which no baseline does."
            if self.extra_inputs
            else ""
        )
        fewer = f" {self.baselines_saw}" * bool(self.baselines_saw)
        over = f" Intervals are over {self.n_series} series, at one moment." if self.n_series else ""
        return f"On {self.test_rows} sealed test row{'s' if self.test_rows > 1 else ''} heldout's loss is {own.value:.4g}, {how}; {beside}.{over}{nothing}{more}{fewer}"

    def plot(self) -> Any:
        """Draw the skill of every candidate against the last value, with its interval.

        Returns
        -------
        plotly.graph_objects.Figure
        """
        from heldout.plots.scores import skill_chart  # noqa: PLC0415 - plotly is slow to import

        return skill_chart(self.to_dict()["rows"])

    def _repr_html_(self) -> str:
        """The table of the sealed test, and the sentence."""
        rows = [
            [row.name, f"{row.value:.4g}", in_percent(row.skill_vs_naive), in_percent(row.heldout_skill)]
            for row in self.rows
        ]
        header = ["candidate", self.metric, "skill against the last value", "heldout against it"]
        caption = f"Sealed test, {self.test_rows} rows; 95 % intervals"
        return html_table(caption, header, rows, note=self.sentence)

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-able values."""
        return {
            "test_rows": self.test_rows,
            "metric": self.metric,
            "rows": [
                {
                    "name": row.name,
                    "value": row.value,
                    "low": _finite(row.low),
                    "high": _finite(row.high),
                    "skill_vs_naive": _finite(row.skill_vs_naive.mean),
                    "skill_low": _finite(row.skill_vs_naive.low),
                    "skill_high": _finite(row.skill_vs_naive.high),
                    "heldout_skill": interval_to_dict(row.heldout_skill),
                    "folds": row.folds,
                }
                for row in self.rows
            ],
            "best_baseline": self.best_baseline,
            "n_folds": self.n_folds,
            "n_seeds": self.n_seeds,
            "added_nothing": self.added_nothing,
            "extra_inputs": list(self.extra_inputs),
            "fold_skill_vs_naive": interval_to_dict(self.fold_skill) if self.fold_skill else None,
            "looks_at_test": self.looks,
            "intervals": self.intervals,
            "quantiles": self.quantiles,
            "accuracy": self.accuracy,
            "sentence": self.sentence,
            "notes": self.notes,
            "run": str(self.path),
        }


def row_named(rows: Sequence[Any], name: str) -> Any:
    """Give the line of one candidate, or raise `InputError` if there is none of that name."""
    for row in rows:
        if row.name == name:
            return row
    raise InputError(f"no candidate is called {name!r}: there are {', '.join(row.name for row in rows)}")


def compared(skill: Interval) -> str:
    """Say in a word what the interval of a skill shows."""
    if abs(skill.mean) < _EQUAL:
        return "equal"
    return "better" if skill.low > 0 else "worse" if skill.high < 0 else "no difference shown"


def in_percent(interval: Interval) -> str:
    """Give a skill with its interval, for a sentence."""
    if np.isnan(interval.mean):
        return "no skill can be given, its loss is 0"
    if not interval.enough:
        return f"{100 * interval.mean:+.1f} % [too few blocks for an interval]"
    return f"{100 * interval.mean:+.1f} % [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def interval_to_dict(interval: Interval) -> dict[str, float | None]:
    """Give mean and ends as JSON has them; None where they are not finite."""
    return {"mean": _finite(interval.mean), "low": _finite(interval.low), "high": _finite(interval.high)}
