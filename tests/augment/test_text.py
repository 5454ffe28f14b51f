"""Each operation changes what it says and nothing else, and the guard lets pass what it says."""

import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.augment.synonyms import INTENSIFIERS, NEGATIONS, NUMBERS, is_protected
from heldout.augment.text import (
    MARKS,
    Guard,
    insert_punctuation,
    random_deletion,
    random_insertion,
    random_swap,
    synonym_replacement,
    token_dropout,
)
from heldout.check import InputError

LEXICON = {
    "good": ["fine", "nice"],
    "film": ["movie", "motion picture"],
    "bad": ["not good", "very poor", "awful"],
}
WORDS = st.lists(
    st.sampled_from(["good", "film", "bad", "the", "not", "very", "7", "sky", "n't", "don't"]), max_size=30
)
SEEDS = st.integers(0, 2**32)
OPERATIONS = {
    "sr": lambda words, rng: synonym_replacement(words, LEXICON, 3, rng),
    "ri": lambda words, rng: random_insertion(words, LEXICON, 3, rng),
    "rs": lambda words, rng: random_swap(words, 3, rng),
    "rd": lambda words, rng: random_deletion(words, 0.6, rng),
    "aeda": lambda words, rng: insert_punctuation(words, rng),
    "unk": lambda words, rng: token_dropout(words, 0.6, rng),
}


