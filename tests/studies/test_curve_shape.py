"""The shape of a curve: said of planted shapes, seldom of noise, and the same at any scale."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.studies.curve_shape import lowest_of, noise_of, second_fall, shape_of


def fall(n, rng, noise=0.1):
    return 10 + 2 * np.exp(-8 * np.arange(n) / n) + noise * rng.normal(size=n)


@pytest.mark.parametrize("n", [8, 20, 60])
@pytest.mark.parametrize("flat", [True, False])
def test_noise_is_seldom_called_a_rise(n, flat):
    rng = np.random.default_rng(n)
    curves = [10 + 0.1 * rng.normal(size=n) if flat else fall(n, rng) for _ in range(300)]
    assert np.mean([shape_of(curve).end == "risen" for curve in curves]) <= 0.08


@pytest.mark.parametrize("n", [20, 60])
def test_a_rise_well_above_the_noise_is_found(n):
    rng = np.random.default_rng(n)
    rise = 2 * np.maximum(0, np.arange(n) / n - 0.4)
    assert np.mean([shape_of(fall(n, rng) + rise).end == "risen" for _ in range(100)]) >= 0.9


def test_a_curve_that_still_falls_is_not_called_flat():
    rng = np.random.default_rng(0)
    straight = [10 - np.arange(40) / 8 + 0.1 * rng.normal(size=40) for _ in range(50)]
    assert {shape_of(curve).end for curve in straight} == {"falling"}


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 20))
def test_the_shape_does_not_depend_on_the_unit(scale, seed):
    curve = fall(30, np.random.default_rng(seed)) + np.maximum(0, np.arange(30) - 12) / 20
    one, other = shape_of(curve), shape_of(scale * curve)
    assert (one.best, one.end) == (other.best, other.end)
    assert other.noise == pytest.approx(scale * one.noise)


@pytest.mark.parametrize("n", [8, 15, 40, 2000])
def test_noise_is_estimated_on_a_bow(n):
    rng = np.random.default_rng(1)
    bow = 5 * np.linspace(-1, 1, n) ** 2
    found = [noise_of(bow + 0.3 * rng.normal(size=n)) for _ in range(400)]
    assert np.mean(found) == pytest.approx(0.3, rel=0.2)


def test_the_lowest_of_normal_values_is_where_simulation_puts_it():
    rng = np.random.default_rng(2)
    for n in (5, 40):
        assert lowest_of(n) == pytest.approx(-rng.normal(size=(20000, n)).min(axis=1).mean(), rel=0.03)


def test_a_hump_is_found_and_noise_is_none():
    rng = np.random.default_rng(3)
    t = np.arange(60)
    hump = 3 * np.exp(-t / 3) + np.exp(-(((t - 30) / 8) ** 2)) + 2
    found = second_fall(hump + 0.02 * rng.normal(size=60))
    assert found is not None
    assert found[0] < 22
    assert 26 <= found[1] <= 34
    assert found[2] > 45
    noisy = [second_fall(10 + 0.1 * rng.normal(size=60)) for _ in range(200)]
    assert sum(one is not None for one in noisy) <= 4


def test_few_or_equal_values_are_no_fault():
    assert shape_of([1.0]).end == "unknown"
    assert shape_of([1.0] * 9).end == "flat"
    assert second_fall([1.0] * 9) is None
    assert second_fall([1.0, 2.0]) is None
