"""Checks of texts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.data.audit.duplicates import check_conflicts, check_duplicates, find_copies
from heldout.data.audit.overlap import Parts
from heldout.data.audit.shift import check_text_shift
from heldout.data.audit.texts import (
    check_balance,
    check_empty,
    check_giveaway,
    check_order,
    check_sorted,
    check_unnamed_groups,
)
from heldout.data.text_table import TextData
from tests.data.audit.tables import words

RNG = np.random.default_rng(0)
FRAME = words(RNG, 200)


def data_of(texts, labels, **parts):
    parts = {"group": None, "time": None} | parts
    return TextData(tuple(texts), np.asarray(labels), ("bad", "good"), n_train=len(texts), **parts)


def plain(n=200):
    return data_of(FRAME["text"][:n].to_list(), (FRAME["label"][:n] == "good").cast(int).to_numpy())


@given(seed=st.integers(0, 10**6), n=st.integers(1, 30))
@settings(max_examples=15, deadline=None)
def test_a_planted_copy_is_found_whatever_its_case_and_marks(seed, n):
    rng = np.random.default_rng(seed)
    texts = [t + f" number {k}" for k, t in enumerate(plain().texts)]
    train, test = np.arange(100), np.arange(100, 200)
    copied = rng.choice(test, n, replace=False)
    for row in copied:
        texts[row] = f"  {texts[rng.integers(100)].upper().replace(' ', '  ')}!"
    data = data_of(texts, plain().labels)
    found = check_duplicates(
        data, find_copies(texts, quick=True), [Parts(name="x", train=train, test=test)], quick=True
    )
    assert found.is_leak
    assert found.n_rows == n
    assert [int(row.split(":")[0].split()[1]) for row in found.rows] == sorted(copied.tolist())[:20]


def test_a_text_with_one_word_changed_is_nearly_equal():
    long = " ".join(f"w{k}" for k in range(60))
    found = find_copies([long, long.replace("w30", "other"), long.replace("w1 ", "x ") + " y"])
    assert found.equal.tolist() == [0, 1, 2]
    assert found.near.tolist() == [0, 0, 0]


def test_short_texts_that_are_alike_are_counted_but_no_leak():
    texts = [
        "really great quality",
        "really great qualitys",
        *(f"{w} something else here" for w in "abcdefgh"),
    ]
    data = data_of(texts, [0, 1] * 5)
    parts = [Parts(name="x", train=np.arange(1, 10), test=np.array([0]))]
    found = check_duplicates(data, find_copies(texts), parts)
    assert (found.status, found.n_rows, found.rows) == ("PASS", 1, ("row 0: really great quality",))


def test_texts_without_words_are_no_copies_of_each_other():
    texts = ["", "!!!", "?", "..."] * 5
    parts = [Parts(name="x", train=np.arange(10), test=np.arange(10, 20))]
    assert check_duplicates(data_of(texts, [0, 1] * 10), find_copies(texts), parts).status == "PASS"
    assert check_empty(data_of(texts, [0, 1] * 10)).failed


def test_what_copies_are_worth_is_measured_on_the_others():
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{k}" for k in rng.integers(0, 5000, 12)) for _ in range(200)]
    labels = rng.integers(0, 2, 200)  # nothing to learn but by heart
    texts[150:], labels[150:] = texts[:50], labels[:50]
    parts = [Parts(name="x", train=np.arange(100), test=np.arange(100, 200))]
    found = check_duplicates(data_of(texts, labels), find_copies(texts), parts)
    assert found.figures["accuracy"] > found.figures["accuracy_without_copies"] + 0.1


def test_equal_texts_with_two_labels_bound_what_can_be_right():
    data = data_of(["Fine.", "fine", "FINE!", "bad", "other"], [1, 1, 0, 0, 0])
    found = check_conflicts(data, find_copies(data.texts, quick=True))
    assert found.n_rows == 3
    assert found.figures["irreducible_error"] == pytest.approx(1 / 5)
    assert found.rows[2] == "row 2: FINE! [bad]"


def test_a_header_with_the_label_is_found_and_common_words_are_not():
    data = plain()
    every = np.arange(len(data))
    assert check_giveaway(data, every).status == "PASS"
    marked = [f"id{label} {text}" for label, text in zip(data.labels, data.texts, strict=True)]
    found = check_giveaway(data_of(marked, data.labels), every)
    assert found.is_leak
    assert found.n_rows == 2


def test_rows_sorted_by_label_are_seen_and_shuffled_ones_are_not():
    data = plain()
    assert check_sorted(data).status == "PASS"
    assert check_sorted(data_of(data.texts, np.sort(data.labels))).failed


def test_later_texts_must_not_train():
    time = np.arange(200)
    data = data_of(plain().texts, plain().labels, time=time)
    later = Parts(name="x", train=np.arange(100), test=np.arange(100, 200))
    mixed = Parts(name="x", train=np.arange(0, 200, 2), test=np.arange(1, 200, 2))
    assert check_order(data, [later]).status == "PASS"
    assert check_order(data, [mixed]).n_rows == 99
    assert check_order(plain(), [mixed]).status == "NOT RUN"


def test_a_column_that_tells_the_label_by_its_like_is_named():
    labels = plain().labels
    author = labels * 30 + np.arange(200) % 30  # each writes texts of one label
    found = check_unnamed_groups(
        {"author": author.tolist(), "row": list(range(200)), "day": (np.arange(200) % 7).tolist()}, labels
    )
    assert list(found.figures) == ["author"]
    assert found.kind == "hint"


def test_rare_classes_are_named():
    data = data_of(plain().texts, [1] * 5 + [0] * 195)
    assert check_balance(data).rows == ("'good': 5 texts",)
    assert check_balance(plain()).status == "PASS"


def test_other_words_in_the_test_are_a_shift():
    texts = plain().texts
    train, test = np.arange(100), np.arange(100, 200)
    assert not check_text_shift(texts, train, test, np.random.default_rng(0)).failed
    other = [*texts[:100], *(f"{text} newword{len(text) % 5}" for text in texts[100:])]
    found = check_text_shift(other, train, test, np.random.default_rng(0))
    assert (found.failed, found.kind) == (True, "hint")


def test_missing_texts_of_one_class_tell_it():
    texts = ["" if k % 2 and k < 80 else f"word{k}" for k in range(200)]
    labels = np.array([k % 2 for k in range(200)])
    found = check_empty(data_of(texts, labels))
    assert found.kind == "fault"
    assert "tells its class" in found.message
