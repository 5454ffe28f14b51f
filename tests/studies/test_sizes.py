"""Sizes: what is tried, that each is tuned alike, and that giving some up changes nothing but the work."""

from itertools import pairwise
from math import log2
from zlib import crc32

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from heldout.recipe import Recipe
from heldout.studies.ledger import Finished
from heldout.studies.sizes import (
    Grid,
    equal_depths,
    every_other,
    halvings,
    label,
    large_start,
    learning_rates,
    lstm_parameters,
)

SIZES = [{"num_layers": 1, "hidden_size": units} for units in (16, 8, 4, 2)]
RATES = learning_rates(1e-3)


@given(some.integers(1, 4), some.integers(1, 40), some.integers(1, 30), some.booleans())
def test_the_weights_of_an_lstm_are_counted_as_torch_has_them(layers, units, inputs, both):
    network = torch.nn.LSTM(inputs, units, layers, bidirectional=both, device="meta")
    assert lstm_parameters(layers, units, inputs, bidirectional=both) == sum(
        p.numel() for p in network.parameters()
    )


@given(some.integers(0, 10**7), some.integers(1, 50), some.booleans(), some.sampled_from([32, 64]))
def test_a_start_by_the_data_is_the_largest_that_the_numbers_allow(labels, inputs, both, least):
    layers, units = large_start(labels, inputs, least=least, bidirectional=both)
    assert layers == 2
    assert least <= units <= 128
    assert log2(units) % 1 == 0
    weights = [lstm_parameters(2, n, inputs, bidirectional=both) for n in (units, 2 * units)]
    assert weights[0] <= labels or units == least
    assert weights[1] > labels or units == 128


@given(some.integers(1, 5000), some.integers(1, 20))
def test_halves_go_down_to_the_least_and_no_further(start, least):
    found = halvings(start, least)
    assert found[0] == start
    assert all(b == a // 2 >= least for a, b in pairwise(found))
    assert found[-1] // 2 < least


@given(some.integers(1, 5), some.integers(2, 200), some.none() | some.integers(1, 60), some.booleans())
def test_depths_have_the_weights_of_the_start_as_nearly_as_whole_units_can(layers, units, inputs, both):
    def weights(size):
        return lstm_parameters(size["num_layers"], size["hidden_size"], inputs, bidirectional=both)

    start = {"num_layers": layers, "hidden_size": units}
    found = equal_depths(start, inputs, bidirectional=both)
    assert start in found
    assert [size["num_layers"] for size in found] == list(range(1, max(3, layers) + 1))
    for size in found:
        others = [size | {"hidden_size": max(size["hidden_size"] + step, 1)} for step in (-1, 1)]
        miss = abs(weights(size) - weights(start))
        assert all(miss <= abs(weights(other) - weights(start)) for other in others)
        assert miss <= 0.05 * weights(start) or size["hidden_size"] < 20


@given(some.integers(1, 12))
def test_every_other_size_keeps_both_ends(n):
    sizes = [{"hidden_size": k} for k in range(n)]
    found = every_other(sizes)
    assert found[0] == sizes[0]
    assert found[-1] == sizes[-1]
    assert len(found) <= n // 2 + 1


@given(some.floats(1e-6, 10, exclude_min=True))
def test_the_recipes_rate_comes_first_and_all_are_allowed(lr):
    rates = learning_rates(lr)
    assert rates[0] == pytest.approx(lr, rel=1e-3)
    assert learning_rates(lr, 2) == rates[:2]
    for rate in rates:
        assert Recipe(lr=rate).lr == rate


class Fold:
    def __init__(self, name):
        self.name = name


def grid(loss, valid=lambda job: 1.0, n_folds=5, n_seeds=2):
    """A grid whose fits are made up, and the list of those that were done."""
    done = []

    def run(jobs):
        done.extend(jobs)
        return [
            Finished(
                name=job.name,
                spec={},
                scores={
                    "mse": loss(job), "valid_loss": valid(job), "train_loss": 0.5, "n_parameters": job.model.hidden_size,
                    "n_train": 100,
                },
            )
            for job in jobs
        ]  # fmt: skip

    folds = [Fold(f"fold {n}") for n in range(n_folds)]
    options = {"folds": folds, "seeds": range(n_seeds), "rates": RATES, "run": run, "metric": "mse"}
    return Grid(variant=Recipe().with_values, **options), done


def noise(job, size=0.01):
    return size * np.random.default_rng(crc32(job.name.encode())).normal()


def test_every_size_has_the_same_rates_folds_and_seeds():
    study, done = grid(lambda job: 1 + noise(job))
    tried = study.compare(SIZES)
    assert not any(one.stopped for one in tried)
    for units in (16, 8, 4, 2):
        own = [job for job in done if job.model.hidden_size == units]
        first = {(job.model.lr, job.fold.name) for job in own if job.seed == 0}
        assert first == {(rate, fold.name) for rate in RATES for fold in study.folds}
        assert len([job for job in own if job.seed == 1]) == 5
    assert len({job.name for job in done}) == len(done)
    assert [one.values for one in tried] == SIZES


def test_the_rate_is_chosen_by_the_validation_loss_alone():
    # The middle rate judges best, the last stops best.
    study, _ = grid(
        lambda job: 1.0 - (job.model.lr == RATES[1]), valid=lambda job: 1.0 - 0.5 * (job.model.lr == RATES[2])
    )
    for one in study.compare(SIZES):
        assert one.lr == RATES[2]
        assert one.losses.tolist() == [1.0] * 5
        assert one.valid_loss == 0.5


def test_of_equal_rates_the_recipes_own_is_taken():
    study, _ = grid(lambda job: 1.0)
    assert {one.lr for one in study.compare(SIZES)} == {RATES[0]}


def test_a_size_that_is_shown_to_be_worse_is_given_up_after_three_folds_and_keeps_its_fits():
    study, done = grid(lambda job: 1 + 5 * (job.model.hidden_size == 2) + noise(job))
    *good, bad = study.compare(SIZES)
    assert bad.stopped
    assert np.isfinite(bad.losses).tolist() == [True] * 3 + [False] * 2
    assert bad.n_seeds == 1
    assert not any(one.stopped or np.isnan(one.losses).any() for one in good)
    assert len([job for job in done if job.model.hidden_size == 2]) == 9


def test_a_size_of_an_earlier_stage_is_not_fitted_again():
    study, done = grid(lambda job: 1 + noise(job))
    first = study.compare(SIZES[:2])
    before = len(done)
    second = study.compare(SIZES[1:])
    assert {job.model.hidden_size for job in done[before:]} == {4, 2}
    assert second[0].losses.tolist() == first[1].losses.tolist()


def test_losses_are_means_over_seeds_and_parameters_are_told_per_sample():
    study, _ = grid(lambda job: float(job.seed), n_seeds=3)
    one = study.compare(SIZES[:1])[0]
    assert one.losses.tolist() == [1.0] * 5
    assert (one.n_parameters, one.per_sample, one.n_seeds) == (16, 0.16, 3)


def test_the_plan_is_what_is_done_where_nothing_is_given_up():
    study, done = grid(lambda job: 1 + noise(job))
    planned = [job.name for job in study.plan(SIZES)]
    study.compare(SIZES)
    assert sorted(planned) == sorted(job.name for job in done)


def test_a_label_tells_sizes_apart():
    assert len({label(size) for size in SIZES}) == len(SIZES)
