"""The linear reader of texts: what it says of held-out texts knows nothing of them, and files give it back to the bit."""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from heldout.check import InputError
from heldout.data.text import Vocabulary
from heldout.training.checkpoint import ModelFileError, dump_tensors, parse_tensors
from heldout.training.text_folds import INVERSE_PENALTIES, Logistic, cross_fit, deal_folds
from heldout.training.text_linear import TextLinear, cut_words, fit_text_linear, linear_terms, same_words

DATA = Path(__file__).parents[2] / "../shared/data/text/eda"


def make_texts(n=80, n_classes=2, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=n)
    texts = [
        " ".join([f"topic{label}" * (rng.random() < 0.6), *(f"w{k}" for k in rng.integers(60, size=6))])
        for label in labels
    ]
    return texts, labels


def fit(texts, labels, n_classes=2, **options):
    return fit_text_linear(texts, np.asarray(labels), np.ones(len(texts)), n_classes, seed=0, **options)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_held_out_logits_are_those_of_scikit_learns_pipeline_fitted_to_the_other_folds(n_classes):
    texts, labels = make_texts(n_classes=n_classes)
    weight = np.random.default_rng(1).uniform(0.5, 2, len(texts))
    linear, logits = fit_text_linear(texts, labels, weight, n_classes, seed=3)
    for held in deal_folds(same_words(texts), seed=3):
        train = np.setdiff1d(np.arange(len(texts)), held)
        tfidf = TfidfVectorizer(analyzer=linear_terms, sublinear_tf=True)
        model = LogisticRegression(C=linear.inverse_penalty, tol=1e-8, max_iter=10_000)
        model.fit(tfidf.fit_transform([texts[k] for k in train]), labels[train], sample_weight=weight[train])
        said = model.predict_log_proba(tfidf.transform([texts[k] for k in held]))
        np.testing.assert_allclose(logits[held], said, atol=0.01)


def test_what_is_said_of_a_text_held_out_does_not_depend_on_its_label():
    texts, labels = make_texts()
    linear, logits = fit(texts, labels)
    for row in range(0, 80, 27):
        flipped = labels.copy()
        flipped[row] = 1 - labels[row]
        other, changed = fit(texts, flipped)
        if other.inverse_penalty == linear.inverse_penalty:  # chosen on all labels
            np.testing.assert_array_equal(changed[row], logits[row])
        assert not np.array_equal(changed, logits)
    assert linear.logits(texts).max(axis=1).mean() > logits.max(axis=1).mean()


def test_copies_and_units_are_never_on_both_sides():
    rng = np.random.default_rng(0)
    texts = [f"only{k} here{k}" for k in range(30)]
    labels = rng.integers(2, size=30)
    _, logits = fit([*texts, *(t.upper() + "  " for t in texts)], [*labels, *labels])
    right = logits.argmax(axis=1) == [*labels, *labels]
    assert right.mean() < 0.8  # a copy in training would give it away
    _, logits = fit([*texts, *(t + " x" for t in texts)], [*labels, *labels], units=np.tile(np.arange(30), 2))
    assert (logits.argmax(axis=1) == [*labels, *labels]).mean() < 0.8


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(0, 99))
def test_each_row_is_in_one_fold_and_each_unit_too(units, seed):
    folds = deal_folds(units, seed=seed)
    assert sorted(np.concatenate(folds)) == list(range(len(units)))
    assert len(folds) == min(5, len(set(units)))
    held = [set(np.array(units)[rows]) for rows in folds]
    assert sum(map(len, held)) == len(set(units))


@pytest.mark.parametrize("best", [0, 3, 4, 5, 8])
def test_the_search_finds_the_best_penalty_of_a_valley_wherever_it_is(best):
    class Fold:
        held = np.arange(4)

        def scores(self, inverse_penalty):
            return np.full((4, 1), abs(INVERSE_PENALTIES.index(inverse_penalty) - best))

    chosen, scores = cross_fit([Fold()], lambda said, rows: said.mean(), 1)
    assert (INVERSE_PENALTIES.index(chosen), scores.max()) == (best, 0)


def test_noise_gets_the_strongest_penalty_and_says_little_more_than_the_shares():
    rng = np.random.default_rng(5)
    texts = [" ".join(f"w{k}" for k in rng.integers(40, size=8)) for _ in range(200)]
    linear, logits = fit(texts, rng.integers(2, size=200))
    assert linear.inverse_penalty == INVERSE_PENALTIES[0]
    assert abs(np.exp(logits) - 0.5).max() < 0.2


def test_absent_and_rare_classes_have_a_probability_everywhere():
    texts, labels = make_texts(40)
    labels[7] = 3  # once: absent from the fold that holds it out; 2 and 4 never
    linear, logits = fit(texts, labels, 5)
    for said in (logits, linear.logits(["topic0", "what", ""])):
        np.testing.assert_allclose(np.exp(said).sum(axis=1), 1)
        assert np.isfinite(said).all()
    np.testing.assert_allclose(np.exp(linear.logits(["new"]))[0, [2, 4]], 1 / 45)


