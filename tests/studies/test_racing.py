import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from heldout.check import InputError
from heldout.studies.racing import hopeless


def race(table, **options):
    """Which are out at the end, and the share of the fits that were done."""
    seen, out, done = np.full(table.shape, np.nan), np.zeros(len(table), dtype=bool), 0
    for fold in range(table.shape[1]):
        seen[~out, fold] = table[~out, fold]
        done += int((~out).sum())
        out = hopeless(seen[:, : fold + 1], **options)
    return out, done / table.size


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.floats(-5, 5)))
def test_the_best_so_far_is_never_stopped_and_few_folds_stop_none(table):
    out = hopeless(table)
    assert not out[table.mean(axis=1).argmin()]
    if table.shape[1] < 3:
        assert not out.any()


def test_two_candidates_are_compared_by_the_paired_t_test():
    rng = np.random.default_rng(0)
    for _ in range(50):
        table = rng.normal(size=(2, 3)) + np.array([[0], [3]])
        low, high = table[table.mean(axis=1).argsort()]
        p = stats.ttest_rel(high, low, alternative="greater").pvalue
        assert hopeless(table).any() == (p < 0.05 / 2)


def test_the_order_of_candidates_and_how_hard_folds_are_do_not_matter():
    rng = np.random.default_rng(1)
    table = rng.normal(size=(6, 8)) + 2 * np.arange(6)[:, None]
    order = rng.permutation(6)
    expected = hopeless(table)
    assert expected.any()
    assert (hopeless(table[order]) == expected[order]).all()
    assert (hopeless(table + 100 * np.arange(8)) == expected).all()


def test_who_is_out_stays_out_and_is_compared_with_none():
    table = np.array([[1.0, 2.0, 3.0], [1.1, 2.0, 3.1], [-9.0, np.nan, np.nan]])
    assert hopeless(table).tolist() == [False, False, True]
    assert hopeless(table[2:]).all()


def test_the_best_is_kept_and_clearly_bad_ones_are_stopped():
    rng = np.random.default_rng(2)
    lost, spared = 0, []
    for _ in range(40):
        out, done = race(rng.normal(size=(6, 8)) + np.r_[0, 0, 0, 8, 8, 8][:, None])
        lost += int(out[0])
        spared.append(1 - done)
    assert lost <= 4  # 5 % of 40 is 2
    assert np.mean(spared) > 0.15


def test_options_out_of_range_are_refused():
    with pytest.raises(InputError, match="alpha"):
        hopeless([[1.0, 2.0]], alpha=0)
    with pytest.raises(InputError, match="least"):
        hopeless([[1.0, 2.0]], least=1)
