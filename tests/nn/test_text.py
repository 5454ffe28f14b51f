"""The network of texts: padding changes nothing, and an untrained one says what the linear model says."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.nn.pooling import pool
from heldout.nn.text import PAD, TextNetwork
from heldout.text_recipe import TextRecipe

WAYS = ("last", "mean", "max", "attention")
N_WORDS = 20


def make_network(seed=0, n_classes=3, **options):
    recipe = TextRecipe(**{"hidden_size": 5, "embedding_size": 4, "shortcut": "none", **options}).resolved()
    generator = torch.Generator().manual_seed(seed)
    network = TextNetwork(N_WORDS, n_classes, recipe, generator=generator)
    torch.nn.init.normal_(network.head.weight, generator=generator)
    return network.eval()


def make_texts(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.integers(1, N_WORDS, n)) for n in lengths]


def padded(texts, fill=PAD):
    words = torch.full((len(texts), max(map(len, texts))), fill)
    for row, text in zip(words, texts, strict=True):
        row[: len(text)] = text
    return words, torch.tensor([len(text) for text in texts])


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    pooling=st.sampled_from([*((way,) for way in WAYS), ("mean", "max"), WAYS]),
    num_layers=st.sampled_from([1, 2]),
    bidirectional=st.booleans(),
    seed=st.integers(0, 9),
)
def test_a_batch_says_what_each_text_says_alone(lengths, pooling, num_layers, bidirectional, seed):
    network = make_network(seed, pooling=pooling, num_layers=num_layers, bidirectional=bidirectional)
    texts = make_texts(lengths, seed)
    words, n = padded(texts)
    with torch.no_grad():
        together = network(words, lengths=n).forecast[:, 0, 0].softmax(1)
        alone = torch.cat([network(text[None]).forecast[:, 0, 0].softmax(1) for text in texts])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("pooling", [*((way,) for way in WAYS), WAYS])
def test_what_stands_behind_a_text_is_never_read(pooling, mode):
    rates = {"input_dropout": 0.0, "embedding_dropout": 0.0}
    network = make_network(pooling=pooling, **rates).train(mode == "train")
    texts = make_texts([3, 7, 1])
    said, gradients = [], []
    for fill in (PAD, 5):
        words, lengths = padded(texts, fill)
        network.zero_grad()
        out = network(words, lengths=lengths, generator=torch.Generator().manual_seed(1)).forecast
        out.square().sum().backward()
        said.append(out.detach())
        gradients.append([p.grad.to_dense() for p in network.parameters() if p.grad is not None])
    assert torch.equal(*said)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_vectors_behind_a_text_may_hold_anything():
    network = make_network(pooling=WAYS)
    words, lengths = padded(make_texts([3, 7, 1]))
    vectors = network.embed(words).detach()
    spoilt = vectors.masked_fill((torch.arange(7) >= lengths[:, None])[:, :, None], float("nan"))
    torch.testing.assert_close(
        network.read(spoilt, lengths=lengths).forecast, network.read(vectors, lengths=lengths).forecast
    )


def slow_pool(states, length, way, attention, halves):
    """One sample at a time, by the definition."""
    own = states[:length]
    if way == "mean":
        return own.mean(0)
    if way == "max":
        return own.max(0).values
    if way == "last":
        half = states.shape[1] // 2
        return torch.cat([own[-1, :half], own[0, half:]]) if halves else own[-1]
    weight = attention(own)[:, 0].softmax(0)
    return (weight[:, None] * own).sum(0)


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    way=st.sampled_from(WAYS),
    halves=st.booleans(),
    scale=st.sampled_from([0.5, 5.0]),  # dropout of outputs scales states beyond -1 and 1
)
def test_each_way_of_pooling_is_its_definition(lengths, way, halves, scale):
    generator = torch.Generator().manual_seed(sum(lengths))
    states = scale * (2 * torch.rand(len(lengths), 6, 4, generator=generator) - 1) - scale
    attention = torch.nn.Linear(4, 1)
    torch.nn.init.uniform_(attention.weight, generator=generator)
    found = pool(states, torch.tensor(lengths), way, attention=attention, halves=halves)
    expected = [slow_pool(s, n, way, attention, halves) for s, n in zip(states, lengths, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected))


@pytest.mark.parametrize("way", WAYS)
def test_a_sample_without_steps_gives_finite_numbers(way):
    found = pool(torch.zeros(2, 3, 4), torch.tensor([0, 2]), way, attention=torch.nn.Linear(4, 1))
    assert found.isfinite().all()
    assert found.abs().max() <= 1


def test_an_untrained_network_says_what_the_linear_model_says():
    recipe = TextRecipe(hidden_size=4, embedding_size=4, shortcut="residual").resolved()
    network = TextNetwork(N_WORDS, 3, recipe).eval()
    words, lengths = padded(make_texts([4, 2]))
    linear = torch.randn(2, 3)
    assert torch.equal(network(words, static=linear, lengths=lengths).forecast[:, 0, 0], linear)


def test_with_tfidf_beside_it_the_network_is_trained_alone():
    network = make_network(shortcut="tfidf")
    words, lengths = padded(make_texts([4, 2]))
    alone = network(words, lengths=lengths).forecast
    assert torch.equal(network(words, static=torch.randn(2, 3), lengths=lengths).forecast, alone)
    assert not {"gain", "share"} & {name for name, _ in network.named_parameters()}


def test_embedding_dropout_drops_a_word_wherever_it_stands_and_keeps_the_mean():
    network = make_network(embedding_dropout=0.5).train()
    words = torch.tensor([[3, 4, 3, 5], [3, 6, 7, 3]])
    drawn = torch.stack([network.embed(words, torch.Generator().manual_seed(k)).detach() for k in range(400)])
    threes = drawn[:, words == 3]
    assert (threes == threes[:, :1]).all()
    assert 0.4 < (threes[:, 0, 0] == 0).float().mean() < 0.6
    torch.testing.assert_close(drawn.mean(0), network.eval().embed(words), atol=0.06, rtol=0)


def test_padding_starts_at_zero_and_no_gradient_reaches_it():
    vectors = torch.ones(N_WORDS, 4)
    recipe = TextRecipe(hidden_size=4, embedding_size=4, shortcut="none", pooling=("mean",)).resolved()
    network = TextNetwork(N_WORDS, 2, recipe, vectors=vectors).eval()
    assert torch.equal(network.embedding.weight[PAD], torch.zeros(4))
    assert torch.equal(network.embedding.weight[1:], vectors[1:])
    torch.nn.init.normal_(network.head.weight)
    words, lengths = padded(make_texts([4, 2]))
    network(words, lengths=lengths).forecast.sum().backward()
    gradient = network.embedding.weight.grad.to_dense()
    assert not gradient[PAD].any()
    assert gradient[words[0]].any(1).all()


def test_starting_weights_come_from_the_generator_alone():
    torch.manual_seed(0)
    first = make_network(3).state_dict()
    torch.manual_seed(1)
    again, other = make_network(3).state_dict(), make_network(4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])
