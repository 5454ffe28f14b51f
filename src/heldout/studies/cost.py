"""How long fits will take, before they start and better after each, and the budget that a user gives."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, inf

from heldout.base_recipe import BaseRecipe
from heldout.check import InputError, check_number
from heldout.recipe import Recipe
from heldout.text_recipe import TextRecipe

# Measured on one core of a cloud server, with the native kernel.
_PER_FIT = 0.3  # seconds: reading, linear part, scoring
_PER_STEP = 2e-3  # seconds of an optimiser's step beside what its batch costs
_PER_PLACE = 2e-5  # seconds of one place in the sequence of one layer and direction
_PER_PRODUCT = 5e-11  # seconds of one multiplication in the LSTM's products, forward and backward
_EVALUATION = 1 / 3  # what evaluating a sample costs, of training on it
_TEXT_WORDS = 25  # words of a text where nothing is known
TYPICAL_BASELINE = 0.5
"""Work of a baseline on a fold, as `work_of` gives that of a recipe."""
_EPOCHS_TO_BEST = 8  # epochs before the best one, usually

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(
    r"(\d+(?:\.\d+)?)\s*(fits?|s|sec|seconds?|m|min|minutes?|h|hours?|)(?=$|[\s,;+\d])[\s,;+]*(?:and\b\s*)?",
    re.IGNORECASE,
)


class BudgetError(InputError):
    """A budget is too small for anything to be compared; the message says what it takes."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a search may cost: it ends at whichever comes first.

    Attributes
    ----------
    fits : int or None
        Fits at most; None is no limit.
    seconds : float or None
        Time at most; None is no limit.

    Examples
    --------
    >>> str(Budget(fits=50, seconds=600))
    '50 fits or 10 min'
    """

    fits: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        parts = [] if self.fits is None else [f"{self.fits} fit{'s' if self.fits > 1 else ''}"]
        parts += [] if self.seconds is None else [duration(self.seconds)]
        return " or ".join(parts) or "no limit"


def parse_budget(text: str | int) -> Budget:
    """Read a budget: fits, a time, or both.

    Parameters
    ----------
    text : str or int
        Such as "10min", "2h", "90s", "1h 30min", "50 fits", "50 fits, 10min"; a bare number counts fits.

    Returns
    -------
    Budget

    Raises
    ------
    InputError
        If it cannot be read or holds nothing above zero.

    Examples
    --------
    >>> parse_budget("50 fits, 10min")
    Budget(fits=50, seconds=600.0)
    >>> parse_budget(50)
    Budget(fits=50, seconds=None)
    """
    said, place = str(text).strip(), 0
    fits: list[float] = []
    seconds: list[float] = []
    while place < len(said):
        part = _PART.match(said, place)
        if part is None:
            raise _unreadable(text)
        number, unit, place = float(part[1]), part[2].lower()[:1], part.end()
        (fits if unit in ("", "f") else seconds).append(number * _UNITS.get(unit, 1.0))
    if len(fits) > 1 or not fits + seconds or not all(fits + seconds) or any(n % 1 for n in fits):
        raise _unreadable(text)
    return Budget(fits=int(fits[0]) if fits else None, seconds=sum(seconds) or None)


def _unreadable(text: object) -> InputError:
    return InputError(
        f"a budget must be a whole number of fits, a time, or both, above 0, got {text!r}: write it as '50 fits', '10min', '2h' or '50 fits, 10min'"
    )


def usual_epochs(recipe: BaseRecipe) -> float:
    """Give the epochs that early stopping lets a usual fit have: its patience after the best, at most ``max_epochs``."""
    patience = inf if recipe.patience is None else recipe.patience
    return min(recipe.max_epochs, patience + _EPOCHS_TO_BEST)


def work_of(
    recipe: BaseRecipe,
    n_samples: int,
    n_inputs: int,
    *,
    n_steps: int | None = None,
    epochs: float | None = None,
) -> float:
    """Guess how much work a fit is, from its sizes.

    Parameters
    ----------
    recipe : Recipe or TextRecipe
        Settled.
    n_samples : int
        Windows or texts that train.
    n_inputs : int
        Columns of a window; of texts nothing is read from it.
    n_steps : int, optional
        Rows of a window, or words of a text; by default the recipe's lookback, or 25 words.
    epochs : float, optional
        That will be trained; by default the recipe's patience and 8 more, at most ``max_epochs``.

    Returns
    -------
    float
        In seconds of one core of the machine on which its constants were measured: multiplications of an epoch times
        epochs, an overhead for each step of the optimiser and place of the sequence, and one for the fit.

    Notes
    -----
    A total that is scaled by the first two fits (`Costs`) came within 9 % of what 4 sizes took on daily volatility (1584
    windows, 2 to 64 units) and 6 % of what 3 sizes took on 816 texts; the guess before them within a factor 1.6.

    Examples
    --------
    >>> small, large = (work_of(Recipe(hidden_size=n, lookback=20), 2000, 3) for n in (8, 256))
    >>> 1 < large / small < 1000
    True
    """
    check_number("n_samples", n_samples, 0, inf, open_high=True)
    places, width = _sequence(recipe, n_inputs, n_steps)
    directions, hidden = 1 + recipe.bidirectional, recipe.hidden_size
    inputs = [width] + [hidden * directions] * (recipe.num_layers - 1)
    products = sum(directions * 4 * hidden * (own + hidden) for own in inputs)
    drawn = min(n_samples, recipe.epoch_samples)
    batches = ceil(drawn / recipe.batch_size)
    step = _PER_STEP + _PER_PLACE * places * directions * recipe.num_layers
    epoch = batches * step + drawn * places * products * 3 * _PER_PRODUCT
    judged = min(n_samples, 2 * recipe.valid_samples) / max(drawn, 1) * _EVALUATION * min(1.0, n_samples)
    if epochs is None:
        epochs = usual_epochs(recipe)
    return _PER_FIT + epochs * epoch * (1 + judged)


def _sequence(recipe: BaseRecipe, n_inputs: int, n_steps: int | None) -> tuple[int, int]:
    """Places of the sequence that the LSTM reads, and numbers at each."""
    if isinstance(recipe, TextRecipe):
        return min(n_steps or _TEXT_WORDS, recipe.max_length or 10**9), recipe.embedding_size
    rows = n_steps or (recipe.lookback if isinstance(recipe, Recipe) else None) or 1
    segment = (recipe.segment if isinstance(recipe, Recipe) else None) or 1
    return (rows, n_inputs) if segment == 1 else (max(rows // segment, 1), recipe.hidden_size)


class Costs:
    """Seconds that fits take: a guess from their work, put right by those that are done.

    Examples
    --------
    >>> costs = Costs()
    >>> costs.known, costs.estimate(2.0)
    (False, 2.0)
    >>> costs.add(2.0, 3.0)
    >>> costs.known, costs.estimate(4.0), costs.total([4.0, 4.0], workers=2)
    (True, 6.0, 6.0)
    """

    def __init__(self) -> None:
        self.work = 0.0
        self.seconds = 0.0

    @property
    def known(self) -> bool:
        """Whether a fit was timed here; before that an estimate is a guess."""
        return self.work > 0

    def add(self, work: float, seconds: float) -> None:
        """Take a finished fit: its work (`work_of`) and the seconds that it took on its worker."""
        self.work += work
        self.seconds += seconds

    def estimate(self, work: float) -> float:
        """Give the seconds that a fit will take."""
        return work * self.seconds / self.work if self.known else work

    def total(self, works: Iterable[float], workers: int) -> float:
        """Give the seconds that fits will take on some workers at once: no less than the longest of them."""
        each = [self.estimate(work) for work in works]
        return max(sum(each) / max(workers, 1), max(each, default=0.0))


def sentence(n_fits: int, seconds: float, workers: int, *, guess: bool = False) -> str:
    """Say how much is ahead.

    Parameters
    ----------
    n_fits : int
        Fits to do.
    seconds : float
        `Costs.total`.
    workers : int
        Fits at once.
    guess : bool, default False
        No fit was timed here yet: say so.

    Examples
    --------
    >>> sentence(184, 350, 2)
    '184 fits, about 6 min on 2 cores'
    """
    fits, cores = (f"{n} {name}{'' if n == 1 else 's'}" for n, name in ((n_fits, "fit"), (workers, "core")))
    return f"{fits}, about {duration(seconds)} on {cores}{' (a guess until the first are done)' if guess else ''}"


def duration(seconds: float) -> str:
    """Say a time in the unit that fits it, in round numbers.

    Examples
    --------
    >>> [duration(seconds) for seconds in (0.4, 42, 350, 9000)]
    ['1 s', '42 s', '6 min', '2.5 h']
    """
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{round(seconds / 60)} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
