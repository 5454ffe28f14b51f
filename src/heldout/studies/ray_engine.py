"""`RayEngine`: the jobs of a plan on Ray, on this machine or on the nodes of a cluster."""

import hashlib
import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import loky

from heldout.check import InputError
from heldout.studies.engine import (
    ATTEMPTS,
    ENVIRONMENT,
    POLL_SECONDS,
    Context,
    Job,
    OnProgress,
    Result,
    Task,
)
from heldout.studies.failures import JobFailed, name_of, sendable
from heldout.studies.guards import one_thread
from heldout.studies.ray_cluster import open_ray

_ASK_AGAIN = 30  # seconds, after which nodes may have been lost or added


class RayEngine:
    """Runs jobs as tasks of Ray, one CPU and one torch thread each.

    The context is placed into Ray's object store once and mapped read-only by the workers of a node. A job whose worker or
    node was lost is run again elsewhere. An interrupt, an error and closing the iterator cancel what runs. If this process is
    killed, the same command goes on from the ledger: Ray keeps nothing that matters.

    Parameters
    ----------
    workers : int, optional
        Jobs at once; by default as many as the cluster has CPUs.
    address : str, optional
        ``host:port`` of a cluster with a token; by default Ray is started here for as long as it is needed
        (`heldout.studies.ray_cluster.open_ray`).

    Raises
    ------
    InputError
        If ``workers`` is less than 1.
    """

    def __init__(self, workers: int | None = None, *, address: str | None = None) -> None:
        if workers is not None and workers < 1:
            raise InputError(f"workers must be at least 1, got {workers}")
        self.address = address
        self.workers = workers or (loky.cpu_count() if address is None else None)
        self._open: _Open | None = None

    @contextmanager
    def kept(self) -> Iterator[Self]:
        """Stay connected from one call of `run` to the next, until the block ends: to start Ray takes seconds.

        Yields
        ------
        RayEngine
        """
        if self._open is not None:
            yield self
            return
        with open_ray(address=self.address, workers=self.workers) as ray:
            most = max(1, int(ray.cluster_resources().get("CPU", 1)))
            self.workers = min(self.workers or most, most)  # those that train together wait for each other
            self._open = _Open(ray)
            try:
                yield self
            finally:
                self._open = None

    @contextmanager
    def reserved(self, workers: int) -> Iterator[int]:
        """Hold CPUs for jobs that wait for each other, all of them or none, and have `run` use these, until the block ends.

        Where they are taken, it waits; where nodes are lost, it takes what is left.

        Parameters
        ----------
        workers : int
            How many.

        Yields
        ------
        int
            How many there are.
        """
        with ExitStack() as stack:
            to = stack.enter_context(self.kept())._open
            assert to is not None
            while True:
                n = max(1, min(workers, int(to.ray.cluster_resources().get("CPU", 1))))
                to.group = to.ray.util.placement_group([{"CPU": 1}] * n)
                try:
                    if to.group.wait(_ASK_AGAIN):
                        yield n
                        return
                finally:
                    to.ray.util.remove_placement_group(to.group)
                    to.group = None

    def run(
        self,
        task: Task[Context, Job, Result],
        jobs: Sequence[Job],
        context: Context,
        on_progress: OnProgress | None = None,
    ) -> Iterator[tuple[int, Result]]:
        """Run the jobs, see `heldout.studies.engine.Engine.run`."""
        if not jobs:
            return
        with ExitStack() as stack:
            engine = stack.enter_context(self.kept())
            assert engine._open is not None
            found = _Round(engine._open, task, jobs, context, on_progress)
            stack.callback(found.cancel)
            yield from found.results(self.workers or 1)


class _Open:
    """A connection: the context in the object store, and the board."""

    def __init__(self, ray: Any) -> None:
        self.ray = ray
        self.board = ray.remote(_Board).options(num_cpus=0, max_restarts=-1).remote()
        self.rounds = 0
        self.group: Any = None
        self._placed: tuple[object, Any] | None = None

    def place(self, context: object) -> Any:
        """Where a context lies; the one before is dropped."""
        if self._placed is None or self._placed[0] is not context:
            self._placed = context, self.ray.put(context)
        return self._placed[1]


