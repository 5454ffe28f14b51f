"""Splits: no label of an earlier part is unknown when a later part begins."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.data.splits import split_series
from tests.conftest import make_series


@given(
    n_rows=st.integers(150, 400),
    n_series=st.integers(1, 3),
    horizon=st.integers(1, 9),
    lookback=st.integers(2, 20),
    n_folds=st.integers(0, 5),
    test_size=st.floats(0.1, 0.4),
)
@settings(max_examples=60, deadline=None)
def test_every_part_knows_its_labels_before_the_next_begins(
    n_rows, n_series, horizon, lookback, n_folds, test_size
):
    data = make_series(n_rows, n_series, horizon=horizon)
    origins = np.unique(data.time[data.origins(lookback)])
    cut = (
        (1 - test_size) * len(origins) / 2
    )  # the last half of what is not sealed, in as many blocks as there are folds
    try:
        folds = split_series(data, lookback, n_folds=n_folds, test_size=test_size)
    except InputError:
        if cut < n_folds * (horizon + 1):  # the purge takes a whole block
            return
        raise
    sealed = folds[-1].test.rows(data, lookback)
    for fold in folds:
        parts = [getattr(fold, part).rows(data, lookback) for part in ("train", "valid", "test")]
        for earlier, later in pairwise(parts):
            assert data.time[earlier + horizon].max() <= data.time[later].min()
        if fold is not folds[-1]:
            assert data.time[parts[2] + horizon].max() <= data.time[sealed].min()
    tests = [fold.test.rows(data, lookback) for fold in folds]
    assert len(np.unique(np.concatenate(tests))) == sum(map(len, tests))


def test_a_fold_that_the_purge_leaves_without_a_window_is_refused():
    data = make_series(150, horizon=9)
    with pytest.raises(InputError, match="fold 5 has no window of 2 rows left to test on"):
        split_series(data, 2, n_folds=5, test_size=0.3984375)


@given(horizon=st.integers(1, 12))
@settings(deadline=None)
def test_the_gap_is_the_horizon_less_one_and_not_a_sample_more(horizon):
    data = make_series(300, horizon=horizon)
    for fold in split_series(data, 10):
        train, valid, test = (getattr(fold, part).rows(data, 10) for part in ("train", "valid", "test"))
        assert valid[0] - train[-1] == horizon
        assert test[0] - valid[-1] == horizon


def test_a_panel_is_cut_at_the_same_moment_in_all_series(panel):
    for fold in split_series(panel, 12):
        rows = fold.test.rows(panel, 12)
        starts = {panel.time[rows[panel.series_of_row[rows] == s]].min() for s in range(3)}
        assert len(starts) == 1


def test_folds_walk_forward_and_train_on_ever_more(series):
    folds = split_series(series, 12, n_folds=4)
    sizes = [len(fold.train.rows(series, 12)) for fold in folds]
    assert sizes == sorted(sizes)
    starts = [fold.test.start for fold in folds]
    assert starts == sorted(starts)


def test_too_little_data_is_refused_with_the_numbers():
    data = make_series(60, horizon=5)
    with pytest.raises(InputError, match=r"5 folds .* windows of 50 \+ 5 rows .* got 6"):
        split_series(data, 50, n_folds=5)


@given(n_rows=st.integers(60, 300), horizon=st.integers(1, 12))
@settings(deadline=None)
def test_short_series_get_fewer_folds_that_begin_later_by_themselves(n_rows, horizon):
    data = make_series(n_rows, horizon=horizon)
    try:
        folds = split_series(data, 12)
    except InputError:
        with pytest.raises(InputError):
            split_series(data, 12, n_folds=0)
        return
    assert len(folds) - 1 in (0, 2, 3, 4, 5)
    if len(folds) > 1:
        assert len(folds[0].train.rows(data, 12)) >= 30


def test_where_the_first_fold_begins_can_be_said_alone(series):
    early, late = (split_series(series, 12, first_train=share)[0].test.start for share in (0.3, 0.8))
    assert early < split_series(series, 12)[0].test.start < late


def test_a_window_never_crosses_a_hole(series):
    position = series.position.copy()
    position[200:] += 50
    data = replace(series, position=position)
    rows = data.origins(20)
    assert not ((rows >= 200 - 3) & (rows < 219)).any()
    assert set(series.origins(20)) - set(rows) == set(range(197, 219))


def test_with_many_series_two_folds_are_enough():
    folds = split_series(make_series(80, 8), 5)
    many = split_series(make_series(200, 20), 5)
    assert (len(folds) - 1, len(many) - 1) == (5, 2)
    assert len(split_series(make_series(200, 20), 5, n_folds=4)) == 5