def is_subsequence(short, long):
    rest = iter(long)
    return all(word in rest for word in short)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@given(words=WORDS, seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_an_operation_is_pure_reproducible_and_never_empty(operation, words, seed):
    before = list(words)
    given = tuple(words)
    once = operation(given, np.random.default_rng(seed))
    assert once == operation(words, np.random.default_rng(seed))
    assert words == before
    assert bool(once) == bool(words)
    assert all(isinstance(word, str) and word for word in once)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@given(words=WORDS, seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_protected_words_stay_and_none_comes_in(operation, words, seed):
    after = operation(words, np.random.default_rng(seed))
    assert [w for w in after if is_protected(w)] == [w for w in words if is_protected(w)]


@given(words=WORDS, seed=SEEDS, n=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_replacement_puts_one_substitute_of_up_to_n_words_at_all_their_places(words, seed, n):
    after = synonym_replacement(words, LEXICON, n, np.random.default_rng(seed))
    allowed = {"good": ["fine", "nice"], "film": ["movie", "motion picture"], "bad": ["awful"]}
    able = [word for word in allowed if word in words]
    outcomes = [{}]
    for word in able:
        outcomes += [{**outcome, word: choice} for outcome in outcomes for choice in allowed[word]]
    outcomes = [o for o in outcomes if len(o) == min(n, len(able))]
    assert " ".join(after) in {" ".join(o.get(word, word) for word in words) for o in outcomes}


def test_every_substitute_is_drawn_about_equally_often():
    rng = np.random.default_rng(0)
    drawn = Counter(synonym_replacement(["good"], LEXICON, 1, rng)[0] for _ in range(2000))
    assert set(drawn) == {"fine", "nice"}
    assert abs(drawn["fine"] - 1000) < 4 * np.sqrt(500)


def test_words_are_looked_up_as_written_and_then_in_lower_case():
    rng = np.random.default_rng(0)
    assert synonym_replacement(["Film"], {"film": ["movie"]}, 1, rng) == ["movie"]
    assert synonym_replacement(["US"], {"US": ["America"], "us": ["them"]}, 1, rng) == ["US"]  # a stop word
    assert synonym_replacement(["IT", "The"], {"it": ["x"], "the": ["y"]}, 2, rng) == ["IT", "The"]


@given(words=WORDS, seed=SEEDS, n=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_insertion_adds_n_substitutes_and_leaves_what_follows_a_protected_word(words, seed, n):
    single = {word: [c for c in choices if " " not in c] for word, choices in LEXICON.items()}
    after = random_insertion(words, single, n, np.random.default_rng(seed))
    able = any(word in single for word in words)
    assert len(after) == len(words) + (n if able else 0)
    assert is_subsequence(words, after)
    added = Counter(after) - Counter(words)
    assert set(added) <= {c for word in words for c in single.get(word, ())}
    follows = [(a, b) for a, b in pairwise(words) if is_protected(a)]
    assert [(a, b) for a, b in pairwise(after) if is_protected(a)] == follows


def test_insertion_reaches_every_place():
    rng = np.random.default_rng(0)
    places = Counter(
        random_insertion(["film", "sky"], {"film": ["movie"]}, 1, rng).index("movie") for _ in range(300)
    )
    assert set(places) == {0, 1, 2}


@given(words=WORDS, seed=SEEDS, n=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_swap_moves_at_most_two_words_each_time(words, seed, n):
    after = random_swap(words, n, np.random.default_rng(seed))
    assert sorted(after) == sorted(words)
    assert sum(a != b for a, b in zip(words, after, strict=True)) <= 2 * n


def test_one_swap_always_changes_a_text_of_different_words():
    pairs = Counter(
        tuple(random_swap(["a", "b", "c"], 1, np.random.default_rng(seed))) for seed in range(600)
    )
    assert set(pairs) == {("b", "a", "c"), ("c", "b", "a"), ("a", "c", "b")}
    assert max(pairs.values()) < 260


def test_deletion_and_dropout_take_the_share_asked_for():
    words = ["film"] * 4000
    rng = np.random.default_rng(0)
    assert abs(len(random_deletion(words, 0.1, rng)) / 4000 - 0.9) < 0.02
    assert abs(token_dropout(words, 0.1, rng).count("[UNK]") / 4000 - 0.1) < 0.02
    assert random_deletion(words, 0.0, rng) == token_dropout(words, 0.0, rng) == words
    assert token_dropout(["film", "sky"], 0.999, rng, unknown="?").count("?") == 1


@given(words=st.lists(st.sampled_from(["good", "film", "not"]), min_size=1, max_size=40), seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_aeda_adds_one_to_a_third_marks_before_different_words(words, seed):
    after = insert_punctuation(words, np.random.default_rng(seed))
    assert [word for word in after if word not in MARKS] == words
    assert 1 <= len(after) - len(words) <= max(1, len(words) / 3)
    assert after[-1] not in MARKS
    assert all(a not in MARKS or b not in MARKS for a, b in pairwise(after))


def test_aeda_draws_every_number_and_every_mark():
    rng = np.random.default_rng(0)
    drawn = [insert_punctuation(["x"] * 12, rng) for _ in range(400)]
    assert {len(text) - 12 for text in drawn} == {1, 2, 3, 4}
    assert {word for text in drawn for word in text} == {"x", *MARKS}
    assert len(insert_punctuation(["x", "y"], rng, alpha=1.0)) in (3, 4)


@pytest.mark.parametrize(
    "word", ["NOT", "Didn't", "didn’t", "n't", "very", "Seven", "3rd", "$9.99", "never!"]
)
def test_negations_intensifiers_and_numbers_are_protected(word):
    assert is_protected(word)


def test_the_lists_are_plain_words():
    for word in NEGATIONS | INTENSIFIERS | NUMBERS:
        assert word == word.lower().strip()
        assert is_protected(word)
    assert not any(map(is_protected, ["good", "nothingness", "film", "wanton", "", "."]))


def test_the_same_seed_gives_the_same_text_in_another_process():
    code = (
        "import numpy as np; from heldout.augment.text import *; rng = np.random.default_rng(3); w = 'a good film of a bad sky here'.split(); "
        "lex = {'good': ['fine', 'nice'], 'film': ['movie'], 'bad': ['awful', 'poor']}; "
        "print(synonym_replacement(w, lex, 2, rng), random_insertion(w, lex, 2, rng), insert_punctuation(w, rng))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def by_word(word):
    """A model that gives class 1 to texts with a word in it, surely."""
    return lambda texts: np.array([[0.1, 0.9] if word in text else [0.9, 0.1] for text in texts])


def test_the_guard_drops_what_lost_its_label():
    texts = [["good", "film"], ["bad", "film"], ["good", "sky"]]
    guard = Guard(texts, np.array([1, 0, 0]), probabilities=by_word("good"))
    variants = [["film"], ["good", "movie"], ["bad", "good"], ["bad", "movie"], ["sky"], ["good"]]
    source = np.array([0, 0, 1, 1, 2, 2])
    # The model never gave the third text its label, so that it cannot be lost.
    assert guard.reasons(variants, source) == ["label lost", "", "label lost", "", "", ""]


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [(0.9, 0.55, "label lost"), (0.9, 0.65, ""), (0.55, 0.45, "label lost"), (0.45, 0.1, "label lost"), (0.4, 0.2, ""), (1.0, 1.0, ""), (1.0, 0.75, "")],
)  # fmt: skip
def test_the_guard_goes_by_the_label_and_by_the_fall(before, after, reason):
    share = {"a": before, "b": after}
    model = lambda texts: np.array([[1 - share[text[0]], share[text[0]]] for text in texts])  # noqa: E731 - one line says it
    guard = Guard([["a"]], np.array([1]), probabilities=model)
    assert guard.reasons([["b"]], np.array([0])) == [reason]


def test_the_guard_drops_held_out_texts_whatever_their_case_and_marks():
    guard = Guard([["a", "b"]], np.array([0]), held=[["A", "Good", "Film", "!"], ["..."]])
    variants = [["a", ",", "good", "film"], ["good", "film"], ["a good film."], ["..."], ["!"], []]
    assert guard.reasons(variants, np.zeros(6, dtype=int)) == ["held out", "", "held out", "held out", "", ""]


def test_the_guard_says_what_does_not_fit():
    with pytest.raises(InputError, match="labels must be one per text, got 1 for 2 texts"):
        Guard([["a"], ["b"]], np.array([0]))
    with pytest.raises(
        InputError, match=r"a column per class, got shape \(1, 2\) for 1 texts with labels 2 to 2"
    ):
        Guard([["a"]], np.array([2]), probabilities=by_word("a"))
    with pytest.raises(InputError, match=r"max_fall must be in \[0, 1\], got 2"):
        Guard([["a"]], np.array([0]), max_fall=2)
