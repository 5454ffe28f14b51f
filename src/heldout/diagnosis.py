"""`diagnose`: what the curves of a training say, whoever trained, and what only a comparison can."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from heldout.histories import History, read_history
from heldout.plots.tables import html_table
from heldout.plots.values import number, percent
from heldout.readings.curves import Curves, Statement
from heldout.readings.seen import seen
from heldout.readings.unseen import next_steps, unseen
from heldout.training.stop_rules import stops

_HEADINGS = (
    ("seen", "What the curves show"),
    ("unseen", "What they cannot show"),
    ("next", "What to do next"),
)
RULES = (
    "GL x: validation x % above the lowest so far; PQ x: that divided by the progress of training; P: training makes no progress; "
    "UP s: higher than 5 values ago, s times in a row (all by Prechelt, 1998); patience p: p values without a new lowest."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Diagnosis:
    """What `heldout.diagnose` found.

    Attributes
    ----------
    history : History
        The curves as they were read.
    statements : list of Statement
        What they show (``kind`` "seen"), what they cannot show ("unseen"), what to do ("next").
    rules : list of dict
        Where rules would have ended training: ``rule``, ``stopped`` (epoch, None where never), ``kept`` (the best epoch until
        then), ``value`` there, and how much ``worse`` it is than the best of all.
    """

    history: History
    statements: list[Statement]
    rules: list[dict[str, Any]]

    @property
    def sentence(self) -> str:
        """The first things that the curves show."""
        first = [one.sentence for one in self.statements if one.kind == "seen"][:2]
        return " ".join(first) or "The log has no validation curve, and its training curve shows no fault."

    def statement(self, code: str) -> Statement | None:
        """Give the statement of that code, or None."""
        return next((one for one in self.statements if one.code == code), None)

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-able values."""
        history = self.history
        return {
            "kind": "diagnosis",
            "sentence": self.sentence,
            "source": history.source,
            "metric": history.metric,
            "direction": history.direction,
            "axis": history.axis,
            "score": None if history.score is None else history.score[0],
            "notes": list(history.notes),
            "statements": [_known(one.to_dict()) for one in self.statements],
            "rules": [_known(row) for row in self.rules],
            "curves": {
                "epoch": history.epochs.tolist(),
                "train": _finite(history.train),
                "valid": _finite(history.valid),
                "score": None if history.score is None else _finite(history.score[1]),
            },
        }

    def __str__(self) -> str:
        """All statements as text."""
        parts = []
        for kind, heading in _HEADINGS:
            said = [f"  {_line(one)}" for one in self.statements if one.kind == kind]
            if said:
                parts.append("\n".join([heading, *said]))
        return "\n\n".join(parts)

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Give caption, header and rows of the rules that would have stopped, as texts; an empty list where none would."""
        stopping = [row for row in self.rules if row["stopped"] is not None]
        if not stopping:
            return []
        axis, metric = self.history.axis, self.history.metric
        caption = f"Where {len(stopping)} of {len(self.rules)} rules would have stopped; the others never"
        header = ["", f"stops after {axis}", f"keeps {axis}", metric, "worse than the best by"]
        return [(caption, header, [_rule_line(row) for row in stopping])]

    def plot(self) -> Any:
        """Draw the curves, the best epoch and the stops marked.

        Returns
        -------
        plotly.graph_objects.Figure
        """
        from heldout.plots.history import history_chart  # noqa: PLC0415 - plotly is slow to import

        return history_chart(self.to_dict())

    def _repr_html_(self) -> str:
        """The statements as a table, and the stop rules."""
        headings = dict(_HEADINGS)
        rows = [[headings[one.kind], _line(one)] for one in self.statements]
        shown = html_table(f"{self.history.metric} of {self.history.source}", ["", ""], rows)
        return shown + "".join(html_table(*table, note=RULES) for table in self.tables())


def diagnose(
    history: object,
    *,
    epoch: str | None = None,
    train: str | None = None,
    valid: str | None = None,
    direction: str | None = None,
) -> Diagnosis:
    """Say what the curves of a training show, what they cannot show, and what to do next.

    Whether a network is fitted too closely is not said: a gap between the curves is no harm, and a rise of the validation loss
    only says that this network got worse on these rows. `heldout judge` compares it with less fitted ones.

    Parameters
    ----------
    history : path, mapping, sequence of mapping, data frame, or History
        As `heldout.histories.read_history` takes it: logs of Keras, Lightning, skorch, Darts, TensorBoard, a run directory of
        heldout, or any table with columns of epochs, training and validation values.
    epoch, train, valid : str, optional
        Columns, where their names do not say what they are.
    direction : {"lower", "higher"}, optional
        Which values are better; by default told by the metric's name.

    Returns
    -------
    Diagnosis

    Raises
    ------
    InputError
        If the log cannot be read, or holds no curve.

    References
    ----------
    Prechelt, "Early Stopping - But When?", in Neural Networks: Tricks of the Trade (1998), for the stop rules. Nakkiran et al.,
    arXiv 1912.02292 (2019), for the double descent.

    Examples
    --------
    >>> losses = [1, 0.6, 0.4, 0.3, 0.3, 0.35, 0.42, 0.5, 0.6, 0.7]
    >>> found = diagnose({"loss": [x / (n + 2) for n, x in enumerate(losses)], "val_loss": losses})
    >>> found.statement("best-epoch").numbers["best_epoch"], found.statements[0].sentence
    (4.0, 'The validation loss is lowest at epoch 4: 0.3; the log ends at epoch 10, at 0.7.')
    """
    if not isinstance(history, History):
        history = read_history(history, epoch=epoch, train=train, valid=valid, direction=direction)
    curves = Curves(history)
    with np.errstate(
        over="ignore", under="ignore", divide="ignore", invalid="ignore"
    ):  # of losses of 1e300 beside 1e-300
        said = [*seen(curves), *unseen(curves)]
        said += next_steps({one.code for one in said})
        rules = _rules(curves)
    return Diagnosis(history=history, statements=said, rules=rules)


def _rules(curves: Curves) -> list[dict[str, Any]]:
    if len(curves.at) < 2:
        return []
    best = float(curves.valid[curves.shape.best])
    train = curves.train if np.isfinite(curves.train).all() else None
    return [
        {
            "rule": found.rule,
            "stopped": None if found.stopped is None else float(curves.epochs[found.stopped]),
            "kept": float(curves.epochs[found.kept]),
            "value": curves.value(found.kept),
            "worse": float(curves.valid[found.kept] - best),
            "share": _number(curves.valid[found.kept] / best - 1) if best > 0 else None,
        }
        for found in stops(train, curves.valid)
    ]


def _rule_line(row: dict[str, Any]) -> list[str]:
    worse = number(row["worse"]) if row["share"] is None else percent(row["share"], sign=False)
    cells = [number(row[key]) for key in ("stopped", "kept", "value")]
    return [row["rule"], *cells, worse if row["worse"] else "-"]


def _line(one: Statement) -> str:
    return one.sentence if one.kind != "next" else f"{one.sentence} {one.numbers['command']}"


def _number(value: float) -> float | None:
    """As JSON has it: None where it is beyond the largest number, or none."""
    return float(value) if np.isfinite(value) else None


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _known(value)
        if isinstance(value, dict)
        else _number(value)
        if isinstance(value, float)
        else value
        for name, value in values.items()
    }


def _finite(values: Sequence[float] | Any) -> list[float | None]:
    return [_number(x) for x in values]
