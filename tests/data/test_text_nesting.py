"""Folds within folds: nothing that judges was chosen by, and no unit is on two sides."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.data.text_nesting import nest_texts
from heldout.data.text_splits import split_texts
from heldout.data.text_table import TextData

PARTS = ("train", "valid", "test")


def make_data(n=240, n_classes=3, seed=0, *, groups=None, time=False, n_train=None):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    texts = tuple(f"{number} reads like no other {number * 7} of {number + n}" for number in range(n))
    return TextData(
        texts,
        labels,
        tuple(f"c{k}" for k in range(n_classes)),
        None if groups is None else rng.integers(0, groups, n),
        np.sort(rng.integers(0, n, n)) if time else None,
        n if n_train is None else n_train,
    )


def nest(data, seed=0, **options):
    split = split_texts(data, n_folds=0, threshold=None, seed=seed)
    return split, *nest_texts(data, split, seed=seed, **options)


@given(
    n=st.integers(120, 400),
    seed=st.integers(0, 99),
    groups=st.sampled_from([None, 60]),
    time=st.booleans(),
    n_folds=st.integers(2, 5),
    outer=st.sampled_from([0.1, 0.25, 0.5]),
)
def test_no_row_and_no_unit_is_on_two_sides(n, seed, groups, time, n_folds, outer):
    data = make_data(n, 2, seed, groups=None if time else groups, time=time)
    split, inner, (last,) = nest(data, seed, n_folds=n_folds, outer=outer)
    units, sealed = split.units, split.folds[-1].test
    chosen_by = np.unique(np.concatenate([getattr(fold, part) for fold in inner for part in PARTS]))
    for fold in (*inner, last):
        sides = [set(units[getattr(fold, part)]) for part in PARTS]
        assert not any(a & b for a, b in combinations(sides, 2))
        assert not set(units[sealed]) & set.union(*sides)
    assert not set(units[last.test]) & set(units[chosen_by])
    assert set(chosen_by) <= {*last.train, *last.valid}
    assert [fold.name for fold in inner] == [f"inner {k}" for k in range(1, n_folds + 1)]
    assert last.name == "outer 1"


@given(n=st.integers(150, 400), seed=st.integers(0, 99))
def test_with_times_the_outer_test_is_later_than_all_that_is_chosen_by(n, seed):
    data = make_data(n, 2, seed, time=True)
    _, inner, (last,) = nest(data)
    assert data.time is not None
    for fold in inner:
        assert data.time[fold.test].max() < data.time[last.test].min()
        assert data.time[fold.train].max() < data.time[fold.test].min()
    ends = [data.time[fold.test].max() for fold in inner]
    assert ends == sorted(ends)


def test_parts_have_their_shares_of_every_class():
    data = make_data(800)
    split, inner, (last,) = nest(data)
    known = np.concatenate([split.folds[-1].train, split.folds[-1].valid])
    for rows, share in [(last.test, 0.25), *((fold.test, 0.75 / 4) for fold in inner)]:
        due = share * np.bincount(data.labels[known])
        assert np.abs(np.bincount(data.labels[rows]) - due).max() <= 2
    tested = np.concatenate([fold.test for fold in inner])
    assert sorted(tested) == sorted({*last.train, *last.valid}), "each row of the rest is tested once"


def test_a_test_table_is_left_alone_and_the_seed_decides():
    data = make_data(300, n_train=200)
    _, inner, outer = nest(data)
    assert all(getattr(fold, part).max() < 200 for fold in (*inner, *outer) for part in PARTS)
    same, other = nest(data)[1], nest_texts(data, nest(data)[0], seed=1)[0]
    assert all(np.array_equal(a.test, b.test) for a, b in zip(inner, same, strict=True))
    assert not all(np.array_equal(a.test, b.test) for a, b in zip(inner, other, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_folds": 1}, "n_folds must be"),
        ({"outer": 0}, "outer must be"),
        ({"valid_size": 1}, "valid_size must be"),
        ({"n_folds": 200}, "has no text left to"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(options, message):
    with pytest.raises(InputError, match=message):
        nest(make_data(60, 2), **options)
