"""The command line: its exit codes, its one-line errors, and what each command leaves behind."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from heldout import cli
from heldout.check import visible
from heldout.config import Config
from heldout.progress import Display
from tests.test_experiment import make_table

FAST = [
    "--set",
    "lookback=14",
    "--set",
    "hidden_size=4",
    "--set",
    "max_epochs=2",
    "--set",
    "n_folds=0",
    "--set",
    "n_seeds=1",
]


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_table().write_csv("table.csv")
    return "table.csv"


def run(*arguments, capfd=None):
    """Run the command line as a shell would, in this process: the exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["heldout", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
    return end.value.code


def test_help_names_every_command_and_does_not_load_torch():
    code = "import sys, heldout.cli as c; from typer.testing import CliRunner as R; print(R().invoke(c.app, ['--help']).output); print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip().endswith("False")
    for command in ("fit", "predict", "init", "demo"):
        assert command in said


@pytest.mark.parametrize("command", [command.callback.__name__ for command in cli.app.registered_commands])
def test_every_command_has_help_and_a_place_in_the_docs(command):
    said = CliRunner().invoke(cli.app, [command, "--help"])
    assert said.exit_code == 0
    assert len(said.output) > 100
    docs = "".join(path.read_text() for path in (Path(__file__).parents[1] / "docs").glob("*.md"))
    assert f"heldout {command}" in docs


def test_the_help_of_fit_says_its_defaults():
    said = " ".join(CliRunner().invoke(cli.app, ["fit", "--help"], env={"COLUMNS": "200"}).output.split())
    for default in ("the first that holds dates", "from the calendar", "found", "runs/<target>-<number>"):
        assert f"(default: {default})" in said


def test_no_name_in_a_table_reaches_the_terminal_as_a_control_character(table, capfd):
    name = "x\x1b[31m\u202e\x9d0;t\x07"
    pl.read_csv(table).with_columns(pl.lit("word").alias(name)).write_csv(table)
    assert run("init", table, "--target", "y") == 2
    pl.read_csv(table).with_columns(pl.lit(1.0).alias(name)).write_csv(table)
    assert run("init", table, "--target", "y") == 0
    with Display(workers=1) as display:
        display.note(f"column {name!s}")
    said = capfd.readouterr().err
    assert said.count(repr(name)[1:-1]) + said.count(visible(name)) >= 3
    assert all(c.isprintable() for c in said.replace("\n", ""))


def test_fit_then_predict(table, capfd):
    assert (
        run(
            "fit", table, "--target", "y", "--horizon", "3", "--out", "run", "--workers", "1", "--json", *FAST
        )
        == 0
    )
    said = capfd.readouterr()
    result = json.loads(said.out)
    assert {row["name"] for row in result["rows"]} >= {"naive", "ridge", "heldout"}
    assert "the time is column 'time'" in said.err
    assert run("predict", "run", table, "-o", "forecast.csv") == 0
    assert pl.read_csv("forecast.csv").height == 3
    assert run("predict", "run", table) == 0
    assert capfd.readouterr().out.startswith("origin,time,step,target,forecast")


def test_a_gate_that_fails_exits_with_3_and_one_that_holds_with_0(table, capfd):
    options = ["fit", table, "--target", "y", "--out", "run", "--workers", "1", *FAST]
    assert run(*options, "--fail-if-worse-than", "naive") == 0
    # Learning nothing at a huge rate of shrinkage: the mean of the training rows is no worse than itself.
    assert (
        run(
            *options[:4],
            "--out",
            "bad",
            "--workers",
            "1",
            *FAST,
            "--set",
            "max_epochs=0",
            "--set",
            "shortcut=none",
            "--fail-if-worse-than",
            "ridge",
        )
        == 3
    )
    assert "gate: heldout's loss" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "tabel.csv", "--target", "y"], "table.csv"),
        (["fit", "table.csv"], "no target column is given"),
        (["fit", "table.csv", "--target", "z"], "'z'"),
        (["fit", "table.csv", "--target", "y", "--set", "units=3"], "here it is hidden_size"),
        (["fit", "table.csv", "--target", "y", "--set", "lr"], "--set needs name=value"),
        (
            ["fit", "table.csv", "--target", "y", "--config", "none.toml"],
            "cannot read the configuration none.toml",
        ),
        (["fit", "table.csv", "--target", "y", "--horizon", "0"], "horizon"),
        (["fit", "table.csv", "--target", "y", "--horizon", "200"], "ask for fewer folds"),
        (["fit", "table.csv", "--target", "y", "--tagret", "y"], "tagret"),
        (["predict", "nowhere", "table.csv"], "nowhere is no run directory"),
        (["init", "table.csv"], "no target column is given"),
        (["init", "table.csv", "--target", "y", "-o", "nodir/c.toml"], "nodir/c.toml"),
        (["fit", "table.csv", "--target", "y", "--fail-if-worse-than", "rigde"], "did you mean 'ridge'"),
        (["fitt"], "fitt"),
    ],
)
def test_a_mistake_exits_with_2_and_one_sentence_without_a_traceback(table, capfd, arguments, message):
    assert run(*arguments) == 2
    said = capfd.readouterr()
    assert message in said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    assert not Path("runs").exists()


def test_init_writes_a_file_that_fit_takes_and_never_overwrites(table, capfd):
    assert run("init", table, "--target", "y", "-o", "c.toml") == 0
    config = Config.read("c.toml")
    assert config.data.target == ("y",)
    assert config.data.past == ("x",)
    assert "# Units per LSTM layer" in Path("c.toml").read_text()
    assert run("init", table, "--target", "y", "-o", "c.toml") == 2
    assert "is there already" in capfd.readouterr().err
    assert run("fit", table, "--config", "c.toml", "--workers", "1", *FAST) == 0
    assert Path("runs/y-1/scores.json").exists()
    assert Config.read("runs/y-1/config.toml").recipe.hidden_size == 4


def test_the_version_is_said():
    said = CliRunner().invoke(cli.app, ["--version"])
    assert said.output.startswith("heldout 0.")
