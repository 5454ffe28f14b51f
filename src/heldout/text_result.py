"""`TextResult`: what a run on texts found, as numbers, as a sentence and as JSON."""

from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from heldout.plots.tables import html_table
from heldout.plots.terms import TEXTS
from heldout.plots.values import plural
from heldout.result import HELDOUT, compared, in_percent, interval_to_dict, row_named
from heldout.studies.compare import Interval
from heldout.training.text import TextModel

MAJORITY = "majority"


@dataclass(frozen=True, kw_only=True)
class TextRow:
    """One line of the result: a candidate and its scores on the sealed test.

    Attributes
    ----------
    name : str
        "heldout", "majority", "tfidf", "nbsvm".
    value, low, high : float
        Mean log loss in nats and its 95 % interval, texts of one unit counting together.
    accuracy, accuracy_low, accuracy_high : float
        Share of texts whose most probable class is theirs, with its interval.
    macro_f1, balanced_accuracy : float
        Means over the classes.
    ece : float
        Expected calibration error, 15 bins.
    ece_before : float or None
        The same before temperature scaling; of heldout only.
    skill_vs_naive : Interval
        ``1 - loss / loss of the class shares``.
    heldout_skill : Interval
        Skill of heldout against this candidate.
    folds : float or None
        Mean log loss over the folds before the test.
    """

    name: str
    value: float
    low: float
    high: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    macro_f1: float
    balanced_accuracy: float
    ece: float
    ece_before: float | None
    skill_vs_naive: Interval
    heldout_skill: Interval
    folds: float | None

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-able values; None where a number is not finite."""
        skill = interval_to_dict(self.skill_vs_naive)
        plain = {
            name: None if isinstance(value, float) and not isfinite(value) else value
            for name, value in asdict(self).items()
        }
        return plain | {
            "skill_vs_naive": skill["mean"],
            "skill_low": skill["low"],
            "skill_high": skill["high"],
            "heldout_skill": interval_to_dict(self.heldout_skill),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class TextResult:
    """What a run on texts found.

    Attributes
    ----------
    path : Path
        The run directory.
    rows : list of TextRow
        The sealed test, the lowest log loss first.
    classes : tuple of str
        Names.
    test_rows : int
        Texts in the sealed test.
    best_baseline : str
        The baseline that was best on the folds; without folds, on the sealed test itself.
    n_folds, n_seeds : int
        What the numbers stand on.
    added_nothing : bool
        Whether early stopping kept epoch 0 in every final fit: the LSTM found nothing beyond the linear model.
    fold_skill : Interval or None
        Skill against the class shares over the folds.
    looks : int
        How often these texts have been looked at, this time included.
    baselines_saw : str
        Where baselines were fitted to less than the model, how much, in a sentence.
    notes : list of str
        What was inferred and decided.
    model : TextModel
        The model that was scored and is saved; it has not seen the test.
    """

    path: Path
    rows: list[TextRow]
    classes: tuple[str, ...]
    test_rows: int
    best_baseline: str
    n_folds: int
    n_seeds: int
    added_nothing: bool
    fold_skill: Interval | None
    looks: int
    baselines_saw: str = ""
    notes: list[str] = field(default_factory=list)
    model: TextModel

    metric = "log loss"

    def row(self, name: str) -> TextRow:
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
        own, best = self.row(HELDOUT), self.row(self.best_baseline)
        found, beside = own.skill_vs_naive, best.heldout_skill
        if not found.enough:
            how = "the test is too small to tell by how much"
        elif found.low > 0:
            how = f"a skill of {in_percent(found)} against guessing by the shares of the classes: it holds up"
        elif found.high < 0:
            how = f"{in_percent(found)} against guessing by the shares of the classes: it is worse"
        else:
            how = f"{in_percent(found)} against guessing by the shares of the classes: no skill is shown"
        where = "on the folds" if self.n_folds else "on these texts"
        against = f"against {best.name}, the baseline that was best {where}, {in_percent(beside)}"
        if beside.enough:
            against += f" ({compared(beside)})"
        nothing = (
            " Early stopping kept epoch 0: the LSTM found nothing beyond its linear shortcut."
            if self.added_nothing
            else ""
        )
        fewer = f" {self.baselines_saw}" * bool(self.baselines_saw)
        n = f"{self.test_rows:,} sealed text{'s' * (self.test_rows != 1)}"
        return f"On {n} heldout's log loss is {own.value:.4g} and {100 * own.accuracy:.1f} % are right, {how}; {against}.{nothing}{fewer}"

    def plot(self) -> Any:
        """Draw the skill of every candidate against the class shares, with its interval.

        Returns
        -------
        plotly.graph_objects.Figure
        """
        from heldout.plots.scores import skill_chart  # noqa: PLC0415 - plotly is slow to import

        return skill_chart(self.to_dict()["rows"], terms=TEXTS)

    def _repr_html_(self) -> str:
        """The table of the sealed test, and the sentence."""
        rows = [
            [
                row.name,
                f"{row.value:.4g}",
                f"{100 * row.accuracy:.1f} %",
                f"{row.macro_f1:.3f}",
                in_percent(row.heldout_skill),
            ]
            for row in self.rows
        ]
        header = ["candidate", "log loss", "accuracy", "macro-F1", "heldout's skill against it"]
        return html_table(f"Sealed test, {plural(self.test_rows, 'text')}", header, rows, note=self.sentence)

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-able values."""
        return {
            "kind": "text",
            "metric": self.metric,
            "path": str(self.path),
            "sentence": self.sentence,
            "rows": [row.to_dict() for row in self.rows],
            "classes": list(self.classes),
            "test_rows": self.test_rows,
            "best_baseline": self.best_baseline,
            "n_folds": self.n_folds,
            "n_seeds": self.n_seeds,
            "added_nothing": self.added_nothing,
            "fold_skill_vs_naive": None if self.fold_skill is None else interval_to_dict(self.fold_skill),
            "looks_at_test": self.looks,
            "notes": self.notes,
        }
