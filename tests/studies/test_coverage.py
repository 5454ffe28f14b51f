"""What intervals are worth on new rows: the numbers by hand, and the sentence that goes with them."""

import numpy as np
import pytest

from heldout.studies.coverage import describe_interval, measure_interval, measure_quantiles
from tests.conftest import make_series


@pytest.fixture(scope="module")
def data():
    return make_series(600, horizon=2)


def measure(data, n=400, level=0.8, half=1.2816, **options):
    truth = np.random.default_rng(0).normal(size=(n, 2, 1))
    ends = np.full_like(truth, -half), np.full_like(truth, half)
    return measure_interval(data, np.arange(20, 20 + n), truth, ends, level=level, **options), truth


def test_coverage_width_and_pinball_are_what_they_are_by_hand(data):
    found, truth = measure(data)
    assert found["coverage"] == np.mean(abs(truth) <= 1.2816)
    assert found["width"] == pytest.approx(2 * 1.2816)
    low = np.maximum(0.1 * (truth + 1.2816), -0.9 * (truth + 1.2816)).mean()
    high = np.maximum(0.9 * (truth - 1.2816), -0.1 * (truth - 1.2816)).mean()
    assert found["pinball"] == pytest.approx((low + high) / 2)
    assert [part["step"] for part in found["by_step"]] == [1, 2]
    assert np.mean([part["coverage"] for part in found["by_step"]]) == pytest.approx(found["coverage"])


def test_the_interval_of_the_coverage_holds_the_true_one_and_stays_a_share(data):
    found, _ = measure(data)
    assert 0 <= found["coverage_low"] < 0.8 < found["coverage_high"] <= 1
    everything, _ = measure(data, half=9.0)
    assert (everything["coverage"], everything["coverage_high"]) == (1, 1)


def test_few_moments_give_no_interval_of_the_coverage_but_many_series_of_one_do(data):
    few, _ = measure(data, n=30)
    assert few["coverage_low"] is None
    assert "[too few blocks for an interval]" in describe(few)
    assert measure(data, n=30, one_moment=True)[0]["coverage_low"] is not None


def describe(found, **about):
    return describe_interval({"method": "conformal", "promised": True, "note": "why", **found, **about})


def test_the_sentence_says_how_much_is_covered_and_why_nothing_is_promised(data):
    found, _ = measure(data)
    text = describe(found)
    assert text.startswith(f"80 % interval: covers {100 * found['coverage']:.0f} % [")
    assert text.endswith("mean width 2.563")
    assert describe(found, promised=False) == f"{text}; why"
    assert describe(found, coverage=None) == "80 % interval: none; why"
    assert "of Monte Carlo dropout" in describe(found, method="mc_dropout")


def test_a_right_quantile_has_its_share_below_and_the_least_pinball():
    truth = np.random.default_rng(0).normal(size=(5000, 1, 1))
    levels = [0.1, 0.5, 0.9]
    right = np.broadcast_to(np.array([-1.2816, 0.0, 1.2816]), (5000, 1, 1, 3))
    found, wrong = measure_quantiles(truth, right, levels), measure_quantiles(truth, right + 0.3, levels)
    for one, other, level in zip(found, wrong, levels, strict=True):
        assert one["level"] == level
        assert abs(one["below"] - level) < 0.02
        assert one["pinball"] < other["pinball"]
