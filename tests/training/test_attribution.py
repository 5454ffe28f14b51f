"""Attributions: they add up to the output, name the word that matters, and know nothing of other texts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.data.text import SPECIAL, Vocabulary
from heldout.data.text_table import TextData
from heldout.text_recipe import TextRecipe
from heldout.training.attribution import _Path, _places, _places_of_terms, attribute
from heldout.training.text import fit_text
from heldout.training.text_linear import TextLinear, cut_words, linear_terms

CLASSES = ("bad", "good", "none")
TEXTS = ["good filler w1 w2", "w5", "", "Unheard bad bad w3 ... w3!", "w1 w2 w3 good bad w4 w5 w6 w7 w8"]


def make_data(n=90, n_classes=2, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=n)
    texts = tuple(
        " ".join(rng.permutation([CLASSES[label], *(f"w{k}" for k in rng.integers(12, size=5))]))
        for label in labels
    )
    return TextData(texts, labels, CLASSES[: max(2, n_classes)], None, None, n)


def fit(n_classes=2, seeds=1, without=None, **options):
    data = make_data(n_classes=n_classes)
    rows = np.flatnonzero(data.labels != without)
    options = {"max_epochs": 3, "hidden_size": 6, "embedding_size": 5} | options
    recipe = TextRecipe(lr=0.02, regularization=0, patience=None, restore_best=False, **options)
    models = [fit_text(data, rows[:-20], rows[-20:], recipe, seed=seed)[0] for seed in range(seeds)]
    return models[0].joined(models[1:])


@pytest.fixture(scope="module")
def both():
    """Networks with a linear part, three classes."""
    return fit(3, seeds=2)


@pytest.fixture(scope="module")
def alone():
    """Networks without."""
    return fit(shortcut="none", pooling=("mean", "attention"), max_epochs=25)


def outputs(model, texts, targets, *, baseline=False):
    """The slow way, text by text: centred log odds after the temperature, mean over the networks."""
    found = []
    for text, target in zip(texts, targets, strict=True):
        ids = torch.from_numpy(model.encode([text]).ids)[None]
        own = []
        for network, temperature in zip(model.networks, model.temperatures, strict=True):
            static = None
            if model.linear is not None:
                static = torch.from_numpy(model.linear.logits(["qqq" if baseline else text])).float()
            vectors = network.embed(ids) * (0.0 if baseline else 1.0)
            logits = network.read(vectors, static=static).forecast[0, 0, 0].double().numpy() / temperature
            own.append(logits[target] - np.delete(logits, target).mean())
        found.append(np.mean(own))
    return np.array(found)


def sums(found):
    return np.array([sum(weight for _, weight in words) for words in found])


def slowly(model, text, target, steps=3000):
    """Integrated gradients of the networks alone by even steps."""
    ids = torch.from_numpy(model.encode([text]).ids)[None]
    found = 0.0
    for network, temperature in zip(model.networks, model.temperatures, strict=True):
        vectors = network.embed(ids)
        path = (vectors * ((torch.arange(steps) + 0.5) / steps)[:, None, None]).detach().requires_grad_()
        logits = network.read(path).forecast[:, 0, 0]
        others = [k for k in range(len(model.classes)) if k != target]
        asked = logits[:, target] - logits[:, others].mean(1)
        (slopes,) = torch.autograd.grad(asked.sum() / temperature / steps, path)
        found = found + (slopes.sum(0) * vectors[0]).sum(-1).double().numpy()
    return found / len(model.networks)


@pytest.mark.parametrize("name", ["both", "alone"])
def test_weights_sum_to_output_less_that_of_the_baseline(name, request):
    model = request.getfixturevalue(name)
    texts = [*TEXTS, *make_data(n=20, seed=1).texts, "good " * 60]
    targets = np.arange(len(texts)) % len(model.classes)
    due = outputs(model, texts, targets) - outputs(model, texts, targets, baseline=True)
    for steps in (1, 2, 7, 32):
        found = sums(attribute(model, texts, targets, steps=steps))
        np.testing.assert_allclose(found, due, atol=1e-5 * np.abs(due).max())


@pytest.mark.parametrize("name", ["both", "alone"])
def test_weights_are_the_integral_the_closer_the_more_steps(name, request):
    model = replace(request.getfixturevalue(name), linear=None)
    texts = make_data(n=8, seed=5).texts
    targets = np.arange(8) % 2
    due = np.concatenate([slowly(model, *pair) for pair in zip(texts, targets, strict=True)])
    errors = []
    for steps in (4, 32, 128):
        found = np.array([w for words in attribute(model, texts, targets, steps=steps) for _, w in words])
        errors.append(np.abs(found - due).max() / np.abs(due).max())
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] < 0.02
    assert errors[2] < 0.005


def test_steps_are_short_where_the_output_leaps(alone):
    # Without regularisation, this network holds one state near the zero vectors and leaps to another.
    tokens = alone.encode(["good bad " * 40])
    path = _Path(alone.networks[0], tokens, np.array([0]), np.array([[1.0, -1.0]]))
    points, said = path.mesh(32)
    assert points.shape == (1, 33)
    assert points[0, 0] == 0
    assert points[0, -1] == 1
    assert (np.diff(points) > 0).all()
    leap = np.abs(np.diff(path.outputs(np.linspace(0, 1, 33)[None]))).argmax() / 32
    shortest = np.diff(points)[0].argmin()
    assert points[0, shortest] == pytest.approx(leap, abs=1 / 16)
    assert np.diff(points).min() < 1 / 64
    np.testing.assert_allclose(path.outputs(points), said, atol=1e-5)


def test_weights_add_up_where_the_training_texts_lack_a_class():
    model = fit(3, without=1)
    assert len(model.linear.classes) == 2
    for target in range(3):
        targets = np.full(len(TEXTS), target)
        due = outputs(model, TEXTS, targets) - outputs(model, TEXTS, targets, baseline=True)
        np.testing.assert_allclose(sums(attribute(model, TEXTS, targets)), due, atol=0.02)


@pytest.mark.parametrize("name", ["both", "alone"])
def test_the_planted_word_gets_the_largest_weight_and_the_right_sign(name, request):
    model = request.getfixturevalue(name)
    texts = make_data(n=12, seed=2).texts
    for target in range(2):
        for text, words in zip(texts, attribute(model, texts, np.full(12, target)), strict=True):
            word, weight = max(words, key=lambda pair: abs(pair[1]))
            assert word in CLASSES
            assert (weight > 0) == (CLASSES[target] in text.split())


@pytest.mark.parametrize("name", ["both", "alone"])
def test_a_text_is_judged_alone_and_in_any_order(name, request):
    model = request.getfixturevalue(name)
    texts = [*TEXTS, *make_data(n=20, seed=4).texts]
    targets = np.arange(len(texts)) % 2
    together = attribute(model, texts, targets)
    order = np.random.default_rng(0).permutation(len(texts))
    mixed = attribute(model, [texts[k] for k in order], targets[order])
    for place, k in enumerate(order):
        alone = attribute(model, [texts[k]], targets[[k]])[0]
        for other in (mixed[place], alone):
            assert [word for word, _ in other] == [word for word, _ in together[k]]
            np.testing.assert_allclose([w for _, w in other], [w for _, w in together[k]], atol=1e-5)


def test_small_parts_give_the_same(both, monkeypatch):
    whole = attribute(both, TEXTS, np.zeros(5, int))
    monkeypatch.setattr("heldout.training.attribution._WORDS_AT_ONCE", 7)
    for one, other in zip(whole, attribute(both, TEXTS, np.zeros(5, int)), strict=True):
        np.testing.assert_allclose([w for _, w in one], [w for _, w in other], atol=1e-5)


def test_words_are_named_as_the_vocabulary_cuts_them(both, alone):
    found = attribute(both, TEXTS, np.zeros(5, int))
    assert [word for word, _ in found[3]] == ["unheard", "bad", "bad", "w3", "...", "w3", "!"]
    assert [word for word, _ in found[2]] == ["[UNK]"]
    assert isinstance(found[0][0][1], float)
    short = replace(alone, recipe=replace(alone.recipe, max_length=3))
    assert [word for word, _ in attribute(short, TEXTS, np.zeros(5, int))[3]] == ["unheard", "bad", "bad"]


def test_words_that_the_linear_part_alone_reads_count_too(both):
    short = replace(both, recipe=replace(both.recipe, max_length=2))
    texts, targets = TEXTS[4:], np.array([1])
    due = outputs(short, texts, targets) - outputs(short, texts, targets, baseline=True)
    found = attribute(short, texts, targets)
    assert len(found[0]) == 10
    np.testing.assert_allclose(sums(found), due, atol=0.01)


def test_a_pair_is_shared_and_a_beginning_goes_to_its_words():
    terms = ("good", "good film", "goo*")
    linear = TextLinear(
        terms, np.ones(3), np.array([[0.0, 1], [0, 2], [0, 4]]), np.zeros(2), np.array([0, 1]), 9, 1.0
    )
    model = replace(fit(), linear=linear)
    with torch.no_grad():  # silence the network
        for network in model.networks:
            network.head.weight.zero_()
            network.gain.fill_(1.0)
    found = attribute(replace(model, temperatures=(1.0,)), ["Good film goods"], np.array([1]))[0]
    # "good" once, the pair once, "goo*" twice: sublinear counts 1, 1, 1 + log 2
    tfidf = np.array([1, 1, 1 + np.log(2)]) / np.linalg.norm([1, 1, 1 + np.log(2)])
    a, pair, beginning = tfidf * [1, 2, 4]
    due = [a + pair / 2 + beginning / 2, pair / 2, beginning / 2]
    np.testing.assert_allclose([weight for _, weight in found], due, rtol=1e-9)


@given(st.text(max_size=40) | st.text("aBxÉ İſǰΣ'n’t !12.", max_size=40))
@settings(max_examples=150, deadline=None)
def test_every_term_of_the_linear_part_has_its_words(text):
    words, terms = cut_words(text), linear_terms(text)
    found = [term for term, _ in _places_of_terms(words, dict.fromkeys(terms, 1.0))]
    assert sorted(found) == sorted(terms)


@given(st.text(max_size=40) | st.text("aBxÉ İſ'n’tNT !12.", max_size=40))
@settings(max_examples=100, deadline=None)
def test_each_word_of_the_linear_part_is_one_of_the_vocabulary_in_order(text):
    for lower in (True, False):
        vocabulary = Vocabulary(SPECIAL, (0, 0), lower)
        words = vocabulary.split(text) or ["[UNK]"]
        read = cut_words(text)
        places = _places(read, words)
        assert (np.diff(places) >= 0).all()
        assert places.min() >= 0
        assert places.max() < len(words)
        if lower:
            assert places.tolist() == list(range(len(words)))


def test_nothing_is_changed(both):
    parameters = [p for network in both.networks for p in network.parameters()]
    before = [p.clone() for p in parameters]
    slopes = [p.grad for p in parameters]
    state = torch.get_rng_state()
    with torch.no_grad():
        attribute(both, TEXTS, np.zeros(5, int))
    assert all(torch.equal(a, b) for a, b in zip(before, parameters, strict=True))
    assert all(p.grad is slope for p, slope in zip(parameters, slopes, strict=True))
    assert torch.equal(state, torch.get_rng_state())
    assert attribute(both, [], np.zeros(0, int)) == []


def test_a_class_for_each_text_or_an_error(both):
    for targets in (np.zeros(4, int), np.full(5, 3), np.full(5, -1)):
        with pytest.raises(
            InputError, match="targets must be one number of a class for each of 5 texts, from 0 to 2"
        ):
            attribute(both, TEXTS, targets)
    with pytest.raises(InputError, match="steps must be in"):
        attribute(both, TEXTS, np.zeros(5, int), steps=0)
