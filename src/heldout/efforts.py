"""How much a search does: decided once, by its budget and what a few fits took, before it starts."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from math import inf
from typing import Any, TypeVar

from heldout.files import write_atomically
from heldout.listener import Listener
from heldout.runs import Run
from heldout.studies.cost import Budget, BudgetError, Costs, sentence
from heldout.studies.plan import Job

Effort = TypeVar("Effort")


def settle_effort(
    plans: Mapping[Effort, Sequence[Job]],
    limit: Budget,
    run: Run,
    *,
    work: Callable[[Job], float],
    measure: Callable[[], Costs],
    workers: int,
    listener: Listener,
    way_out: str,
) -> Effort:
    """Take the most that fits into a budget, say it and write it down; a resumed run reads what was decided.

    Parameters
    ----------
    plans : mapping of effort to list of Job
        What each would fit at most, from everything to the least. An effort is a dataclass with ``left_out``, sentences.
    limit : Budget
        Of the user.
    run : Run
        ``plan.json`` in its directory holds the decision.
    work : callable
        Gives how much work a fit is.
    measure : callable
        Does a few fits that are in every plan, and gives what they took.
    workers : int
        Processes.
    listener : Listener
        Told what was decided.
    way_out : str
        What the user can do besides raising the budget.

    Raises
    ------
    BudgetError
        If not even the least fits in.
    """
    path = run.path / "plan.json"
    if path.exists():
        held = json.loads(path.read_text(encoding="utf-8"))
        listener.note(held["said"])
        return next(effort for effort in plans if _plain(effort) == held["effort"])
    *_, least = plans.values()
    if limit.fits is not None and len(least) > limit.fits:
        raise _too_small(limit, f"{len(least)} fits", way_out)
    listener.begin(list(next(iter(plans.values()))))
    costs = measure()
    seconds = {effort: costs.total([work(job) for job in jobs], workers) for effort, jobs in plans.items()}
    needs = {effort: sentence(len(jobs), seconds[effort], workers) for effort, jobs in plans.items()}
    fitting = [
        effort
        for effort, jobs in plans.items()
        if len(jobs) <= (limit.fits or inf) and seconds[effort] <= (limit.seconds or inf)
    ]
    if not fitting:
        raise _too_small(limit, list(needs.values())[-1], way_out)
    effort: Any = fitting[0]
    said = f"at most {needs[effort]}"
    if effort.left_out:
        said += f"; to keep within {limit} it leaves out {'; '.join(effort.left_out)}"
    listener.note(said)
    write_atomically(path, json.dumps({"effort": _plain(effort), "said": said}, indent=2).encode() + b"\n")
    return fitting[0]


def _plain(effort: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(asdict(effort)))


def _too_small(limit: Budget, needs: str, way_out: str) -> BudgetError:
    return BudgetError(
        f"a budget of {limit} is too small: the least that can be compared here is {needs}; raise it, or {way_out}"
    )
