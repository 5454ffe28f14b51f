"""One fit of a study of texts: fitted on a fold's rows, scored on its test."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import entropy

from heldout.data.series import FloatArray, IntArray
from heldout.data.text_splits import TextFold
from heldout.data.text_table import TextData
from heldout.studies.ledger import Finished
from heldout.studies.plan import Job, fit_options, scores_of, special
from heldout.text_recipe import TextRecipe
from heldout.training.checkpoint import dump_tensors
from heldout.training.history import History
from heldout.training.lags import thin
from heldout.training.shared import versions
from heldout.training.shuffled import shuffled_labels
from heldout.training.text import TextModel, fit_text

_MOST_TRAIN = 5_000  # training texts on which the loss of the fitted model is measured, at most


@dataclass(frozen=True, kw_only=True, eq=False)
class TextContext:
    """What all fits of a study of texts share.

    Attributes
    ----------
    data : TextData
        All texts, with labels.
    units : array of shape (n,), int64
        Rows with the same number stay on one side of a split.
    checkpoints : Path
        Folder for unfinished fits.
    shared : Path or None, default None
        Folder in which fits leave what others need alike (`heldout.training.shared`); changes no result.
    keep_models : bool, default True
        Keep the fitted models; hundreds of them would fill the disk.
    """

    data: TextData
    units: IntArray
    checkpoints: Path
    shared: Path | None = None
    keep_models: bool = True

    def key(self, job: Job) -> str:
        """Give the SHA-256 of all that a fit's result depends on: texts, rows, model, seed, and what computes it."""
        return hashlib.sha256(json.dumps(self._inputs(job), sort_keys=True).encode()).hexdigest()

    def _inputs(self, job: Job) -> dict[str, Any]:
        fold = {name: _digest(rows) for name, rows in asdict(job.fold).items() if name != "name"}
        recipe = isinstance(job.model, TextRecipe)
        return {
            "data": self.data.fingerprint,
            "fold": {"name": job.fold.name, **fold},
            "units": _digest(self.units),
            "candidate": job.candidate,
            "model": job.model.to_dict() if recipe else repr(job.model),
            "files": {name: _file(path) for name, path in job.model.files().items()} if recipe else {},
            "seed": job.seed,
            "random_seed": job.random_seed,
            "versions": versions("heldout", "torch", "numpy", "scikit-learn", "tokenizers"),
            "cpu": torch.backends.cpu.get_cpu_capability(),
            **special(job),
        }

    def run(self, job: Job, report: Callable[[dict[str, Any]], None]) -> Finished:
        """Fit and score one job.

        Returns
        -------
        Finished
            ``arrays``: ``row`` (n,), ``log_proba`` (n, Q) and ``loss`` (n,) of the fold's test; of a recipe also ``raw``
            (n, Q), before temperature scaling, and ``train_row``, ``train_loss`` of at most 5000 training texts.
        """
        began, fold = time.perf_counter(), job.fold
        if isinstance(job.model, TextRecipe):
            how = fit_options(self, job) | {"units": self.units, "report": report}
            data, found = self.data, {}
            if job.shuffled is not None:
                data, how["shared"] = self._shuffled(fold, job.shuffled), None
                shares = np.bincount(self._labels(fold.train)) / len(fold.train)
                found["constant_loss"] = float(entropy(shares))
            fitted, run = fit_text(data, fold.train, fold.valid, job.model, **how)
            return self.score_fit(job, fitted, run, began=began, scores=found)
        known = np.sort(np.concatenate([fold.train, fold.valid]))
        reader = job.model.fit(self._texts(known), self._labels(known), len(self.data.classes), seed=job.seed)
        return self._finished(job, reader.log_proba, began=began)

    def score_fit(
        self,
        job: Job,
        fitted: TextModel,
        run: History,
        *,
        began: float,
        scores: Mapping[str, Any] | None = None,
    ) -> Finished:
        """Score a recipe that was fitted, see `run`.

        Parameters
        ----------
        job : Job
            The fit.
        fitted : TextModel
            Its model.
        run : History
            How it trained.
        began : float
            When, in seconds of ``time.perf_counter``.
        scores : mapping, optional
            More to keep.
        """
        about = {"n_parameters": fitted.n_parameters, "temperature": fitted.temperatures[0]}
        return self._finished(
            job,
            fitted.log_proba,
            began=began,
            scores={**(scores or {}), **scores_of(run), **about},
            arrays={"raw": fitted.log_proba(self._texts(job.fold.test), calibrated=False)},
            history=run.epochs,
            model=dump_tensors(*fitted.to_file_parts()) if self.keep_models else None,
        )

    def _finished(
        self,
        job: Job,
        log_proba: Callable[[list[str]], FloatArray],
        *,
        began: float,
        scores: Mapping[str, Any] | None = None,
        arrays: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Finished:
        fold = job.fold
        said = log_proba(self._texts(fold.test))
        loss = self.losses(said, fold.test)
        seen = fold.train[thin(len(fold.train), _MOST_TRAIN)]
        found = {"row": fold.test, "train_row": seen, "log_proba": said, "loss": loss, **(arrays or {})}
        found["train_loss"] = self.losses(log_proba(self._texts(seen)), seen)
        counts = {f"n_{name}": len(getattr(fold, name)) for name in ("train", "valid", "test")}
        right = float((said.argmax(axis=1) == self._labels(fold.test)).mean())
        return Finished(
            name=job.name,
            spec=self._inputs(job),
            scores={**counts, **(scores or {}), "log loss": float(loss.mean()), "accuracy": right},
            arrays=found,
            seconds=time.perf_counter() - began,
            **more,
        )

    def _shuffled(self, fold: TextFold, seed: int) -> TextData:
        """The texts with the labels that train, and those that say when to stop, in another order."""
        assert self.data.labels is not None
        labels = shuffled_labels(self.data.labels, (fold.train, fold.valid), self.units, seed)
        return replace(self.data, labels=labels)

    def losses(self, log_proba: FloatArray, rows: IntArray) -> FloatArray:
        """Give the log loss of each of some rows."""
        return np.asarray(-log_proba[np.arange(len(rows)), self._labels(rows)])

    def _texts(self, rows: IntArray) -> list[str]:
        return [self.data.texts[row] for row in rows]

    def _labels(self, rows: IntArray) -> IntArray:
        assert self.data.labels is not None
        return self.data.labels[rows]


def _digest(rows: IntArray) -> str:
    return hashlib.sha256(np.ascontiguousarray(rows, np.int64).tobytes()).hexdigest()


def _file(path: str) -> list[Any]:
    """What tells a file from a later one at the same place."""
    found = Path(path).stat()
    return [path, found.st_size, found.st_mtime_ns]
