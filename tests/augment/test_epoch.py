"""An epoch shows every text as it is and never too many variants, each only from its own text."""

import gzip
from collections import Counter
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from heldout.augment import TextAugmentation
from heldout.augment.synonyms import is_protected
from heldout.augment.text import MARKS, Guard
from heldout.check import InputError

LEXICON = {"good": ["fine", "nice"], "film": ["movie", "motion picture"], "bad": ["awful"]}
LONG = ["a", "good", "film", "about", "a", "bad", "sky", "and", "not", "one", "very", "bright", "star", "over", "the", "old", "town"]  # fmt: skip
TEXTS = st.lists(
    st.lists(st.sampled_from(["good", "film", "bad", "sky", "not", "7"]), max_size=12), max_size=12
)
ALL = {
    "alpha_sr": 0.1,
    "alpha_ri": 0.1,
    "alpha_rs": 0.1,
    "p_rd": 0.2,
    "alpha_nn": 0.1,
    "alpha_aeda": 0.3,
    "p_unk": 0.2,
}


@given(
    texts=TEXTS,
    seed=st.integers(0, 99),
    n_aug=st.integers(1, 9),
    share=st.sampled_from([0, 0.1, 0.3, 0.5, 0.8]),
)
@settings(max_examples=80, deadline=None)
def test_an_epoch_holds_every_text_and_keeps_the_floor(texts, seed, n_aug, share):
    options = TextAugmentation(**ALL, n_aug=n_aug, min_original=share)
    before = [list(text) for text in texts]
    epoch = options.epoch(texts, np.random.default_rng(seed), synonyms=LEXICON, neighbours=LEXICON)
    assert texts == before
    kept = [text for text, same in zip(epoch.texts, epoch.original, strict=True) if same]
    assert kept == texts
    np.testing.assert_array_equal(epoch.source[epoch.original], np.arange(len(texts)))
    assert (np.diff(epoch.source) >= 0).all()
    assert epoch.original.sum() >= share * len(epoch.texts)
    assert max(Counter(epoch.source[~epoch.original].tolist()).values(), default=0) <= n_aug
    assert len(epoch.texts) - len(texts) == epoch.counts["drawn"] - epoch.counts["unchanged"]
    for text, source, same in zip(epoch.texts, epoch.source.tolist(), epoch.original, strict=True):
        assert same or (text and text != texts[source])
        assert [w for w in text if is_protected(w)] == [w for w in texts[source] if is_protected(w)]


def test_each_epoch_is_drawn_afresh_and_a_seed_draws_it_again():
    options, texts = TextAugmentation(), [LONG, LONG[::-1]]
    rng = np.random.default_rng(0)
    first, second = options.epoch(texts, rng), options.epoch(texts, rng)
    assert first.texts != second.texts
    again = options.epoch(texts, np.random.default_rng(0))
    assert again.texts == first.texts
    np.testing.assert_array_equal(again.source, first.source)


def test_a_third_of_an_epoch_is_as_it_was_by_default_and_a_half_where_asked():
    for share, n in ((0.3, 300), (0.5, 200), (0.8, 125)):
        epoch = TextAugmentation(min_original=share).epoch([LONG] * 100, np.random.default_rng(0))
        assert len(epoch.texts) == n
    assert len(TextAugmentation(n_aug=9).epoch([LONG] * 100, np.random.default_rng(0)).texts) == 333


@pytest.mark.parametrize(("name", "rate"), ALL.items(), ids=ALL)
def test_each_option_acts_alone(name, rate):
    options = TextAugmentation(**{"alpha_aeda": 0, name: rate}, n_aug=40)
    drawn = options.variants(LONG, np.random.default_rng(0), synonyms=LEXICON, neighbours=LEXICON)
    assert drawn
    n = len(LONG)
    expected = {
        "alpha_sr": lambda t: not set(t) <= set(LONG),
        "alpha_nn": lambda t: not set(t) <= set(LONG),
        "alpha_ri": lambda t: len(t) in (n + 1, n + 2),
        "alpha_rs": lambda t: sorted(t) == sorted(LONG),
        "p_rd": lambda t: len(t) < n and set(t) <= set(LONG),
        "alpha_aeda": lambda t: [w for w in t if w not in MARKS] == LONG,
        "p_unk": lambda t: len(t) == n and "[UNK]" in t,
    }[name]
    assert all(expected(text) for text in drawn)


