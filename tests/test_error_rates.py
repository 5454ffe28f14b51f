"""The short form of `benchmarks/error_rates.py`: a truth of each kind, and what is said of it."""

import pytest
from benchmarks.error_rates import (
    HABIT,
    LEAKS,
    SMALL,
    against_itself,
    autoregression,
    clean,
    held_to_truth,
    judged,
    noise,
    planted,
    steps,
)

from heldout.auditing import audit
from heldout.judging import judge
from heldout.studies.engine import InlineEngine


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_is_suspected(name, tmp_path):
    table, config, more = planted(name, 0)
    assert (
        judge(table, config, out=tmp_path, engine=InlineEngine(), budget="40 fits", **more).verdict
        == "LEAK-SUSPECT"
    )


@pytest.mark.parametrize("seed", range(7))
def test_a_clean_table_raises_no_alarm(seed):
    assert not audit(*clean(seed)).leaks


def test_noise_is_no_skill(tmp_path):
    assert "NO-SKILL" in judged(noise(0), SMALL, tmp_path / "run", 1)["flags"]


@pytest.mark.slow
def test_the_habit_is_overfit(tmp_path):
    assert judged(autoregression(0), HABIT, tmp_path / "run", 1)["verdict"] == "OVERFIT"


def test_the_interval_of_the_harm_holds_what_the_same_fits_lose_on_many_new_rows(tmp_path):
    assert held_to_truth(0, SMALL, tmp_path / "run", 1)["held"] == [True, True]


def test_a_shift_of_the_mean_is_drift_and_not_overfit(tmp_path):
    found = judged(steps(0), SMALL, tmp_path / "run", 1)
    assert "DRIFT" in found["flags"]
    assert found["verdict"] != "OVERFIT"


def test_a_control_held_against_itself_is_not_said_to_help(tmp_path):
    rows = against_itself(0, tmp_path)["rows"]
    assert len(rows) == 10
    assert all(row["low"] <= 0 <= row["high"] for row in rows)
