"""Engines run independent jobs: in this process, or on worker processes that may be killed at any time.

An engine knows nothing of what it runs. A task is a pure function of the shared context and of its job, so a job that
was lost with its worker is simply run again, and every engine gives the same bits.
"""

import json
import os
import shutil
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import joblib
import loky
import torch
from loky.process_executor import BrokenProcessPool, ProcessPoolExecutor, TerminatedWorkerError

from heldout.check import InputError
from heldout.studies.failures import JobFailed, name_of, sendable
from heldout.studies.guards import held_interrupts, one_thread

ATTEMPTS = 3
POLL_SECONDS = 0.2
WATCH_SECONDS = 0.5
# One thread per worker, from its first import on. Loky takes mapped data for a memory leak and would restart the worker.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "LOKY_MAX_MEMORY_LEAK_SIZE": "1e18",
}

Context = TypeVar("Context")
Job = TypeVar("Job")
Result = TypeVar("Result")
Report = Callable[[dict[str, Any]], None]
Task = Callable[[Context, Job, Report], Result]
OnProgress = Callable[[int, dict[str, Any]], None]


class Engine(Protocol):
    """Whatever can run jobs."""

    def run(
        self,
        task: Task[Context, Job, Result],
        jobs: Sequence[Job],
        context: Context,
        on_progress: OnProgress | None = None,
    ) -> Iterator[tuple[int, Result]]:
        """Run ``task(context, job, report)`` for every job and yield the results as they come.

        Parameters
        ----------
        task : callable
            A function of a module. It calls ``report`` with a small dict, of what JSON can hold, to say how far it is.
            It must not change the context, and must depend on nothing but the context and its job.
        jobs : sequence
            Anything that can be pickled; a `name` attribute is used in messages.
        context : object
            What all jobs share, such as a dataclass with numpy arrays; its class must be importable.
        on_progress : callable, optional
            Called as ``on_progress(number of the job, what it reported)``, with the latest report if there were several.

        Yields
        ------
        tuple of int and result
            The number of the job, and what the task returned.

        Raises
        ------
        JobFailed
            If a job was lost three times with its worker; all other jobs are finished first.
        Exception
            What a task raised, as soon as it did; the other running jobs are cancelled.
        """
        ...

    def kept(self) -> AbstractContextManager[Self]:
        """Keep what is slow to start, such as workers, from one call of `run` to the next, until the block ends."""
        ...


class InlineEngine:
    """Runs jobs one by one in this process, with one torch thread as the workers of `LocalEngine` do.

    Examples
    --------
    >>> engine = InlineEngine()
    >>> list(engine.run(lambda context, job, report: context + job, [1, 2], 10))
    [(0, 11), (1, 12)]
    """

    def run(
        self,
        task: Task[Context, Job, Result],
        jobs: Sequence[Job],
        context: Context,
        on_progress: OnProgress | None = None,
    ) -> Iterator[tuple[int, Result]]:
        """Run the jobs, see `Engine.run`."""
        for index, job in enumerate(jobs):
            with one_thread():
                result = task(context, job, partial(_tell, on_progress, index))
            yield index, result

    def kept(self) -> AbstractContextManager[Self]:
        """Nothing is slow to start here, see `Engine.kept`."""
        return nullcontext(self)


class LocalEngine:
    """Runs jobs on worker processes of this machine, one torch thread each.

    The context is written once to a private temporary folder and mapped read-only by the workers, so that it is in
    memory once. A job whose worker was killed is run again on a new one. An interrupt, an error and closing the
    iterator end all workers and remove the folder; if this process is killed, its workers do both within seconds.

    Parameters
    ----------
    workers : int, optional
        How many; by default as many as this process may use CPUs. Never more than there are jobs.

    Raises
    ------
    InputError
        If ``workers`` is less than 1.
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise InputError(f"workers must be at least 1, got {workers}")
        self.workers = workers
        self._kept: _Pool | None = None

    @contextmanager
    def kept(self) -> Iterator[Self]:
        """Keep the worker processes from one call of `run` to the next, until the block ends.

        For plans that follow on one another: a process takes seconds to start. It holds the last context that was given;
        calls with the same object share it.

        Yields
        ------
        LocalEngine
        """
        if self._kept is not None:
            yield self
            return
        with ExitStack() as stack:
            self._kept = _Pool(stack)
            try:
                yield self
            finally:
                self._kept = None

    def run(
        self,
        task: Task[Context, Job, Result],
        jobs: Sequence[Job],
        context: Context,
        on_progress: OnProgress | None = None,
    ) -> Iterator[tuple[int, Result]]:
        """Run the jobs, see `Engine.run`."""
        if not jobs:
            return
        count = min(len(jobs), self.workers or loky.cpu_count())
        with ExitStack() as stack:
            pool = self._kept or _Pool(stack)
            workers = pool.open(context, count)
            stack.callback(pool.stop_busy)
            yield from _Round(task, jobs, workers, on_progress).results()


def workers_of(engine: Engine) -> int:
    """Give how many fits an engine runs at once."""
    if isinstance(engine, InlineEngine):
        return 1
    return getattr(engine, "workers", None) or int(loky.cpu_count())


class _Round:
    """The jobs of one call of `LocalEngine.run`: which wait, how often each was lost, what came back."""

    def __init__(
        self,
        task: Task[Any, Job, Result],
        jobs: Sequence[Job],
        workers: list["_Worker"],
        on_progress: OnProgress | None,
    ) -> None:
        self.task = task
        self.jobs = jobs
        self.workers = workers
        self.on_progress = on_progress
        self.waiting = deque(range(len(jobs)))
        self.losses = [0] * len(jobs)
        self.given_up: dict[int, BaseException] = {}
        self.error: Exception | None = None

    def results(self) -> Iterator[tuple[int, Any]]:
        finished: list[tuple[int, Any]] = []
        while True:
            # Workers get their next job before the caller gets the results: he may take his time.
            for worker in self.workers:
                if worker.future is None and self.waiting and self.error is None:
                    index = self.waiting.popleft()
                    worker.start(index, partial(_run_job, self.task, self.jobs[index], index))
            yield from finished
            if self.error is not None:
                raise self.error
            running = [worker for worker in self.workers if worker.future is not None]
            if not running:
                break
            wait([worker.future for worker in running if worker.future], POLL_SECONDS, FIRST_COMPLETED)
            finished = [result for worker in running for result in self.collect(worker)]
        if self.given_up:
            names = ", ".join(name_of(index, self.jobs[index]) for index in sorted(self.given_up))
            raise JobFailed(
                f"lost {ATTEMPTS} times with the worker process, most likely for want of memory: {names}; "
                "use fewer workers or a smaller model"
            ) from next(iter(self.given_up.values()))

    def collect(self, worker: "_Worker") -> Iterator[tuple[int, Any]]:
        """Give the result of the worker's job if it has finished, and pass on what it reported."""
        future = worker.future
        done = future is not None and future.done()
        # Read after `done` was asked: the last report of a finished job is there by now.
        state = worker.new_report()
        if state is not None and self.on_progress is not None:
            self.on_progress(worker.index, state)
        if future is None or not done:
            return
        worker.future = None
        try:
            yield worker.index, future.result()
        except TerminatedWorkerError as error:
            worker.stop()
            self.losses[worker.index] += 1
            if self.losses[worker.index] < ATTEMPTS:
                self.waiting.appendleft(worker.index)
            else:
                self.given_up[worker.index] = error
        except Exception as error:  # noqa: BLE001 - raised by `results`, after what finished meanwhile
            self.error = error


