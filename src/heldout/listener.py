"""Who is told what goes on during a run."""

from typing import Any, Protocol

from heldout.studies.ledger import Finished
from heldout.studies.plan import Job


class Listener(Protocol):
    """Who is told what goes on; `heldout.progress.Display` shows it."""

    def note(self, text: str) -> None:
        """One sentence about the data or a decision."""
        ...

    def stage(self, stage: str, done: int, of: int) -> None:
        """How far something long beside fits is."""
        ...

    def begin(self, jobs: list[Job]) -> None:
        """The fits that are planned."""
        ...

    def epoch(self, job: Job, event: dict[str, Any]) -> None:
        """An epoch of a running fit."""
        ...

    def finished(self, job: Job, result: Finished, was_there: bool) -> None:  # noqa: FBT001 - a callback
        """A fit that is done, now or in an earlier run of the same command."""
        ...


class Silent:
    """A listener that says nothing."""

    def note(self, text: str) -> None:
        """Ignore a sentence."""

    def stage(self, stage: str, done: int, of: int) -> None:
        """Ignore it."""

    def begin(self, jobs: list[Job]) -> None:
        """Ignore the plan."""

    def epoch(self, job: Job, event: dict[str, Any]) -> None:
        """Ignore an epoch."""

    def finished(self, job: Job, result: Finished, was_there: bool) -> None:  # noqa: FBT001 - the listener's signature
        """Ignore a result."""
