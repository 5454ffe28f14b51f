from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from heldout.check import InputError
from heldout.studies.compare import block_t, fold_t, two_way
from heldout.studies.design import DESIGNS, compare
from heldout.studies.resampled import nadeau_bengio


def test_each_design_has_its_test():
    rng = np.random.default_rng(0)
    folds, table = rng.normal(size=(3, 8)), 0.1 + rng.normal(size=(4, 400))
    splits = {"n_train": 90, "n_test": 10}
    expected = {
        "t over folds": (compare(folds, design="folds"), fold_t(folds.mean(axis=0))),
        "t over blocks of time": (compare(table[0], design="span"), block_t(table[0])),
        "t over blocks of time and seeds": (compare(table, design="span"), two_way(table)),
        "t over samples": (compare(table[0], design="independent"), fold_t(table[0])),
        "t over samples and seeds": (compare(table, design="independent"), two_way(table, blocks=inf)),
        "corrected t over splits (Nadeau and Bengio)": (
            compare(folds[0], design="resamples", **splits),
            nadeau_bengio(folds[0], **splits),
        ),
    }
    for method, (found, test) in expected.items():
        assert (found.method, found.why_not) == (method, "")
        for name in ("mean", "low", "high", "se", "df", "p_value"):
            assert getattr(found, name) == pytest.approx(getattr(test, name)), (method, name)


@given(st.integers(0, 2**32 - 1), st.sampled_from(DESIGNS), st.integers(1, 3), st.floats(0.5, 0.99))
@settings(deadline=None, max_examples=30)
def test_the_sign_and_the_level_are_the_user_s(seed, design, n_seeds, level):
    table = np.random.default_rng(seed).normal(size=(n_seeds, 120))
    options = {"n_train": 90, "n_test": 10} if design == "resamples" else {}
    found, back = (compare(sign * table, design=design, level=level, **options) for sign in (1, -1))
    assert (found.mean, found.low, found.high) == pytest.approx((-back.mean, -back.high, -back.low))
    assert found.level == level
    assert found.method == back.method


def test_groups_count_once_and_large_ones_more():
    rng = np.random.default_rng(1)
    values = 0.3 + rng.normal(size=(2, 40))
    each = np.repeat(values, 5, axis=1)
    copies = compare(each, design="independent", groups=np.repeat(np.arange(40), 5))
    alone = compare(values, design="independent")
    assert copies.method == "t over groups and seeds"
    assert (copies.mean, copies.se, copies.df) == pytest.approx((alone.mean, alone.se, alone.df))
    sizes = rng.integers(1, 9, size=60)
    groups = np.repeat(np.arange(60), sizes)
    uneven = 0.5 + rng.normal(size=60)[groups] + rng.normal(size=sizes.sum())
    found = compare(uneven, design="independent", groups=groups)
    assert found.mean == pytest.approx(uneven.mean())
    members = [uneven[groups == group] for group in range(60)]
    draws = [np.concatenate([members[n] for n in rng.integers(0, 60, 60)]).mean() for _ in range(1500)]
    assert found.se == pytest.approx(np.std(draws), rel=0.12)


def test_its_level_holds_in_every_design():
    rng = np.random.default_rng(2)
    author = np.repeat(np.arange(50), 4)
    found = {name: [] for name in ("folds", "span", "independent", "groups", "resamples")}
    for _ in range(150):
        time = signal.lfilter([1], [1, -0.5], rng.normal(size=600))[100:]
        seeds = 0.05 * rng.normal(size=(4, 1))
        found["folds"].append(compare(rng.normal(size=(2, 6)), design="folds"))
        found["span"].append(compare(time + seeds + 0.3 * rng.normal(size=(4, 500)), design="span"))
        found["independent"].append(compare(rng.standard_t(5, size=100), design="independent"))
        alike = rng.normal(size=50)[author] + rng.normal(size=200)
        found["groups"].append(compare(alike, design="independent", groups=author))
        shuffled = rng.permuted(np.tile(rng.normal(size=100), (10, 1)), axis=1).reshape(100, 10).mean(axis=1)
        found["resamples"].append(compare(shuffled, design="resamples", n_train=90, n_test=10))
    for name, intervals in found.items():
        assert np.mean([interval.p_value < 0.05 for interval in intervals]) < 0.05 + 3 * 0.0178, name
        assert all(interval.enough for interval in intervals) or name == "span"


def test_where_no_test_is_valid_it_says_why_and_decides_nothing():
    rng = np.random.default_rng(3)
    walk = signal.lfilter([1], [1, -0.9], rng.normal(size=160))[100:]
    refused = {
        "under 100 moments": compare(walk, design="span"),
        "no 4 independent blocks fit into 250 moments": compare(
            np.cumsum(rng.normal(size=250)), design="span"
        ),
        "under 20 samples": compare(rng.normal(size=19), design="independent"),
        "under 20 groups": compare(rng.normal(size=90), design="independent", groups=np.arange(90) % 9),
        "a single fold": compare(rng.normal(size=(3, 1)), design="folds"),
        "a single split": compare([0.2], design="resamples", n_train=9, n_test=1),
    }
    for why, found in refused.items():
        assert why in found.why_not
        assert (found.enough, found.low, found.high, found.p_value) == (False, -inf, inf, 1.0)
        assert np.isfinite(found.mean)


def test_what_is_wrong_is_said():
    with pytest.raises(InputError, match=r"design must be one of .* got 'fold' \(did you mean 'folds'\?\)"):
        compare([1.0, 2.0], design="fold")
    with pytest.raises(InputError, match="groups is for design='independent', got design='span'"):
        compare(np.zeros(200), design="span", groups=np.zeros(200))
    with pytest.raises(InputError, match="n_test is for design='resamples'"):
        compare(np.zeros(5), design="folds", n_test=3)
    with pytest.raises(InputError, match="needs n_train and n_test"):
        compare(np.zeros(5), design="resamples", n_train=3)
    with pytest.raises(InputError, match="differences must be finite, got 1 missing"):
        compare([1.0, np.nan], design="folds")
    for wrong in ([], np.zeros((2, 2, 2))):
        with pytest.raises(InputError, match=r"the shape \(n,\) or \(n_seeds, n\)"):
            compare(wrong, design="folds")
