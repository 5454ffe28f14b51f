import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.multitest import multipletests

from heldout.check import InputError
from heldout.studies.compare import fold_t
from heldout.studies.selection import RULES, choose, worse


def slowly(losses, sizes, rule):
    """The rules once more, by scipy and by hand, for tables without holes."""
    n = len(losses)
    best = min(range(n), key=lambda i: (losses[i].mean(), sizes[i], i))
    good = [best]
    p = {}
    for i in range(n):
        d = losses[i] - losses[best]
        if i == best:
            continue
        if d.std() == 0:
            p[i] = 0.0 if d.mean() > 0 else 1.0
            ok = d.mean() <= 0
        else:
            p[i] = stats.ttest_1samp(d, 0, alternative="greater").pvalue
            ok = d.mean() <= d.std(ddof=1) / np.sqrt(len(d))
        if rule == "1-SE" and ok:
            good.append(i)
    if rule == "simplest":
        order, refused = sorted(p, key=p.get), True
        for rank, i in enumerate(order):  # Holm: stop at the first that is not refused
            refused = refused and p[i] * (len(order) - rank) <= 0.05
            if not refused:
                good.append(i)
    return best, min(good, key=lambda i: (sizes[i], losses[i].mean(), i))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(2, 6), st.sampled_from(RULES))
def test_each_rule_is_what_it_says(seed, n, folds, rule):
    rng = np.random.default_rng(seed)
    losses = rng.normal(size=(n, folds)) * 0.3 + rng.normal(size=folds) * 3 + np.linspace(0, 1, n)[:, None]
    sizes = rng.integers(1, 5, size=n) * 100
    found = choose(losses, sizes, rule=rule)
    assert (found.best, found.chosen) == slowly(losses, sizes, rule)
    assert found.differences[found.best].mean == found.se[found.best] == 0


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, (4, 3), elements=st.floats(0, 10)))
def test_the_choice_is_never_larger_than_the_best_and_never_beyond_one_standard_error(losses):
    sizes = [40, 30, 20, 10]
    found = choose(losses, sizes)
    assert sizes[found.chosen] <= sizes[found.best]
    assert found.differences[found.chosen].mean <= found.se[found.chosen]


def test_how_hard_a_fold_is_does_not_change_the_choice():
    rng = np.random.default_rng(0)
    losses = rng.normal(size=(5, 4))
    harder = losses + np.array([0, 10, 20, 30])
    assert choose(losses, range(5)).chosen == choose(harder, range(5)).chosen


def test_equal_candidates_go_by_size_then_loss_then_order():
    same = np.ones((3, 4))
    assert choose(same, [5, 3, 3]).chosen == 1
    assert choose(same, [5, 3, 3], rule="best").chosen == 1
    close = [[1.0, 2.0], [1.5, 1.6], [1.4, 1.6]]
    assert choose(close, [9, 3, 3]).chosen == 2


def test_a_stopped_candidate_is_compared_on_its_folds_and_never_chosen():
    losses = [[1.0, 1.2, 1.1, 1.0], [1.1, 1.2, np.nan, np.nan], [np.nan] * 4]
    found = choose(losses, [100, 1, 1])
    assert (found.best, found.chosen) == (0, 0)
    assert found.differences[1].mean == pytest.approx(0.05)
    assert found.means[1] == pytest.approx(1.15)
    assert np.isnan(found.means[2])
    assert not found.differences[2].enough


def test_rules_refuse_what_they_cannot_judge():
    with pytest.raises(InputError, match=r"needs 2 folds or more.*rule='best'"):
        choose([[1.0], [2.0]], [1, 2])
    assert choose([[1.0], [2.0]], [1, 2], rule="best").chosen == 0
    with pytest.raises(InputError, match="a loss on every fold, got none"):
        choose([[1.0, np.nan], [np.nan, 1.0]], [1, 2])
    with pytest.raises(InputError, match="one number of parameters for each of 2"):
        choose([[1.0, 2.0], [1.0, 2.0]], [1, 2, 3])
    with pytest.raises(InputError, match="did you mean 'simplest'"):
        choose([[1.0, 2.0]], [1], rule="simple")
    with pytest.raises(InputError, match="candidates x folds"):
        choose([1.0, 2.0], [1, 2])


def test_p_values_are_corrected_as_statsmodels_does():
    rng = np.random.default_rng(0)
    tables = [rng.normal(size=5) + shift for shift in (0, 3, 1, 1, -2)]
    one_sided = [stats.ttest_1samp(row, 0, alternative="greater").pvalue for row in tables]
    found = worse(tuple(fold_t(row) for row in tables))
    assert found == pytest.approx(multipletests(one_sided, method="holm")[1])
    assert worse(()).shape == (0,)
