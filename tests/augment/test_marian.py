"""Marian models translate a text in a batch as alone, and what is no such model is refused."""

import io
import json
import random
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from heldout.augment.marian import Marian
from heldout.augment.translate import check_translation, read_translation
from heldout.check import InputError


def make_marian(folder, seed):
    """A model of random weights over a few pieces of words."""
    spm, transformers = pytest.importorskip("sentencepiece"), pytest.importorskip("transformers")
    folder.mkdir()
    rng = random.Random(0)
    words = [
        "the",
        "film",
        "is",
        "good",
        "bad",
        "very",
        "not",
        "a",
        "dog",
        "house",
        "sees",
        "red",
        "la",
        "película",
    ]
    lines = (" ".join(rng.choices(words, k=6)) for _ in range(300))
    spm.SentencePieceTrainer.train(
        sentence_iterator=lines,
        model_writer=(model := io.BytesIO()),
        vocab_size=60,
        minloglevel=2,
        hard_vocab_limit=False,
    )
    processor = spm.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [processor.id_to_piece(number) for number in range(processor.get_piece_size())]
    vocabulary = {piece: n for n, piece in enumerate(dict.fromkeys(["</s>", "<unk>", *pieces, "<pad>"]))}
    for name in ("source.spm", "target.spm"):
        (folder / name).write_bytes(model.getvalue())
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    pad, small = vocabulary["<pad>"], {"layers": 1, "attention_heads": 2, "ffn_dim": 32}
    sizes = {f"{part}_{name}": size for part in ("encoder", "decoder") for name, size in small.items()}
    torch.manual_seed(seed)
    config = transformers.MarianConfig(
        vocab_size=len(vocabulary), d_model=16, max_position_embeddings=40, init_std=1.0, eos_token_id=0,
        forced_eos_token_id=0, pad_token_id=pad, decoder_start_token_id=pad, **sizes,
    )  # fmt: skip
    transformers.MarianMTModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("marian")
    return make_marian(folder / "there", 0), make_marian(folder / "back", 1)


TEXTS = [
    "the film is good",
    "",
    "a bad dog",
    "not a very bad dog sees the red house and the film is good " * 3,
    "12 ?",
    "la casa\n\nroja",
]


@pytest.mark.parametrize("num_beams", [1, 2])
def test_a_batch_gives_what_its_texts_give_alone(models, num_beams):
    batched = Marian(models[0], num_beams=num_beams).translate(TEXTS)
    alone = Marian(models[0], batch_size=1, num_beams=num_beams)
    assert batched == [said for text in TEXTS for said in alone.translate([text])]
    assert batched[1] == ""
    assert batched[4] == "12 ?"
    assert batched[5].count("\n") == 2
    assert len(set(batched)) == len(batched)


def test_marian_models_there_and_back_are_kept(models, tmp_path):
    made = read_translation(f"marian:{models[0]}, {models[1]}", cache=tmp_path).variants(TEXTS)
    there, back = (Marian(folder) for folder in models)
    assert made == [
        variant or text for text, variant in zip(TEXTS, back.translate(there.translate(TEXTS)), strict=True)
    ]
    kept = read_translation(f"marian:{models[0]},{models[1]}", cache=tmp_path)
    assert kept.variants(TEXTS) == made
    assert "_loaded" not in vars(kept.there)
    assert (
        read_translation(f"marian:{models[0]},{models[1]}").there.name != Marian(models[0], num_beams=2).name
    )


def test_weights_of_the_older_kind_are_read_without_running_what_they_hold(models, tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    old = shutil.copytree(models[0], tmp_path / "old")
    torch.save(load_file(old / "model.safetensors"), old / "pytorch_model.bin")
    (old / "model.safetensors").unlink()
    assert Marian(old).translate(TEXTS) == Marian(models[0]).translate(TEXTS)
    torch.save({"x": Evil()}, old / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot be read as one"):
        Marian(old).translate(["a film"])
    assert not (tmp_path / "ran").exists()


def _empty(name):
    return lambda folder: (folder / name).write_bytes(b"")


def _other_kind(folder):
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"marian"', '"bart"'))


def _no_weights(folder):
    (folder / "model.safetensors").unlink()


def _half_the_weights(folder):
    weights = load_file(folder / "model.safetensors")
    save_file(dict(list(weights.items())[::2]), folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    "damage",
    [*(_empty(n) for n in ("config.json", "source.spm", "vocab.json", "model.safetensors")), _other_kind, _no_weights, _half_the_weights],
)  # fmt: skip
def test_a_folder_that_holds_no_whole_marian_model_is_refused(models, tmp_path, damage):
    folder = shutil.copytree(models[0], tmp_path / "model")
    damage(folder)
    with pytest.raises(InputError, match=r"must hold a Marian model .* download it anew"):
        Marian(folder).translate(["a film"])


def test_a_folder_or_package_that_is_missing_is_said_before_a_model_is_loaded(models, tmp_path, monkeypatch):
    there, back = models
    check_translation(f"marian:{there},{back}")
    check_translation(f"marian:Helsinki-NLP/opus-mt-en-es,{back}")  # the hub is asked later
    with pytest.raises(InputError, match=r"there is no such folder"):
        check_translation(f"marian:{there},{tmp_path / 'none'}")
    with pytest.raises(InputError, match=r"must hold a Marian model .*there is no config\.json"):
        check_translation(f"marian:{tmp_path},{back}")
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(InputError, match=r"needs the package 'sentencepiece'"):
        check_translation(f"marian:{there},{back}")


def test_a_model_or_package_that_is_missing_is_said(models, monkeypatch):
    with pytest.raises(InputError, match=r"'no such/model name' could not be had .* check the name"):
        Marian("no such/model name").name  # noqa: B018 - asking for it looks for the model
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        InputError, match=r"needs the package 'transformers'.*pip install 'heldout\[translate\]'"
    ):
        Marian(models[0]).translate(["a film"])
