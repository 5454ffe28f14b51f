"""What a run on texts records: plain JSON, counts that add up, words that matter, nothing that hangs on the order of rows."""

import json

import numpy as np
import pytest

from heldout.data.text_splits import TextFold, TextSplit, split_texts
from heldout.data.text_table import TextData
from heldout.text_recipe import TextRecipe
from heldout.text_summary import (
    describe_texts,
    describe_vocabulary,
    hardest,
    preview_augmentation,
    split_table,
    telling_words,
)
from heldout.training.text import fit_text

CLASSES = ("bad", "good")


def make_data(n=80, seed=0, group=None):
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=n)
    texts = tuple(
        " ".join(rng.permutation([CLASSES[label], *(f"w{k}" for k in rng.integers(12, size=5))]))
        for label in labels
    )
    return TextData(texts, labels, CLASSES, group, None, n)


def fit(data, fold, **options):
    recipe = TextRecipe(hidden_size=4, embedding_size=4, max_epochs=2, **options)
    return fit_text(data, fold.train, fold.valid, recipe)[0]


@pytest.fixture(scope="module")
def data():
    return make_data()


@pytest.fixture(scope="module")
def split(data):
    return split_texts(data, n_folds=2, threshold=None)


@pytest.fixture(scope="module")
def model(data, split):
    return fit(data, split.folds[-1])


def plain(found):
    """The same after JSON: nothing of NumPy, no key that is no str."""
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


def test_texts_and_splits_are_counted(data, split):
    found = plain(describe_texts(data, split))
    final = split.folds[-1]
    assert found["n_rows"] == 80
    assert found["n_train"] == len(final.train)
    assert found["words_median"] == found["words_p95"] == 6
    assert (found["has_group"], found["has_time"], found["n_duplicates"]) == (False, False, 0)
    assert sum(one["n"] for one in found["classes"]) == 80
    for name, rows in (("train", [*final.train, *final.valid]), ("test", final.test)):
        shares = [one[f"share_{name}"] for one in found["classes"]]
        np.testing.assert_allclose(shares, np.bincount(data.labels[rows], minlength=2) / len(rows))
    table = plain(split_table(split))
    assert [one["name"] for one in table] == ["fold 1", "fold 2", "final"]
    assert sum(table[-1][part] for part in ("train", "valid", "test")) == 80


