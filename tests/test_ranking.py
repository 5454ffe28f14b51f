"""Ranking remedies: equal footing, nothing but data and options decides, and the number that leads is of rows that chose nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest

from heldout.check import FitError, InputError
from heldout.config import Config, TextConfig
from heldout.listener import Silent
from heldout.ranking import rank_remedies
from heldout.search import Search
from heldout.studies.engine import InlineEngine
from heldout.studies.ledger import Finished, Ledger
from heldout.studies.remedies import MORE_DATA
from heldout.studies.remedy_arms import RemedyArms
from tests.test_experiment import make_table
from tests.test_reduce import Backwards, Counting
from tests.test_text_experiment import make_table as make_texts

CONFIG = Config().with_values(
    {"target": "y", "horizon": 2, "lookback": 12, "season": 12, "hidden_size": 4, "max_epochs": 1, "n_folds": 2, "n_seeds": 2}
)  # fmt: skip
TEXTS = TextConfig().with_values(
    {"text": "text", "target": "label", "hidden_size": 2, "embedding_size": 8, "max_epochs": 1, "n_folds": 2, "n_seeds": 1}
)  # fmt: skip
THREE = ("linear shortcut", "seed ensemble", "more data")


def rank(folder, table=None, config=CONFIG, remedies=THREE, **options):
    source = make_table(200) if table is None else table
    return rank_remedies(
        source, config, remedies=remedies, out=folder, **{"engine": InlineEngine(), **options}
    )


def told(result):
    """All of a result that does not name a place or a time."""
    found = {
        key: value
        for key, value in result.to_dict().items()
        if key not in ("run", "command", "seconds", "environment")
    }
    return found | {"rows": [{**row, "cost": None} for row in found["rows"]]}


def arms_of(source, config):
    search = Search.make(source, config)
    return search, RemedyArms(
        config.recipe, "bare", None, settle=search.variant, n_train=search.n_train(search.inner[0]), n_seeds=2
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder, listener = tmp_path_factory.mktemp("runs") / "a", Counting()
    return folder, rank(folder, listener=listener), listener


def test_it_says_what_each_gains_and_how_sure_that_is(finished):
    _, result, _ = finished
    found = result.to_dict()
    assert (found["kind"], found["modality"], found["metric"]) == ("remedies", "series", "mse")
    assert {row["name"] for row in result.rows} == {*THREE}
    gains = [row["gain"] for row in result.rows]
    assert gains == sorted(gains, reverse=True)
    for row in result.rows:
        assert row["low"] <= row["gain"] <= row["high"]
        assert 0 <= row["probability"] <= 1
        assert 0 <= row["won"] <= found["n_folds"] == len(row["by_fold"]) == 2
        assert row["gain"] == pytest.approx(np.mean(row["by_fold"]))
        assert (row["tier"] is None) == (row["name"] == MORE_DATA)


def test_a_linear_part_is_found_where_the_truth_is_linear_and_confirmed_elsewhere(finished):
    _, result, _ = finished
    assert result.rows[0]["name"] == result.found["choice"]["name"] == "linear shortcut"
    assert result.found["selected"]["mean"] > 0.3
    assert result.found["confirmed"]["mean"] > 0.3
    assert result.sentence.startswith("linear shortcut: selected +")


def test_the_mean_of_seeds_loses_no_more_than_the_seeds(finished):
    _, result, _ = finished
    row = next(row for row in result.rows if row["name"] == "seed ensemble")
    assert min(row["by_fold"]) >= -1e-12


def test_what_it_writes_is_json_and_a_configuration_to_fit_with(finished):
    folder, result, _ = finished

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    found = json.loads((folder / "scores.json").read_text(), parse_constant=refuse)
    assert found == result.to_dict()
    chosen = Config.read(folder / "chosen.toml")
    assert chosen == replace(CONFIG, recipe=CONFIG.recipe.with_values(result.choice))
    assert (chosen.recipe.shortcut, chosen.recipe.patience) == ("ridge", None)


def test_what_could_be_seen_is_said_before_the_rest_is_fitted(finished):
    _, result, listener = finished
    place = next(n for n, note in enumerate(listener.notes) if "in 4 of 5 cases" in note)
    assert listener.notes[place - 1].startswith(f"at most {listener.plans[0]} fits, about ")
    assert result.found["power"]["said"] == listener.notes[place]
    assert len(listener.fitted) == len({name for name, _ in listener.fitted}) == result.found["fits"]
    assert result.found["fits"] <= listener.plans[0]


def test_it_can_be_drawn_and_shown(finished):
    _, result, _ = finished
    assert result.plot().data
    assert result._repr_html_().count("<table>") == len(result.tables()) == 2


def test_given_again_it_is_answered_without_a_fit(finished, monkeypatch):
    folder, result, _ = finished
    monkeypatch.setattr("heldout.ranking.Ledger", None)
    monkeypatch.setattr("heldout.ranking.Search", None)
    assert rank(folder).to_dict() == result.to_dict()


def test_killed_and_started_again_in_another_order_it_finds_the_same(finished, tmp_path):
    _, result, _ = finished
    for lives in (4, 9):
        with pytest.raises(KeyboardInterrupt):
            rank(tmp_path / "b", engine=Backwards(lives))
    assert told(rank(tmp_path / "b", engine=Backwards())) == told(result)


def test_neither_the_sealed_test_nor_a_choosing_row_is_in_what_confirms(finished):
    folder, _, _ = finished
    search = Search.make(make_table(200), CONFIG)
    with Ledger(folder / "ledger.sqlite", readonly=True) as ledger:
        folds = {ledger.get(key).spec["fold"]["name"] for key in list(ledger.keys())}
        assert ledger.looks() == []
    inner, outer = ({fold.name for fold in part} for part in (search.inner, search.outer))
    less = {search.recent(fold, 0.6).name for fold in search.inner}
    assert folds == inner | outer | less
    assert not inner & outer


def test_the_control_under_another_name_does_not_help(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "heldout.studies.remedy_arms.find_remedies", lambda case, names: ({"l2": {}, "l1": {}}, {})
    )
    result = rank(tmp_path / "a", config=CONFIG.with_values({"n_seeds": 1}))
    assert {row["verdict"] for row in result.rows} == {"NO MATERIAL EFFECT"}
    assert [row["gain"] for row in result.rows] == [0, 0]
    assert (result.found["choice"]["name"], result.found["confirmed"]) == ("control", None)
    assert "the control stays" in result.sentence


TRUTH = {"linear shortcut": 0.10, "EMA": 0.06, "l1": 0.03, "jitter": 0.0, "mixup": -0.05, "l2": -0.001}


def planted(search, jobs, *_, **__):
    """Fits whose loss is that of the fold less a known share for each remedy, at the middle rate three times as good to validate on."""
    found = []
    for job in jobs:
        rows = job.fold.test.rows(search.context.data, search.context.lookback)
        names = job.candidate.partition(", lr ")[0].split(" + ")
        loss = (1.0 + job.fold.test.start % 3) * (1 - sum(TRUTH.get(name, 0.0) for name in names))
        valid = 1.0 if getattr(job.model, "lr", None) == 0.001 else 3.0
        scores = {"mse": loss, "train_loss": 0.1, "valid_loss": valid}
        arrays = {"origin": rows, "loss": np.full(len(rows), loss)}
        found.append(Finished(name=job.name, spec={}, scores=scores, arrays=arrays, seconds=1.0))
    return found


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setattr(Search, "run", planted)


def test_a_planted_truth_is_found_alone_and_together(known, tmp_path):
    config = CONFIG.with_values({"n_folds": 5, "lr": 0.003})
    result = rank(tmp_path / "a", make_table(400), config, [*TRUTH, "more data"])
    rows = {row["name"]: row for row in result.rows}
    for name, effect in TRUTH.items():
        assert rows[name]["gain"] == pytest.approx(effect)
        assert rows[name]["lr"] == 0.001  # what the validation rows said, for each
        assert rows[name]["won"] == (5 if effect > 0 else 0)
    verdicts = {name: row["verdict"] for name, row in rows.items()}
    assert verdicts == {
        "linear shortcut": "HELPS MATERIALLY",
        "EMA": "HELPS MATERIALLY",
        "l1": "HELPS MATERIALLY",
        "jitter": "NO MATERIAL EFFECT",
        "l2": "NO MATERIAL EFFECT",
        "mixup": "HARMS",
        "more data": "NO MATERIAL EFFECT",
    }
    stack = result.found["stack"]
    assert {one["name"]: round(one["effect"], 9) for one in stack["factors"]} == {
        "linear shortcut": 0.1,
        "EMA": 0.06,
        "l1": 0.03,
    }
    assert (stack["n_runs"], stack["name"]) == (4, "linear shortcut + EMA + l1")
    assert stack["gain"]["mean"] == pytest.approx(0.19)
    assert result.found["choice"]["name"] == stack["name"]
    assert {name: result.choice[name] for name in ("shortcut", "ema", "l1", "lr")} == {
        "shortcut": "ridge", "ema": 0.99, "l1": 1e-4, "lr": 0.001,
    }  # fmt: skip
    assert result.found["confirmed"]["mean"] == pytest.approx(0.19)
    assert [row["role"] for row in result.found["outer"]["rows"]] == ["control", "single", "stack"]
    assert rows["linear shortcut"]["tier"] == 1 < rows["mixup"]["tier"]


def test_more_data_is_held_against_the_control_with_less(monkeypatch, tmp_path):
    def run(search, jobs, *arguments, **more):
        found = planted(search, jobs, *arguments, **more)
        for job, fit in zip(jobs, found, strict=True):
            if job.candidate.startswith("more data"):
                fit.arrays["loss"] *= 1.25
        return found

    monkeypatch.setattr(Search, "run", run)
    result = rank(tmp_path / "a", remedies=["more data", "EMA"])
    row = next(row for row in result.rows if row["name"] == "more data")
    assert row["gain"] == pytest.approx(0.2)  # of the loss with less: 1.25 to 1
    assert result.found["choice"]["name"] == "EMA"


def test_a_budget_leaves_out_and_says_what_or_is_refused(tmp_path):
    listener = Counting()
    result = rank(tmp_path / "a", budget="60 fits", remedies=None, listener=listener)
    assert result.found["fits"] <= 60
    assert result.found["left_out"][0] == "learning rates: 1 instead of 3 for each"
    assert any("to keep within 60 fits" in note for note in listener.notes)
    with pytest.raises(InputError, match="name fewer remedies, or a smaller network"):
        rank(tmp_path / "b", budget="5 fits")


def test_texts_are_ranked_too(tmp_path):
    names = ("early stopping", "AEDA")
    result = rank(tmp_path / "a", make_texts(120), TEXTS, names)
    found = result.to_dict()
    assert (found["modality"], found["metric"], len(found["rows"])) == ("text", "log loss", 2)
    assert TextConfig.read(tmp_path / "a" / "chosen.toml").recipe.hidden_size == 2
    assert found["outer"]["n_folds"] == 1


@pytest.mark.parametrize(
    ("source", "config"), [(make_table(200), CONFIG), (make_texts(120), TEXTS)], ids=["series", "texts"]
)
def test_every_remedy_changes_what_training_does(source, config):
    search, arms = arms_of(source, config.with_values({"batch_size": 16}))
    without = search.weights(search.variant({**arms.base, "lr": 0.05}))
    for name, options in arms.options.items():
        if name in ("early stopping", "seed ensemble", "more data", "pretrained vectors"):
            continue  # seen elsewhere: these change when it ends, who speaks, and on what it is trained
        if name in ("max-norm", "EDA"):
            continue  # waits until weights have grown; needs a dictionary
        changed = search.weights(search.variant({**arms.base, **options, "lr": 0.05}))
        assert changed.shape != without.shape or np.abs(changed - without).max() > 0, name


def test_an_arm_that_cannot_be_fitted_is_left_out_with_its_reason(tmp_path, monkeypatch):
    options = {"linear shortcut": {"shortcut": "ridge"}, "EMA": {"ema": 0.99}}
    monkeypatch.setattr("heldout.studies.remedy_arms.find_remedies", lambda case, names: (options, {}))

    def run(search, jobs, *arguments, **more):
        found = planted(search, jobs, *arguments, **more)
        broken = {"failed": "the loss is not finite", "stopped": True}
        return [
            replace(fit, scores=broken) if job.candidate.startswith(self_named) else fit
            for job, fit in zip(jobs, found, strict=True)
        ]

    monkeypatch.setattr(Search, "run", run)
    self_named = "EMA"
    result = rank(tmp_path / "a", config=CONFIG.with_values({"n_seeds": 1}))
    assert [row["name"] for row in result.rows] == ["linear shortcut"]
    assert result.found["others"][0]["name"] == "EMA"
    assert "the loss is not finite" in result.found["others"][0]["why"]
    self_named = "control"
    with pytest.raises(FitError, match="nothing to hold remedies against"):
        rank(tmp_path / "b", config=CONFIG.with_values({"n_seeds": 1}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"control": "none"}, "control must be one of 'bare', 'recipe'"),
        ({"delta": 0}, "delta must be"),
        ({"remedies": ["dropout"]}, "a remedy must be one of"),
        ({"budget": "much"}, "a budget must be"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing_behind(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        rank(tmp_path / "a", **options)
    assert not (tmp_path / "a").exists()


def test_the_recipe_can_be_the_control(tmp_path):
    config = CONFIG.with_values({"n_seeds": 1})
    result = rank(
        tmp_path / "a", config=config, control="recipe", remedies=["early stopping", "EMA"], listener=Silent()
    )
    assert [row["name"] for row in result.rows] == ["EMA"]
    assert result.found["others"] == [{"name": "early stopping", "why": "the control has it"}]
    chosen = Config.read(tmp_path / "a" / "chosen.toml").recipe
    assert chosen.patience == config.recipe.patience


def test_remedies_that_need_no_recipe_of_their_own_can_be_ranked_alone(tmp_path):
    result = rank(tmp_path / "a", remedies=("seed ensemble", "more data"))
    assert {row["name"] for row in result.rows} == {"seed ensemble", "more data"}
