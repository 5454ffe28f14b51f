"""`TextLSTMClassifier`: scikit-learn's contract for texts, weights, near-duplicates, files, and mistakes in one sentence."""

import pickle
import re
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.validation import validate_data

import heldout as ho
from heldout import TextLSTMClassifier
from heldout.check import InputError
from heldout.data.near_texts import near_duplicates
from heldout.estimators.texts import _split
from heldout.text_recipe import TextRecipe
from heldout.training.checkpoint import ModelFileError, load_tensors, save_tensors

QUICK = {"hidden_size": 3, "embedding_size": 4, "max_epochs": 1, "random_state": 0}
BARE = {**QUICK, "shortcut": "none", "regularization": 0.0, "rare": 0.0}


def reviews(n=60, seed=0):
    """Texts of six words, one of which decides, and their classes."""
    rng = np.random.default_rng(seed)
    plain = [f"word{k}" for k in range(30)]
    y = np.where(rng.random(n) < 0.5, "up", "down")
    texts = []
    for label in y:
        words = [*rng.choice(plain, 5), "good" if label == "up" else "bad"]
        texts.append(" ".join(rng.permutation(words)))
    return texts, y


@pytest.fixture(scope="module")
def fitted():
    """A fit, its texts and their classes."""
    texts, y = reviews()
    return TextLSTMClassifier(**QUICK).fit(texts, y), texts, y


# --- scikit-learn's contract


# What needs no samples; for the rest scikit-learn can make only tables, see the next test.
@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_valid_tag_types,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_mixin_order,
        estimator_checks.check_estimators_unfitted,
    ],
    ids=lambda check: check.__name__,
)
def test_scikit_learns_checks_that_read_no_samples_pass(check):
    check("TextLSTMClassifier", TextLSTMClassifier(**QUICK))


