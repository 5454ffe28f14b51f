"""Judging a recipe: what it may look at, that it resumes, and what the command says."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from heldout.check import InputError
from heldout.config import Config, TextConfig
from heldout.data.prepare import Prepare
from heldout.data.windows import Windows
from heldout.judging import efforts, judge
from heldout.recipe import Recipe
from heldout.report.run_report import write_report
from heldout.runs import Run
from heldout.search import Search
from heldout.studies.engine import InlineEngine
from heldout.training.settle import settle
from heldout.training.shuffled import shifted_origins, shuffled_labels
from tests.test_cli import run
from tests.test_experiment import make_table
from tests.test_reduce import Backwards, Counting, told
from tests.test_text_experiment import make_table as make_texts

CONFIG = Config().with_values(
    {
        "target": "y", "horizon": 3, "lookback": 14, "season": 12, "hidden_size": 8, "max_epochs": 2, "n_folds": 3,
        "n_seeds": 2, "regularization": 0.0, "patience": "none", "restore_best": False,
    }
)  # fmt: skip
TEXTS = TextConfig().with_values(
    {"text": "text", "target": "label", "hidden_size": 2, "embedding_size": 4, "max_epochs": 1, "n_folds": 3, "n_seeds": 1}
)  # fmt: skip


def verdict(folder, table=None, config=CONFIG, **options):
    source = make_table(240) if table is None else table
    return judge(source, config, out=folder, **{"engine": InlineEngine(), "budget": "90 fits", **options})


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return verdict(tmp_path_factory.mktemp("judge") / "run", budget=None)


def test_a_verdict_has_its_evidence_and_its_protocol(found):
    assert found.verdict in ("OVERFIT", "NO HARMFUL OVERFIT", "INCONCLUSIVE")
    scores = found.to_dict()
    assert [one["name"] for one in scores["members"]] == [
        "stopped early", "fewer units", "regularised more", "all of these",
    ]  # fmt: skip
    assert scores["signal"]["draws"] == 19
    assert len(scores["curve"]["n"]) == 5
    assert scores["curve"]["n"] == sorted(scores["curve"]["n"])
    protocol = json.loads((found.path / "protocol.json").read_text())
    assert protocol["delta"] == 0.01
    assert len(scores["protocol"]) == 64
    assert found.sentence.startswith(found.verdict)
    assert json.loads(json.dumps(scores)) == Run(found.path).scores()


def test_no_fit_reads_the_sealed_test(found):
    table = make_table(240)
    changed = table.with_columns(y=pl.when(pl.int_range(240) >= 200).then(99.0).otherwise(pl.col("y")))
    first, second = (Search.make(one, CONFIG) for one in (table, changed))
    last = first.outer[-1].test
    assert last.known_by <= first.context.data.time[200]
    assert [fold.test for fold in first.outer] == [fold.test for fold in second.outer]


def test_a_killed_verdict_goes_on_to_the_same_words(found, tmp_path):
    folder = tmp_path / "run"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            verdict(folder, budget=None, engine=Backwards(30))
    listener = Counting()
    again = verdict(folder, budget=None, engine=Backwards(), listener=listener)
    skip = ("protocol",)
    assert {k: v for k, v in told(again).items() if k not in skip} == {
        k: v for k, v in told(found).items() if k not in skip
    }
    assert again.to_dict()["protocol"] == found.to_dict()["protocol"]
    assert sum(was_there for _, was_there in listener.fitted) >= 60


def test_a_finished_verdict_is_given_again_without_a_fit(found):
    listener = Counting()
    assert verdict(found.path, budget=None, listener=listener).found == found.found
    assert not listener.fitted


def test_a_budget_leaves_out_and_says_so(tmp_path):
    least = verdict(tmp_path / "run", budget="40 fits")
    assert least.found["left_out"]
    assert least.found["fits"] <= 40
    assert least.found["signal"] is None
    with pytest.raises(InputError, match="too small"):
        verdict(tmp_path / "other", budget="3 fits")
    assert not (tmp_path / "other").exists()


def test_efforts_only_ever_become_less():
    found = efforts(3, ["a", "b", "c", "d"])
    amounts = [(one.n_seeds, len(one.members), one.n_draws, one.curve) for one in found]
    assert amounts == sorted(amounts, reverse=True, key=lambda x: (x[0] * x[1], x[2], x[3]))
    assert all(len({said.split(":")[0] for said in one.left_out}) == len(one.left_out) for one in found)


def test_a_leak_withholds_every_other_verdict_and_fits_nothing(tmp_path):
    table = make_table(240)
    leaky = table.with_columns(tomorrow=pl.col("y").shift(-1).fill_null(0.0))
    listener = Counting()
    found = verdict(tmp_path / "run", leaky, listener=listener)
    assert found.verdict == "LEAK-SUSPECT"
    assert not listener.fitted
    assert any(finding["status"] == "FAIL" for finding in found.found["audit"])
    assert "tomorrow" in write_report(found.path).read_text()


def test_what_chose_the_recipe_must_be_a_search(found):
    with pytest.raises(InputError, match="selected_from must be a finished run of heldout tune"):
        judge(make_table(240), CONFIG, selected_from=found.path)


@pytest.mark.parametrize("splits", ["abc", [(1, 2, 3)], 7])
def test_a_split_that_is_none_is_one_sentence(splits):
    with pytest.raises(InputError, match="splits must be pairs of row numbers"):
        judge(make_table(240), CONFIG, splits=splits)


@pytest.mark.parametrize(("features", "said"), [(3, "a function"), (lambda frame: None, "must give a frame")])
def test_features_that_give_no_frame_are_one_sentence(features, said):
    with pytest.raises(InputError, match=f"features must.*{said}|{said}"):
        judge(make_table(240), CONFIG, features=features)


def test_delta_must_be_a_share():
    with pytest.raises(InputError, match="delta"):
        judge(make_table(240), CONFIG, delta=1.0)


def test_a_regulariser_that_does_nothing_is_refused_before_any_fit(tmp_path):
    table, folder = make_table(240), tmp_path / "run"
    config = CONFIG.with_values({"temporal_penalty": 0.5, "segment": 14, "lookback": 14})
    with pytest.raises(InputError, match=r"temporal_penalty=0\.5 changes nothing"):
        verdict(folder, table, config)


def test_texts_are_judged_by_their_own_folds(tmp_path):
    found = verdict(tmp_path / "run", make_texts(90), TEXTS, budget="60 fits").to_dict()
    assert found["modality"] == "text"
    seen = found["linear"]  # log losses of the same texts, so that one can be held against the other
    assert ("UNDERFIT" in found["flags"]) == (seen["own"] >= seen["linear"] > 0)
    assert found["drift"] is None
    assert found["gap"] is not None
    assert found["raw_harm"] is not None
    assert found["method"] == "corrected t over splits (Nadeau and Bengio)"


def test_shifted_labels_stay_in_their_part_and_series_and_keep_their_order(panel):
    rows = panel.origins(10)
    parts = rows[panel.time[rows] < panel.time[200]], rows[panel.time[rows] >= panel.time[200]]
    moved = shifted_origins(panel, parts, 10, seed=3)
    for part in parts:
        for number in range(3):
            own = part[panel.series_of_row[part] == number]
            lag = int((moved[own[0]] - own[0]) % len(own))
            assert sorted(moved[own]) == own.tolist()
            assert moved[own].tolist() == [own[(n + lag) % len(own)] for n in range(len(own))]
            assert min(lag, len(own) - lag) >= min(10 + panel.horizon, len(own) // 2)


def test_windows_with_other_labels_keep_their_own_inputs(series):
    rows = series.origins(14)
    recipe = settle(Recipe(lookback=14), series)
    windows: Windows = Prepare.fit(series, rows, 14, recipe).apply(series, 14)
    moved = torch.from_numpy(np.roll(np.arange(series.n_rows), 1))
    some = torch.from_numpy(rows[5:9])
    other = replace(windows, labels_of=moved)
    assert torch.equal(other.gather(some).x, windows.gather(some).x)
    assert torch.equal(other.gather(some).y, windows.gather(moved[some]).y)


def test_shuffled_labels_are_the_same_labels():
    labels, units = np.arange(40) % 3, np.arange(40) // 2
    found = shuffled_labels(labels, (np.arange(30), np.arange(30, 36)), units, seed=0)
    assert sorted(found[:30]) == sorted(labels[:30])
    assert sorted(found[30:36]) == sorted(labels[30:36])
    assert found[36:].tolist() == labels[36:].tolist()


def test_the_command_says_the_verdict_and_may_gate_on_it(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    make_table(240).write_csv("table.csv")
    options = ["--target", "y", "--horizon", "3", "--budget"]
    sets = [
        f"--set={name}={value}"
        for name, value in (
            ("lookback", 14),
            ("hidden_size", 4),
            ("max_epochs", 1),
            ("n_folds", 3),
            ("n_seeds", 1),
        )
    ]
    code = run(
        "judge",
        "table.csv",
        *options,
        "60 fits",
        *sets,
        "--out",
        "run",
        "--fail-if-overfit",
    )
    said = capfd.readouterr()
    assert code in (0, 3)
    assert (code == 3) == said.out.startswith("OVERFIT")
    assert "report run/report.html" in said.out
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    assert run("judge", "table.csv", *options, "60 fits", *sets, "--out", "run", "--json") == 0
    assert json.loads(capfd.readouterr().out)["kind"] == "verdict"
    assert run("judge", "table.csv", *options, "1 fit", *sets) == 2
