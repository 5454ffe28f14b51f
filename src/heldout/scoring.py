"""`Fits`: the finished fits of a run, read as numbers."""

from math import inf
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import norm

from heldout.accuracy import m4_accuracy, series_scores
from heldout.config import StudyOptions
from heldout.data.ahead import long_table
from heldout.data.series import FloatArray, IntArray
from heldout.data.splits import Fold
from heldout.data.transforms import is_log
from heldout.result import HELDOUT, NAIVE, Result, Row
from heldout.runs import Run
from heldout.studies.compare import FEWEST_SERIES, Interval, block_t, fold_skill
from heldout.studies.coverage import measure_interval, measure_quantiles
from heldout.studies.ensemble import ensemble_skill
from heldout.studies.ledger import Finished
from heldout.studies.plan import Job
from heldout.studies.scale import by_moment
from heldout.studies.study import Context
from heldout.training.checkpoint import parse_tensors
from heldout.training.fit import SeriesModel

_ROWS_AT_ONCE = 4096  # of all passes of Monte Carlo dropout


class Fits:
    """The finished fits of a comparison, by candidate, fold and seed."""

    def __init__(
        self,
        jobs: list[Job],
        results: list[Finished],
        context: Context,
        folds: tuple[Fold, ...],
        study: StudyOptions,
    ) -> None:
        keys = [(job.candidate, job.fold.name, job.seed) for job in jobs]
        self.results, self.context, self.folds = dict(zip(keys, results, strict=True)), context, folds
        self.study = study
        self.rows = folds[-1].test.rows(context.data, context.lookback)
        self.truth = context.scale.targets(context.data)[self.rows[:, None] + context.data.steps]
        moments = by_moment(np.zeros(len(self.rows)), context.data, self.rows)
        # Over time one moment says nothing; between series it does, of that moment.
        self.one_moment = len(moments) == 1 and len(self.rows) >= FEWEST_SERIES
        self.blocks = inf if self.one_moment else 8

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
        """Loss of each moment of the sealed test, in order of time; of each series where there is one moment only."""
        losses = self.context.scale.losses(forecast, self.truth)
        return losses if self.one_moment else by_moment(losses, self.context.data, self.rows)

    def fold_losses(self) -> dict[str, list[list[float]]]:
        """Mean loss per candidate, walk-forward fold and seed."""
        metric = self.context.scale.metric
        names = dict.fromkeys(name for name, _, _ in self.results)
        return {
            name: [[r.scores[metric] for r in self.of(name, fold)] for fold in self.folds[:-1]]
            for name in names
        }

    def skill(self, candidate: str, reference: str) -> Interval:
        """Skill of the mean of a candidate's seeds against a reference (`ensemble_skill`)."""
        return ensemble_skill(
            self.test_losses(self.mean_forecast(candidate)),
            [self.test_losses(result.arrays["forecast"]) for result in self.of(candidate, self.folds[-1])],
            self.test_losses(self.mean_forecast(reference)),
            blocks=self.blocks,
        )

    def result(
        self,
        run: Run,
        baselines: list[str],
        notes: list[str],
        model: SeriesModel,
        columns: dict[str, FloatArray],
        *,
        looks: int,
        season: int | None,
    ) -> Result:
        """Put the numbers together."""
        folds = {
            name: np.array([np.mean(x) for x in losses if x]) for name, losses in self.fold_losses().items()
        }
        rows = []
        for name, by_fold in folds.items():
            losses = self.test_losses(self.mean_forecast(name))
            span = block_t(losses, blocks=self.blocks)
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
            intervals=self.intervals(model, columns),
            quantiles=self.quantiles(model, columns),
            n_series=len(self.rows) if self.one_moment else None,
            accuracy=self.accuracy(season),
            notes=notes,
            model=model,
        )

    def final_model(self) -> SeriesModel:
        """The seeds of the final fold, joined; its intervals are calibrated on the validation rows."""
        models = []
        for result in self.of(HELDOUT, self.folds[-1]):
            assert result.model is not None
            models.append(SeriesModel.from_file_parts(*parse_tensors(result.model)))
        joined = models[0].joined(models[1:])
        return joined.calibrated(self.context.data, self._valid_rows(), self.study.level)

    def columns(self, model: SeriesModel) -> dict[str, FloatArray]:
        """What happened on the sealed rows and what is said of them, in the targets' own units, (n, S, K) each."""
        data, rows = self.context.data, self.rows
        here = self.context.scale.targets(data)[rows][:, None]
        columns = {"truth": self._original(self.truth)} | model.columns(data, rows)
        columns["last_value"] = self._original(here).repeat(len(data.steps), axis=1)
        if self.study.mc_dropout:
            low, high = self._dropout_ends(model)
            columns |= {"mc_low": self._original(low), "mc_high": self._original(high)}
        return columns

    def _original(self, scored: FloatArray) -> FloatArray:
        """Numbers of the sealed rows in the targets' own units."""
        return self.context.scale.to_original(scored, self.context.data, self.rows)

    def by_series(self) -> list[dict[str, Any]]:
        """Loss and skill of each series of a panel (`heldout.accuracy.series_scores`)."""
        own, naive = (
            self.context.scale.losses(self.mean_forecast(name), self.truth) for name in (HELDOUT, NAIVE)
        )
        return series_scores(own, naive, self.context.data, self.rows)

    def accuracy(self, season: int | None) -> dict[str, Any] | None:
        """The measures of the M4 competition (`heldout.accuracy.m4_accuracy`), where a test table was given."""
        if self.context.data.test_start is None:
            return None
        names = dict.fromkeys(name for name, _, _ in self.results)
        forecasts = {name: self._original(self.mean_forecast(name)) for name in names}
        return m4_accuracy(self.context.data, self.rows, forecasts, season or 1)

    def predictions(self, columns: dict[str, FloatArray]) -> pl.DataFrame:
        """The `columns` of the sealed test as a table with a row per series, origin, step and target."""
        return long_table(self.context.data, self.rows, columns)

    def intervals(self, model: SeriesModel, columns: dict[str, FloatArray]) -> list[dict[str, Any]]:
        """What the intervals among the `columns` are worth: `measure_interval`, and what they rest on."""
        found = []
        if model.conformal is not None:
            about = {"promised": model.conformal.promised, "note": model.conformal.note}
            about["n_calibration"] = model.conformal.n_calibration
            found.append(self._measured("conformal", columns, ("low", "high"), model.conformal.level) | about)
        if self.study.mc_dropout:
            note = f"{self.study.mc_dropout} passes with random masks, and the mean squared error of the validation rows as noise: carries no guarantee"
            if not any(fit.scores["best_epoch"] for fit in self.of(HELDOUT, self.folds[-1])):
                note += "; early stopping kept epoch 0 in every fit, where the masks change nothing, so it is the noise alone"
            about = {"promised": False, "note": note, "n_calibration": len(self._valid_rows())}
            found.append(
                self._measured("mc_dropout", columns, ("mc_low", "mc_high"), self.study.level) | about
            )
        if model.recipe.loss == "quantile" and len(model.recipe.quantiles) > 1:
            first, *_, last = model.recipe.quantiles
            about = {"promised": False, "note": "as the quantiles were trained", "n_calibration": 0}
            ends = f"q{first:g}", f"q{last:g}"
            found.append(self._measured("quantile", columns, ends, round(last - first, 12)) | about)
        return found

    def quantiles(self, model: SeriesModel, columns: dict[str, FloatArray]) -> list[dict[str, float]]:
        """What each quantile forecast is worth (`measure_quantiles`); empty where the recipe has none."""
        if model.recipe.loss != "quantile":
            return []
        levels = model.recipe.quantiles
        every = np.stack([self._unit(columns[f"q{level:g}"]) for level in levels], axis=-1)
        return measure_quantiles(self._unit(columns["truth"]), every, levels)

    def _measured(
        self, method: str, columns: dict[str, FloatArray], ends: tuple[str, str], level: float
    ) -> dict[str, Any]:
        if ends[0] not in columns:
            names = ("coverage", "coverage_low", "coverage_high", "width", "pinball")
            return {"method": method, "level": level, "by_step": [], **dict.fromkeys(names)}
        truth, low, high = (self._unit(columns[name]) for name in ("truth", *ends))
        measured = measure_interval(
            self.context.data, self.rows, truth, (low, high), level=level, one_moment=self.one_moment
        )
        return {"method": method} | measured

    def _unit(self, values: FloatArray) -> FloatArray:
        """One target in its own unit; several on the scale on which their losses are averaged."""
        scale = self.context.scale
        if len(scale.units) == 1 and not scale.widths:
            return values
        logs = np.array([is_log(name) for name in scale.transforms])
        scored = np.where(logs, np.log(np.where(logs, values, 1.0)), values)
        return scale.of_model(scored, self.context.data, self.rows) / np.array(scale.units)

    def _dropout_ends(self, model: SeriesModel) -> tuple[FloatArray, FloatArray]:
        """Monte Carlo dropout on the scoring scale: normal, the spread of the passes plus the noise of the validation rows."""
        data, valid, scale = self.context.data, self._valid_rows(), self.context.scale
        truth = scale.targets(data)[valid[:, None] + data.steps]
        noise = ((scale.of_model(model.point(model.predict(data, valid)), data, valid) - truth) ** 2).mean(
            axis=0
        )
        centers, halves = [], []
        for seed, part in enumerate(np.array_split(self.rows, len(self.rows) // _ROWS_AT_ONCE + 1)):
            drawn = model.predict_samples(data, part, self.study.mc_dropout, seed=seed)
            samples = np.stack([scale.of_model(sample, data, part) for sample in drawn])
            centers.append(samples.mean(axis=0))
            halves.append(norm.ppf((1 + self.study.level) / 2) * np.sqrt(samples.var(axis=0, ddof=1) + noise))
        center, half = np.concatenate(centers), np.concatenate(halves)
        return center - half, center + half

    def _valid_rows(self) -> IntArray:
        return self.folds[-1].valid.rows(self.context.data, self.context.lookback)
