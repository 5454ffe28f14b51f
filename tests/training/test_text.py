"""Fits of texts: pure functions of their rows and seed, never worse than their linear part by more than noise."""

import gzip
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from heldout.augment.translate import BackTranslation
from heldout.check import InputError
from heldout.data.text_table import TextData
from heldout.data.vectors import read_vectors
from heldout.text_recipe import TextRecipe
from heldout.training import text_epochs, text_linear
from heldout.training.checkpoint import Checkpoint, dump_tensors, parse_tensors
from heldout.training.text import TextModel, fit_text
from heldout.training.text_epochs import AugmentedTexts, augmented

SMALL = {
    "hidden_size": 4,
    "embedding_size": 6,
    "max_epochs": 2,
    "batch_size": 16,
    "lr": 0.01,
    "patience": None,
}
WORDS = {
    "good": ["good", "fine", "great", "film", "play", "the", "a"],
    "bad": ["bad", "poor", "dull", "film", "play", "the", "a"],
    "so": ["so", "plain", "usual", "film", "play", "the", "a"],
}
TRAIN, VALID, OTHERS = np.arange(60), np.arange(60, 90), np.arange(90, 120)


def make_data(n=120, seed=0, classes=("good", "bad"), shares=None, random=False):
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(classes), n, p=shares)
    of = rng.choice(len(classes), n) if random else labels
    texts = tuple(" ".join(rng.choice(WORDS[classes[k]], rng.integers(2, 9))) for k in of)
    return TextData(texts, labels, tuple(classes), None, None, n)


def fit(data=None, train=TRAIN, valid=VALID, *, seed=0, units=None, checkpoint=None, report=None, **options):
    recipe = TextRecipe(**{**SMALL, **options})
    data = make_data() if data is None else data
    return fit_text(data, train, valid, recipe, seed=seed, units=units, checkpoint=checkpoint, report=report)


def contents(model):
    tensors, metadata = model.to_file_parts()
    return dump_tensors(tensors, metadata)


