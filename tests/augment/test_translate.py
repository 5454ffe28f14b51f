"""Back translation keeps texts apart and in order, makes each once, and trusts no damaged cache."""

import io
import json
import multiprocessing
import os
import random
import shutil
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from heldout.augment.translate import Apertium, BackTranslation, Marian, read_translation
from heldout.check import FitError, InputError

FAKE = """#!/bin/sh
case "$1" in
-V) echo "Apertium 0" ;;
-l) echo "eng-spa spa-eng" ;;
*) echo run >> "$LOG"; %s ;;
esac
"""


class Upper:
    """Upper case, and a list of what was asked for."""

    def __init__(self, name="upper", log=None):
        self.name, self.asked, self.log = name, [], log

    def translate(self, texts):
        self.asked += texts
        if self.log:
            with Path(self.log).open("a") as file:
                file.writelines(f"{text}\n" for text in texts)
            time.sleep(0.02)
        return [text.upper() for text in texts]


class Same:
    name = "same"

    def translate(self, texts):
        return list(texts)


def test_variants_come_in_order_and_each_text_is_translated_once(tmp_path):
    texts = [f"text {number % 150}" for number in range(400)]
    upper, seen = Upper(), []
    made = BackTranslation(upper, Same(), cache=tmp_path).variants(
        texts, progress=lambda *at: seen.append(at)
    )
    assert made == [text.upper() for text in texts]
    assert sorted(upper.asked) == sorted(set(texts))
    assert seen == [(64, 150), (128, 150), (150, 150)]
    again = Upper()
    assert BackTranslation(again, Same(), cache=tmp_path).variants([*texts, "new"])[-1] == "NEW"
    assert again.asked == ["new"]


def test_another_translator_has_a_cache_of_its_own(tmp_path):
    BackTranslation(Upper("one"), Same(), cache=tmp_path).variants(["a"])
    other = Upper("two")
    BackTranslation(other, Same(), cache=tmp_path).variants(["a"])
    assert other.asked == ["a"]


def test_what_was_made_before_a_stop_is_kept(tmp_path):
    def stop(done, _):
        if done >= 128:
            raise KeyboardInterrupt

    texts = [f"{number:03}" for number in range(200)]
    with pytest.raises(KeyboardInterrupt):
        BackTranslation(Upper(), Same(), cache=tmp_path).variants(texts, progress=stop)
    rest = Upper()
    assert BackTranslation(rest, Same(), cache=tmp_path).variants(texts) == texts
    assert rest.asked == texts[128:]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_cache_is_made_anew_and_never_believed(tmp_path, data):
    folder = tmp_path / str(time.monotonic_ns())
    texts = ["a film", "été", "two\nlines", ""]
    BackTranslation(Upper(), Same(), cache=folder).variants(texts)
    (path,) = folder.glob("*.txt")
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = data.draw(
        st.sampled_from(
            [whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], os.urandom(at), whole[at:]]
        )
    )
    path.write_bytes(damaged)
    assert BackTranslation(Upper(), Same(), cache=folder).variants(texts) == [text.upper() for text in texts]
    whole_again = Upper()
    BackTranslation(whole_again, Same(), cache=folder).variants(texts)
    assert whole_again.asked == []


def _translate(folder, log, texts):
    made = BackTranslation(Upper(log=log), Same(), cache=folder).variants(texts)
    assert made == [text.upper() for text in texts]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the children use no threads
def test_processes_that_ask_at_once_share_the_work(tmp_path):
    texts = [f"text {number}" for number in range(200)]
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=_translate, args=(tmp_path, tmp_path / "log", texts[start:] + texts[:start]))
        for start in (0, 70, 140)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert sorted((tmp_path / "log").read_text().splitlines()) == sorted(texts)


