"""The command `heldout reduce`: what it passes on, what it prints, and that a mistake is one sentence."""

import json
import sys
from pathlib import Path

import polars as pl
import pytest
import typer

from heldout.capacity_result import CapacityResult
from heldout.cli.command import guarded
from heldout.cli.reduce import reduce
from tests.test_experiment import make_table

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
app.command()(guarded(reduce))

ROWS = [
    {
        "values": {"num_layers": 1, "hidden_size": units}, "label": f"1 x {units}", "n_parameters": 100 * units,
        "per_sample": units / 10, "lr": 0.001, "train_loss": 0.5, "valid_loss": 0.6, "loss": 0.4 + units / 1000,
        "difference": 0.0 if units == 4 else 0.004, "se": 0.01, "low": None, "high": None, "folds": 5 if units > 2 else 3,
        "seeds": 3, "stopped": units == 2, "best": units == 4, "chosen": units == 4,
    }
    for units in (8, 4, 2)
]  # fmt: skip
OUTER = [
    {**ROWS[1], "name": "choice", "low": 0.3, "high": 0.5, "difference": None},
    {**ROWS[0], "name": "start", "low": None, "high": None, "difference": {"mean": 0.01, "low": -0.01, "high": 0.03, "se": 0.01}},
]  # fmt: skip
FOUND = {
    "kind": "capacity", "modality": "series", "metric": "mse", "rule": "1-SE", "plan": "walk",
    "stages": [{"name": "hidden_size", "rows": ROWS}], "start": ROWS[0]["values"], "choice": ROWS[1]["values"],
    "best": ROWS[1]["values"], "outer": {"rows": OUTER, "n_folds": 3, "n_seeds": 3, "n_moments": 300},
    "optimism": {"inside": 0.01, "outside": 0.02, "value": -0.01, "low": -0.1, "high": 0.1},
    "baselines": [{"name": "ridge", "loss": 0.6}], "fits": 90, "seconds": 1.0, "left_out": ["every other size"],
    "notes": [], "sentence": "1 x 4 will do\x1b[31m.", "run": "run",
}  # fmt: skip


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_table(60).write_csv("table.csv")
    return "table.csv"


@pytest.fixture
def calls(monkeypatch):
    """What the public function was called with, instead of fits."""
    seen = {}

    def find(source, config, **options):
        seen.update(options, source=source, config=config)
        return CapacityResult(Path("run"), FOUND)

    monkeypatch.setattr("heldout.reduce.reduce_capacity", find)
    monkeypatch.setattr("heldout.report.run_report.write_report", lambda path: path / "report.html")
    return seen


def run(*arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["heldout", *arguments])
        with pytest.raises(SystemExit) as end:
            app()
    return end.value.code


def test_options_reach_the_public_function(table, calls):
    options = ["--target", "y", "--horizon", "3", "--set", "hidden_size=8", "--workers", "2", "--out", "run"]
    assert run(table, *options, "--plan", "depth", "--rule", "simplest", "--budget", "50 fits, 10min") == 0
    assert (calls["source"], calls["out"]) == (table, Path("run"))
    assert (calls["plan"], calls["rule"], calls["budget"]) == ("depth", "simplest", "50 fits, 10min")
    assert calls["engine"].workers == 2
    assert calls["config"].data.target == ("y",)
    assert calls["config"].recipe.hidden_size == 8
    assert calls["command"].startswith("heldout table.csv --target y")


def test_a_column_of_texts_makes_it_a_search_over_texts(table, calls):
    pl.DataFrame({"review": ["good"], "label": ["a"]}).write_csv(table)
    assert run(table, "--text", "review", "--target", "label") == 0
    assert calls["config"].data.text == "review"


def test_the_tables_show_every_size_and_what_was_chosen(table, calls, capfd):
    Path("run").mkdir()
    Path("run/chosen.toml").touch()  # as the search would
    assert run(table, "--target", "y") == 0
    said = capfd.readouterr().out
    lines = {
        line.split("  ")[1].strip(): " ".join(line.split()) for line in said.splitlines() if "  " in line
    }
    assert lines["1 x 4"].endswith("chosen, best")
    assert lines["1 x 2"].endswith("given up (3 folds)")
    assert lines["1 x 8"].endswith("0.408 0.004 ± 0.01")
    assert "Fewer units" in said
    assert "Folds that chose nothing: 3, 300 moments, 3 seeds" in said
    assert "0.01 [-0.01 .. 0.03]" in said
    assert "left out to keep within the budget: every other size" in said
    assert "90 fits; run directory run" in said
    assert "heldout fit ... --config run/chosen.toml" in said
    assert "\x1b" not in said


def test_json_is_one_object(table, calls, capfd):
    assert run(table, "--target", "y", "--json") == 0
    assert json.loads(capfd.readouterr().out) == FOUND


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table.csv"], "no target column is given"),
        (["table.csv", "--target", "y", "--budget", "soon"], "write it as '50 fits'"),
        (["table.csv", "--target", "y", "--plan", "wlak"], "did you mean 'walk'"),
        (["table.csv", "--target", "y", "--rule", "2-SE"], "rule must be one of"),
        (["table.csv", "--target", "y", "--budget", "2 fits"], "a budget of 2 fits is too small"),
        (["none.csv", "--target", "y"], "none.csv"),
    ],
)
def test_a_mistake_exits_with_2_and_one_sentence(table, capfd, arguments, message):
    assert run(*arguments) == 2
    said = capfd.readouterr()
    assert message in said.err.splitlines()[-1]
    assert "Traceback" not in said.err
    assert said.out == ""
