"""Tuning: what it finds, keeps and leaves out; that it is the same however it is run; that no later row chooses anything."""

import json
import sqlite3

import numpy as np
import optuna
import polars as pl
import pytest

from heldout.check import InputError
from heldout.config import Config, TextConfig
from heldout.listener import Silent
from heldout.recipe import Recipe
from heldout.search import Search
from heldout.studies.allowance import Allowance
from heldout.studies.cost import Budget
from heldout.studies.engine import InlineEngine, LocalEngine
from heldout.studies.ledger import Ledger
from heldout.studies.space import Space
from heldout.tune_result import TuneResult, sentence_of
from heldout.tuning import tune

CONFIG = Config().with_values(
    {
        "target": "y", "horizon": 2, "lookback": 8, "season": 12, "hidden_size": 3, "max_epochs": 3, "n_folds": 2, "n_seeds": 2,
        "shortcut": "none", "segment": 1,
    }
)  # fmt: skip
SPACE = Space({"lr": {"low": 1e-3, "high": 0.3, "log": True}, "hidden_size": [2, 3, 5], "lookback": [4, 8]})
RUN_SPECIFIC = ("run", "command", "seconds", "environment")


def make_table(n=160, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    stamps = np.datetime64("2020-01-01T00", "us") + t * np.timedelta64(1, "h")
    return pl.DataFrame({"time": stamps, "y": np.sin(2 * np.pi * t / 12) + 0.3 * rng.normal(size=n)})


def look(out, *, table=None, config=CONFIG, engine=None, **options):
    given = {"space": SPACE, "n_trials": 5, **options}
    return tune(
        make_table() if table is None else table, config, out=out, engine=engine or InlineEngine(), **given
    )


def same(result):
    """What a run found, but for where and how long."""
    return {name: value for name, value in result.found.items() if name not in RUN_SPECIFIC}


def finished_fits(path):
    with Ledger(path / "ledger.sqlite", readonly=True) as ledger:
        return [event.key for event in ledger.events() if event.what == "finished"]


class Notes(Silent):
    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


class Cut(InlineEngine):
    """An engine that is interrupted after some fits."""

    def __init__(self, after):
        self.after = after

    def run(self, task, jobs, context, on_progress=None):
        for found in InlineEngine().run(task, jobs, context, on_progress):
            yield found
            self.after -= 1
            if not self.after:
                raise KeyboardInterrupt


class Backwards(InlineEngine):
    """An engine whose last job ends first."""

    def run(self, task, jobs, context, on_progress=None):
        last = len(jobs) - 1
        for number, found in InlineEngine().run(task, jobs[::-1], context):
            yield last - number, found


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    notes = Notes()
    return folder / "a", look(folder / "a", listener=notes), notes.said


def test_the_first_trial_is_the_recipe_as_it_is_and_goes_to_the_end(finished):
    _, result, _ = finished
    start = result.trials[0]
    assert start["values"] == {"lr": 1e-3, "hidden_size": 3, "lookback": 8} == result.start
    assert (start["state"], start["epochs"], start["folds"], start["se"]) == ("complete", 3, 2, None)
    assert [trial["number"] for trial in result.trials] == list(range(5))
    assert result.found["rungs"] == [1, 3]


def test_the_choice_is_the_best_complete_trial_and_its_gain_is_told_thrice(finished):
    _, result, _ = finished
    complete = [trial for trial in result.trials if trial["state"] == "complete"]
    best = min(complete, key=lambda trial: trial["loss"])
    assert result.choice == best["values"] != result.start
    found = result.found
    assert found["inside"]["gain"] == pytest.approx(1 - best["loss"] / result.trials[0]["loss"])
    rows = {row["name"]: row for row in found["outer"]["rows"]}
    assert found["outside"]["gain"] == pytest.approx(1 - rows["choice"]["loss"] / rows["start"]["loss"])
    assert found["optimism"]["value"] == pytest.approx(found["inside"]["gain"] - found["outside"]["gain"])
    assert rows["start"]["difference"]["mean"] == pytest.approx(
        rows["start"]["loss"] - rows["choice"]["loss"]
    )
    assert found["lucky"]["deflated"] == pytest.approx(found["inside"]["gain"] - found["lucky"]["gain"])
    assert 1 <= found["lucky"]["effective_trials"] <= 5
    assert found["pbo"]["n_configs"] == len(complete)
    assert 0 <= found["spa"] <= 1
    assert found["outer"]["n_seeds"] == 2


def test_it_says_before_it_starts_how_long_it_takes_at_most(finished):
    path, result, said = finished
    ahead = next(text for text in said if "at most" in text)
    assert ahead.startswith("5 trials: at most 24 fits, about ")
    assert "a guess" in ahead
    assert len(finished_fits(path)) == result.found["fits"] <= 24


def test_the_result_is_plain_json_and_reads_as_tables(finished):
    path, result, _ = finished
    assert json.loads((path / "scores.json").read_text()) == json.loads(json.dumps(result.to_dict()))
    assert result.sentence.startswith("Of 5 trials trial ")
    assert result.sentence in result._repr_html_().replace("&#x27;", "'")
    options, trials, judged = result.tables()
    assert [row[0] for row in options[2]] == list(SPACE)
    assert len(trials[2]) == 5
    assert {"ridge", "naive"} <= {row[0] for row in judged[2]}


def test_the_chosen_configuration_makes_the_chosen_recipe(finished):
    _, result, _ = finished
    values = result.config.recipe.to_dict()
    assert {name: values[name] for name in SPACE} == result.choice
    assert isinstance(result.config.recipe, Recipe)
    assert result.config.data == CONFIG.data


def test_optuna_opens_the_exported_study(finished):
    path, result, _ = finished
    storage = optuna.storages.RDBStorage(f"sqlite:///{path / 'optuna.sqlite'}")
    study = optuna.load_study(study_name="heldout", storage=storage)
    states = {"COMPLETE": {"complete"}, "PRUNED": {"stopped", "raced out"}, "FAIL": {"failed"}}
    for trial, row in zip(study.trials, result.trials, strict=True):
        assert trial.params == row["values"]
        assert row["state"] in states[trial.state.name]
        assert trial.value == pytest.approx(row["loss"])
        assert trial.last_step == row["epochs"]
    assert study.best_trial.params == result.choice
    storage.engine.dispose()
    assert [trial.params for trial in result.study.trials] == [trial.params for trial in study.trials]
    with sqlite3.connect(path / "optuna.sqlite") as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    file.close()
    assert not list(path.glob(".optuna*"))


def test_asked_again_it_fits_nothing(finished, monkeypatch):
    path, result, _ = finished
    before = finished_fits(path)
    monkeypatch.setattr(Search, "make", lambda *_, **__: pytest.fail("it cut the table again"))
    again = look(path)
    assert again.found == result.found
    assert finished_fits(path) == before


def test_stopped_anywhere_and_given_again_it_finds_the_same_and_fits_nothing_twice(finished, tmp_path):
    _, whole, _ = finished
    for after in (1, 4, 9):
        with pytest.raises(KeyboardInterrupt):
            look(tmp_path / "b", engine=Cut(after))
        assert not (tmp_path / "b" / "scores.json").exists()
    found = look(tmp_path / "b")
    assert same(found) == same(whole)
    keys = finished_fits(tmp_path / "b")
    assert len(keys) == len(set(keys)) == whole.found["fits"]
    assert not (tmp_path / "b" / "checkpoints").exists()


def test_the_order_in_which_fits_end_changes_nothing(finished, tmp_path):
    _, whole, _ = finished
    assert same(look(tmp_path / "b", engine=Backwards())) == same(whole)


@pytest.mark.slow
def test_two_workers_find_what_one_does(finished, tmp_path):
    _, whole, _ = finished
    assert same(look(tmp_path / "b", engine=LocalEngine(2))) == same(whole)


def test_rows_after_the_folds_that_choose_decide_nothing(finished, tmp_path):
    _, whole, _ = finished
    table = make_table()
    last = Search.make(table, CONFIG).inner[-1].test
    later = table.with_row_index().with_columns(
        y=pl.when(pl.col("index") > 110).then(pl.col("y") * 3 - 7).otherwise(pl.col("y"))
    )
    context = Search.make(table, CONFIG).context
    assert last.rows(context.data, context.lookback).max() + 2 <= 110
    other = look(tmp_path / "b", table=later.drop("index"))
    assert other.found["trials"] == whole.found["trials"]
    assert other.choice == whole.choice
    assert other.found["inside"] == whole.found["inside"]
    assert other.found["outer"] != whole.found["outer"]


def test_a_budget_of_fits_is_kept_and_what_it_leaves_out_is_said(tmp_path):
    found = look(tmp_path / "a", n_trials=40, budget="24 fits").found
    assert found["fits"] <= 24
    assert 3 <= found["n_trials"] < 40
    assert found["left_out"] == [
        f"{40 - found['n_trials']} of 40 trials, for which the budget of 24 fits has no room"
    ]
    with pytest.raises(
        InputError, match=r"a budget of 12 fits is too small.*the judgement of 8 fits, take 16"
    ):
        look(tmp_path / "b", budget=12)
    with pytest.raises(InputError, match=r"a budget of .* is too small: the recipe, one other trial"):
        look(tmp_path / "c", n_trials=None, budget="0.001s")


def test_a_budget_of_time_decides_the_same_when_it_is_resumed(tmp_path):
    first = look(tmp_path / "a", n_trials=None, budget="5s")
    assert first.found["left_out"]
    (tmp_path / "a" / "scores.json").unlink()
    again = look(tmp_path / "a", n_trials=None, budget="5s", engine=InlineEngine())
    assert again.found == first.found | {"command": again.found["command"]}


def test_less_time_allows_fewer_trials():
    def allowance(seconds):
        return Allowance(
            limit=Budget(seconds=seconds),
            workers=2,
            n_folds=5,
            rungs=[1.0, 2.0, 4.0],
            kept_fits=9,
            kept_work=20.0,
        )

    sizes = [allowance(seconds).largest(9) for seconds in (1, 30, 60, 90, 1000)]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (0, 9)
    assert allowance(1).largest(9, start=True) == 2
    assert allowance(1).room(1, 3) == 1
    assert allowance(1000).room(1, 3) == 3


def test_a_trial_that_cannot_be_fitted_is_told_and_not_the_end(tmp_path):
    config = CONFIG.with_values(
        {
            "optimizer": "sgd",
            "clip_norm": 0,
            "weight_decay": 0,
            "max_epochs": 2,
            "n_seeds": 1,
            "batch_size": 4,
        }
    )
    space = {"l2": [0, 1e9], "hidden_size": [2, 3]}
    found = look(tmp_path / "a", config=config, space=space, n_trials=4).found
    failed = [trial for trial in found["trials"] if trial["state"] == "failed"]
    assert {trial["values"]["l2"] for trial in failed} == {1e9}
    assert all("is not finite in epoch 1" in trial["why"] for trial in failed)
    assert found["choice"]["l2"] == 0
    assert found["trials"][0]["state"] == "complete"


def test_few_values_are_tried_once_each_and_the_search_ends(tmp_path):
    config = CONFIG.with_values({"max_epochs": 1, "n_seeds": 1})
    result = look(tmp_path / "a", config=config, space={"hidden_size": [2, 3]}, n_trials=30)
    assert result.found["left_out"] == ["more trials: the space holds hardly any others"]
    with Ledger(tmp_path / "a" / "ledger.sqlite", readonly=True) as ledger:
        names = [ledger.get(key).name for key in ledger.keys()]  # noqa: SIM118 - a ledger is no dict
    recipes = {name.split(",")[0] for name in names if name.startswith(("trial", "start"))}
    assert len(recipes) == 2
    copies = [trial for trial in result.trials if trial["why"].startswith("the same as")]
    assert len(copies) == len(result.trials) - 2


def test_a_recipe_outside_the_space_is_still_the_start(tmp_path):
    notes = Notes()
    config = CONFIG.with_values({"max_epochs": 1, "n_seeds": 1})
    result = look(tmp_path / "a", config=config, space={"hidden_size": [2, 5]}, n_trials=2, listener=notes)
    assert result.start == {"hidden_size": 3}
    assert any("lies outside the space in hidden_size" in text for text in notes.said)
    assert result.study.trials[0].state.name == "FAIL"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_trials": 1}, r"n_trials must be in \[2"),
        ({"budget": "soon"}, "a budget must be"),
        (
            {"space": {"lookback": [4, 99]}},
            "the space asks for lookback=99, but .* set lookback to the longest",
        ),
        ({"space": {"alpha_aeda": [0, 0.1]}}, "the space asks for alpha_aeda=0, but unknown option"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        look(tmp_path / "a", **options)
    assert not (tmp_path / "a").exists()


def test_texts_are_tuned_too(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.choice(["good", "bad"], 120)
    texts = [" ".join([label, *(f"w{k}" for k in rng.integers(40, size=5))]) for label in labels]
    config = TextConfig().with_values(
        {
            "text": "text", "target": "label", "hidden_size": 3, "embedding_size": 4, "max_epochs": 1, "n_folds": 2, "n_seeds": 1,
        }
    )  # fmt: skip
    table = pl.DataFrame({"text": texts, "label": labels})
    result = look(tmp_path / "a", table=table, config=config, space=None, n_trials=2)
    assert (result.found["modality"], result.found["metric"]) == ("text", "log loss")
    assert {"alpha_aeda", "p_unk", "embedding_dropout"} <= result.choice.keys()
    assert isinstance(result.config, TextConfig)


def test_the_sentence_tells_good_from_lucky(finished):
    _, result, _ = finished
    found = result.found
    outside = {"gain": 0.1, "low": 0.05, "high": 0.15}
    inside = found | {
        "inside": {"gain": 0.2},
        "outside": outside,
        "lucky": {"gain": 0.08},
        "optimism": {"value": 0.1, "low": -0.02, "high": 0.22},
    }
    said = sentence_of(inside)
    assert "10.0 % less than that of the recipe as it is (better; saved 10.0 % [5.0 %, 15.0 %])" in said
    assert "it saved 20.0 %, of which the best of as many useless trials would show 8.0 %" in said
    assert "choosing flattered it by 10.0 points [-2.0, +22.0]" in said
    assert "none is better than the recipe as it is" in sentence_of(inside | {"chosen": 0})
    assert TuneResult(result.path, inside).to_dict() == inside
