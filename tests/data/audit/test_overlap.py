"""Overlap of parts, against a count sample by sample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.data.audit.finding import excerpts
from heldout.data.audit.overlap import Parts, check_groups, check_overlap, own_parts, parts_of
from heldout.data.splits import split_series
from tests.conftest import make_series


def slow(data, part, lookback):
    """The three counts, one pair of samples after the other."""
    labels = windows = late = 0
    asked = {row + step for row in part.test for step in range(1, data.horizon + 1)}
    begins = min(data.time[row] for row in part.test)
    for row in part.train:
        own = {row + step for step in range(1, data.horizon + 1)}
        labels += bool(own & asked)
        windows += bool(set(range(row - lookback + 1, row + 1)) & asked)
        late += bool(data.time[row + data.horizon] > begins)
    return {"labels": labels, "windows": windows, "late": late}


@given(seed=st.integers(0, 10**6), horizon=st.integers(1, 4), lookback=st.integers(2, 8), n=st.integers(1, 2))
@settings(max_examples=25, deadline=None)
def test_it_counts_what_a_look_at_every_pair_counts(seed, horizon, lookback, n):
    data = make_series(60, n, horizon=horizon)
    origins = np.random.default_rng(seed).permutation(data.origins(lookback))
    cut = 1 + seed % (len(origins) - 2)
    part = Parts(name="split 1", train=origins[:cut], test=origins[cut:])
    found = check_overlap(data, [part], lookback).figures["split 1"]
    assert {name: found[name] for name in ("labels", "windows", "late")} == slow(data, part, lookback)


@pytest.mark.parametrize("n_series", [1, 3])
@pytest.mark.parametrize("horizon", [1, 5])
def test_own_folds_pass_and_one_sample_less_purged_fails(n_series, horizon):
    data = make_series(200, n_series, horizon=horizon)
    folds = split_series(data, 10, n_folds=3)
    assert check_overlap(data, parts_of(folds, data, 10), 10).status == "PASS"
    train, test = (part.rows(data, 10) for part in (folds[-1].train, folds[-1].test))
    reach = data.time[train].max()
    longer = data.origins(10)[
        (data.time[data.origins(10)] <= reach + 3_600_000_000 * 60)
        & (data.time[data.origins(10)] < data.time[test].min())
    ]
    found = check_overlap(data, [Parts(name="x", train=longer, test=test)], 10)
    assert found.failed == bool((data.time[longer + horizon] > data.time[test].min()).any())


def test_the_splits_of_scikit_learn_are_understood_as_they_come():
    parts = own_parts(iter([([1, 2], [3]), (np.array([4]), np.array([5]))]), 6)
    assert [(part.name, part.train.tolist(), part.test.tolist()) for part in parts] == [
        ("split 1", [1, 2], [3]),
        ("split 2", [4], [5]),
    ]


def test_groups_are_torn_only_where_one_is_on_both_sides():
    texts = [f"text {k}" for k in range(6)]
    group = np.array([0, 0, 1, 1, 2, 2])

    def show(rows):
        return excerpts(texts, rows.tolist())

    apart = Parts(name="split 1", train=np.array([0, 1, 4, 5]), test=np.array([2, 3]))
    torn = Parts(name="split 2", train=np.array([0, 2, 3]), test=np.array([1, 4]))
    assert check_groups(group, [apart], show=show).status == "PASS"
    found = check_groups(group, [apart, torn], show=show)
    assert (found.is_leak, found.rows, found.figures) == (True, ("row 1: text 1",), {"split 2": 0.5})
    assert check_groups(None, [torn], show=show).status == "NOT RUN"
