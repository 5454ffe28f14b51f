"""Labels from a run on texts: the column of texts is enough, and nothing that was not understood goes unsaid."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

import heldout as ho
from heldout.check import InputError
from heldout.cli.options import configure
from heldout.data.text_splits import TextFold
from heldout.data.text_table import TextData
from heldout.progress import Display
from heldout.runs import Run
from heldout.studies.engine import LocalEngine
from heldout.studies.ledger import Finished
from heldout.studies.plan import Job
from heldout.text_predict import predict_texts
from heldout.text_recipe import TextRecipe
from heldout.text_task import TextTask
from heldout.training.text import fit_text
from tests.test_cli import found as found_of_texts
from tests.test_cli import interval, line
from tests.test_cli import run as command

OPTIONS = {
    "text": "say", "target": "tone", "n_folds": 0, "n_seeds": 1, "max_epochs": 1, "hidden_size": 4, "embedding_size": 4,
    "max_length": 5, "min_count": 1, "near_duplicates": 1.0,
}  # fmt: skip


def make_texts(n=80):
    rng = np.random.default_rng(0)
    tone = np.array(["down", "up"])[rng.integers(2, size=n)]
    words = [" ".join([f"w{k}" for k in rng.integers(20, size=3)]) for _ in tone]
    return pl.DataFrame({"say": [f"{t}ward {w}" for t, w in zip(tone, words, strict=True)], "tone": tone})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "run"
    ho.fit(make_texts(), ho.TextConfig().with_values(OPTIONS), out=path, engine=LocalEngine(1))
    return path


def test_a_run_on_texts_labels_a_table_that_has_no_labels(run):
    texts = make_texts()["say"]
    found, notes = ho.predict(run, texts.to_frame())
    assert found.columns == ["row", "label", "p_down", "p_up"]
    assert found["row"].to_list() == list(range(len(texts)))
    chances = found.select("p_down", "p_up").to_numpy()
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert found["label"].to_list() == np.array(["down", "up"])[chances.argmax(axis=1)].tolist()
    np.testing.assert_array_equal(chances, Run(run).model()[0].predict_proba(texts.to_list()))
    assert notes == []


def test_labels_in_the_table_are_not_read_whatever_they_are(run):
    texts = make_texts()
    with_labels, _ = ho.predict(run, texts)
    wrong = texts.with_columns(tone=pl.Series([None, "sideways"] * 40))
    assert with_labels.equals(ho.predict(run, wrong)[0])
    assert with_labels.equals(ho.predict(run, texts.select("say"))[0])


def test_the_label_of_a_text_hangs_on_no_other_row(run):
    texts = make_texts().select("say")
    every, _ = ho.predict(run, texts)
    for row in (0, 17):
        alone, _ = ho.predict(run, texts[row : row + 1])
        np.testing.assert_allclose(alone["p_up"][0], every["p_up"][row], atol=1e-6)


def test_what_is_cut_empty_or_unknown_is_said(run):
    _, notes = ho.predict(
        run, pl.DataFrame({"say": ["upward w1 w2 w3 w4 w5 w6", "", "nothing known", "downward w1"]})
    )
    assert notes == [
        "1 of 4 texts is empty, the first in row 1",
        "1 of 4 texts (25.0%) is longer than 5 words and was cut there: 18.2% of all words",
        "1 of 4 texts has no words and is read as one unknown word",
        "22.2% of the words read are unknown to the model, 0.0% in its training texts",
    ]  # fmt: skip


def test_a_table_without_the_column_of_texts_is_refused_with_the_column_that_is_read(run):
    with pytest.raises(InputError, match=r"no column 'say' in the table.*the run reads the column 'say'"):
        ho.predict(run, pl.DataFrame({"said": ["a"]}))


def test_the_table_is_read_in_the_encoding_of_training(tmp_path):
    texts, labels = ("gut fühlbar", "schlecht fühlbar") * 20, np.array([0, 1] * 20)
    data = TextData(texts, labels, ("+", "-"), None, None, 40)
    recipe = TextRecipe(hidden_size=4, embedding_size=4, max_epochs=1)
    model, _ = fit_text(data, np.arange(30), np.arange(30, 40), recipe)
    (tmp_path / "new.csv").write_bytes("say\ngut fühlbar\n".encode("latin-1"))
    found, notes = predict_texts(model, {"text": "say", "encoding": "latin-1"}, tmp_path / "new.csv")
    assert (found.columns, notes) == (["row", "label", "p_+", "p_-"], [])


def test_on_the_command_line_labels_are_printed_or_written(run, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    make_texts().select("say").write_csv("new.csv")
    assert command("predict", str(run), "new.csv") == 0
    said = capfd.readouterr().out
    assert said.startswith("row,label,p_down,p_up\n0,")
    assert command("predict", str(run), "new.csv", "-o", "labels.csv") == 0
    assert "80 labels in labels.csv" in capfd.readouterr().err
    assert (tmp_path / "labels.csv").read_text() == said


def test_what_init_writes_of_texts_is_what_fit_takes(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    make_texts().with_columns(by=pl.int_range(80) // 2).write_csv("texts.csv")
    assert command("init", "texts.csv", "--text", "say", "--target", "tone", "--group", "by") == 0
    assert "next: heldout fit texts.csv --config heldout.toml" in capfd.readouterr().err
    config = configure(Path("heldout.toml"), {}, ["n_folds=2"])
    assert config == ho.TextConfig().with_values(
        {"text": "say", "target": "tone", "group": "by", "n_folds": 2}
    )
    task = TextTask.make("texts.csv", config, {})
    assert (len(task.split.folds), task.data.classes) == (3, ("down", "up"))


def test_a_row_with_infinite_ends_is_strict_json():
    none = replace(interval(0.1), mean=np.nan, low=-np.inf, high=np.inf)
    row = line("heldout", 0.5, (-np.inf, np.inf), 0.8, 0.1, none)
    row = replace(row, accuracy_low=np.nan, skill_vs_naive=none)
    found = json.loads(json.dumps(row.to_dict(), allow_nan=False))
    assert [found[name] for name in ("low", "high", "accuracy_low", "skill_vs_naive", "skill_low")] == [
        None
    ] * 5
    assert found["heldout_skill"] == {"mean": None, "low": None, "high": None}
    assert (found["value"], found["accuracy"], found["folds"]) == (0.5, 0.8, None)


def test_a_result_with_infinite_ends_is_strict_json_and_its_figure_names_the_majority_guess(tmp_path):
    result = found_of_texts(tmp_path)
    assert any(np.isinf(row.high) for row in result.rows)
    json.dumps(result.to_dict(), allow_nan=False)
    title = result.plot().layout.meta["title"]
    assert "the majority guess" in title
    assert "last value" not in title


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ({"log loss": 0.51234, "accuracy": 0.75}, "log loss 0.5123, accuracy 0.75 (1.0 s)"),
        ({"mse": 2.0, "best_epoch": 3}, "mse 2, best epoch 3 (1.0 s)"),
    ],
)
def test_the_line_of_a_finished_fit_has_its_scores(scores, told, capfd):
    fold = TextFold("final", *[np.arange(2)] * 3)
    job = Job(candidate="tfidf", fold=fold, model=None)
    with Display(workers=1) as display:
        display.begin([job])
        display.finished(job, Finished(name=job.name, spec={}, scores=scores, seconds=1.0), was_there=False)
    assert f"[1/1] tfidf, final: {told}" in capfd.readouterr().err


def test_progress_shows_pretraining_and_then_the_fit(capfd, monkeypatch):
    monkeypatch.setattr("heldout.progress._HEARTBEAT", -1)
    job = Job(candidate="heldout", fold=TextFold("final", *[np.arange(2)] * 3), model=TextRecipe())
    with Display(workers=1) as display:
        display.begin([job])
        display.epoch(job, {"pretrain_epoch": 2, "pretrain_epochs": 5, "pretrain_loss": 6.123456})
        display.epoch(
            job, {"epoch": 1, "max_epochs": 9, "train_loss": 0.5, "valid_loss": 0.6, "best_epoch": 1}
        )
        Console(file=io.StringIO()).print(display._view())
    said = capfd.readouterr().err
    assert "running: heldout, final, seed 0: pretraining: epoch 2 of 5, valid 6.123" in said
    assert "epoch 1 of at most 9, train 0.5, valid 0.6, best epoch 1" in said
