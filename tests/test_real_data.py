"""The main job on real data, with no option but the target."""

import json
import subprocess
import sys

import pytest

QUICK = ["--set", "n_seeds=1", "--set", "max_epochs=1", "--json"]


def heldout(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "heldout", *arguments], capture_output=True, text=True, cwd=folder, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "target", "said"),
    [
        (
            "timeseries/ETTh1.csv.gz",
            "OT",
            ["the step is one hour", "horizon is 24", "OT: none", "season of 24 rows"],
        ),
        (
            "finance/sp500_20stocks_1990_2022.csv.gz",
            "AAPL",
            ["the step is one business day", "AAPL: log_return", "no season"],
        ),
        ("timeseries/AirPassengers.csv", "#Passengers", ["the step is one month", "the calendar's 12 rows"]),
    ],
)
def test_a_file_and_a_target_are_enough(shared, tmp_path, file, target, said):
    result, notes = heldout(tmp_path, "fit", str(shared / file), "--target", target, *QUICK)
    for sentence in said:
        assert sentence in notes
    values = {row["name"]: row["value"] for row in result["rows"]}
    assert values["heldout"] < 1.1 * values["naive"]


@pytest.mark.slow
def test_the_demo_beats_the_habit_and_the_last_value_and_keeps_up_with_ridge(tmp_path):
    result, _ = heldout(tmp_path, "demo", "--json")
    values = {row["name"]: row["value"] for row in result["rows"]}
    assert {"naive", "ridge", "har", "boosting", "habit", "heldout"} <= values.keys()
    assert values["heldout"] < min(values["naive"], values["habit"])
    assert values["heldout"] < 1.02 * values["ridge"]
    assert result["test_rows"] > 900
    assert "mean squared error" in result["metric"]
    for row in result["rows"]:
        assert row["low"] is None or row["low"] <= row["value"] <= row["high"]
