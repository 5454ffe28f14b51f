"""What the curves of one training cannot show, and what to do next."""

import numpy as np

from heldout.plots.values import number, plural
from heldout.readings.curves import Curves, Statement
from heldout.studies.curve_shape import lowest_of

_HARM = (
    "Whether a smaller, shorter trained or more regularised network would do better on new data: these are the curves of one "
    "network, and that is a comparison of two."
)
_CHANCE = "How much of this is chance: one seed and one split give no error bar."
_NO_VALIDATION = "Anything about data that were not trained on: the log has no validation curve."
_NO_NUMBER = "Anything about data that were not trained on: no validation value is a number."
_NO_TRAINING = "The gap between training and validation: the log has no training curve."
_WHILE_TRAINING = (
    "How large the gap is: training values are usually a mean over the epoch, with dropout, augmentation and penalties on, and "
    "validation values are not."
)
_NEW_ROWS = (
    "Whether the validation rows are really new to the network, and whether it beats a simple forecast."
)
_TABLE = "TABLE --target COLUMN"


def unseen(curves: Curves) -> list[Statement]:
    """Say what the curves cannot show, in order of weight.

    Parameters
    ----------
    curves : Curves
        Of one training.

    Examples
    --------
    >>> from heldout.histories import read_history
    >>> [one.code for one in unseen(Curves(read_history({"loss": [1, 0.5]})))]
    ['no-validation', 'harm', 'one-fit']
    """
    found = [_unseen("harm", _HARM), _unseen("one-fit", _CHANCE, fits=1)]
    if not len(curves.at):
        return [_unseen("no-validation", _NO_NUMBER if curves.ran_away else _NO_VALIDATION), *found]
    if not np.isfinite(curves.train).any():
        found.append(_unseen("no-training", _NO_TRAINING))
    elif not curves.history.evaluated:
        found.append(_unseen("measured-while-training", _WHILE_TRAINING))
    return [*found, _chosen_value(curves), _unseen("new-rows", _NEW_ROWS)]


def _unseen(code: str, sentence: str, **numbers: float | int | str | None) -> Statement:
    return Statement(code=code, kind="unseen", sentence=sentence, numbers=numbers)


def _chosen_value(c: Curves) -> Statement:
    """The best of several values that scatter lies beyond their course."""
    noise = c.shape.noise or 0.0
    alike = int((c.valid <= c.valid[c.shape.best] + 3 * noise).sum())
    flatters = noise * lowest_of(alike) if alike > 1 else 0.0
    about = f", here by about {number(flatters, 2)}" if flatters else ""
    return _unseen(
        "chosen-value",
        f"What to expect on new data: the {c.lowest} of {plural(len(c.valid), 'value')} was chosen for being so, and flatters{about}.",
        flatters=flatters,
    )


_STEPS: tuple[tuple[str, frozenset[str], str, str], ...] = (
    (
        "lower-rate",
        frozenset({"not-a-number", "training-rises", "first-is-best"}),
        "Lower the learning rate three- to tenfold, and look for rows that hold no number:",
        f"heldout fit {_TABLE} --set lr=0.0003",
    ),
    (
        "validate",
        frozenset({"no-validation"}),
        "Keep rows back for validation, later ones if they have an order; heldout does:",
        f"heldout fit {_TABLE}",
    ),
    (
        "train-longer",
        frozenset({"still-falling"}),
        "Train longer, and let early stopping decide:",
        f"heldout fit {_TABLE} --set max_epochs=300",
    ),
    (
        "calibrate",
        frozenset({"loss-and-score-part"}),
        "Divide the logits by a temperature before anything else is changed; heldout does for texts:",
        f"heldout fit {_TABLE} --text COLUMN",
    ),
    (
        "keep-best",
        frozenset({"rose-after-best", "kept-unknown"}),
        "Keep the weights of the best epoch; heldout always does:",
        f"heldout fit {_TABLE}",
    ),
    ("audit", frozenset(), "See whether validation rows leak into training:", f"heldout audit {_TABLE}"),
    (
        "judge",
        frozenset(),
        "Compare the network with less fitted ones on folds that none has seen, with error bars:",
        f"heldout judge {_TABLE}",
    ),
    (
        "remedies",
        frozenset({"rose-after-best", "gap"}),
        "Find out which remedy helps here, and by how much:",
        f"heldout remedies {_TABLE}",
    ),
    (
        "reduce",
        frozenset({"rose-after-best", "gap"}),
        "Find the smallest network that is as good:",
        f"heldout reduce {_TABLE}",
    ),
)


def next_steps(codes: set[str]) -> list[Statement]:
    """Say what to do, in order of weight.

    Parameters
    ----------
    codes : set of str
        Of what the curves show and do not show.

    Returns
    -------
    list of Statement
        Each with a ``command``, in which TABLE and COLUMN stand for the user's own.

    Examples
    --------
    >>> [one.code for one in next_steps({"still-falling"})]
    ['train-longer', 'audit', 'judge']
    """
    return [
        Statement(code=code, kind="next", sentence=said, numbers={"command": command})
        for code, where, said, command in _STEPS
        if not where or where & codes
    ]
