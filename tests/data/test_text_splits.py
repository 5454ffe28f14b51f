"""Splits of texts: nothing that hangs together is torn apart, and every part has its share of every class."""

import gzip
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from heldout.check import InputError
from heldout.data.near_texts import near_duplicates
from heldout.data.text_splits import deal, split_texts
from heldout.data.text_table import TextData

FEW = settings(max_examples=20, deadline=None)
WORDS = [f"w{k}" for k in range(60)]


def shingles(text):
    words = text.lower().replace("!", " ").split()
    return {tuple(words[k : k + 3]) for k in range(max(len(words) - 2, 1))} if words else set()


def near_pairs(texts, threshold):
    """Compare every pair."""
    held = [shingles(text) for text in texts]
    return [
        (a, b)
        for a, b in combinations(range(len(texts)), 2)
        if (both := len(held[a] & held[b])) and both >= threshold * len(held[a] | held[b])
    ]


def make_texts(rng, n, share=0.4):
    """Texts of which about this share are others with words changed, cut off or added."""
    texts = []
    for _ in range(n):
        words = list(rng.choice(WORDS, size=rng.integers(1, 25)))
        if texts and rng.random() < share:
            words = texts[rng.integers(len(texts))].split()
            for _ in range(rng.integers(0, 3)):
                words[rng.integers(len(words))] = str(rng.choice(WORDS))
            words = words[rng.integers(0, 2) :] or ["w0"]
        texts.append(" ".join(words))
    return texts


def make_data(seed, n, n_classes=3, *, n_groups=None, timed=False, n_test=0, share=0.2):
    rng = np.random.default_rng(seed)
    labels = rng.choice(n_classes, size=n, p=np.arange(1, n_classes + 1) / sum(range(n_classes + 1)))
    labels[-2 * n_classes :] = np.tile(np.arange(n_classes), 2)
    return TextData(
        tuple(make_texts(rng, n, share)),
        labels,
        tuple("abcdefgh"[:n_classes]),
        None if n_groups is None else rng.integers(0, n_groups, n),
        rng.integers(0, n, n) if timed else None,
        n - n_test,
    )


def parts_of(fold):
    return fold.train, fold.valid, fold.test


@given(st.integers(0, 10**6), st.sampled_from([0.3, 0.5, 0.75, 0.8, 0.9, 1.0]))
@FEW
def test_the_sets_are_those_of_comparing_every_pair(seed, threshold):
    texts = make_texts(np.random.default_rng(seed), 60)
    sets = near_duplicates(texts, threshold=threshold)
    expected = np.arange(60)
    for a, b in near_pairs(texts, threshold):
        expected[expected == expected[b]] = expected[a]
    same = expected[:, None] == expected
    assert np.array_equal(sets[:, None] == sets, same)
    assert np.array_equal(
        np.unique(sets, return_index=True)[1], np.sort(np.unique(sets, return_index=True)[1])
    )


def test_case_and_marks_do_not_count_and_texts_without_words_are_near_to_none():
    texts = [
        "Call me NOW, please!",
        "call me now please",
        "Ok",
        "ok!",
        "OK then",
        "",
        "",
        "!!!",
        "Ｃall me now please",
    ]
    assert near_duplicates(texts).tolist() == [0, 0, 1, 1, 2, 3, 4, 5, 0]
    assert near_duplicates([]).tolist() == []
    with pytest.raises(InputError, match=r"threshold must be in \(0, 1\]"):
        near_duplicates(texts, threshold=0)


@given(
    seed=st.integers(0, 10**6),
    n=st.integers(80, 150),
    n_groups=st.none() | st.integers(30, 100),
    n_folds=st.sampled_from([0, 2, 3, 5]),
    test_size=st.floats(0.1, 0.4),
    timed=st.booleans(),
    n_test=st.sampled_from([0, 25]),
)
@FEW
def test_no_group_and_no_near_pair_is_on_two_sides(seed, n, n_groups, n_folds, test_size, timed, n_test):
    data = make_data(seed, n, n_groups=n_groups, timed=timed, n_test=n_test)
    try:
        split = split_texts(data, n_folds=n_folds, test_size=test_size, seed=seed)
    except InputError as error:
        assert n_groups is not None or timed, error  # the groups fill the parts  # noqa: PT017 - some draws are refused
        return
    near = near_pairs(data.texts, 0.8)
    assert len(split.folds) == n_folds + 1
    for fold in split.folds:
        side = np.full(n, -1)
        for part, rows in enumerate(parts_of(fold)):
            assert len(rows)
            assert (side[rows] == -1).all()
            assert (np.diff(rows) > 0).all()
            side[rows] = part
        kept = [(a, b) for a, b in near if side[a] >= 0 and side[b] >= 0]
        assert all(side[a] == side[b] for a, b in kept)
        if n_groups is not None:
            for group in range(n_groups):
                assert len(np.unique(side[(data.group == group) & (side >= 0)])) <= 1
        assert (
            fold is split.folds[-1] or not np.isin(split.folds[-1].test, np.concatenate(parts_of(fold))).any()
        )
    if n_test:
        assert split.folds[-1].test.tolist() == list(range(n - n_test, n))