class _Round:
    """The jobs of one call of `RayEngine.run`: which wait, which run, how often each was lost."""

    def __init__(
        self,
        to: _Open,
        task: Task[Any, Job, Any],
        jobs: Sequence[Job],
        context: object,
        on_progress: OnProgress | None,
    ) -> None:
        self.ray, self.board = to.ray, to.board
        self.task, self.jobs, self.context = task, jobs, to.place(context)
        self.on_progress = on_progress
        to.rounds += 1
        self.number, self.folder = to.rounds, str(Path.cwd())
        # Lost jobs are started again from here, where they are counted: of some losses Ray itself knows no end.
        within = self.ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy
        self.remote = self.ray.remote(_run_job).options(
            num_cpus=1,
            max_retries=0,
            runtime_env={"env_vars": ENVIRONMENT},
            scheduling_strategy="DEFAULT" if to.group is None else within(to.group),
        )
        self.waiting = deque(range(len(jobs)))
        self.running: dict[Any, int] = {}
        self.losses = [0] * len(jobs)
        self.given_up: dict[int, Exception] = {}
        self.error: Exception | None = None
        self.asked: Any = None

    def results(self, workers: int) -> Iterator[tuple[int, Any]]:
        finished: list[tuple[int, Any]] = []
        while True:
            # Workers get their next job before the caller gets the results: he may take his time.
            while self.waiting and len(self.running) < workers and self.error is None:
                self.start(self.waiting.popleft())
            self.tell()
            yield from finished
            if self.error is not None:
                raise self.error
            if not self.running:
                break
            done, _ = self.ray.wait(list(self.running), timeout=POLL_SECONDS)
            finished = [result for reference in done for result in self.collect(reference)]
        if self.given_up:
            names = ", ".join(name_of(index, self.jobs[index]) for index in sorted(self.given_up))
            raise JobFailed(
                f"lost {ATTEMPTS} times with the worker or its node, most likely for want of memory: {names}; "
                "use fewer workers or a smaller model"
            ) from next(iter(self.given_up.values()))

    def start(self, index: int) -> None:
        place = self.number, index
        reference = self.remote.remote(
            self.task, self.jobs[index], place, self.folder, [self.context], self.board
        )
        self.running[reference] = index

    def collect(self, reference: Any) -> Iterator[tuple[int, Any]]:
        """Give the result of a job that ended, and pass on what it reported last."""
        index = self.running.pop(reference)
        try:
            error, result, said = self.ray.get(reference)
        except self.ray.exceptions.RayError as lost:
            self.losses[index] += 1
            if self.losses[index] < ATTEMPTS:
                self.waiting.appendleft(index)
            else:
                self.given_up[index] = lost
            return
        if said is not None and self.on_progress is not None:
            self.on_progress(index, json.loads(said))
        if error is None:
            yield index, result
        else:
            self.error = error

    def tell(self) -> None:
        """Pass on what running jobs have reported since; never wait for it, for the board may be lost with its node."""
        if self.asked is None:
            self.asked = self.board.take.remote()
        if not self.ray.wait([self.asked], timeout=0)[0]:
            return
        asked, self.asked, running = self.asked, None, set(self.running.values())
        with suppress(self.ray.exceptions.RayError):  # progress is not worth a fit
            for (number, index), text in self.ray.get(asked).items():
                if self.on_progress is not None and number == self.number and index in running:
                    self.on_progress(index, json.loads(text))

    def cancel(self) -> None:
        """End what still runs."""
        for reference in self.running:
            with suppress(Exception):  # whatever Ray says of a task that ends meanwhile
                self.ray.cancel(reference, force=True)


class _Board:
    """Where workers write how far they are: an actor, as they share no disk with the driver."""

    def __init__(self) -> None:
        self.latest: dict[tuple[int, int], str] = {}

    def tell(self, place: tuple[int, int], text: str) -> None:
        self.latest[place] = text

    def take(self) -> dict[tuple[int, int], str]:
        found, self.latest = self.latest, {}
        return found


@lru_cache(maxsize=1)
def _context_of(reference: Any) -> Any:
    import ray  # noqa: PLC0415 - needs the extra `ray`

    context = ray.get(reference)
    folder = getattr(context, "checkpoints", None)
    if folder is None or folder.is_dir():
        return context
    # The driver's disk is not this node's: what fits leave goes where Ray keeps its own files.
    node = ray.get_runtime_context()
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    own = Path(node.get_temp_dir(), node.get_session_name(), f"heldout-{name}")
    (own / "checkpoints").mkdir(parents=True, exist_ok=True)
    shared = None if context.shared is None else own / "shared"
    return replace(context, checkpoints=own / "checkpoints", shared=shared)


def _run_job(
    task: Task[Any, Any, Any],
    job: Any,
    place: tuple[int, int],
    folder: str,
    context: list[Any],
    board: Any,
) -> tuple[Exception | None, Any, str | None]:
    """What a worker does: the result, or the error that the task raised, and what was reported last."""
    from ray.exceptions import RayError  # noqa: PLC0415 - needs the extra `ray`

    said: str | None = None

    def report(state: dict[str, Any]) -> None:
        nonlocal said
        said = json.dumps(state)
        board.tell.remote(place, said)

    with suppress(OSError):  # where there is that folder, relative paths mean what they mean to the driver
        os.chdir(folder)
    try:
        with one_thread():
            return None, task(_context_of(context[0]), job, report), said
    except RayError:  # the context was lost with a node: the job was not at fault
        raise
    except Exception as error:  # noqa: BLE001 - raised by the driver
        return sendable(error, name_of(place[1], job)), None, said
