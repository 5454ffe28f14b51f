"""Studies: a plan gives the same table on every engine, and no finished fit runs twice."""

import re
from dataclasses import replace

import numpy as np
import pytest

from heldout.check import InputError
from heldout.data.splits import split_series
from heldout.data.transforms import last_known
from heldout.recipe import Recipe
from heldout.studies.engine import InlineEngine, LocalEngine
from heldout.studies.ledger import Ledger
from heldout.studies.plan import plan, run_plan
from heldout.studies.scale import by_moment
from heldout.studies.study import cross_validate, job_key, make_context
from heldout.training.baselines import standard_baselines
from heldout.training.fit import fit_series
from heldout.training.settle import settle
from tests.conftest import make_series

LOOKBACK = 14


@pytest.fixture(scope="module")
def study():
    data = make_series(260)
    recipe = settle(Recipe(lookback=LOOKBACK, hidden_size=4, max_epochs=3, transform="none"), data)
    folds = split_series(data, LOOKBACK, n_folds=2)
    candidates = {b.name: b for b in standard_baselines(12, lookback=LOOKBACK)} | {"heldout": recipe}
    return data, recipe, folds, candidates


def test_every_engine_gives_the_same_bits(study, tmp_path):
    data, recipe, folds, candidates = study
    jobs = plan(candidates, folds, [0, 1])
    tables = []
    for name, engine in (("inline", InlineEngine()), ("local", LocalEngine(2))):
        context = make_context(data, recipe, folds[0], tmp_path / name)
        with Ledger(tmp_path / f"{name}.sqlite") as ledger:
            tables.append(run_plan(context, jobs, ledger, engine=engine))
    for a, b in zip(*tables, strict=True):
        assert a.name == b.name
        assert a.scores == b.scores
        assert a.history == b.history
        assert a.model == b.model
        assert all(np.array_equal(a.arrays[name], b.arrays[name]) for name in a.arrays)


def test_a_finished_fit_is_taken_from_the_ledger(study, tmp_path):
    data, recipe, folds, _ = study
    jobs = plan({"heldout": recipe}, folds, [0])
    context = make_context(data, recipe, folds[0], tmp_path / "c")
    seen = []
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        first = run_plan(context, jobs[:2], ledger)
        second = run_plan(
            context, jobs, ledger, on_finished=lambda job, _, was_there: seen.append((job.name, was_there))
        )
        finished = [event.key for event in ledger.events() if event.what == "finished"]
    assert [was_there for _, was_there in seen] == [True, True, False]
    assert [a.scores for a in first] == [b.scores for b in second[:2]]
    assert len(finished) == len(set(finished)) == 3
    assert not list((tmp_path / "c").glob("*.safetensors"))


def test_a_key_changes_with_everything_a_result_depends_on(study, tmp_path):
    data, recipe, folds, candidates = study
    context = make_context(data, recipe, folds[0], tmp_path)
    job = plan({"heldout": recipe}, folds, [0])[0]
    values = data.values.copy()
    values[-1, -1] += 1e-9
    others = [
        (replace(context, data=replace(data, values=values)), job),
        (replace(context, scale=replace(context.scale, metric="mae")), job),
        (context, replace(job, seed=1)),
        (context, replace(job, fold=folds[1])),
        (context, replace(job, model=replace(recipe, lr=0.002))),
        (context, replace(job, model=candidates["ridge"])),
    ]
    keys = [job_key(context, job), *(job_key(*other) for other in others)]
    assert len(set(keys)) == len(keys)
    assert job_key(replace(context, checkpoints=tmp_path / "elsewhere"), job) == keys[0]


def test_the_key_of_a_baseline_holds_no_memory_address(study, tmp_path):
    for baseline in study[3].values():
        assert not re.search("0x[0-9a-f]{6}", repr(baseline))


def test_cross_validation_gives_a_loss_per_candidate_fold_and_seed(study):
    data, _, folds, candidates = study
    table = cross_validate(data, candidates, folds[:-1], n_seeds=2)
    assert {name: losses.shape for name, losses in table.items()} == {
        name: (2, 2 if name == "heldout" else 1) for name in candidates
    }
    assert table["ridge"].mean() < table["naive"].mean()


def test_gaps_are_filled_by_the_last_value_of_the_same_series():
    data = make_series(40, 2, missing="fill")
    values = data.values.copy()
    values[:3, 0] = values[10:30, 0] = values[40:42, 0] = np.nan
    column = last_known(replace(data, values=values), "y")
    assert (column[:3] == values[3, 0]).all()
    assert (column[10:30] == values[9, 0]).all()
    assert (column[40:42] == values[42, 0]).all()
    assert replace(data, values=values).origins(2)[0] >= 3


def test_a_covariate_that_is_not_known_yet_is_not_filled_from_its_future(tmp_path):
    data = make_series(60, missing="fill")
    values = data.values.copy()
    values[:50, 1] = np.nan
    columns = []
    for later in (1.0, 2.0):
        values[50:, 1] = later
        each = replace(data, values=values.copy())
        recipe = settle(Recipe(lookback=5, transform="none"), each)
        context = make_context(each, recipe, split_series(each, 5, n_folds=0)[0], tmp_path)
        columns.append(context.windows().covariates[:50])
    assert np.array_equal(*columns)


def test_recipes_that_see_other_windows_are_not_compared(study):
    data, recipe, folds, _ = study
    with pytest.raises(InputError, match="one lookback and one transform"):
        cross_validate(data, {"a": recipe, "b": replace(recipe, lookback=30)}, folds)
    with pytest.raises(InputError, match="begins before its series"):
        fit_series(data, np.arange(20, 100), np.arange(110, 150), replace(recipe, lookback=30))


def test_losses_of_a_panel_stand_in_the_order_of_time():
    data = make_series(50, 3)
    minutes = data.series_of_row * 60_000_000  # each series a minute later than the one before
    data = replace(data, time=data.time + minutes)
    rows = data.origins(5)
    moments = by_moment(data.time[rows].astype(float), data, rows)
    assert (np.diff(moments) > 0).all()
    assert len(moments) == 50 - 5 - data.horizon + 1


def test_several_targets_are_scored_in_units_of_their_own(tmp_path):
    data = make_series(260)
    values = np.column_stack([data.values, 1000 * data.values[:, :1]])
    both = replace(data, values=values, columns=(*data.columns, "big"), targets=("y", "big"), past=("x",))
    recipe = settle(Recipe(lookback=LOOKBACK, transform="none"), both)
    context = make_context(both, recipe, split_series(both, LOOKBACK)[0], tmp_path)
    assert context.scale.units[1] == pytest.approx(1000 * context.scale.units[0])