@given(
    st.integers(0, 10**6), st.integers(60, 200), st.sampled_from([2, 3, 5]), st.none() | st.integers(30, 50)
)
@FEW
def test_every_row_is_tested_in_one_fold_and_all_rows_are_used(seed, n, n_folds, n_groups):
    threshold = 0.8 if n_groups is None else None  # chains of near texts would join most groups
    split = split_texts(
        make_data(seed, n, n_groups=n_groups), n_folds=n_folds, threshold=threshold, seed=seed
    )
    tests = np.concatenate([fold.test for fold in split.folds])
    assert np.sort(tests).tolist() == list(range(n))
    outside = n - len(split.folds[-1].test)
    for fold in split.folds:
        assert sum(map(len, parts_of(fold))) == (n if fold is split.folds[-1] else outside)


@given(st.integers(0, 10**6), st.integers(60, 200))
@FEW
def test_with_times_later_rows_judge_and_one_moment_is_not_cut(seed, n):
    data = make_data(seed, n, timed=True, share=0.05)
    try:
        split = split_texts(data, n_folds=2, seed=seed)
    except InputError as error:
        assert "nearly" in str(error) or "train on" in str(error)  # noqa: PT017 - chains of near texts
        return
    for fold in split.folds:
        train, valid, test = (data.time[rows] for rows in parts_of(fold))
        assert train.max() < valid.min()
        assert valid.max() < test.min()
    sealed = data.time[split.folds[-1].test].min()
    assert set(split.folds[-1].test) == set(np.flatnonzero(data.time >= sealed))
    other = split_texts(data, n_folds=2, seed=seed + 1)
    pairs = zip(split.folds, other.folds, strict=True)
    assert all(
        np.array_equal(a, b) for one, two in pairs for a, b in zip(parts_of(one), parts_of(two), strict=True)
    )


@given(st.integers(0, 10**6), st.integers(60, 300), st.integers(2, 6), st.integers(2, 10))
@FEW
def test_without_larger_units_classes_are_dealt_as_evenly_as_scikit_learn_does(seed, n, n_classes, n_folds):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.repeat(np.arange(n_classes), n_folds), rng.integers(0, n_classes, n)])
    part = deal(labels, np.arange(len(labels)), (1 / n_folds,) * n_folds, rng)
    ours = np.array([np.bincount(labels[part == k], minlength=n_classes) for k in range(n_folds)])
    theirs = np.array(
        [
            np.bincount(labels[test], minlength=n_classes)
            for _, test in StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(labels, labels)
        ]
    )
    assert np.array_equal(np.sort(ours, axis=0), np.sort(theirs, axis=0))
    assert np.ptp(ours.sum(1)) <= max(np.ptp(theirs.sum(1)), 1)


@given(st.integers(0, 10**6), st.integers(2, 4), st.sampled_from([3, 5]), st.integers(20, 80))
@FEW
def test_with_groups_class_shares_are_no_further_off_than_those_of_scikit_learn(
    seed, n_classes, n_folds, n_groups
):
    rng = np.random.default_rng(seed)
    group = rng.choice(n_groups, size=400, p=rng.dirichlet(np.ones(n_groups)))
    labels = np.where(rng.random(400) < 0.5, group % n_classes, rng.integers(0, n_classes, 400))
    part = deal(labels, group, (1 / n_folds,) * n_folds, rng)
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed % 2**32)

    def furthest(tests):
        counts = np.array([np.bincount(labels[test], minlength=n_classes) for test in tests])
        return np.abs(counts / np.maximum(counts.sum(0), 1) - 1 / n_folds).max()

    ours = furthest([part == k for k in range(n_folds)])
    theirs = furthest([test for _, test in splitter.split(labels, labels, group)])
    largest = max(
        (np.bincount(group[labels == c]) / max((labels == c).sum(), 1)).max() for c in range(n_classes)
    )
    assert ours <= max(theirs, largest) + 0.05


