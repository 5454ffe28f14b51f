"""Plans: rungs go on to the same bits, fits share what they need alike, and models need not be kept."""

from dataclasses import replace

import numpy as np
import pytest

from heldout.check import InputError
from heldout.data.splits import split_series
from heldout.data.text_splits import TextFold
from heldout.data.text_table import TextData
from heldout.recipe import Recipe
from heldout.studies.engine import InlineEngine, LocalEngine
from heldout.studies.ledger import Ledger
from heldout.studies.plan import Job, checkpoint_of, end_study, kept, run_plan
from heldout.studies.study import make_context
from heldout.studies.texts import TextContext
from heldout.text_recipe import TextRecipe
from heldout.training.loop import NonFiniteError
from heldout.training.settle import settle
from tests.conftest import make_series


def series_study(folder, **options):
    data = make_series(200)
    options = {"lookback": 8, "hidden_size": 3, "max_epochs": 5, "transform": "none", **options}
    recipe = settle(Recipe(**options), data)
    folds = split_series(data, 8, n_folds=2)
    (folder / "checkpoints").mkdir(parents=True)
    context = make_context(data, recipe, folds[0], folder / "checkpoints")
    return context, Job(candidate="heldout", fold=folds[0], model=recipe)


def text_study(folder, **options):
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 2
    texts = tuple(" ".join(rng.choice(["the", "film", ("bad", "good")[k], "was"], 5)) for k in labels)
    data = TextData(texts, labels, ("bad", "good"), None, None, 90)
    recipe = TextRecipe(**{"hidden_size": 3, "embedding_size": 4, "max_epochs": 5, **options}).resolved()
    (folder / "checkpoints").mkdir(parents=True)
    fold = TextFold("fold 1", np.arange(40), np.arange(40, 60), np.arange(60, 90))
    context = TextContext(data=data, units=np.arange(90), checkpoints=folder / "checkpoints")
    return context, Job(candidate="heldout", fold=fold, model=recipe)


STUDIES = {"series": series_study, "text": text_study}


def run(context, jobs, folder, **options):
    with Ledger(folder / "ledger.sqlite") as ledger:
        return run_plan(context, jobs, ledger, **options)


def fit(context, job):
    return context.run(job, lambda _: None)


def equal(a, b):
    arrays = a.arrays.keys() == b.arrays.keys() and all(
        np.array_equal(a.arrays[name], b.arrays[name]) for name in a.arrays
    )
    return arrays and (a.scores, a.history, a.model) == (b.scores, b.history, b.model)


@pytest.mark.parametrize("kind", STUDIES)
def test_rungs_of_a_study_end_with_the_bits_of_a_whole_fit(kind, tmp_path):
    context, job = STUDIES[kind](tmp_path / "whole")
    (whole,) = run(context, [job], tmp_path / "whole")
    context, job = STUDIES[kind](tmp_path)
    engines = {3: LocalEngine(1)} if kind == "series" else {}
    for until in (1, 3, None):
        (found,) = run(context, [replace(job, until=until)], tmp_path, engine=engines.get(until))
        assert found.scores["stopped"] == (until is None)
        assert checkpoint_of(context, job).path.exists() == (until is not None)
        assert len(found.history) == (6 if until is None else until + 1)
    assert equal(found, whole)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert len(ledger.keys()) == 3


@pytest.mark.parametrize("kind", STUDIES)
def test_a_rung_that_lost_its_checkpoint_gives_the_same_bits(kind, tmp_path):
    context, job = STUDIES[kind](tmp_path)
    run(context, [replace(job, until=1)], tmp_path)
    (first,) = run(context, [replace(job, until=3)], tmp_path)
    end_study(context)
    assert not context.checkpoints.exists()
    (tmp_path / "again").mkdir()
    (again,) = run(context, [replace(job, until=3)], tmp_path / "again")
    assert equal(again, first)


@pytest.mark.parametrize("kind", STUDIES)
def test_a_fit_that_has_ended_leaves_no_checkpoint_whatever_the_rung(kind, tmp_path):
    context, job = STUDIES[kind](tmp_path, patience=1, min_delta=9.0)
    (found,) = run(context, [replace(job, until=4)], tmp_path)
    assert found.scores["stopped"]
    assert not checkpoint_of(context, job).path.exists()


