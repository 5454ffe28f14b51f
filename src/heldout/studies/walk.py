"""The way through the sizes: what is made smaller in which order, and what a budget leaves out of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from heldout.studies.sizes import FEWEST, SHORTEST, Size, equal_depths, every_other, halvings

PLANS = ("walk", "depth")
"""Down, option by option; or one layer against two and three at equal parameters."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is done.

    Attributes
    ----------
    n_seeds, n_judges : int
        Seeds of the fits that compare sizes, and of those that judge the choice.
    n_rates : int
        Learning rates of each size.
    thin : bool
        Only every other size.
    left_out : tuple of str
        What that leaves out of everything.
    """

    n_seeds: int
    n_judges: int
    n_rates: int = 3
    thin: bool = False
    left_out: tuple[str, ...] = ()


def efforts(n_seeds: int) -> list[Effort]:
    """Give what can be done, from everything to the least: seeds go first, then a learning rate, then every other size.

    Parameters
    ----------
    n_seeds : int
        Seeds of everything.

    Examples
    --------
    >>> [(effort.n_seeds, effort.n_rates, effort.thin, effort.n_judges) for effort in efforts(2)]
    [(2, 3, False, 2), (1, 3, False, 2), (1, 2, False, 2), (1, 2, True, 2), (1, 2, True, 1)]
    >>> efforts(2)[2].left_out
    ('seeds: sizes are compared with 1 instead of 2', 'the learning rate of 3 times the given one')
    """
    found = [Effort(n_seeds=n_seeds, n_judges=n_seeds)]

    def less(said: Sequence[str], **changes: Any) -> None:
        found.append(replace(found[-1], left_out=tuple(said), **changes))

    for n in range(n_seeds - 1, 0, -1):
        less([f"seeds: sizes are compared with {n} instead of {n_seeds}"], n_seeds=n)
    less([*found[-1].left_out, "the learning rate of 3 times the given one"], n_rates=2)
    less([*found[-1].left_out, "every other size"], thin=True)
    if n_seeds > 1:
        less([*found[-1].left_out, f"seeds: the choice is judged with 1 instead of {n_seeds}"], n_judges=1)
    return found


def stages(plan: str, start: Size) -> list[str]:
    """Give the options that are made smaller, in order; what is as small as can be is passed over.

    Parameters
    ----------
    plan : {"walk", "depth"}
        Way through the sizes.
    start : dict
        A size.

    Examples
    --------
    >>> stages("walk", {"num_layers": 1, "hidden_size": 32}), stages("depth", {"num_layers": 1, "hidden_size": 32})
    (['hidden_size'], ['depth'])
    """
    if plan == "depth":
        return ["depth"]
    names = ["num_layers", "hidden_size", *(["embedding_size"] if "embedding_size" in start else [])]
    return [name for name in names if len(stage_sizes(name, start)) > 1]


def stage_sizes(
    stage: str, size: Size, *, n_inputs: int | None = None, bidirectional: bool = False, thin: bool = False
) -> list[Size]:
    """Give the sizes of one stage, the largest first: one layer less at a time, else halves.

    Parameters
    ----------
    stage : str
        From `stages`.
    size : dict
        Where it begins.
    n_inputs, bidirectional
        As in `heldout.studies.sizes.equal_depths`; read for "depth" alone.
    thin : bool, default False
        Only every other size; never of "depth".

    Examples
    --------
    >>> [size["hidden_size"] for size in stage_sizes("hidden_size", {"num_layers": 1, "hidden_size": 32})]
    [32, 16, 8, 4, 2]
    """
    if stage == "depth":
        return equal_depths(size, n_inputs, bidirectional=bidirectional)
    if stage == "num_layers":
        values = list(range(size[stage], 0, -1))
    else:
        values = halvings(size[stage], FEWEST if stage == "hidden_size" else SHORTEST)
    found = [size | {stage: value} for value in values]
    return every_other(found) if thin else found
