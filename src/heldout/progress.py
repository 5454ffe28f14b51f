"""`Display`: what a person sees while fits run, on the error stream: a live view on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from heldout.base_recipe import BaseRecipe
from heldout.check import visible
from heldout.studies.cost import Costs, duration, work_of
from heldout.studies.ledger import Finished
from heldout.studies.plan import Job

_INPUTS = 8  # taken for the columns of any table: only the proportions between fits matter
_HEARTBEAT = 10.0  # seconds between lines about running fits where there is no terminal
_SCORES = ("mse", "mae", "log loss", "accuracy")


class Display:
    """Shows notes, fits done, the losses of the running ones, and the time left.

    Parameters
    ----------
    workers : int
        Fits that run at once, for the estimate of the time left.
    quiet : bool, default False
        Show nothing.

    Examples
    --------
    >>> with Display(workers=2, quiet=True) as display:
    ...     display.note("the step is one hour")
    """

    def __init__(self, workers: int, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.workers = workers
        self.jobs: list[Job] = []
        self.done: set[str] = set()
        self.seconds: dict[str, list[float]] = {}  # of baselines, by name
        self.costs = Costs()  # of recipes
        self.samples: dict[str, int] = {}  # that train, by fold
        self.running: dict[str, tuple[float, dict[str, Any]]] = {}
        self.spoke = time.monotonic()
        self.staged = ""
        self.bar = Progress(
            TextColumn("fits"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
        )
        self.task = self.bar.add_task("fits", total=None, left="")
        self.live = Live(
            console=self.console, refresh_per_second=4, transient=True, get_renderable=self._view
        )

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def note(self, text: str) -> None:
        """Show a sentence."""
        self.console.print(f"[dim]·[/dim] {escape(visible(text))}", soft_wrap=True)

    def stage(self, stage: str, done: int, of: int) -> None:
        """Show how far something long beside fits is."""
        share = f"{stage}: {100 * done / max(of, 1):.0f} %"
        self.staged = "" if done >= of else share
        if not self.console.is_terminal and time.monotonic() - self.spoke > _HEARTBEAT:
            self._say(share)

    def begin(self, jobs: list[Job]) -> None:
        """Take the plan, or what it has grown or shrunk to."""
        first, self.jobs = not self.jobs, jobs
        self.bar.update(self.task, total=len(jobs))
        if first and not self.console.is_terminal:
            self.console.print(f"{len(jobs)} fits on {self.workers} worker{'s' if self.workers > 1 else ''}")

    def epoch(self, job: Job, event: dict[str, Any]) -> None:
        """Take an epoch of a running fit."""
        since, _ = self.running.get(job.name, (time.monotonic(), {}))
        self.running[job.name] = since, event
        if not self.console.is_terminal and time.monotonic() - self.spoke > _HEARTBEAT:
            left = f"; {self._left()}" if self._left() else ""
            self._say(f"running: {job.name}: {_losses(event)}{left}")

    def finished(self, job: Job, result: Finished, was_there: bool) -> None:  # noqa: FBT001 - the listener's signature
        """Take a result."""
        self.running.pop(job.name, None)
        self.done.add(job.name)
        if "n_train" in result.scores:
            self.samples[job.fold.name] = result.scores["n_train"]
        if not was_there and isinstance(job.model, BaseRecipe):
            self.costs.add(self._work(job), result.seconds)
        elif not was_there:
            self.seconds.setdefault(job.candidate, []).append(result.seconds)
        self.bar.update(self.task, completed=len(self.done), left=self._left())
        if not self.console.is_terminal:
            score = _score(result.scores)
            kept = f", best epoch {result.scores['best_epoch']}" if "best_epoch" in result.scores else ""
            how = "done before" if was_there else f"{result.seconds:.1f} s"
            self._say(f"[{len(self.done)}/{len(self.jobs)}] {job.name}: {score}{kept} ({how})")

    def _say(self, text: str) -> None:
        self.spoke = time.monotonic()
        self.console.print(escape(visible(text)), soft_wrap=True)

    def _work(self, job: Job) -> float:
        """How much work a fit is beside others: where its fold has not been seen, as in a usual one."""
        usual = sum(self.samples.values()) // max(len(self.samples), 1)
        return work_of(job.model, self.samples.get(job.fold.name, usual), _INPUTS, epochs=job.until)

    def _left(self) -> str:
        """What the fits to come will take, by those that are done."""
        left = [job for job in self.jobs if job.name not in self.done]
        works = [self._work(job) for job in left if isinstance(job.model, BaseRecipe)]
        if works and not self.costs.known:
            return ""
        known = {name: sum(values) / len(values) for name, values in self.seconds.items()}
        others = sum(known.get(job.candidate, 0.0) for job in left) / self.workers
        return f"about {duration(self.costs.total(works, self.workers) + others)} left"

    def _view(self) -> Group:
        table = Table.grid(padding=(0, 2))
        for name, (_, event) in self.running.items():
            table.add_row(f"  {escape(name)}", _losses(event))
        if self.staged:
            table.add_row(f"  {self.staged}", "")
        return Group(self.bar, table) if self.jobs else Group(table)


def _score(scores: Mapping[str, Any]) -> str:
    """What a fit scored: an error of series, two numbers of texts."""
    return ", ".join(f"{name} {scores[name]:.4g}" for name in _SCORES if scores.get(name) is not None)


def _losses(event: dict[str, Any]) -> str:
    if "pretrain_epoch" in event:
        return f"pretraining: epoch {event['pretrain_epoch']} of {event['pretrain_epochs']}, valid {event['pretrain_loss']:.4g}"
    return (
        f"epoch {event['epoch']} of at most {event['max_epochs']}, train {event['train_loss']:.4g}, "
        f"valid {event['valid_loss']:.4g}, best epoch {event['best_epoch']}"
    )
