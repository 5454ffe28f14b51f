"""The short form of `benchmarks/error_rates.py`: a truth of each kind, and what is said of it."""

import pytest
from benchmarks.error_rates import HABIT, SMALL, autoregression, clean, judged, noise, planted, steps

from heldout.auditing import audit


@pytest.mark.parametrize("seed", range(4))
def test_a_planted_leak_is_found_and_a_clean_table_raises_none(seed):
    name, table = planted(seed)
    config = SMALL.with_values({"transform": "auto"})
    assert audit(table, config).leaks, name
    assert not audit(clean(seed), config).leaks


def test_noise_is_no_skill(tmp_path):
    assert "NO-SKILL" in judged(noise(0), SMALL, tmp_path / "run", 1)["flags"]


@pytest.mark.slow
def test_the_habit_is_overfit(tmp_path):
    assert judged(autoregression(0), HABIT, tmp_path / "run", 1)["verdict"] == "OVERFIT"


def test_a_shift_of_the_mean_is_drift_and_not_overfit(tmp_path):
    found = judged(steps(0), SMALL, tmp_path / "run", 1)
    assert "DRIFT" in found["flags"]
    assert found["verdict"] != "OVERFIT"
