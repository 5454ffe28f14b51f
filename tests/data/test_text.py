"""Texts: what is learned comes from training texts, and padding changes nothing."""

import gzip
import json
import pickle
import re
import unicodedata
from collections import Counter

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from heldout.check import InputError
from heldout.data.text import (
    PAD,
    SPECIAL,
    UNK,
    WORD,
    Vocabulary,
    check_texts,
)
from heldout.data.token_batches import batches, replace_rare
from heldout.nn.lstm import LSTM

TEXTS = [
    "The film was good, really good!",
    "It wasn't good.",
    "The worst film of 1999...",
    "Don't. Just don't.",
]
LETTERS = st.text(alphabet="ab n't'\u2019sé.!?5,AＡﬁ日", max_size=25)
FEW = settings(max_examples=60, deadline=None)


def slow_words(text, *, lower=True):
    plain = unicodedata.normalize("NFKC", text).replace("\u2019", "'")
    return [match.group() for match in re.finditer(WORD, plain.lower() if lower else plain)]


ODD = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from([*" \u00a0\u0301\u2019'nt\x1c\n\u3000"]),
    max_size=25,
)


@given(st.lists(ODD, max_size=5), st.booleans())
@settings(max_examples=300, deadline=None)
def test_words_between_spaces_are_those_of_the_whole_text(texts, lower):
    vocabulary = Vocabulary(SPECIAL, (0, 0), lower).extended(
        word for text in texts for word in slow_words(text)
    )
    found = vocabulary.encode(texts, max_length=None)
    for k, text in enumerate(texts):
        ids = found.ids[found.offsets[k] : found.offsets[k + 1]].tolist()
        assert ids == (vocabulary.tokenizer.encode(text).ids or [UNK])
        assert vocabulary.split(text) == [word for part in text.split(" ") for word in vocabulary.split(part)]


@given(st.lists(LETTERS, min_size=1, max_size=8), st.integers(1, 3), st.integers(3, 12), st.booleans())
@FEW
def test_the_vocabulary_is_the_most_frequent_words_of_the_training_texts(texts, min_count, max_size, lower):
    counts = Counter(word for text in texts for word in slow_words(text, lower=lower))
    often = [word for word, n in counts.items() if n >= min_count]
    if not often:
        with pytest.raises(InputError, match="must hold a word"):
            Vocabulary.learn(texts, lower=lower, min_count=min_count, max_size=max_size)
        return
    vocabulary = Vocabulary.learn(texts, lower=lower, min_count=min_count, max_size=max_size)
    expected = sorted(often, key=lambda word: (-counts[word], word))[: max_size - 2]
    assert vocabulary.words == (*SPECIAL, *expected)
    assert vocabulary.counts[2:] == tuple(counts[word] for word in expected)
    assert vocabulary.counts[UNK] == counts.total() - sum(vocabulary.counts[2:])
    number = {word: k for k, word in enumerate(vocabulary.words)}
    tokens = vocabulary.encode(texts, max_length=None)
    for row, text in enumerate(texts):
        found = tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]].tolist()
        assert found == ([number.get(word, UNK) for word in slow_words(text, lower=lower)] or [UNK])


def test_words_are_cut_as_word_vectors_have_them():
    words = slow_words("Don\u2019t stop: it's £5.50!!! They're n't 1,000ths ﬁne :)")
    assert words == ["do", "n't", "stop", ":", "it", "'s", "£", "5.50", "!!!", "they", "'re", "n't", "1", ",", "000ths",
                     "fine", ":", ")"]  # fmt: skip
    vocabulary = Vocabulary.learn([" ".join(words)], min_count=1)
    assert set(vocabulary.words[2:]) == set(words)


def test_special_words_written_in_a_text_are_no_special_words():
    for lower in (True, False):
        tokens = Vocabulary.learn(["[PAD] [UNK] word"], min_count=1, lower=lower).encode(["[PAD] word"])
        assert PAD not in tokens.ids
        assert len(tokens.ids) == 4


def test_the_order_of_the_training_texts_does_not_matter():
    assert Vocabulary.learn(TEXTS, min_count=1) == Vocabulary.learn(TEXTS[::-1], min_count=1)


