"""A fit to texts larger than memory: read once into files, one model that all workers train together, a sealed test.

cache -> split a sample -> words counted in a pass -> numbers of words in files -> train together -> score on the sample
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from heldout.auditing import quick_text_audit
from heldout.check import InputError, check_choice
from heldout.config import TextConfig, TextStudyOptions
from heldout.data.near_texts import NearTexts
from heldout.data.runs import Runs
from heldout.data.series import FloatArray, IntArray
from heldout.data.text import Vocabulary
from heldout.data.text_cache import TextCache, open_text_cache
from heldout.data.token_files import open_tokens, write_tokens
from heldout.data.word_counts import learn_in_blocks
from heldout.large_fit import LargeFits, cache_folder
from heldout.listener import Listener, Silent
from heldout.plots.values import plural
from heldout.result import HELDOUT
from heldout.runs import Run, environment
from heldout.seal import take_text_look
from heldout.studies.engine import Engine, LocalEngine, workers_of
from heldout.studies.ledger import Finished, Ledger
from heldout.studies.plan import Job, end_study, run_plan
from heldout.studies.texts import TextContext
from heldout.text_experiment import summarize
from heldout.text_recipe import TextRecipe
from heldout.text_result import TextResult
from heldout.text_scoring import TextFits
from heldout.text_task import TextTask, check_files, check_named
from heldout.training.evaluation import forecast
from heldout.training.pretrain import read_corpus, share_pretrained
from heldout.training.shared import Parts, Shared, key_of
from heldout.training.text import TextModel
from heldout.training.text_linear import TextLinear
from heldout.training.text_start import calibrate, fit_linear_part, sample_weights, start_text_network
from heldout.training.word_vectors import start_vectors

SAMPLE_TEXTS = 20_000
"""Texts, evenly picked, on which the split is decided, baselines and the linear part are fitted and everything is scored."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Context(TextContext):
    """What the fits share: ``data`` is the sample, ``whole`` the fingerprint of all texts."""

    whole: str

    def key(self, job: Job) -> str:
        """Give the key of a fit, of which all texts are a part."""
        return hashlib.sha256(f"{self.whole} {super().key(job)}".encode()).hexdigest()


def fit_large_texts(
    source: str | Path,
    config: TextConfig,
    *,
    out: str | Path | None = None,
    engine: Engine | None = None,
    listener: Listener | None = None,
    gate: str | None = None,
    command: str | None = None,
) -> TextResult:
    """Fit one model to all texts in Parquet files, by all workers of an engine together (see `heldout.experiment.fit`).

    There are no folds. The split, baselines, the linear part, intervals and the sealed test are those of a sample: `SAMPLE_TEXTS`
    texts, evenly picked. The network is trained on the sample's training texts and on all others that share no group with its
    sealed and validation texts, are not nearly equal to one of them and, where texts have times, were written before them.

    Parameters
    ----------
    source : path
        A Parquet file, or a folder of them.
    config : TextConfig
        As for `heldout.experiment.fit`; ``n_folds`` is 0 or left out.
    out, engine, listener, gate, command
        As there. The cache of the files is kept in a folder beside the run directory, for the next run.

    Returns
    -------
    TextResult

    Raises
    ------
    InputError
        If the files or the configuration break a rule.
    """
    listener, engine = listener or Silent(), engine or LocalEngine()
    _check(config, workers_of(engine))
    cache = _open(source, config, out, listener)
    data, rows = cache.sample(SAMPLE_TEXTS)
    task = TextTask.of(data, replace(config, study=replace(config.study, n_folds=0)))
    for text in task.notes:
        listener.note(text)
    audited = quick_text_audit(task, listener=listener)
    if gate is not None:
        check_choice("--fail-if-worse-than", gate, list(task.candidates))
    folds = task.split.folds
    with (
        Run.open(config, cache.fingerprint, out=out) as run,
        Ledger(run.ledger_path) as ledger,
        engine.kept() as held,
    ):
        context = _Context(
            data=data,
            units=task.split.units,
            checkpoints=run.path / "checkpoints",
            shared=run.path / "checkpoints" / "shared",
            whole=cache.fingerprint,
        )
        looks = take_text_look(run, ledger, data, folds[-1].test)
        jobs = task.jobs()
        listener.begin(jobs)
        network = _TextFits(cache, rows, task, context, ledger, held, listener)
        network.train([job for job in jobs if job.candidate == HELDOUT])
        told: dict[str, Any] = {"on_progress": listener.epoch, "on_finished": network.finished}
        results = run_plan(context, jobs, ledger, engine=held, **told)
        fits = TextFits(jobs, results, context, folds)
        model = fits.final_model()
        about = fits.of(HELDOUT, folds[-1])[0].scores
        found = network.describe(about)
        for text in found:
            listener.note(text)
        result = fits.result(run, list(task.candidates), [*task.notes, *found], model, looks=looks)
        result = replace(result, baselines_saw=network.beside(about))
        scores = result.to_dict() | fits.evidence(model) | summarize(task, fits, model)
        scores["audit"] = [finding.to_dict() for finding in audited]
        scores |= {"command": command or run.call("fit", source, config, None), "environment": environment()}
        run.save(replace(config, recipe=task.recipe), model, scores, fits.predictions())
        end_study(context)
    return result


