"""A search that was done before is found again, and one that was asked anything else is not."""

import json
import os
import subprocess
import sys

import polars as pl
import pytest

from heldout.answers import asked, find_answer
from heldout.config import Config, TextConfig
from heldout.data.layout import read_series
from heldout.runs import Run, environment
from heldout.text_recipe import TextRecipe
from tests.test_experiment import make_table

CONFIG = Config().with_values({"target": "y", "horizon": 3})
OPTIONS = asked(CONFIG.recipe, budget=None, rule="best")


@pytest.fixture
def held(tmp_path, monkeypatch):
    """A finished search, as far as it is looked at."""
    monkeypatch.chdir(tmp_path)
    make_table(60).write_csv("table.csv")
    fingerprint = read_series("table.csv", target="y", horizon=3).fingerprint
    with Run.open(CONFIG, fingerprint, purpose="reduce", options=OPTIONS) as run:
        run.save_choice(CONFIG, {"options": OPTIONS, "environment": environment(), "answer": 42})
    return run.path


def find(config=CONFIG, options=OPTIONS, purpose="reduce", **more):
    return find_answer(purpose, "table.csv", config, options, **more)


def test_the_same_question_has_the_same_answer(held):
    for more in ({}, {"out": held}):
        path, scores = find(**more)
        assert (path, scores["answer"]) == (held, 42)


def test_another_question_has_none(held):
    assert find(CONFIG.with_values({"hidden_size": 4})) is None
    assert find(options=asked(CONFIG.recipe, budget="50 fits", rule="best")) is None
    assert find(purpose="tune") is None
    assert find(out="elsewhere") is None
    make_table(60, seed=1).write_csv("table.csv")
    assert find() is None


def test_an_answer_of_other_software_or_one_that_is_damaged_is_none(held):
    scores = json.loads((held / "scores.json").read_text())
    scores["environment"]["packages"]["torch"] = "0.1"
    (held / "scores.json").write_text(json.dumps(scores))
    assert find() is None
    (held / "scores.json").write_text("{")
    assert find() is None


def test_a_file_that_a_recipe_names_is_part_of_the_question(tmp_path):
    file = tmp_path / "vectors.txt"
    file.write_text("good 1 2\n")
    first = asked(TextRecipe(vectors=str(file)), budget=None)
    file.write_text("good 1 2 3\n")
    assert asked(TextRecipe(vectors=str(file)), budget=None) != first
    assert asked(TextRecipe(vectors="none.txt"), budget=None)["files"] == {}


def test_texts_are_told_apart_too(tmp_path):
    table = pl.DataFrame({"text": ["good film", "bad film"] * 5, "label": ["a", "b"] * 5})
    config = TextConfig().with_values({"text": "text", "target": "label"})
    options = asked(config.recipe, budget=None)
    from heldout.data.text_table import read_texts  # noqa: PLC0415 - needs the extra `text`

    fingerprint = read_texts(table, text="text", target="label").fingerprint
    with Run.open(config, fingerprint, out=tmp_path / "run", purpose="reduce", options=options) as run:
        run.save_choice(config, {"options": options, "environment": environment()})
    assert find_answer("reduce", table, config, options, out=run.path) is not None
    assert find_answer("reduce", table[:8], config, options, out=run.path) is None


def test_an_answer_about_series_does_not_wait_for_torch(held):
    code = (
        "import sys; from heldout.answers import *; from heldout.config import Config; import heldout.capacity_result\n"
        "c = Config().with_values({'target': 'y', 'horizon': 3})\n"
        "print(find_answer('reduce', 'table.csv', c, asked(c.recipe, budget=None, rule='best'))[1]['answer'],"
        " {'torch', 'scipy', 'plotly', 'pandas'} & sys.modules.keys())"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True
    )
    assert said.stdout.strip() == "42 set()"
