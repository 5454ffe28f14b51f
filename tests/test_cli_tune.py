"""The command `tune`: what it prints, its options, and its errors."""

import json

import pytest
import typer
from typer.testing import CliRunner

from heldout.cli.command import guarded
from heldout.cli.tune import tune
from heldout.studies.engine import InlineEngine
from tests.test_tuning import make_table

SETTINGS = {
    "lookback": 8, "horizon": 2, "season": 12, "hidden_size": 3, "max_epochs": 1, "n_folds": 2, "n_seeds": 1, "shortcut": "none",
}  # fmt: skip


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Give the command with a small table, its fits in this process."""
    monkeypatch.setattr("heldout.studies.engine.LocalEngine", lambda workers: InlineEngine())
    monkeypatch.setattr("heldout.report.run_report.write_report", lambda run: run / "report.html")
    make_table().write_csv(tmp_path / "table.csv")
    (tmp_path / "space.toml").write_text(
        "[space]\nhidden_size = [2, 3, 4]\nlr = {low = 1e-3, high = 1e-1, log = true}\n"
    )
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(guarded(tune))
    settings = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]

    def run(*options):
        words = [
            str(tmp_path / "table.csv"),
            "--target",
            "y",
            "--out",
            str(tmp_path / "run"),
            *settings,
            *options,
        ]
        return CliRunner().invoke(app, words)

    return run


def test_it_prints_one_object_or_tables_and_goes_on_from_what_was_done(call, tmp_path):
    space = ("--space", str(tmp_path / "space.toml"), "--trials", "3")
    done = call(*space, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["kind"] == "tune"
    assert found["n_trials"] == 3
    assert list(found["space"]) == ["hidden_size", "lr"]
    assert f"report {tmp_path / 'run' / 'report.html'}" in done.stderr
    again = call(*space)
    assert again.exit_code == 0
    said = " ".join(again.stdout.split())
    for part in ("Options", "Trials", "Judged on 1 fold that chose nothing", "Of 3 trials", "chosen.toml"):
        assert part in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trials", "1"], "n_trials must be in [2"),
        (["--budget", "soon"], "a budget must be"),
        (["--budget", "5 fits"], "a budget of 5 fits is too small"),
        (["--space", "none.toml"], "cannot read the space none.toml"),
    ],
)
def test_a_mistake_is_one_line_and_exits_with_2(call, options, message):
    done = call(*options)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.splitlines()[-1].startswith("heldout: ")