def test_where_no_cache_can_be_written_translation_goes_on(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert BackTranslation(Upper(), Same(), cache=tmp_path / "file").variants(["a"]) == ["A"]


def test_the_cache_lies_in_the_cache_folder_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    BackTranslation(Upper(), Same()).variants(["a"])
    assert list((tmp_path / "heldout").glob("translations-*.txt"))


def test_a_text_of_which_nothing_comes_back_stands_for_itself(tmp_path):
    class Empty(Same):
        def translate(self, texts):
            return [" "] * len(texts)

    assert BackTranslation(Empty(), Same(), cache=tmp_path).variants(["a"]) == ["a"]


@pytest.mark.parametrize(
    ("texts", "said"), [("a film", "got None at place 0"), (["a", 1.5], "got 1.5 at place 1")]
)
def test_what_is_no_list_of_texts_is_refused(tmp_path, texts, said):
    with pytest.raises(InputError, match=said):
        BackTranslation(Same(), Same(), cache=tmp_path).variants(texts)


# Apertium


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Puts a program in the place of apertium; gives a count of its runs."""

    def put(command):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "apertium").write_text(FAKE % command)
        (folder / "apertium").chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
        monkeypatch.setenv("LOG", str(tmp_path / "log"))
        return lambda: len((tmp_path / "log").read_text().splitlines())

    return put


def test_many_texts_go_through_one_run_and_long_ones_in_pieces(fake):
    runs = fake("tr a-z A-Z")
    texts = ["a film", "two\n\nlines\r\nthree", "", " ?! 12 ", "a  b\tc\x00d", "x\ud800"]
    assert Apertium("eng-spa").translate(texts) == [
        "A FILM",
        "TWO\n\nLINES\nTHREE",
        "",
        "?! 12",
        "A B C D",
        "X?",
    ]
    assert runs() == 1
    long = " ".join(f"word{number}" for number in range(1200))
    assert Apertium("eng-spa").translate([long]) == [long.upper()]
    assert runs() > 3


def test_texts_that_melt_together_are_translated_alone(fake):
    fake("tr -s '\\n' | tr a-z A-Z")
    assert Apertium("eng-spa").translate(["one", "two", "three"]) == ["ONE", "TWO", "THREE"]


def test_a_program_that_hangs_fails_or_is_missing_is_said(fake, tmp_path, monkeypatch):
    fake("(sleep 0.5; echo late >> $LOG; sleep 30) | cat")
    start = time.monotonic()
    with pytest.raises(FitError, match=r"within timeout_s=0\.2 .* begins with 'a film"):
        Apertium("eng-spa", timeout_s=0.2).translate(["a film"])
    assert time.monotonic() - start < 5
    time.sleep(0.5)
    assert "late" not in (tmp_path / "log").read_text()
    fake("echo 'Error: Mode eng-spa does not exist' >&2; exit 3")
    with pytest.raises(FitError, match=r"status 3 \('Error: Mode eng-spa does not exist'\)"):
        Apertium("eng-spa").translate(["a film"])
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="apt install apertium apertium-eng-spa"):
        Apertium("eng-spa").name  # noqa: B018


@pytest.mark.parametrize("mode", ["", "-l", "english", "eng-spa/../x", "eng spa"])
def test_a_mode_is_two_codes_of_languages(mode):
    with pytest.raises(InputError, match="such as 'eng-spa'"):
        Apertium(mode)


needs_apertium = pytest.mark.skipif(shutil.which("apertium") is None, reason="Apertium is not installed")


@needs_apertium
def test_apertium_translates_there_and_back(tmp_path):
    variants = read_translation("apertium:eng-spa", cache=tmp_path).variants(
        ["the dog sees a big house\n\nit is red"]
    )
    assert variants == ["The dog sees a big house\n\nIt is red"]


@needs_apertium
def test_no_text_disturbs_its_neighbours_in_apertium():
    rng = random.Random(0)
    special = "[]{}^$@\\/<>~*#+_|.&%\"'ñ日😀\u200b\u2028\u00ad\x85\x00\ufeff ab1"
    texts = ["".join(rng.choices(special, k=rng.randint(1, 30))) for _ in range(60)]
    texts += [*special, "^film<n><sg>$", "[[t:b:x]]", "\\", "{^x<n>$}", "<b>bold", "a\n\n\n", "]["]
    mixed = [text for special_text in texts for text in (special_text, "the dog sees a house")]
    made = Apertium("eng-spa", batch_characters=100_000).translate(mixed)
    assert {text.lower() for text in made[1::2]} == {"el perro ve una casa"}


# Marian


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


def test_a_model_or_package_that_is_missing_is_said(models, monkeypatch):
    with pytest.raises(InputError, match=r"'no such/model name' could not be had .* check the name"):
        Marian("no such/model name").name  # noqa: B018
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        InputError, match=r"needs the package 'transformers'.*pip install 'heldout\[translate\]'"
    ):
        Marian(models[0]).translate(["a film"])


@pytest.mark.parametrize(
    "spec", ["", "apertium", "apertium:", "apertium:a-b,c-d,e-f", "marian:one", "marian:a,", "google:en-es"]
)
def test_a_line_of_another_form_is_refused_with_what_is_allowed(spec):
    with pytest.raises(InputError, match=r"'apertium:eng-spa' .* 'marian:THERE,BACK'|such as 'eng-spa'"):
        read_translation(spec)


def test_a_line_names_both_ways():
    assert [
        way.mode
        for way in vars(read_translation("apertium: eng-spa,spa-eng_US")).values()
        if isinstance(way, Apertium)
    ] == ["eng-spa", "spa-eng_US"]
    assert read_translation("apertium:spa-eng").back.mode == "eng-spa"
    assert read_translation("marian:a/b,c/d", device="cuda").back.device == "cuda"