class _Pool:
    """Worker processes and the context that they share, until the stack closes."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack.enter_context(ExitStack())
        self.workers: list[_Worker] = []
        self.folder, self.context = Path(), object()

    def open(self, context: object, count: int) -> list["_Worker"]:
        if self.context is not context:
            self.stack.close()
            self.workers, self.context = [], object()
            self.folder, self.context = _share(context, self.stack), context
        for report in self.folder.glob("report-*"):  # of the round before
            report.unlink()
        while len(self.workers) < count:
            self.workers.append(_Worker(self.folder))
            self.stack.callback(self.workers[-1].stop)
        return self.workers[:count]

    def stop_busy(self) -> None:
        """End those whose job was left."""
        for worker in self.workers:
            if worker.future is not None:
                worker.stop()


class _Worker:
    """One worker process with an executor of its own: if it is killed, only its own job is lost."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.executor: ProcessPoolExecutor | None = None
        self.future: Future[Any] | None = None
        self.index = -1
        self.reported = ""

    def start(self, index: int, call: Callable[[Path], Any]) -> None:
        self.index, self.reported = index, ""
        with held_interrupts():
            try:
                self.future = self._running().submit(call, self.folder)
            except BrokenProcessPool:  # killed while it was idle
                self.stop()
                self.future = self._running().submit(call, self.folder)

    def _running(self) -> ProcessPoolExecutor:
        if self.executor is None:
            self.executor = ProcessPoolExecutor(
                1, initializer=_begin_worker, initargs=(os.getpid(), self.folder), env=ENVIRONMENT
            )
        return self.executor

    def stop(self) -> None:
        """Kill the process, whatever it does."""
        with held_interrupts():
            executor, self.executor, self.future = self.executor, None, None
            if executor is not None:
                executor.shutdown(wait=True, kill_workers=True)

    def new_report(self) -> dict[str, Any] | None:
        try:
            text = _report_path(self.folder, self.index).read_text()
        except OSError:
            return None
        if text == self.reported:
            return None
        self.reported = text
        state: dict[str, Any] = json.loads(text)
        return state


def _share(context: object, stack: ExitStack) -> Path:
    """Write the context to a private folder that goes when the stack closes."""
    folder = Path(tempfile.mkdtemp(prefix="heldout-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    try:
        joblib.dump(context, folder / "context")
    except OSError as error:
        raise InputError(
            f"{folder}: cannot write the data for the workers: {error.strerror}; name a larger place in TMPDIR"
        ) from error
    return folder


@lru_cache(maxsize=1)
def _shared(folder: Path) -> Any:
    return joblib.load(folder / "context", mmap_mode="r")


def _begin_worker(driver: int, folder: Path) -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group: what to do is the driver's decision
    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(driver, folder), daemon=True).start()


def _end_with(driver: int, folder: Path) -> None:
    """End this process soon after the driver ended, and remove what the driver no longer can."""
    while os.getppid() == driver:
        time.sleep(WATCH_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _run_job(task: Task[Any, Job, Result], job: Job, index: int, folder: Path) -> Result:
    try:
        return task(_shared(folder), job, partial(_write_report, _report_path(folder, index)))
    except Exception as error:
        sent = sendable(error, name_of(index, job))  # what loky cannot send would cost it the worker
        if sent is error:
            raise
        raise sent from None


def _tell(on_progress: OnProgress | None, index: int, state: dict[str, Any]) -> None:
    same: dict[str, Any] = json.loads(json.dumps(state))  # what a worker process would have sent
    if on_progress is not None:
        on_progress(index, same)


def _report_path(folder: Path, index: int) -> Path:
    return folder / f"report-{index}.json"


def _write_report(path: Path, state: dict[str, Any]) -> None:
    text = json.dumps(state)
    with suppress(OSError):  # progress is not worth a fit
        written = path.with_suffix(f".{os.getpid()}")
        written.write_text(text)
        written.replace(path)
