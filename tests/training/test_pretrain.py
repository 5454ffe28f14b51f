"""Reading before judging: guesses get better, the right words compete, and the weights are the network's own."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.data.text import PAD, Vocabulary
from heldout.nn.text import TextNetwork
from heldout.text_recipe import TextRecipe
from heldout.training import pretrain as module
from heldout.training.pretrain import Reader, pretrain, read_corpus

SMALL = {"hidden_size": 12, "embedding_size": 8, "pretrain_epochs": 5, "batch_size": 16, "lr": 0.02}


def make_corpus(n=240, seed=0, n_words=12):
    """Texts that count upwards from anywhere: each word but the first follows from the one before."""
    rng = np.random.default_rng(seed)
    starts, lengths = rng.integers(0, n_words, n), rng.integers(2, 9, n)
    return [
        " ".join(f"w{(start + k) % n_words}" for k in range(length))
        for start, length in zip(starts, lengths, strict=True)
    ]


def make_network(vocabulary, seed=0, **options):
    recipe = TextRecipe(**{**SMALL, **options}).resolved()
    generator = torch.Generator().manual_seed(seed)
    return TextNetwork(len(vocabulary), 2, recipe, generator=generator), recipe


def run(seed=0, texts=None, report=None, **options):
    texts = make_corpus() if texts is None else texts
    vocabulary = Vocabulary.learn(texts)
    network, recipe = make_network(vocabulary, **options)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    losses = pretrain(network, vocabulary, texts, recipe, seed=seed, report=report)
    return network, before, losses


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_guesses_of_held_texts_get_better_where_there_is_something_to_learn(bidirectional, num_layers):
    _, _, losses = run(bidirectional=bidirectional, num_layers=num_layers)
    assert losses[0] == pytest.approx(np.log(13), rel=0.1)  # of 12 words and the unknown one
    assert min(losses) < 0.7 * losses[0]


def test_nothing_is_learned_of_words_in_random_order():
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{k}" for k in rng.integers(0, 12, 6)) for _ in range(240)]
    assert min(run(texts=texts)[2]) > 0.9 * np.log(12)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_a_second_layer_that_has_seen_both_ways_is_left_alone(bidirectional, num_layers):
    network, before, _ = run(bidirectional=bidirectional, num_layers=num_layers, pretrain_epochs=1)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    directions = ("", "_reverse")[: 1 + bidirectional]
    layers = range(1 if bidirectional else num_layers)
    parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    shared = {f"lstm.{part}_l{k}{end}" for part in parts for k in layers for end in directions}
    assert changed == {"embedding.weight", *shared}


def test_the_first_layer_has_the_rates_of_the_network():
    vocabulary = Vocabulary.learn(make_corpus())
    options = {"num_layers": 2, "recurrent_dropout": 0.4, "recurrent_mask": "batch", "weight_dropout": 0.2}
    network, _ = make_network(vocabulary, **options)
    first = Reader(network, len(vocabulary), torch.Generator()).lstm
    assert first.num_layers == 1
    for name in ("input_dropout", "recurrent_dropout", "output_dropout", "weight_dropout", "recurrent_mask"):
        assert getattr(first, name) == getattr(network.lstm, name)
    assert first.zoneout == network.lstm.zoneout


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_guess_never_sees_the_word_that_it_guesses(bidirectional):
    vocabulary = Vocabulary.learn(make_corpus())
    network, _ = make_network(vocabulary, num_layers=2, bidirectional=bidirectional)
    reader = Reader(network, len(vocabulary), torch.Generator().manual_seed(0)).eval()
    words = torch.tensor([[2, 3, 4, 5, 6]])
    states = reader.lstm(network.embed(words))[0].detach()
    for place in range(5):
        changed = words.clone()
        changed[0, place] = 9
        others = reader.lstm(network.embed(changed))[0].detach()
        assert torch.equal(
            others[0, :place, :12], states[0, :place, :12]
        )  # those that guess it from the left
        if bidirectional:
            assert torch.equal(others[0, place + 1 :, 12:], states[0, place + 1 :, 12:])


def test_the_loss_is_the_mean_over_every_guess():
    vocabulary = Vocabulary.learn(make_corpus())
    network, _ = make_network(vocabulary)
    reader = Reader(network, len(vocabulary), torch.Generator().manual_seed(0)).eval()
    torch.nn.init.normal_(reader.bias, generator=torch.Generator().manual_seed(1))
    words, lengths = torch.tensor([[2, 3, 4], [5, 6, PAD]]), torch.tensor([3, 2])
    every = torch.arange(1, len(vocabulary))
    with torch.no_grad():
        found = reader(words, lengths, every, torch.zeros(len(every)), None)
        total = []
        for text in (words[:1], words[1:, :2]):
            forth, back = reader.lstm(network.embed(text))[0][0].chunk(2, dim=1)
            for state, word in [
                *zip(forth[:-1], text[0, 1:], strict=True),
                *zip(back[1:], text[0, :-1], strict=True),
            ]:
                scores = network.embedding.weight[1:] @ reader.project(state) + reader.bias[1:]
                total.append(-scores.log_softmax(0)[word - 1])
    torch.testing.assert_close(found, torch.stack(total).mean())


@given(seed=st.integers(0, 200), n_words=st.integers(10, 6000), extended=st.booleans())
def test_the_right_words_are_always_among_the_candidates_once_and_in_order(seed, n_words, extended):
    rng = np.random.default_rng(seed)
    words = torch.from_numpy(rng.integers(0, n_words, (4, 7)))
    chances = np.maximum(rng.integers(0, 2, n_words) if extended else rng.integers(1, 99, n_words), 1) ** 0.75
    chances[PAD] = 0
    candidates, surplus = module._candidates(words, chances, rng)
    assert (candidates.diff() > 0).all()
    assert set(words.unique().tolist()) - {PAD} <= set(candidates.tolist())
    assert PAD not in candidates.tolist()
    assert surplus.shape == candidates.shape
    assert surplus.isfinite().all()
    assert (surplus <= 0).all()


def test_a_large_vocabulary_competes_in_samples_and_is_learned_too(monkeypatch):
    monkeypatch.setattr(module, "_CANDIDATES", 30)
    losses = run(texts=make_corpus(240, n_words=60), pretrain_epochs=8)[2]
    assert min(losses) < 0.8 * losses[0]


def test_the_best_epoch_is_kept(monkeypatch):
    planned = iter([3.0, 2.0, 1.0, 2.5])
    seen = []

    def measure(reader, *_):
        seen.append({name: value.clone() for name, value in reader.state_dict().items()})
        return next(planned)

    monkeypatch.setattr(module, "_measure", measure)
    network, _, losses = run(pretrain_epochs=3)
    assert losses == [3.0, 2.0, 1.0, 2.5]
    for name, value in network.state_dict().items():
        assert torch.equal(value, seen[2][f"network.{name}"])


def test_the_same_seed_gives_the_same_bits_and_another_others():
    first, again, other = (run(seed)[0].state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])


def test_frozen_vectors_stay_and_slow_ones_move_less():
    moved = []
    for rate in (0.0, 1e-4, 0.02):
        network, before, losses = run(embedding_lr=rate, pretrain_epochs=2)
        moved.append((network.embedding.weight - before["embedding.weight"]).abs().max().item())
        assert min(losses) < losses[0]
    assert moved[0] == 0 < moved[1] < 0.1 * moved[2]


def test_every_epoch_is_told():
    told = []
    _, _, losses = run(report=told.append, pretrain_epochs=2)
    assert [event["pretrain_loss"] for event in told] == losses[1:]
    assert [event["pretrain_epoch"] for event in told] == [1, 2]


@pytest.mark.parametrize("texts", [["one", "one", "one"], ["a b", "c", "a"]])
def test_texts_that_nothing_can_be_guessed_of_change_nothing(texts):
    vocabulary = Vocabulary.learn(texts, min_count=1)
    network, recipe = make_network(vocabulary)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert pretrain(network, vocabulary, texts, recipe, seed=0) == []
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_corpus_is_a_text_per_line(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("one text\n\n  \nanother\n", encoding="utf-8")
    assert read_corpus(TextRecipe(pretrain_texts=str(path), pretrain_epochs=1)) == ["one text", "another"]
    assert read_corpus(TextRecipe(pretrain_texts=str(path))) == []
    assert read_corpus(TextRecipe(pretrain_epochs=1)) == []


def test_a_corpus_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes("café".encode("latin-1"))
    for wrong in (path, tmp_path / "missing"):
        with pytest.raises(InputError, match=rf"pretrain_texts must be .*{wrong.name}"):
            read_corpus(TextRecipe(pretrain_texts=str(wrong), pretrain_epochs=1))
