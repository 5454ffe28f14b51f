"""Optimisers of networks with word vectors: sparse steps are dense steps of the rows that a batch touches."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from heldout.nn.text import PAD, TextNetwork
from heldout.text_recipe import TextRecipe
from heldout.training.optimizers import (
    clip_gradients,
    make_optimizers,
    optimizer_tensors,
    restore_optimizer,
)

BETAS, EPS = (0.9, 0.999), 1e-8


class Vectors(nn.Module):
    """Word vectors and a dense layer on their sum."""

    def __init__(self, seed=0, *, sparse=True):
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(12, 3, sparse=sparse)
        self.head = nn.Linear(3, 2)

    def forward(self, words):
        return self.head(self.embedding(words).sum(1))


def make_batches(n=15, seed=0):
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.integers(0, 12, (4, 2))) for _ in range(n)]


def train(network, optimizers, batches, most=math.inf):
    for words in batches:
        for optimizer in optimizers:
            optimizer.zero_grad()
        network(words).square().sum().backward()
        clip_gradients(network.parameters(), most)
        for optimizer in optimizers:
            optimizer.step()


def test_word_vectors_get_adams_steps_in_the_rows_that_a_batch_touches_and_none_elsewhere():
    recipe = TextRecipe(lr=0.05, embedding_lr=0.02, weight_decay=0.1)
    network = Vectors()
    slow, head = network.embedding.weight.detach().clone(), list(network.head.parameters())
    first, second = torch.zeros_like(slow), torch.zeros_like(slow)
    optimizers = make_optimizers(network, recipe)
    set_rates(optimizers, recipe.lr)
    for step, words in enumerate(make_batches(), start=1):
        dense = slow.clone().requires_grad_()
        ((dense[words].sum(1) @ head[0].detach().T + head[1].detach()).square().sum()).backward()
        touched = words.unique()
        gradient = dense.grad[touched]
        first[touched] += (1 - BETAS[0]) * (gradient - first[touched])
        second[touched] += (1 - BETAS[1]) * (gradient.square() - second[touched])
        size = 0.02 * math.sqrt(1 - BETAS[1] ** step) / (1 - BETAS[0] ** step)
        slow[touched] -= size * first[touched] / (second[touched].sqrt() + EPS)
        train(network, optimizers, [words])
        torch.testing.assert_close(network.embedding.weight.detach(), slow, atol=1e-5, rtol=1e-4)


def set_rates(optimizers, lr):
    """What the loop does before every epoch."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr * group.get("lr_factor", 1.0)


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("own", [None, 0.004])
def test_word_vectors_have_their_own_learning_rate_from_the_first_step_on(kind, own):
    recipe = TextRecipe(optimizer=kind, lr=0.02, embedding_lr=own)
    dense, rows = make_optimizers(Vectors(), recipe)
    assert {group["lr"] for group in dense.param_groups} == {0.02}
    assert [group["lr"] for group in rows.param_groups] == [pytest.approx(own or 0.02)]
    set_rates([dense, rows], 0.01)  # as a schedule does
    assert [group["lr"] for group in rows.param_groups] == [pytest.approx((own or 0.02) / 2)]


def test_plain_steps_of_sparse_vectors_are_those_of_dense_ones():
    recipe = TextRecipe(optimizer="sgd", lr=0.01, weight_decay=0.0)
    sparse, dense = Vectors(), Vectors(sparse=False)
    for network in (sparse, dense):
        train(network, make_optimizers(network, recipe), make_batches(), most=1.0)
    torch.testing.assert_close(sparse.embedding.weight, dense.embedding.weight)


def test_every_weight_that_can_change_is_in_one_optimiser_and_word_vectors_never_decay():
    recipe = TextRecipe(hidden_size=4, embedding_size=4, shortcut="residual", weight_decay=0.3).resolved()
    network = TextNetwork(9, 2, recipe)
    groups = [group for optimizer in make_optimizers(network, recipe) for group in optimizer.param_groups]
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in network.parameters())
    of_words = next(g for g in groups if any(p is network.embedding.weight for p in g["params"]))
    assert not of_words.get("weight_decay", 0)


def test_a_learning_rate_of_0_freezes_the_vectors():
    recipe = TextRecipe(hidden_size=4, embedding_size=4, embedding_lr=0.0).resolved()
    network = TextNetwork(9, 2, recipe)
    assert len(make_optimizers(network, recipe)) == 1
    assert not network.embedding.weight.requires_grad


def test_the_vector_of_padding_stays_zero():
    recipe = TextRecipe(hidden_size=4, embedding_size=4, lr=0.1).resolved()
    network = TextNetwork(9, 2, recipe)
    torch.nn.init.ones_(network.head.weight)
    optimizers = make_optimizers(network, recipe)
    for _ in range(5):
        words, lengths = torch.tensor([[3, 4, PAD], [5, PAD, PAD], [3, 5, 7]]), torch.tensor([2, 1, 3])
        network(words, lengths=lengths).forecast.square().sum().backward()
        clip_gradients(network.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
    assert not network.embedding.weight[PAD].any()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 99), most=st.floats(0.01, 20))
def test_clipping_is_torchs_where_gradients_are_dense_and_the_same_where_they_are_sparse(seed, most):
    words = make_batches(1, seed)[0]
    found = []
    for sparse in (True, False):
        network = Vectors(seed, sparse=sparse)
        network(words).square().sum().backward()
        norm = clip_gradients(network.parameters(), most)
        found.append([norm, *(p.grad.to_dense() for p in network.parameters())])
    network = Vectors(seed, sparse=False)
    network(words).square().sum().backward()
    norm = nn.utils.clip_grad_norm_(network.parameters(), most)
    expected = [norm, *(p.grad for p in network.parameters())]
    torch.testing.assert_close(found, [expected, expected])


def test_no_bound_only_measures_and_a_frozen_weight_is_left_out():
    network = Vectors()
    network.head.requires_grad_(False)
    network(make_batches(1)[0]).square().sum().backward()
    before = network.embedding.weight.grad.to_dense().clone()
    norm = clip_gradients(network.parameters(), math.inf)
    torch.testing.assert_close(norm, before.norm())
    assert torch.equal(network.embedding.weight.grad.to_dense(), before)


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd"])
def test_what_is_put_back_goes_on_to_the_same_bits(kind):
    recipe = TextRecipe(optimizer=kind, lr=0.01).resolved()
    batches = make_batches(8)
    whole, halved = Vectors(), Vectors()
    train(whole, make_optimizers(whole, recipe), batches)
    optimizers = make_optimizers(halved, recipe)
    train(halved, optimizers, batches[:5])
    tensors = [
        {name: value.clone() for name, value in optimizer_tensors(optimizer, "x.").items()}
        for optimizer in optimizers
    ]
    again = make_optimizers(halved, recipe)
    for optimizer, held in zip(again, tensors, strict=True):
        restore_optimizer(optimizer, held, "x.")
    train(halved, again, batches[5:])
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), halved.parameters(), strict=True))
