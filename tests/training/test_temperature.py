"""Temperature and mixture: known ones are found, priors decide where there is little to see."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax

from heldout.training.temperature import fit_mixture, fit_temperature


def make_logits(n, seed=0, n_classes=3, size=2.0):
    """Two independent views of texts, and classes drawn from their sum with weights 1 and 2."""
    rng = np.random.default_rng(seed)
    first, second = size * rng.normal(size=(2, n, n_classes))
    codes = (first + 2 * second + rng.gumbel(size=first.shape)).argmax(1)
    return first, second, codes


def test_the_weights_of_a_mixture_are_recovered():
    first, second, codes = make_logits(60_000)
    share, temperature = fit_mixture(first, second, codes, np.ones(len(codes)))
    assert share / temperature == pytest.approx(1, abs=0.1)
    assert (1 - share) / temperature == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_known_temperature_is_recovered(factor):
    first, second, codes = make_logits(20_000)
    found = fit_temperature(factor * (first + 2 * second), codes, np.ones(len(codes)))
    assert found == pytest.approx(factor, rel=0.05)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(3, 300), seed=st.integers(0, 99))
def test_the_mixture_is_the_most_probable_one_under_its_prior(n, seed):
    first, second, codes = make_logits(n, seed)
    weight = np.random.default_rng(seed).uniform(0.2, 3, n)
    weight /= weight.mean()

    def loss(shares):
        said = log_softmax(shares[0] * first + shares[1] * second, axis=1)[np.arange(n), codes]
        prior = ((shares[0] - 0.25) ** 2 + (shares[1] - 0.75) ** 2) / (2 * 0.05**2)
        return prior - float(weight @ said)

    share, temperature = fit_mixture(first, second, codes, weight)
    slow = minimize(loss, [0.25, 0.75], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9}).x
    np.testing.assert_allclose([share / temperature, (1 - share) / temperature], slow, atol=2e-3)


def test_few_texts_move_the_weights_little_and_none_not_at_all():
    first, second, codes = make_logits(6)
    share, temperature = fit_mixture(first, second, codes, np.ones(6))
    assert share == pytest.approx(0.25, abs=0.05)
    assert temperature == pytest.approx(1, abs=0.1)
    assert fit_mixture(first, second, codes, np.zeros(6)) == pytest.approx((0.25, 1.0))


def test_only_the_shares_of_weights_matter():
    first, second, codes = make_logits(200)
    weight = np.random.default_rng(0).uniform(0.2, 3, 200)
    assert fit_mixture(first, second, codes, weight) == pytest.approx(
        fit_mixture(first, second, codes, 7 * weight), rel=1e-3
    )
    assert fit_temperature(first, codes, weight) == pytest.approx(
        fit_temperature(first, codes, 7 * weight), rel=1e-3
    )


def test_a_model_of_noise_gets_next_to_no_weight():
    first, second, codes = make_logits(20_000)
    noise = 2 * np.random.default_rng(5).normal(size=first.shape)
    share, temperature = fit_mixture(noise, first + 2 * second, codes, np.ones(len(codes)))
    assert share / temperature < 0.05
    assert temperature == pytest.approx(1, abs=0.1)


def test_where_both_are_wrong_everywhere_the_result_is_still_a_mixture():
    codes = np.zeros(5000, np.int64)
    wrong = np.tile([-5.0, 5.0], (5000, 1))
    share, temperature = fit_mixture(wrong, wrong, codes, np.ones(5000))
    assert 0 <= share <= 1
    assert 0 < temperature < np.inf
    said = log_softmax((share * wrong + (1 - share) * wrong) / temperature, axis=1)
    assert np.exp(said[0, 0]) == pytest.approx(0.5, abs=0.02)
