"""Nothing that is fitted or forecast before a moment depends on what happens after it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.data.splits import split_series
from heldout.recipe import Recipe
from heldout.studies.plan import plan
from heldout.studies.study import make_context, run_job
from heldout.training.baselines import standard_baselines
from heldout.training.fit import fit_series
from heldout.training.settle import settle, settle_transform
from tests.conftest import make_series

LOOKBACK = 14
RECIPES = st.builds(
    Recipe,
    lookback=st.just(LOOKBACK),
    hidden_size=st.just(4),
    max_epochs=st.integers(0, 2),
    transform=st.sampled_from(["auto", "none", "difference", "log", "log_return"]),
    scaling=st.sampled_from(["standard", "robust"]),
    scale_by=st.sampled_from(["all", "series"]),
    window_norm=st.sampled_from(["auto", "none", "standard"]),
    shortcut=st.sampled_from(["none", "linear", "ridge"]),
    segment=st.sampled_from([1, 5]),
    loss=st.sampled_from(["squared", "quantile"]),
    ema=st.sampled_from([0.0, 0.5]),
)


def changed_after(data, moment, seed):
    """The same series up to and including a moment, and other values behind it."""
    values = data.values.copy()
    later = data.time > moment
    values[later] = np.random.default_rng(seed).exponential(50, size=values[later].shape)
    return replace(data, values=values)


def tensors(model):
    return {name: value for network in model.networks for name, value in network.state_dict().items()}


@given(
    recipe=RECIPES,
    seed=st.integers(0, 9),
    n_series=st.integers(1, 2),
    which=st.integers(0, 2),
    horizon=st.integers(1, 4),
)
@settings(max_examples=25, deadline=None)
def test_the_future_changes_no_fit_and_no_earlier_forecast(recipe, seed, n_series, which, horizon):
    data = make_series(220, n_series, horizon=horizon, seed=seed)
    data = replace(data, values=data.values - data.values.min() + 1)
    folds = split_series(data, LOOKBACK, n_folds=2)
    fold = folds[which]
    test = fold.test.rows(data, LOOKBACK)
    moment = int(data.time[test[len(test) // 2]])
    other = changed_after(data, moment, seed)
    assert split_series(other, LOOKBACK, n_folds=2) == folds
    parts = [getattr(fold, part).rows(data, LOOKBACK) for part in ("train", "valid")]
    mine, theirs = (fit_series(d, *parts, recipe, seed=seed) for d in (data, other))
    assert mine[1] == theirs[1]
    a, b = tensors(mine[0]), tensors(theirs[0])
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert mine[0].prepare == theirs[0].prepare
    before = test[data.time[test] <= moment]
    np.testing.assert_array_equal(mine[0].predict(data, before), theirs[0].predict(other, before))


@pytest.mark.parametrize("n_series", [1, 2])
def test_the_future_changes_no_baseline_no_scale_and_no_choice_of_a_study(tmp_path, n_series):
    data = make_series(220, n_series)
    folds = split_series(data, LOOKBACK, n_folds=2)
    moment = int(data.time[folds[1].test.rows(data, LOOKBACK)[0]])
    other = changed_after(data, moment, 1)
    results = []
    for each in (data, other):
        recipe = settle(Recipe(lookback=LOOKBACK, max_epochs=1), each)
        recipe, _ = settle_transform(recipe, each, folds[0].train.rows(each, LOOKBACK))
        context = make_context(each, recipe, folds[0], tmp_path / "none")
        candidates = {b.name: b for b in standard_baselines(12, lookback=LOOKBACK)}
        jobs = plan(candidates, folds[:1], [0])
        rows = folds[0].test.rows(each, LOOKBACK)
        early = each.time[rows + each.horizon] <= moment
        results.append(
            (
                recipe,
                context.scale,
                [run_job(context, job, lambda _: None).arrays["loss"][early] for job in jobs],
            )
        )
    assert results[0][:2] == (results[1][0], results[0][1])
    assert results[0][1].units == results[1][1].units
    for a, b in zip(results[0][2], results[1][2], strict=True):
        np.testing.assert_array_equal(a, b)
