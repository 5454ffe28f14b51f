"""A run on texts: what it keeps, what it never reads, and a defined outcome for whatever it is given."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import heldout
from heldout.check import InputError
from heldout.config import TextConfig
from heldout.data.series import IntArray
from heldout.listener import Silent
from heldout.runs import Run
from heldout.studies.engine import InlineEngine
from heldout.studies.ledger import Ledger
from heldout.studies.plan import Job
from heldout.studies.texts import TextContext
from heldout.text_recipe import TextRecipe
from heldout.text_scoring import TextFits
from heldout.text_task import TextTask

CONFIG = TextConfig().with_values(
    {
        "text": "text",
        "target": "label",
        "hidden_size": 3,
        "embedding_size": 4,
        "max_epochs": 1,
        "n_folds": 2,
        "n_seeds": 2,
        "valid_size": 0.2,
    }
)
QUICK = CONFIG.with_values({"n_folds": 0, "n_seeds": 1})
WORDS = {"good": ["good", "fine", "great"], "bad": ["bad", "poor", "dull"], "so": ["so", "plain", "usual"]}
FILES = {"run.json", "config.toml", "config-resolved.toml", "scores.json", "model.safetensors", "ledger.sqlite", "predictions.parquet"}  # fmt: skip


def make_table(n=150, seed=0, classes=("good", "bad")):
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, n)
    texts = [
        " ".join(
            rng.permutation([*rng.choice(WORDS[label], 2), *(f"w{k}" for k in rng.integers(60, size=6))])
        )
        for label in labels
    ]
    return pl.DataFrame({"text": texts, "label": labels})


def fit(table, config=QUICK, **options):
    return heldout.fit(table, config, **{"engine": InlineEngine(), **options})


def strict(text):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def scores_of(path):
    return strict((path / "scores.json").read_text(encoding="utf-8"))


def finished_fits(path):
    with Ledger(path / "ledger.sqlite", readonly=True) as ledger:
        return sorted(event.key for event in ledger.events() if event.what == "finished")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    result = fit(
        make_table(), CONFIG, out=folder / "a", rivals={"wild": TextRecipe(hidden_size=2, max_epochs=1)}
    )
    return folder, result


def test_the_directory_holds_the_whole_run(finished):
    folder, result = finished
    assert {item.name for item in (folder / "a").iterdir() if item.name[0] != "."} >= FILES
    scores = scores_of(folder / "a")
    assert scores["kind"] == "text"
    assert {row["name"] for row in scores["rows"]} == {"heldout", "majority", "tfidf", "nbsvm", "wild"}
    values = [row["value"] for row in scores["rows"]]
    assert values == sorted(values)
    assert scores["sentence"] == result.sentence
    assert "30 sealed texts" in result.sentence
    assert [len(part) for part in scores["losses"]["heldout"]] == [2, 2]
    assert scores["splits"][-1] == {"name": "final", "train": 96, "valid": 24, "test": 30}
    assert sum(map(sum, scores["confusion"])) == scores["test_rows"] == 30
    assert all(row["low"] <= row["value"] <= row["high"] for row in scores["rows"])
    assert result._repr_html_()


def test_the_table_of_predictions_says_what_the_scores_say(finished):
    folder, result = finished
    found = pl.read_parquet(folder / "a" / "predictions.parquet")
    own = result.row("heldout")
    assert (found["label"] == found["said"]).mean() == pytest.approx(own.accuracy)
    proba = np.where(found["label"] == "bad", found["p_bad"], found["p_good"])
    assert -np.log(proba).mean() == pytest.approx(own.value)
    assert found["label"].to_list() == make_table()["label"][found["row"].to_numpy()].to_list()


def test_the_saved_model_is_the_one_that_was_scored(finished):
    folder, result = finished
    model, _ = Run(folder / "a").model()
    texts = make_table(40, seed=9)["text"].to_list()
    assert np.array_equal(model.log_proba(texts), result.model.log_proba(texts))
    found = pl.read_parquet(folder / "a" / "predictions.parquet")
    sealed = make_table()["text"][found["row"].to_numpy()].to_list()
    np.testing.assert_allclose(
        model.predict_proba(sealed), found.select("p_bad", "p_good").to_numpy(), atol=1e-6
    )


def test_a_second_call_repeats_no_fit_and_says_the_same(finished):
    folder, result = finished
    before = finished_fits(folder / "a")
    assert len(before) == 3 * (2 + 3) + 1
    again = fit(
        make_table(), CONFIG, out=folder / "a", rivals={"wild": TextRecipe(hidden_size=2, max_epochs=1)}
    )
    assert finished_fits(folder / "a") == before
    assert again.to_dict() == result.to_dict()


def test_each_run_that_seals_one_of_the_same_texts_counts_as_a_look(finished, tmp_path):
    table = make_table(80)
    assert fit(table, out=tmp_path / "a").looks == 1
    assert fit(table, out=tmp_path / "a").looks == 1
    assert fit(table, QUICK.with_values({"lr": 0.01}), out=tmp_path / "b").looks == 2
    assert fit(table, QUICK.with_values({"split_seed": 5}), out=tmp_path / "c").looks == 3
    assert fit(make_table(80, seed=7), out=tmp_path / "d").looks == 1


def test_a_gate_without_a_candidate_is_refused_before_any_fit(tmp_path):
    with pytest.raises(InputError, match=r"--fail-if-worse-than.*tfidf"):
        fit(make_table(), out=tmp_path / "a", gate="ridge")
    assert not (tmp_path / "a").exists()
    fit(make_table(), out=tmp_path / "a", gate="tfidf")


def test_the_sealed_texts_change_nothing_that_was_fitted(tmp_path):
    table = make_table()
    path = tmp_path / "a"
    sealed = pl.read_parquet(fit(table, out=path).path / "predictions.parquet")["row"].to_numpy()
    poison = np.isin(np.arange(150), sealed)
    texts = [
        f"garbage{k} poison{k} nothing{k}" if bad else text
        for k, (text, bad) in enumerate(zip(table["text"], poison, strict=True))
    ]
    models = [Run(path).model()[0]]
    models.append(fit(table.with_columns(text=pl.Series(texts)), out=tmp_path / "b").model)
    (tensors, about), (others, also) = (model.to_file_parts() for model in models)
    assert about == also
    assert all(np.array_equal(tensors[name], others[name]) for name in tensors)


def test_no_group_is_on_both_sides(tmp_path):
    rng = np.random.default_rng(0)
    table = make_table().with_columns(author=pl.Series(rng.integers(0, 25, 150)))
    config = CONFIG.with_values({"group": "author", "n_seeds": 1})
    task = TextTask.make(table, config, {})
    groups = table["author"].to_numpy()
    for fold in task.split.folds:
        parts = [set(groups[rows]) for rows in (fold.train, fold.valid, fold.test)]
        assert not parts[0] & parts[1]
        assert not (parts[0] | parts[1]) & parts[2]
    assert scores_of(fit(table, config, out=tmp_path / "a").path)["data"]["has_group"]


def test_with_times_the_test_is_the_latest(tmp_path):
    stamps = np.datetime64("2024-01-01", "us") + np.random.default_rng(0).permutation(150) * np.timedelta64(
        1, "h"
    )
    table = make_table().with_columns(when=pl.Series(stamps))
    result = fit(table, CONFIG.with_values({"time": "when", "n_seeds": 1}), out=tmp_path / "a")
    rows = pl.read_parquet(result.path / "predictions.parquet")["row"].to_numpy()
    assert len(rows) == 30
    assert np.sort(stamps)[-30:].tolist() == np.sort(stamps[rows]).tolist()


def test_a_test_table_is_the_sealed_test(tmp_path):
    train, test = make_table(90), make_table(40, seed=3)
    result = fit(train, out=tmp_path / "a", test=test)
    found = pl.read_parquet(result.path / "predictions.parquet")
    assert result.test_rows == 40
    assert found["row"].to_list() == list(range(90, 130))
    assert found["label"].to_list() == test["label"].to_list()


@pytest.mark.parametrize("n", [12, 40])
def test_a_small_test_gives_strict_json_and_says_that_it_is_small(n, tmp_path):
    result = fit(make_table(n), out=tmp_path / "a")
    scores = scores_of(result.path)
    assert "too small to tell" in result.sentence
    assert scores["rows"][0]["low"] is scores["rows"][0]["high"] is None
    assert scores["overfit"]["optimism"]["mean"] is not None


def test_a_test_of_one_text_has_an_outcome(tmp_path):
    train = make_table(60)
    result = fit(train, out=tmp_path / "a", test=train.head(1).with_columns(text=pl.lit("good w1 indeed")))
    scores = scores_of(result.path)
    assert scores["test_rows"] == 1
    assert "1 sealed text heldout" in scores["sentence"]


def test_near_duplicates_are_one_observation_of_the_intervals(tmp_path):
    test = make_table(40, seed=3)
    copies = pl.concat([test, *[test.head(10)] * 9])
    one = fit(make_table(90), out=tmp_path / "a", test=test)
    many = fit(make_table(90), out=tmp_path / "b", test=copies)
    assert many.test_rows == 130
    for name in ("majority", "tfidf"):
        narrow, wide = (result.row(name) for result in (one, many))
        assert wide.skill_vs_naive.df <= narrow.skill_vs_naive.df
    own = many.row("heldout")
    width = own.high - own.low
    assert width > 0.9 * (one.row("heldout").high - one.row("heldout").low)


@pytest.mark.parametrize("seed", range(3))
def test_the_mean_over_units_is_that_over_texts(seed):
    rng = np.random.default_rng(seed)
    units: IntArray = rng.integers(0, 12, 50)
    fits = object.__new__(TextFits)
    fits.context = type("Context", (), {"units": units})
    rows, values = rng.permutation(50)[:30], rng.normal(size=30)
    found = fits.by_unit(values, rows)
    assert len(found) == len(set(units[rows]))
    assert found.mean() == pytest.approx(values.mean())


# --- what a fit is remembered by


def context_of(task, folder, **changed):
    return TextContext(**{"data": task.data, "units": task.split.units, "checkpoints": folder} | changed)


def test_a_fit_is_another_where_texts_rows_units_recipe_or_seed_are(tmp_path):
    task = TextTask.make(make_table(), QUICK, {})
    job = task.jobs()[-1]
    keys = [
        context_of(task, tmp_path).key(job),
        context_of(task, tmp_path).key(replace(job, seed=1)),
        context_of(task, tmp_path).key(replace(job, model=replace(job.model, lr=0.5))),
        context_of(task, tmp_path).key(replace(job, fold=replace(job.fold, train=job.fold.valid))),
        context_of(task, tmp_path, units=task.split.units // 2).key(job),
        context_of(task, tmp_path, data=TextTask.make(make_table(seed=1), QUICK, {}).data).key(job),
    ]
    assert len(set(keys)) == len(keys)
    assert context_of(task, tmp_path / "elsewhere").key(job) == keys[0]


def test_a_file_that_changed_makes_another_fit(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("one text\n", encoding="utf-8")
    task = TextTask.make(make_table(), QUICK, {})
    recipe = replace(task.recipe, pretrain_texts=str(path), pretrain_epochs=1)
    job = Job(candidate="heldout", fold=task.split.folds[-1], model=recipe)
    before = context_of(task, tmp_path).key(job)
    path.write_text("another text\n", encoding="utf-8")
    assert context_of(task, tmp_path).key(job) != before


@pytest.mark.parametrize("name", ["vectors", "pretrain_texts", "synonyms"])
def test_a_file_that_is_missing_is_named_before_any_fit(name, tmp_path):
    config = QUICK.with_values({name: str(tmp_path / "nowhere"), "pretrain_epochs": 1, "alpha_sr": 0.1})
    with pytest.raises(InputError, match=rf"{name}.*nowhere"):
        fit(make_table(), config, out=tmp_path / "a")


# --- whatever it is given


class Notes(Silent):
    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


def test_empty_and_huge_texts_are_told_of_and_scored(tmp_path):
    table = make_table()
    texts = table["text"].to_list()
    texts[3], texts[4], texts[50] = "", " \n ", None
    texts[5], texts[6] = "good " * 100_000, "bad w1 w2 w3 " * 5_000
    notes = Notes()
    result = fit(table.with_columns(text=pl.Series(texts)), out=tmp_path / "a", listener=notes)
    assert any("3 of 150 texts are empty" in note for note in notes.said)
    assert any("were cut there" in note for note in notes.said)
    assert np.isfinite(scores_of(result.path)["rows"][0]["value"])


def labelled(values):
    return make_table().with_columns(label=pl.Series(values))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (labelled(["a"] * 150), "two classes at least"),
        (labelled(["a"] * 149 + ["b"]), "but b has one"),
        (labelled(["a", "b"] * 74 + [None, "a"]), "every row must have a label"),
        (labelled([0.5, 1.5] * 75), "labels must be classes"),
        (make_table(4, seed=1), "has one; join it|no text left|alone"),
        (make_table().with_columns(text=pl.lit("")), "is empty in all"),
        (make_table().with_columns(text=pl.lit("the same text each time")), "no text left|together"),
        (make_table().with_columns(text=pl.Series(range(150))), "must hold text"),
        (make_table().with_columns(text=pl.Series([f"word{k}" for k in range(150)])), "lower min_count"),
    ],
)
def test_texts_that_cannot_be_learned_from_are_refused_in_one_sentence(table, said, tmp_path):
    with pytest.raises(InputError, match=said):
        fit(table, out=tmp_path / "a")


def test_a_rare_class_that_a_fold_does_not_train_on_is_told_and_scored(tmp_path):
    table = make_table(classes=("good", "bad"))
    labels = table["label"].to_list()
    labels[:2] = ["rare", "rare"]
    notes = Notes()
    config = CONFIG.with_values({"n_seeds": 1})
    result = fit(table.with_columns(label=pl.Series(labels)), config, out=tmp_path / "a", listener=notes)
    scores = scores_of(result.path)
    assert any("'rare' (2)" in note for note in notes.said)
    assert np.isfinite([row["value"] for row in scores["rows"]]).all()
    assert len(scores["confusion"]) == 3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"pooling": ["mean", "mean"]}, "several different ones"),
        ({"pooling": []}, "pooling"),
        ({"alpha_sr": 1.5}, "alpha_sr"),
        ({"n_folds": 1}, "n_folds must be 2 or more"),
        ({"shortcut": "ridge"}, "shortcut"),
        ({"hiden_size": 3}, "did you mean"),
    ],
)
def test_options_out_of_range_are_refused(values, said, tmp_path):
    with pytest.raises(InputError, match=said):
        fit(make_table(), QUICK.with_values(values), out=tmp_path / "a")


@pytest.mark.parametrize("name", ["text", "target"])
def test_a_column_that_is_not_named_is_asked_for(name, tmp_path):
    with pytest.raises(InputError, match=f"the option {name}"):
        fit(make_table(), QUICK.with_values({name: None}), out=tmp_path / "a")


def test_a_configuration_comes_back_from_its_file(tmp_path):
    config = QUICK.with_values(
        {"pooling": ("last", "attention"), "near_duplicates": None, "vectors": "x.txt"}
    )
    for comments in (False, True):
        (tmp_path / "a.toml").write_text(config.to_toml(comments=comments), encoding="utf-8")
        assert TextConfig.read(tmp_path / "a.toml") == config


@pytest.mark.slow
def test_workers_give_the_bits_of_one_process(tmp_path):
    one = fit(make_table(), CONFIG, out=tmp_path / "a" / "run")
    two = heldout.fit(make_table(), CONFIG, out=tmp_path / "b" / "run")
    ignored = {"path": None}
    assert one.to_dict() | ignored == two.to_dict() | ignored
    files = [(result.path / "model.safetensors").read_bytes() for result in (one, two)]
    assert files[0] == files[1]


def test_what_cannot_be_learned_is_refused_before_anything_is_written(tmp_path):
    unspaced = make_table().with_columns(text=pl.Series([f"电影{k}很好看" for k in range(150)]))
    with pytest.raises(InputError, match="without spaces"):
        fit(unspaced, out=tmp_path / "a")
    with pytest.raises(InputError, match="alpha_nn takes the neighbours"):
        QUICK.with_values({"alpha_nn": 0.1})
    with pytest.raises(InputError, match="apertium"):
        fit(make_table(), QUICK.with_values({"back_translation": "google:en-de"}), out=tmp_path / "a")
    with pytest.raises(InputError, match="a group that is the label puts whole classes on one side"):
        fit(make_table(), QUICK.with_values({"group": "label"}), out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_synonyms_without_a_dictionary_are_refused_before_anything_is_written(tmp_path):
    (tmp_path / "empty").mkdir()
    asked = QUICK.with_values({"alpha_sr": 0.1, "synonyms": str(tmp_path / "empty")})
    with pytest.raises(InputError, match="synonyms must come from a WordNet dictionary"):
        fit(make_table(), asked, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_label_that_may_mean_none_is_told(tmp_path):
    table = make_table().with_columns(label=pl.Series(["NaN", "good", "bad"] * 50))
    result = fit(table, out=tmp_path / "a")
    assert result.classes == ("NaN", "bad", "good")
    assert any("'NaN' in 'label' is read as a class" in note for note in result.notes)


def test_runs_whose_texts_differ_are_not_compared(tmp_path):
    table, other = make_table(), make_table(seed=1)
    test = {"a": table[100:], "b": other[100:].with_columns(label=table[100:]["label"])}
    for name, rows in test.items():
        fit(table[:100], test=rows, out=tmp_path / name)
    found = heldout.compare(tmp_path / "a", tmp_path / "b")
    assert "no sealed text is in both" in found.pairs[0].sentence
