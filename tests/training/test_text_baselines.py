"""The baselines of texts: equal to slow versions, honest probabilities, deaf to the texts they judge."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from heldout.check import InputError
from heldout.training.text_baselines import (
    NB_INVERSE_PENALTIES,
    NBSVM,
    Majority,
    TfidfLogistic,
    standard_text_baselines,
)
from heldout.training.text_linear import fit_text_linear


def make_texts(n=50, n_classes=2, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=n)
    texts = [
        " ".join([f"topic{label}" * (rng.random() < 0.5), *(f"w{k}" for k in rng.integers(30, size=5))])
        for label in labels
    ]
    return texts, labels


def slow_nbsvm(texts, labels, judged, n_classes, inverse_penalty, beta=0.25):
    """The paper's equations in dense loops: decision values (n, Q)."""

    def terms(text):
        words = text.lower().split()
        return {*words, *map(" ".join, pairwise(words))}

    names = sorted(set().union(*map(terms, texts)))
    dense, new = (np.array([[n in terms(t) for n in names] for t in ts], float) for ts in (texts, judged))
    scores = np.zeros((len(judged), n_classes))
    for k in range(1, 2) if n_classes == 2 else range(n_classes):
        p, q = 1 + dense[labels == k].sum(axis=0), 1 + dense[labels != k].sum(axis=0)
        r = np.log((p / np.abs(p).sum()) / (q / np.abs(q).sum()))
        model = LogisticRegression(C=inverse_penalty, tol=1e-7, max_iter=10_000, solver="newton-cholesky")
        w = model.fit(dense * r, labels == k).coef_[0]
        mixed = (1 - beta) * np.abs(w).sum() / len(names) + beta * w
        scores[:, k] = (new * r) @ mixed + beta * model.intercept_[0]
    return scores


@pytest.mark.parametrize("n_classes", [2, 3])
def test_nbsvm_is_the_papers_at_the_best_penalty_up_to_one_temperature(n_classes):
    texts, labels = make_texts(n_classes=n_classes)
    judged = [*texts[:5], "topic0 w1 w2", "unheard of"]
    reader = NBSVM().fit(texts, labels, n_classes, seed=0)
    said = reader.log_proba(judged)
    differences = []
    for penalty in NB_INVERSE_PENALTIES:
        slow = slow_nbsvm(texts, labels, judged, n_classes, penalty)
        differences.append(abs(log_softmax(slow / reader.temperature, axis=1) - said).max())
    assert min(differences) < 1e-3


@pytest.mark.parametrize("baseline", standard_text_baselines(), ids=lambda b: b.name)
@pytest.mark.parametrize("n_classes", [2, 4])
def test_probabilities_sum_to_one_and_judged_texts_or_their_company_change_nothing(baseline, n_classes):
    texts, labels = make_texts(n_classes=n_classes)
    reader = baseline.fit(texts, labels, n_classes, seed=0)
    said = reader.log_proba(["topic1 w1", "", "never seen"])
    assert said.dtype == np.float64
    np.testing.assert_allclose(np.exp(said).sum(axis=1), 1)
    reader.log_proba(["poison " * 999])
    alone = np.concatenate([reader.log_proba([text]) for text in ["topic1 w1", "", "never seen"]])
    np.testing.assert_allclose(alone, said, atol=1e-12)
    again = baseline.fit(texts, labels, n_classes, seed=0).log_proba(["topic1 w1", "", "never seen"])
    np.testing.assert_array_equal(again, said)
    assert reader.log_proba([]).shape == (0, n_classes)


@pytest.mark.parametrize("baseline", standard_text_baselines(), ids=lambda b: b.name)
@pytest.mark.parametrize(("texts", "labels"), [(["a"], [1]), (["", "!"], [0, 2]), (["a", "b"], [1, 1])])
def test_absent_classes_and_tiny_data_give_probabilities_above_zero(baseline, texts, labels):
    said = baseline.fit(texts, np.array(labels), 4, seed=0).log_proba(["a", "b c"])
    np.testing.assert_allclose(np.exp(said).sum(axis=1), 1)
    assert (said > np.log(0.01)).all()


def test_majority_gives_smoothed_shares():
    said = Majority().fit(["x"] * 4, np.array([2, 2, 2, 0]), 3, seed=0).log_proba(["y", "z"])
    np.testing.assert_allclose(np.exp(said), [[2 / 7, 1 / 7, 4 / 7]] * 2)


def test_tfidf_is_the_linear_part_of_a_network():
    texts, labels = make_texts()
    linear, _ = fit_text_linear(texts, labels, np.ones(len(texts)), 2, seed=0)
    said = TfidfLogistic().fit(texts, labels, 2, seed=0).log_proba(texts[:9])
    np.testing.assert_array_equal(said, linear.logits(texts[:9]))


def test_both_linear_readers_beat_the_shares_where_words_tell():
    texts, labels = make_texts(200)
    new, truth = make_texts(200, seed=9)
    rows, losses = np.arange(200), {}
    for baseline in standard_text_baselines():
        said = baseline.fit(texts, labels, 2, seed=0).log_proba(new)
        losses[baseline.name] = -said[rows, truth].mean()
    assert max(losses["tfidf"], losses["nbsvm"]) < 0.8 * losses["majority"]


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match=r"beta must be in \[0, 1\]"):
        NBSVM(beta=2).fit(["a", "b"], np.array([0, 1]), 2, seed=0)
    for baseline in standard_text_baselines():
        with pytest.raises(InputError, match="whole numbers from 0 to 1"):
            baseline.fit(["a", "b"], np.array([0, 2]), 2, seed=0)
