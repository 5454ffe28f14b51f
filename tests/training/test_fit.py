"""Fitted models: what they hold, and that a file cannot make them anything else."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from heldout.data.splits import split_series
from heldout.recipe import Recipe
from heldout.training.checkpoint import ModelFileError, dump_tensors, parse_tensors
from heldout.training.fit import SeriesModel, fit_series
from heldout.training.settle import settle

LOOKBACK = 14


def fit(data, seed=0, **options):
    fold = split_series(data, LOOKBACK, n_folds=0)[-1]
    parts = [getattr(fold, part).rows(data, LOOKBACK) for part in ("train", "valid")]
    recipe = Recipe(**{"lookback": LOOKBACK, "hidden_size": 4, "max_epochs": 3, **options})
    return fit_series(data, *parts, recipe, seed=seed), parts


def test_a_model_survives_its_bytes(panel):
    (model, _), parts = fit(panel, bidirectional=True, dense=(3,), pooling="attention")
    again = SeriesModel.from_file_parts(*parse_tensors(dump_tensors(*model.to_file_parts())))
    np.testing.assert_array_equal(model.predict(panel, parts[1]), again.predict(panel, parts[1]))
    assert again.recipe == model.recipe
    assert again.prepare == model.prepare


def test_joined_models_forecast_the_mean_of_their_seeds(series):
    (a, _), parts = fit(series, seed=0)
    (b, _), _ = fit(series, seed=1)
    mean = (a.predict(series, parts[1]) + b.predict(series, parts[1])) / 2
    np.testing.assert_allclose(a.joined([b]).predict(series, parts[1]), mean, rtol=1e-12)


def test_a_batch_is_forecast_as_its_members_one_by_one(series):
    (model, _), parts = fit(series)
    together = model.predict(series, parts[1])
    alone = np.concatenate([model.predict(series, parts[1][n : n + 1]) for n in range(len(parts[1]))])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_an_untrained_fit_forecasts_what_ridge_does(series):
    (model, history), parts = fit(series, max_epochs=0)
    (plain, _), _ = fit(series, max_epochs=0, shrink=False)
    assert history.best_epoch == 0
    np.testing.assert_array_equal(model.predict(series, parts[1]), plain.predict(series, parts[1]))
    assert (model.networks[0].shortcut.weight != 0).any()


def test_a_shrunk_fit_lies_half_way_between_ridge_and_all_of_it(series):
    ridge, half, full = (
        fit(series, **options)[0][0] for options in ({"max_epochs": 0}, {"shrink": True}, {"shrink": False})
    )
    rows = np.arange(200, 260)
    if half.networks[0].gain == 0.5:
        expected = (ridge.predict(series, rows) + full.predict(series, rows)) / 2
        np.testing.assert_allclose(half.predict(series, rows), expected, atol=1e-6)
    else:
        np.testing.assert_array_equal(half.predict(series, rows), full.predict(series, rows))


@pytest.mark.parametrize("horizon", [1, 30])
def test_settling_leaves_nothing_open_and_segments_fit_the_window(series, horizon):
    settled = settle(Recipe(), replace(series, horizon=horizon))
    assert 1 <= settled.segment <= settled.lookback <= 400 // 6
    assert settled == settle(settled, replace(series, horizon=horizon))


HOSTILE = [
    ("n_networks", 10**9),
    ("n_networks", 0),
    ("n_networks", 2),
    ("kind", "pickle"),
    ("version", 2),
    ("shape.n_steps", 10**12),
    ("shape.lookback", 10**9),
    ("shape.n_inputs", -3),
    ("shape.n_targets", "1"),
    ("recipe.hidden_size", 4096),
    ("recipe.hidden_size", 10**9),
    ("recipe.dense", [4096] * 50),
    ("recipe.class_path", "os.system"),
    ("prepare.columns", None),
]


@pytest.mark.parametrize(("name", "value"), HOSTILE)
def test_a_file_that_lies_about_its_sizes_is_refused_and_allocates_nothing(series, name, value):
    tensors, metadata = fit(series, max_epochs=0)[0][0].to_file_parts()
    lie = copy.deepcopy(json.loads(json.dumps(metadata)))
    where = lie
    *parents, last = name.split(".")
    for parent in parents:
        where = where[parent]
    where[last] = value
    with pytest.raises(ModelFileError):
        SeriesModel.from_file_parts(tensors, lie)


def test_a_loaded_model_cannot_be_trained_by_accident(series):
    model = SeriesModel.from_file_parts(*fit(series)[0][0].to_file_parts())
    assert not any(p.requires_grad for p in model.networks[0].parameters())
    assert not model.networks[0].training
    assert torch.is_tensor(model.networks[0].gain)
