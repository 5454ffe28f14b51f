"""Making a network smaller: what it may look at, what it keeps, and that nothing but the data and the options decides."""

import json
from dataclasses import replace
from math import inf

import numpy as np
import pytest

from heldout.capacity_result import CapacityResult
from heldout.check import InputError
from heldout.config import Config, TextConfig
from heldout.listener import Silent
from heldout.reduce import reduce_capacity
from heldout.search import Search
from heldout.studies.engine import InlineEngine
from heldout.studies.ledger import Ledger
from heldout.studies.sizes import label, lstm_parameters
from heldout.task import Task
from heldout.text_task import TextTask
from tests.test_experiment import make_table
from tests.test_text_experiment import make_table as make_texts

CONFIG = Config().with_values(
    {
        "target": "y", "horizon": 3, "lookback": 14, "season": 12, "hidden_size": 4, "max_epochs": 1, "n_folds": 3,
        "n_seeds": 2,
    }
)  # fmt: skip
TEXTS = TextConfig().with_values(
    {"text": "text", "target": "label", "hidden_size": 2, "embedding_size": 16, "max_epochs": 1, "n_folds": 2, "n_seeds": 1}
)  # fmt: skip


class Backwards(InlineEngine):
    """Does the fits of a round in another order, and may be killed after some."""

    def __init__(self, lives=inf):
        self.lives = lives

    def run(self, task, jobs, context, on_progress=None):
        for index in reversed(range(len(jobs))):
            if self.lives <= 0:
                raise KeyboardInterrupt
            self.lives -= 1
            (_, result), = super().run(task, [jobs[index]], context)  # fmt: skip
            yield index, result


class Counting(Silent):
    """Remembers what it was told."""

    def __init__(self):
        self.notes, self.plans, self.fitted = [], [], []

    def note(self, text):
        self.notes.append(text)

    def begin(self, jobs):
        self.plans.append(len(jobs))

    def finished(self, job, result, was_there):
        self.fitted.append((job.name, was_there))


def reduce(folder, table=None, config=CONFIG, **options):
    source = make_table(240) if table is None else table
    return reduce_capacity(source, config, out=folder, **{"engine": InlineEngine(), **options})