def test_near_duplicates_are_counted_unless_groups_hide_them(data):
    fold = TextFold("final", np.arange(50), np.arange(50, 60), np.arange(60, 80))
    units = np.r_[np.zeros(3, int), np.arange(1, 78)]
    assert describe_texts(data, TextSplit((fold,), units, ()))["n_duplicates"] == 3
    grouped = make_data(group=np.arange(80) // 2)
    found = describe_texts(grouped, TextSplit((fold,), grouped.group, ()))
    assert found["has_group"]
    assert found["n_duplicates"] is None


def test_the_vocabulary_is_counted_by_hand(data, split):
    texts = ["good film", "good play film", "rare bird"]
    own = TextData((*texts, "good", "film"), np.array([1, 1, 0, 1, 0]), CLASSES, None, None, 5)
    fold = TextFold("final", np.arange(3), np.arange(3, 5), np.arange(0))
    model = fit(own, fold, shortcut="none", max_length=2)
    found = plain(describe_vocabulary(model, texts, ["a good film", ""]))
    assert model.vocabulary.words[2:] == ("film", "good")
    assert (found["size"], found["n_train_words"], found["max_length"], found["vectors"]) == (2, 5, 2, None)
    assert found["share_unknown_train"] == pytest.approx(
        3 / 6
    )  # play, rare, bird; the second film is cut off
    assert found["share_unknown_test"] == pytest.approx(1 / 2)
    assert found["share_texts_cut"] == pytest.approx(2 / 5)
    assert found["share_words_cut"] == pytest.approx(2 / 10)
    empty = plain(describe_vocabulary(model, texts, [""]))
    assert empty["share_unknown_test"] == 0


def test_the_hardest_texts_are_those_of_the_largest_loss_in_any_order(model, data, split):
    rows = split.folds[-1].test
    said = model.log_proba([data.texts[row] for row in rows])
    found = plain(hardest(model, data, rows, said, n=5))
    loss = -said[np.arange(len(rows)), data.labels[rows]]
    assert [one["row"] for one in found] == rows[np.argsort(-loss, kind="stable")[:5]].tolist()
    for one in found:
        assert one["text"] == data.texts[one["row"]]
        assert [word for word, _ in one["words"]] == one["text"].split()
        place = rows.tolist().index(one["row"])
        assert one["said"] == CLASSES[said[place].argmax()]
        assert one["probability"] == pytest.approx(np.exp(said[place].max()))
    mixed = np.random.default_rng(1).permutation(len(rows))
    again = hardest(model, data, rows[mixed], said[mixed], n=5)
    assert [one["row"] for one in again] == [one["row"] for one in found]
    assert hardest(model, data, rows[:0], said[:0]) == []


def test_the_words_of_a_long_text_are_those_that_are_shown(model):
    long = "good bad " * 66 + "wonderful " * 50
    own = TextData((long, "short text"), np.array([1, 0]), CLASSES, None, None, 2)
    first = plain(hardest(model, own, np.array([0]), np.log([[0.9, 0.1]])))[0]
    assert len(first["text"]) == 600
    assert first["text"].endswith("…")
    # 594 letters are 132 short words; of a word cut in two nothing is said
    assert [word for word, _ in first["words"]] == long[:599].split()[:-1] + ["wonderful"] * long[
        :599
    ].endswith(" ")
    assert first["label"] == "good"
    assert first["said"] == "bad"


def test_the_planted_words_tell_most(model, data, split):
    rows = split.folds[-1].test
    said = model.log_proba([data.texts[row] for row in rows]).argmax(axis=1)
    found = plain(telling_words(model, data, rows, said, n_texts=16, n_words=3))
    assert list(found) == list(CLASSES)
    for name, words in found.items():
        assert words[0]["word"] == name
        assert words[0]["n"] <= 8
        weights = [one["weight"] for one in words]
        assert weights == sorted(weights, reverse=True)
        assert len(words) <= 3
        assert min(weights) > 0
    mixed = np.random.default_rng(1).permutation(len(rows))
    again = telling_words(model, data, rows[mixed], said[mixed], n_texts=16, n_words=3)
    assert [one["word"] for one in again["good"]] == [one["word"] for one in found["good"]]


def test_a_class_that_was_never_said_has_no_words_and_a_word_of_many_texts_stands_in_two(model, data):
    rows = np.arange(40)
    found = telling_words(model, data, rows, np.ones(40, int))
    assert found["bad"] == []
    assert all(one["n"] >= 2 for one in found["good"])
    few = telling_words(model, data, rows[:2], np.ones(2, int))
    assert {one["n"] for one in few["good"]} >= {1}


def test_without_augmentation_there_is_nothing_to_preview(model, data, split):
    assert preview_augmentation(model, data, split.folds[-1], 0) is None


@pytest.mark.parametrize("shortcut", ["tfidf", "none"])
def test_a_preview_shows_variants_of_training_texts_and_what_was_switched_on(data, split, shortcut):
    fold = split.folds[-1]
    model = fit(data, fold, alpha_aeda=0.3, p_rd=0.1, shortcut=shortcut)
    found = plain(preview_augmentation(model, data, fold, 0))
    options = found["options"]
    assert options["alpha_aeda"] == 0.3
    assert options["p_rd"] == 0.1
    assert "alpha_sr" not in options
    assert found["counts"]["drawn"] > 0
    assert 0 < len(found["pairs"]) <= 20
    train = {data.texts[row] for row in fold.train}
    assert all(pair["original"] in train and pair["variant"] != pair["original"] for pair in found["pairs"])
    assert preview_augmentation(model, data, fold, 0) == found
