"""`TextFits`: the finished fits of a run on texts, read as numbers."""

import hashlib
from math import inf, sqrt
from typing import Any

import numpy as np
import polars as pl

from heldout.data.series import FloatArray, IntArray
from heldout.data.text_splits import TextFold
from heldout.result import HELDOUT
from heldout.runs import Run
from heldout.studies.compare import FEWEST_SERIES, Interval, block_t, fold_skill
from heldout.studies.ensemble import ensemble_skill
from heldout.studies.ledger import Finished
from heldout.studies.plan import Job
from heldout.studies.texts import TextContext
from heldout.text_result import MAJORITY, TextResult, TextRow
from heldout.training.checkpoint import parse_tensors
from heldout.training.text import TextModel
from heldout.training.text_scores import text_scores


class TextFits:
    """The finished fits of a comparison, by candidate, fold and seed."""

    def __init__(
        self, jobs: list[Job], results: list[Finished], context: TextContext, folds: tuple[TextFold, ...]
    ) -> None:
        keys = [(job.candidate, job.fold.name, job.seed) for job in jobs]
        self.results, self.context, self.folds = dict(zip(keys, results, strict=True)), context, folds
        assert context.data.labels is not None
        self.rows = folds[-1].test
        self.labels = context.data.labels[self.rows]
        self.names = list(dict.fromkeys(name for name, _, _ in self.results))

    def of(self, candidate: str, fold: TextFold) -> list[Finished]:
        """One per seed."""
        return [
            result
            for (name, where, _), result in self.results.items()
            if (name, where) == (candidate, fold.name)
        ]

    def log_proba(self, candidate: str, array: str = "log_proba") -> FloatArray:
        """What a candidate says of the sealed texts: the mean of its seeds' probabilities."""
        found = [result.arrays[array] for result in self.of(candidate, self.folds[-1])]
        return np.asarray(np.logaddexp.reduce(found, axis=0) - np.log(len(found)))

    def by_unit(self, values: FloatArray, rows: IntArray | None = None) -> FloatArray:
        """One number per unit of the test, whose mean is that of the texts: near-duplicates are one observation."""
        rows = self.rows if rows is None else rows
        _, unit = np.unique(self.context.units[rows], return_inverse=True)
        return np.bincount(unit, values) * (unit.max() + 1) / len(values)

    def fold_losses(self) -> dict[str, list[list[float]]]:
        """Mean log loss per candidate, fold and seed."""
        return {
            name: [[result.scores["log loss"] for result in self.of(name, fold)] for fold in self.folds[:-1]]
            for name in self.names
        }

    def skill(self, candidate: str, reference: str) -> Interval:
        """Skill of the mean of a candidate's seeds against a reference (`ensemble_skill`)."""
        return ensemble_skill(
            self._losses(self.log_proba(candidate)),
            [self._losses(result.arrays["log_proba"]) for result in self.of(candidate, self.folds[-1])],
            self._losses(self.log_proba(reference)),
            blocks=inf,
        )

    def _losses(self, log_proba: FloatArray) -> FloatArray:
        return self.by_unit(self.context.losses(log_proba, self.rows))

    def row(self, name: str, folds: list[float]) -> TextRow:
        """The scores of one candidate on the sealed texts."""
        said = self.log_proba(name)
        scores = text_scores(said, self.labels)
        loss = block_t(self._losses(said), blocks=inf)
        right = block_t(self.by_unit((said.argmax(axis=1) == self.labels).astype(float)), blocks=inf)
        raw = text_scores(self.log_proba(name, "raw"), self.labels)["ece"] if name == HELDOUT else None
        return TextRow(
            name=name,
            value=scores["log_loss"],
            low=loss.low,
            high=loss.high,
            accuracy=scores["accuracy"],
            accuracy_low=max(right.low, 0.0),
            accuracy_high=min(right.high, 1.0),
            macro_f1=scores["macro_f1"],
            balanced_accuracy=scores["balanced_accuracy"],
            ece=scores["ece"],
            ece_before=raw,
            skill_vs_naive=self.skill(name, MAJORITY),
            heldout_skill=self.skill(HELDOUT, name),
            folds=float(np.mean(folds)) if folds else None,
        )

    def result(
        self, run: Run, baselines: list[str], notes: list[str], model: TextModel, *, looks: int
    ) -> TextResult:
        """Put the numbers together."""
        folds = {
            name: [float(np.mean(x)) for x in losses if x] for name, losses in self.fold_losses().items()
        }
        rows = sorted((self.row(name, folds[name]) for name in self.names), key=lambda row: row.value)
        others = [row for row in rows if row.name in baselines and row.name != HELDOUT]
        seeds = self.of(HELDOUT, self.folds[-1])
        return TextResult(
            path=run.path,
            rows=rows,
            classes=self.context.data.classes,
            test_rows=len(self.rows),
            best_baseline=min(others, key=lambda row: row.value if row.folds is None else row.folds).name,
            n_folds=len(self.folds) - 1,
            n_seeds=len(seeds),
            added_nothing=model.linear is not None and not any(s.scores["best_epoch"] for s in seeds),
            fold_skill=(
                fold_skill(np.array(folds[HELDOUT]), np.array(folds[MAJORITY]))
                if len(self.folds) > 2
                else None
            ),
            looks=looks,
            notes=notes,
            model=model,
        )

    def final_model(self) -> TextModel:
        """The seeds of the final fold, joined."""
        models = []
        for result in self.of(HELDOUT, self.folds[-1]):
            assert result.model is not None
            models.append(TextModel.from_file_parts(*parse_tensors(result.model)))
        return models[0].joined(models[1:])

    def overfit(self) -> dict[str, Any]:
        """Loss of the training texts and of the sealed ones under the same final models, and their difference."""
        trained, tested = [], []
        for result in self.of(HELDOUT, self.folds[-1]):
            trained.append(self.by_unit(result.arrays["train_loss"], result.arrays["train_row"]))
            tested.append(self.by_unit(result.arrays["loss"]))
        inside, outside = (np.mean(found, axis=0) for found in (trained, tested))
        gap = float(outside.mean() - inside.mean())
        low = high = None
        if min(len(inside), len(outside)) >= FEWEST_SERIES:  # as for the other intervals of units
            half = 1.96 * sqrt(inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside))
            low, high = gap - half, gap + half
        return {
            "train_loss": float(inside.mean()),
            "test_loss": float(outside.mean()),
            "optimism": {"mean": gap, "low": low, "high": high},
        }

    def predictions(self) -> pl.DataFrame:
        """The sealed test as a table, a row per text."""
        classes, said = self.context.data.classes, self.log_proba(HELDOUT)
        names = np.array(classes, dtype=object)
        texts = [self.context.data.texts[row] for row in self.rows]
        table = {
            "row": self.rows,
            "text_sha256": [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts],
            "label": names[self.labels],
            "said": names[said.argmax(axis=1)],
        }
        return pl.DataFrame(table | {f"p_{name}": np.exp(said[:, k]) for k, name in enumerate(classes)})

    def evidence(self, model: TextModel) -> dict[str, Any]:
        """What the report shows of the sealed texts beside the scores: confusion and calibration."""
        after = text_scores(self.log_proba(HELDOUT), self.labels)
        before = text_scores(self.log_proba(HELDOUT, "raw"), self.labels)
        return {
            "confusion": after["confusion"],
            "calibration": {
                "temperature": float(np.exp(np.mean(np.log(model.temperatures)))),
                "before": before["bins"],
                "after": after["bins"],
                "ece_before": before["ece"],
                "ece_after": after["ece"],
            },
        }
