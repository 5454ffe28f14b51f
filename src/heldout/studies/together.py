"""One model trained by several workers: each is a job of an engine, and holds its part of every batch."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any
from unittest.mock import patch

import torch.distributed as dist
from torch import Tensor

from heldout.base_recipe import BaseRecipe
from heldout.check import FitError
from heldout.data.runs import Runs
from heldout.data.windows import Source
from heldout.studies.engine import ATTEMPTS, Engine, OnProgress
from heldout.training.checkpoint import Checkpoint, dump_tensors, parse_tensors
from heldout.training.distributed import ALONE, Ranks, in_torchrun, only_here
from heldout.training.evaluation import AnyNetwork
from heldout.training.history import History
from heldout.training.loop import train


class RankLost(FitError):  # noqa: N818 - it says what happened
    """A worker that trained with others has lost one of them, or was started in the place of one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedFit:
    """What the workers share: everything that one fit is made of.

    Attributes
    ----------
    recipe : BaseRecipe
        Settled.
    network : callable
        Gives one of its shape. A function of a module with its arguments (`functools.partial`), as workers are sent it.
    start : bytes
        Its starting weights (`dump_tensors`).
    source : callable
        Opens what it is trained on (`heldout.data.mapped.open_windows`, `heldout.data.token_files.open_tokens`), on a disk that all
        workers see.
    rows : pair of Runs
        Samples that train, and that say when to stop.
    seed : int
        Decides orders and masks.
    checkpoint : Path
        Where the first worker writes after every epoch.
    """

    recipe: BaseRecipe
    network: Callable[[], AnyNetwork]
    start: bytes
    source: Callable[[], Source]
    rows: tuple[Runs, Runs]
    seed: int
    checkpoint: Path


@dataclass(frozen=True)
class Rank:
    """The job of one worker.

    Parameters
    ----------
    rank, world : int
        Which of how many.
    meeting : str
        The file through which they find each other; new for every attempt.
    here : bool
        All are on this machine: nothing listens beyond its loopback interface.
    """

    rank: int
    world: int
    meeting: str
    here: bool

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"worker {self.rank + 1} of {self.world}"

    @contextmanager
    def joined(self) -> Iterator[Ranks]:
        """Connect to the others until the block ends."""
        if self.world == 1:
            yield ALONE
            return
        if in_torchrun():
            yield Ranks(dist.get_rank(), dist.get_world_size())
            return
        try:
            Path(f"{self.meeting}-{self.rank}").touch(exist_ok=False)
        except FileExistsError:
            raise RankLost(f"{self.name} was lost") from None
        with (
            patch.dict(os.environ, only_here()) if self.here else nullcontext(),
            Ranks.joined(self.rank, self.world, Path(self.meeting)) as ranks,
        ):
            yield ranks


def fit_rank(shared: SharedFit, job: Rank, report: Callable[[dict[str, Any]], None]) -> bytes:
    """Train as one of the workers.

    Parameters
    ----------
    shared : SharedFit
        The fit.
    job : Rank
        Which worker this is.
    report : callable
        Told of every epoch, by the first worker.

    Returns
    -------
    bytes
        Of the first worker the weights and the history (`dump_tensors`), of the others nothing: they have the same.

    Raises
    ------
    RankLost
        If another worker is gone.
    """
    network = shared.network()
    network.load_state_dict(parse_tensors(shared.start)[0])
    try:
        with job.joined() as ranks:
            history = train(
                network,
                shared.source(),
                *shared.rows,
                shared.recipe,
                seed=shared.seed,
                checkpoint=Checkpoint(shared.checkpoint),
                report=report,
                ranks=ranks,
            )
    except RuntimeError as error:  # in a step, or while they connect
        if not isinstance(error, dist.DistError) and "gloo" not in str(error).lower():
            raise
        raise RankLost(f"{job.name} lost another worker") from error
    if not ranks.first:
        return b""
    return dump_tensors(network.state_dict(), vars(history))


def train_together(
    shared: SharedFit,
    workers: int,
    engine: Engine,
    *,
    here: bool = True,
    on_progress: OnProgress | None = None,
    on_lost: Callable[[str], None] | None = None,
) -> tuple[dict[str, Tensor], History]:
    """Train one model on several workers, and go on from the last epoch where one of them is lost.

    Parameters
    ----------
    shared : SharedFit
        The fit.
    workers : int
        How many; the engine must be able to run as many jobs at once.
    engine : Engine
        Runs them.
    here : bool, default True
        All workers are on this machine.
    on_progress : callable, optional
        Told (0, dict) of epochs.
    on_lost : callable, optional
        Told, in a sentence, of a worker that was lost.

    Returns
    -------
    weights : dict of str to Tensor
        Of the network.
    history : History

    Raises
    ------
    RankLost
        If workers were lost in each of three attempts.
    """
    reserved = getattr(
        engine, "reserved", nullcontext
    )  # of engines that do not have their workers for themselves
    for attempt in range(1, ATTEMPTS + 1):
        meeting = shared.checkpoint.with_name(f"meeting-{token_hex(8)}")
        try:
            with reserved(workers) as world:
                jobs = [Rank(rank, world, str(meeting), here) for rank in range(world)]
                found = dict(engine.run(fit_rank, jobs, shared, on_progress))
        except RankLost as lost:
            if attempt == ATTEMPTS:
                raise
            if on_lost is not None:
                on_lost(f"{lost}; all go on from the last epoch")
        else:
            tensors, history = parse_tensors(found[0])
            return tensors, History(**history)
        finally:
            for path in meeting.parent.glob(f"{meeting.name}*"):
                with suppress(OSError):
                    path.unlink()
    raise AssertionError("the last attempt either returns or raises")
