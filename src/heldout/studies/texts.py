"""One fit of a study of texts: fitted on a fold's rows, scored on its test."""

import hashlib
import json
import time
from collections.abc import Callable
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
from heldout.training.lags import thin
from heldout.training.shared import versions
from heldout.training.shuffled import shuffled_labels
from heldout.training.text import fit_text

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
        texts = self._texts(fold.test)
        scores: dict[str, Any] = {
            f"n_{name}": len(getattr(fold, name)) for name in ("train", "valid", "test")
        }
        seen = fold.train[thin(len(fold.train), _MOST_TRAIN)]
        arrays: dict[str, Any] = {"row": fold.test, "train_row": seen}
        history, model = [], None
        if isinstance(job.model, TextRecipe):
            how = fit_options(self, job) | {"units": self.units, "report": report}
            data = self.data
            if job.shuffled is not None:
                data, how["shared"] = self._shuffled(fold, job.shuffled), None
                shares = np.bincount(self._labels(fold.train)) / len(fold.train)
                scores["constant_loss"] = float(entropy(shares))
            fitted, run = fit_text(data, fold.train, fold.valid, job.model, **how)
            arrays |= {"log_proba": fitted.log_proba(texts), "raw": fitted.log_proba(texts, calibrated=False)}
            arrays["train_loss"] = self.losses(fitted.log_proba(self._texts(seen)), seen)
            history = run.epochs
            model = dump_tensors(*fitted.to_file_parts()) if self.keep_models else None
            scores |= {
                **scores_of(run),
                "n_parameters": fitted.n_parameters,
                "temperature": fitted.temperatures[0],
            }
        else:
            known = np.sort(np.concatenate([fold.train, fold.valid]))
            reader = job.model.fit(
                self._texts(known), self._labels(known), len(self.data.classes), seed=job.seed
            )
            arrays["log_proba"] = reader.log_proba(texts)
            arrays["train_loss"] = self.losses(reader.log_proba(self._texts(seen)), seen)
        arrays["loss"] = self.losses(arrays["log_proba"], fold.test)
        scores["log loss"] = float(arrays["loss"].mean())
        scores["accuracy"] = float((arrays["log_proba"].argmax(axis=1) == self._labels(fold.test)).mean())
        return Finished(
            name=job.name,
            spec=self._inputs(job),
            scores=scores,
            history=history,
            arrays=arrays,
            model=model,
            seconds=time.perf_counter() - began,
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
