"""What fits of data larger than memory have in common: where caches are, and a model that all workers train together."""

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from heldout.base_recipe import BaseRecipe
from heldout.data.runs import Runs
from heldout.data.windows import Source
from heldout.listener import Listener
from heldout.studies.engine import Engine, workers_of
from heldout.studies.ledger import Finished, Ledger
from heldout.studies.plan import Job, StudyContext, checkpoint_of
from heldout.studies.together import SharedFit, train_together
from heldout.training.checkpoint import dump_tensors
from heldout.training.evaluation import AnyNetwork
from heldout.training.history import History

_CACHES = ".cache"


def cache_folder(source: str | Path, options: Mapping[str, Any], out: str | Path | None) -> Path:
    """Give the folder of the cache of these files and options: beside the run directory.

    Parameters
    ----------
    source : path
        The files.
    options : mapping
        How they are read.
    out : path, optional
        The run directory.
    """
    name = hashlib.sha256(f"{Path(source).resolve()} {sorted(options.items())}".encode()).hexdigest()[:12]
    runs = Path(out).absolute().parent if out is not None else Path("runs")
    return runs / _CACHES / f"{Path(source).stem}-{name}"


class LargeFits(ABC):
    """One recipe, trained on all data, once per seed.

    Parameters
    ----------
    context : StudyContext
        Keys of fits, and where what is unfinished lies.
    ledger : Ledger
        What was finished.
    engine : Engine
        Its workers train together.
    listener : Listener
        Told of it.
    """

    def __init__(self, context: StudyContext, ledger: Ledger, engine: Engine, listener: Listener) -> None:
        self.context, self.ledger, self.engine, self.listener = context, ledger, engine, listener
        self.workers = workers_of(engine)
        self.trained: set[str] = set()

    @abstractmethod
    def fit(self, job: Job, began: float) -> Finished:
        """Fit and score one job, begun at a time of ``time.perf_counter``."""

    def train(self, jobs: list[Job]) -> None:
        """Fit what the ledger does not hold.

        Parameters
        ----------
        jobs : list of Job
            One per seed.
        """
        for job in jobs:
            key = self.context.key(job)
            if self.ledger.get(key) is None:
                self.ledger.record(key, "started", job.name)
                self.ledger.add(key, self.fit(job, time.perf_counter()))
                checkpoint_of(self.context, job).clear()
                self.trained.add(job.name)

    def finished(self, job: Job, result: Finished, was_there: bool) -> None:  # noqa: FBT001 - the listener's signature
        """Tell the listener of a fit; those just trained are in the ledger, and still new.

        Parameters
        ----------
        job, result, was_there
            As of `heldout.listener.Listener.finished`.
        """
        self.listener.finished(job, result, was_there and job.name not in self.trained)

    def together(
        self,
        job: Job,
        recipe: BaseRecipe,
        network: AnyNetwork,
        rows: tuple[Runs, Runs],
        *,
        empty: Callable[[], AnyNetwork],
        source: Callable[[], Source],
    ) -> History:
        """Train a network by all workers.

        Parameters
        ----------
        job : Job
            The fit.
        recipe : BaseRecipe
            Of the network.
        network : Network or TextNetwork
            With its starting weights; gets the trained ones.
        rows : pair of Runs
            Samples that train, and that say when to stop.
        empty, source : callable
            ``network`` and ``source`` of `heldout.studies.together.SharedFit`.
        """
        shared = SharedFit(
            recipe=recipe,
            network=empty,
            start=dump_tensors(network.state_dict(), {}),
            source=source,
            rows=rows,
            seed=job.random_seed,
            checkpoint=checkpoint_of(self.context, job).path.absolute(),
        )

        def report(_: int, event: dict[str, Any]) -> None:
            self.listener.epoch(job, event)

        weights: dict[str, Tensor]
        weights, history = train_together(
            shared,
            self.workers,
            self.engine,
            here=getattr(self.engine, "address", None) is None,
            on_progress=report,
            on_lost=self.listener.note,
        )
        network.load_state_dict(weights)
        return history
