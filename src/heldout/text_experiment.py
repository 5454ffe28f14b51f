"""The main job for texts: a table in, a regularised LSTM and numbers that can be trusted out.

read -> split (sealed test, folds) -> fit everything on every fold -> score -> run directory
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from heldout.auditing import quick_text_audit
from heldout.augment.translate import read_translation
from heldout.check import check_choice
from heldout.config import TextConfig
from heldout.listener import Listener, Silent
from heldout.plots.values import plural
from heldout.runs import Run, environment
from heldout.seal import take_text_look
from heldout.studies.engine import Engine, LocalEngine
from heldout.studies.ledger import Ledger
from heldout.studies.plan import run_plan
from heldout.studies.texts import TextContext
from heldout.text_result import TextResult
from heldout.text_scoring import TextFits
from heldout.text_summary import (
    describe_texts,
    describe_vocabulary,
    hardest,
    preview_augmentation,
    split_table,
    telling_words,
)
from heldout.text_task import TextTask


def fit_texts(  # noqa: PLR0913 - the arguments of `heldout.fit`
    source: object,
    config: TextConfig,
    *,
    out: str | Path | None = None,
    engine: Engine | None = None,
    listener: Listener | None = None,
    rivals: Mapping[str, Any] | None = None,
    gate: str | None = None,
    test: object = None,
    command: str | None = None,
) -> TextResult:
    """Fit a regularised LSTM to labelled texts and find out, honestly, what it is worth; see `heldout.fit`.

    A part of the texts is sealed. The recipe and the baselines are fitted and judged on folds of the others; then all are
    fitted on everything but the sealed texts, and these are scored, once.
    """
    listener = listener or Silent()
    task = TextTask.make(source, config, rivals or {}, test=test)
    data, folds = task.data, task.split.folds
    for text in task.notes:
        listener.note(text)
    audited = quick_text_audit(task, listener=listener)
    if gate is not None:
        check_choice("--fail-if-worse-than", gate, [*task.candidates, *task.rivals])
    _translate(task, listener)
    with Run.open(config, data.fingerprint, out=out) as run, Ledger(run.ledger_path) as ledger:
        context = TextContext(data=data, units=task.split.units, checkpoints=run.path / "checkpoints")
        looks = take_text_look(run, ledger, data, folds[-1].test)
        jobs = task.jobs()
        listener.begin(jobs)
        results = run_plan(
            context,
            jobs,
            ledger,
            engine=engine or LocalEngine(),
            on_progress=listener.epoch,
            on_finished=listener.finished,
        )
        fits = TextFits(jobs, results, context, folds)
        model = fits.final_model()
        found = model.encode([data.texts[row] for row in folds[-1].train]).notes
        for text in found:
            listener.note(text)
        result = fits.result(run, list(task.candidates), [*task.notes, *found], model, looks=looks)
        scores = result.to_dict() | fits.evidence(model) | summarize(task, fits, model)
        scores["audit"] = [finding.to_dict() for finding in audited]
        scores |= {"command": command or run.call("fit", source, config, test), "environment": environment()}
        run.save(replace(config, recipe=task.recipe), model, scores, fits.predictions())
    return result


def summarize(task: TextTask, fits: TextFits, model: Any) -> dict[str, Any]:
    """Give what the report shows of texts, words and variants."""
    data, final = task.data, task.split.folds[-1]
    said = fits.log_proba("heldout")
    parts = [[data.texts[row] for row in rows] for rows in (final.train, final.test)]
    return {
        "losses": fits.fold_losses(),
        "overfit": fits.overfit(),
        "hardest": hardest(model, data, final.test, said),
        "words": telling_words(model, data, final.test, said.argmax(axis=1)),
        "vocabulary": describe_vocabulary(model, *parts),
        "augmentation": preview_augmentation(model, data, final, seed=0),
        "data": describe_texts(data, task.split),
        "splits": split_table(task.split),
    }


def _translate(task: TextTask, listener: Listener) -> None:
    """Translate before the fits, so that no two of them do: a translation learns nothing from the texts."""
    spec = task.recipe.back_translation
    if spec is None:
        return
    final = task.split.folds[-1]
    texts = [task.data.texts[row] for row in np.sort(np.concatenate([final.train, final.valid]))]
    listener.note(f"translating {plural(len(texts), 'text')} there and back, those not in the cache")
    read_translation(spec).variants(texts)
