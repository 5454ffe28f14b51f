"""`Search`: what choosing among candidates needs. Folds to choose by, later folds to judge the choice by, a test that stays sealed."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any, Self

import numpy as np
from torch import nn

from heldout.base_recipe import BaseRecipe
from heldout.check import InputError
from heldout.config import BaseConfig, Config, TextConfig
from heldout.data.prepare import Prepare
from heldout.data.series import FloatArray
from heldout.listener import Listener
from heldout.recipe import Recipe
from heldout.result import HELDOUT
from heldout.runs import Run
from heldout.studies.engine import Engine
from heldout.studies.knobs import FEW_STEPS
from heldout.studies.ledger import Finished, Ledger
from heldout.studies.optimism import hold_out_inside
from heldout.studies.plan import Job, StudyContext, run_plan
from heldout.studies.scale import by_moment
from heldout.studies.study import make_context
from heldout.task import Task, split
from heldout.text_recipe import TextRecipe
from heldout.training.fit import fit_series
from heldout.training.settle import settle

# Folds to choose by and to judge by, tried in this order: a short series has room for fewer.
_FOLDS = ((5, 3), (4, 2), (3, 2), (3, 1), (2, 1))
_LEAST_TRAIN = 30  # windows that the first fold must train on, unless no choice has as many
_FEW = 256  # samples that show whether a regulariser acts
_TEXT_OUTER = 0.25  # share of the texts that are not sealed


@dataclass(frozen=True, kw_only=True, eq=False)
class Search(ABC):
    """What candidates are made from, where they are compared, and where the one that is chosen is judged.

    Attributes
    ----------
    config : Config or TextConfig
        As the user gave it.
    recipe : BaseRecipe
        Settled: what candidates differ from.
    context : StudyContext
        What all fits share.
    inner, outer : tuple of folds
        To choose by, and to judge the choice by, once: of series all later than the inner ones.
    baselines : mapping of str to baseline
        Judged beside the choice.
    metric : str
        Name of a fit's loss in `Finished.scores`.
    blocks : float
        As in `heldout.studies.compare.two_way`, for `moment_losses`.
    notes : tuple of str
        What was inferred and decided.
    """

    config: BaseConfig
    recipe: BaseRecipe
    context: Any
    inner: tuple[Any, ...]
    outer: tuple[Any, ...]
    baselines: Mapping[str, Any]
    metric: str
    blocks: float
    notes: tuple[str, ...]

    @staticmethod
    def make(source: object, config: Config | TextConfig, *, test: object = None) -> "Search":
        """Read the table and cut it.

        Parameters
        ----------
        source : path or data frame
            As for `heldout.fit`.
        config : Config or TextConfig
            Its ``n_folds`` are the folds to choose by; by default 5, fewer on short series.
        test : path or data frame, optional
            Rows that stay sealed.

        Raises
        ------
        InputError
            If the table or the configuration breaks a rule.
        """
        if isinstance(config, TextConfig):
            return _TextSearch.read(source, config, test=test)
        return _SeriesSearch.read(source, config, test=test)

    @property
    @abstractmethod
    def modality(self) -> str:
        """Either "series" or "text"."""

    @abstractmethod
    def variant(self, values: Mapping[str, Any]) -> BaseRecipe:
        """Give the recipe with some options changed, settled.

        Parameters
        ----------
        values : mapping
            Options of the recipe by name.

        Raises
        ------
        InputError
            If there is no such option, or its value is not allowed.
        """

    @abstractmethod
    def moment_losses(self, finished: Finished) -> FloatArray:
        """Give the losses of a fit on its fold's test, one per moment in order of time, or per unit of texts."""

    @abstractmethod
    def n_train(self, fold: Any) -> int:
        """Give the training samples of a fold."""

    @property
    @abstractmethod
    def n_inputs(self) -> int:
        """Columns of a step that the network reads, or numbers of a word."""

    @property
    @abstractmethod
    def n_labels(self) -> int:
        """Numbers forecast of one sample, or 1 label of a text."""

    @property
    @abstractmethod
    def forward(self) -> bool:
        """Whether the folds follow each other in time; else they are the parts of a cross-validation."""

    @abstractmethod
    def recent(self, fold: Any, share: float) -> Any:
        """Give a fold that trains on a share of its samples, the most recent ones where there is time."""

    @abstractmethod
    def with_blocks(self, fold: Any) -> Any | None:
        """Give a fold that keeps blocks inside its training period out of it; None where there is no time or no room."""

    @abstractmethod
    def weights(self, recipe: BaseRecipe) -> FloatArray:
        """Train a recipe for a few steps, on a few samples of the first fold, and give its weights as one vector."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the table."""
        return str(self.context.data.fingerprint)

    def seeds(self) -> range:
        """Seeds of the fits of one recipe."""
        study = self.config.study
        return range(study.first_seed, study.first_seed + study.n_seeds)

    def open(self, purpose: str, options: Mapping[str, Any], *, out: str | Path | None = None) -> Run:
        """Make the run directory of a search, or go on with it; see `heldout.runs.Run.open`."""
        return Run.open(self.config, self.fingerprint, out=out, purpose=purpose, options=options)

    def within(self, folder: Path) -> Self:
        """Give a copy whose unfinished fits lie in a run directory, and whose finished ones leave no model."""
        own = {"checkpoints": folder / "checkpoints", "shared": folder / "shared"}
        context = replace(self.context, **own, keep_models=False)
        return replace(self, context=context)

    def run(
        self,
        jobs: Sequence[Job],
        ledger: Ledger,
        *,
        engine: Engine,
        listener: Listener,
        keep_failed: bool = True,
    ) -> list[Finished]:
        """Do the fits that the ledger does not hold, and give all in the order asked for; see `run_plan`."""
        context: StudyContext = self.context
        return run_plan(
            context,
            jobs,
            ledger,
            engine=engine,
            on_progress=listener.epoch,
            on_finished=listener.finished,
            keep_failed=keep_failed,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _SeriesSearch(Search):
    @classmethod
    def read(cls, source: object, config: Config, *, test: object) -> "Search":
        study = config.study
        first = Task.make(source, config, {}, test=test)
        counts: tuple[tuple[int, int], ...] = _FOLDS
        if study.n_folds is not None:
            counts = ((_enough(study.n_folds), max(1, study.n_folds // 2)),)
        for place, (inner, outer) in enumerate(counts, start=1):
            try:
                folds = split(first.data, first.recipe, config.with_values({"study.n_folds": inner + outer}))
            except InputError:
                if place == len(counts):
                    raise
                continue
            assert first.recipe.lookback is not None
            if place == len(counts) or (
                len(folds[0].train.rows(first.data, first.recipe.lookback)) >= _LEAST_TRAIN
            ):
                break
        context = make_context(first.data, first.recipe, folds[0], Path(), metric=study.metric)
        return cls(
            config=config,
            recipe=first.recipe,
            context=context,
            inner=folds[:inner],
            outer=folds[inner:-1],
            baselines={name: model for name, model in first.candidates.items() if name != HELDOUT},
            metric=study.metric,
            blocks=8,
            notes=(*first.data.notes, _said(folds[:inner], folds[inner:-1])),
        )

    @property
    def modality(self) -> str:
        return "series"

    def variant(self, values: Mapping[str, Any]) -> BaseRecipe:
        own: Any = self.recipe
        kept = {name: getattr(own, name) for name in ("lookback", "segment", "transform", "scale_by")}
        if "lookback" in values:
            del kept["segment"]  # chosen for the window
            if values["lookback"] > own.lookback:
                raise InputError(
                    f"a candidate's lookback must be at most that of the run, {own.lookback}, got {values['lookback']}: "
                    "set lookback to the longest"
                )
        return settle(self.config.recipe.with_values(kept | dict(values)), self.context.data)

    def moment_losses(self, finished: Finished) -> FloatArray:
        return by_moment(finished.arrays["loss"], self.context.data, finished.arrays["origin"])

    def n_train(self, fold: Any) -> int:
        return len(fold.train_rows(self.context.data, self.context.lookback))

    @cached_property
    def n_inputs(self) -> int:
        data, lookback, recipe = self.context.data, self.context.lookback, self._settled()
        prepare = Prepare.fit(data, self.inner[0].train_rows(data, lookback), lookback, recipe)
        shared = len(data.targets) - 1 if recipe.shared_columns else 0
        return len(prepare.columns) + len(prepare.gappy) - shared

    @property
    def n_labels(self) -> int:
        data = self.context.data
        return len(data.targets) * len(data.steps)

    @property
    def forward(self) -> bool:
        return True

    def recent(self, fold: Any, share: float) -> Any:
        data, lookback = self.context.data, self.context.lookback
        times = np.unique(data.time[fold.train.rows(data, lookback)])
        start = int(times[round((1 - share) * len(times))])
        return replace(
            fold, name=f"{fold.name}, last {share:.0%} of training", train=replace(fold.train, start=start)
        )

    def with_blocks(self, fold: Any) -> Any | None:
        return hold_out_inside(fold, self.context.data, self.context.lookback)

    def weights(self, recipe: BaseRecipe) -> FloatArray:
        assert isinstance(recipe, Recipe)
        data, lookback, fold = self.context.data, self.context.lookback, self.inner[0]
        train, valid = (part.rows(data, lookback) for part in (fold.train, fold.valid))
        model, _ = fit_series(data, train[-_FEW:], valid[-_FEW:], recipe.with_values(FEW_STEPS))
        return _vector(model.networks[0])

    def _settled(self) -> Recipe:
        assert isinstance(self.recipe, Recipe)
        return self.recipe


@dataclass(frozen=True, kw_only=True, eq=False)
class _TextSearch(Search):
    @classmethod
    def read(cls, source: object, config: TextConfig, *, test: object) -> "Search":
        from heldout.data.text_nesting import nest_texts  # noqa: PLC0415 - needs the extra `text`
        from heldout.studies.texts import TextContext  # noqa: PLC0415 - needs the extra `text`
        from heldout.text_task import TextTask  # noqa: PLC0415 - needs the extra `text`

        study = config.study
        task = TextTask.make(source, config.with_values({"study.n_folds": 0}), {}, test=test)
        inner, outer = nest_texts(
            task.data,
            task.split,
            n_folds=_enough(study.n_folds),
            outer=_TEXT_OUTER,
            valid_size=study.valid_size,
            seed=study.split_seed,
        )
        return cls(
            config=config,
            recipe=task.recipe,
            context=TextContext(data=task.data, units=task.split.units, checkpoints=Path()),
            inner=inner,
            outer=outer,
            baselines={name: model for name, model in task.candidates.items() if name != HELDOUT},
            metric="log loss",
            blocks=inf,
            notes=(*task.notes, _said(inner, outer)),
        )

    @property
    def modality(self) -> str:
        return "text"

    def variant(self, values: Mapping[str, Any]) -> BaseRecipe:
        changed: BaseRecipe = self.config.recipe.with_values(values)
        return changed.resolved()

    def moment_losses(self, finished: Finished) -> FloatArray:
        _, unit = np.unique(self.context.units[finished.arrays["row"]], return_inverse=True)
        losses = finished.arrays["loss"]
        return np.asarray(np.bincount(unit, losses) * (unit.max() + 1) / len(losses))

    def n_train(self, fold: Any) -> int:
        return len(fold.train)

    @property
    def forward(self) -> bool:
        return self.context.data.time is not None

    def recent(self, fold: Any, share: float) -> Any:
        rows, rng = fold.train, np.random.default_rng(self.config.study.split_seed)
        n = round(share * len(rows))
        order = (
            np.argsort(self.context.data.time[rows], kind="stable")
            if self.forward
            else rng.permutation(len(rows))
        )
        return replace(fold, name=f"{fold.name}, {share:.0%} of training", train=np.sort(rows[order[-n:]]))

    def with_blocks(self, fold: Any) -> Any | None:  # noqa: ARG002 - texts lie in no period
        return None

    def weights(self, recipe: BaseRecipe) -> FloatArray:
        from heldout.training.text import fit_text  # noqa: PLC0415 - needs the extra `text`

        assert isinstance(recipe, TextRecipe)
        fold, small = self.inner[0], recipe.with_values(FEW_STEPS)
        model, _ = fit_text(self.context.data, fold.train[:_FEW], fold.valid[:_FEW], small)
        return _vector(model.networks[0])

    @property
    def n_inputs(self) -> int:
        assert isinstance(self.recipe, TextRecipe)
        return self.recipe.embedding_size

    @property
    def n_labels(self) -> int:
        return 1


def _vector(network: nn.Module) -> FloatArray:
    return np.concatenate([value.numpy().ravel() for value in network.state_dict().values()])


def _enough(n_folds: int) -> int:
    if n_folds < 2:
        raise InputError(f"a choice needs 2 folds at least, got n_folds={n_folds}: leave it out")
    return n_folds


def _said(inner: Sequence[Any], outer: Sequence[Any]) -> str:
    one = "fold" if len(outer) == 1 else "folds"
    return f"{len(inner)} folds to choose by, {len(outer)} {one} to judge the choice by, once; the sealed test is not touched"
