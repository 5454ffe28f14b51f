from math import ceil, inf, isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from heldout.check import InputError
from heldout.studies.compare import fold_t
from heldout.studies.equivalence import CLASSES, class_of, detectable, needed, probability_above, tost
from heldout.studies.interval import student, undecided

intervals = st.builds(student, st.floats(-1, 1), st.floats(1e-6, 1), st.floats(1, 100))
deltas = st.floats(0, 1)


def test_tost_is_that_of_statsmodels():
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.1, 0.4):
        a, b = rng.normal(size=(2, 30))
        assert tost(fold_t(a - b + shift), 0.5) == pytest.approx(
            ttost_paired(a - b + shift, 0 * b, -0.5, 0.5)[0]
        )


@given(st.floats(-1, 1), st.floats(1e-6, 1), st.floats(1, 100), deltas)
@settings(deadline=None, max_examples=40)
def test_tost_is_below_5_percent_just_where_the_interval_at_90_lies_within(mean, se, df, delta):
    found = student(mean, se, df, level=0.9)
    if min(abs(found.low + delta), abs(found.high - delta)) > 1e-9:
        assert (tost(found, delta) < 0.05) == (-delta < found.low and found.high < delta)


@given(intervals, deltas)
@settings(deadline=None, max_examples=40)
def test_a_class_says_what_its_interval_says(found, delta):
    said = class_of(found, delta)
    assert said in CLASSES
    assert (said == "HELPS MATERIALLY") == (found.low > delta)
    assert (said in {"HELPS", "HELPS MATERIALLY"}) <= (found.low > 0)
    assert (said == "HARMS") <= (found.high < 0)
    assert (said == "NO MATERIAL EFFECT") == (-delta < found.low and found.high < delta)
    if said == "UNDECIDED":
        assert found.low <= 0 <= found.high


def test_the_classes_by_example():
    # mean +- 2.365 se, at 7 degrees of freedom
    gains = {0.05: "HELPS MATERIALLY", 0.025: "HELPS", 0.0: "NO MATERIAL EFFECT", -0.05: "HARMS"}
    for mean, said in gains.items():
        assert class_of(student(mean, 0.01 if mean else 0.003, 7), 0.02) == said
    assert class_of(student(0.0, 0.05, 7), 0.02) == "UNDECIDED"
    assert (
        class_of(student(0.01, 0.001, 7), 0.02) == "NO MATERIAL EFFECT"
    )  # above 0, but too little to matter
    assert class_of(student(0.01, 0.001, 7), 0.0) == "HELPS MATERIALLY"


@given(intervals, deltas)
@settings(deadline=None, max_examples=40)
def test_the_probability_and_its_opposite_add_up(found, delta):
    above = probability_above(found, delta)
    assert 0 <= above <= 1
    below = probability_above(student(-found.mean, found.se, found.df), -delta)
    assert above + below == pytest.approx(1)
    if found.low > delta:
        assert above >= 0.975 - 1e-9


def test_the_probability_is_right_as_often_as_it_says():
    rng = np.random.default_rng(1)
    truth = 50 * rng.random(20_000) - 25  # nearly flat, as the prior
    folds = truth[:, None] + rng.normal(size=(20_000, 6))
    near = np.flatnonzero(np.abs(folds.mean(axis=1)) < 1)
    said = np.array([probability_above(fold_t(folds[n]), 0.0) for n in near])
    for low in (0.1, 0.4, 0.7):
        these = (said > low) & (said < low + 0.2)
        noise = 3 * 0.5 / np.sqrt(these.sum())
        assert np.mean(truth[near][these] > 0) == pytest.approx(said[these].mean(), abs=noise)


def test_an_effect_of_the_detectable_size_is_found_in_4_of_5_cases():
    rng = np.random.default_rng(2)
    for n_folds in (5, 8, 30):
        effect = (stats.t.ppf(0.95, n_folds - 1) + stats.t.ppf(0.80, n_folds - 1)) / np.sqrt(n_folds)
        draws = effect + rng.normal(size=(4000, n_folds))
        t = draws.mean(axis=1) / draws.std(axis=1, ddof=1) * np.sqrt(n_folds)
        assert np.mean(t > stats.t.ppf(0.95, n_folds - 1)) == pytest.approx(0.8, abs=0.035)
    assert detectable(student(0.0, 0.5, 9)) == pytest.approx(0.5 * (1.8331 + 0.8834), abs=1e-4)


@given(intervals, st.floats(1e-3, 1), st.integers(1, 50))
@settings(deadline=None, max_examples=40)
def test_more_is_needed_just_where_the_effect_is_below_the_detectable_one(found, delta, n):
    count = needed(found, delta, n)
    assert count == ceil(n * (detectable(found) / delta) ** 2)
    assert (count > n) == (detectable(found) > delta * (1 + 1e-12)) or detectable(found) == pytest.approx(
        delta
    )


def test_without_an_interval_nothing_is_said():
    none = undecided(0.3)
    assert (tost(none, 0.1), class_of(none, 0.1), detectable(none)) == (1.0, "UNDECIDED", inf)
    assert isnan(probability_above(none, 0.1))
    assert needed(none, 0.1, 5) is None


def test_certain_effects_are_on_the_side_they_are_on():
    sure = student(0.3, 0.0, 4)
    assert (probability_above(sure, 0.1), probability_above(sure, 0.3), probability_above(sure, 0.4)) == (
        1,
        0.5,
        0,
    )
    assert (tost(sure, 0.4), tost(sure, 0.1)) == (0, 1)
    assert needed(sure, 0.1, 5) == 0


def test_what_is_wrong_is_said():
    for question in (tost, class_of):
        with pytest.raises(InputError, match=r"delta must be in \[0, inf\)"):
            question(student(0, 1, 5), -1)
    with pytest.raises(InputError, match=r"delta must be in \(0, inf\)"):
        needed(student(0, 1, 5), 0, 5)
