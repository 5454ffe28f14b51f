"""The verdict as a test: what it says of known truths, and how often it is wrong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from heldout.base_recipe import BaseRecipe
from heldout.check import InputError
from heldout.studies.compare import fold_t
from heldout.studies.evidence import learning_curve, memorisation, signal_p_value
from heldout.studies.family import less_fitted
from heldout.studies.interval import undecided
from heldout.studies.knobs import audit_knobs
from heldout.studies.verdict import Arm, Folds, choices, ends, find_verdict, flags_of, gap_of, share_saved

WALK = Folds(forward=True)
GAP = gap_of(np.array([1.2, 1.3, 1.25, 1.2]), np.array([1.0, 1.0, 1.0, 1.0]), WALK)


def arm(name, test, *, train=0.5, valid=1.0):
    test = np.asarray(test, float).reshape(-1, 1)
    return Arm(name=name, test=test, train=np.full(test.shape, train), valid=np.full(test.shape, valid))


def draw(rng, saved, *, n_folds=8, noise=0.02):
    """Losses of a procedure, and of one that saves a share of them on average."""
    own = 1 + 0.3 * rng.random(n_folds)
    return own, own * (1 - saved + noise * rng.normal(size=n_folds))


def judged(own, other, *, delta=0.01, gap=GAP):
    return find_verdict(arm("as given", own), [arm("less", other, train=0.6)], WALK, delta=delta, gap=gap)


@pytest.mark.parametrize(
    ("saved", "said"), [(0.2, "OVERFIT"), (-0.2, "NO HARMFUL OVERFIT"), (0.01, "INCONCLUSIVE")]
)
def test_a_clear_case_gets_its_verdict(saved, said):
    found = judged(*draw(np.random.default_rng(4), saved, noise=0.04))
    assert found["verdict"] == said
    assert found["harm"]["low"] < found["harm"]["mean"] < found["harm"]["high"]


def test_wrong_verdicts_at_the_border_are_at_most_one_in_twenty():
    """At a true harm of just delta, OVERFIT and NO HARMFUL OVERFIT are both wrong to be sure of."""
    rng, said = np.random.default_rng(1), []
    for _ in range(600):
        said.append(judged(*draw(rng, 0.01))["verdict"])
    for wrong in ("OVERFIT", "NO HARMFUL OVERFIT"):
        assert said.count(wrong) <= stats.binom.ppf(0.999, len(said), 0.05)


def test_overfit_needs_optimism_as_well_as_harm():
    found = judged(*draw(np.random.default_rng(0), 0.2), gap=undecided(0.0))
    assert found["verdict"] == "INCONCLUSIVE"
    assert "not shown" in found["why"]


@given(seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_a_gap_is_the_interval_of_the_ratio_and_has_a_lower_end_where_the_loss_on_rows_seen_is_next_to_nothing(
    seed,
):
    rng = np.random.default_rng(seed)
    outside, inside = rng.uniform(1, 2, 8), rng.uniform(0.8, 1.2, 8)
    found, ratio = gap_of(outside, inside, WALK), share_saved(outside, inside, WALK)
    assert (found.mean, found.low, found.high) == pytest.approx((-ratio.mean, -ratio.high, -ratio.low))
    nothing = inside * np.array([1e-6] * 7 + [0.1])  # all but remembered: no t interval of it leaves out 0
    found = gap_of(outside, nothing, WALK)
    assert 1 < found.low < found.mean < found.high == np.inf
    assert ends(found)["high"] is None
    said = flags_of({"gap": ends(found), "drift": ends(found)}, verdict="NO HARMFUL OVERFIT", delta=0.01)
    assert "at least" in said["LARGE BENIGN GAP"]
    assert "DRIFT" not in said


def test_what_follows_the_training_rows_more_is_not_admitted():
    own, other = draw(np.random.default_rng(0), 0.2)
    found = find_verdict(arm("as given", own), [arm("more", other, train=0.1)], WALK, delta=0.01, gap=GAP)
    assert found["verdict"] == "INCONCLUSIVE"
    assert not found["members"][0]["admissible"]
    assert found["harm"] is None


def test_no_harm_must_be_shown_for_every_member():
    rng = np.random.default_rng(0)
    own, same = draw(rng, -0.2)
    _, noisy = draw(rng, 0.0, noise=0.3)
    members = [arm("same", same, train=0.6, valid=0.5), arm("noisy", noisy, train=0.6)]
    assert find_verdict(arm("as given", own), members, WALK, delta=0.01, gap=GAP)["verdict"] == "INCONCLUSIVE"


@given(st.integers(2, 6), st.integers(2, 8), st.integers(0, 99))
def test_the_choice_for_a_fold_reads_no_later_validation_rows(members, folds, seed):
    valid = np.random.default_rng(seed).random((members, folds))
    later = valid.copy()
    later[:, -1] = np.random.default_rng(seed + 1).random(members)
    assert np.array_equal(choices(valid, WALK)[:-1], choices(later, WALK)[:-1])


def test_the_choice_of_a_cross_validation_reads_its_own_fold_only():
    valid = np.random.default_rng(0).random((3, 5))
    each = [choices(valid[:, [n]], Folds(forward=False))[0] for n in range(5)]
    assert choices(valid, Folds(forward=False)).tolist() == each


@given(st.integers(0, 999))
@settings(max_examples=50)
def test_a_share_is_told_from_zero_just_where_the_difference_is(seed):
    own, other = draw(np.random.default_rng(seed), 0.02)
    share, difference = share_saved(other, own, WALK), fold_t(own - other, level=0.90)
    assert (share.low > 0) == (difference.low > 0)
    assert (share.high < 0) == (difference.high < 0)


def test_the_mde_is_what_a_one_sided_test_sees_in_four_of_five_cases():
    rng, seen = np.random.default_rng(2), []
    own, other = draw(rng, 0.0)
    harm = judged(own, other)["detectable"]
    sd = harm / (stats.t.ppf(0.95, 7) + stats.t.ppf(0.8, 7)) * np.sqrt(8)
    for _ in range(1000):
        x = harm + sd * rng.normal(size=8)
        seen.append(fold_t(x, level=0.90).low > 0)
    assert abs(np.mean(seen) - 0.8) < 0.05


def test_flags_name_what_the_facts_say():
    ends = lambda mean, low, high: {"mean": mean, "low": low, "high": high}  # noqa: E731 - shorter than a function
    facts = {
        "skill": ends(-0.1, -0.2, 0.01), "baseline": "ridge", "gap": ends(0.1, 0.05, 0.15), "drift": ends(0.5, 0.3, 0.7),
        "linear": {"own": 0.2, "linear": 0.4}, "raw_harm": ends(0.2, 0.1, 0.3), "harm": ends(0.0, -0.1, 0.1),
    }  # fmt: skip
    assert list(flags_of(facts, verdict="INCONCLUSIVE", delta=0.01)) == [
        "NO-SKILL", "OVER-CAPACITY", "DRIFT", "CALIBRATION-OVERFIT",
    ]  # fmt: skip
    good = {
        "skill": ends(0.2, 0.1, 0.3),
        "baseline": "ridge",
        "gap": ends(0.6, 0.5, 0.7),
        "drift": ends(0, -0.1, 0.1),
    }
    assert list(flags_of(good, verdict="NO HARMFUL OVERFIT", delta=0.01)) == ["LARGE BENIGN GAP"]
    under = good | {"linear": {"own": 0.5, "linear": 0.4}}
    assert list(flags_of(under, verdict="INCONCLUSIVE", delta=0.01)) == ["UNDERFIT"]


def test_a_choice_among_trials_that_none_supports_is_flagged():
    skill = {"mean": 0.2, "low": 0.1, "high": 0.3}
    facts = {"skill": skill, "baseline": "ridge", "selection": {"spa": 0.4, "pbo": 0.5, "trials": 27}}
    assert list(flags_of(facts, verdict="INCONCLUSIVE", delta=0.01)) == ["SELECTION-NOT-SUPPORTED"]
    facts["selection"]["spa"] = 0.01
    assert not flags_of(facts, verdict="INCONCLUSIVE", delta=0.01)


def test_a_family_member_differs_from_the_recipe_and_keeps_the_rest():
    recipe = BaseRecipe(hidden_size=9, regularization=0, recurrent_dropout=0.3, l1=0.1, patience=None)
    for name, changes in less_fitted(recipe).items():
        found = recipe.with_values(changes)
        assert found != recipe, name
        assert found.lr == recipe.lr
    assert less_fitted(recipe)["regularised more"] == {
        "regularization": 2.0,
        "recurrent_dropout": 0.8,
        "l1": 0.4,
    }


def test_a_knob_that_does_nothing_is_an_error_and_one_that_waits_is_not():
    def weights(recipe):
        return np.array([1.0, recipe.l2, recipe.dense_l2])

    found = audit_knobs(BaseRecipe(regularization=0, l2=0.5, max_norm=3.0).resolved(), weights)
    assert {one["name"]: one["change"] > 0 for one in found} == {
        "l2": True,
        "dense_l2": True,
        "max_norm": False,
    }
    with pytest.raises(InputError, match=r"zoneout=0\.1 changes nothing"):
        audit_knobs(BaseRecipe(regularization=0, zoneout=0.1).resolved(), weights)


def test_memorisation_is_one_where_noise_is_followed_as_well_as_the_truth():
    assert memorisation(0.1, [0.1, 0.1], 1.0) == 1
    assert memorisation(0.1, [1.0], 1.0) == 0
    assert memorisation(1.0, [1.0], 1.0) is None


@given(st.integers(1, 60), st.integers(0, 99))
def test_the_signal_test_is_never_surer_than_its_draws_allow(draws, seed):
    losses = np.random.default_rng(seed).random(draws)
    assert (
        1 / (1 + draws)
        <= signal_p_value(float(losses.min()) - 1, losses.tolist())
        <= signal_p_value(2.0, losses.tolist())
        == 1
    )


def test_a_learning_curve_finds_the_power_law_that_made_it():
    n = np.array([200, 400, 600, 800, 1000])
    found = learning_curve(n, np.stack([level * (1 + 30 * n**-0.8) for level in (0.9, 1.0, 1.1)]))
    truth = 1 - (1 + 30 * 2000**-0.8) / (1 + 30 * 1000**-0.8)
    assert found["twice"]["mean"] == pytest.approx(truth, rel=0.15)
    rising = learning_curve(n, np.linspace(1, 2, 5)[None])
    assert rising["twice"]["mean"] == pytest.approx(0, abs=1e-9)