def told(result):
    """All of a result that does not name a place or a time."""
    return {
        key: value
        for key, value in result.to_dict().items()
        if key not in ("run", "command", "seconds", "environment")
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder, listener = tmp_path_factory.mktemp("runs") / "a", Counting()
    return folder, reduce(folder, listener=listener), listener


def test_it_walks_down_and_says_what_each_size_gave(finished):
    _, result, _ = finished
    found = result.to_dict()
    assert (found["kind"], found["modality"], found["metric"]) == ("capacity", "series", "mse")
    assert [stage["name"] for stage in result.stages] == ["hidden_size"]
    assert [row["label"] for row in result.rows] == ["1 x 4", "1 x 2"]
    for row in result.rows:
        assert row["folds"] == (3 if not row["stopped"] else row["folds"])
        assert min(row["train_loss"], row["valid_loss"], row["loss"], row["per_sample"]) > 0
    assert sum(row["chosen"] for row in result.rows) == sum(row["best"] for row in result.rows) == 1
    assert found["start"] == {"num_layers": 1, "hidden_size": 4}
    assert found["choice"] == next(row["values"] for row in result.rows if row["chosen"])
    outer = found["outer"]
    assert (outer["n_folds"], outer["n_seeds"]) == (1, 2)
    assert outer["rows"][0]["name"] == "choice"
    assert outer["rows"][0]["values"] == found["choice"]
    assert {"naive", "ridge"} <= {one["name"] for one in found["baselines"]}


def test_what_it_writes_is_json_and_a_configuration_to_fit_with(finished):
    folder, result, _ = finished

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    found = json.loads((folder / "scores.json").read_text(), parse_constant=refuse)
    assert found == result.to_dict()
    chosen = Config.read(folder / "chosen.toml")
    assert chosen == replace(CONFIG, recipe=CONFIG.recipe.with_values(result.choice))


def test_the_rows_can_be_drawn_and_shown(finished):
    _, result, _ = finished
    assert result.plot().data
    with pytest.raises(InputError, match="there was no stage 'depth': there are hidden_size"):
        result.plot("depth")
    shown = result._repr_html_()
    assert shown.count("<table>") == 2
    assert result.sentence.split(".")[0] in shown


def test_the_plan_that_was_told_is_not_exceeded_and_comes_true(finished):
    _, result, listener = finished
    assert listener.plans == sorted(listener.plans, reverse=True)
    assert listener.plans[-1] == result.found["fits"] == len({name for name, _ in listener.fitted})
    assert any(note.startswith(f"at most {listener.plans[0]} fits, about ") for note in listener.notes)
    assert not any(was_there for _, was_there in listener.fitted)


def test_given_again_it_is_answered_without_a_fit_or_a_look_at_the_ledger(finished, monkeypatch):
    folder, result, _ = finished
    monkeypatch.setattr("heldout.reduce.Ledger", None)
    monkeypatch.setattr("heldout.reduce.Search", None)
    assert reduce(folder).to_dict() == result.to_dict()


def test_stopped_again_and_again_and_in_any_order_it_finds_the_same_and_fits_nothing_twice(
    finished, tmp_path
):
    _, result, listener = finished
    deaths = 0
    while True:
        try:
            again = reduce(tmp_path, engine=Backwards(9))
            break
        except KeyboardInterrupt:
            deaths += 1
    assert deaths >= 1
    assert told(again) == told(result)
    with Ledger(tmp_path / "ledger.sqlite", readonly=True) as ledger:
        done = [event.detail for event in ledger.events() if event.what == "finished"]
    assert len(done) == len(set(done)) == result.found["fits"]
    assert set(done) == {name for name, _ in listener.fitted}


@pytest.mark.parametrize("modality", ["series", "text"])
def test_nothing_that_chooses_or_judges_touches_the_sealed_test(modality):
    if modality == "series":
        search, task = Search.make(make_table(), CONFIG), Task.make(make_table(), CONFIG, {})
        data, sealed = task.data, task.folds[-1].test.rows(task.data, 14)
        for fold in search.inner + search.outer:
            for span in (fold.train, fold.valid, fold.test):
                rows = span.rows(data, 14)
                assert data.time[rows + data.horizon].max() <= data.time[sealed].min()
        ends = max(data.time[fold.test.rows(data, 14)].max() for fold in search.inner)
        assert all(data.time[fold.test.rows(data, 14)].min() > ends for fold in search.outer)
        return
    search, task = Search.make(make_texts(), TEXTS), TextTask.make(make_texts(), TEXTS, {})
    sealed = set(task.split.folds[-1].test.tolist())
    judged = {row for fold in search.outer for row in fold.test.tolist()}
    for fold in search.inner + search.outer:
        rows = set(np.concatenate([fold.train, fold.valid, fold.test]).tolist())
        assert not rows & sealed
        assert fold in search.outer or not rows & judged


def test_texts_are_walked_down_to_shorter_word_vectors(tmp_path):
    result = reduce(tmp_path, make_texts(80), TEXTS)
    assert [stage["name"] for stage in result.stages] == ["embedding_size"]
    assert [row["values"]["embedding_size"] for row in result.rows] == [16, 8]
    assert result.found["metric"] == "log loss"
    assert {one["name"] for one in result.found["baselines"]} >= {"majority", "tfidf"}
    assert "heldout.TextConfig.read" in result.found["command"]
    assert TextConfig.read(tmp_path / "chosen.toml").recipe.embedding_size == result.choice["embedding_size"]


def test_shallow_and_deep_are_compared_at_equal_weights(tmp_path):
    config = CONFIG.with_values({"hidden_size": 24, "n_seeds": 1, "study.n_folds": 2})
    result = reduce(tmp_path, config=config, plan="depth", rule="best")
    assert [stage["name"] for stage in result.stages] == ["depth"]
    assert [row["values"]["num_layers"] for row in result.rows] == [1, 2, 3]
    assert result.rows[0]["label"] == "1 x 24"
    inputs = Search.make(make_table(240), config).n_inputs
    weights = [lstm_parameters(*row["values"].values(), inputs) for row in result.rows]
    assert max(weights) / min(weights) < 1.2


def test_a_budget_is_kept_by_leaving_out_seeds_first_and_a_resumed_run_leaves_out_the_same(
    finished, tmp_path
):
    full = finished[2].plans[0]
    listener = Counting()
    with pytest.raises(KeyboardInterrupt):
        reduce(tmp_path, budget=f"{full - 1} fits", engine=Backwards(2), listener=listener)
    assert any(
        "it leaves out seeds: sizes are compared with 1 instead of 2" in note for note in listener.notes
    )
    plan = (tmp_path / "plan.json").read_text()
    result = reduce(tmp_path, budget=f"{full - 1} fits")
    assert (tmp_path / "plan.json").read_text() == plan
    assert result.found["left_out"] == ["seeds: sizes are compared with 1 instead of 2"]
    assert {row["seeds"] for row in result.rows} == {1}
    assert result.found["outer"]["n_seeds"] == 2
    assert result.found["fits"] <= full - 1


def test_a_time_that_is_too_short_is_refused_by_what_the_first_fits_took(tmp_path):
    listener = Counting()
    with pytest.raises(
        InputError, match=r"a budget of 1 s is too small: .* fits, about .* on 1 core; raise it"
    ):
        reduce(tmp_path, budget="0.01s", listener=listener)
    assert len(listener.fitted) == 3


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ({}, {"plan": "wlak"}, "did you mean 'walk'"),
        ({}, {"rule": "2-SE"}, "rule must be one of 'best', '1-SE', 'simplest'"),
        ({}, {"budget": "soon"}, "a budget must be"),
        ({}, {"budget": 3}, "a budget of 3 fits is too small: the least that can be compared here is"),
        ({"hidden_size": 3}, {}, "there is nothing smaller than 1 x 3"),
        ({"study.n_folds": 1}, {}, "a choice needs 2 folds at least"),
    ],
)
def test_a_mistake_is_one_sentence_before_any_fit(tmp_path, changed, options, message):
    with pytest.raises(InputError, match=message):
        reduce(tmp_path, config=CONFIG.with_values(changed), engine=Backwards(0), **options)


def test_the_start_is_the_users_or_else_by_the_data():
    from heldout.reduce import _start  # noqa: PLC0415 - what the walk begins at is worth a test of its own

    given, why = _start(Search.make(make_table(), CONFIG))
    assert label(given) == "1 x 4"
    assert "as given" in why
    found, why = _start(Search.make(make_table(), CONFIG.with_values({"hidden_size": 32})))
    assert label(found) == "2 x 32"
    assert "numbers that the first fold learns from" in why
    assert _start(Search.make(make_texts(), TEXTS))[0]["embedding_size"] == 16


def test_a_result_is_read_back_from_its_directory(finished):
    folder, result, _ = finished
    again = CapacityResult(folder, json.loads((folder / "scores.json").read_text()))
    assert again.sentence == result.sentence
    assert again.tables() == result.tables()


def test_what_is_refused_before_the_first_fit_leaves_nothing_behind(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    for out in (tmp_path / "new", mine):
        with pytest.raises(InputError, match="is too small"):
            reduce_capacity(make_table(), CONFIG, out=out, budget="2 fits")
    assert not (tmp_path / "new").exists()
    assert list(mine.iterdir()) == []