@pytest.mark.parametrize("kind", STUDIES)
def test_a_rung_is_a_fit_of_its_own_and_a_whole_fit_keeps_its_key(kind, tmp_path):
    context, job = STUDIES[kind](tmp_path)
    keys = [context.key(replace(job, until=until)) for until in (None, 1, 3)]
    assert len(set(keys)) == 3
    assert checkpoint_of(context, replace(job, until=3)).path.stem == keys[0]
    assert "until" not in fit(context, job).spec
    names = [replace(job, until=until).name for until in (None, 3)]
    assert names == ["heldout, fold 1, seed 0", "heldout, fold 1, seed 0, to epoch 3"]


@pytest.mark.parametrize("kind", STUDIES)
def test_scores_hold_the_losses_of_the_weights_that_are_kept(kind, tmp_path):
    found = fit(*STUDIES[kind](tmp_path))
    best = min(found.history, key=lambda row: row["valid_loss"])
    names = ("valid_loss", "train_loss")
    assert [found.scores[name] for name in names] == [best[name] for name in names]


@pytest.mark.parametrize("kind", STUDIES)
def test_a_study_need_not_keep_its_models(kind, tmp_path):
    context, job = STUDIES[kind](tmp_path)
    without = replace(context, keep_models=False)
    assert without.key(job) == context.key(job)
    whole, found = fit(context, job), fit(without, job)
    assert found.model is None
    assert equal(replace(found, model=whole.model), whole)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("series", {}),
        ("series", {"loss": "quantile"}),
        ("series", {"window_norm": "standard"}),
        ("text", {}),
        ("text", {"shortcut": "residual", "alpha_aeda": 0.3}),
        ("text", {"pretrain_epochs": 1}),
    ],
)
def test_what_fits_share_is_computed_once_and_changes_no_bit(kind, options, tmp_path):
    context, job = STUDIES[kind](tmp_path, **options)
    sharing = replace(context, shared=tmp_path / "shared")
    made = fit(sharing, job)
    files = {path: path.stat().st_mtime_ns for path in sharing.shared.iterdir()}
    assert files
    checkpoint_of(context, job).clear()
    assert equal(made, fit(context, job))
    checkpoint_of(context, job).clear()
    assert equal(made, fit(sharing, job))
    assert files == {path: path.stat().st_mtime_ns for path in sharing.shared.iterdir()}
    assert context.key(job) == sharing.key(job)
    larger = replace(job, seed=1, model=replace(job.model, hidden_size=5))
    found = fit(sharing, larger)
    checkpoint_of(context, larger).clear()
    assert equal(found, fit(context, larger))


def test_folds_and_options_that_matter_are_not_mixed_up(tmp_path):
    context, job = series_study(tmp_path)
    sharing = replace(context, shared=tmp_path / "shared")
    for options in (
        {},
        {"lookback": 6},
        {"outliers": 2.0},
        {"loss": "quantile"},
        {"window_norm": "standard"},
    ):
        other = replace(job, model=replace(job.model, **options))
        found = fit(sharing, other)
        checkpoint_of(context, other).clear()
        assert equal(found, fit(context, other)), options
    assert len(list(sharing.shared.iterdir())) == 5


def test_windows_shorter_than_the_study_s_are_judged_at_the_same_origins(tmp_path):
    context, job = series_study(tmp_path)
    one, other = (fit(context, replace(job, model=replace(job.model, lookback=rows))) for rows in (8, 4))
    assert np.array_equal(one.arrays["origin"], other.arrays["origin"])
    for name in ("n_train", "n_valid"):
        assert one.scores[name] == other.scores[name]
    assert one.scores["n_parameters"] > other.scores["n_parameters"]
    with pytest.raises(InputError, match="may look back 8 rows at most, got 9"):
        fit(context, replace(job, model=replace(job.model, lookback=9)))


def test_a_fit_that_is_not_finite_ends_a_plan_or_is_kept_as_failed(tmp_path):
    options = {"regularization": 0.0, "clip_norm": 0.0, "shortcut": "none", "max_epochs": 40}
    context, job = series_study(tmp_path, **options)
    model = replace(job.model, optimizer="sgd", lr=10.0, batch_size=4, patience=None)
    wild = replace(job, model=model)
    with pytest.raises(NonFiniteError):
        run(context, [wild], tmp_path)
    (found,) = run(context, [wild], tmp_path, keep_failed=True)
    assert "lower lr" in found.scores["failed"]
    assert found.scores["stopped"]
    (again,) = run(context, [wild], tmp_path, keep_failed=True)
    assert again.scores == found.scores


def test_any_engine_can_be_kept():
    with kept(None) as engine, kept(InlineEngine()) as inline:
        assert isinstance(engine, LocalEngine)
        assert isinstance(inline, InlineEngine)
