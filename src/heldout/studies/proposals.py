"""`Proposals`: Optuna's sampler, asked and told in order; it keeps nothing of its own.

The same asks and tells give the same proposals, so a search that goes on from its ledger asks all again.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from pathlib import Path
from typing import Any

from heldout.check import InputError
from heldout.studies.rungs import COMPLETE, FAILED, Trial
from heldout.studies.space import Space

STUDY = "heldout"
"""Name of the study in the exported file."""
_MISSING = "tuning needs the package optuna: pip install 'heldout[tune]'"
_RANDOM_FIRST = 8  # the trials of a first bracket, beside the start


class Proposals:
    """What to try next, by a tree-structured Parzen estimator.

    Parameters
    ----------
    space : Space
        Where.
    seed : int
        Of the sampler.

    Raises
    ------
    InputError
        If Optuna is missing.

    References
    ----------
    Watanabe 2023, Tree-structured Parzen estimator: understanding its algorithm components and their roles for better
    empirical performance (arXiv 2304.11127); Akiba et al. 2019, Optuna, KDD (arXiv 1907.10902).

    Examples
    --------
    >>> space = Space({"lr": {"low": 1e-4, "high": 1e-2, "log": True}})
    >>> first, again = Proposals(space, seed=1), Proposals(space, seed=1)
    >>> first.ask(2) == again.ask(2)
    True
    """

    def __init__(self, space: Space, *, seed: int) -> None:
        optuna = _optuna()
        self.space = space
        self.open: list[Any] = []
        self.storage = optuna.storages.InMemoryStorage()
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_RANDOM_FIRST)
        with _quiet():
            self.study = optuna.create_study(study_name=STUDY, storage=self.storage, sampler=sampler)

    @staticmethod
    def settings(seed: int) -> dict[str, Any]:
        """Give all that proposals depend on beside the trials, as JSON has it."""
        try:
            number = version("optuna")  # asked for without loading it
        except PackageNotFoundError as error:
            raise InputError(_MISSING) from error
        return {
            "sampler": "TPESampler",
            "optuna": number,
            "seed": seed,
            "n_startup_trials": _RANDOM_FIRST,
        }

    def begin(self, start: dict[str, Any]) -> None:
        """Make the start the first trial; where it lies outside the space the sampler learns nothing of it.

        Parameters
        ----------
        start : dict
            Values of the start.
        """
        optuna = _optuna()
        if self.space.holds(start):
            self.study.enqueue_trial(self.space.words(start))
            self.ask(1)
        else:
            failed = optuna.trial.create_trial(
                state=optuna.trial.TrialState.FAIL, user_attrs={"why": "outside the space"}
            )
            self.study.add_trial(failed)

    def ask(self, n: int) -> list[dict[str, Any]]:
        """Give the values of the next trials.

        Parameters
        ----------
        n : int
            How many.
        """
        asked = [self.study.ask() for _ in range(n)]
        found = [self.space.draw(trial) for trial in asked]
        self.open += asked
        return found

    def tell(self, trials: Sequence[Trial], epochs: Sequence[int]) -> None:
        """Say what came out of trials that were asked for, in their order.

        Parameters
        ----------
        trials : sequence of Trial
            Ended.
        epochs : sequence of int
            Of the rungs.
        """
        states = _optuna().trial.TrialState
        asked = {trial.number: trial for trial in self.open}
        for trial in trials:
            if trial.number not in asked:
                continue  # the start, outside the space
            own = asked[trial.number]
            if trial.why:
                own.set_user_attr("why", trial.why)
            if trial.state == FAILED or not isfinite(trial.loss):
                self.study.tell(own, state=states.FAIL)
                continue
            for epoch, losses in zip(epochs, trial.losses[:-1], strict=False):
                own.report(float(losses.mean()), epoch)
            own.report(trial.loss, epochs[trial.rung])
            if trial.state == COMPLETE:
                self.study.tell(own, trial.loss)
            else:
                self.study.tell(own, state=states.PRUNED)
        told = {trial.number for trial in trials}
        self.open = [trial for trial in self.open if trial.number not in told]

    def export(self, path: Path) -> None:
        """Write the study to a file that `load_study`, Optuna and its dashboard can open; whole or not at all.

        Parameters
        ----------
        path : Path
            An SQLite file; one that is there is replaced.
        """
        optuna = _optuna()
        temporary = path.with_name(f".{path.name}-{os.getpid()}")
        temporary.unlink(missing_ok=True)
        try:
            with _quiet(), _storage(temporary) as storage:
                optuna.copy_study(from_study_name=STUDY, from_storage=self.storage, to_storage=storage)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def load_study(path: Path) -> Any:
    """Read an exported study into memory.

    Parameters
    ----------
    path : Path
        As `Proposals.export` wrote it.

    Returns
    -------
    optuna.study.Study

    Raises
    ------
    InputError
        If there is no such file, or Optuna is missing.
    """
    optuna = _optuna()
    if not path.is_file():
        raise InputError(f"{path}: there is no such study: finish the run by giving its command again")
    with _quiet(), _storage(path) as storage:
        memory = optuna.storages.InMemoryStorage()
        optuna.copy_study(from_study_name=STUDY, from_storage=storage, to_storage=memory)
        return optuna.load_study(study_name=STUDY, storage=memory)


@contextmanager
def _storage(path: Path) -> Iterator[Any]:
    storage = _optuna().storages.RDBStorage(f"sqlite:///{path.absolute()}")
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's lines about every study that is made."""
    logging = _optuna().logging
    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _optuna() -> Any:
    try:
        import optuna  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise InputError(_MISSING) from error
    return optuna