class OfTables(TextLSTMClassifier):
    """The classifier on texts made of the rows of a table, so that scikit-learn's checks, which make tables, apply."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags

    def _texts(self, X, *, reset):
        rows = validate_data(self, X, reset=reset, dtype=np.float64)
        steps = np.round(rows * 2).astype(int)
        return [" ".join(f"c{k}v{value}".replace("-", "m") for k, value in enumerate(row)) for row in steps]

    def fit(self, X, y, sample_weight=None):
        self._read_labels(y)
        return super().fit(self._texts(X, reset=True), y, sample_weight)

    def _logits(self, X):
        estimator_checks.check_is_fitted(self)
        return super()._logits(self._texts(X, reset=False))


NOT_MET = {
    "check_sample_weight_equivalence_on_dense_data": "the vocabulary and TF-IDF count a text of weight 2 once",
}


@pytest.mark.slow
@estimator_checks.parametrize_with_checks(
    [OfTables(hidden_size=4, embedding_size=8, min_count=1, max_epochs=5, validation_fraction=0)],
    expected_failed_checks=lambda estimator: NOT_MET,
)
def test_scikit_learns_own_checks_pass_on_texts_made_of_tables(estimator, check):
    check(estimator)


def test_it_says_that_it_takes_texts_and_no_tables():
    tags = get_tags(TextLSTMClassifier())
    assert tags.input_tags.string
    assert not tags.input_tags.two_d_array
    assert tags.estimator_type == "classifier"
    assert tags.target_tags.required


def test_every_hyper_parameter_is_the_recipes_with_its_default_and_its_text():
    own = {"validation_fraction", "n_seeds", "random_state", "class_weight"}
    declared = {item.name: item for item in TextRecipe.describe()}
    given_ones = TextLSTMClassifier().get_params()
    assert given_ones.keys() - own == declared.keys() - {"loss", "class_weight"}
    for name in given_ones:
        assert f"\n{name} : " in TextLSTMClassifier.__doc__
        if name not in own:
            assert given_ones[name] == declared[name].default


def test_it_learns_a_word_that_decides_through_the_network_alone():
    texts, y = reviews(300)
    model = TextLSTMClassifier(
        hidden_size=8, embedding_size=8, shortcut="none", lr=0.02, max_epochs=15, random_state=0
    )
    model.fit(texts[:200], y[:200])
    assert model.score(texts[200:], y[200:]) > 0.95
    assert model.n_iter_ >= model.best_epoch_ > 0
    assert len(model.history_.epochs) == model.n_iter_ + 1
    assert {"good", "bad"} <= set(model.vocabulary_.words)
    assert model.n_parameters_ == sum(p.numel() for p in model.model_.networks[0].parameters())


def test_probabilities_decisions_and_classes_say_the_same(fitted):
    model, texts, _ = fitted
    said = model.predict_proba(texts)
    np.testing.assert_allclose(said.sum(axis=1), 1)
    np.testing.assert_allclose(said, model.model_.predict_proba(texts), rtol=1e-12)
    np.testing.assert_allclose(model.decision_function(texts), np.log(said[:, 1] / said[:, 0]), atol=1e-9)
    assert (model.predict(texts) == model.classes_[said.argmax(axis=1)]).all()
    three = TextLSTMClassifier(**QUICK).fit(texts, np.arange(len(texts)) % 3)
    assert three.decision_function(texts).shape == three.predict_proba(texts).shape == (len(texts), 3)
    assert model.predict([]).shape == (0,)


@pytest.mark.parametrize("kind", [np.array, tuple, pd.Series, pl.Series, lambda x: np.array(x, object), iter])
def test_texts_come_as_any_column_of_str(fitted, kind):
    model, texts, y = fitted
    np.testing.assert_array_equal(model.predict_proba(kind(texts)), model.predict_proba(texts))
    again = TextLSTMClassifier(**QUICK).fit(kind(texts), y)
    np.testing.assert_array_equal(again.predict_proba(texts), model.predict_proba(texts))


def test_pipeline_search_and_cross_validation_take_it():
    texts, y = reviews(40)
    piped = make_pipeline(
        FunctionTransformer(lambda X: [text.upper() for text in X]), TextLSTMClassifier(**QUICK)
    )
    assert clone(piped).fit(texts, y).predict(texts).shape == (40,)
    assert np.isfinite(cross_val_score(piped, texts, y, cv=2, error_score="raise")).all()
    grid = {"hidden_size": np.array([2]), "pooling": [["mean"], ("last", "max")]}
    found = GridSearchCV(TextLSTMClassifier(**QUICK), grid, cv=2, error_score="raise").fit(texts, y)
    assert found.best_params_["hidden_size"] == 2
    with pytest.raises(InputError, match="here it is hidden_size"):
        GridSearchCV(TextLSTMClassifier(**QUICK), {"units": [2]}, cv=2).fit(texts, y)


def test_pickle_and_clone_keep_what_they_should(fitted):
    model, texts, _ = fitted
    again = pickle.loads(pickle.dumps(model))  # noqa: S301 - made here
    np.testing.assert_array_equal(again.predict_proba(texts), model.predict_proba(texts))
    assert clone(model).get_params() == model.get_params()
    assert not hasattr(clone(model), "model_")
    with pytest.raises(NotFittedError):
        clone(model).predict(texts)


def test_the_same_state_gives_the_same_fit_and_another_another():
    texts, y = reviews(40)
    a, b, c = (
        TextLSTMClassifier(**{**BARE, "random_state": state}).fit(texts, y).predict_proba(texts)
        for state in (1, 1, 2)
    )
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


# --- seeds, rows that stop


def test_several_seeds_are_averaged_and_one_is_the_first_of_them():
    texts, y = reviews()
    one, two = (TextLSTMClassifier(**BARE, n_seeds=n).fit(texts, y) for n in (1, 2))
    assert one.history_ == two.history_
    assert len(two.histories_) == len(two.temperatures_) == len(two.model_.networks) == 2
    assert one.temperature_ == two.temperature_ == two.temperatures_[0]
    logits = two.model_.logits(texts)
    each = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(two.predict_proba(texts), each.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(one.predict_proba(texts), each[0], rtol=1e-6)


def test_without_validation_texts_it_trains_on_all_of_them_to_the_last_epoch_uncalibrated():
    texts, y = reviews(30)
    model = TextLSTMClassifier(**{**QUICK, "max_epochs": 4}, patience=1, lr=0.5, validation_fraction=0)
    model.fit(texts, y)
    assert model.n_iter_ == model.best_epoch_ == 4
    assert model.temperature_ == 1
    assert (
        model.vocabulary_
        == ho.fit_text(
            ho.read_texts(pl.DataFrame({"x": texts, "y": y}), text="x", target="y"),
            np.arange(30),
            np.arange(0),
            TextRecipe(hidden_size=3, embedding_size=4, max_epochs=0),
        )[0].vocabulary
    )


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.integers(0, 8), min_size=2, max_size=40),
    fraction=st.floats(0, 0.9),
    seed=st.integers(0, 99),
)
def test_near_duplicates_are_on_one_side_and_every_class_trains(names, fraction, seed):
    texts = tuple(
        f"text of number {name} and no other than {name}{'!' * (k % 2)}" for k, name in enumerate(names)
    )
    codes = np.unique(np.array(names) % 3, return_inverse=True)[1]
    train, valid, units = _split(texts, codes, fraction, np.random.default_rng(seed))
    assert sorted([*train, *valid]) == list(range(len(names)))
    assert not set(units[train]) & set(units[valid])
    np.testing.assert_array_equal(units, near_duplicates(texts))
    assert set(codes[train]) == set(codes)
    assert len(valid) == 0 or fraction > 0


# --- weights


def test_weights_of_zero_leave_out_and_equal_weights_change_nothing():
    texts, y = reviews(50)
    kept = np.arange(50) % 3 > 0
    some = TextLSTMClassifier(**QUICK).fit([t for t, k in zip(texts, kept, strict=True) if k], y[kept])
    for weight in (kept * 1.0, kept * 7):
        weighted = TextLSTMClassifier(**QUICK).fit(texts, y, sample_weight=weight)
        np.testing.assert_array_equal(weighted.predict_proba(texts), some.predict_proba(texts))
        assert weighted.vocabulary_ == some.vocabulary_


@pytest.mark.parametrize("shortcut", ["tfidf", "none"])
def test_a_heavier_class_is_said_more_often(shortcut):
    texts, y = reviews(80)
    y = np.where(np.random.default_rng(1).random(len(y)) < 0.3, "up", y)
    options, others = {**QUICK, "shortcut": shortcut}, reviews(80, seed=1)[0]
    shares = [
        TextLSTMClassifier(**options, class_weight=weight).fit(texts, y).predict_proba(others)[:, 1].mean()
        for weight in ({"up": 0.1}, None, {"up": 10.0, "down": 1.0})
    ]
    assert shares[0] + 0.05 < shares[1] < shares[2] - 0.05


def test_class_weights_are_sample_weights_by_class_and_balanced_ones_those_of_the_shares():
    texts, y = reviews(60)
    rare = np.concatenate([np.flatnonzero(y == "up")[:8], np.flatnonzero(y == "down")[:24]])
    texts, y = [texts[row] for row in rare], y[rare]
    by_class = {"up": 32 / 16, "down": 32 / 48}
    fits = [
        TextLSTMClassifier(**QUICK, class_weight="balanced").fit(texts, y),
        TextLSTMClassifier(**QUICK, class_weight=by_class).fit(texts, y),
        TextLSTMClassifier(**QUICK).fit(texts, y, sample_weight=[by_class[label] for label in y]),
    ]
    for other in fits[1:]:
        np.testing.assert_allclose(other.predict_proba(texts), fits[0].predict_proba(texts), rtol=1e-6)


# --- what it tells


def test_texts_that_were_cut_or_are_empty_are_told_of():
    texts, y = reviews(30)
    model = TextLSTMClassifier(**QUICK, max_length=4).fit(["", *texts[1:]], y)
    assert "29 of 30 texts" in model.notes_[0]
    assert "no words" in model.notes_[1]


# --- files


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        ({}, ["up", "down"]),
        ({"n_seeds": 2, "shortcut": "none", "pooling": ["attention"], "dense": (2,)}, [3, 7]),
        ({"class_weight": {False: 2.0, True: 1.0}, "max_length": 3}, [False, True]),
    ],
)
def test_it_comes_back_from_a_file_to_the_bit(tmp_path, options, labels):
    texts, y = reviews(40)
    y = np.array(labels)[(y == "up").astype(int)]
    model = TextLSTMClassifier(**QUICK, **options).fit(texts, y)
    model.save(tmp_path / "model")
    again = ho.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(texts), model.predict_proba(texts))
    np.testing.assert_array_equal(again.classes_, model.classes_)
    assert again.classes_.dtype == model.classes_.dtype
    for name in (
        "histories_", "temperatures_", "temperature_", "n_iter_", "best_epoch_", "n_parameters_", "notes_", "vocabulary_",
    ):  # fmt: skip
        assert getattr(again, name) == getattr(model, name)
    assert repr(again) == repr(model).replace("['attention']", "('attention',)")
    again.fit(texts, y)
    np.testing.assert_array_equal(again.predict_proba(texts), model.predict_proba(texts))


def test_vectors_shorter_than_asked_for_come_back_from_a_file(tmp_path):
    texts, y = reviews(40)
    lines = [f"{word} {k} 1 {-k}" for k, word in enumerate(["good", "bad", "word1", "word2"])]
    (tmp_path / "vectors.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    model = TextLSTMClassifier(**QUICK, vectors=tmp_path / "vectors.txt").fit(texts, y)
    model.save(tmp_path / "model")
    again = ho.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(texts), model.predict_proba(texts))
    assert again.vectors == str(tmp_path / "vectors.txt")


def test_a_file_with_any_bit_changed_or_cut_short_is_refused(fitted, tmp_path):
    fitted[0].save(tmp_path / "model")
    data = (tmp_path / "model").read_bytes()
    for place in range(9, len(data), len(data) // 12):
        spoilt = bytearray(data)
        spoilt[place] ^= 4
        (tmp_path / "spoilt").write_bytes(spoilt)
        with pytest.raises(ModelFileError, match="spoilt: "):
            ho.load(tmp_path / "spoilt")
    (tmp_path / "short").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelFileError, match="short: "):
        ho.load(tmp_path / "short")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["kind"], "heldout cake", "holds no estimator that this version reads"),
        (["kind"], "TextLSTMClassifier", "holds no estimator that this version reads"),
        (["version"], 2, "later heldout"),
        (["params"], {"units": 3}, "here it is hidden_size"),
        (["notes"], None, "does not describe a TextLSTMClassifier"),
        (["histories"], [], "does not describe a TextLSTMClassifier"),
        (["model"], {"kind": "heldout series model"}, "text model"),
        (["model", "vocabulary"], "{}", "vocabulary"),
        (["model", "recipe", "hidden_size"], 4096, "tensors of network 0"),
        (["classes"], {"dtype": "<U4", "labels": ["up"]}, "1 labels do not fit"),
    ],
)
def test_metadata_that_lie_are_refused_in_one_sentence(fitted, tmp_path, path, value, said):
    fitted[0].save(tmp_path / "model")
    tensors, metadata = load_tensors(tmp_path / "model")
    place = metadata
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    save_tensors(tmp_path / "lie", tensors, metadata)
    with pytest.raises(ModelFileError, match=said) as raised:
        ho.load(tmp_path / "lie")
    assert str(raised.value).startswith(f"{tmp_path / 'lie'}: ")
    assert "\n" not in str(raised.value)


# --- mistakes

PAIR = ["good film", "bad film"]


@pytest.mark.parametrize(
    ("X", "y", "said"),
    [
        ("good film", ["up", "down"], "texts must be a list of str, got str; put one text in a list"),
        ([1, 2], ["up", "down"], "text 0 is int: 1"),
        (np.ones(2), ["up", "down"], "text 0 is float64"),
        (["good", None], ["up", "down"], "text 1 is NoneType"),
        (["good", float("nan")], ["up", "down"], "text 1 is float: nan"),
        ([b"good", b"bad"], ["up", "down"], "text 0 is bytes"),
        ([["good"], ["bad"]], ["up", "down"], "text 0 is list"),
        ({"text": PAIR}, ["up", "down"], "got dict"),
        (np.array([PAIR]).T, ["up", "down"], r"one column of texts, got shape \(2, 1\): give one column"),
        (pd.DataFrame({"a": PAIR}), ["up", "down"], r"one column of texts, got shape \(2, 1\)"),
        (pl.DataFrame({"a": PAIR}), ["up", "down"], r"one column of texts, got shape \(2, 1\)"),
        ([], [], "X must hold texts to learn from, got none"),
        (["good"], ["up"], "two classes at least, got one class: 'up'"),
        (PAIR, ["up", "up"], "two classes at least, got one class: 'up'"),
        (PAIR, ["up"], "X and y must have one length, got 2 texts and 1 labels"),
        (PAIR, None, "y to be passed, but the target y is None"),
        (
            PAIR,
            ["up", None],
            "labels must be of one kind, all numbers or all strings, got NoneType, str in y",
        ),
        (PAIR, np.array([1, "up"], object), "labels must be of one kind.* got int, str in y"),
        (PAIR, [0.5, 1.25], "Unknown label type"),
        (["a", "b"], ["up", "down"], "lower min_count"),
    ],
)
def test_data_that_break_a_rule_are_named_in_one_sentence(X, y, said):
    with pytest.raises(ValueError, match=said) as raised:
        TextLSTMClassifier(**QUICK).fit(X, y)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("X", ["good film", [1], [None], np.array([["good"]])])
def test_what_is_no_text_is_refused_at_predict_too(fitted, X):
    for said in (fitted[0].predict, fitted[0].predict_proba, fitted[0].decision_function):
        with pytest.raises(InputError, match="text"):
            said(X)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("dropout", "here it is input_dropout, recurrent_dropout, output_dropout or weight_dropout"),
        ("units", "here it is hidden_size"),
        ("epochs", "here it is max_epochs"),
        ("seed", "here it is random_state"),
        ("validation_split", "here it is validation_fraction"),
        ("max_lenght", "did you mean 'max_length'"),
        ("lookback", "'lookback' is no hyper-parameter of TextLSTMClassifier"),
        ("loss", "'loss' is no hyper-parameter of TextLSTMClassifier"),
    ],
)
def test_a_name_that_it_does_not_have_raises_an_error_that_gives_ours(name, said):
    for make in (TextLSTMClassifier, TextLSTMClassifier().set_params):
        with pytest.raises(InputError, match=said):
            make(**{name: 1})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hidden_size": 0}, "hidden_size must be in"),
        ({"validation_fraction": 1.0}, "validation_fraction must be in"),
        ({"n_seeds": 0}, "n_seeds must be in"),
        ({"pooling": ("sum",)}, "pooling must be one of"),
        ({"class_weight": "balance"}, r"class_weight must be a dict .*\(did you mean 'balanced'"),
        ({"class_weight": {"sideways": 1.0}}, "class_weight must name classes of y"),
        ({"class_weight": {"up": 0}}, "class_weight of 'up' must be in"),
        ({"vectors": "no such file"}, "no such file"),
    ],
)
def test_a_bad_value_is_named_at_fit(options, said):
    with pytest.raises(InputError, match=said):
        TextLSTMClassifier(**{**QUICK, **options}).fit(*reviews(20))


@pytest.mark.parametrize("weight", [np.zeros(20), -np.ones(20), np.full(20, np.nan), np.ones(19)])
def test_weights_that_are_none_are_refused(weight):
    with pytest.raises(InputError, match="sample_weight must be 20 finite numbers of 0 or more"):
        TextLSTMClassifier(**QUICK).fit(*reviews(20), sample_weight=weight)


# --- the extra packages


def test_without_the_extra_packages_only_texts_are_missing_and_say_what_they_need(fitted, tmp_path):
    fitted[0].save(tmp_path / "model")
    code = """
        import sys
        sys.modules["tokenizers"] = sys.modules["datasketch"] = None
        import heldout
        assert "torch" not in sys.modules
        names = ["LSTMRegressor", "fit", "TextRecipe", "TextLSTMClassifier", "TextResult", "fit_text", "split_texts"]
        asked = {name: lambda name=name: getattr(heldout, name) for name in names}
        asked["a file"] = lambda: heldout.load(sys.argv[1])
        for name, ask in asked.items():
            try:
                ask()
            except heldout.InputError as error:
                print(name, "|", error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path / "model"],
        check=True,
        capture_output=True,
        text=True,
    )
    said = dict(line.split(" | ") for line in done.stdout.splitlines())
    assert said.keys() == {"TextLSTMClassifier", "TextResult", "fit_text", "split_texts", "a file"}
    assert said["a file"] == said["TextLSTMClassifier"]
    for name, sentence in said.items():
        assert re.fullmatch(r"\w+ needs the package \w+: pip install 'heldout\[text\]'", sentence), name


def test_missing_labels_are_no_class():
    with pytest.raises(ho.InputError, match="y holds NaN"):
        TextLSTMClassifier(**QUICK).fit(["good film"] * 10, [float("nan"), *["up", "down"] * 4, "up"])
