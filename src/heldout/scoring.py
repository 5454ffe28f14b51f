"""`Fits`: the finished fits of a run, read as numbers."""

from dataclasses import replace
from math import inf, nan

import numpy as np
import polars as pl

from heldout.data.series import FloatArray
from heldout.data.splits import Fold
from heldout.forecast import long_table
from heldout.result import HELDOUT, NAIVE, Result, Row
from heldout.runs import Run
from heldout.studies.compare import Interval, block_t, fold_skill, skill
from heldout.studies.ledger import Finished
from heldout.studies.scale import by_moment
from heldout.studies.study import Context, Job
from heldout.training.checkpoint import parse_tensors
from heldout.training.fit import SeriesModel


class Fits:
    """The finished fits of a comparison, by candidate, fold and seed."""

    def __init__(
        self, jobs: list[Job], results: list[Finished], context: Context, folds: tuple[Fold, ...]
    ) -> None:
        keys = [(job.candidate, job.fold.name, job.seed) for job in jobs]
        self.results, self.context, self.folds = dict(zip(keys, results, strict=True)), context, folds
        self.rows = folds[-1].test.rows(context.data, context.lookback)
        self.truth = context.scale.targets(context.data)[self.rows[:, None] + context.data.steps]

    def of(self, candidate: str, fold: Fold) -> list[Finished]:
        """One per seed."""
        return [
            result
            for (name, where, _), result in self.results.items()
            if (name, where) == (candidate, fold.name)
        ]

    def mean_forecast(self, candidate: str, array: str = "forecast") -> FloatArray:
        """The mean over seeds of what a candidate says of the sealed rows."""
        found = [result.arrays[array] for result in self.of(candidate, self.folds[-1])]
        return np.asarray(np.mean(found, axis=0, dtype=np.float64))

    def test_losses(self, forecast: FloatArray) -> FloatArray:
        """Loss of each moment of the sealed test, in order of time."""
        return by_moment(self.context.scale.losses(forecast, self.truth), self.context.data, self.rows)

    def fold_losses(self) -> dict[str, list[list[float]]]:
        """Mean loss per candidate, walk-forward fold and seed."""
        metric = self.context.scale.metric
        names = dict.fromkeys(name for name, _, _ in self.results)
        return {
            name: [[r.scores[metric] for r in self.of(name, fold)] for fold in self.folds[:-1]]
            for name in names
        }

    def skill(self, candidate: str, reference: str) -> Interval:
        """Skill of the mean of a candidate's seeds against a reference, the noise of time and of seeds in its interval.

        The interval is that of the seeds one by one (`heldout.studies.compare.skill`), moved to the mean's skill.
        """
        against = self.test_losses(self.mean_forecast(reference))
        if against.mean() == 0:  # nothing can be a share of it
            return Interval(mean=nan, low=-inf, high=inf, se=inf, df=0, level=0.95, p_value=1, enough=False)
        together = skill(self.test_losses(self.mean_forecast(candidate)), against)
        found = self.of(candidate, self.folds[-1])
        if len(found) == 1:
            return together
        apart = skill(np.stack([self.test_losses(result.arrays["forecast"]) for result in found]), against)
        shift = together.mean - apart.mean
        low, high = apart.low + shift, min(apart.high + shift, 1.0)
        return replace(
            apart, mean=together.mean, low=low, high=high, p_value=max(apart.p_value, together.p_value)
        )

    def result(
        self, run: Run, baselines: list[str], notes: list[str], model: SeriesModel, looks: int
    ) -> Result:
        """Put the numbers together."""
        folds = {
            name: np.array([np.mean(x) for x in losses if x]) for name, losses in self.fold_losses().items()
        }
        rows = []
        for name, by_fold in folds.items():
            losses = self.test_losses(self.mean_forecast(name))
            span = block_t(losses)
            rows.append(
                Row(
                    name=name,
                    value=float(losses.mean()),
                    low=span.low,
                    high=span.high,
                    skill_vs_naive=self.skill(name, NAIVE),
                    heldout_skill=self.skill(HELDOUT, name),
                    folds=float(by_fold.mean()) if len(by_fold) else None,
                )
            )
        rows.sort(key=lambda row: row.value)
        others = [row for row in rows if row.name in baselines and row.name != HELDOUT]
        seeds = self.of(HELDOUT, self.folds[-1])
        return Result(
            path=run.path,
            metric=self.context.scale.name,
            rows=rows,
            test_rows=len(self.truth),
            best_baseline=min(others, key=lambda row: row.value if row.folds is None else row.folds).name,
            n_folds=len(self.folds) - 1,
            n_seeds=len(seeds),
            added_nothing=model.recipe.shortcut != "none" and not any(s.scores["best_epoch"] for s in seeds),
            fold_skill=fold_skill(folds[HELDOUT], folds[NAIVE]) if len(self.folds) > 2 else None,
            extra_inputs=(*self.context.data.future, *self.context.data.static_names),
            looks=looks,
            notes=notes,
            model=model,
        )

    def final_model(self) -> SeriesModel:
        """The seeds of the final fold, joined."""
        models = []
        for result in self.of(HELDOUT, self.folds[-1]):
            assert result.model is not None
            models.append(SeriesModel.from_file_parts(*parse_tensors(result.model)))
        return models[0].joined(models[1:])

    def predictions(self, model: SeriesModel) -> pl.DataFrame:
        """Truth and forecasts of the sealed test, in the targets' own units, a row per series, origin, step and target."""
        data, rows = self.context.data, self.rows
        here = self.context.scale.targets(data)[rows][:, None]
        original = model.prepare.to_original
        columns = {"truth": original(self.truth), "forecast": original(self.mean_forecast(HELDOUT))}
        columns["last_value"] = np.repeat(original(here), len(data.steps), axis=1)
        if model.recipe.loss == "quantile":
            every = original(self.mean_forecast(HELDOUT, "quantiles"))
            columns |= {f"q{level:g}": every[..., n] for n, level in enumerate(model.recipe.quantiles)}
        return long_table(data, rows, columns)