def _check(config: TextConfig, workers: int) -> None:
    check_named(config)
    check_files(config)
    recipe, study = config.recipe, config.study
    if study.n_folds not in (0, TextStudyOptions().n_folds):
        raise InputError(
            f"what is fitted from files is fitted once and judged on the sealed test, got n_folds={study.n_folds}: leave it out"
        )
    if config.data.test is not None:
        raise InputError(
            "data larger than memory has no test table of its own, but test was given: leave it out"
        )
    if recipe.mixup and workers > 1:
        raise InputError(f"mixup of texts needs one worker, got {workers}: set mixup=0, or train it alone")
    if recipe.augments:
        raise InputError("texts larger than memory are not augmented: leave the rates of augmentation at 0")
    if recipe.shortcut == "residual":
        raise InputError(
            "of texts larger than memory the linear model stands beside the network: set shortcut to 'tfidf' or 'none', got 'residual'"
        )


def _open(source: str | Path, config: TextConfig, out: str | Path | None, listener: Listener) -> TextCache:
    options: dict[str, Any] = {
        name: getattr(config.data, name) for name in ("text", "target", "group", "time")
    }
    folder = cache_folder(source, options, out)
    return open_text_cache(source, folder, **options, progress=lambda state: listener.stage(**state))


class _TextFits(LargeFits):
    """One recipe, trained on all texts that are not held out."""

    context: _Context

    def __init__(
        self,
        cache: TextCache,
        sampled: IntArray,
        task: TextTask,
        context: _Context,
        ledger: Ledger,
        engine: Engine,
        listener: Listener,
    ) -> None:
        super().__init__(context, ledger, engine, listener)
        self.cache, self.sampled, self.task = cache, sampled, task
        self.fold = task.split.folds[-1]
        self.shared = Shared(context.shared)
        self.folder = context.checkpoints / "tokens"

    def describe(self, scores: dict[str, Any]) -> list[str]:
        """Say what the network was trained on, and what its words are, from the scores of one of its fits."""
        n_train = scores["n_network"]
        left = len(self.cache) - n_train - len(self.fold.valid) - len(self.fold.test)
        why = "for the held-out ones are of the same group, nearly equal or older"
        return [
            f"{len(self.cache):,} texts: the network was trained on {n_train:,} of them, by {plural(self.workers, 'worker')} together; "
            f"{len(self.sampled):,}, evenly picked, decided on the split, fitted the baselines and the linear part, and hold the sealed test",
            *([f"{plural(left, 'text')} {'was' if left == 1 else 'were'} left out, {why}"] if left else []),
            *scores["words"],
        ]

    def beside(self, scores: dict[str, Any]) -> str:
        """Say what the baselines were fitted to, where it is less."""
        n_sample, n_train = len(self.fold.train), scores["n_network"]
        if n_sample == n_train:
            return ""
        return f"The baselines were fitted to {n_sample:,} of the {n_train:,} texts that train it, and to those that stop it."

    def fit(self, job: Job, began: float) -> Finished:
        """Fit and score one job."""
        recipe, data, fold = job.model, self.context.data, self.fold
        assert data.labels is not None
        rows, vocabulary = self.parts
        vocabulary, vectors = start_vectors(recipe, vocabulary, seed=job.random_seed)
        if vectors is not None:  # those of the file may be shorter than asked for
            recipe = replace(recipe, embedding_size=vectors.matrix.shape[1])
        write_tokens(
            self.folder,
            self.cache,
            vocabulary,
            recipe.max_length,
            lambda state: self.listener.stage(**state),
        )
        counts = self._class_counts(rows[0])
        weight = _class_weight(counts, recipe)
        source = partial(open_tokens, self.folder.absolute(), vocabulary.counts, recipe.rare, weight)
        shares = counts if weight is None else counts * weight
        network = start_text_network(recipe, len(vocabulary), vectors, shares, job.random_seed)
        if recipe.pretrain_epochs:
            corpus = read_corpus(recipe) or [data.texts[row] for row in fold.train]
            share_pretrained(self.shared, network, vocabulary, corpus, recipe, seed=job.random_seed)
        empty = partial(
            start_text_network, recipe, len(vocabulary), None, np.ones(len(counts)), job.random_seed
        )
        history = self.together(job, recipe, network, rows, empty=empty, source=source)
        network.requires_grad_(False).eval()
        linear, logits = self._linear(recipe)
        own = data.labels[fold.valid]
        temperature = calibrate(
            network,
            forecast(network, source(), rows[1][torch.arange(len(rows[1]))])[:, 0, 0].numpy(),
            logits,
            own,
            sample_weights(own, recipe, None, fold.valid),
        )
        about = None if vectors is None else vectors.about
        model = TextModel(recipe, data.classes, vocabulary, (network,), (temperature,), linear, about)
        more = {"n_network": len(rows[0]), "words": list(open_tokens(self.folder).tokens.notes)}
        return self.context.score_fit(job, model, history, began=began, scores=more)

    def _linear(self, recipe: TextRecipe) -> tuple[TextLinear | None, FloatArray | None]:
        """The linear part, of the sample, and what it says of the validation texts when fitted without them."""
        if recipe.shortcut == "none":
            return None, None
        data, fold = self.context.data, self.fold
        assert data.labels is not None
        both = (fold.train, fold.valid)
        weights = [sample_weights(data.labels[rows], recipe, None, rows) for rows in both]
        linear, logits = fit_linear_part(data, np.concatenate(both), weights, self.context.units, self.shared)
        return linear, logits[len(fold.train) :]

    @cached_property
    def parts(self) -> tuple[tuple[Runs, Runs], Vocabulary]:
        """Numbers of the texts that train, and that say when to stop, and the words of the former; found in one pass."""
        recipe, fold = self.task.recipe, self.fold
        asked = [recipe.lower, recipe.min_count, recipe.max_vocabulary, recipe.pretrain_texts]
        held = self.task.config.study.near_duplicates

        def make() -> Parts:
            found: list[IntArray] = []
            vocabulary = learn_in_blocks(
                chain(self._training(found), [read_corpus(recipe)]),
                self.context.checkpoints,
                lower=recipe.lower,
                min_count=recipe.min_count,
                max_size=recipe.max_vocabulary,
            )
            train = Runs.of(found)
            return {"starts": train.starts, "counts": train.counts}, {"vocabulary": vocabulary.to_json()}

        self.context.checkpoints.mkdir(parents=True, exist_ok=True)
        key = key_of(
            "training texts", self.cache.fingerprint, asked, held, self.sampled, fold.train, fold.valid
        )
        arrays, metadata = self.shared.get(key, make)
        train = Runs(np.asarray(arrays["starts"]), np.asarray(arrays["counts"]))
        return (train, Runs.of([self.sampled[fold.valid]])), Vocabulary.from_json(metadata["vocabulary"])

    def _training(self, found: list[IntArray]) -> Iterator[Sequence[str]]:
        """The texts that train, a block at a time; their numbers are added to a list."""
        cache, fold = self.cache, self.fold
        held = np.concatenate([fold.valid, fold.test])
        of_held, threshold = self.sampled[held], self.task.config.study.near_duplicates
        known = None
        if threshold is not None:
            known = NearTexts([self.context.data.texts[place] for place in held], threshold)
        for first, stop in cache.blocks():
            texts, keep = cache.texts(first, stop), np.ones(stop - first, bool)
            if cache.group is not None:
                keep &= ~np.isin(cache.group[first:stop], cache.group[of_held])
            if cache.time is not None:
                keep &= np.asarray(cache.time[first:stop]) < cache.time[of_held].min()
            inside = slice(*np.searchsorted(self.sampled, (first, stop)))
            own = self.sampled[inside] - first
            if known is not None:
                others = np.setdiff1d(np.flatnonzero(keep), own)
                keep[others] = [not known.near(texts[place]) for place in others.tolist()]
            # What the sample's texts are for was decided when it was split.
            keep[own] = np.isin(np.arange(inside.start, inside.stop), fold.train)
            chosen = np.flatnonzero(keep)
            found.append(first + chosen)
            yield [texts[place] for place in chosen.tolist()]
            cache.release()
            self.listener.stage("counting words", stop, len(cache))

    def _class_counts(self, rows: Runs) -> FloatArray:
        counts = np.zeros(len(self.cache.classes))
        for start, count in zip(rows.starts.tolist(), rows.counts.tolist(), strict=True):
            counts += np.bincount(self.cache.labels[start : start + count], minlength=len(counts))
        return counts


def _class_weight(counts: FloatArray, recipe: TextRecipe) -> FloatArray | None:
    """How much each text of a class counts, 1 on average, as ``compute_sample_weight("balanced")`` of scikit-learn."""
    if recipe.class_weight == "none":
        return None
    there = counts > 0
    weight = np.where(there, counts.sum() / (there.sum() * np.maximum(counts, 1)), 1.0)
    return np.asarray(weight, np.float32)
