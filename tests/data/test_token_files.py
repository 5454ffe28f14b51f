"""Batches cut from files are those cut from memory."""

import json

import numpy as np
import polars as pl
import pytest
import torch

from heldout.data.text import UNK, Vocabulary
from heldout.data.text_cache import open_text_cache
from heldout.data.token_batches import TokenSource
from heldout.data.token_files import FILES, open_tokens, write_tokens

pytest.importorskip("pyarrow", reason="pyarrow is an extra: heldout[parquet]")


def unheard(_state):
    """Nobody listens."""


@pytest.fixture
def parts(tmp_path):
    """Texts in a cache, their vocabulary, and where their numbers are."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice([*"abcdefgh", "rare"], rng.integers(0, 12))) for _ in range(300)]
    frame = pl.DataFrame({"text": ["a b c", *texts], "label": [str(k % 3) for k in range(301)]})
    frame.write_parquet(tmp_path / "texts.parquet")
    cache = open_text_cache(tmp_path / "texts.parquet", tmp_path / "cache", text="text", target="label")
    vocabulary = Vocabulary.learn(cache.texts(0, 301))
    write_tokens(tmp_path / "tokens", cache, vocabulary, 8, unheard)
    return cache, vocabulary, tmp_path / "tokens"


def test_batches_are_those_of_the_texts_in_memory(parts):
    cache, vocabulary, folder = parts
    memory = TokenSource(vocabulary.encode(cache.texts(0, 301), max_length=8), np.asarray(cache.labels))
    files = open_tokens(folder)
    assert len(files) == len(memory) == 301
    assert files.tokens.notes == memory.tokens.notes
    rows = torch.randperm(301, generator=torch.Generator().manual_seed(0))[:100]
    own, other = (source.batches(rows, 16, np.random.default_rng(1)) for source in (files, memory))
    assert all(torch.equal(a, b) for a, b in zip(own, other, strict=True))
    for places in own:
        for a, b in zip(files.gather(rows[places]), memory.gather(rows[places]), strict=True):
            assert (a is None and b is None) or torch.equal(a, b)


def test_classes_weigh_what_they_were_given(parts):
    files = open_tokens(parts[2], class_weight=np.array([0.5, 1.0, 3.0], np.float32))
    assert files.gather(torch.tensor([0, 1, 2, 5])).weight.tolist() == [0.5, 1.0, 3.0, 3.0]


def test_rare_words_are_unknown_as_often_as_they_should_be_and_the_same_in_any_batch(parts):
    _, vocabulary, folder = parts
    counts = [0, 0, *[4] * (len(vocabulary) - 2)]
    plain, rare = open_tokens(folder), open_tokens(folder, counts, 4.0)
    rows = torch.arange(301)
    shares = []
    for seed in range(40):
        epoch, same = rare.epoch(rows, np.random.default_rng([seed, 1]))
        assert torch.equal(same, rows)
        before, after = plain.gather(rows).x, epoch.gather(rows).x
        changed = before != after
        assert (after[changed] == UNK).all()
        assert (before[changed] > UNK).all()
        shares.append(float(changed.sum() / (before > UNK).sum()))
        alone = epoch.gather(rows[17:20])
        assert torch.equal(alone.x, after[17:20, : alone.x.shape[1]])
    assert np.mean(shares) == pytest.approx(0.5, abs=0.01)  # alpha / (alpha + n)
    assert len(set(shares)) > 20


def test_evaluation_reads_every_word(parts):
    rare = open_tokens(parts[2], [1] * len(parts[1]), 9.0)
    assert torch.equal(rare.gather(torch.arange(50)).x, open_tokens(parts[2]).gather(torch.arange(50)).x)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_damaged_files_are_written_again(parts, name):
    cache, vocabulary, folder = parts
    whole = (folder / name).read_bytes()
    raw = bytearray(whole)
    raw[len(raw) // 2] ^= 1
    (folder / name).write_bytes(raw)
    write_tokens(folder, cache, vocabulary, 8, unheard)
    assert (folder / name).read_bytes() == whole


def test_whole_files_are_not_written_again_and_others_are(parts):
    cache, vocabulary, folder = parts
    before = (folder / "ids.bin").stat().st_mtime_ns
    write_tokens(folder, cache, vocabulary, 8, unheard)
    assert (folder / "ids.bin").stat().st_mtime_ns == before
    write_tokens(folder, cache, vocabulary, 3, unheard)
    assert open_tokens(folder).tokens.lengths.max() == 3
    assert (
        json.loads((folder / "manifest.json").read_bytes())["body"]["made_of"]["options"]["max_length"] == 3
    )
