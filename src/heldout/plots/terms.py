"""`Terms`: what a kind of run calls things, so that series and texts share figures and sentences."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a kind of run calls things.

    Attributes
    ----------
    base : str
        The candidate that skill is measured against.
    reference, repeating : str
        What that is, and what it does, in a sentence.
    rows, samples : str
        What is judged, in words.
    fold, folds_axis : str
        A split before the sealed test, and the axis that shows them.
    unfamiliar : str
        Why validation rows cost more, memory of the training rows apart; empty where there is no other reason.
    loss_unit : str
        In what training losses are counted.
    beside_best : bool
        Whether the headline also says how heldout fares beside the best baseline where that is not better.

    Examples
    --------
    >>> TEXTS.base, SERIES.reference
    ('majority', 'the last value')
    """

    base: str
    reference: str
    repeating: str
    rows: str
    samples: str
    fold: str
    folds_axis: str
    unfamiliar: str
    loss_unit: str
    beside_best: bool


SERIES = Terms(
    base="naive",
    reference="the last value",
    repeating="repeating the last value",
    rows="rows",
    samples="samples",
    fold="walk-forward fold",
    folds_axis="walk-forward fold, in order of time",
    unfamiliar="that the validation rows are later ones",
    loss_unit="in the scaled units that are minimised",
    beside_best=False,
)
TEXTS = Terms(
    base="majority",
    reference="the majority guess",
    repeating="guessing by the shares of the classes",
    rows="texts",
    samples="texts",
    fold="fold",
    folds_axis="fold",
    unfamiliar="",
    loss_unit="log loss in nats",
    beside_best=True,
)
