"""The scores of probabilities: equal to loops, blind to the order of texts, defined where a class is absent."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, log_loss

from heldout.check import InputError
from heldout.training.text_scores import (
    LEAST_LOG_PROBABILITY,
    calibration_bins,
    text_log_loss,
    text_scores,
)


def draw(n, n_classes, seed=0, sharpness=1.5):
    """Log probabilities, and labels drawn from them."""
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(n, n_classes))
    log_proba = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    labels = (log_proba + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return log_proba, labels


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.integers(1, 5), st.integers(0, 999))
def test_scores_equal_loops_and_do_not_depend_on_the_order(n, n_classes, seed):
    log_proba, labels = draw(n, n_classes, seed)
    scores = text_scores(log_proba, labels)
    said = [max(range(n_classes), key=lambda k: row[k]) for row in log_proba]
    confusion = np.zeros((n_classes, n_classes), int)
    for i, j in zip(labels, said, strict=True):
        confusion[i, j] += 1
    assert scores["confusion"] == confusion.tolist()
    hits, true, guessed = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    there = true + guessed > 0
    assert scores["accuracy"] == pytest.approx(hits.sum() / n)
    assert scores["macro_f1"] == pytest.approx((2 * hits[there] / (true + guessed)[there]).mean())
    assert scores["balanced_accuracy"] == pytest.approx((hits[true > 0] / true[true > 0]).mean())
    assert scores["log_loss"] == pytest.approx(
        -np.mean([row[k] for row, k in zip(log_proba, labels, strict=True)])
    )
    order = np.random.default_rng(seed).permutation(n)
    shuffled = text_scores(log_proba[order], labels[order])
    assert shuffled["confusion"] == scores["confusion"]
    assert shuffled["ece"] == pytest.approx(scores["ece"], abs=1e-12)
    assert shuffled["log_loss"] == pytest.approx(scores["log_loss"])
    assert json.loads(json.dumps(scores)) == scores


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 200), st.integers(2, 4), st.integers(1, 20), st.integers(0, 999))
def test_the_calibration_error_equals_a_loop_over_bins(n, n_classes, n_bins, seed):
    log_proba, labels = draw(n, n_classes, seed)
    error, bins = calibration_bins(log_proba, labels, n_bins=n_bins)
    confidence = np.exp(log_proba).max(axis=1)
    expected, filled = 0.0, 0
    for k in range(n_bins):
        inside = (confidence > k / n_bins) & (confidence <= (k + 1) / n_bins)
        if inside.any():
            right = (log_proba[inside].argmax(axis=1) == labels[inside]).mean()
            expected += inside.mean() * abs(right - confidence[inside].mean())
            filled += 1
    assert error == pytest.approx(expected)
    assert (len(bins), sum(b["n"] for b in bins)) == (filled, n)
    assert all(0 < b["confidence"] <= 1 and 0 <= b["accuracy"] <= 1 for b in bins)


@pytest.mark.parametrize("n_classes", [2, 6])
def test_labels_drawn_from_the_probabilities_give_no_calibration_error_and_sharper_ones_do(n_classes):
    log_proba, labels = draw(40_000, n_classes)
    assert calibration_bins(log_proba, labels)[0] < 0.015
    sharp = 3 * log_proba
    sharp -= np.log(np.exp(sharp).sum(axis=1, keepdims=True))
    assert calibration_bins(sharp, labels)[0] > 0.1


def test_log_loss_is_scikit_learns_and_has_a_ceiling():
    log_proba, labels = draw(100, 4)
    assert text_log_loss(log_proba, labels).mean() == pytest.approx(
        log_loss(labels, np.exp(log_proba), labels=range(4))
    )
    certain = np.array([[0.0, -np.inf], [0.0, -800.0]])
    np.testing.assert_array_equal(text_log_loss(certain, [1, 0]), [-LEAST_LOG_PROBABILITY, 0.0])
    assert np.isfinite(text_scores(certain, [1, 1])["log_loss"])


def test_classes_absent_from_the_test_have_a_defined_outcome():
    log_proba = np.log([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    scores = text_scores(log_proba, [0, 0, 0])
    assert scores["balanced_accuracy"] == pytest.approx(1 / 3)
    assert scores["macro_f1"] == pytest.approx((0.5 + 0 + 0) / 3)  # said, but never there: 0
    scores = text_scores(log_proba[[0, 1]], [0, 1])
    assert (scores["balanced_accuracy"], scores["macro_f1"]) == (1.0, 1.0)  # neither said nor there
    drawn = draw(200, 3)
    assert text_scores(*drawn)["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(drawn[1], drawn[0].argmax(axis=1))
    )


@pytest.mark.parametrize(
    ("log_proba", "labels", "message"),
    [
        ([[0.0, -1.0]], [0], "row 0 sum to 1.36"),
        ([[0.5, 0.5]], [0], "row 0 sum to"),
        ([[np.nan, 0.0]], [0], "row 0 sum to nan"),
        ([[0.0]], [1], "whole numbers from 0 to 0"),
        ([[0.0]], [0.0], "whole numbers"),
        ([[0.0]], [0, 0], "one label per text"),
        (np.empty((0, 2)), [], "at least one"),
        ([0.0], [0], "one label per text"),
    ],
)
def test_what_are_no_log_probabilities_is_refused(log_proba, labels, message):
    with pytest.raises(InputError, match=message):
        text_scores(log_proba, labels)