def test_a_vocabulary_survives_json_pickle_and_hugging_face_json():
    vocabulary = Vocabulary.learn(TEXTS, min_count=1, lower=False)
    expected = vocabulary.encode(TEXTS).ids.tolist()
    for again in (Vocabulary.from_json(vocabulary.to_json()), pickle.loads(pickle.dumps(vocabulary))):  # noqa: S301 - made just now
        assert again == vocabulary
        assert again.encode(TEXTS).ids.tolist() == expected
    foreign = Tokenizer.from_str(vocabulary.tokenizer.to_str())
    assert [number for text in TEXTS for number in foreign.encode(text).ids] == expected


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", "[" * 100_000, '{"words": 3, "counts": [], "lower": true}']
    + [
        json.dumps({"words": [*SPECIAL, *words], "counts": counts, "lower": lower})
        for words, counts, lower in [
            (["a", "a"], [0, 0, 1, 1], True),
            (["a"], [0, 0], True),
            (["a"], [0, 0, -1], True),
            (["a"], [0, 0, 1.5], True),
            ([3], [0, 0, 1], True),
            (["a"], [0, 0, 1], "yes"),
        ]
    ],
)
def test_json_that_is_no_vocabulary_is_refused(text):
    with pytest.raises(InputError, match="a vocabulary"):
        Vocabulary.from_json(text)


def test_the_share_of_unknown_words_counts_neither_texts_without_words_nor_what_was_cut():
    vocabulary = Vocabulary((*SPECIAL, "film"), (0, 0, 2))
    read = vocabulary.encode(["film new", "", "film film new new new"], max_length=3)
    assert read.share_unknown == 2 / 5
    assert vocabulary.encode([""]).share_unknown == 0.0


def test_one_text_is_spoken_of_as_one():
    cut = Vocabulary((*SPECIAL, "film"), (0, 0, 2)).encode(["film film", "", "film"], max_length=1)
    assert [note.partition(" (")[0] for note in cut.notes] == [
        "1 of 3 texts",
        "1 of 3 texts has no words and is read as one unknown word",
    ]
    assert "is longer than 1 word and was cut there" in cut.notes[0]


def test_what_is_cut_is_counted_and_said():
    vocabulary = Vocabulary.learn(["a b c d e f"], min_count=1)
    tokens = vocabulary.encode(["a b c d e f", "a b", "", "c d e f"], max_length=3)
    assert tokens.lengths.tolist() == [3, 2, 1, 3]
    assert (tokens.share_of_texts_cut, tokens.share_of_words_cut) == (0.5, pytest.approx(4 / 12))
    assert tokens.notes == (
        "2 of 4 texts (50.0%) are longer than 3 words and were cut there: 33.3% of all words",
        "1 of 4 texts has no words and is read as one unknown word",
    )
    assert vocabulary.encode(["a b"]).notes == ()
    with pytest.raises(InputError, match="max_length must be in"):
        vocabulary.encode(["a"], max_length=0)


def test_no_texts_are_no_tokens():
    tokens = Vocabulary.learn(["a"], min_count=1).encode([])
    assert (len(tokens), tokens.share_of_texts_cut, tokens.share_of_words_cut) == (0, 0, 0)
    assert batches(tokens.lengths, 4) == []


def test_a_huge_text_is_read_piece_by_piece_and_cut(monkeypatch):
    monkeypatch.setattr("heldout.data.text._PIECE", 1000)
    huge = "word " * 50_000
    vocabulary = Vocabulary.learn([huge], min_count=1)
    assert vocabulary.counts == (0, 0, 50_000)
    tokens = vocabulary.encode([huge, "word"], max_length=50)
    assert tokens.lengths.tolist() == [50, 1]
    assert tokens.n_before == 50_001


