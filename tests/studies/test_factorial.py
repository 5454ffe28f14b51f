"""Two-level designs: balanced, orthogonal, exact where effects add up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.studies.factorial import MOST_FACTORS, main_effects, two_level_runs

FACTORS = range(1, MOST_FACTORS + 1)


@pytest.mark.parametrize("n_factors", FACTORS)
def test_columns_are_balanced_and_orthogonal_and_no_run_is_there_twice(n_factors):
    runs = two_level_runs(n_factors)
    signs = np.where(runs, 1, -1)
    assert (signs.T @ signs == len(runs) * np.eye(n_factors)).all()
    assert (signs.sum(axis=0) == 0).all()
    assert len(np.unique(runs, axis=0)) == len(runs)


@pytest.mark.parametrize("n_factors", FACTORS)
def test_the_control_is_the_first_run(n_factors):
    assert not two_level_runs(n_factors)[0].any()


def test_runs_are_no_more_than_the_factors_need():
    assert [len(two_level_runs(n)) for n in FACTORS] == [2, 4, 4, 8, 8, 8, 8]


@given(
    st.integers(1, MOST_FACTORS),
    st.integers(2, 6),
    st.integers(0, 2**32 - 1),
)
def test_effects_of_an_additive_truth_are_found_exactly(n_factors, n_folds, seed):
    rng = np.random.default_rng(seed)
    truth, level = rng.normal(size=(n_factors, n_folds)), rng.normal(size=n_folds)
    runs = two_level_runs(n_factors)
    found = main_effects(runs, level + runs @ truth)
    assert [effect.mean for effect in found] == pytest.approx(truth.mean(axis=1).tolist())


def test_with_four_factors_pairs_do_not_touch_the_effects():
    runs, rng = two_level_runs(4), np.random.default_rng(0)
    signs = np.where(runs, 1.0, -1.0)
    pairs = sum(rng.normal() * signs[:, a] * signs[:, b] for a in range(4) for b in range(a))
    found = main_effects(runs, np.stack([pairs, pairs], axis=1))
    assert [effect.mean for effect in found] == pytest.approx([0] * 4, abs=1e-12)


def test_each_effect_uses_all_runs_so_it_is_surer_than_one_at_a_time():
    rng = np.random.default_rng(0)
    runs, gains = two_level_runs(7), rng.normal(size=(2000, 8, 1))
    effects = np.array([[e.mean for e in main_effects(runs, table)] for table in gains])
    assert effects.var(axis=0) == pytest.approx([4 / 8] * 7, rel=0.1)  # one at a time: 2


@pytest.mark.parametrize("n_factors", [0, 8])
def test_a_design_that_8_runs_do_not_hold_is_refused(n_factors):
    with pytest.raises(InputError, match=f"takes 1 to 7 factors, got {n_factors}"):
        two_level_runs(n_factors)


def test_gains_of_other_runs_are_refused():
    with pytest.raises(InputError, match="a row for each of 4 runs"):
        main_effects(two_level_runs(2), np.zeros((3, 5)))