def test_the_ways_switched_on_have_equal_shares():
    options = TextAugmentation(alpha_rs=0.1, alpha_aeda=0.3)
    drawn = options.variants(LONG, np.random.default_rng(0), n=41)
    marked = sum(len(text) > len(LONG) for text in drawn)
    assert len(drawn) == 41
    assert marked in (20, 21)


def test_eda_is_that_of_the_paper():
    for n_texts, alpha, n_aug in ((400, 0.05, 16), (2000, 0.05, 8), (5000, 0.1, 4), (10**6, 0.1, 4)):
        options = TextAugmentation.eda(n_texts)
        assert (options.alpha_sr, options.alpha_ri, options.alpha_rs, options.p_rd) == (alpha,) * 4
        assert (options.n_aug, options.alpha_aeda) == (n_aug, 0)


def test_short_texts_lose_no_words_and_empty_ones_have_no_variants():
    options = TextAugmentation(p_rd=0.9, alpha_aeda=0)
    assert options.variants(["a", "b", "c"], np.random.default_rng(0)) == []
    assert options.variants(["a", "b", "c", "d"], np.random.default_rng(0))
    assert TextAugmentation().variants([], np.random.default_rng(0)) == []
    assert TextAugmentation().epoch([], np.random.default_rng(0)).texts == []


def test_names_that_the_user_protects_stay():
    options = TextAugmentation(alpha_sr=1, alpha_aeda=0, protected=("Film",))
    rng = np.random.default_rng(0)
    for text in options.variants(LONG, rng, n=20, synonyms=LEXICON):
        assert "film" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha_sr": 1.5}, r"alpha_sr must be in \[0, 1\], got 1.5"),
        ({"p_rd": 1.0}, r"p_rd must be in \[0, 1\), got 1.0"),
        ({"p_unk": -0.1}, r"p_unk must be in \[0, 1\), got -0.1"),
        ({"n_aug": 0}, r"n_aug must be in \[1, 100\], got 0"),
        ({"n_aug": 1.5}, "n_aug must be a whole number"),
        ({"min_original": 1}, r"min_original must be in \[0, 1\), got 1"),
        ({"alpha_aeda": 0}, "one of alpha_sr, .* above 0"),
        ({"protected": "film"}, "protected must be a tuple of words, got 'film'"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        TextAugmentation(**options)


def test_a_lexicon_that_is_needed_is_asked_for():
    with pytest.raises(InputError, match=r"need synonyms.*read_synonyms\(\).*alpha_aeda"):
        TextAugmentation(alpha_ri=0.1).epoch([LONG], np.random.default_rng(0))
    with pytest.raises(InputError, match=r"needs neighbours.*nearest_words"):
        TextAugmentation(alpha_nn=0.1).epoch([LONG], np.random.default_rng(0))


def test_what_the_guard_drops_is_counted_and_gone():
    held = [["fine", "film"], ["nice", "film"]]
    guard = Guard([["good", "film"]], np.array([0]), held=held)
    options = TextAugmentation(alpha_sr=0.1, alpha_aeda=0, n_aug=50, min_original=0)
    epoch = options.epoch([["good", "film"]], np.random.default_rng(0), guard=guard, synonyms=LEXICON)
    assert epoch.counts["drawn"] == 50
    assert 0 < epoch.counts["held out"] == 50 - (len(epoch.texts) - 1)
    assert not any(text in held for text in epoch.texts)


def test_real_reviews_keep_their_labels_under_a_linear_model(shared):
    with gzip.open(shared / "text" / "eda" / "sst2" / "train_500.txt.gz", "rt", encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    labels, texts = np.array([int(row[0]) for row in rows]), [row[1].split() for row in rows]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10)).fit([row[1] for row in rows], labels)
    guard = Guard(texts, labels, probabilities=lambda ts: model.predict_proba([" ".join(t) for t in ts]))
    options = TextAugmentation(p_rd=0.3, alpha_rs=0.1)
    begin = perf_counter()
    epoch = options.epoch(texts, np.random.default_rng(0), guard=guard)
    assert perf_counter() - begin < 5
    assert 0 < epoch.counts["label lost"] < 0.2 * epoch.counts["drawn"]
    assert epoch.counts["held out"] == 0
    before = model.predict([" ".join(t) for t in texts]) == labels
    after = model.predict([" ".join(t) for t in epoch.texts]) == labels[epoch.source]
    assert after[before[epoch.source]].all()