@pytest.mark.parametrize(
    ("texts", "labels"),
    [(["a"], [1]), (["same", "same"], [0, 1]), (["", "!"], [0, 1]), (["a", "b", "c"], [1, 1, 1])],
)
def test_very_little_to_learn_from_still_gives_probabilities(texts, labels):
    linear, logits = fit(texts, labels)
    for said in (logits, linear.logits(["a", "", "zzz"])):
        np.testing.assert_allclose(np.exp(said).sum(axis=1), 1)
    assert linear.logits([]).shape == (0, 2)


def test_the_linear_reader_comes_back_from_a_file_to_the_bit():
    texts, labels = make_texts(n_classes=3)
    linear, _ = fit([*texts[:-1], "naïve 火 😀 !!! \x00"], labels, 3)
    back = TextLinear.from_file_parts(*parse_tensors(dump_tensors(*linear.to_file_parts())))
    np.testing.assert_array_equal(back.logits([*texts, "new"]), linear.logits([*texts, "new"]))
    assert (back.terms, back.inverse_penalty) == (linear.terms, linear.inverse_penalty)


def test_parts_that_do_not_fit_are_refused():
    linear, _ = fit(*make_texts())
    tensors, metadata = linear.to_file_parts()
    wrong = [
        ({**tensors, "idf": tensors["idf"][1:]}, metadata),
        ({**tensors, "coefficients": tensors["coefficients"].float()}, metadata),
        ({**tensors, "coefficients": tensors["coefficients"] / 0}, metadata),
        ({**tensors, "terms": tensors["terms"] | 0x80}, metadata),
        ({**tensors, "intercept": tensors["intercept"].sum()}, metadata),
        ({}, metadata),
        (tensors, {}),
        *(
            (tensors, {**metadata, "classes": bad})
            for bad in ([0, 2], [1, 0], [], [-1], ["a"], None, [[0], [1]])
        ),
        (tensors, {**metadata, "n_texts": 0}),
        (tensors, {**metadata, "inverse_penalty": float("nan")}),
    ]
    for parts in wrong:
        with pytest.raises(ModelFileError, match="does not describe a linear reader"):
            TextLinear.from_file_parts(*parts)


def test_texts_to_be_judged_change_nothing():
    texts, labels = make_texts()
    linear, logits = fit(texts, labels)
    said = linear.logits(texts[:5])
    linear.logits(["poison " * 1000, *("topic1 " + t for t in texts)])
    np.testing.assert_array_equal(linear.logits(texts[:5]), said)
    again, same = fit(texts, labels)
    np.testing.assert_array_equal(same, logits)
    np.testing.assert_array_equal(again.coefficients, linear.coefficients)
    np.testing.assert_array_equal(replace(linear).logits(texts[3:4])[0], said[3])


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40) | st.text(st.characters(max_codepoint=127), max_size=40))
def test_words_are_cut_as_the_vocabulary_of_a_network_cuts_them(text):
    if (words := cut_words(text)) != ["[UNK]"]:
        vocabulary = Vocabulary.learn([text], min_count=1)
        numbers = vocabulary.encode([text]).ids
        assert [vocabulary.words[k] for k in numbers] == words


def test_wrong_arguments_are_named():
    good = (["a", "b"], np.array([0, 1]), np.ones(2), 2)
    for place, bad, message in [
        (0, "ab", "must be a list of str"),
        (0, ["a", 3], "text 1 is int"),
        (0, [], "at least one"),
        (1, np.array([0]), "must be as many"),
        (1, np.array([0, 2]), "whole numbers from 0 to 1"),
        (1, np.array([0.0, 1.0]), "whole numbers"),
        (2, np.array([1.0, 0.0]), "that of text 1 is 0.0"),
        (3, 0, "n_classes must be in"),
    ]:
        arguments = list(good)
        arguments[place] = bad
        with pytest.raises(InputError, match=message):
            fit_text_linear(*arguments, seed=0)


def test_two_classes_have_the_logits_of_one_difference():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)), rng.integers(2, size=50)
    own = Logistic(2).fit(x, y, np.ones(50), 1.0)
    model = LogisticRegression(C=1.0, tol=1e-8).fit(x, y)
    np.testing.assert_allclose(own.log_proba(x), model.predict_log_proba(x), atol=1e-4)
    np.testing.assert_allclose(log_softmax(own.log_proba(x), axis=1), own.log_proba(x))


@pytest.mark.parametrize(("name", "least"), [("subj", 0.85), ("trec", 0.75)])
def test_500_real_texts_give_the_accuracy_of_the_note_and_honest_probabilities(name, least):
    if not DATA.is_dir():
        pytest.skip("the real data sets are not beside this checkout")
    parts = []
    for part in ("train_500", "test"):
        lines = gzip.decompress((DATA / name / f"{part}.txt.gz").read_bytes()).decode().splitlines()
        labels, texts = zip(*(line.split("\t", 1) for line in lines), strict=True)
        parts.append((texts, np.array(labels, int)))
    (texts, labels), (judged, truth) = parts
    linear, logits = fit(texts, labels, int(labels.max()) + 1)
    said = linear.logits(judged)
    assert (said.argmax(axis=1) == truth).mean() > least
    # What is said of training texts held out costs as much as what is said of new ones.
    held = -logits[np.arange(len(labels)), labels].mean()
    assert held == pytest.approx(-said[np.arange(len(truth)), truth].mean(), abs=0.1)
