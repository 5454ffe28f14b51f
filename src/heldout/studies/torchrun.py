"""`torchrun_engine`: the processes that ``torchrun`` has started beside this one, as an engine."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, Self

import torch.distributed as dist

from heldout.check import InputError
from heldout.studies.engine import Context, InlineEngine, Job, OnProgress, Result, Task
from heldout.studies.together import Rank
from heldout.training.distributed import Ranks


class TorchrunEngine:
    """Trains one model on all processes of ``torchrun``; other jobs run in the first of them, one after the other.

    Restarts are those of ``torchrun``: it ends all processes where one is lost and starts them again, and the same command goes on
    from the last epoch.

    Parameters
    ----------
    ranks : Ranks
        This process among the others, connected.

    Raises
    ------
    InputError
        By `run`, if a model is to be trained by another number of workers.
    """

    def __init__(self, ranks: Ranks) -> None:
        self.ranks, self.workers = ranks, ranks.world

    def kept(self) -> AbstractContextManager[Self]:
        """Nothing is slow to start here, see `heldout.studies.engine.Engine.kept`."""
        return nullcontext(self)

    def run(
        self,
        task: Task[Context, Job, Result],
        jobs: Sequence[Job],
        context: Context,
        on_progress: OnProgress | None = None,
    ) -> Iterator[tuple[int, Result]]:
        """Run the jobs, see `heldout.studies.engine.Engine.run`."""
        if not jobs or not isinstance(jobs[0], Rank):
            yield from InlineEngine().run(task, jobs, context, on_progress)
            return
        if len(jobs) != self.ranks.world:
            raise InputError(f"torchrun has started {self.ranks.world} workers, {len(jobs)} are asked for")
        _tell((task, list(jobs), context))
        yield 0, task(context, jobs[0], partial(on_progress or _ignore, 0))

    def serve(self) -> None:
        """Train with the first process until that is done."""
        while (asked := _hear()) is not None:
            task, jobs, context = asked
            task(context, jobs[self.ranks.rank], partial(_ignore, self.ranks.rank))


@contextmanager
def torchrun_engine() -> Iterator[TorchrunEngine | None]:
    """Connect to the processes that ``torchrun`` has started, until the block ends.

    Yields
    ------
    TorchrunEngine or None
        The engine, in the first process. In the others None, once all is done: there is nothing left to do there.
    """
    with Ranks.of_torchrun() as ranks:
        engine = TorchrunEngine(ranks)
        if not ranks.first:
            engine.serve()
            yield None
            return
        try:
            yield engine
        except InputError:
            with suppress(RuntimeError):  # they found the same
                _tell(None)
            raise
        _tell(None)  # where another error ended the block, torchrun ends the others


def _tell(what: object) -> None:
    # As pickle: the processes are those of one user, who may run what they like.
    dist.broadcast_object_list([what], src=0)


def _hear() -> Any:
    found: list[Any] = [None]
    dist.broadcast_object_list(found, src=0)
    return found[0]


def _ignore(_index: int, _state: dict[str, Any]) -> None:
    pass
