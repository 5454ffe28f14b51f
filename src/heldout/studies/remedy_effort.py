"""What a budget leaves out of a ranking of remedies: learning rates, seeds, the size of the factorial, the last remedies."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from heldout.studies.factorial import MOST_FACTORS
from heldout.studies.remedies import ENSEMBLE

_FEW_FACTORS, _FEWEST = 3, 3
_SHARES = (0.75, 0.5, 0.25)


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is done.

    Attributes
    ----------
    n_rates : int
        Learning rates that each arm is tried at.
    n_seeds, n_judges : int
        Seeds of the fits that compare, and of those that confirm.
    n_factors : int
        Remedies among which a stack is looked for, at most.
    names : tuple of str
        Remedies.
    left_out : tuple of str
        What that leaves out of everything.
    """

    n_rates: int
    n_seeds: int
    n_judges: int
    n_factors: int
    names: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def efforts(n_seeds: int, names: Sequence[str]) -> list[Effort]:
    """Give what can be done, from everything to the least.

    Parameters
    ----------
    n_seeds : int
        Seeds of everything.
    names : sequence of str
        Remedies, the most promising first.

    Examples
    --------
    >>> found = efforts(3, [f"remedy {n}" for n in range(12)])
    >>> [(one.n_rates, one.n_seeds, one.n_factors, len(one.names), one.n_judges) for one in found][:6]
    [(3, 3, 7, 12, 3), (2, 3, 7, 12, 3), (1, 3, 7, 12, 3), (1, 2, 7, 12, 3), (1, 1, 7, 12, 3), (1, 1, 3, 12, 3)]
    >>> [(len(one.names), one.n_judges) for one in found][6:]
    [(9, 3), (6, 3), (3, 3), (3, 1)]
    """
    found = [Effort(n_rates=3, n_seeds=n_seeds, n_judges=n_seeds, n_factors=MOST_FACTORS, names=tuple(names))]

    def less(said: str, **changes: Any) -> None:
        what = said.split(":")[0]
        others = [one for one in found[-1].left_out if one.split(":")[0] != what]
        found.append(replace(found[-1], left_out=(*others, said), **changes))

    for n in (2, 1):
        less(f"learning rates: {n} instead of 3 for each", n_rates=n)
    for n in range(n_seeds - 1, 0, -1):
        kept = [name for name in names if n > 1 or name != ENSEMBLE]
        also = ", and no ensemble of seeds" if len(kept) < len(names) else ""
        less(f"seeds: {n} instead of {n_seeds}{also}", n_seeds=n, names=tuple(kept))
    less(f"the stack: of {_FEW_FACTORS} remedies instead of {MOST_FACTORS}", n_factors=_FEW_FACTORS)
    every = found[-1].names
    for share in _SHARES:
        n = max(round(share * len(every)), _FEWEST)
        if n < len(found[-1].names):
            less(f"remedies: {', '.join(every[n:])}", names=every[:n])
    if n_seeds > 1:
        less(f"seeds of the confirmation: 1 instead of {n_seeds}", n_judges=1)
    return found