def log_loss(log_proba, labels):
    return -log_proba[np.arange(len(labels)), labels].mean()


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """A file of vectors in which words of one kind are near to one another."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("vectors") / "small.txt"
    lines = []
    for place, words in enumerate(
        [WORDS["good"][:3], WORDS["bad"][:3], ["film", "play", "show"], ["the", "an"]]
    ):
        for word in words:
            numbers = np.eye(6)[place] + 0.1 * rng.normal(size=6)
            lines.append(" ".join([word, *(f"{x:.4f}" for x in numbers)]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def translator(monkeypatch, tmp_path):
    """Stands for a translator there and back: other words, in the same order."""

    class Words:
        def __init__(self, name, pairs):
            self.name, self.pairs, self.seen = name, pairs, []

        def translate(self, texts):
            self.seen += texts
            return [" ".join(self.pairs.get(word, word) for word in text.split()) for text in texts]

    there = Words("there", {"film": "película", "play": "obra"})
    made = BackTranslation(there, Words("back", {"película": "movie", "obra": "drama"}), cache=tmp_path)
    monkeypatch.setattr(text_epochs, "read_translation", lambda spec: made)
    return there


# --- what a fit is a function of

OPTIONS = {
    "plain": {},
    "residual": {"shortcut": "residual"},
    "none": {"shortcut": "none", "class_weight": "balanced"},
    "pretrained": {"pretrain_epochs": 2, "num_layers": 2},
    "augmented": {"alpha_aeda": 0.3, "alpha_rs": 0.2, "p_unk": 0.1, "mixup": 0.2},
    "vectors": {"vectors": True, "alpha_nn": 0.3},
    "averaged": {"ema": 0.5, "pooling": ("attention", "last"), "recurrent_mask": "batch"},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_texts_outside_of_the_fit_change_no_bit_and_the_seed_does(name, vectors):
    options = OPTIONS[name] | ({"vectors": vectors} if "vectors" in OPTIONS[name] else {})
    data = make_data()
    texts, labels = list(data.texts), data.labels.copy()
    for row in OTHERS:
        texts[row], labels[row] = "zzz good bad " * 9, 1 - labels[row]
    poisoned = replace(data, texts=tuple(texts), labels=labels)
    torch.manual_seed(1)
    model, history = fit(data, **options)
    torch.manual_seed(2)
    other, again = fit(poisoned, **options)
    assert contents(model) == contents(other)
    assert history.epochs == again.epochs
    assert contents(fit(data, seed=1, **options)[0]) != contents(model)


@pytest.mark.parametrize("name", ["plain", "pretrained", "augmented"])
def test_the_number_of_threads_changes_no_bit(name):
    found, before = [], torch.get_num_threads()
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            found.append(contents(fit(**{**OPTIONS[name], "hidden_size": 16, "batch_size": 64})[0]))
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


def test_validation_texts_change_neither_vocabulary_nor_word_vectors(vectors):
    data = make_data()
    texts = list(data.texts)
    for row in VALID:
        texts[row] = "never seen words of validation never"
    options = {"vectors": vectors, "embedding_lr": 0.0}
    model, other = (fit(each, **options)[0] for each in (data, replace(data, texts=tuple(texts))))
    assert model.vocabulary == other.vocabulary
    assert model.vectors == other.vectors
    assert torch.equal(model.networks[0].embedding.weight, other.networks[0].embedding.weight)
    assert "never" not in other.vocabulary.words


def test_a_network_alone_sees_validation_only_to_stop_and_to_calibrate():
    data = make_data()
    flipped = replace(data, labels=np.where(np.isin(np.arange(120), VALID), 1 - data.labels, data.labels))
    options = {"shortcut": "none", "restore_best": False}
    model, other = (fit(each, **options)[0] for each in (data, flipped))
    states = [found.networks[0].state_dict() for found in (model, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert model.temperatures != other.temperatures


# --- killed and resumed


class KilledError(Exception):
    """Stands for signal 9: raised between two epochs."""


@pytest.mark.parametrize("name", [*OPTIONS, "translated"])
def test_a_killed_fit_goes_on_to_the_same_bits(name, vectors, translator, tmp_path):
    options = OPTIONS.get(name, {"back_translation": "fake"}) | {"max_epochs": 4}
    options |= {"vectors": vectors} if "vectors" in options else {}
    whole, history = fit(**options)
    checkpoint = Checkpoint(tmp_path / "fit.safetensors")

    def kill(event):
        if event.get("epoch") == 2:
            raise KilledError

    with pytest.raises(KilledError):
        fit(checkpoint=checkpoint, report=kill, **options)
    told = []
    resumed, again = fit(checkpoint=checkpoint, report=told.append, **options)
    assert contents(resumed) == contents(whole)
    assert again.epochs == history.epochs
    assert [event["epoch"] for event in told if "epoch" in event] == [3, 4]


def test_a_fit_killed_in_pretraining_begins_again_to_the_same_bits(tmp_path):
    options, checkpoint = {"pretrain_epochs": 3}, Checkpoint(tmp_path / "fit.safetensors")

    def kill(event):
        if event.get("pretrain_epoch") == 2:
            raise KilledError

    with pytest.raises(KilledError):
        fit(checkpoint=checkpoint, report=kill, **options)
    assert contents(fit(checkpoint=checkpoint, **options)[0]) == contents(fit(**options)[0])


# --- the linear part


def test_without_an_epoch_a_residual_fit_says_what_the_linear_model_says():
    data = make_data()
    model, history = fit(data, shortcut="residual", max_epochs=0)
    texts = [data.texts[row] for row in OTHERS]
    np.testing.assert_allclose(
        log_softmax(model.logits(texts, calibrated=False)[0], axis=1), model.linear.logits(texts), atol=1e-5
    )
    assert history.best_epoch == 0


def test_without_a_shortcut_it_starts_at_the_shares_of_the_classes():
    data = make_data(shares=[0.8, 0.2])
    model, _ = fit(data, shortcut="none", max_epochs=0)
    counts = np.bincount(data.labels[TRAIN])
    said = np.exp(model.log_proba(["a good film", "", "bad"], calibrated=False))
    np.testing.assert_allclose(said, np.tile((counts + 1) / 62, (3, 1)), atol=1e-6)


def test_beside_it_the_linear_model_is_mixed_in_with_the_weights_of_the_file():
    data = make_data()
    model, _ = fit(data)
    texts = [data.texts[row] for row in OTHERS]
    network = model.networks[0]
    share = float(network.share)
    assert 0 < share < 1
    assert float(network.gain) == pytest.approx(1 - share, abs=1e-6)
    alone = fit(data, shortcut="tfidf")[0].networks[0]
    alone.share.fill_(1.0)
    alone.gain.fill_(0.0)
    deep = replace(model, networks=(alone,)).logits(texts, calibrated=False)[0]
    mixed = (share * deep + (1 - share) * model.linear.logits(texts)) / model.temperatures[0]
    np.testing.assert_allclose(model.logits(texts)[0], mixed, atol=1e-5)


@pytest.mark.parametrize("shortcut", ["tfidf", "residual"])
def test_where_there_is_nothing_to_learn_it_is_hardly_worse_than_its_linear_part(shortcut):
    rows = np.arange(400)
    data = make_data(1000, random=True)
    model, _ = fit(data, rows[:300], rows[300:], shortcut=shortcut, max_epochs=6, patience=3)
    texts, labels = data.texts[400:], data.labels[400:]
    linear = log_loss(log_softmax(model.linear.logits(texts), axis=1), labels)
    assert log_loss(model.log_proba(texts), labels) < linear + 0.02
    assert log_loss(model.log_proba(texts), labels) < np.log(2) + 0.03


def test_models_of_several_seeds_share_their_linear_part_and_say_the_mean_of_what_each_says():
    data = make_data(seed=2)
    models = [fit(data, seed=seed)[0] for seed in range(4)]
    joined = models[0].joined(models[1:])
    texts = [data.texts[row] for row in OTHERS]
    mean = np.mean([model.predict_proba(texts) for model in models], axis=0)
    np.testing.assert_allclose(joined.predict_proba(texts), mean, atol=1e-9)


def test_models_of_other_texts_cannot_be_joined():
    model = fit()[0]
    for other in (fit(make_data(seed=5))[0], replace(model, classes=("x", "y"))):
        with pytest.raises(InputError, match="joined only if"):
            model.joined([other])


def test_units_stay_together_where_the_linear_part_is_cross_fitted(monkeypatch):
    data, seen = make_data(), []
    fit_linear = text_linear.fit_text_linear

    def spy(*arguments, units, **named):
        seen.append(units)
        return fit_linear(*arguments, units=units, **named)

    monkeypatch.setattr(text_linear, "fit_text_linear", spy)
    units = np.arange(120) // 7
    fit(data, TRAIN[::-1].copy(), VALID, units=units)
    assert seen[0].tolist() == [*units[TRAIN[::-1]], *units[VALID]]


# --- it learns, and weighs


@pytest.mark.parametrize("shortcut", ["none", "tfidf", "residual"])
def test_it_learns_what_an_order_of_words_means(shortcut):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    texts = []
    for label in labels:
        pair = ["first", "second"] if label else ["second", "first"]
        at = np.sort(rng.choice(7, 2, replace=False))
        words = rng.choice(["x", "y", "z"], 7).tolist()
        for place, word in zip(at, pair, strict=True):
            words[place] = word
        texts.append(" ".join(words))
    data = TextData(tuple(texts), labels, ("a", "b"), None, None, 400)
    model, _ = fit(
        data, np.arange(250), np.arange(250, 320), shortcut=shortcut, hidden_size=16, lr=0.02, max_epochs=25, regularization=0.3,
    )  # fmt: skip
    right = model.predict_proba(texts[320:]).argmax(1) == labels[320:]
    assert right.mean() > 0.8


@pytest.mark.parametrize("shortcut", ["none", "tfidf"])
def test_balanced_weights_raise_the_recall_of_a_rare_class(shortcut):
    rng = np.random.default_rng(3)
    labels = (rng.random(900) < 0.07).astype(int)
    texts = tuple(  # words hint at the rare class, none proves it
        " ".join(rng.choice([*WORDS["good"] * 3, *WORDS["bad"][:3] * (3 if label else 1)], 4))
        for label in labels
    )
    data, recall = TextData(texts, labels, ("usual", "rare"), None, None, 900), {}
    for way in ("none", "balanced"):
        model, _ = fit(
            data, np.arange(400), np.arange(400, 500), class_weight=way, max_epochs=5, shortcut=shortcut
        )
        said = model.predict_proba(texts[500:]).argmax(1)
        recall[way] = said[labels[500:] == 1].mean()
    assert recall["balanced"] > recall["none"] + 0.1


def test_a_class_without_a_training_text_still_has_a_probability():
    data = make_data(classes=("good", "bad", "so"))
    kept = np.flatnonzero(data.labels != 2)
    for shortcut in ("none", "tfidf", "residual"):
        model, _ = fit(data, kept[:40], kept[40:60], shortcut=shortcut)
        said = model.predict_proba(["so plain", "good"])
        assert ((said > 0) & np.isfinite(said)).all()
        np.testing.assert_allclose(said.sum(1), 1)


def test_a_class_of_validation_texts_alone_is_no_error():
    data = make_data(classes=("good", "bad", "so"))
    train, valid = np.flatnonzero(data.labels != 2)[:40], np.flatnonzero(data.labels == 2)
    for class_weight in ("none", "balanced"):
        for shortcut in ("none", "tfidf", "residual"):
            model, _ = fit(data, train, valid, shortcut=shortcut, class_weight=class_weight)
            assert np.isfinite(model.log_proba(["so plain", "good"])).all()


def test_without_validation_texts_the_last_epoch_is_kept_uncalibrated():
    for shortcut in ("none", "tfidf", "residual"):
        model, history = fit(valid=VALID[:0], shortcut=shortcut)
        assert history.best_epoch == SMALL["max_epochs"]
        assert model.temperatures[0] == pytest.approx(1)


# --- texts of all kinds


def test_any_text_has_probabilities_and_each_says_alone_what_it_says_among_others():
    model, _ = fit(max_length=None)
    texts = ["", "   ", "good film", "good " * 3000, "\n\t", "?!", "ünïcode 漢字 😀", "bad " * 100_000]
    together = model.predict_proba(texts)
    assert np.isfinite(together).all()
    np.testing.assert_allclose(together.sum(1), 1)
    alone = np.concatenate([model.predict_proba([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert model.predict_proba([]).shape == (0, 2)
    assert model.log_proba([]).shape == (0, 2)


def test_a_fit_stands_empty_texts_and_very_long_ones():
    data = make_data()
    texts = list(data.texts)
    texts[0], texts[1], texts[2], texts[70], texts[71] = "", "good " * 100_000, " ", "", "bad " * 50_000
    model, history = fit(replace(data, texts=tuple(texts)))
    assert np.isfinite([epoch["valid_loss"] for epoch in history.epochs]).all()
    assert model.encode(texts).lengths.max() == 256


def test_a_file_gives_the_model_back_to_the_bit(vectors):
    model, _ = fit(vectors=vectors, pooling=("last", "attention"))
    other = TextModel.from_file_parts(*parse_tensors(contents(model)))
    texts = list(make_data(seed=9).texts)
    assert np.array_equal(other.log_proba(texts), model.log_proba(texts))
    assert other.vectors == model.vectors
    assert contents(other) == contents(model)


# --- word vectors


def test_known_words_start_at_their_vectors_even_where_no_training_text_holds_them(vectors):
    model, _ = fit(vectors=vectors, embedding_lr=0.0)
    found = read_vectors(vectors, model.vocabulary.words)
    for word in ("good", "bad", "film", "an", "show"):
        row = found.words.index(word)
        at = model.vocabulary.numbers[word]
        np.testing.assert_allclose(model.networks[0].embedding.weight[at], found.vectors[row], atol=1e-6)
    assert model.vectors.size == 6
    assert 0 < model.vectors.share_words <= 1
    assert not model.networks[0].embedding.weight[0].any()


def test_vectors_are_cut_to_the_size_asked_for_and_the_variance_is_told(vectors):
    model, _ = fit(vectors=vectors, embedding_size=3)
    assert model.networks[0].embedding.weight.shape[1] == model.vectors.size == 3
    assert 0.5 < model.vectors.kept_variance < 1


# --- augmentation


def make_source(options, vectors=None):
    """What `fit_text` trains on, before the first epoch."""
    kept = []

    def spy(base, texts, vocabulary, recipe, word_vectors, **more):
        found = augmented(base, texts, vocabulary, recipe, word_vectors, **more)
        kept.append((base, found, vocabulary))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("heldout.training.text.augmented", spy)
        fit(max_epochs=0, **options)
    return kept[0]


def words_of(source, vocabulary):
    tokens = source.tokens
    return [
        [vocabulary.words[k] for k in tokens.ids[a:b]]
        for a, b in zip(tokens.offsets, tokens.offsets[1:], strict=False)
    ]


AUGMENTED = {
    "swaps": {"alpha_rs": 0.2},
    "deletion": {"p_rd": 0.2},
    "marks": {"alpha_aeda": 0.3},
    "neighbours": {"alpha_nn": 0.3},
    "unknown": {"p_unk": 0.2},
    "all": {"alpha_rs": 0.2, "p_rd": 0.2, "alpha_aeda": 0.3, "alpha_nn": 0.3, "p_unk": 0.2},
}


@pytest.mark.parametrize("name", AUGMENTED)
def test_epochs_differ_from_one_another_and_each_can_be_drawn_again(name, vectors):
    _, source, vocabulary = make_source({**AUGMENTED[name], "vectors": vectors, "rare": 0.0})
    rows = torch.arange(len(TRAIN))
    first, again, other = (source.epoch(rows, np.random.default_rng([0, k])) for k in (1, 1, 2))
    assert words_of(first[0], vocabulary) == words_of(again[0], vocabulary)
    assert words_of(first[0], vocabulary) != words_of(other[0], vocabulary)
    assert len(first[1]) == len(first[0]) > len(rows)


@pytest.mark.parametrize("shortcut", ["none", "residual"])
def test_variants_keep_label_weight_and_linear_part_and_no_validation_row_is_among_them(shortcut, vectors):
    options = {
        **AUGMENTED["all"],
        "shortcut": shortcut,
        "class_weight": "balanced",
        "vectors": vectors,
        "rare": 0.0,
    }
    base, source, vocabulary = make_source(options)
    assert isinstance(source, AugmentedTexts)
    chosen = torch.from_numpy(np.random.default_rng(0).permutation(len(TRAIN))[:40])
    rng = np.random.default_rng(5)
    drawn = source.variants.draw(chosen.numpy(), np.random.default_rng(5))
    epoch, rows = source.epoch(chosen, rng)
    of = chosen.numpy()[drawn.source]
    assert rows.tolist() == list(range(len(of)))
    assert set(of) == set(chosen.tolist())
    assert np.array_equal(epoch.labels, base.labels[of])
    assert np.array_equal(epoch.weight, base.weight[of])
    if shortcut == "residual":
        assert np.array_equal(epoch.linear, base.linear[of])
    else:
        assert epoch.linear is None
    originals = words_of(base, vocabulary)
    for place in np.flatnonzero(drawn.original):
        assert words_of(epoch, vocabulary)[place] == originals[of[place]]
    kept = (~drawn.original).sum()
    dropped = sum(drawn.counts[why] for why in ("unchanged", "held out", "label lost"))
    assert drawn.original.sum() == 40
    assert kept == drawn.counts["drawn"] - dropped or kept < drawn.counts["drawn"] - dropped
    assert drawn.original.mean() >= 0.3 - 1e-9
    held = [" ".join(words) for words in originals[len(TRAIN) :]]
    variants = [" ".join(text) for text, own in zip(drawn.texts, drawn.original, strict=True) if not own]
    assert not set(variants) & set(held)


def test_evaluation_reads_texts_as_they_are(vectors):
    base, source, _ = make_source({**AUGMENTED["all"], "vectors": vectors})
    rows = torch.arange(60, 90)
    for a, b in zip(source.gather(rows), base.gather(rows), strict=True):
        assert a is b is None or torch.equal(a, b)


def test_neighbours_without_vectors_are_refused_with_a_way_out():
    with pytest.raises(InputError, match=r"alpha_nn takes .* set vectors= or pretrain_epochs="):
        fit(alpha_nn=0.2)


def test_neighbours_can_come_from_pretraining():
    assert contents(fit(alpha_nn=0.3, pretrain_epochs=1)[0]) != contents(fit(pretrain_epochs=1)[0])


def test_training_texts_are_translated_and_no_others(translator):
    _, source, _ = make_source({"back_translation": "fake", "min_count": 1})
    data = make_data()
    assert set(translator.seen) == {data.texts[row] for row in TRAIN}
    drawn = source.variants.draw(np.arange(60), np.random.default_rng(0))
    variants = [text for text, own in zip(drawn.texts, drawn.original, strict=True) if not own]
    assert variants
    assert all({"movie", "drama"} & set(text) and not {"film", "play"} & set(text) for text in variants)


def test_the_base_is_what_is_trained_on_where_nothing_is_drawn():
    base, source, _ = make_source({})
    assert source is base


# --- real messages


def test_a_tiny_network_has_skill_on_real_messages(shared):
    path = shared / "text" / "sms_spam" / "SMSSpamCollection.gz"
    if not path.exists():
        pytest.skip("the messages are not among the data sets")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = [line.rstrip("\n").split("\t", 1) for line in file][:900]
    labels = np.array([int(label == "spam") for label, _ in lines])
    data = TextData(tuple(text for _, text in lines), labels, ("ham", "spam"), None, None, 900)
    majority = -np.mean(np.log(np.where(labels[600:], labels[:600].mean(), 1 - labels[:600].mean())))
    for shortcut in ("none", "tfidf"):
        model, _ = fit(
            data, np.arange(480), np.arange(480, 600), shortcut=shortcut, max_epochs=6, hidden_size=8
        )
        assert log_loss(model.log_proba(data.texts[600:]), labels[600:]) < 0.6 * majority


@pytest.mark.parametrize("options", [{}, {"alpha_aeda": 0.3}], ids=["as they are", "augmented"])
def test_validation_labels_train_no_weight_of_the_network(options):
    data = make_data()
    flipped = data.labels.copy()
    flipped[VALID] = 1 - flipped[VALID]
    models = [
        fit(replace(data, labels=labels), max_epochs=2, patience=None, restore_best=False, **options)[0]
        for labels in (data.labels, flipped)
    ]
    for name, weight in models[0].networks[0].named_parameters():
        assert torch.equal(weight, models[1].networks[0].get_parameter(name)), name
