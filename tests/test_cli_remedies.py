"""The command `heldout remedies`: what it passes on, what it prints, and that a mistake is one sentence."""

import json
import sys
from pathlib import Path

import pytest
import typer

from heldout.cli.command import guarded
from heldout.cli.remedies import remedies
from heldout.remedies_result import RemediesResult
from tests.report.remedies import remedies_scores
from tests.test_experiment import make_table

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
app.command()(guarded(remedies))
FOUND = remedies_scores() | {"left_out": ["seeds: 1 instead of 3"], "sentence": "EMA helps\x1b[31m."}


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
        return RemediesResult(Path("run"), FOUND)

    monkeypatch.setattr("heldout.ranking.rank_remedies", find)
    monkeypatch.setattr("heldout.report.run_report.write_report", lambda path: path / "report.html")
    return seen


def run(*arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["heldout", *arguments])
        with pytest.raises(SystemExit) as end:
            app()
    return end.value.code


def test_options_reach_the_public_function(table, calls):
    options = [
        "--target",
        "y",
        "--set",
        "hidden_size=8",
        "--workers",
        "2",
        "--out",
        "run",
        "--budget",
        "50 fits",
    ]
    assert (
        run(table, *options, "--only", "EMA", "--only", "l2", "--control", "recipe", "--delta", "0.02") == 0
    )
    assert (calls["source"], calls["out"], calls["budget"]) == (table, Path("run"), "50 fits")
    assert (calls["remedies"], calls["control"], calls["delta"]) == (["EMA", "l2"], "recipe", 0.02)
    assert calls["engine"].workers == 2
    assert calls["config"].recipe.hidden_size == 8
    assert calls["command"].startswith("heldout table.csv --target y")


def test_all_is_tried_where_nothing_is_named(table, calls):
    assert run(table, "--target", "y") == 0
    assert (calls["remedies"], calls["control"], calls["delta"], calls["budget"]) == (
        None,
        "bare",
        0.01,
        None,
    )


def test_what_was_found_is_printed(table, calls, capsys):
    Path("run").mkdir()
    Path("run/chosen.toml").touch()  # as the search would
    assert run(table, "--target", "y") == 0
    printed = capsys.readouterr().out
    for row in FOUND["rows"]:
        assert row["name"] in printed
        assert row["verdict"] in printed
    assert "not tried: fewer layers: the control has one layer" in printed
    assert "left out to keep within the budget: seeds: 1 instead of 3" in printed
    assert "heldout fit ... --config run/chosen.toml" in printed
    assert "\x1b[31m" not in printed


def test_json_is_one_object(table, calls, capsys):
    assert run(table, "--target", "y", "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(FOUND))


def test_a_mistake_is_one_sentence(table, capsys):
    assert run(table, "--target", "y", "--control", "none") == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "heldout: control must be one of 'bare', 'recipe', got 'none'"
    )