def test_padding_changes_no_result_of_the_layer():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcdefgh"), size=n)) for n in rng.integers(0, 40, 30)]
    tokens = Vocabulary.learn(texts, min_count=1).encode(texts, max_length=30)
    torch.manual_seed(0)
    embed = torch.nn.Embedding(20, 6)
    layer = LSTM(6, 9, num_layers=2, bidirectional=True, batch_first=True).eval()
    with torch.no_grad():
        for rows in batches(tokens.lengths, 8, rng):
            ids, lengths = tokens.padded(rows)
            together, (h_n, _) = layer(embed(ids), lengths=lengths)
            for place, row in enumerate(rows):
                alone_ids, length = tokens.padded([row])
                alone, (h_one, _) = layer(embed(alone_ids))
                assert (ids[place, length:] == PAD).all()
                torch.testing.assert_close(together[place, :length], alone[0], atol=1e-6, rtol=0)
                torch.testing.assert_close(h_n[:, place], h_one[:, 0], atol=1e-6, rtol=0)


@given(st.lists(st.integers(1, 200), max_size=300), st.integers(1, 40), st.none() | st.integers(0, 5))
@FEW
def test_every_text_is_in_one_batch_and_no_batch_is_too_large(lengths, batch_size, seed):
    rng = None if seed is None else np.random.default_rng(seed)
    found = batches(np.array(lengths, int), batch_size, rng)
    assert sorted(np.concatenate([[], *found]).tolist()) == list(range(len(lengths)))
    assert all(len(rows) == batch_size for rows in found[:-1]) or seed is not None
    assert sum(len(rows) < batch_size for rows in found) <= -(-len(lengths) // (50 * batch_size))
    assert max(map(len, found), default=0) <= batch_size


def test_batches_hold_little_padding_differ_between_epochs_and_repeat_with_the_seed():
    lengths = np.random.default_rng(0).geometric(0.05, 5000)
    first, second = (batches(lengths, 32, rng) for rng in [np.random.default_rng(1)] * 2)
    steps = sum(len(rows) * lengths[rows].max() for rows in first)
    assert 1 - lengths.sum() / steps < 0.12  # drawn without regard to length: 0.75
    assert {*map(frozenset, first)} != {*map(frozenset, second)}
    again = batches(lengths, 32, np.random.default_rng(1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    order = [lengths[rows].mean() for rows in first]
    assert abs(np.corrcoef(order, range(len(order)))[0, 1]) < 0.3  # not from short to long


def test_rare_words_become_unknown_at_the_rate_of_the_paper():
    counts = [0, 50, 1, 3, 1000]
    ids = np.tile([PAD, UNK, 2, 3, 4], (40_000, 1))
    before = ids.copy()
    found = replace_rare(ids, counts, np.random.default_rng(0))
    assert np.array_equal(ids, before)
    rates = (found != ids).mean(axis=0)
    np.testing.assert_allclose(rates, [0, 0, 0.25 / 1.25, 0.25 / 3.25, 0.25 / 1000.25], atol=0.01)
    assert (found[found != ids] == UNK).all()
    assert np.array_equal(replace_rare(ids, counts, np.random.default_rng(0), alpha=0.0), ids)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", "a list of str, got str"),
        ({"a": 1}, "got dict"),
        (3, "got int"),
        (["a", None], "text 1 is NoneType"),
        (["a", float("nan")], "text 1 is float"),
        (["a", "b\ud800"], r"character 1 of text 1 is half a pair \('\\ud800'\)"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(texts, message):
    with pytest.raises(InputError, match=message):
        check_texts(texts)


def test_any_list_of_texts_will_do():
    for texts in (("a", "b"), np.array(["a", "b"]), pd.Series(["a", "b"]), pl.Series(["a", "b"])):
        assert check_texts(texts) == ["a", "b"]
    with pytest.raises(InputError, match="text 0 is StringScalar"):
        check_texts(pa.array(["a", "b"]))


def test_real_messages_are_cut_into_words(shared):
    lines = (
        gzip.decompress((shared / "text/sms_spam/SMSSpamCollection.gz").read_bytes()).decode().splitlines()
    )
    texts = [line.split("\t", 1)[1] for line in lines]
    tokens = Vocabulary.learn(texts).encode(texts)
    assert tokens.lengths.tolist() == [max(len(slow_words(text)), 1) for text in texts]
