"""The command line: its exit codes, its one-line errors, and what each command leaves behind."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from heldout import cli
from heldout.check import visible
from heldout.cli.command import guarded
from heldout.cli.show import hold_against, show
from heldout.config import Config
from heldout.data.vectors import read_vectors
from heldout.progress import Display
from heldout.report.blocks import Table
from heldout.report.terminal import print_table
from heldout.studies.compare import Interval
from heldout.text_result import TextResult, TextRow
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
    for command in ("fit", "predict", "init", "demo", "report", "compare", "vectors", "augment"):
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
    assert "JSON lines" in said
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
    options = ["fit", table, "--target", "y", "--out", "run", "--workers", "0", *FAST]
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
    assert sum(not line.startswith("· ") for line in said.err.splitlines()) == 1  # beside what was inferred
    assert said.out == ""
    assert not Path("runs").exists()


def test_no_page_and_no_forecast_replaces_a_table(table, capfd):
    before = Path(table).read_bytes()
    Path("log.csv").write_text("epoch,loss,val_loss\n0,2,2\n1,1,1\n")
    assert run("audit", table, "--target", "y", "--quick", "--out", table) == 2
    assert "holds something else than a page" in capfd.readouterr().err
    assert run("diagnose", "log.csv", "--out", "log.csv") == 2
    assert run("predict", "nowhere", table, "-o", table) == 2
    assert "is the file that is read" in capfd.readouterr().err
    assert Path(table).read_bytes() == before
    assert Path("log.csv").read_text().startswith("epoch")
    for _ in range(2):  # a page is replaced
        assert run("diagnose", "log.csv", "--out", "page.html") == 0


def test_init_writes_a_file_that_fit_takes_and_never_overwrites(table, capfd):
    assert run("init", table, "--target", "y", "-o", "c.toml") == 0
    config = Config.read("c.toml")
    assert config.data.target == ("y",)
    assert config.data.past == ("x",)
    assert "# Units per LSTM layer" in Path("c.toml").read_text()
    assert run("init", table, "--target", "y", "-o", "c.toml") == 2
    assert "is there already" in capfd.readouterr().err
    assert run("fit", table, "--config", "c.toml", "--workers", "0", *FAST) == 0
    assert Path("runs/y-1/scores.json").exists()
    assert Config.read("runs/y-1/config.toml").recipe.hidden_size == 4


def test_the_version_is_said():
    said = CliRunner().invoke(cli.app, ["--version"])
    assert said.output.startswith("heldout 0.")


def interval(mean, low=-np.inf, high=np.inf):
    known = bool(np.isfinite(low))
    se, df = (0.1, 9) if known else (np.inf, 0)
    return Interval(mean=mean, low=low, high=high, se=se, df=df, level=0.95, p_value=0.01, enough=known)


def line(name, value, ends, accuracy, skill, against):
    return TextRow(
        name=name, value=value, low=ends[0], high=ends[1], accuracy=accuracy, accuracy_low=0.4, accuracy_high=1.0,
        macro_f1=accuracy - 0.02, balanced_accuracy=accuracy, ece=0.02, ece_before=None, skill_vs_naive=interval(skill),
        heldout_skill=against, folds=None,
    )  # fmt: skip


def found(path, own=0.41):
    """What a fit of texts gives."""
    rows = [
        line("heldout", own, (0.35, 0.47), 0.9, 0.6, interval(0.0)),
        line("tfidf", 0.5, (0.4, 0.6), 0.85, 0.5, interval(0.18, 0.1, 0.25)),
        line("majority", 1.0, (-np.inf, np.inf), 0.5, 0.0, interval(0.59)),
    ]
    return TextResult(
        path=path, rows=rows, classes=("a", "b"), test_rows=1, best_baseline="tfidf", n_folds=1, n_seeds=2,
        added_nothing=False, fold_skill=None, looks=1, model=None,
    )  # fmt: skip


@pytest.fixture
def reviews(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = ["A good film, and not too long!", "What a bad film.", "good", "Never a dull moment\x1b[31m."]
    pl.DataFrame({"review": texts, "label": [1, 0, 1, 1], "author": list("abba")}).write_csv("reviews.csv")
    return "reviews.csv"


def test_a_result_of_texts_is_shown_with_what_judges_a_classifier(capfd, tmp_path):
    show(found(tmp_path), as_json=False)
    said = capfd.readouterr().out
    for column in ("log loss", "accuracy", "macro-F1", "ECE", "skill vs majority", "heldout against it"):
        assert column in said
    lines = {line.split()[0]: " ".join(line.split()) for line in said.splitlines() if line.split()}
    assert lines["heldout"] == "heldout 0.41 0.35 .. 0.47 90.0 % 0.880 0.020 +60.0 % -"
    assert lines["tfidf"] == "tfidf 0.5 0.4 .. 0.6 85.0 % 0.830 0.020 +50.0 % +18.0 % [+10.0 .. +25.0]"
    assert lines["majority"].endswith("too few blocks 50.0 % 0.480 0.020 - +59.0 % [too few blocks]")
    assert "log loss, 1 sealed text " in said
    show(found(tmp_path), as_json=True)
    assert [row["name"] for row in json.loads(capfd.readouterr().out)["rows"]] == [
        "heldout",
        "tfidf",
        "majority",
    ]


def test_the_gate_takes_a_baseline_of_texts(capfd, tmp_path):
    hold_against(found(tmp_path), "tfidf")
    hold_against(found(tmp_path), None)
    with pytest.raises(typer.Exit) as end:
        hold_against(found(tmp_path, own=0.6), "tfidf")
    assert end.value.exit_code == 3
    assert "heldout's loss 0.6 is above that of tfidf, 0.5" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "reviews.csv", "--target", "label", "--group", "review"], "name their column with --text"),
        (["fit", "reviews.csv", "--text", "review", "--horizon", "3"], "--horizon is for series only"),
        (["fit", "reviews.csv", "--set", "text=review", "--id", "label"], "--id is for series only"),
        (["fit", "reviews.csv", "--text", "review", "--target", "a", "--target", "b"], "one label: give --target once"),
        (["augment", "reviews.csv", "--text", "reviev"], "did you mean 'review'"),
        (["augment", "reviews.csv", "--text", "review", "--set", "alpha_rs=2"], "alpha_rs must be in [0, 1]"),
        (["augment", "reviews.csv", "--text", "review", "--set", "alpha_nn=.1"], "set vectors="),
        (["augment", "reviews.csv", "--text", "review", "--set", "mixup=.2"], "cannot be shown as text; set one that can: alpha_sr"),
        (["vectors", "none.txt", "--vocabulary", "reviews.csv", "-o", "a.npy"], ".npz"),
        (["vectors", "none.txt", "--vocabulary", "none.csv", "-o", "a.npz"], "none.csv"),
        (["init", "reviews.csv", "--text", "review"], "no column of labels is given"),
        (["fit", "reviews.csv", "--text", "review", "--target", "label", "--group", "label"], "a group that is the label"),
        (["demo", "texts"], "did you mean 'text'"),
    ],
)  # fmt: skip
def test_a_mistake_about_texts_exits_with_2_and_one_sentence(reviews, capfd, arguments, message):
    assert run(*arguments) == 2
    said = capfd.readouterr()
    assert message in said.err
    assert said.err.count("\n") <= 2
    assert "Traceback" not in said.err
    assert said.out == ""


@pytest.mark.parametrize("how", ["options", "file"])
def test_a_column_of_texts_makes_it_a_run_of_texts(reviews, capfd, monkeypatch, how):
    asked = {}

    def fit(source, config, **options):
        asked.update(options, source=source, config=config)
        return found(Path("run"))

    monkeypatch.setattr("heldout.experiment.fit", fit)
    monkeypatch.setattr("heldout.report.run_report.write_report", lambda path: path / "report.html")
    options = ["--text", "review", "--target", "label", "--group", "author"]
    if how == "file":
        assert run("init", reviews, *options, "-o", "c.toml") == 0
        assert "next: heldout fit reviews.csv --config c.toml" in capfd.readouterr().err
        options = ["--config", "c.toml"]
    options += ["--set", "alpha_aeda=.25", "--fail-if-worse-than", "tfidf"]
    assert run("fit", reviews, *options, "--workers", "0", "--out", "run") == 0
    data = asked["config"].data
    assert (data.text, data.target, data.group, data.time) == ("review", "label", "author", None)
    assert asked["config"].recipe.alpha_aeda == 0.25
    assert (asked["source"], asked["out"], asked["gate"]) == (reviews, Path("run"), "tfidf")
    said = capfd.readouterr().out
    assert "heldout's log loss is 0.41" in said
    assert "report run/report.html" in said


def test_predict_prints_the_label_of_each_row_and_how_probable_each_class_is(reviews, capfd, monkeypatch):
    table = pl.DataFrame({"row": [0], "label": ["a"], "p_a": [0.75], "p_b": [0.25]})
    monkeypatch.setattr("heldout.forecast.predict", lambda run, source: (table, ["1 text is empty"]))
    assert run("predict", "run", reviews) == 0
    said = capfd.readouterr()
    assert said.out == "row,label,p_a,p_b\n0,a,0.75,0.25\n"
    assert said.err == "· 1 text is empty\n"
    assert run("predict", "run", reviews, "-o", "said.csv") == 0
    assert "1 label in said.csv" in capfd.readouterr().err


def test_the_demo_of_texts_says_how_often_it_is_right(capfd, monkeypatch, tmp_path):
    monkeypatch.setattr("heldout.demo_text.run", lambda **_: found(tmp_path))
    monkeypatch.setattr("heldout.report.run_report.write_report", lambda path: path / "report.html")
    assert run("demo", "text", "--workers", "0") == 0
    said = capfd.readouterr().out
    assert "right one of 2 packages for 90 % of the texts, TF-IDF with logistic regression for 85 %" in said


def test_a_missing_package_for_texts_is_named_and_any_other_fault_is_not_hidden(capfd):
    def lacking(name):
        raise ModuleNotFoundError(name=name)

    with pytest.raises(typer.Exit) as end:
        guarded(lacking)("tokenizers")
    assert end.value.exit_code == 2
    assert "pip install 'heldout[text]'" in capfd.readouterr().err
    with pytest.raises(ModuleNotFoundError):
        guarded(lacking)("heldout.data.txet")


def test_augment_shows_originals_and_variants_and_draws_the_same_again(reviews, capfd):
    command = ["augment", reviews, "--text", "review", "-n", "4"]
    assert run(*command) == 0
    said = capfd.readouterr()
    assert "AEDA" in said.err
    originals, variants = said.out.splitlines()[::2], said.out.splitlines()[1::2]
    assert [line.split("\t")[0] for line in originals] == ["0", "1", "2", "3"]
    for original, variant in zip(originals, variants, strict=True):
        words = set(re.findall(r"\w+", original.split("\t")[1].lower()))
        assert set(re.findall(r"\w+", variant.lower())) == words
    assert "\x1b" not in said.out
    assert run(*command) == 0
    assert capfd.readouterr().out == said.out
    assert run(*command, "--seed", "1") == 0
    assert capfd.readouterr().out != said.out


def test_augment_writes_pairs_and_says_what_did_not_change(reviews, capfd):
    assert run("augment", reviews, "--text", "review", "--set", "alpha_rs=.2", "-o", "pairs.csv") == 0
    pairs = pl.read_csv("pairs.csv")
    assert pairs.columns == ["row", "original", "variant"]
    assert pairs.filter(pl.col("variant").is_null())["original"].to_list() == ["good"]
    said = capfd.readouterr().err
    assert "1 of 4 texts came out unchanged" in said
    assert "4 pairs in pairs.csv" in said


def test_what_cannot_be_shown_of_several_ways_is_said(reviews, capfd):
    assert run("augment", reviews, "--text", "review", "--set", "mixup=.2", "--set", "p_unk=.9") == 0
    said = capfd.readouterr()
    assert "mixup mixes word vectors" in said.err
    assert "[UNK]" in said.out


def test_a_terminal_shows_pairs_side_by_side(reviews, capfd, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    assert run("augment", reviews, "--text", "review") == 0
    said = re.sub(r"\x1b\[[\d;]*m", "", capfd.readouterr().out)
    assert any(
        "What a bad film." in line and "bad film" in line.split("film.")[1] for line in said.splitlines()
    )
    assert "⟨U+001B⟩" in said


def test_vectors_keeps_the_words_of_a_corpus_and_says_what_was_lost(reviews, capfd):
    Path("glove.txt").write_text("good 1 2 3\nfilm 2 1 0\nbad 0 0 7\ncat 5 5 5\n")
    options = [
        "--vocabulary",
        reviews,
        "--text",
        "review",
        "--size",
        "2",
        "--min-count",
        "1",
        "-o",
        "small.npz",
    ]
    assert run("vectors", "glove.txt", *options) == 0
    said = capfd.readouterr()
    assert said.out.startswith("small.npz")
    assert "2 numbers per word keep" in said.err
    held = read_vectors("small.npz", ["good", "film", "bad"])
    assert sorted(held.words) == ["bad", "film", "good"]
    assert held.vectors.shape == (3, 2)


def test_the_startup_does_not_wait_for_what_one_command_needs():
    code = "import sys, heldout.cli; print({'torch', 'polars', 'numpy', 'tokenizers', 'plotly'} & sys.modules.keys())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "set()"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--address", "127.0.0.1:1"], "--address names a Ray cluster: give --engine ray with it"),
        (["--engine", "ray", "--workers", "1", "--address", "nonsense"], "must be host:port, got 'nonsense'"),
        (["--engine", "ray", "--workers", "1", "--address", "127.0.0.1:1"], "no Ray cluster answers at 127.0.0.1:1: correct the address"),
        (["--engine", "ray", "--workers", "0"], "--workers 0 does the fits in this process: give 1 or more"),
        (["--engine", "spark"], "--engine must be one of"),
    ],
)  # fmt: skip
def test_where_fits_cannot_run_is_said_before_anything_is_read(tmp_path, capfd, options, message):
    assert run("fit", "nowhere.csv", "--target", "y", "--out", str(tmp_path / "run"), *options) == 2
    assert message in capfd.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_table_for_a_file_is_as_wide_as_its_numbers(capsys):
    print_table(Table(caption="wide", header=["a", *"bcdefgh"], rows=[["x", *["1" * 40] * 7]]))
    assert capsys.readouterr().out.count("1" * 40) == 7
