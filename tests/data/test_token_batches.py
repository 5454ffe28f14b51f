"""Texts as batches: each once, of about one length, and what is said comes back in the order that was asked for."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.data.text import PAD, UNK, Tokens
from heldout.data.token_batches import TokenSource
from heldout.data.windows import Batch
from heldout.nn.networks import Output
from heldout.training.evaluation import forecast


def make_source(lengths, **options):
    offsets = np.cumsum([0, *lengths])
    ids = np.random.default_rng(0).integers(2, 30, offsets[-1])
    tokens = Tokens(ids, offsets, len(ids), 0, 0)
    return TokenSource(tokens, np.arange(len(lengths)), **options)


lengths_of = st.lists(st.integers(1, 40), min_size=1, max_size=70)


@given(lengths=lengths_of, size=st.integers(1, 16), seed=st.none() | st.integers(0, 99))
def test_each_text_is_in_one_batch(lengths, size, seed):
    source = make_source(lengths)
    rows = torch.from_numpy(np.random.default_rng(1).permutation(len(lengths)))
    parts = source.batches(rows, size, None if seed is None else np.random.default_rng(seed))
    assert sorted(torch.cat(parts).tolist()) == list(range(len(lengths)))
    assert all(0 < len(part) <= size for part in parts)


@given(lengths=lengths_of, seed=st.integers(0, 9))
def test_a_batch_holds_texts_labels_and_numbers_of_its_rows_and_zeros_behind_them(lengths, seed):
    n = len(lengths)
    rng = np.random.default_rng(seed)
    linear, weight = rng.normal(size=(n, 3)), rng.uniform(1, 2, n)
    source = make_source(lengths, linear=linear, weight=weight)
    rows = torch.from_numpy(rng.integers(n, size=5))
    batch = source.gather(rows)
    for place, row in enumerate(rows.tolist()):
        own = source.tokens.ids[source.tokens.offsets[row] : source.tokens.offsets[row + 1]]
        assert batch.x[place, : len(own)].tolist() == own.tolist()
        assert (batch.x[place, len(own) :] == PAD).all()
        assert batch.lengths[place] == len(own)
        assert batch.y[place] == row
        np.testing.assert_allclose(batch.static[place], linear[row], rtol=1e-6)
        np.testing.assert_allclose(batch.weight[place], weight[row], rtol=1e-6)
    assert not source.gather(rows, labelled=False).y.numel()


class SumOfWords(torch.nn.Module):
    """Says the sum of a text's numbers of words."""

    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.Identity()

    def forward(self, x, **_):
        return Output(x.sum(1).float()[:, None, None, None], x)


@settings(max_examples=25, deadline=None)
@given(lengths=lengths_of, seed=st.integers(0, 9))
def test_results_come_back_in_the_order_asked_for(lengths, seed):
    source = make_source(lengths)
    rows = torch.from_numpy(np.random.default_rng(seed).permutation(len(lengths)))
    found = forecast(SumOfWords(), source, rows)[:, 0, 0, 0]
    sums = np.add.reduceat(source.tokens.ids, source.tokens.offsets[:-1])
    assert found.tolist() == sums[rows.numpy()].tolist()


def test_batches_of_training_hold_little_padding_and_differ_from_epoch_to_epoch():
    lengths = np.random.default_rng(0).integers(1, 60, 640)
    source, rows = make_source(lengths), torch.arange(640)
    parts = source.batches(rows, 16, np.random.default_rng(0))
    room = sum(len(part) * lengths[part].max() for part in parts)
    assert room < 1.2 * lengths.sum()
    assert lengths[parts[0]].max() != min(lengths[part].max() for part in parts)  # the order is drawn
    others = source.batches(rows, 16, np.random.default_rng(1))
    assert {tuple(sorted(part.tolist())) for part in parts} != {tuple(sorted(p.tolist())) for p in others}


def test_outside_of_training_a_batch_has_a_bound_on_its_words():
    source = make_source([100_000, 3, 4])
    parts = source.batches(torch.arange(3), 1024)
    assert all(len(part) == 1 for part in parts)
    parts = make_source([500] * 400).batches(torch.arange(400), 1024)
    assert max(len(part) * 500 for part in parts) <= 65_536


def test_rare_words_become_unknown_afresh_and_nothing_else_changes():
    lengths = [30] * 40
    counts = [0, 5, *[1] * 14, *[1000] * 14]
    source = make_source(lengths, counts=counts, rare=1.0)
    before = source.tokens.ids.copy()
    rows = torch.arange(40)
    first, again, other = (
        source.epoch(rows, np.random.default_rng(seed))[0].tokens.ids for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(source.tokens.ids, before)
    changed = first != before
    assert (first[changed] == UNK).all()
    rare = before < 16
    assert 0.4 < changed[rare].mean() < 0.6
    assert changed[~rare].mean() < 0.02


def test_without_rare_words_an_epoch_is_the_texts_as_they_are():
    source = make_source([3, 4])
    rows = torch.tensor([1, 0])
    assert source.epoch(rows, np.random.default_rng(0)) == (source, rows)


@pytest.mark.parametrize("labelled", [True, False])
def test_no_rows_give_an_empty_batch(labelled):
    batch = make_source([3, 4]).gather(torch.empty(0, dtype=torch.int64), labelled=labelled)
    assert isinstance(batch, Batch)
    assert len(batch.x) == 0