@given(st.integers(0, 10**6), st.floats(0.05, 0.9))
@FEW
def test_parts_of_any_share_get_it_of_every_class(seed, share):
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, size=300, p=[0.7, 0.2, 0.1])
    units = np.where(rng.random(300) < 0.3, rng.integers(0, 30, 300), np.arange(300) + 30)
    part = deal(labels, units, (1 - share, share), rng)
    for label in range(3):
        due = share * (labels == label).sum()
        biggest = max(np.bincount(units[labels == label]))
        assert abs((part[labels == label] == 1).sum() - due) <= max(1, 2 * biggest)


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    data = make_data(0, 200)
    one, two, other = (split_texts(data, seed=seed) for seed in (3, 3, 4))
    for a, b in zip(one.folds, two.folds, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(parts_of(a), parts_of(b), strict=True))
    assert not np.array_equal(one.folds[-1].test, other.folds[-1].test)


def test_what_is_kept_together_and_what_is_rare_is_said():
    data = make_data(1, 100, 2, share=0)
    data = replace(data, texts=(*data.texts[:95], *["one text that is here again and again"] * 5))
    labels = np.where(np.arange(100) < 3, 2, data.labels)
    split = split_texts(replace(data, labels=labels, classes=("a", "b", "rare")), n_folds=5)
    assert (
        "5 of 100 texts are nearly equal to another, in 1 set; each set is kept on one side" in split.notes[0]
    )
    assert any("less than two rows for each of 6 test parts: 'rare' (3)" in note for note in split.notes)
    quiet = split_texts(data, threshold=None)
    assert len(np.unique(quiet.units)) == 100
    assert quiet.notes == ()
    grouped = split_texts(replace(data, group=np.arange(100) // 30), n_folds=0)
    assert any("30 of 100 texts must stay together" in note for note in grouped.notes)


def test_a_class_that_a_fold_never_trains_on_is_said():
    data = replace(make_data(1, 100, 2, share=0), classes=("a", "b", "rare"))
    labels, group = np.where(np.arange(100) < 4, 2, data.labels), np.maximum(np.arange(100), 3)
    split = split_texts(replace(data, labels=labels, group=group), n_folds=3)
    assert any("judges classes that none of its training rows has: 'rare'" in note for note in split.notes)


def test_training_texts_near_a_given_test_are_left_out_and_counted():
    data = make_data(2, 120, n_test=20, share=0)
    data = replace(data, texts=(*data.texts[:118], "unlike any other", data.texts[7]))
    split = split_texts(data)
    used = np.concatenate([rows for fold in split.folds for rows in parts_of(fold)])
    assert 7 not in used
    assert any(note.startswith("1 text is left out") for note in split.notes)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"labels": None}, {}, "only with labels"),
        ({"labels": np.zeros(60, int)}, {}, "two classes at least, but all 60 are 'a'"),
        (
            {"labels": np.array([2] + [0, 1] * 29 + [0])},
            {},
            "every class must have two rows at least, .* c has one",
        ),
        ({"group": np.zeros(60, int)}, {}, "no text left to"),
        ({"time": np.zeros(60, int)}, {}, "no text left to"),
        (
            {"time": np.arange(60), "labels": np.arange(60) // 50},
            {},
            "fold 1 would train on the class 'a' alone",
        ),
        ({}, {"n_folds": 1}, "n_folds must be 2 or more, or 0"),
        ({}, {"test_size": 0}, "test_size must be in"),
        ({}, {"valid_size": 1}, "valid_size must be in"),
    ],
)
def test_what_cannot_be_split_is_refused(change, options, message):
    with pytest.raises(InputError, match=message):
        split_texts(replace(make_data(0, 60, share=0), **change), **options)


def test_real_messages_hold_near_duplicates_and_none_is_torn_apart(shared):
    lines = (
        gzip.decompress((shared / "text/sms_spam/SMSSpamCollection.gz").read_bytes()).decode().splitlines()
    )
    labels, texts = zip(*(line.split("\t", 1) for line in lines), strict=True)
    spam = (np.array(labels) == "spam").astype(int)
    data = TextData(texts, spam, ("ham", "spam"), None, None, len(texts))
    split = split_texts(data, n_folds=3)
    sizes = np.bincount(split.units)
    assert (sizes[sizes > 1].sum(), (sizes > 1).sum()) == (842, 338)
    for fold in split.folds:
        assert not np.isin(
            split.units[fold.test], split.units[np.concatenate([fold.train, fold.valid])]
        ).any()
        for rows in parts_of(fold):
            assert abs(spam[rows].mean() - spam.mean()) < 0.005
