"""`Curves`, a history as statements need it, and `Statement`."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from heldout.histories import History
from heldout.plots.values import number, percent
from heldout.studies.curve_shape import Shape, shape_of

FloatArray = NDArray[np.float64]
Numbers = dict[str, float | int | str | None]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One thing that the curves say, or do not say.

    Attributes
    ----------
    code : str
        Its name, such as "rose-after-best".
    kind : {"seen", "unseen", "next"}
        What the curves show, what they cannot show, what to do.
    sentence : str
        In words.
    numbers : dict
        Behind it; of kind "next" the ``command``.
    """

    code: str
    kind: Literal["seen", "unseen", "next"]
    sentence: str
    numbers: Numbers

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-able values."""
        return {"code": self.code, "kind": self.kind, "sentence": self.sentence, "numbers": self.numbers}


@dataclass(frozen=True, eq=False)
class Curves:
    """A history turned so that lower is better, at the epochs that have a finite validation value.

    Attributes
    ----------
    history : History
        As it was read.
    """

    history: History

    @cached_property
    def at(self) -> NDArray[np.intp]:
        """Places in the history."""
        return np.flatnonzero(np.isfinite(self.history.valid))

    @cached_property
    def epochs(self) -> FloatArray:
        """As the log counts them."""
        return self.history.epochs[self.at]

    @cached_property
    def valid(self) -> FloatArray:
        """Validation values, lower is better."""
        return self.sign * self.history.valid[self.at]

    @cached_property
    def train(self) -> FloatArray:
        """Training values there, NaN where there is none."""
        values = self.sign * self.history.train[self.at]
        return np.where(np.isfinite(values), values, np.nan)

    @cached_property
    def shape(self) -> Shape:
        """Of the validation curve; there must be a value."""
        return shape_of(self.valid)

    @property
    def ran_away(self) -> bool:
        """Whether the log ends with validation values that are no numbers."""
        logged = np.flatnonzero(~np.isnan(self.history.valid))
        return len(logged) > 0 and bool(np.isinf(self.history.valid[logged[-1]]))

    @property
    def sign(self) -> int:
        """-1 where higher is better."""
        return -1 if self.history.direction == "higher" else 1

    @property
    def lowest(self) -> str:
        """What the best value is called."""
        return "highest" if self.sign < 0 else "lowest"

    @property
    def of_validation(self) -> str:
        """What the validation curve is called."""
        return f"validation {self.history.metric}"

    def epoch(self, place: int) -> str:
        """Name an epoch with a validation value."""
        return f"{self.history.axis} {number(float(self.epochs[place]))}"

    def value(self, place: int) -> float:
        """A validation value as the log has it."""
        return float(self.sign * self.valid[place])

    def worse_by(self, change: float) -> str:
        """A change in words: per cent of the best value, or as it is where that is not above 0."""
        best = float(self.valid[self.shape.best])
        return percent(change / best, sign=False) if best > 0 else number(abs(change))
