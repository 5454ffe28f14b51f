"""`heldout audit`: planted leaks are found, clean tables pass, and a fit says what its quick audit found."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

import heldout
from heldout.audit_result import AuditResult
from heldout.auditing import audit, audit_files, quick_audit
from heldout.check import InputError
from heldout.cli.audit import audit as command
from heldout.cli.command import GATE_FAILED, guarded
from heldout.config import Config, TextConfig
from heldout.studies.engine import InlineEngine
from heldout.task import Task
from tests.data.audit.tables import KINDS, centred, clean, filled_back, later, random_walk, table, words

CONFIG = Config().with_values({"target": "y", "horizon": 3, "lookback": 12})
TEXTS = TextConfig().with_values({"text": "text", "target": "label"})
Y = random_walk(np.random.default_rng(0))
app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
app.command()(guarded(command))


def leaks(result: AuditResult) -> set[str]:
    return {finding.check for finding in result.leaks}


def named(**columns):
    return Config().with_values({"target": "y", "horizon": 3, "lookback": 12, **columns})


def shuffled(n, lookback=12, horizon=3, seed=0):
    order = np.random.default_rng(seed).permutation(np.arange(lookback - 1, n - horizon))
    return [(order[: len(order) // 2], order[len(order) // 2 :])]


def by_group(frame):
    return TextConfig().with_values({"text": "text", "target": "label", "group": "author"})


def repeated_texts():
    frame = words(np.random.default_rng(0))
    return pl.concat([frame, frame[:60].with_columns(pl.col("text").str.to_uppercase())])


def text_halves(n):
    order = np.random.default_rng(1).permutation(n)
    return [(order[: n // 2], order[n // 2 :])]


AUTHORS = words(np.random.default_rng(0)).with_columns(author=pl.Series(np.arange(300) % 20).cast(pl.String))
PLANTED = {
    "future feature": (lambda: audit(table(Y, x=later(Y)), CONFIG), "look-ahead in columns"),
    "noisy future feature": (
        lambda: audit(
            table(Y, x=later(Y, 2) + 0.03 * np.random.default_rng(1).normal(size=len(Y))), CONFIG, quick=True
        ),
        "look-ahead in columns",
    ),
    "centred window": (lambda: audit(table(Y, x=centred(Y)), CONFIG, quick=True), "look-ahead in columns"),
    "centred window, made by a function": (
        lambda: audit(
            table(Y),
            CONFIG,
            quick=True,
            features=lambda frame: frame.with_columns(x=pl.col("y").rolling_mean(61, center=True)),
        ),
        "features with later rows cut off",
    ),
    "scaler on all rows": (
        lambda: audit(table((Y - Y.mean()) / Y.std()), CONFIG, quick=True),
        "scaled beforehand",
    ),
    "scaler on all rows, made by a function": (
        lambda: audit(
            table(Y).to_pandas(), CONFIG, quick=True, features=lambda frame: frame.assign(x=frame.y - frame.y.mean())
        ),
        "features with later rows cut off",
    ),
    "back-fill": (lambda: audit(table(Y, x=filled_back(Y)), CONFIG, quick=True), "look-ahead in columns"),
    "back-fill, made by a function": (
        lambda: audit(
            table(Y, x=np.where(np.arange(len(Y)) % 3 == 0, later(Y, 7), np.nan)),
            CONFIG,
            quick=True,
            features=lambda frame: frame.with_columns(pl.col("x").fill_nan(None).backward_fill()),
        ),
        "features with later rows cut off",
    ),
    "duplicate texts": (
        lambda: audit(
            repeated_texts(),
            TEXTS.with_values({"near_duplicates": 1.0}),
            splits=text_halves(360),
        ),
        "duplicates across parts",
    ),
    "target copy, known ahead": (
        lambda: audit(table(Y, x=2 * Y + 3), named(future=("x",)), quick=True),
        "look-ahead in columns",
    ),
    "label in the text": (
        lambda: audit(
            words(np.random.default_rng(0)).with_columns(
                text=pl.col("text") + " class=" + pl.col("label")
            ),
            TEXTS,
        ),
        "words that give the label away",
    ),
    "group on both sides": (
        lambda: audit(AUTHORS, by_group(AUTHORS), quick=True, splits=text_halves(300)),
        "groups on both sides",
    ),
    "shuffled windows": (
        lambda: audit(table(Y), CONFIG, quick=True, splits=shuffled(len(Y))),
        "overlap of labels and windows",
    ),
}  # fmt: skip


@pytest.mark.parametrize("plant", PLANTED)
def test_a_planted_leak_is_found_and_named(plant):
    make, check = PLANTED[plant]
    found = make()
    assert check in leaks(found), found.sentence
    assert not found.ok
    assert found.finding(check).n_rows > 0 or found.finding(check).rows


@pytest.mark.parametrize("kind", KINDS)
def test_clean_tables_of_this_kind_raise_no_alarm(kind):
    for seed in range(2):
        found = audit(clean(kind, seed), CONFIG, quick=seed > 0)
        assert found.ok, (seed, found.sentence)


def test_clean_texts_raise_no_alarm():
    for seed in range(2):
        found = audit(words(np.random.default_rng(seed)), TEXTS)
        assert found.ok, (seed, found.sentence)


def test_real_series_raise_no_alarm(shared):
    for path, target in (
        ("finance/sp500_daily_1999_2018.csv.gz", "Close"),
        ("finance/sp500_daily_1999_2018.csv.gz", "Open"),  # nearly yesterday's close, which is known
        ("timeseries/temps.csv", "Daily minimum temperatures"),
        ("timeseries/monthly-sunspots.csv", "Sunspots"),
    ):
        found = audit(shared / path, Config().with_values({"target": target}))
        assert found.ok, (path, found.sentence)


def test_real_texts_raise_no_alarm_and_published_copies_are_named(shared):
    folder = shared / "text/eda/trec"
    config = TextConfig().with_values({"text": "column_2", "target": "column_1"})
    found = audit(folder / "train_500.txt.gz", config)
    assert found.ok, found.sentence
    both = audit_files(folder / "train_2000.txt.gz", folder / "test.txt.gz", config)
    copies = both.finding("duplicates across parts")  # as its publishers left them
    assert (copies.status, copies.kind, copies.n_rows) == ("FAIL", "hint", 4)  # of 500: less than 1 %
    assert {"accuracy", "accuracy_without_copies"} <= copies.figures.keys()


def test_a_function_that_looks_back_passes_and_what_it_makes_is_audited():
    def features(frame):
        return frame.with_columns(
            past=pl.col("y").rolling_mean(5), before=pl.col("y").shift(1), copy=pl.col("y") * 2
        )

    found = audit(table(Y), CONFIG, features=features)
    assert found.ok
    assert found.finding("features with later rows cut off").status == "PASS"
    assert found.finding("columns that say nothing").failed  # the copy


def test_a_function_is_cut_by_time_where_rows_of_several_series_are_mixed():
    frame = pl.concat(
        [table(random_walk(np.random.default_rng(k), 300)).with_columns(id=pl.lit(f"s{k}")) for k in range(3)]
    )
    config = named(id="id")

    def back(frame):
        return frame.with_columns(x=pl.col("y").rolling_mean(4).over("id"))

    def ahead(frame):
        return frame.with_columns(x=pl.col("y").shift(-1).over("id"))

    assert audit(frame, config, quick=True, features=back).ok
    assert "features with later rows cut off" in leaks(audit(frame, config, quick=True, features=ahead))


def test_a_running_mean_is_no_leak_but_needs_its_history():
    found = audit(table(Y), CONFIG, features=lambda frame: frame.with_columns(x=pl.col("y").cum_sum()))
    assert found.ok
    assert found.finding("features with earlier rows cut off").failed


@pytest.mark.parametrize("plant", ["future", "clean"])
def test_the_audit_changes_no_table(plant):
    frame = table(Y, x=later(Y) if plant == "future" else np.roll(Y, 1)).to_pandas()
    before = frame.copy()
    audit(frame, CONFIG, quick=True, features=lambda f: f.assign(z=f.y.shift(1)))
    pd.testing.assert_frame_equal(frame, before)


def test_what_a_fit_would_refuse_is_reported():
    frame = table(np.where(np.arange(len(Y)) % 50 == 7, np.nan, Y))
    twice = pl.concat([frame, frame[100:110]])
    found = audit(twice, CONFIG)
    assert found.finding("repeated times").n_rows == 10
    assert found.finding("gaps").figures["y"] == 8


def test_two_tables_cut_at_one_time_pass_and_overlapping_ones_do_not():
    first, second = table(Y)[:300], table(Y)[300:]
    assert audit_files(first, second, CONFIG).ok
    found = audit_files(first, table(Y)[290:], CONFIG)
    assert leaks(found) == {"rows in both tables"}
    assert found.finding("rows in both tables").n_rows == 10
    untimed = audit_files(first.drop("time"), table(Y)[250:].drop("time"), CONFIG)
    assert "rows in both tables" in leaks(untimed)


def test_the_quick_audit_is_a_part_of_the_full_one():
    frame = clean("price", 0)
    quick, full = (audit(frame, CONFIG, quick=which) for which in (True, False))
    assert {f.check for f in quick.findings} < {f.check for f in full.findings}
    task = Task.make(frame, CONFIG.with_values({"missing": "fill"}), {})
    assert [f.to_dict() for f in quick_audit(task)] == [f.to_dict() for f in quick.findings]


def test_a_result_is_json_and_comes_back():
    found = audit(table(Y, x=later(Y)), CONFIG)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert not told["ok"]
    assert AuditResult.from_dict(told).to_dict() == found.to_dict()
    assert "look-ahead" in found._repr_html_()
    with pytest.raises(InputError, match="there is no check 'leak'"):
        found.finding("leak")


def test_a_split_that_names_no_row_is_refused():
    for splits in ([], [(np.arange(3), np.array([10**6]))], [(np.array([], int), np.arange(3))]):
        with pytest.raises(InputError, match="splits must"):
            audit(table(Y), CONFIG, splits=splits)


def test_features_of_texts_and_of_another_length_are_refused():
    with pytest.raises(InputError, match="features are of series"):
        audit(words(np.random.default_rng(0)), TEXTS, features=lambda frame: frame)
    with pytest.raises(InputError, match="as many rows as it is given, but gave 399 for 400"):
        audit(table(Y), CONFIG, features=lambda frame: frame[1:])


def test_the_command_prints_the_checks_and_the_gate_exits_with_3(tmp_path):
    table(Y, x=later(Y)).write_csv(tmp_path / "leak.csv")
    asked = [str(tmp_path / "leak.csv"), "--target", "y", "--horizon", "3"]
    page = tmp_path / "page.html"
    shown = CliRunner().invoke(app, [*asked, "--out", str(page)])
    assert shown.exit_code == 0, shown.output
    assert "LEAK" in shown.output
    assert "1 leak: look-ahead in columns" in shown.output
    assert "look-ahead in columns" in page.read_text()
    told = CliRunner().invoke(app, [*asked, "--quick", "--json", "--fail-if-leak"])
    assert told.exit_code == GATE_FAILED
    assert json.loads(told.stdout)["quick"]


def test_the_command_takes_two_tables_and_refuses_to_hurry_them(tmp_path):
    table(Y)[:300].write_csv(tmp_path / "a.csv")
    table(Y)[290:].write_csv(tmp_path / "b.csv")
    asked = [str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--target", "y", "--horizon", "3"]
    shown = CliRunner().invoke(app, asked)
    assert "rows in both tables" in shown.output
    assert CliRunner().invoke(app, [*asked, "--quick"]).exit_code == 2


def test_the_command_takes_two_tables_of_texts(tmp_path):
    frame = words(np.random.default_rng(0))
    frame[:200].write_csv(tmp_path / "a.csv")
    frame[190:].write_csv(tmp_path / "b.csv")
    asked = [str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--text", "text", "--target", "label"]
    shown = CliRunner().invoke(app, asked)
    assert "duplicates across parts" in shown.output
    assert CliRunner().invoke(app, [*asked, "--test", str(tmp_path / "b.csv")]).exit_code == 2


class Notes:
    """A listener that keeps what it is told."""

    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)

    def begin(self, jobs):
        pass

    def epoch(self, job, event):
        pass

    def finished(self, job, result, was_there):
        pass


def test_a_fit_audits_first_says_so_and_keeps_it(tmp_path):
    quick = {"n_folds": 0, "n_seeds": 1, "max_epochs": 0, "hidden_size": 2, "study.test_size": 0.3}
    frame = table(Y[:200], x=np.nan_to_num(later(Y[:200]), nan=Y[199]))
    listener = Notes()
    result = heldout.fit(
        frame, CONFIG.with_values(quick), out=tmp_path / "run", listener=listener, engine=InlineEngine()
    )
    assert any(text.startswith("audit: 1 leak") for text in listener.said)
    kept = json.loads((result.path / "scores.json").read_text())["audit"]
    assert [f["check"] for f in kept if f["status"] == "FAIL" and f["kind"] == "leak"] == [
        "look-ahead in columns"
    ]
    page = heldout.write_report(result.path).read_text()
    assert page.index("Is there a leak?") < page.index("Against what?")
